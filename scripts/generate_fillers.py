"""Filler recording: the specification's entry point for `barnabee fillers generate`."""

from __future__ import annotations

import sys

from barnabee.cli.app import app

if __name__ == "__main__":
    app(["fillers", "generate", *sys.argv[1:]], prog_name="generate_fillers.py")
