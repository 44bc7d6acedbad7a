"""The bundled model's goals, on finished videos and held-out voices."""
