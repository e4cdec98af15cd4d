"""Measurements that need a CUDA device (`./barnabee test --gpu`); see docs/reference/gpu.md."""
