"""`scores.parquet`: one row per document of the corpus, its scores, whether it was kept and why.

Written part by part, so memory does not grow with the corpus. Not stated in the paper; ours so
that anybody with labels can measure a selection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib import records
from trait_lib.selection.cut import columns, hygiene
from trait_lib.selection.cut.budget import Selection
from trait_lib.selection.models import classifier
from trait_lib.selection.scan import jobs


@dataclass(frozen=True)
class Sparse:
    """A column that is known for some documents."""

    document: np.ndarray  # int64 (n,), ascending
    values: np.ndarray  # (n,)
    default: Any  # of all other documents; None (numbers only) for null

    def between(self, first: int, last: int) -> pa.Array:
        """The column of documents `first` to `last` - 1; NaN as null."""
        a, b = np.searchsorted(self.document, [first, last])
        here = self.document[a:b] - first
        column = np.full(last - first, self.default, dtype=self.values.dtype)
        column[here] = self.values[a:b]
        if self.default is not None:
            return pa.array(column)
        missing = np.ones(last - first, dtype=bool)
        missing[here] = np.isnan(self.values[a:b])
        return pa.array(column, mask=missing)


def true_for(documents: np.ndarray) -> Sparse:
    """A column that is true for these documents and false for all others."""
    distinct = np.unique(documents)
    return Sparse(distinct, np.ones(len(distinct), dtype=bool), False)


Dense = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Columns of n documents -> n values."""


def describe(
    chosen: Selection, column: str, others: Mapping[str, Selection]
) -> dict[str, Sparse | Dense]:
    """The columns beside the scores of the first pass.

    Args:
        chosen: the selection that later notebooks read.
        column: of the first pass, by which it was ranked.
        others: name -> a selection to compare it with; gives the column `kept_<name>`.
    """
    seen = chosen.candidates
    return {
        "probability": lambda known: classifier.probability(known["log_odds"]),
        "ranked_by": lambda known: known[column],
        "quality": Sparse(seen.document, seen.quality, None),
        "tokens": Sparse(seen.document, seen.tokens.astype(float), None),
        "kept": true_for(chosen.documents),
        "reason": Sparse(seen.document, chosen.reason, hygiene.BELOW),
        **{f"kept_{name}": true_for(other.documents) for name, other in others.items()},
    }


def write(
    path: str | Path, parts: Sequence[Path], more: Mapping[str, Sparse | Dense] | None = None
) -> int:
    """Write the scores of all documents with further columns, parquet; return their number.

    Args:
        path: of the table.
        parts: of the first pass, with a document in one of them; their lists (of chunks) are
            left out.
        more: name -> what is known of some documents, or a function of the other columns.
    """
    schema = next(pq.read_schema(part) for part in parts if jobs.notes(part)["rows"])
    names = [field.name for field in schema if not pa.types.is_large_list(field.type)]
    written, writer = 0, None
    with records.atomic_path(path) as temporary:
        for batch in columns.batches(parts, names):
            given = {name: columns.numbers(batch[name]) for name in names}
            table = {name: batch[name] for name in names}
            for name, column in (more or {}).items():
                if isinstance(column, Sparse):
                    table[name] = column.between(written, written + batch.num_rows)
                else:
                    table[name] = pa.array(column(given), from_pandas=True)
            rows = pa.table(table)
            writer = writer or pq.ParquetWriter(temporary, rows.schema, compression="zstd")
            writer.write_table(rows)
            written += rows.num_rows
        writer.close()
    return written


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
    finite = (batch[np.isfinite(batch)] for batch in columns.values(parts, name))
    ends = [(batch.min(), batch.max()) for batch in finite if len(batch)]
    edges = np.histogram_bin_edges(np.array(ends), bins)
    names = ["pool"] if groups is None else [str(group) for group in np.unique(groups)]
    counts = {group: np.zeros(bins, dtype=np.int64) for group in names}
    first = 0
    for batch in columns.values(parts, name):
        for group in names:
            here = np.isfinite(batch)
            if groups is not None:
                here &= groups[first : first + len(batch)] == group
            counts[group] += np.histogram(batch[here], edges)[0]
        first += len(batch)
    return [
        {"left": float(a), "right": float(b), "group": group, "documents": int(number)}
        for group in names
        for a, b, number in zip(edges, edges[1:], counts[group], strict=False)
    ]
