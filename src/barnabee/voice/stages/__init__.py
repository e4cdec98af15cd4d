"""Pipeline stages; `voice/pipeline.py` has their order."""
