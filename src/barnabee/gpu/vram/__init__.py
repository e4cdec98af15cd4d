"""GPU memory management: reservations, leases, eviction and preloading of models."""
