"""Inference: speech to text, text to speech, embeddings, behind an OpenAI-compatible API."""
