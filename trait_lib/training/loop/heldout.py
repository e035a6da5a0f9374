r"""Held-out texts: what a model that is being trained makes of text that it never trains on.

    bits per byte = -sum_t log2 p(x_t | x_<t) / bytes of the predicted text in UTF-8

A document is read from its own beginning, cut at one row; its first token has no context and is
not predicted, and the end mark is no text and does not count, as in notebook 04.
Paper: not stated; ours because forgetting shows here first, while the training still runs, and
because training loss on replayed text falls by repetition too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from trait_lib import head, records, run
from trait_lib.training.data import rows

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Text:
    """One held-out text. `documents`: tokens of each; `sizes`: bytes that each one predicts."""

    name: str
    documents: list[list[int]]
    sizes: list[int]

    @property
    def tokens(self) -> int:
        """Predicted tokens."""
        return sum(len(document) - 1 for document in self.documents)


def hash_order(text: str) -> str:
    """A sort key that knows nothing of the order in a file, and is the same on every machine."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def split(file: str | Path, share: float, kept: str | Path, held: str | Path) -> tuple[int, int]:
    """Part a file of document rows for good: `share` of them, by the hash of their id, is held out.

    Rows of the same id go to the same side in every file, so that arms which write the same
    passages differently hold the same ones out. Returns the numbers (kept, held out).

    Raises:
        ValueError: the share leaves no row to train on, or, above 0, none to measure.
    """
    all_rows = list(records.read_rows(file))
    order = sorted((str(row.get("id", n)) for n, row in enumerate(all_rows)), key=hash_order)
    chosen = set(order[: math.ceil(share * len(order))])
    sides = [str(row.get("id", n)) in chosen for n, row in enumerate(all_rows)]
    if share and (all(sides) or not any(sides)):
        raise ValueError(
            f"{file}: a held-out share of {share} of {len(all_rows)} rows leaves none on one side; "
            "change heldout_passages_share"
        )
    records.write_rows(held, (row for row, out in zip(all_rows, sides, strict=True) if out))
    records.write_rows(kept, (row for row, out in zip(all_rows, sides, strict=True) if not out))
    return len(sides) - sum(sides), sum(sides)


def prepare(config: Mapping[str, Any], tokenizer: Any) -> list[Text]:
    """Tokenise the texts of `config["heldout"]`, each up to `heldout_tokens` predicted tokens.

    Raises:
        ValueError: a file without text.
    """
    length, limit = config["sequence_length"], config["heldout_tokens"]
    texts = [_text(one["name"], one["file"], tokenizer, length, limit) for one in config["heldout"]]
    if empty := [text.name for text in texts if not text.documents]:
        raise ValueError(f"held-out text {', '.join(empty)}: no document with text in it")
    return texts


def _text(name: str, file: str, tokenizer: Any, length: int, limit: int) -> Text:
    """The first documents by hash of their text, so that the order of the file does not matter."""
    backend = tokenizer.backend_tokenizer
    documents: list[list[int]] = []
    sizes: list[int] = []
    left = limit
    for text in sorted((row["text"] for row in records.read_rows(file)), key=hash_order):
        encoding = backend.encode(text)
        tokens = encoding.ids[: min(length, left + 1)]
        if len(tokens) < 2:
            continue
        first, last = (encoding.offsets[place][1] for place in (0, len(tokens) - 1))
        documents.append(tokens)
        sizes.append(len(text[first:last].encode("utf-8")))
        left -= len(tokens) - 1
        if left <= 0:
            break
    return Text(name, documents, sizes)


def fingerprint(config: Mapping[str, Any]) -> str:
    """What decides the measurements beside the model: texts, their size, and when."""
    texts = [[one["name"], run.hash_file(one["file"])] for one in config["heldout"]]
    return run.hash_value([texts, config["heldout_tokens"], config["heldout_steps"]])


def measured_steps(stages: Sequence[Mapping[str, Any]], every: int) -> set[int]:
    """Steps (from 1; 0 is the start) after which is measured: stage ends, and every so many."""
    last = stages[-1]["first_step"] + stages[-1]["steps"]
    ends = {stage["first_step"] + stage["steps"] for stage in stages}
    return {0} | ends | (set(range(every, last, every)) if every else set())


@torch.no_grad()
def sums(model: Any, text: Text, rank: int = 0, world: int = 1) -> torch.Tensor:
    """What this rank's documents cost: (nats, predicted tokens, bytes), float64.

    Nothing of the model or of a random generator is changed. `model.forward` is called and not
    the model, which may be compiled for one shape only.
    """
    order = sorted(range(len(text.documents)), key=lambda i: (-len(text.documents[i]), i))
    total = torch.zeros(3, dtype=torch.float64)
    device = next(model.parameters()).device
    was_training, whole = model.training, getattr(model, "module", model)
    model.eval()
    for batch in _batches([text.documents[i] for i in order[rank::world]]):
        ids, targets = _padded(batch)  # (B, T), documents on the left
        inputs = {"input_ids": ids.to(device), "use_cache": False}
        _, losses = head.token_losses(model.forward, whole, inputs, targets.to(device))
        total[0] += losses.double().sum().cpu()
        total[1] += int((targets != -100).sum())
    total[2] = sum(text.sizes[i] for i in order[rank::world])
    model.train(was_training)
    return total


def _batches(documents: Sequence[list[int]]) -> list[list[list[int]]]:
    """Documents, longest first, in groups of at most `BATCH_TOKENS` tokens with padding."""
    batches: list[list[list[int]]] = []
    for document in documents:
        longest = len(batches[-1][0]) if batches else 0
        if batches and (len(batches[-1]) + 1) * longest <= BATCH_TOKENS:
            batches[-1].append(document)
        else:
            batches.append([document])
    return batches


def _padded(batch: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) filled up on the right, which no earlier place sees, and targets (B, T)."""
    documents = [torch.tensor(tokens) for tokens in batch]
    labels = pad_sequence(documents, batch_first=True, padding_value=-100)
    return labels.clamp(min=0), rows.next_tokens(labels)


def measure(
    model: Any,
    texts: Sequence[Text],
    rank: int,
    world: int,
    add_up: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, dict[str, float]]:
    """Loss (nats a token) and bits per byte of each text; `add_up` sums a tensor over the ranks."""
    scores = {}
    for text in texts:
        nats, tokens, size = add_up(sums(model, text, rank, world)).tolist()
        scores[text.name] = {"loss": nats / tokens, "bits_per_byte": nats / math.log(2) / size}
    return scores
