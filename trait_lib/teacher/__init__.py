"""Paid requests, whoever asks: one client, one ledger, one budget."""
