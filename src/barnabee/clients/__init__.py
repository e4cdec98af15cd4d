"""Clients of our own services and of external services."""
