"""The command line: `./barnabee` and `python -m barnabee`."""
