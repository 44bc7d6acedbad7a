"""The bundled model: face motion as latents, and the warp that draws it."""
