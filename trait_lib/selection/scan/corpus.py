"""The passes over a whole corpus, and samples of it, as the notebook calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from trait_lib import records, run
from trait_lib.reading import tables
from trait_lib.reading.shards import Shard, find
from trait_lib.reading.tables import EmptyCorpus, Report
from trait_lib.selection.models import dsir
from trait_lib.selection.scan import engine as engines
from trait_lib.selection.scan import jobs, passes

SAMPLED_SHARDS = 64  # read at the same time
QUESTION_FIELDS = ("question", "prompt", "problem")


def scan(
    folder: Path,
    shards: Sequence[Shard],
    methods: Sequence[passes.Named],
    engine: jobs.Engine,
    fields: Mapping[str, str],
) -> jobs.Done:
    """The first pass: every document scored by every method.

    Args:
        folder: of the stage; what cannot be read is listed in its `set_aside.jsonl`.
        shards: of the corpus.
        methods: how to score.
        engine: who does it.
        fields: `text_field`, `id_field` and `on_bad`, see `tables.read`.

    Raises:
        jobs.TooManyBad: more shards are damaged than the engine allows.
        records.BadRow: a bad row, with `on_bad: error`.
        EmptyCorpus: no document at all.
    """
    settings = {"methods": [dict(m) for m in methods], "fields": dict(fields)}
    items = passes.items(shards)
    job = jobs.write_job(folder / run.SCRATCH, "score", "score", settings, items)
    done = engines.run(job, engine, "scores")
    records.write_rows(folder / "set_aside.jsonl", done.set_aside)
    if not sum(jobs.notes(part)["rows"] for part in done.parts):
        raise EmptyCorpus(
            f"{shards[0].label()}: holds no document, nor do the other shards; {was_read(done)}"
        )
    return done


def was_read(done: jobs.Done) -> Report:
    """What the first pass read, kept and skipped."""
    report = Report()
    for part in done.parts:
        report.add(jobs.notes(part)["read"])
    return report


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
    job = jobs.write_job(folder / run.SCRATCH, "grams", "grams", settings, items)
    done = engines.run(job, engine, "grams")
    return [(part, items[i]) for part, i in zip(done.parts, done.numbers, strict=True)]


def files(stage: run.Stage, sources: Sequence[str], parameter: str) -> list[Shard]:
    """The shards of a parameter's files, their content recorded as an input of the stage."""
    shards = find(sources, parameter) if sources else []
    for name in dict.fromkeys(shard.name for shard in shards if shard.kind != "hub"):
        stage.external(name)
    stage.inputs |= {shard.label(): shard.version for shard in shards if shard.kind == "hub"}
    return shards


def texts(
    shards: Sequence[Shard], fields: Mapping[str, str], report: Report | None = None
) -> list[str]:
    """All texts of some shards, in memory.

    Raises:
        records.BadRow: a shard or a row cannot be read; the message names it.
        EmptyCorpus: there is no text.
    """
    report = Report() if report is None else report
    found = list(_texts(shards, fields, report))
    if not found:
        raise EmptyCorpus(f"{shards[0].label()}: holds no document with text; {report}")
    return found


def _texts(
    shards: Sequence[Shard], fields: Mapping[str, str], report: Report | None = None
) -> Iterator[str]:
    for shard in shards:
        for _, table in tables.read(shard, **fields, report=report):
            if report:
                report.documents += len(table)
            yield from table["text"].to_pylist()


def shares(
    files: Sequence[Shard], given: Sequence[float], general: Sequence[Shard]
) -> list[tuple[list[Shard], float]]:
    """Which shards give which share of the negatives: each of `files` its own, `general` the rest.

    The files of general text are one source, whatever each of them holds.

    Raises:
        ValueError: not one share per file, or shares that are not positive or exceed 1.
    """
    if len(files) != len(given):
        raise ValueError(f"{len(files)} negative_files need as many negative_shares: {given}")
    rest = 1 - sum(given)
    if any(not share > 0 for share in given) or rest < -1e-9:
        raise ValueError(f"negative_shares must be above 0 and add up to at most 1: {given}")
    extra = [([file], share) for file, share in zip(files, given, strict=True)]
    return extra + ([(list(general), rest)] if rest > 1e-9 else [])


def draw(
    sources: Sequence[tuple[Sequence[Shard], float]],
    number: int,
    seed: int,
    fields: Mapping[str, str],
    report: Report | None = None,
) -> list[str]:
    """Draw `number` documents from sources in stated shares, each source read once as a stream.

    Args:
        sources: shards of each source, and its share; shares are divided by their sum.
        number: how many documents in all.
        seed: decides the draw.
        fields: see `scan`.
        report: of what was read.

    Returns:
        The documents in random order.

    Raises:
        EmptyCorpus: a source holds fewer documents than its share asks for.
    """
    generator = np.random.default_rng(seed)
    given = np.array([share for _, share in sources])
    # cumulative rounding: the parts add up to `number` exactly
    ends = np.round(np.cumsum(given) / given.sum() * number).astype(int)
    drawn: list[str] = []
    for (shards, _), wanted in zip(sources, np.diff(ends, prepend=0), strict=True):
        kept = reservoir(_texts(shards, fields, report), int(wanted), generator)
        if len(kept) < wanted:
            more = f" in {len(shards)} shards" if len(shards) > 1 else ""
            raise EmptyCorpus(f"{shards[0].label()}: {len(kept)} documents{more}, {wanted} are "
                              "needed; lower positives_max or name more general text")  # fmt: skip
        drawn += kept
    return [drawn[i] for i in generator.permutation(len(drawn))]


def reservoir(items: Iterable[str], number: int, generator: np.random.Generator) -> list[str]:
    """A uniform sample of `number` items of a stream (algorithm R); fewer when it is shorter."""
    kept: list[str] = []
    for seen, item in enumerate(items):
        if seen < number:
            kept.append(item)
        elif (slot := int(generator.integers(seen + 1))) < number:
            kept[slot] = item
    return kept


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
    path = folder / run.SCRATCH / f"questions-{run.hash_value(found)[:16]}.json"
    records.write_json(path, found)
    return str(path)


def sample(shards: Sequence[Shard], number: int, seed: int, fields: Mapping[str, str]) -> list[str]:
    """About `number` texts of a corpus in random order; nobody has labelled them.

    `SAMPLED_SHARDS` shards, evenly spread, are read first, each as far as its share of a fivefold
    sample needs. Where they hold less, as many others follow, and so on; where all together hold
    less, each is read to its end. No more than `number` texts and a batch are in memory.

    Raises:
        EmptyCorpus: no text was found.
    """
    generator = np.random.default_rng(seed)
    kept: list[tuple[float, str]] = []
    waiting, seen = list(range(len(shards))), 0
    begun: list[Iterator[list[str]]] = []
    while (waiting or begun) and seen < 5 * number:
        if waiting:
            spread = np.linspace(0, len(waiting) - 1, SAMPLED_SHARDS).round().astype(int)
            chosen = [waiting[i] for i in np.unique(spread)]
            waiting = sorted(set(waiting) - set(chosen))
            streams = [_batches(shards[i], fields) for i in chosen]
        else:
            streams, begun = begun, []
        each = -(-(5 * number - seen) // len(streams))
        for stream in streams:
            took = 0
            for batch in stream:
                # the smallest of one random number a text are a uniform sample of any stream
                drawn = zip(generator.random(len(batch)), batch, strict=True)
                kept = sorted([*kept, *drawn])[:number]
                took += len(batch)
                if took >= each:
                    begun.append(stream)
                    break
            seen += took
    if not kept:
        raise EmptyCorpus(f"{shards[0].label()}: holds no document with text, nor do the others")
    return [text for _, text in kept]


def _batches(shard: Shard, fields: Mapping[str, str]) -> Iterator[list[str]]:
    """Batches of a shard's texts; of a damaged one those before the damage."""
    try:
        for _, table in tables.read(shard, **fields):
            yield table["text"].to_pylist()
    except records.Damaged:
        return  # the first pass reports it
