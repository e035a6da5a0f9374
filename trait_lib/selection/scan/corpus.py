"""The passes over a whole corpus, as the notebook calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from trait_lib import records, run
from trait_lib.selection.models import dsir
from trait_lib.selection.models.classifier import EmptyCorpus
from trait_lib.selection.scan import jobs, passes
from trait_lib.selection.scan.shards import Damaged, Shard, find, read

SAMPLED_SHARDS = 64
QUESTION_FIELDS = ("question", "prompt", "problem")


def scan(
    folder: Path,
    shards: Sequence[Shard],
    methods: Sequence[passes.Maker],
    engine: jobs.Engine,
    fields: Mapping[str, str],
) -> jobs.Done:
    """The first pass: every document scored by every method.

    Args:
        folder: of the stage; what cannot be read is listed in its `set_aside.jsonl`.
        shards: of the corpus.
        methods: how to score.
        engine: who does it.
        fields: `text_field` and `id_field`.

    Raises:
        score.TooManyBad: more shards are damaged than the engine allows.
        EmptyCorpus: no document at all.
    """
    settings = {"methods": [dict(m) for m in methods], "fields": dict(fields)}
    items = passes.items(shards)
    job = jobs.write_job(
        folder / "parts", "score", f"{passes.__name__}:score_task", settings, items
    )
    done = jobs.run(job, engine, "scores")
    records.write_rows(folder / "set_aside.jsonl", done.set_aside)
    if not sum(jobs.notes(part)["rows"] for part in done.parts):
        raise EmptyCorpus(f"{shards[0].label()}: holds no document, nor do the other shards")
    return done


def count_grams(
    folder: Path,
    shards: Sequence[Shard],
    engine: jobs.Engine,
    fields: Mapping[str, str],
    buckets: int = dsir.BUCKETS,
    limit: int = dsir.FIT_GRAMS,
) -> np.ndarray:
    """DSIR's counts of the raw corpus, int64 (buckets,): as if its shards were read in a row.

    Like the published fit it stops with the document that goes beyond `limit` grams (about two
    gigabytes of text), so its cost does not grow with the corpus.
    """
    counts = np.zeros(buckets, dtype=np.int64)
    engine = replace(engine, max_bad=1.0)  # the first pass counts the damaged ones
    first, step = 0, max(1, engine.workers)
    while first < len(shards):
        wave = passes.items(shards[first : first + step])
        first += step
        for part, item in _counted(folder, wave, engine, fields, buckets, limit):
            more = pq.read_table(part)["grams"].to_numpy()
            room = limit - int(counts.sum())
            if more.sum() > room:  # read this shard again, no further than there is room
                again = _counted(
                    folder, [item], replace(engine, name="local"), fields, buckets, room
                )
                return counts + pq.read_table(again[0][0])["grams"].to_numpy()
            counts += more
        # as many shards as should do, by what the first ones held
        step = max(step, int(limit / max(1.0, counts.sum() / first)) + 1 - first)
    return counts


def _counted(
    folder: Path,
    items: Sequence[Mapping],
    engine: jobs.Engine,
    fields: Mapping[str, str],
    buckets: int,
    limit: int,
) -> list[tuple[Path, Mapping]]:
    """The counts' part of each item that can be read."""
    settings = {"buckets": buckets, "limit": limit, "fields": dict(fields)}
    task = f"{passes.__name__}:count_task"
    job = jobs.write_job(folder / "parts", "grams", task, settings, items)
    done = jobs.run(job, engine, "grams")
    return [(part, items[i]) for part, i in zip(done.parts, done.numbers, strict=True)]


def files(stage: run.Stage, sources: Sequence[str], parameter: str) -> list[Shard]:
    """The shards of a parameter's files, their content recorded as an input of the stage."""
    found = find(sources, parameter) if sources else []
    for name in dict.fromkeys(shard.name for shard in found if shard.kind != "hub"):
        stage.external(name)
    for shard in found:
        if shard.kind == "hub":
            stage.inputs[shard.label()] = shard.version
    return found


def texts(shards: Sequence[Shard], fields: Mapping[str, str]) -> list[str]:
    """All non-empty texts of some shards, in memory.

    Raises:
        Damaged: a shard cannot be read; the message names it.
        EmptyCorpus: there is no text.
    """
    found: list[str] = []
    for shard in shards:
        try:
            for _, table in read(shard, **fields):
                found += [text for text in table["text"].to_pylist() if text.strip()]
        except Damaged as error:
            raise Damaged(f"{shard.label()}: {error}") from None
    if not found:
        raise EmptyCorpus(f"{shards[0].label()}: holds no document with text")
    return found


def questions(paths: Sequence[Path], names: Sequence[str] = QUESTION_FIELDS) -> dict[str, str]:
    """The questions of files of evaluation items: `file/id` -> text.

    Raises:
        records.BadRow: a row without any of the fields `names`; names file and row.
    """
    found = {}
    for path in paths:
        for number, row in enumerate(records.read_rows(path), start=1):
            text = next((row[name] for name in names if isinstance(row.get(name), str)), None)
            if text is None:
                raise records.BadRow(f"{path}: row {number} has none of the fields {names}")
            stem = Path(path).name.split(".")[0]
            name = f"{stem}/{row.get('id', number)}"  # two files may have the same name and ids
            found[name if name not in found else f"{path}:{number}"] = text
    return found


def save_questions(folder: Path, found: Mapping[str, str]) -> str:
    """Write questions below `folder`, named by their hash, for workers to load; the path."""
    path = folder / "parts" / f".questions-{run.hash_value(found)[:16]}.json"
    records.write_json(path, found)
    return str(path)


def sample(shards: Sequence[Shard], number: int, seed: int, fields: Mapping[str, str]) -> list[str]:
    """About `number` texts of a corpus in random order; nobody has labelled them.

    At most `SAMPLED_SHARDS` shards, evenly spread, are read, each as far as its share of a
    fivefold sample needs. No more than `number` texts and one batch are in memory.

    Raises:
        EmptyCorpus: no text was found.
    """
    chosen = np.unique(np.linspace(0, len(shards) - 1, SAMPLED_SHARDS).round().astype(int))
    each = -(-5 * number // len(chosen))
    draw = np.random.default_rng(seed)
    kept: list[tuple[float, str]] = []
    for i in chosen:
        before = kept
        try:
            for texts in _texts_up_to(shards[i], each, fields):
                # the smallest of one random number a text are a uniform sample of any stream
                kept = sorted([*kept, *zip(draw.random(len(texts)), texts, strict=True)])[:number]
        except Damaged:
            kept = before  # the first pass reports it
    if not kept:
        raise EmptyCorpus(f"{shards[0].label()}: holds no document with text, nor do the others")
    return [text for _, text in kept]


def _texts_up_to(shard: Shard, number: int, fields: Mapping[str, str]) -> Iterator[list[str]]:
    """Batches of a shard's non-empty texts, until there are `number`."""
    seen = 0
    for _, table in read(shard, **fields):
        texts = [text for text in table["text"].to_pylist() if text.strip()]
        yield texts
        seen += len(texts)
        if seen >= number:
            return
