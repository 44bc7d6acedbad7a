"""The page's goals, in a real browser."""
