"""Runs the service: `python -m barnabee.gpu`."""

from barnabee.core.serve import run
from barnabee.gpu.app import build

if __name__ == "__main__":
    run("gpu", build)
