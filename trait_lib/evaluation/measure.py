"""Everything that is asked of one model: answers, relevance scores, bits per byte; cached.

The result is a folder that is addressed by the hash of the model, the problems and the settings,
so the base model is evaluated once for all arms and seeds of training that share it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import ROOT, records, run
from trait_lib.evaluation import answers, generation
from trait_lib.evaluation.fewshot import by_task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Questions:
    """What is asked of every model, with the prompts ready.

    `prompts` holds the prompt of every problem (test and general) by id; `pair_prompts` that of
    every relevance row; `texts` the held-out texts by name.
    """

    problems: Sequence[Row]
    prompts: Mapping[str, str]
    pairs: Sequence[Row]
    pair_prompts: Mapping[str, str]
    texts: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Scoring:
    """How log-likelihoods are taken.

    `relevance_score`: label, likelihood or both. `context_with` and `context_without` frame the
    likelihood score; both may name {document}. `window`: tokens of a window of held-out text.
    """

    relevance_score: str = "both"
    context_with: str = "{document}"
    context_without: str = ""
    window: int = 256
    batch_size: int = 16  # on a CPU faster than more: what is read fits its cache


def limited(rows: Sequence[Row], limit: int, seed: int, by: str = "id") -> list[Row]:
    """At most `limit` rows of each task (0: all), drawn by seed and kept in their order.

    Rows that share the field `by` stay together, so a task may keep a few more rows than `limit`.
    """
    if not limit:
        return list(rows)
    kept: set[tuple[str, str]] = set()
    for task, group in by_task(rows).items():
        names = list(dict.fromkeys(row[by] for row in group))
        random.Random(f"{seed}|{task}").shuffle(names)
        count = 0
        for name in names:
            if count < limit:
                kept.add((task, name))
                count += sum(row[by] == name for row in group)
    return [row for row in rows if (row["task"], row[by]) in kept]


def evaluate(
    model: str,
    identity: str,
    questions: Questions,
    settings: generation.Settings,
    scoring: Scoring,
    served_model: str = "",
) -> Path:
    """Ask one model everything; returns the cached folder with `answers.jsonl`, `scores.npz`.

    Args:
        model: a folder or Hub id, whose weights give the log-likelihoods.
        identity: the hash of the folder, or the Hub revision; part of the cache's key.
        questions: see `Questions`.
        settings: of the generation; with `base_url` a server generates.
        scoring: of the log-likelihoods.
        served_model: the server's name of the model; without it `model`.
    """
    made_by = replace(settings, batch_size=0, workers=0)  # neither changes an output
    key = {
        "model": identity,
        "questions": run.hash_value(asdict(questions)),
        "generation": asdict(made_by),
        "scoring": asdict(replace(scoring, batch_size=0)),
        "code": code_hash(),
    }

    def build(folder: Path) -> None:
        name = served_model or model if settings.base_url else model
        outputs = generation.generate(
            questions.prompts, name, folder / "outputs.jsonl", settings, identity
        )
        records.write_rows(folder / "answers.jsonl", graded(questions, outputs))
        scores = likelihoods(model, questions, scoring, settings.precision)
        np.savez(folder / "scores.npz", **scores)
        generation.unload()

    return run.cached("evaluation", key, build)


# the modules that decide an answer, a verdict or a likelihood; the others only add them up
DECIDING = (
    "answers equivalence expressions extraction generation likelihood measure models notation "
    "symbolic units values words"
).split()


def code_hash() -> str:
    """The hash of the code that decides results: a changed rule of grading is a changed result."""
    folder = ROOT / "trait_lib" / "evaluation"
    return run.hash_value([run.hash_file(folder / f"{name}.py") for name in DECIDING])


def graded(questions: Questions, outputs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a problem: prompt, output, extracted answer, gold, verdict, reason, seconds."""
    rows = []
    for problem in questions.problems:
        output = outputs[problem["id"]]
        verdict = answers.grade(
            problem["answer"],
            output["output"],
            problem.get("kind"),
            problem.get("alternatives") or (),
        )
        rows.append(
            {
                "id": problem["id"],
                "task": problem["task"],
                "documents_only": bool(problem.get("documents_only")),
                "question": problem["question"],
                "gold": problem["answer"],
                "output": output["output"],
                "extracted": verdict.extracted,
                "correct": verdict.correct,
                "reason": verdict.reason,
                "tokens": output["tokens"],
                "seconds": output["seconds"],
                "prompt": questions.prompts[problem["id"]],
            }
        )
    return rows


def likelihoods(
    model: str, questions: Questions, scoring: Scoring, precision: str
) -> dict[str, np.ndarray]:
    """Relevance scores, shape (pairs,), and bits and bytes of each held-out text, (documents,)."""
    from trait_lib.evaluation import likelihood, models

    loaded, tokenizer = models.load(model, precision)
    made: dict[str, np.ndarray] = {}

    def logged(pairs: list[tuple[str, str]]) -> np.ndarray:
        return likelihood.continuations(loaded, tokenizer, pairs, scoring.batch_size)

    if questions.pairs and scoring.relevance_score in ("label", "both"):
        made["label"] = label_score(logged, questions)
    if questions.pairs and scoring.relevance_score in ("likelihood", "both"):
        made["likelihood"] = likelihood_score(logged, questions, scoring)
    for name, texts in questions.texts.items():
        if texts:
            cost = likelihood.text_cost(loaded, tokenizer, texts, scoring.window)
            made[f"{name}_bits"], made[f"{name}_bytes"] = cost.bits, cost.sizes
    return made


def label_score(logged: Any, questions: Questions) -> np.ndarray:
    """log p(positive label | prompt) - log p(negative label | prompt), shape (pairs,).

    Paper: AUC, of what score is not stated; ours, as base models without a head are scored.
    """
    asked = [
        (questions.pair_prompts[row["id"]], row[side])
        for side in ("positive", "negative")
        for row in questions.pairs
    ]
    sides = np.split(logged(asked), 2)
    return sides[0] - sides[1]


def likelihood_score(logged: Any, questions: Questions, scoring: Scoring) -> np.ndarray:
    """log p(query | document) - log p(query), shape (pairs,): how much the document foretells it.

    Paper: not stated; ours, because a very small model knows which words go with a document long
    before it learns to put the label `good` or `bad` on the pair.
    """
    frames = (scoring.context_with, scoring.context_without)
    sides = [
        logged(
            [
                (frame.format(document=row["document"]), " " + row["query"])
                for row in questions.pairs
            ]
        )
        for frame in frames
    ]
    return sides[0] - sides[1]
