"""What a training is for: SFT, Negative-DPO, cycles of both, one person, one rule."""
