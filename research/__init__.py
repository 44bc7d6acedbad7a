"""Controlled experiments with nano: what each part of the method is worth, by rules stated before anything is run."""
