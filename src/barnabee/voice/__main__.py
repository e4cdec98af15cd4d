"""Runs the service: `python -m barnabee.voice`."""

from barnabee.core.serve import run
from barnabee.voice.app import build

if __name__ == "__main__":
    run("voice", build)
