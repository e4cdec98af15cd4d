"""Entry point of the inference service: `python -m barnabee.gpu`."""

from barnabee.core.serve import run_service
from barnabee.gpu.app import build_inference_service

if __name__ == "__main__":
    run_service("gpu", build_inference_service)
