"""Understanding of commands: text cleaning, intents, facts and replies; no I/O of its own."""
