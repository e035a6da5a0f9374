"""Looking closely at the front of the ranking: copies, quality, budget."""
