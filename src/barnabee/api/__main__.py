"""`python -m barnabee.api`."""

from barnabee.api.app import build
from barnabee.core import serve

if __name__ == "__main__":
    serve.run_service("api", build)
