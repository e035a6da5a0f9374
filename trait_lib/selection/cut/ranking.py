"""The front of a ranking over all documents, found without a list of all documents.

The parts of the first pass are read as streams. Scores are turned into integers that sort alike;
their leading 16 bits are counted, the bin in which the wanted size is reached is counted again by
its next 16 bits, and so on until few enough rows are left to sort. What is kept in memory is the
front itself and 65,536 counters, however large the corpus. The result is exact: equal scores keep
the order of shards and rows. Not stated in the paper; ours because its corpora have billions of
documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trait_lib.selection.cut import columns

FEW = 1 << 20  # rows that are sorted in memory

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Ranked:
    """Some rows of a corpus that can be ranked; a row is a document, or one of its chunks."""

    document: np.ndarray  # int64 (n,), number in the corpus, set-aside shards left out
    chunk: np.ndarray  # int64 (n,), 0 for whole documents
    score: np.ndarray  # float64 (n,), higher is better; NaN is never taken
    size: np.ndarray  # int64 (n,), what the wanted size is counted in

    def pick(self, keep: np.ndarray) -> Ranked:
        """The rows where `keep` is true, or with these numbers."""
        return Ranked(self.document[keep], self.chunk[keep], self.score[keep], self.size[keep])


Stream = Callable[[], Iterator[Ranked]]
"""Begins a pass over all rows, in the order of the corpus; called several times."""


# --- streams ----------------------------------------------------------------------------------


def by_columns(
    parts: Sequence[Path],
    names: Sequence[str],
    key: Callable[[Columns, np.random.Generator], np.ndarray],
    seed: int = 0,
    one_each: bool = False,
) -> Stream:
    """Rank documents by a function of their columns.

    Args:
        parts: of the first pass.
        names: columns that the function needs.
        key: columns (NumPy arrays of n values) and a random generator -> n scores. The generator
            runs on from batch to batch, so each document gets its own draw, the same in every
            pass.
        seed: of the generator.
        one_each: the size of a document is 1; else its bytes.
    """

    def stream() -> Iterator[Ranked]:
        generator = np.random.default_rng(seed)
        first = 0
        for batch in columns.batches(parts, list(dict.fromkeys([*names, "bytes"]))):
            values = {name: columns.numbers(batch[name]) for name in batch.schema.names}
            rows = np.arange(first, first + batch.num_rows)
            first += batch.num_rows
            size = np.ones_like(rows) if one_each else values["bytes"].astype(np.int64)
            given = np.asarray(key(values, generator), dtype=np.float64)
            yield Ranked(rows, np.zeros_like(rows), given, size)

    return stream


def by_score(parts: Sequence[Path], name: str, one_each: bool = False) -> Stream:
    """Rank documents by one column of the first pass."""
    return by_columns(parts, [name], lambda values, _: values[name], one_each=one_each)


def at_random(parts: Sequence[Path], seed: int, one_each: bool = False) -> Stream:
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
) -> Stream:
    """Rank the chunks that `dsir.scorer` weighed; the size of a chunk is its length in words.

    Args:
        parts: of the first pass.
        key: log weights, lengths and a generator -> scores.
        seed: of the generator.
        min_tokens: shorter chunks are left out.
        one_each: the size of a chunk is 1.
    """

    def stream() -> Iterator[Ranked]:
        generator = np.random.default_rng(seed)
        first = 0
        for batch in columns.batches(parts, ["dsir_chunks", "dsir_words"]):
            weights = columns.numbers(batch["dsir_chunks"].flatten())
            length = columns.numbers(batch["dsir_words"].flatten()).astype(np.int64)
            each = columns.numbers(batch["dsir_chunks"].value_lengths()).astype(np.int64)
            rows = np.repeat(np.arange(first, first + batch.num_rows), each)
            chunk = np.arange(len(rows)) - np.repeat(np.cumsum(each) - each, each)
            first += batch.num_rows
            given = np.where(length >= min_tokens, key(weights, length, generator), np.nan)
            yield Ranked(rows, chunk, given, np.ones_like(length) if one_each else length)

    return stream


# --- the front --------------------------------------------------------------------------------


def sortable(values: np.ndarray) -> np.ndarray:
    """Floats as uint64 that sort alike; 0.0 and -0.0 are equal."""
    bits = (values + 0.0).view(np.uint64)
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def front(stream: Stream, wanted: float, few: int = FEW) -> Ranked:
    """The best rows that together reach the size `wanted`, best first.

    Args:
        stream: all rows.
        wanted: in the unit of `Ranked.size`; the last row taken may go beyond it.
        few: rows that may be sorted in memory beside the front.
    """
    low, depth = _bin_of_the_cut(stream, wanted, few)
    taken: list[Ranked] = []
    ties = 0  # size of the rows at the cut itself, where a whole score is shared by many
    for rows in stream():
        rows = rows.pick(np.isfinite(rows.score))
        keys = sortable(rows.score)
        keep = keys >= low
        if depth == 64:
            equal = keys == low
            before = ties + np.cumsum(np.where(equal, rows.size, 0)) - rows.size * equal
            ties += int(rows.size[equal].sum())
            keep &= ~equal | (before < wanted)  # later ones cannot be in the front
        taken.append(rows.pick(keep))
    best = _joined(taken)
    order = np.lexsort((best.chunk, best.document, -best.score))
    reached = np.cumsum(best.size[order])
    return best.pick(order[: int(np.searchsorted(reached, wanted)) + 1])


def _bin_of_the_cut(stream: Stream, wanted: float, few: int) -> tuple[np.uint64, int]:
    """The lowest key of the bin in which `wanted` is reached, and its number of leading bits."""
    low, above = np.uint64(0), 0
    for depth in (16, 32, 48, 64):
        size, count = np.zeros(1 << 16, dtype=np.int64), np.zeros(1 << 16, dtype=np.int64)
        for rows in stream():
            rows = rows.pick(np.isfinite(rows.score))
            keys = sortable(rows.score)
            if depth > 16:
                shift = np.uint64(64 - depth + 16)
                inside = keys >> shift == low >> shift
                rows, keys = rows.pick(inside), keys[inside]
            digit = (keys >> np.uint64(64 - depth) & np.uint64(0xFFFF)).astype(np.int64)
            # sums stay exact: a batch's sizes are far below 2^53
            size += np.bincount(digit, rows.size, 1 << 16).astype(np.int64)
            count += np.bincount(digit, minlength=1 << 16)
        reached = above + np.cumsum(size[::-1])
        step = int(np.searchsorted(reached, wanted))
        if step == 1 << 16:  # all rows together do not reach it
            return low, 16 if depth == 16 else depth - 16
        digit = (1 << 16) - 1 - step
        above = int(reached[step] - size[digit])
        low |= np.uint64(digit) << np.uint64(64 - depth)
        if count[digit] <= few:
            return low, depth
    return low, 64


def _joined(taken: Sequence[Ranked]) -> Ranked:
    empty = Ranked(*(np.zeros(0, dtype=kind) for kind in (int, int, float, int)))
    names = ("document", "chunk", "score", "size")
    return Ranked(*(np.concatenate([getattr(r, n) for r in (empty, *taken)]) for n in names))
