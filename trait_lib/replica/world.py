"""The embedded world: corpora in which the domain is a known minority, problems with exact truth.

Every document is a function of (seed, stream, index), so a corpus can be made as large as one
likes, streamed, and any part of it made again. Labels are kept apart, for measuring only.
Not stated in the paper; ours because the paper's corpora and ads data are closed, and a claim
about a mechanism can be checked where the truth is known.

    python -m trait_lib.replica.world pool --documents 100000 --seed 0 > pool.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trait_lib import form, records
from trait_lib.records import Row
from trait_lib.replica import ads, facts, general, law, maths
from trait_lib.replica.facts import Facts

DOMAINS = {"math": maths, "ads": ads, "law": law}
GENERAL = "general"
PAGES = 4  # of a collection
QUALITIES = ("good", "boilerplate", "broken", "keyword spam")


@dataclass(frozen=True)
class Sizes:
    """How much of everything to make; counts are documents or problems."""

    general_documents: int = 44_000
    pool_documents: int = 80_000
    seed_documents: int = 400
    heldout_documents: int = 200
    train_per_task: int = 400
    dev_per_task: int = 40
    test_per_task: int = 80
    domain_share: float = 0.05  # of each domain in the pool
    poor_share: float = 0.15
    duplicate_share: float = 0.05


# --- documents --------------------------------------------------------------------------------


def documents(
    world: Facts, seed: int, stream: str, count: int, shares: dict[str, float], sizes: Sizes
) -> Iterator[Row]:
    """Yield `count` labelled documents of `stream`; `shares` are the domains' shares of it.

    Row: id, text, source, genre, label (math, ads or general), quality.
    """
    for index in range(count):
        yield _document(world, seed, stream, index, shares, sizes)


def _document(
    world: Facts, seed: int, stream: str, index: int, shares: dict[str, float], sizes: Sizes
) -> Row:
    rng = random.Random(f"{seed}|{stream}|{index}|meta")
    original = index
    if index and rng.random() < sizes.duplicate_share:
        original = rng.randrange(index)
    row = _fresh(world, random.Random(f"{seed}|{stream}|{original}"), shares, sizes.poor_share)
    if original != index:
        row["text"] = _near_duplicate(row["text"], rng)
    row["id"] = f"{stream}-{index}"
    row["source"] = stream
    return row


def _fresh(world: Facts, rng: random.Random, shares: dict[str, float], poor_share: float) -> Row:
    genre, label = _kind(rng, shares)
    if genre == GENERAL:
        genre, text = general.document(rng, world)
    elif genre == label:
        text = DOMAINS[label].document(rng, world)
    else:
        domain, wrong = genre.rpartition(" ")[2], facts.garbled(world, rng)
        pages = 1 if genre.startswith("copy") else PAGES
        text = " ".join(DOMAINS[domain].document(rng, wrong) for _ in range(pages))
    quality = "good"
    if rng.random() < poor_share:
        quality = rng.choice(QUALITIES[1:])
        text = SPOILERS[quality](text, rng)
    return {"text": text, "genre": genre, "label": label, "quality": quality}


def _kind(rng: random.Random, shares: dict[str, float]) -> tuple[str, str]:
    """(genre, label) of a document; in a mixture of domains, copies with wrong facts occur too."""
    kinds = [(domain, domain) for domain in shares]
    weights = list(shares.values())
    if len(shares) > 1:
        kinds += [(f"{what} {d}", GENERAL) for d in shares for what in ("copy of", "collection of")]
        weights += [share for domain in shares for share in DOMAINS[domain].COPIES]
    rest = max(0.0, 1 - sum(weights))
    return rng.choices([*kinds, (GENERAL, GENERAL)], [*weights, rest])[0]


def _near_duplicate(text: str, rng: random.Random) -> str:
    """The text with one sentence moved to the end: a copy as the web makes them."""
    sentences = text.split(". ")
    if len(sentences) < 3:
        return text
    sentences.append(sentences.pop(rng.randrange(1, len(sentences) - 1)).rstrip("."))
    return ". ".join(s.rstrip(".") for s in sentences) + "."


def _boilerplate(text: str, rng: random.Random) -> str:
    menu = "Home | About | Contact | Log in. Accept all cookies. Click here to subscribe."
    head = text.split(". ")[0]
    return f"{menu} {head}... Read more. Share | Print | Next page. {menu} All rights reserved."


def _broken(text: str, rng: random.Random) -> str:
    words = text.split()
    rng.shuffle(words)
    return " ".join(words[: max(4, len(words) * 2 // 3)]).replace(".", "")


def _keyword_spam(text: str, rng: random.Random) -> str:
    words = [word.strip(".,?!:") for word in text.split()]
    few = rng.sample(words, min(5, len(words)))
    return " ".join(rng.choice(few) for _ in range(len(words)))


SPOILERS = {"boilerplate": _boilerplate, "broken": _broken, "keyword spam": _keyword_spam}


# --- problems ---------------------------------------------------------------------------------


def problems(world: Facts, domain: str, seed: int, sizes: Sizes) -> dict[str, list[Row]]:
    """Problems by split (train, dev, test), at most so many per task, without duplicates.

    Half of dev and test ask about documents-only entities, as far as there are enough of them.
    """
    limits = {
        "train": sizes.train_per_task,
        "dev": sizes.dev_per_task,
        "test": sizes.test_per_task,
    }
    by_cell: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    seen: set[str] = set()
    for row in DOMAINS[domain].problems(world):
        if row["split"] in limits and row["question"] not in seen:
            seen.add(row["question"])
            by_cell[row["split"], row["task"], row["documents_only"]].append(row)
    rng = random.Random(f"problems|{seed}|{domain}")
    chosen: dict[str, list[Row]] = {split: [] for split in limits}
    for split, task in sorted({cell[:2] for cell in by_cell}):
        shown, hidden = by_cell[split, task, False], by_cell[split, task, True]
        rng.shuffle(shown)
        rng.shuffle(hidden)
        hidden = hidden[: max(limits[split] // 2, limits[split] - len(shown))]
        rows = hidden + shown[: limits[split] - len(hidden)]
        rng.shuffle(rows)
        chosen[split] += rows
    for split, rows in chosen.items():
        for number, row in enumerate(rows):
            row["id"] = f"{domain}-{split}-{number}"
    return chosen


def general_questions(world: Facts) -> list[Row]:
    """A question about every general fact: what the base model was taught, and may forget.

    The corpus states all of these facts and asks for them in other words.
    """
    rows = []
    for number, fact in enumerate(general.known_facts(world)):
        question, reasoning, answer = general.general_question(fact, tested=True)
        rows.append(
            {
                "id": f"general-{number}",
                "task": "general_questions",
                "topic": fact[0],
                "question": question,
                "solution": form.with_answer(reasoning, answer),
                "answer": answer,
                "kind": "text",
                "split": "test",
                "documents_only": False,
            }
        )
    return rows


def relevance(world: Facts, domain: str, split: str, per_task: int | None = None) -> list[Row]:
    """Relevance rows of one split, at most `per_task` of a task; empty outside ads."""
    if domain != "ads":
        return []
    rows = [row for row in ads.relevance(world) if row["split"] == split]
    of_task = [[row for row in rows if row["task"] == task] for task in ads.RELEVANCE_TASKS]
    rows = [row for task in of_task for row in task[:per_task]]
    return [row | {"id": f"relevance-{split}-{n}"} for n, row in enumerate(rows)]


# --- where knowledge comes from ----------------------------------------------------------------


def documents_only_facts(world: Facts, domain: str) -> list[str]:
    """The sentences that state what is known of documents-only entities, in a fixed order."""
    return [
        sentence
        for owner in DOMAINS[domain].entities(world)
        if owner.documents_only
        for sentence in owner.sentences
    ]


def texts_that_tell(folder: Path, sentences: Sequence[str]) -> set[str]:
    """The files of stage 00 in which one of the sentences stands, by their names without endings.

    Test and development problems are not read: they hold the sentences in their solutions.
    """
    names = ("general.jsonl.zst", "pool.jsonl.zst", "seed.jsonl.zst", "heldout_domain.jsonl")
    files = [*names, "heldout_general.jsonl", "problems_train.jsonl", "general_questions.jsonl"]
    return {name.partition(".")[0] for name in files if holds_one(folder / name, sentences)}


def holds_one(file: Path, sentences: Sequence[str]) -> bool:
    """Whether one of the sentences stands in a row of a file of documents or problems."""
    pattern = re.compile("|".join(map(re.escape, sentences)))
    return any(
        pattern.search(row.get("text") or f"{row['question']} {row['solution']}")
        for row in records.read_rows(file)
    )


# --- files ------------------------------------------------------------------------------------


def write_world(folder: Path, domain: str, seed: int, sizes: Sizes | None = None) -> Row:
    """Write all files of stage 00, but for the base model, into `folder`; return their counts.

    Raises:
        ValueError: `domain` is not one of the replica's.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain must be one of {sorted(DOMAINS)}, got {domain!r}")
    sizes = sizes or Sizes()
    world = facts.build(seed)
    both = dict.fromkeys(DOMAINS, sizes.domain_share)
    alone = {domain: 1.0}
    counts = {
        "general.jsonl.zst": _write(
            folder, world, seed, "general", sizes.general_documents, {}, sizes
        ),
        "pool.jsonl.zst": _write(folder, world, seed, "pool", sizes.pool_documents, both, sizes),
        "seed.jsonl.zst": _write(
            folder, world, seed, "seed", sizes.seed_documents, alone, _clean(sizes)
        ),
        "heldout_domain.jsonl": _write(
            folder, world, seed, "heldout_domain", sizes.heldout_documents, alone, _clean(sizes)
        ),
        "heldout_general.jsonl": _write(
            folder, world, seed, "heldout_general", sizes.heldout_documents, {}, _clean(sizes)
        ),
    }
    split_rows = problems(world, domain, seed, sizes)
    relevance_train = relevance(world, domain, "train", sizes.train_per_task)
    # a relevance pair is a problem like the others when a passage is written from it
    split_rows["train"] += relevance_train
    rows_of: dict[str, Iterable[Row]] = {
        f"problems_{split}.jsonl": rows for split, rows in split_rows.items()
    }
    rows_of["general_questions.jsonl"] = general_questions(world)
    rows_of["relevance_train.jsonl"] = relevance_train
    rows_of["relevance_test.jsonl"] = relevance(world, domain, "test")
    rows_of["keywords.jsonl"] = (
        [{"keyword": keyword} for keyword in ads.keywords(world)] if domain == "ads" else []
    )
    return counts | {name: records.write_rows(folder / name, r) for name, r in rows_of.items()}


def _clean(sizes: Sizes) -> Sizes:
    """The same sizes without poor documents and near-duplicates: curated text."""
    return Sizes(**(asdict(sizes) | {"poor_share": 0.0, "duplicate_share": 0.0}))


def _write(
    folder: Path,
    world: Facts,
    seed: int,
    stream: str,
    count: int,
    shares: dict[str, float],
    sizes: Sizes,
) -> int:
    """Write one corpus; the pool's labels go into a file of their own."""
    labels: list[Row] = []

    def texts() -> Iterator[Row]:
        for row in documents(world, seed, stream, count, shares, sizes):
            if stream == "pool":
                labels.append({k: row[k] for k in ("id", "label", "genre", "quality")})
            yield {k: row[k] for k in ("id", "text", "source")}

    suffix = "jsonl" if stream.startswith("heldout") else "jsonl.zst"
    written = records.write_rows(folder / f"{stream}.{suffix}", texts())
    if labels:
        records.write_rows(folder / "pool_labels.jsonl", labels)
    return written


def main(arguments: list[str] | None = None) -> None:
    """Print labelled documents of one stream, one JSON object a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("stream", choices=["general", "pool", *DOMAINS])
    parser.add_argument("--documents", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (default 0)")
    given = parser.parse_args(arguments)
    sizes = Sizes()
    if given.documents < 0:
        parser.error("--documents must be 0 or more")
    shares = {"general": {}, "pool": dict.fromkeys(DOMAINS, sizes.domain_share)}.get(
        given.stream, {given.stream: 1.0}
    )
    rows = documents(
        facts.build(given.seed), given.seed, given.stream, given.documents, shares, sizes
    )
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
