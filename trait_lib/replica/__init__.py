"""The embedded world: corpora, problems with exact truth, and a stand-in for a teacher LLM."""
