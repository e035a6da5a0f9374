"""Task-oriented passages: problem sampling, prompts, teacher client, ledger, checks."""
