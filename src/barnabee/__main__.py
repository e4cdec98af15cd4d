"""Entry point of `python -m barnabee`."""

from __future__ import annotations

from barnabee.cli.app import main

if __name__ == "__main__":
    main()
