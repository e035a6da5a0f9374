"""Paper, section "In-domain data selection": which documents of a general corpus to learn from.

A fastText classifier ranks the pool, a quality filter drops what teaches nothing, and a token
budget cuts the list. DSIR and a random draw at the same budget are the baselines.
"""
