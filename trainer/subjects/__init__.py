"""What differs between the models that are trained: nano, and the released ones."""
