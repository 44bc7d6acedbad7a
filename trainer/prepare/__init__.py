"""Videos from anywhere to checked, encoded shards that a training reads."""
