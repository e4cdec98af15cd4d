"""BarnabeeNet: a self-hosted voice assistant for a family."""

__version__ = "0.1.0"
