"""Entry point of `python -m barnabee.api`."""

from barnabee.api.app import build_api_service
from barnabee.core import serve

if __name__ == "__main__":
    serve.run_service("api", build_api_service)
