"""Inference: a request in, a video out. Imports neither the studio nor the trainer."""
