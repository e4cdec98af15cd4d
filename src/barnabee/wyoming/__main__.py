"""Entry point: `python -m barnabee.wyoming`."""

from barnabee.core.serve import run_service
from barnabee.wyoming.app import build

if __name__ == "__main__":
    run_service("wyoming", build)
