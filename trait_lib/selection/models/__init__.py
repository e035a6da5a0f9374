"""What ranks documents: classifiers and weights over hashed words."""
