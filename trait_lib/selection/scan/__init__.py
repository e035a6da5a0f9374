"""Reading every document once: shards, jobs, workers."""
