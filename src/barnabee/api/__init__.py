"""The api service: commands, sessions, the record of turns and the dashboard."""
