"""Alerts on their way to people: trying that they arrive. Knows neither rules nor thresholds."""
