"""The demo home: a real Home Assistant with a few lights, for demonstrations and tests.

It runs in its own virtual environment (requirements/home-assistant.txt) and listens on loopback
only. Start it with `python -m barnabee.up.demo_home`.
"""
