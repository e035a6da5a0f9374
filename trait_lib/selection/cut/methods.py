"""Ways of ranking a corpus: the paper's classifier, its two baselines, and others beside it.

Paper: one classifier ranks; DSIR and a random draw are what it is compared with. The others are
not in the paper; what each is worth on open text stands in notebook 01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib.run import SCRATCH, Stage
from trait_lib.selection.cut import columns, ranking
from trait_lib.selection.cut.budget import Budget, Selection, select
from trait_lib.selection.cut.candidates import Candidates, write_kept
from trait_lib.selection.inputs import Inputs
from trait_lib.selection.models import classifier, dsir, linear, mining
from trait_lib.selection.scan import corpus, estimate, jobs

CLASSIFIER, MINED, TASKS, SECOND_ROUND = "classifier", "mined", "tasks", "second_round"
SAMPLED, AVERAGED = "sampled", "averaged"
DSIR, RANDOM, UNFILTERED = "DSIR", "random", "unfiltered"

MEANING = {
    CLASSIFIER: "the paper's: seed against general text, the best scores",
    MINED: "positives mined from the corpus in rounds (ours)",
    TASKS: "training problems of the tasks as positives (BETR, arXiv 2507.12466)",
    SECOND_ROUND: "the best documents of a first ranking added to the seed (DeepSeekMath)",
    SAMPLED: "a draw in proportion to the odds in place of the best (QuRating, arXiv 2402.09739)",
    AVERAGED: "mean of the classifier's and DSIR's standard scores per word",
}


class UnknownRanking(ValueError):
    """A ranking that there is not, or that has nothing to learn from."""


@dataclass(frozen=True)
class Examples:
    """What a classifier learns from, and what there is to say about how it was found."""

    positives: Sequence[str]
    negatives: Sequence[str]
    told: Mapping[str, Any] = field(default_factory=dict)


Key = Callable[[ranking.Columns, np.random.Generator | None], np.ndarray]
"""A document's columns, and a generator for those that draw (None: without noise) -> scores."""


@dataclass(frozen=True)
class Ranking:
    """One way of putting the documents of a corpus in order."""

    name: str
    stream: Callable[[Sequence[Path], bool], Iterator[ranking.Ranked]]  # of parts, one_each
    key: Callable[[Sequence[Path]], Key] | None = None  # parts -> its score
    scorer: Mapping[str, Any] | None = None  # its own method in the first pass, where it has one
    column: str = ""  # of that scorer's numbers in the parts
    examples: Examples | None = None  # that its classifier learned from
    chunk_words: int | None = None  # ranks chunks of so many words, 0: whole; None: documents
    filtered: bool = True  # by quality: the baselines are not

    def front(self, parts: Sequence[Path], budget: Budget, times: float) -> ranking.Ranked:
        """The best rows that hold about so many `times` the budget, best first."""
        # a model's token is at most a word or a mark, nearly always: words are a safe estimate
        wanted = times * budget.wanted if self.chunk_words is not None else budget.estimate(times)
        return ranking.front(self.stream(parts, bool(budget.documents)), wanted)

    def score(self, parts: Sequence[Path]) -> Callable[[ranking.Columns], np.ndarray]:
        """The score from a document's columns, without the noise of a draw."""
        key = self.key(parts)
        return lambda values: key(values, None)


# --- what a classifier beside the paper's learns from -----------------------------------------


@dataclass(frozen=True)
class Material:
    """What there is to learn from."""

    positives: Sequence[str]  # of the paper's classifier
    problems: Sequence[str]  # training problems of the tasks
    sample: Sequence[str]  # documents of the corpus, drawn at random
    wanted: int  # so many of the sample belong to the domain, if the budget is right
    odds: Callable[[Sequence[str]], np.ndarray]  # the paper's classifier: texts -> log-odds
    seed: int


def mined(given: Material) -> Examples:
    """Documents found in the sample in rounds, against the rest of it; see `mining`."""
    result = mining.mine(given.positives, given.sample, given.wanted, given.seed)
    told = {
        "documents taken in each round": " ".join(map(str, result.rounds)),
        "documents of the sample that read like the seed, about": round(result.alike),
        "the seed's style is missing in the corpus": "yes" if result.gap else "no",
    }
    return Examples(*mining.examples(result, given.positives, given.sample), told)


def tasks(given: Material) -> Examples:
    """Training problems, against as many documents of the sample."""
    return Examples(given.problems[: len(given.sample)], given.sample[: len(given.problems)])


def second_round(given: Material) -> Examples:
    """The best documents of the sample join the seed, against as many of its rest."""
    order = mining.best(given.odds(given.sample), len(given.sample))
    rest = [given.sample[i] for i in np.sort(order[given.wanted :])]
    positives = [*given.positives, *(given.sample[i] for i in order[: given.wanted])]
    return Examples(positives, rest[: len(positives)])


LEARNED: dict[str, Callable[[Material], Examples]] = {
    MINED: mined,
    TASKS: tasks,
    SECOND_ROUND: second_round,
}


# --- the rankings of a run --------------------------------------------------------------------


def named(chosen: str, others: Sequence[str], problems: bool) -> list[str]:
    """The rankings to compute, the chosen one first; the paper's classifier is always one.

    Args:
        chosen: the parameter `rank_by`.
        others: the parameter `compare`.
        problems: whether there are training problems; without them `tasks` is not compared.

    Raises:
        UnknownRanking: a name is none of `MEANING`, or `tasks` is chosen and there are none.
    """
    names = list(dict.fromkeys([chosen, CLASSIFIER, *others]))
    if wrong := [name for name in names if name not in MEANING]:
        raise UnknownRanking(f"compare: no ranking {wrong[0]!r}; there are {', '.join(MEANING)}")
    if chosen == TASKS and not problems:
        raise UnknownRanking("rank_by: 'tasks' needs training problems; name them in task_files")
    return [name for name in names if problems or name != TASKS]


def gather(
    stage: Stage, given: Inputs, budget: Budget, model: Any,
    positives: Sequence[str], settings: Mapping[str, Any],
) -> dict[str, Ranking]:  # fmt: skip
    """The rankings of `rank_by` and `compare`, the chosen one first, their classifiers trained.

    Args:
        stage: where the classifiers are written, `classifier_<name>.bin`.
        given: what the notebook reads.
        budget: the size to select.
        model: the paper's classifier, written to `classifier.bin`.
        positives: that it learned from.
        settings: fastText's.
    """
    asked = stage.params
    names = named(asked["rank_by"], asked["compare"], bool(given.problems))
    material = None
    if any(name in LEARNED for name in names):
        sample = corpus.sample(given.shards, asked["mining_sample"], asked["seed"], given.fields)
        size = estimate.make(given.shards, [], given.fields)
        share = max(budget.share(size.documents, size.text_bytes), asked["mining_share"])
        odds = partial(classifier.log_odds, model, form=asked["text_form"])
        wanted = round(len(sample) * share)
        material = Material(positives, given.problems, sample, wanted, odds, asked["seed"])
    rankings = {}
    for name in names:
        examples, file = None, stage.path("classifier.bin")
        if name in LEARNED:
            examples, file = LEARNED[name](material), stage.path(f"classifier_{name}.bin")
            own = settings | ({"epoch": asked["mined_epochs"]} if name == MINED else {})
            both = (examples.positives, examples.negatives)
            trained = classifier.train(
                *both, own, asked["seed"], asked["text_form"], asked["threads"]
            )
            classifier.save(trained, file)
        rankings[name] = _ranking(name, file, asked, examples)
    return rankings


def _ranking(
    name: str, model: Path, asked: Mapping[str, Any], examples: Examples | None
) -> Ranking:
    """A ranking by one column of the first pass, or by a function of the two first ones."""
    pair = ["log_odds", "dsir_per_word"]
    if name in (SAMPLED, AVERAGED):
        key = _sampled if name == SAMPLED else _averaged
        return Ranking(
            name,
            lambda parts, one: ranking.by_columns(parts, pair, key(parts), asked["seed"], one),
            key,
        )
    column = "log_odds" if name == CLASSIFIER else f"log_odds_{name}"
    return Ranking(
        name,
        lambda parts, one: ranking.by_score(parts, column, one),
        lambda parts: lambda values, draw: values[column],
        linear.publish(model, model.parent / SCRATCH, asked["text_form"], column),
        column,
        examples,
    )


def _sampled(parts: Sequence[Path]) -> Key:
    """Log-odds with Gumbel noise: the largest are a draw in proportion to the odds."""

    def key(values: ranking.Columns, draw: np.random.Generator | None) -> np.ndarray:
        odds = values["log_odds"]
        return odds + draw.gumbel(size=len(odds)) if draw else odds

    return key


def _averaged(parts: Sequence[Path]) -> Key:
    """Mean of two scores, each less its mean over the corpus and divided by its deviation."""
    moments = {name: _moments(parts, name) for name in ("log_odds", "dsir_per_word")}

    def key(values: ranking.Columns, draw: np.random.Generator | None) -> np.ndarray:
        standard = [(values[name] - mean) / spread for name, (mean, spread) in moments.items()]
        return np.mean(standard, axis=0)

    return key


def _moments(parts: Sequence[Path], name: str) -> tuple[float, float]:
    """Mean and standard deviation of a column, from a stream."""
    count, total, squares = 0, 0.0, 0.0
    for batch in columns.values(parts, name):
        known = batch[np.isfinite(batch)]
        count, total = count + len(known), total + float(known.sum())
        squares += float(np.square(known).sum())
    mean = total / max(1, count)
    return mean, max(1e-9, squares / max(1, count) - mean * mean) ** 0.5


def baselines(stage: Stage, given: Inputs, engine: jobs.Engine) -> dict[str, Ranking]:
    """DSIR, fitted to the seed and the raw corpus, and a random draw."""
    asked = stage.params
    target = dsir.count(given.seed, dsir.Hasher())
    raw = corpus.count_grams(stage.folder, given.shards, engine, given.fields)
    ratio, words = dsir.log_ratio(target, raw), asked["dsir_chunk_words"]
    key, least = dsir.by_length(asked["dsir_per_length"]), asked["dsir_min_tokens"]
    by_dsir = Ranking(
        DSIR,
        lambda parts, one: ranking.by_dsir(parts, key, asked["seed"], least, one),
        scorer=dsir.publish(ratio, stage.scratch(), words),
        column="dsir",
        chunk_words=words,
        filtered=False,
    )
    drawn = Ranking(
        RANDOM, lambda parts, one: ranking.at_random(parts, asked["seed"], one), filtered=False
    )
    return {DSIR: by_dsir, RANDOM: drawn}


# --- selecting --------------------------------------------------------------------------------


def select_all(
    rankings: Mapping[str, Ranking],
    fronts: Mapping[str, ranking.Ranked],
    candidates: Mapping[str, Candidates],
    budget: Budget,
    near_duplicates: float,
    quality_bar: float | None,
) -> dict[str, Selection]:
    """The selection of every ranking, and `UNFILTERED`: the first one without quality filter.

    All have the same size and pass the same hygiene; the baselines pass no quality filter. See
    `budget.select`.
    """
    selections = {
        name: select(
            fronts[name], candidates[name], budget, near_duplicates,
            quality_bar if one.filtered else None,
        )
        for name, one in rankings.items()
    }  # fmt: skip
    first = next(iter(rankings))
    unfiltered = select(fronts[first], candidates[first], budget, near_duplicates)
    return {first: selections.pop(first), UNFILTERED: unfiltered, **selections}


def write_texts(stage: Stage, selections: Mapping[str, Selection]) -> dict[str, Selection]:
    """Write the text of each selection for the arms that train on it.

    The first one is `selected.jsonl.zst`, every other is named after its ranking. Files of
    rankings that this run does not compute are removed: no arm may train on them.

    Returns:
        File name -> its selection.
    """
    first, *others = [name for name in selections if name != UNFILTERED]
    files = {"selected.jsonl.zst": first} | {f"{n.lower()}.jsonl.zst": n for n in others}
    for name in {f"{n.lower()}.jsonl.zst" for n in (*MEANING, DSIR, RANDOM)} - set(files):
        stage.path(name).unlink(missing_ok=True)
    for file, name in files.items():
        write_kept(stage.path(file), selections[name].candidates, selections[name].kept)
    return {file: selections[name] for file, name in files.items()}
