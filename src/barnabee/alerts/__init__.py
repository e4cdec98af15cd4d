"""Alert delivery. Rules and thresholds are in nixos/monitoring."""
