"""What notebook 01 reads: the user's files where they are named, else what notebook 00 wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trait_lib import contamination, records
from trait_lib.reading import shards
from trait_lib.reading.tables import Report
from trait_lib.run import Stage, hash_value, stage_dir
from trait_lib.selection.scan import corpus

BEFORE = "00_start_here"
ITS_FIELDS = {"text_field": "text", "id_field": "id"}
QUESTIONS = ("problems_test.jsonl", "problems_dev.jsonl", "relevance_test.jsonl")


@dataclass(frozen=True)
class Inputs:
    """All that the selection reads."""

    seed: list[str]  # texts of the original in-domain corpus
    shards: list[shards.Shard]  # of the corpus to select from
    fields: dict[str, str]  # of that corpus: `text_field`, `id_field` and `on_bad`
    questions: dict[str, str]  # of tests, id -> text, that no document may hold
    tokenizer: str  # of the base model; "" where there is none
    labels: Path | None  # of the corpus's documents, to measure with
    told: list[str] = field(default_factory=list)  # what was read, skipped, passed over


def alone(asked: Mapping[str, Any]) -> bool:
    """Whether the notebook reads the user's files only, so that notebook 00 need not have run."""
    return bool(asked["seed_files"] and asked["corpus_files"])


def follows(stage: Stage) -> bool:
    """Whether notebook 00 has run, or must have: then nothing that it holds out may be selected."""
    return not alone(stage.params) or (stage_dir(BEFORE, stage.params) / "manifest.json").exists()


def gather(stage: Stage) -> Inputs:
    """Read what is small, find the shards of what is large, record all as inputs of the stage.

    Raises:
        run.StageMissing: a file is not named and notebook 00 has not run.
        reading.NoCorpus, records.Damaged, tables.EmptyCorpus: a file is not there, cannot be read,
            or holds no text.
        records.BadRow: a bad row with `on_bad: error`.
    """
    asked = stage.params
    own = {name: asked[name] for name in ("text_field", "id_field", "on_bad")}
    before = ITS_FIELDS | {"on_bad": asked["on_bad"]}
    read = Report()
    if asked["seed_files"]:
        files = corpus.files(stage, asked["seed_files"], "seed_files")
        seed = corpus.texts(files, own, read)
    else:
        files = shards.find([stage.read(BEFORE, "seed.jsonl.zst")])
        seed = corpus.texts(files, before, read)
    told = [f"the original in-domain corpus (the seed): {read}"]
    if asked["corpus_files"]:
        pool, fields, labels = shards.find(asked["corpus_files"]), own, None
        identity = hash_value([shard.identity() for shard in pool])
        stage.inputs["corpus_files, by path, size and time"] = identity
        passed = shards.passed_over(asked["corpus_files"])
        told += [f"corpus_files: {n:,} files passed over: {why}" for why, n in passed.items()]
    else:
        pool, fields = shards.find([stage.read(BEFORE, "pool.jsonl.zst")]), before
        labels = stage.read(BEFORE, "pool_labels.jsonl")
    tokenizer = ""
    if not alone(asked):
        tokenizer = records.read_json(stage.read(BEFORE, "base_model.json"))["name_or_path"]
    questions = [stage.external(file) for file in asked["question_files"]]
    if follows(stage):
        questions += [stage.read(BEFORE, file) for file in QUESTIONS]
    return Inputs(seed, pool, fields, corpus.questions(questions), tokenizer, labels, told)


def general_texts(stage: Stage, given: Inputs, number: int) -> list[str]:
    """General text to learn against: `number` documents of the negative files and the general text.

    Without general text, documents of the corpus stand in: nobody has labelled them, and some are
    in the domain.
    """
    asked = stage.params
    fields = {"on_bad": asked["on_bad"]}
    if asked["general_files"] or alone(asked):
        fields["text_field"] = asked["text_field"]
    if asked["general_files"]:
        general = corpus.files(stage, asked["general_files"], "general_files")
    elif alone(asked):
        file = stage.scratch("general_sample.jsonl.zst")
        drawn = corpus.sample(given.shards, number, asked["seed"], given.fields)
        records.write_rows(file, ({asked["text_field"]: text} for text in drawn))
        general = shards.find([file])
    else:
        general = shards.find([stage.read(BEFORE, "general.jsonl.zst")])
    more = corpus.files(stage, asked["negative_files"], "negative_files")
    sources = corpus.shares(more, asked["negative_shares"], general)
    read = Report()
    texts = corpus.draw(sources, number, asked["seed"], fields, read)
    given.told.append(f"general text: {read}")
    return texts


def rules(stage: Stage, given: Inputs) -> dict[str, Any]:
    """The settings of a `hygiene.Inspector`: what a candidate must pass before it counts."""
    asked, known = stage.params, ""
    if follows(stage):  # words that do not count, and held-out documents
        known = contamination.read_known(stage.read(BEFORE, "contamination.json"))
        known = corpus.save_questions(stage.folder, known)
    return {
        "tokenizer": given.tokenizer,
        "known": known,
        "questions": corpus.save_questions(stage.folder, given.questions),
        "min_words": asked["min_words"],
        "shingle_words": asked["shingle_words"] if asked["near_duplicates"] else 0,
        "languages": asked["languages"],
        "language_min": asked["language_min"],
    }
