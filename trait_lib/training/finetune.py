"""Fine-tuning on the downstream tasks: training problems in the form that notebook 04 asks them in.

Paper: its second setting fine-tunes the models on the downstream tasks: 5 epochs, cosine schedule,
peak 5e-6, 3 % warm-up. The form of the examples, the batch, and whether the loss counts on the
problem too are not stated; ours: the form of the evaluation, whole examples in each row, and the
loss on the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from trait_lib import form
from trait_lib.form import Row
from trait_lib.training.data import shards


def examples(problems: Iterable[Row], pairs: Iterable[Row] = ()) -> Iterator[dict[str, Any]]:
    """Yield document rows as the problems are asked; relevance pairs with their true label.

    `answer_starts` is the number of characters before the answer.
    """
    for row in chain(problems, pairs):
        yield {
            "id": row["id"],
            "task": row["task"],
            "text": form.example(row),
            "answer_starts": len(form.prompt(row)),
        }


def epoch_tokens(file: str | Path, tokenizer: Any, length: int, loss_on: str) -> int:
    """Tokens of one epoch over examples in rows of `length`, with what fills up the rows."""
    return len(shards.tokenise(file, tokenizer, length, loss_on == "answer").tokens)


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook's parameters with those of fine-tuning in place of those of the two stages.

    Every example is read once an epoch; the last batch of the last epoch may begin one more.
    """
    return {
        **given,
        "learning_rate": given["finetune_learning_rate"],
        "schedule": given["finetune_schedule"],
        "schedule_scope": "run",
        "final_lr_share": given["finetune_final_lr_share"],
        "batch_tokens": given["finetune_batch_tokens"],
        "loss_on": given["finetune_loss"],
        "max_epochs": given["finetune_epochs"] + 1.0,
        "whole_documents": True,
        "isolate_documents": True,  # an example is answered alone
    }
