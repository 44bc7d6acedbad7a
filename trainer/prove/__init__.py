"""What the trainer promises, proved on tiny real runs: `make proof-trainer`, each row alone by name."""
