"""The rows of a plan as tensors, and what each of their places predicts.

Paper: not stated; ours: packed rows in which documents are isolated by restarting positions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

from trait_lib.training.data import plan, shards


class PlannedRows:
    """The rows of a plan in order, as Trainer wants a data set."""

    def __init__(self, laid_out: plan.Plan, isolate: bool) -> None:
        self.plan = laid_out
        self.isolate = isolate
        self.shards = [shards.open_shard(folder) for folder in laid_out.shards]

    def __len__(self) -> int:
        """Rows of the whole run."""
        return len(self.plan.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One row: `input_ids`, `labels`, `position_ids` (S,), and the number of its source.

        Positions restart with each document; with no attention mask, the model then isolates the
        documents. The first token of a document has no context and is not predicted.
        """
        source, row = self.plan.entries[index]
        shard, length = self.shards[source], self.plan.sequence_length
        tokens, positions = shard.row(int(row), length)
        input_ids = torch.from_numpy(tokens)
        position_ids = torch.from_numpy(positions)
        labels = input_ids.masked_fill(position_ids == 0, -100)
        if shard.learn is not None:
            labels[torch.from_numpy(~shard.learned(int(row), length))] = -100
        if not self.isolate:
            position_ids = torch.arange(len(input_ids))
        return {
            "input_ids": input_ids,
            "labels": labels,
            "position_ids": position_ids,
            "source": torch.tensor(int(source)),
        }

    def predicted(self, index: int) -> int:
        """How many tokens of a row have a target, as `next_tokens` finds them."""
        source, row = self.plan.entries[index]
        return self.shards[source].predicted(int(row), self.plan.sequence_length)


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack rows into a batch; there is nothing to pad."""
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def next_tokens(labels: torch.Tensor) -> torch.Tensor:
    """Labels (B, S) moved one place, so that place t holds what is predicted there; last: -100."""
    return functional.pad(labels[:, 1:], (0, 1), value=-100)
