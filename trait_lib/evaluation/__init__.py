"""Evaluation: few-shot prompts, generation, answers, scores (paper, section on experiments)."""
