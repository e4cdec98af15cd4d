"""The `voice` service: a microphone anywhere in the house becomes a conversation."""
