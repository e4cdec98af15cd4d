"""Failover between two machines: lease, roles, replication and the standby's follower."""
