"""Everything that is asked of one model: answers, relevance scores, bits per byte; cached.

The result is a folder that is addressed by the hash of the model, the problems and the settings,
so the base model is evaluated once for all arms and seeds of training that share it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from trait_lib import code, form, params, records, run
from trait_lib.evaluation.fewshot import by_task
from trait_lib.evaluation.inference import generation, server
from trait_lib.grading import grade

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Questions:
    """What is asked of every model, with the prompts ready.

    `prompts` holds the prompt of every problem (test and general) by id; `pair_prompts` that of
    every relevance row; `texts` the held-out texts by name; `general` names the general tasks;
    `solutions` and `sentences` are items by likelihood (`trait_lib.evaluation.likely`).
    """

    problems: Sequence[Row]
    prompts: Mapping[str, str]
    pairs: Sequence[Row]
    pair_prompts: Mapping[str, str]
    texts: Mapping[str, Sequence[str]]
    general: tuple[str, ...] = ("general_questions",)
    solutions: Sequence[Row] = ()
    sentences: Sequence[Row] = ()

    def without(self, ids: Collection[str]) -> Questions:
        """The same without some problems and pairs, and without what is scored by likelihood."""
        return replace(
            self,
            problems=[row for row in self.problems if row["id"] not in ids],
            pairs=[row for row in self.pairs if row["id"] not in ids],
            solutions=(),
            sentences=(),
        )


@dataclass(frozen=True)
class Scoring:
    """How log-likelihoods are taken.

    `relevance_score`: label, likelihood or both. `context_with` and `context_without` frame the
    likelihood score; templates of {{ document }}. `window`: tokens of a window of held-out text.
    """

    relevance_score: str = "both"
    context_with: str = "{{ document }}"
    context_without: str = ""
    window: int = 256
    batch_size: int = 16  # on a CPU faster than more: what is read fits its cache
    threads: int = 1  # on a CPU


def limited(rows: Sequence[Row], limit: int, seed: int, by: str = "id") -> list[Row]:
    """At most `limit` rows of each task (0: all), drawn by seed and kept in their order.

    Rows that share the field `by` stay together, so a task may keep a few more rows than `limit`.
    """
    if not limit:
        return list(rows)
    kept: set[tuple[str, str]] = set()
    for task, group in by_task(rows).items():
        sizes = Counter(row[by] for row in group)
        names = list(sizes)
        random.Random(f"{seed}|{task}").shuffle(names)
        before = accumulate((sizes[name] for name in names), initial=0)
        kept |= {(task, name) for name, count in zip(names, before, strict=False) if count < limit}
    return [row for row in rows if (row["task"], row[by]) in kept]


def routes(
    settings: generation.Settings, base_url: str, adapted_url: str
) -> tuple[generation.Settings, generation.Settings]:
    """The settings for the base model and for the adapted one, each with its server's address.

    Raises:
        params.ParameterError: one of them is on a server and the other on this machine, whose
            arithmetic differs.
    """
    if bool(base_url) != bool(adapted_url):
        lacking = "adapted_url" if base_url else "base_url"
        raise params.ParameterError(
            f"parameter {lacking!r} is empty: both models are asked on servers, or both here, so "
            "that they differ in nothing else. A vLLM process serves one model: start one for each"
        )
    return replace(settings, base_url=base_url), replace(settings, base_url=adapted_url)


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
        model: a folder or Hub id; with `base_url` only its tokenizer is read here.
        identity: the hash of the folder, or the Hub revision; part of the cache's key.
        questions: see `Questions`.
        settings: of the generation; with `base_url` a server generates and scores.
        scoring: of the log-likelihoods.
        served_model: the server's name of the model; without it `model`.
    """
    key = {
        "model": identity,
        "questions": run.hash_value(asdict(questions)),
        "generation": generation.deciding(settings),
        "scoring": asdict(replace(scoring, batch_size=0, threads=0)),
        "code": code.hash_of(__name__),
    }
    name = served_model or model if settings.base_url else model
    tasks = {row["id"]: row["task"] for row in questions.problems}

    def build(folder: Path) -> None:
        file = folder / "outputs.jsonl"
        outputs = generation.generate(questions.prompts, name, file, settings, identity, tasks)
        records.write_rows(folder / "answers.jsonl", graded(questions, outputs))
        loaded = partial(_loaded, model, settings, name, scoring.threads)
        with records.Journal(folder / "likelihoods.jsonl") as journal:
            scores = likelihoods(Reader(loaded, journal), questions, scoring)
        np.savez(folder / "scores.npz", **scores)
        generation.unload()

    return run.cached("evaluation", key, build)


def graded(questions: Questions, outputs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a problem: prompt, output, extracted answer, gold, verdict, reason, seconds."""
    rows = []
    for problem in questions.problems:
        output = outputs[problem["id"]]
        given = {"options": problem["options"]} if problem.get("options") else {}
        verdict = grade(
            problem["answer"],
            output["output"],
            problem.get("kind"),
            problem.get("alternatives") or (),
            **given,
        )
        rows.append(
            {
                "id": problem["id"],
                "task": problem["task"],
                "documents_only": bool(problem.get("documents_only")),
                "held_out_task": bool(problem.get("held_out_task")),
                "question": problem["question"],
                **given,
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


def _loaded(model: str, settings: generation.Settings, name: str, threads: int) -> tuple[Any, Any]:
    """(model or server, tokenizer) that give log-likelihoods."""
    from trait_lib.evaluation.inference import checkpoint

    if not settings.base_url:
        return checkpoint.load(model, settings.precision, threads)
    remote = server.Remote(settings.base_url, name, settings.workers)
    return remote, checkpoint.tokenizer(model)


class Reader:
    """Log-likelihoods by one model, each in a journal as soon as it is known.

    `load` gives model and tokenizer; it is called when a value is asked for that the journal lacks.
    """

    def __init__(self, load: Callable[[], tuple[Any, Any]], journal: records.Journal) -> None:
        self.load, self.journal = cache(load), journal
        self.known = {row["key"]: row["values"] for row in journal.rows}

    def values(self, asked: Sequence[Any], compute: Any, desc: str, part: int = 256) -> np.ndarray:
        """`compute(model, tokenizer, some of asked)` of all, (asked, ...), a part at a time.

        Parts do not depend on what is known already, so that a run that was interrupted sums in
        the same order as one that was not.
        """
        keys = [run.hash_value([desc, one])[:16] for one in asked]
        different = list(dict(zip(keys, asked, strict=True)).items())
        with tqdm(total=len(different), unit="text", desc=desc, disable=None) as bar:
            for start in range(0, len(different), part):
                some = dict(different[start : start + part])
                if not some.keys() <= self.known.keys():
                    self._add(some, compute(*self.load(), list(some.values())).tolist())
                bar.update(len(some))
        return np.array([self.known[key] for key in keys], float)

    def _add(self, keys: Iterable[str], values: Sequence[Any]) -> None:
        for key, value in zip(keys, values, strict=True):
            if key not in self.known:
                self.known[key] = value
                self.journal.add({"key": key, "values": value})


def likelihoods(reader: Reader, questions: Questions, scoring: Scoring) -> dict[str, np.ndarray]:
    """Relevance scores, shape (pairs,), and bits and bytes of each held-out text, (documents,)."""
    from trait_lib.evaluation.inference import likelihood

    made: dict[str, np.ndarray] = {}

    def logged(pairs: list[tuple[str, str]]) -> np.ndarray:
        return reader.values(
            pairs,
            lambda model, tokenizer, some: likelihood.continuations(
                model, tokenizer, some, scoring.batch_size
            ),
            "continuations",
        )

    def costs(model: Any, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
        cost = likelihood.text_cost(model, tokenizer, texts, scoring.window)
        return np.stack([cost.bits, cost.sizes], axis=1)  # (documents, 2)

    if questions.pairs and scoring.relevance_score in ("label", "both"):
        made["label"] = label_score(logged, questions)
    if questions.pairs and scoring.relevance_score in ("likelihood", "both"):
        made["likelihood"] = likelihood_score(logged, questions, scoring)
    for name, texts in questions.texts.items():
        if texts:
            found = reader.values(texts, costs, f"texts of {scoring.window} tokens", part=64)
            made[f"{name}_bits"], made[f"{name}_bytes"] = found[:, 0], found[:, 1]
    for name, rows in (("solutions", questions.solutions), ("next_sentences", questions.sentences)):
        compute = partial(getattr(likelihood, name), batch_size=scoring.batch_size)
        if rows:
            made[name] = reader.values(rows, compute, name)
    return made


def label_score(logged: Any, questions: Questions) -> np.ndarray:
    """log p(positive label | prompt) - log p(negative label | prompt), shape (pairs,).

    Paper: AUC, of what score is not stated; ours, as base models without a head are scored.
    """
    asked = [
        (questions.pair_prompts[row["id"]], row[side])
        for row in questions.pairs
        for side in ("positive", "negative")  # beside each other: labels may share a reading
    ]
    sides = logged(asked).reshape(-1, 2)
    return sides[:, 0] - sides[:, 1]


def likelihood_score(logged: Any, questions: Questions, scoring: Scoring) -> np.ndarray:
    """log p(query | document) - log p(query), shape (pairs,): how much the document foretells it.

    Paper: not stated; ours, because a very small model knows which words go with a document long
    before it learns to put the label `good` or `bad` on the pair.
    """
    frames = (scoring.context_with, scoring.context_without)
    sides = [
        logged(
            [
                (form.fill(frame, {"document": row["document"]}), " " + row["query"])
                for row in questions.pairs
            ]
        )
        for frame in frames
    ]
    return sides[0] - sides[1]
