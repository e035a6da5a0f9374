"""What is done with each shard: count its grams, score its documents, look at its candidates.

Each function here makes a task for `score.run`. Shards are read as streams, so a task needs a few
megabytes whatever the size of its shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trait_lib.selection.models import dsir
from trait_lib.selection.scan import jobs
from trait_lib.selection.scan.shards import Damaged, Shard, read

# by name: what a task does not need is not loaded, and a worker starts within a second or two
INSPECTOR = "trait_lib.selection.cut.hygiene:Inspector"

Method = Callable[[pa.Array], Mapping[str, Any]]
"""Texts (Arrow strings, n of them) -> columns of n values each (NumPy or Arrow), by name."""
Maker = Mapping[str, Any]
"""How a worker makes a `Method`: {"make": "module:function", "settings": {...}}."""


def items(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """One item for `score.write_job` per shard."""
    return [{"key": {"shard": s.identity()}, "label": s.label(), "size": s.size} for s in shards]


def tables(
    item: Mapping[str, Any], fields: Mapping[str, str], wanted: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """(row numbers, documents) of an item's shard; damage sets the shard aside."""
    try:
        yield from read(Shard(**item["key"]["shard"]), **fields, wanted=wanted)
    except Damaged as error:
        raise jobs.SetAside(str(error)) from None


def sizes(texts: pa.Array) -> np.ndarray:
    """The UTF-8 bytes of each text, int64 (n,)."""
    return pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)


# --- the first pass ---------------------------------------------------------------------------


def score_task(methods: Sequence[Maker], fields: Mapping[str, str]) -> jobs.Task:
    """Rows of id, source, bytes and the columns of every method, one per document."""
    made: list[Method] = [jobs.load(m["make"])(**m["settings"]) for m in methods]

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        part.notes["bytes"] = 0
        for _, table in tables(item, fields):
            texts = table["text"].combine_chunks()
            size = sizes(texts)
            columns = {"id": table["id"], "source": table["source"], "bytes": size}
            for method in made:
                columns |= method(texts)
            part.write(pa.table(columns))
            part.notes["bytes"] += int(size.sum())
            progress(len(texts), int(size.sum()))

    return task


def filter_task(method: Maker, column: str, least: float, fields: Mapping[str, str]) -> jobs.Task:
    """Rows (id, source, text, score) of the documents whose score is at least `least`.

    One pass where the threshold is known beforehand; a ranking needs two, because its cut is
    known only when all is scored.
    """
    made: Method = jobs.load(method["make"])(**method["settings"])

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        for _, table in tables(item, fields):
            texts = table["text"].combine_chunks()
            scores = np.asarray(made(texts)[column], dtype=np.float64)
            keep = scores >= least
            part.write(table.append_column(column, pa.array(scores)).filter(pa.array(keep)))
            progress(len(texts), int(sizes(texts).sum()))

    return task


def count_task(buckets: int, limit: int, fields: Mapping[str, str]) -> jobs.Task:
    """One row per bucket: how many grams of the shard fall into it; stops beyond `limit` grams."""
    hasher = dsir.shared_hasher(buckets)

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        counts = np.zeros(buckets, dtype=np.int64)
        for _, table in tables(item, fields):
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

    Args:
        rows: .npy file, int64 (candidates, 2): row in its shard and number of its chunk.
        chunk_words: see `dsir.chunk_places`; 0 for whole documents.
        rules: settings of `hygiene.Inspector`; None takes the texts without a look.
        fields: names of the text and id fields.
    """
    every = np.load(rows, mmap_mode="r")
    inspector = jobs.load(INSPECTOR)(**rules) if rules else None

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        first, last = item["key"]["candidates"]
        mine = np.asarray(every[first:last])
        for numbers, table in tables(item, fields, np.unique(mine[:, 0])):
            texts = table["text"].combine_chunks()
            pieces, owner, chunk = dsir.chunk_texts(texts, chunk_words)
            keep = np.isin(_code(numbers[owner], chunk), _code(mine[:, 0], mine[:, 1]))
            chosen, owner = pieces.filter(pa.array(keep)), owner[keep]
            columns = {"row": numbers[owner], "chunk": chunk[keep]}
            columns["id"] = _ids(table["id"].take(owner), chunk[keep], chunk_words)
            columns |= {"source": table["source"].take(owner), "text": chosen}
            if inspector:
                columns |= inspector(chosen, inspector.held_out(texts)[owner])
            part.write(pa.table(columns))
            progress(len(chosen), int(sizes(chosen).sum()))

    return task


def _code(row: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """One number for a row and a chunk."""
    return (row.astype(np.int64) << dsir.CHUNK_BITS) | chunk


def _ids(ids: pa.ChunkedArray, chunk: np.ndarray, chunk_words: int) -> pa.ChunkedArray | pa.Array:
    """A chunk's id is the document's with `#` and its number."""
    if not chunk_words:
        return ids
    named = (f"{name}#{number}" for name, number in zip(ids.to_pylist(), chunk, strict=True))
    return pa.array(named, pa.string())


def quality_task(scorer: Maker) -> jobs.Task:
    """One number per row of a candidates' part: its quality."""
    grade = jobs.load(scorer["make"])(**scorer["settings"])

    def task(item: Mapping[str, Any], part: jobs.Part, progress: jobs.Progress) -> None:
        with pq.ParquetFile(item["part"]) as file:
            for batch in file.iter_batches(1000, columns=["text"]):
                texts = batch["text"].to_pylist()
                part.write(pa.table({"quality": np.asarray(grade(texts), dtype=np.float64)}))
                progress(len(texts), sum(map(len, texts)))

    return task
