"""What is done with each shard: count its grams, score its documents, look at its candidates.

Each function in `TASKS` makes a task for a `worker`. Shards are read as streams, so a task needs a
few megabytes whatever the size of its shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trait_lib import records
from trait_lib.reading import tables
from trait_lib.reading.shards import Shard
from trait_lib.selection.models import dsir, linear, regression
from trait_lib.selection.scan import jobs

Method = Callable[[pa.Array], Mapping[str, Any]]
"""Texts (Arrow strings, n of them) -> columns of n values each (NumPy or Arrow), by name."""
Named = Mapping[str, Any]
"""How a worker makes a method or a scorer: {"name": a key of the table, "settings": {...}}."""

METHODS: dict[str, Callable[..., Method]] = {
    "linear": linear.scorer,
    "regression": regression.scorer,
    "dsir": dsir.scorer,
}


class CorpusChanged(records.BadRow):
    """A shard does not hold what it held in the first pass."""


def items(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """One item for `jobs.write_job` per shard."""
    return [{"key": {"shard": s.identity()}, "label": s.label(), "size": s.size} for s in shards]


def made(methods: Sequence[Named]) -> list[Method]:
    """The methods themselves."""
    return [METHODS[one["name"]](**one["settings"]) for one in methods]


def read(item: Mapping[str, Any], **how: Any) -> Iterator[tables.Numbered]:
    """(row numbers, documents) of an item's shard; damage sets the shard aside."""
    try:
        yield from tables.read(Shard(**item["key"]["shard"]), **how)
    except records.Damaged as error:
        raise jobs.SetAside(str(error)) from None


def sizes(texts: pa.Array) -> np.ndarray:
    """The UTF-8 bytes of each text, int64 (n,)."""
    return pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)


# --- the first pass ---------------------------------------------------------------------------


def score_task(methods: Sequence[Named], fields: Mapping[str, str]) -> jobs.Task:
    """Rows of id, source, bytes and the columns of every method, one per document.

    The notes hold the bytes of text, what was read (`tables.Report`), and in `shifts` by how much
    a document's row in its file exceeds its number here, from which document on: what the second
    pass needs to find a document again, whatever was left out between.
    """
    scorers = made(methods)

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        report, shifts = tables.Report(), [[0, 1]]
        part.notes["bytes"] = 0
        for numbers, table in read(item, **fields, report=report):
            texts = table["text"].combine_chunks()
            size = sizes(texts)
            columns = {"id": table["id"], "source": table["source"], "bytes": size}
            for scorer in scorers:
                columns |= scorer(texts)
            part.write(pa.table(columns))
            shift = numbers - np.arange(report.documents, report.documents + len(numbers))
            for i in np.flatnonzero(np.diff(shift, prepend=shifts[-1][1])):
                shifts.append([report.documents + int(i), int(shift[i])])
            report.documents += len(numbers)
            part.notes["bytes"] += int(size.sum())
            progress(len(texts), int(size.sum()))
        part.notes |= {"read": report.counts(), "shifts": shifts}

    return task


def count_task(buckets: int, limit: int, fields: Mapping[str, str]) -> jobs.Task:
    """One row per bucket: how many grams of the shard fall into it; stops beyond `limit` grams."""
    hasher = dsir.shared_hasher(buckets)

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        counts = np.zeros(buckets, dtype=np.int64)
        for _, table in read(item, **fields):
            texts = table["text"].combine_chunks()
            room = hasher.count(texts, counts, limit)
            progress(len(texts), int(sizes(texts).sum()))
            if not room:
                break
        part.notes["grams"] = int(counts.sum())
        part.write(pa.table({"grams": counts}))

    return task


# --- the second pass --------------------------------------------------------------------------


def candidates_task(
    rows: str, chunk_words: int, rules: Mapping[str, Any] | None, fields: Mapping[str, str]
) -> jobs.Task:
    """Rows of the candidates: their text, and what `hygiene.Inspector` finds.

    Every document that is read again must have the id and the length that the first pass saw.

    Args:
        rows: .npy file, int64 (candidates, 2): row in its shard and number of its chunk.
        chunk_words: see `dsir.chunk_places`; 0 for whole documents.
        rules: settings of `hygiene.Inspector`; None takes the texts without a look.
        fields: names of the text and id fields.
    """
    every = np.load(rows, mmap_mode="r")
    inspector = _inspector(**rules) if rules else None

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        first, last = item["key"]["candidates"]
        mine = np.asarray(every[first:last])
        wanted = np.unique(mine[:, 0])
        numbers, known = _first_seen(item["scored"], wanted)
        again = 0
        for found, table in read(item, **fields, wanted=numbers):
            texts = table["text"].combine_chunks()
            at = np.searchsorted(numbers, found)
            _check_same(item["label"], found, table["id"], sizes(texts), known.take(at))
            again += len(at)
            pieces, owner, chunk = dsir.chunk_texts(texts, chunk_words)
            keep = np.isin(_code(wanted[at][owner], chunk), _code(mine[:, 0], mine[:, 1]))
            chosen, owner = pieces.filter(pa.array(keep)), owner[keep]
            columns = {"row": wanted[at][owner], "chunk": chunk[keep]}
            columns["id"] = _ids(table["id"].take(owner), chunk[keep], chunk_words)
            columns |= {"source": table["source"].take(owner), "text": chosen}
            if inspector:
                columns |= inspector(chosen, inspector.held_out(texts)[owner])
            part.write(pa.table(columns))
            progress(len(chosen), int(sizes(chosen).sum()))
        if again != len(wanted):
            raise CorpusChanged(
                f"{item['label']}: {again} of {len(wanted)} candidates were found again: the file "
                "was changed while it was read. Run again"
            )

    return task


def _first_seen(part: str, documents: np.ndarray) -> tuple[np.ndarray, pa.Table]:
    """Rows in their file, and ids and bytes of text, of documents as the first pass saw them."""
    shifts = np.array(jobs.notes(part)["shifts"])  # (changes, 2)
    shift = shifts[np.searchsorted(shifts[:, 0], documents, side="right") - 1, 1]
    return documents + shift, pq.read_table(part, columns=["id", "bytes"]).take(documents)


def _check_same(
    label: str, numbers: np.ndarray, ids: pa.ChunkedArray, size: np.ndarray, known: pa.Table
) -> None:
    """Raise `CorpusChanged` when a row is not the document that the first pass saw there."""
    same = pc.equal(ids, known["id"]).to_numpy() & (size == known["bytes"].to_numpy())
    if not same.all():
        i = int(np.flatnonzero(~same)[0])
        raise CorpusChanged(
            f"{label}: row {numbers[i]} is {ids[i].as_py()!r} with {size[i]:,} bytes of text; the "
            f"first pass saw {known['id'][i].as_py()!r} with {known['bytes'][i].as_py():,} bytes "
            "there: the file was changed while it was read. Run again"
        )


def _code(row: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """One number for a row and a chunk."""
    return (row.astype(np.int64) << dsir.CHUNK_BITS) | chunk


def _ids(ids: pa.ChunkedArray, chunk: np.ndarray, chunk_words: int) -> pa.ChunkedArray | pa.Array:
    """A chunk's id is the document's with `#` and its number."""
    if not chunk_words:
        return ids
    named = (f"{name}#{number}" for name, number in zip(ids.to_pylist(), chunk, strict=True))
    return pa.array(named, pa.string())


def quality_task(scorer: Named) -> jobs.Task:
    """One number per row of a candidates' part: its quality."""
    grade = SCORERS[scorer["name"]](**scorer["settings"])

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        with pq.ParquetFile(item["part"]) as file:
            for batch in file.iter_batches(1000, columns=["text"]):
                texts = batch["text"].to_pylist()
                part.write(pa.table({"quality": np.asarray(grade(texts), dtype=np.float64)}))
                progress(len(texts), sum(map(len, texts)))

    return task


# What a task does not need is not loaded, and a worker starts within a second or two.


def _inspector(**rules: Any) -> Any:
    from trait_lib.selection.cut.hygiene import Inspector

    return Inspector(**rules)


def _regression(**settings: Any) -> Callable[[Sequence[str]], np.ndarray]:
    from trait_lib.selection.cut.quality import from_file

    return from_file(**settings)


def _from_hub(**settings: Any) -> Callable[[Sequence[str]], np.ndarray]:
    from trait_lib.selection.cut.quality import from_hub

    return from_hub(**settings)


SCORERS = {"regression": _regression, "hub": _from_hub}
TASKS: dict[str, Callable[..., jobs.Task]] = {
    "score": score_task,
    "grams": count_task,
    "candidates": candidates_task,
    "quality": quality_task,
}
