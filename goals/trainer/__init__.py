"""The trainer's goals, on tiny real runs."""
