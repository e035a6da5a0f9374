"""Training problems in the form that notebook 04 asks them in: the text of fine-tuning.

Paper: the adapted model is also fine-tuned on the downstream tasks (5 epochs, cosine, at most
5e-6, 3 % warm-up). The form of its examples, and whether the loss counts on the problem too, are
not stated; ours: the form of the evaluation, and the loss on the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


def examples(problems: Iterable[Row], pairs: Iterable[Row] = ()) -> Iterator[dict[str, Any]]:
    """Yield document rows: `Question: ...`, `Answer: ...`; relevance pairs with their true label.

    `answer_starts` is the number of characters before the answer.
    """
    for row in problems:
        yield _example(row, f"Question: {row['question']}\nAnswer:", f" {row['solution']}")
    for row in pairs:
        yield _example(row, row["prompt"], row["positive"] if row["label"] else row["negative"])


def _example(row: Row, prompt: str, answer: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "task": row["task"],
        "text": prompt + answer,
        "answer_starts": len(prompt),
    }
