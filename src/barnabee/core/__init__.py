"""Foundations of every service: configuration, errors, health, HTTP, logs, metrics."""
