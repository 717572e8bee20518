"""The Debian package in a fresh Debian: installed, used, upgraded, removed (``make test/package``; needs root)."""
