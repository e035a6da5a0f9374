"""From files or Hub data sets to the files of stage 00: problems first, then documents.

Problems come first because a test question that stands in a training text must be known before
that text is written. Which document goes where is explained in `parts`.
Not stated in the paper; ours because every later stage reads the same names, whatever the source.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trait_lib import contamination, form, records
from trait_lib.corpora.documents import base, load_documents
from trait_lib.corpora.parts import divide, drop_contaminated, sample
from trait_lib.corpora.tasks import SPLITS, load_problems, load_relevance, load_task
from trait_lib.reading import shards
from trait_lib.reading.tables import EmptyCorpus, Report
from trait_lib.reading.where import parse
from trait_lib.records import Row
from trait_lib.run import Stage

Params = Mapping[str, Any]
TASKS = ("tasks", "general_tasks")
STREAMED = {"pool": "pool.jsonl.zst", "general": "general.jsonl.zst", "seed": "seed.jsonl.zst"}


@dataclass
class Built:
    """What was read and written: a report per input, rows per output, what was dropped and why."""

    reports: dict[str, Report] = field(default_factory=dict)
    written: Counter[str] = field(default_factory=Counter)
    contaminated: dict[str, Counter[str]] = field(default_factory=dict)
    index: contamination.Index | None = None  # of all dev and test questions
    held_out: set[int] = field(default_factory=set)  # fingerprints of documents


def write_problems(folder: Path, params: Params, built: Built) -> contamination.Index:
    """Write the problem and relevance files; return the index of all dev and test questions.

    The index holds every problem of the task files, also those that `dev_per_task` and
    `test_per_task` leave out of this run. Training problems whose text holds one of them are
    dropped and counted in `built`.

    Raises:
        as `load_problems` and `load_relevance`; `EmptyCorpus` when there is no test problem.
    """
    tasks = [load_task(name, params["domain"]) for name in params["tasks"]]
    reading = {"data_dir": params["data_dir"], "on_bad": params["on_bad"]}
    lending = {**reading, "dev_share": params["dev_share"]}
    rows, pairs = {}, {}
    for split in SPLITS:
        built.reports[f"{split} problems"] = Report()
        shared = {"report": built.reports[f"{split} problems"]}
        rows[split] = list(load_problems(tasks, split, **lending, **shared))
        pairs[split] = list(load_relevance(tasks, split, **reading, **shared))
    if not rows["test"] and not pairs["test"]:
        raise EmptyCorpus(f"tasks {params['tasks']} hold no test problem; name a task with some")
    later = [*rows["dev"], *rows["test"]]
    questions = {row["id"]: row["question"] for row in later}
    questions |= {row["id"]: row["prompt"] for row in [*pairs["dev"], *pairs["test"]]}
    index = built.index = contamination.build_index(questions)
    found = built.contaminated["train problems"] = Counter()
    rows["train"] = list(drop_contaminated(rows["train"], index, found, form.example))
    found = built.contaminated["train pairs"] = Counter()
    pairs["train"] = list(drop_contaminated(pairs["train"], index, found, _pair_text))
    general = [load_task(name, params["domain"]) for name in params["general_tasks"]]
    outputs = {
        f"problems_{split}.jsonl": per_task(rows[split], params[f"{split}_per_task"])
        for split in SPLITS
    }
    outputs |= {
        "relevance_train.jsonl": per_task(pairs["train"], params["pairs_per_task"]),
        "relevance_test.jsonl": per_task(pairs["test"], params["pairs_per_task"]),
        "general_questions.jsonl": per_task(
            list(load_problems(general, "test", **reading)), params["test_per_task"]
        ),
        "keywords.jsonl": [],
    }
    for name, kept in outputs.items():
        built.written[name] = records.write_rows(folder / name, kept)
    return index


def per_task(rows: list[Row], count: int) -> list[Row]:
    """At most `count` rows (0: all) of each task, chosen by the hash of their id."""
    tasks = sorted({row["task"] for row in rows})
    return [row for task in tasks for row in sample((r for r in rows if r["task"] == task), count)]


def write_documents(folder: Path, params: Params, index: contamination.Index, built: Built) -> None:
    """Write pool, general text, seed corpus, held-out texts and the pool's labels, in one pass.

    General and seed documents in which a test question stands are dropped and counted in
    `built`; the pool is cleaned in stage 01, where documents are chosen from it.

    Raises:
        as `load_documents`; `EmptyCorpus` when a part is left without a document.
    """
    labels: list[Row] = []
    heldout: dict[str, list[Row]] = {"heldout_domain": [], "heldout_general": []}
    trained = array("Q")  # fingerprints of what is trained on or written from
    with ExitStack() as stack:
        write = {
            part: stack.enter_context(records.writer(folder / name))
            for part, name in STREAMED.items()
        }
        for part, row in _divided(params, index, built):
            if part in (*heldout, "left_out"):
                built.held_out.add(contamination.fingerprint(row["text"]))
            if part in heldout:
                heldout[part].append(row)
                continue
            if part in ("general", "seed"):
                trained.append(contamination.fingerprint(row["text"]))
            built.written[STREAMED.get(part, part)] += 1
            if part in write:
                write[part](_plain(row))
            if part == "pool" and row.get(params["label_field"]) is not None:
                labels.append(_label(row, params))
        built.held_out.difference_update(trained)  # a copy in another group: not held out
        for part, rows in heldout.items():
            unseen = (r for r in rows if contamination.fingerprint(r["text"]) in built.held_out)
            heldout[part] = list(unseen)
        missing = [name for name in STREAMED.values() if not built.written[name]]
        missing += [part for part, rows in heldout.items() if not rows]
        if missing:  # before any file takes its place
            raise EmptyCorpus(
                f"no document is left for {', '.join(missing)}; see the conditions and shares: "
                "pool_where, seed_where, general_where, domain_where, general_share, heldout_share"
            )
    for part, rows in heldout.items():
        kept = sample(rows, params["heldout_documents"])
        built.written[f"{part}.jsonl"] = len(kept)
        records.write_rows(folder / f"{part}.jsonl", map(_plain, kept))
    built.written["pool_labels.jsonl"] = records.write_rows(folder / "pool_labels.jsonl", labels)


def write_known(folder: Path, built: Built) -> contamination.Index:
    """Write `contamination.json`, by which all later stages leave out the same; return the index.

    Of a generated world the index holds the questions that `folder` holds.
    """
    index = built.index
    if index is None:
        rows = (
            r for s in ("dev", "test") for r in records.read_rows(folder / f"problems_{s}.jsonl")
        )
        index = contamination.build_index({row["id"]: row["question"] for row in rows})
        rows = (
            r
            for n in ("domain", "general")
            for r in records.read_rows(folder / f"heldout_{n}.jsonl")
        )
        built.held_out.update(contamination.fingerprint(row["text"]) for row in rows)
        # made-up documents are short, and a few stand in the base model's text word for word
        trained = (contamination.fingerprint(text) for _, text in training_texts(folder))
        built.held_out.difference_update(trained)
    contamination.write_known(folder / "contamination.json", index.shared, built.held_out)
    return index


def _divided(params: Params, index: contamination.Index, built: Built) -> Iterator[tuple[str, Row]]:
    """Yield (part, document) of the pool, the general files and the seed corpus."""
    shares = {
        "group_field": params["group_field"],
        "heldout_share": params["heldout_share"],
        "general_where": params["general_where"],
    }
    own_general = bool(params["general_files"])
    from_pool = 0.0 if own_general else params["general_share"]
    domain_where = params["domain_where"]
    parts = divide(
        _load("pool", params, built), general_share=from_pool, domain_where=domain_where, **shares
    )
    yield from _clean(parts, "general", index, built)
    if own_general:
        # all but the held-out groups; the conditions were applied while reading
        whole = {**shares, "general_where": [], "domain_where": [], "general_share": 1.0}
        yield from _clean(divide(_load("general", params, built), **whole), "general", index, built)
    whole = {**shares, "general_where": [], "domain_where": [], "general_share": 0.0}
    names = {"pool": "seed", "heldout_general": "heldout_domain"}
    seed = divide(_load("seed", params, built), **whole)
    yield from _clean(((names[part], row) for part, row in seed), "seed", index, built)


def _load(corpus: str, params: Params, built: Built) -> Iterator[Row]:
    """The documents of one of the corpora (pool, general, seed) as its parameters say."""
    report = built.reports[corpus] = Report()
    fields = [params[name] for name in ("group_field", "label_field", "genre_field")]
    used = [*params["domain_where"], *(params["general_where"] if corpus == "pool" else [])]
    fields += [condition.field for condition in parse(used)]
    own = "seed_" if corpus == "seed" else ""
    return load_documents(
        params[f"{corpus}_files"],
        params[f"{own}text_field"] or params["text_field"],
        params[f"{corpus}_where"],
        params["on_bad"],
        id_field=params[f"{own}id_field"] or params["id_field"],
        keep=[name for name in dict.fromkeys(fields) if name not in ("id", "text", "source")],
        data_dir=params["data_dir"],
        max_characters=params["max_characters"],
        limit=params[f"{corpus}_limit"],
        report=report,
    )


def _clean(
    parts: Iterator[tuple[str, Row]], part: str, index: contamination.Index, built: Built
) -> Iterator[tuple[str, Row]]:
    """Drop the documents of `part` in which a test question stands; pass the others on."""
    found = built.contaminated.setdefault(part, Counter())
    for name, row in parts:
        hits = contamination.hits(row["text"], index) if name == part else ()
        if hits:
            found[row["id"]] = len(hits)
        else:
            yield name, row


def _plain(row: Row) -> Row:
    return {"id": row["id"], "text": row["text"], "source": row["source"]}


def _label(row: Row, params: Params) -> Row:
    """The row of `pool_labels.jsonl`: known of a document, and for measuring only."""
    return {
        "id": row["id"],
        "label": row[params["label_field"]],
        "genre": row.get(params["genre_field"]) or "",
        "quality": "",
    }


def _pair_text(row: Row) -> str:
    return f"{row['query']} {row['document']}"


def training_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of everything in `folder` that is trained on or written from, but for the pool."""
    for name in ("general.jsonl.zst", "seed.jsonl.zst"):
        for row in records.read_rows(folder / name):
            yield f"{name}: {row['id']}", row["text"]
    for row in records.read_rows(folder / "problems_train.jsonl"):
        yield f"problems_train.jsonl: {row['id']}", form.example(row)


def record_inputs(stage: Stage, params: Params) -> list[str]:
    """Record by their content all files and Hub data sets that a run reads; what there is to say.

    These are the corpora, the task files with their examples, and the tasks' data. A Hub data
    set is recorded by the hash of its files' versions.

    Raises:
        ParameterError: a task file is missing or wrong.
        NoCorpus: a file is not there.
        Damaged: a file of an unknown kind.
    """
    tasks = [load_task(name, params["domain"]) for key in TASKS for name in params[key]]
    sources = [source for name in STREAMED for source in params[f"{name}_files"]]
    sources += [source for task in tasks for split in SPLITS for source in task.sources(split)]
    start = base(params["data_dir"])
    corpus = shards.find(dict.fromkeys(sources), "files", start) if sources else []
    files = [str(file) for task in tasks for file in task.files]
    files += [shard.name for shard in corpus if shard.kind != "hub"]
    for file in dict.fromkeys(files):
        stage.external(file)
    hubs = {shard.name: shard.version for shard in corpus if shard.kind == "hub"}
    stage.inputs |= hubs
    names = dict.fromkeys([*(Path(file).name for file in files), *hubs])
    lines = [f"reads {name}" for name in names]
    passed = shards.passed_over(list(dict.fromkeys(sources)), start)
    return lines + [f"passed over {count:,} files: {why}" for why, count in passed.items()]
