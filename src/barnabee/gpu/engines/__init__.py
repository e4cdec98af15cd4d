"""Inference engines, the only modules that import inference libraries (inside functions)."""
