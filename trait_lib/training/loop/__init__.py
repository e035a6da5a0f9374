"""The process that trains: trainer, schedule, checkpoints, journal."""
