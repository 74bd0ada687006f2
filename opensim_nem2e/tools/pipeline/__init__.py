"""tools/pipeline."""
