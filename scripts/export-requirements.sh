#!/bin/sh
# Writes requirements/*.txt from poetry.lock. Needs Poetry 1.8 with poetry-plugin-export: 1.8 is the
# last that writes lock-version 2.0, which poetry2nix reads. A test holds these files to the lock.
set -eu
cd "$(dirname "$0")/.."
poetry export --quiet --extras local --output requirements/default.txt
poetry export --quiet --extras local --with dev --output requirements/dev.txt
poetry export --quiet --extras gpu --output requirements/gpu.txt
