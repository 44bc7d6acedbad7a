"""What trainings read: the synthetic speech and faces, shards, tasks."""
