"""Inference service: STT, TTS and embeddings behind an OpenAI-compatible API, and wake words."""
