"""Stand-ins for the parts of the house, shipped and tested like everything else."""
