"""Audio processing: samples, WAV, codecs and loudness. No service, no device."""
