"""The tidy file of results: a row a number, whole cells at a time, sorted, so that diffs are small.

    domain,seed,arm,rate,task,metric,value,n,manifest

`rate` is the peak learning rate (0 where nothing is trained), `manifest` the hash of the cell's
record. Values have six digits after the point. Not stated in the paper.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trait_lib import ROOT, records, run

COLUMNS = ("domain", "seed", "arm", "rate", "task", "metric", "value", "n", "manifest")
CELL = COLUMNS[:4]
CURVE = (*CELL, "step", "text", "value", "manifest")  # of the file of learning curves
COMMITTED = ROOT / "figures" / "claims"
KINDS = {"seed": int, "n": int, "step": int, "rate": float, "value": float}
Row = dict[str, Any]


class BadResults(ValueError):
    """A file of results that is not what `write` writes; the message names file and line."""


def own_folder(tier: str) -> Path:
    """Where the results of this machine's own runs are."""
    return run.runs_dir() / "claims" / tier


def read(path: str | Path) -> list[Row]:
    """The rows of a file, numbers as numbers; none where there is no file.

    Raises:
        BadResults: other columns, or a number that is none; names the line.
    """
    if not Path(path).exists():
        return []
    with open(path, encoding="utf-8", newline="") as handle:
        lines = csv.DictReader(handle)
        columns = tuple(lines.fieldnames or ())
        if columns not in (COLUMNS, CURVE):
            raise BadResults(f"{path}:1: the columns must be {', '.join(COLUMNS)}")
        rows = []
        for number, line in enumerate(lines, start=2):
            try:
                rows.append({name: KINDS.get(name, str)(line[name]) for name in columns})
            except (TypeError, ValueError) as error:
                raise BadResults(f"{path}:{number}: {error}") from None
    return rows


def rows_of(record: Mapping[str, Any]) -> list[Row]:
    """The rows of a cell's record; a number that could not be measured has none."""
    cell = {name: record[name] for name in ("domain", "seed", "arm", "rate", "manifest")}
    return [
        {**cell, **row, "value": round(float(row["value"]), 6)}
        for row in record["rows"]
        if row["value"] is not None and row["value"] == row["value"]
    ]


def curve_of(record: Mapping[str, Any]) -> list[Row]:
    """The rows of a cell's learning curve: held-out bits per byte by step and text."""
    cell = {name: record[name] for name in ("domain", "seed", "arm", "rate", "manifest")}
    return [
        {**cell, "step": one["step"], "text": one["text"], "value": round(one["bits_per_byte"], 6)}
        for one in record["curve"]
    ]


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Old rows with whole cells replaced by new ones, sorted."""
    new = list(new)
    replaced = {tuple(row[name] for name in CELL) for row in new}
    kept = [row for row in old if tuple(row[name] for name in CELL) not in replaced]
    names = [name for name in (*COLUMNS[:6], "step", "text") if name in (new or kept or [{}])[0]]
    return sorted([*kept, *new], key=lambda row: [row[name] for name in names])


def write(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows, atomically."""
    with (
        records.atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as handle,
    ):
        columns = CURVE if rows and "step" in rows[0] else COLUMNS
        out = csv.DictWriter(handle, columns, lineterminator="\n")
        out.writeheader()
        out.writerows({**row, "rate": f"{row['rate']:g}"} for row in rows)


def add(path: str | Path, new: Iterable[Row]) -> None:
    """Put the rows of whole cells into a file, in place of older rows of the same cells."""
    write(path, merged(read(path), new))
