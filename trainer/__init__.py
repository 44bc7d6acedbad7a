"""Everything that makes and judges a model: data, training, evaluation. It imports the engine, never the reverse."""
