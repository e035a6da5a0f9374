"""The columns of the first pass, part by part, so that memory does not grow with the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib.selection.models import kernels, linear
from trait_lib.selection.scan import jobs

BATCH = 65536
ID_HASHES = 4_000_000  # ids that are compared at a time


def starts(parts: Sequence[Path]) -> np.ndarray:
    """The number of each part's first document, and of all documents, int64 (parts + 1,)."""
    return np.cumsum([0, *(jobs.notes(part)["rows"] for part in parts)], dtype=np.int64)


def batches(
    parts: Sequence[Path], names: Sequence[str], rows: int = BATCH
) -> Iterator[pa.RecordBatch]:
    """Some columns of all parts in their order, at most `rows` rows at a time."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            if file.metadata.num_rows:  # a part without rows has no columns either
                yield from file.iter_batches(rows, columns=list(names))


def numbers(array: pa.Array) -> np.ndarray:
    """An Arrow column as NumPy; null becomes NaN."""
    return array.to_numpy(zero_copy_only=False)


def values(parts: Sequence[Path], name: str) -> Iterator[np.ndarray]:
    """One column of all parts, batch by batch."""
    return (numbers(batch[name]) for batch in batches(parts, [name]))


def whole(parts: Sequence[Path], name: str) -> np.ndarray:
    """One column over the whole corpus, in memory: for corpora with labels, which are small."""
    return np.concatenate([np.zeros(0), *values(parts, name)])


def repeated_ids(parts: Sequence[Path], at_once: int = ID_HASHES) -> int:
    """How many ids occur again, by a hash of 64 bits, in bounded memory.

    Ids are counted in passes, each over the part of the hashes that fits in memory. Of ten
    billion different ids about three would be taken for repeated ones.
    """
    passes = -(-int(starts(parts)[-1]) // at_once)
    repeated = 0
    for which in range(passes):
        mine = [np.zeros(0, dtype=np.uint64)]
        for batch in batches(parts, ["id"]):
            hashes = kernels.hash_strings(*linear.buffers(batch["id"]))
            mine.append(hashes[hashes % np.uint64(passes) == which])
        together = np.concatenate(mine)
        repeated += len(together) - len(np.unique(together))
    return repeated
