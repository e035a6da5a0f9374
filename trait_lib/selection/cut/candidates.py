"""The candidates: documents at the front of some ranking, read again and looked at closely.

The first pass keeps numbers only. The second one reads the candidates' texts, counts their tokens
and applies the hygiene rules; it writes parts like the first, texts included, from which the
selections are written. In memory stay some 80 bytes a candidate, and 512 more for its MinHash
where near duplicates are looked for (their index needs some kilobytes more): memory grows with
the selection and not with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib import records
from trait_lib.run import hash_value
from trait_lib.selection.cut import hygiene, ranking
from trait_lib.selection.cut.ranking import Rows
from trait_lib.selection.models import dsir
from trait_lib.selection.scan import jobs

CHUNKS = 1 << dsir.CHUNK_BITS
TEXT_ROWS = 1000
DOCUMENT = ("id", "text", "source")
PASSES = "trait_lib.selection.scan.passes"


class CorpusChanged(RuntimeError):
    """A shard does not hold what it held in the first pass."""


@dataclass
class Candidates:
    """What is known of the candidates, in the order of the corpus; n of them."""

    document: np.ndarray  # int64 (n,), number in the corpus
    chunk: np.ndarray  # int64 (n,), 0 for whole documents
    tokens: np.ndarray  # int64 (n,)
    quality: np.ndarray  # float64 (n,), NaN where not scored
    reason: np.ndarray  # object (n,), why not to take the row, or ""
    digests: np.ndarray  # uint64 (n,)
    minhashes: np.ndarray | None  # uint32 (n, hygiene.PERMUTATIONS)
    parts: Sequence[Path] = ()

    def find(self, rows: Rows) -> np.ndarray:
        """The candidates' numbers of some rows, in their order, int64."""
        return np.searchsorted(code(self.document, self.chunk), code(rows.document, rows.chunk))

    def texts(self, wanted: np.ndarray) -> dict[int, str]:
        """The texts of some candidates by their number; they stay in memory, so ask for few."""
        wanted = np.sort(wanted)
        found: dict[int, str] = {}
        for first, batch in _stream(self.parts, ["text"]):
            span = np.searchsorted(wanted, [first, first + batch.num_rows])
            for number in wanted[slice(*span)]:
                found[int(number)] = batch["text"][int(number) - first].as_py()
        return found


def code(document: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """One number for a document and a chunk of it."""
    return document * CHUNKS + chunk


def _stream(parts: Sequence[Path], names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of the first candidate, some columns) over all candidates."""
    first = 0
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(TEXT_ROWS, columns=list(names)):
                yield first, batch
                first += batch.num_rows


# --- the second pass --------------------------------------------------------------------------


def examine(
    folder: Path,
    name: str,
    scored: jobs.Done,
    fronts: Sequence[Rows],
    rules: Mapping[str, Any],
    engine: jobs.Engine,
    chunk_words: int = 0,
    fields: Mapping[str, str] | None = None,
) -> Candidates:
    """Read the rows of some fronts again and look at them closely.

    Args:
        folder: of the jobs.
        name: of this job.
        scored: the first pass.
        fronts: from `ranking.front`; a row of several fronts is looked at once.
        rules: settings of `hygiene.Inspector`.
        engine: who does it.
        chunk_words: with which the chunks of the fronts were cut.
        fields: `text_field` and `id_field`.

    Raises:
        CorpusChanged: a shard no longer holds the rows that it held in the first pass.
    """
    codes = np.unique(np.concatenate([code(rows.document, rows.chunk) for rows in fronts]))
    rows = Rows(codes // CHUNKS, codes % CHUNKS, np.zeros(0), np.zeros(0))
    done = _again(folder, name, scored, rows, dict(rules), engine, chunk_words, fields or {})
    return _load(rows.document, rows.chunk, done)


def take(
    folder: Path,
    name: str,
    scored: jobs.Done,
    front: Rows,
    engine: jobs.Engine,
    fields: Mapping[str, str],
) -> jobs.Done:
    """Parts with the documents of a front (id, source, text) as they are, without a look at them.

    Raises:
        CorpusChanged: see `examine`.
    """
    return _again(folder, name, scored, front.pick(np.argsort(front.document)), None, engine, 0,
                  fields)  # fmt: skip


def _again(
    folder: Path,
    name: str,
    scored: jobs.Done,
    wanted: Rows,
    rules: Mapping[str, Any] | None,
    engine: jobs.Engine,
    chunk_words: int,
    fields: Mapping[str, str],
) -> jobs.Done:
    """Read the wanted rows, which are in the order of the corpus, into parts."""
    starts = ranking.starts(scored.parts)
    spans = [list(map(int, s)) for s in pairwise(np.searchsorted(wanted.document, starts))]
    rows = np.stack([wanted.document, wanted.chunk], axis=1)
    for start, (first, last) in zip(starts, spans, strict=False):
        rows[first:last, 0] -= start
    items = [
        (item := scored.job.items[number]) | {"key": item["key"] | {"candidates": span}}
        for number, span in zip(scored.numbers, spans, strict=True)
        if span[0] < span[1]
    ]
    settings = {"rows": str(_save(folder, rows)), "chunk_words": chunk_words, "rules": rules}
    settings["fields"] = dict(fields)
    job = jobs.write_job(folder, name, f"{PASSES}:candidates_task", settings, items)
    done = jobs.run(job, replace(engine, max_bad=0.0), name)
    found = sum(jobs.notes(part)["rows"] for part in done.parts)
    if found != len(rows):
        raise CorpusChanged(
            f"{found} of {len(rows)} candidates were found again: a file of the corpus was "
            "changed while it was read. Run again"
        )
    return done


def _save(folder: Path, rows: np.ndarray) -> Path:
    """Write an array under a name that its content decides."""
    path = Path(folder) / f".rows-{hash_value(rows.tobytes().hex())[:16]}.npy"
    if not path.exists():
        with records.atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.save(handle, rows)
    return path


def _load(document: np.ndarray, chunk: np.ndarray, done: jobs.Done) -> Candidates:
    found = len(document)
    names = ["tokens", "digest", "reason"]
    tables = [pq.read_table(part, columns=names) for part in done.parts]
    table = pa.concat_tables(tables) if tables else None
    get = (lambda name: table[name].to_numpy()) if tables else (lambda name: np.zeros(0))
    return Candidates(
        document=document,
        chunk=chunk,
        tokens=get("tokens").astype(np.int64),
        quality=np.full(found, np.nan),
        reason=get("reason").astype(object),
        digests=get("digest").astype(np.uint64),
        minhashes=_minhashes(done.parts, found),
        parts=done.parts,
    )


def _minhashes(parts: Sequence[Path], number: int) -> np.ndarray | None:
    if not parts or "minhash" not in pq.read_schema(parts[0]).names:
        return None
    rows = np.empty((number, hygiene.PERMUTATIONS), dtype=np.uint32)
    for first, batch in _stream(parts, ["minhash"]):
        data = np.frombuffer(b"".join(batch["minhash"].to_pylist()), dtype=np.uint32)
        rows[first : first + batch.num_rows] = data.reshape(-1, hygiene.PERMUTATIONS)
    return rows


def add_quality(
    folder: Path, name: str, found: Candidates, scorer: Mapping[str, Any], engine: jobs.Engine
) -> None:
    """Score the quality of all candidates, in place.

    Args:
        folder: of the jobs.
        name: of this job.
        found: the candidates.
        scorer: {"make": "module:function", "settings": {...}}, a maker of a `quality.Scorer`.
        engine: who does it; `ray` uses a pool with a GPU for each actor where there are any.
    """
    items = [{"key": p.name, "label": p.name, "part": str(p)} for p in found.parts]
    settings = {"scorer": dict(scorer), "gpu": True}
    job = jobs.write_job(folder, name, f"{PASSES}:quality_task", settings, items)
    done = jobs.run(job, replace(engine, max_bad=0.0), name)
    values = [pq.read_table(part)["quality"].to_numpy() for part in done.parts]
    found.quality = np.concatenate([np.zeros(0), *values])


# --- results ----------------------------------------------------------------------------------


def write_kept(path: str | Path, found: Candidates, kept: np.ndarray) -> int:
    """Write the kept candidates (id, text, source), in the order of the corpus; their number.

    The suffix of `path` decides the compression: `.jsonl`, `.jsonl.gz` or `.jsonl.zst`.
    """
    with records.writer(path) as write:
        for first, batch in _stream(found.parts, DOCUMENT):
            for row in batch.filter(pa.array(kept[first : first + batch.num_rows])).to_pylist():
                write(row)
    return int(kept.sum())


def write_parts(path: str | Path, parts: Sequence[Path]) -> int:
    """Write all rows (id, text, source) of some parts into one file; their number.

    The suffix of `path` decides the format: `.parquet`, or rows of JSON as in `write_kept`.
    """
    parts = [part for part in parts if jobs.notes(part)["rows"]]
    if not str(path).endswith(".parquet"):
        with records.writer(path) as write:
            for _, batch in _stream(parts, DOCUMENT):
                for row in batch.to_pylist():
                    write(row)
    else:
        with records.atomic_path(path) as temporary:
            made = jobs.Part(temporary)
            for _, batch in _stream(parts, DOCUMENT):
                made.write(pa.Table.from_batches([batch]))
            made.close()
    return sum(jobs.notes(part)["rows"] for part in parts)


def write_contaminated(path: str | Path, found: Candidates) -> int:
    """Write a row for each test question in a candidate: document id, question id, what is shared.

    Returns:
        The number of documents with such a row.
    """
    documents = 0
    with records.writer(path) as write:
        for _, batch in _stream(found.parts, ["id", "shared"]):
            for row in batch.to_pylist():
                shared = records.json.loads(row["shared"]) if row["shared"] else []
                documents += bool(shared)
                for item in shared:
                    write({"id": row["id"], **item})
    return documents
