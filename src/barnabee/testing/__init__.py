"""Fakes of engines, services and the language model, for tests and benchmarks."""
