"""How one service calls another, and the services of others."""
