"""The demo home: a real Home Assistant with a family's rooms, for demonstrations and tests.

It runs in its own virtual environment (barnabee.up.home_assistant) and listens on loopback only.
Start it with `python -m barnabee.up.demo_home`.
"""
