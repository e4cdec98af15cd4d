"""BarnabeeNet: a self-hosted voice assistant for a family."""

import os

__version__ = "0.1.0"

# Read by onnxruntime at its import: else it records each start, with a device id, for Microsoft.
os.environ.update(ORT_DISABLE_TELEMETRY="1")
