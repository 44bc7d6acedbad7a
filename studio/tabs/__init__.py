"""The page's tabs: each draws its part and connects it to the service."""
