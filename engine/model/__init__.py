"""The network and its parts: transformer, encoders, autoencoders, and the loading of their weights."""
