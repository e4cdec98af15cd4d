"""The ledger of the card: who may be in its memory, who goes, who waits, and why."""
