"""The process that trains: trainer, schedule, checkpoints, log."""
