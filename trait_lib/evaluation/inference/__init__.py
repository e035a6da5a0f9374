"""Asking one model: outputs and log-likelihoods, here or on a server."""
