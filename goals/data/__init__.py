"""Data preparation's goals, on planted defects."""
