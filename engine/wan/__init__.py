"""The released models: Wan's transformer with audio, its encoders and autoencoder, their files, memory and devices."""
