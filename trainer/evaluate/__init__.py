"""How well a talking video talks: measured on finished videos, never used to tune a model."""
