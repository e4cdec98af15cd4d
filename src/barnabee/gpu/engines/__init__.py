"""The engines; the only place where inference libraries are imported, and only inside functions."""
