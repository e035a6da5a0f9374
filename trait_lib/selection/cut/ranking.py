"""The front of a ranking over all documents, found without a list of all documents.

The parts of the first pass are read once, as a stream. What is kept is the best rows so far, up to
the wanted size, and about as many that wait to be sorted in; a row below the last of a full front
is dropped at once. Memory grows with the front and not with the corpus. The result is exact: equal
scores keep the order of shards and rows. Not stated in the paper; ours because its corpora have
billions of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trait_lib.selection.cut import columns

FEW = 1 << 20  # rows that may wait, however small the front

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Ranked:
    """Some rows of a corpus with their scores; a row is a document, or one of its chunks."""

    document: np.ndarray  # int64 (n,), number in the corpus, set-aside shards left out
    chunk: np.ndarray  # int64 (n,), 0 for whole documents
    score: np.ndarray  # float64 (n,), higher is better; NaN is never taken
    size: np.ndarray  # int64 (n,), what the wanted size is counted in

    def pick(self, keep: np.ndarray) -> Ranked:
        """The rows where `keep` is true, or with these numbers."""
        return Ranked(self.document[keep], self.chunk[keep], self.score[keep], self.size[keep])


# --- streams: all rows, in the order of the corpus --------------------------------------------


def by_columns(
    parts: Sequence[Path],
    names: Sequence[str],
    key: Callable[[Columns, np.random.Generator], np.ndarray],
    seed: int = 0,
    one_each: bool = False,
) -> Iterator[Ranked]:
    """Rank documents by a function of their columns.

    Args:
        parts: of the first pass.
        names: columns that the function needs.
        key: columns (NumPy arrays of n values) and a random generator -> n scores. The generator
            runs on from batch to batch, so each document gets its own draw.
        seed: of the generator.
        one_each: the size of a document is 1; else its bytes.
    """
    generator, first = np.random.default_rng(seed), 0
    for batch in columns.batches(parts, list(dict.fromkeys([*names, "bytes"]))):
        values = {name: columns.numbers(batch[name]) for name in batch.schema.names}
        rows = np.arange(first, first + batch.num_rows)
        first += batch.num_rows
        size = np.ones_like(rows) if one_each else values["bytes"].astype(np.int64)
        score = np.asarray(key(values, generator), dtype=np.float64)
        yield Ranked(rows, np.zeros_like(rows), score, size)


def by_score(parts: Sequence[Path], name: str, one_each: bool = False) -> Iterator[Ranked]:
    """Rank documents by one column of the first pass."""
    return by_columns(parts, [name], lambda values, _: values[name], one_each=one_each)


def at_random(parts: Sequence[Path], seed: int, one_each: bool = False) -> Iterator[Ranked]:
    """Rank documents by a random number each."""
    return by_columns(
        parts, [], lambda values, draw: draw.random(len(values["bytes"])), seed, one_each
    )


def by_dsir(
    parts: Sequence[Path],
    key: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray],
    seed: int,
    min_tokens: int,
    one_each: bool = False,
) -> Iterator[Ranked]:
    """Rank the chunks that `dsir.scorer` weighed; the size of a chunk is its length in words.

    Args:
        parts: of the first pass.
        key: log weights, lengths and a generator -> scores.
        seed: of the generator.
        min_tokens: shorter chunks are left out.
        one_each: the size of a chunk is 1.
    """
    generator, first = np.random.default_rng(seed), 0
    for batch in columns.batches(parts, ["dsir_chunks", "dsir_words"]):
        weights = columns.numbers(batch["dsir_chunks"].flatten())
        length = columns.numbers(batch["dsir_words"].flatten()).astype(np.int64)
        each = columns.numbers(batch["dsir_chunks"].value_lengths()).astype(np.int64)
        rows = np.repeat(np.arange(first, first + batch.num_rows), each)
        chunk = np.arange(len(rows)) - np.repeat(np.cumsum(each) - each, each)
        first += batch.num_rows
        score = np.where(length >= min_tokens, key(weights, length, generator), np.nan)
        yield Ranked(rows, chunk, score, np.ones_like(length) if one_each else length)


# --- the front --------------------------------------------------------------------------------


def front(stream: Iterator[Ranked], wanted: float, few: int = FEW) -> Ranked:
    """The best rows that together reach the size `wanted`, best first.

    Args:
        stream: all rows.
        wanted: in the unit of `Ranked.size`; the last row taken may go beyond it.
        few: rows that may wait to be sorted in, however small the front.
    """
    best = Ranked(*(np.zeros(0, dtype=kind) for kind in (int, int, float, int)))
    waiting: list[Ranked] = []
    lowest = -np.inf  # of a front that has its size: a later row must be above it
    for rows in stream:
        waiting.append(rows.pick(np.isfinite(rows.score) & (rows.score > lowest)))
        if sum(len(more.score) for more in waiting) > max(few, len(best.score)):
            best, waiting = _best_of([best, *waiting], wanted), []
            lowest = best.score[-1] if best.size.sum() >= wanted else lowest
    return _best_of([best, *waiting], wanted)


def _best_of(several: Sequence[Ranked], wanted: float) -> Ranked:
    names = ("document", "chunk", "score", "size")
    every = Ranked(*(np.concatenate([getattr(rows, name) for rows in several]) for name in names))
    order = np.lexsort((every.chunk, every.document, -every.score))
    reached = np.cumsum(every.size[order])
    return every.pick(order[: int(np.searchsorted(reached, wanted)) + 1])
