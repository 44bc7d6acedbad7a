"""The engine's goals."""
