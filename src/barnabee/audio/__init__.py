"""Sound as data: WAV, decoding, encoding, loudness. Pure, no service."""
