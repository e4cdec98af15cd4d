"""Entry point: `python -m barnabee.voice`."""

from barnabee.core.serve import run_service
from barnabee.voice.app import build

if __name__ == "__main__":
    run_service("voice", build)
