"""BarnabeeNet: a family's voice assistant that heals itself and proves its backup."""

__version__ = "0.1.0"
