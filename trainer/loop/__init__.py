"""What every training shares: the flow, the loop over processes, checkpoints, averages, recipes."""
