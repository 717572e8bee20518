"""The rules of the program: pure, standard library only, no I/O, no clock."""
