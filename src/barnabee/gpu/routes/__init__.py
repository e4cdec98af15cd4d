"""The OpenAI-compatible routes: one module for each."""
