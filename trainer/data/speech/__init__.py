"""Synthetic speech whose every phoneme's time is known exactly: what to say, who says it, and what the mouth does."""
