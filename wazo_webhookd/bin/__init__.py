"""The commands: the only modules, beside the hall, that construct things."""
