"""A second machine that takes over: who may write, who follows, and how that changes."""
