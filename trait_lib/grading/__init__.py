"""Is this answer right? The door is `grade`, and `same_answer` for two bare answers."""

from trait_lib.grading.answers import Grade, grade, same_answer

__all__ = ["Grade", "grade", "same_answer"]
