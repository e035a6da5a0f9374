"""One row per document of the corpus: its scores, and whether it was kept or why not.

Written part by part, so memory does not grow with the corpus. Not stated in the paper; ours so
that anybody with labels can measure a selection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib import records
from trait_lib.run import hash_value
from trait_lib.selection.cut import ranking
from trait_lib.selection.models import kernels, linear
from trait_lib.selection.scan import jobs

ID_HASHES = 4_000_000  # ids that are compared at a time


@dataclass(frozen=True)
class Sparse:
    """A column that is known for some documents."""

    document: np.ndarray  # int64 (n,), ascending
    values: np.ndarray  # (n,)
    default: Any  # of all other documents; None (numbers only) for null

    def between(self, first: int, last: int) -> pa.Array:
        """The column of documents `first` to `last` - 1; NaN as null."""
        a, b = np.searchsorted(self.document, [first, last])
        column = np.full(last - first, self.default, dtype=self.values.dtype)
        column[self.document[a:b] - first] = self.values[a:b]
        if self.default is not None:
            return pa.array(column)
        missing = np.ones(last - first, dtype=bool)
        missing[self.document[a:b] - first] = np.isnan(self.values[a:b])
        return pa.array(column, mask=missing)


def true_for(documents: np.ndarray) -> Sparse:
    """A column that is true for these documents and false for all others."""
    distinct = np.unique(documents)
    return Sparse(distinct, np.ones(len(distinct), dtype=bool), False)


Dense = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Columns of n documents -> n values."""


def write(
    path: str | Path, parts: Sequence[Path], more: Mapping[str, Sparse | Dense] | None = None
) -> int:
    """Write the scores of all documents with further columns, parquet; return their number.

    Args:
        path: of the table.
        parts: of the first pass; their lists (of chunks) are left out.
        more: name -> what is known of some documents, or a function of the other columns.
    """
    written = 0
    writer = None
    with records.atomic_path(path) as temporary:
        for batch in _batches(parts):
            values = {name: batch[name] for name in batch.schema.names}
            given = {name: ranking.numbers(column) for name, column in values.items()}
            for name, column in (more or {}).items():
                if isinstance(column, Sparse):
                    values[name] = column.between(written, written + batch.num_rows)
                else:
                    values[name] = pa.array(column(given), from_pandas=True)
            table = pa.table(values)
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
            written += table.num_rows
        if writer is None:
            pq.write_table(pa.table({}), temporary)
        else:
            writer.close()
    return written


def _batches(parts: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        schema = pq.read_schema(part)
        names = [field.name for field in schema if not pa.types.is_large_list(field.type)]
        yield from ranking.columns(part, names)


def column(parts: Sequence[Path], name: str) -> np.ndarray:
    """One column over the whole corpus, in memory: for corpora with labels, which are small."""
    found = [ranking.numbers(b[name]) for part in parts for b in ranking.columns(part, [name])]
    return np.concatenate(found) if found else np.zeros(0)


def repeated_ids(parts: Sequence[Path], at_once: int = ID_HASHES) -> int:
    """How many ids occur again, by a hash of 64 bits, in bounded memory.

    Ids are counted in passes, each over the part of the hashes that fits in memory. Of ten
    billion different ids about three would be taken for repeated ones.
    """
    total = sum(jobs.notes(part)["rows"] for part in parts)
    passes = -(-total // at_once)
    repeated = 0
    for which in range(passes):
        found = [np.zeros(0, dtype=np.uint64)]
        for part in parts:
            for batch in ranking.columns(part, ["id"]):
                hashes = _hashes(batch["id"])
                found.append(hashes[hashes % np.uint64(passes) == which])
        mine = np.concatenate(found)
        repeated += len(mine) - len(np.unique(mine))
    return repeated


def _hashes(ids: pa.Array) -> np.ndarray:
    """64 bits of each id, uint64 (n,)."""
    return kernels.hash_strings(*linear.buffers(ids))


def histogram(
    parts: Sequence[Path], name: str, groups: np.ndarray | None = None, bins: int = 50
) -> list[dict[str, Any]]:
    """Documents per bin of a column and, where known, per group, in two passes over the parts.

    Args:
        parts: of the first pass.
        name: of the column.
        groups: str (documents,), or None.
        bins: of equal width.

    Returns:
        Rows of `left`, `right`, `group`, `documents`.
    """
    low, high = np.inf, -np.inf
    for part in parts:
        for batch in ranking.columns(part, [name]):
            values = _finite(batch[name])
            if len(values):
                low, high = min(low, values.min()), max(high, values.max())
    edges = np.histogram_bin_edges(np.array([low, high]) if low <= high else np.zeros(0), bins)
    names = ["pool"] if groups is None else [str(group) for group in np.unique(groups)]
    counts = {group: np.zeros(bins, dtype=np.int64) for group in names}
    first = 0
    for part in parts:
        for batch in ranking.columns(part, [name]):
            values = ranking.numbers(batch[name])
            for group in names:
                here = np.isfinite(values)
                if groups is not None:
                    here &= groups[first : first + len(values)] == group
                counts[group] += np.histogram(values[here], edges)[0]
            first += len(values)
    return [
        {"left": float(a), "right": float(b), "group": group, "documents": int(number)}
        for group in names
        for a, b, number in zip(edges, edges[1:], counts[group], strict=False)
    ]


def _finite(column: pa.Array) -> np.ndarray:
    values = ranking.numbers(column)
    return values[np.isfinite(values)]


def forget_others(folder: Path) -> int:
    """Remove parts that none of the last jobs in a folder names; return how many.

    They are left by runs with other settings. Called when a stage ends, never before.
    """
    written = [jobs.read_job(file) for file in Path(folder).glob(".*.json") if _is_job(file)]
    kept = {job.part(i).name for job in written for i in range(len(job.items))}
    others = [file for file in Path(folder).glob(".*.parquet") if file.name not in kept]
    for file in others:
        file.unlink()
    return len(others)


def _is_job(file: Path) -> bool:
    return "items" in records.read_json(file)


def fingerprint(shards: Sequence[Any]) -> str:
    """A hash of what identifies the shards of a corpus, for the manifest."""
    return hash_value([shard.identity() for shard in shards])
