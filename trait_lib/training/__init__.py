"""Training room: tokens and plan, schedule, entry point, launcher, preflight.

Paper, section on training: two stages, DeepSpeed ZeRO stage 1, bf16, 1M-token batches, WSD.
"""
