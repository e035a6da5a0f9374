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
from trait_lib.selection.cut import columns, hygiene
from trait_lib.selection.cut.ranking import Ranked
from trait_lib.selection.models import dsir
from trait_lib.selection.scan import engine as engines
from trait_lib.selection.scan import jobs
from trait_lib.selection.scan.passes import CorpusChanged

CHUNKS = 1 << dsir.CHUNK_BITS
TEXT_ROWS = 1000
DOCUMENT = ("id", "text", "source")


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

    def find(self, rows: Ranked) -> np.ndarray:
        """The candidates' numbers of some rows, in their order, int64."""
        return np.searchsorted(code(self.document, self.chunk), code(rows.document, rows.chunk))

    def texts(self, wanted: np.ndarray) -> dict[int, str]:
        """The texts of some candidates by their number; they stay in memory, so ask for few."""
        wanted = np.sort(wanted)
        texts: dict[int, str] = {}
        for first, batch in _numbered(self.parts, ["text"]):
            span = np.searchsorted(wanted, [first, first + batch.num_rows])
            for number in wanted[slice(*span)].tolist():
                texts[number] = batch["text"][number - first].as_py()
        return texts

    def draw(self, rows: Ranked, number: int, seed: int) -> list[str]:
        """The texts of about `number` of some rows, drawn at random, in the corpus's order."""
        shuffled = np.random.default_rng(seed).permutation(self.find(rows))
        return list(self.texts(shuffled[:number]).values())


def code(document: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """One number for a document and a chunk of it."""
    return document * CHUNKS + chunk


def _numbered(parts: Sequence[Path], names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of the first candidate, some columns) over all candidates."""
    first = 0
    for batch in columns.batches(parts, names, TEXT_ROWS):
        yield first, batch
        first += batch.num_rows


# --- the second pass --------------------------------------------------------------------------


def examine(
    folder: Path,
    name: str,
    scored: jobs.Done,
    fronts: Sequence[Ranked],
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
    rows = Ranked(codes // CHUNKS, codes % CHUNKS, np.zeros(0), np.zeros(0))
    done = read_again(folder, name, scored, rows, dict(rules), engine, chunk_words, fields or {})
    return _examined(rows.document, rows.chunk, done.parts)


def examine_all(
    folder: Path,
    scored: jobs.Done,
    fronts: Mapping[str, Ranked],
    chunk_words: Mapping[str, int | None],
    rules: Mapping[str, Any],
    engine: jobs.Engine,
    fields: Mapping[str, str],
) -> dict[str, Candidates]:
    """The candidates of several rankings: those of documents are read together, chunks apart.

    Args:
        folder: of the jobs.
        scored: the first pass.
        fronts: of each ranking.
        chunk_words: of each ranking, None where it ranks documents; see `examine`.
        rules: settings of `hygiene.Inspector`.
        engine: who does it.
        fields: `text_field` and `id_field`.

    Returns:
        The candidates of each ranking; rankings that are read together share them.
    """
    seen = {}
    for words in dict.fromkeys(chunk_words.values()):
        together = [front for name, front in fronts.items() if chunk_words[name] == words]
        name = "candidates" if words is None else "chunks"
        seen[words] = examine(folder, name, scored, together, rules, engine, words or 0, fields)
    return {name: seen[chunk_words[name]] for name in fronts}


def read_again(
    folder: Path,
    name: str,
    scored: jobs.Done,
    wanted: Ranked,
    rules: Mapping[str, Any] | None,
    engine: jobs.Engine,
    chunk_words: int,
    fields: Mapping[str, str],
) -> jobs.Done:
    """Parts with the wanted rows (id, source, text), which are in the order of the corpus.

    Args:
        rules: with them the parts also hold what `hygiene.Inspector` finds; see `examine`.

    Raises:
        CorpusChanged: a shard no longer holds the rows that it held in the first pass.
    """
    starts = columns.starts(scored.parts)
    spans = [list(map(int, s)) for s in pairwise(np.searchsorted(wanted.document, starts))]
    rows = np.stack([wanted.document, wanted.chunk], axis=1)
    for start, (first, last) in zip(starts, spans, strict=False):
        rows[first:last, 0] -= start
    items = [
        (item := scored.job.items[number])
        | {"key": item["key"] | {"candidates": span}, "scored": str(part)}
        for number, part, span in zip(scored.numbers, scored.parts, spans, strict=True)
        if span[0] < span[1]
    ]
    settings = {"rows": str(_save(folder, rows)), "chunk_words": chunk_words, "rules": rules}
    settings["fields"] = dict(fields)
    job = jobs.write_job(folder, name, "candidates", settings, items)
    done = engines.run(job, replace(engine, max_bad=0.0), name)
    again = sum(jobs.notes(part)["rows"] for part in done.parts)
    if again != len(rows):
        raise CorpusChanged(
            f"{again} of {len(rows)} candidates were found again: a file of the corpus was "
            "changed while it was read. Run again"
        )
    return done


def _save(folder: Path, rows: np.ndarray) -> Path:
    """Write an array under a name that its content decides."""
    path = Path(folder) / f"rows-{hash_value(rows.tobytes().hex())[:16]}.npy"
    if not path.exists():
        with records.atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.save(handle, rows)
    return path


def _examined(document: np.ndarray, chunk: np.ndarray, parts: Sequence[Path]) -> Candidates:
    """The columns of the second pass in memory, without the texts."""
    number = len(document)
    tokens, digests = np.zeros(number, dtype=np.int64), np.zeros(number, dtype=np.uint64)
    reasons, minhashes = np.full(number, "", dtype=object), None
    names = ["tokens", "digest", "reason"]
    if parts and "minhash" in pq.read_schema(parts[0]).names:
        names.append("minhash")
        minhashes = np.empty((number, hygiene.PERMUTATIONS), dtype=np.uint32)
    for first, batch in _numbered(parts, names):
        here = slice(first, first + batch.num_rows)
        tokens[here], digests[here] = batch["tokens"].to_numpy(), batch["digest"].to_numpy()
        reasons[here] = batch["reason"].to_pylist()
        if minhashes is not None:
            data = np.frombuffer(b"".join(batch["minhash"].to_pylist()), dtype=np.uint32)
            minhashes[here] = data.reshape(-1, hygiene.PERMUTATIONS)
    unknown = np.full(number, np.nan)
    return Candidates(document, chunk, tokens, unknown, reasons, digests, minhashes, parts)


def add_quality(
    folder: Path,
    candidates: Mapping[str, Candidates],
    scorer: Mapping[str, Any] | None,
    engine: jobs.Engine,
) -> float:
    """Score the quality of all candidates, in place.

    Args:
        folder: of the jobs.
        candidates: from `examine_all`.
        scorer: {"name": of `passes.SCORERS`, "settings": {...}};
            None scores nothing.
        engine: who does it; `ray` uses a pool with a GPU for each actor where there are any.

    Returns:
        The share of the candidates whose quality is known.
    """
    every = list({id(one): one for one in candidates.values()}.values())  # rankings share them
    if scorer:
        parts = [part for one in every for part in one.parts]
        items = [{"key": part.name, "label": part.name, "part": str(part)} for part in parts]
        settings = {"scorer": dict(scorer), "gpu": True}
        job = jobs.write_job(folder, "quality", "quality", settings, items)
        done = engines.run(job, replace(engine, max_bad=0.0), "quality")
        ends = np.cumsum([len(one.tokens) for one in every])
        scores = np.split(columns.whole(done.parts, "quality"), ends[:-1])
        for one, quality in zip(every, scores, strict=True):
            one.quality = quality
    return float(np.mean(np.isfinite(np.concatenate([one.quality for one in every]))))


# --- results ----------------------------------------------------------------------------------


def write_kept(path: str | Path, seen: Candidates, kept: np.ndarray) -> int:
    """Write the kept candidates (id, text, source), in the order of the corpus; their number.

    The suffix of `path` decides the compression: `.jsonl`, `.jsonl.gz` or `.jsonl.zst`.
    """
    with records.writer(path) as write:
        for first, batch in _numbered(seen.parts, DOCUMENT):
            for row in batch.filter(pa.array(kept[first : first + batch.num_rows])).to_pylist():
                write(row)
    return int(kept.sum())


def write_contaminated(path: str | Path, seen: Candidates) -> int:
    """Write a row for each test question in a candidate: document id, question id, what is shared.

    Returns:
        The number of documents with such a row.
    """
    documents = 0
    with records.writer(path) as write:
        for _, batch in _numbered(seen.parts, ["id", "shared"]):
            for row in batch.to_pylist():
                shared = records.json.loads(row["shared"]) if row["shared"] else []
                documents += bool(shared)
                for item in shared:
                    write({"id": row["id"], **item})
    return documents
