"""The demo home: a real Home Assistant with a few lights, for trying BarnabeeNet and for tests.

It runs in a virtual environment of its own (requirements/home-assistant.txt) and is reached over
loopback alone. This package must not know how commands are understood, nor who uses its token.
"""
