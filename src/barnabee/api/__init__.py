"""Commands, sessions, the record of turns: the service between the voice and everything else."""
