"""Claims room: all arms over domains and seeds, and what they say about the paper's claims.

Not a stage but the experiment over the stages: it uses their training and evaluation as they are.
"""
