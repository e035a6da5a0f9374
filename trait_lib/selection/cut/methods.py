"""Ways of ranking a corpus: the paper's classifier, its two baselines, and others beside it.

Paper: one classifier ranks; DSIR and a random draw are what it is compared with. The others are
not in the paper; what each is worth on open text stands in notebook 01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trait_lib.run import SCRATCH, Stage
from trait_lib.selection.cut import ranking
from trait_lib.selection.cut.budget import Budget, Selection, select
from trait_lib.selection.cut.candidates import Candidates, write_kept
from trait_lib.selection.inputs import Inputs
from trait_lib.selection.models import dsir, linear, mining, regression
from trait_lib.selection.scan import corpus, estimate, jobs

CLASSIFIER, REGRESSION, MINED, SHUFFLED = "classifier", "regression", "mined", "shuffled"
DSIR, RANDOM, UNFILTERED = "DSIR", "random", "unfiltered"

MEANING = {
    CLASSIFIER: "the paper's: fastText, seed against general text",
    REGRESSION: "logistic regression on TF-IDF, seed against a sample of the corpus",
    MINED: "the regression, mined in rounds where the corpus lacks the seed's style (ours)",
    SHUFFLED: "the classifier, trained on shuffled labels: a control that must fail",
}


class UnknownRanking(ValueError):
    """A ranking that there is not, or that has nothing to learn from."""


@dataclass(frozen=True)
class Ranking:
    """One way of putting the documents of a corpus in order."""

    name: str
    stream: Callable[[Sequence[Path], bool], Iterator[ranking.Ranked]]  # of parts, one_each
    scorer: Mapping[str, Any] | None = None  # its own method in the first pass, where it has one
    column: str = ""  # of that scorer's numbers in the parts
    chunk_words: int | None = None  # ranks chunks of so many words, 0: whole; None: documents
    filtered: bool = True  # by quality: the baselines are not

    def front(self, parts: Sequence[Path], budget: Budget, times: float) -> ranking.Ranked:
        """The best rows that hold about so many `times` the budget, best first."""
        # a model's token is at most a word or a mark, nearly always: words are a safe estimate
        wanted = times * budget.wanted if self.chunk_words is not None else budget.estimate(times)
        return ranking.front(self.stream(parts, bool(budget.documents)), wanted)


# --- learning from a sample of the corpus -----------------------------------------------------


def search(
    stage: Stage, given: Inputs, budget: Budget, positives: Sequence[str]
) -> mining.Mined | None:
    """What a regression learns from the seed and a sample of the corpus; see `mining.mine`.

    As many documents of the sample as the budget's share of the corpus are taken for in-domain:
    the budget is what the reader believes to be there.

    Returns:
        None where there is too little to learn from and no ranking needs it.

    Raises:
        mining.TooFew: a ranking needs it.
    """
    asked = stage.params
    sample = corpus.sample(given.shards, asked["mining_sample"], asked["seed"], given.fields)
    size = estimate.make(given.shards, [], given.fields)
    number = round(len(sample) * budget.share(size.documents, size.text_bytes))
    seed, drawn = (regression.counts(part, asked["text_form"]) for part in (positives, sample))
    try:
        return mining.mine(seed, drawn, number, asked["seed"])
    except mining.TooFew:
        if {REGRESSION, MINED} & {asked["rank_by"], *asked["compare"]}:
            raise
        return None


# --- the rankings of a run --------------------------------------------------------------------


def named(chosen: str, others: Sequence[str]) -> list[str]:
    """The rankings to compute, the chosen one first; the paper's classifier is always one.

    Args:
        chosen: the parameter `rank_by`.
        others: the parameter `compare`.

    Raises:
        UnknownRanking: a name is none of `MEANING`.
    """
    names = list(dict.fromkeys([chosen, CLASSIFIER, *others]))
    if wrong := [name for name in names if name not in MEANING]:
        raise UnknownRanking(f"compare: no ranking {wrong[0]!r}; there are {', '.join(MEANING)}")
    return names


def gather(stage: Stage, found: mining.Mined | None) -> dict[str, Ranking]:
    """The rankings of `rank_by` and `compare`, the chosen one first.

    Args:
        stage: where `classifier.bin` is, and `shuffled.bin` where that is named.
        found: from `search`.
    """
    asked = stage.params
    rankings = {}
    for name in named(asked["rank_by"], asked["compare"]):
        column = "log_odds" if name == CLASSIFIER else f"log_odds_{name}"
        how = stage.folder / SCRATCH, asked["text_form"], column
        if name in (CLASSIFIER, SHUFFLED):
            scorer = linear.publish(stage.path(f"{name}.bin"), *how)
        else:
            scorer = regression.publish(found.start if name == REGRESSION else found.model, *how)
        rankings[name] = Ranking(name, _by(column), scorer, column)
    return rankings


def _by(column: str) -> Callable[[Sequence[Path], bool], Iterator[ranking.Ranked]]:
    return lambda parts, one: ranking.by_score(parts, column, one)


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
    first, *others = selections
    files = {"selected.jsonl.zst": first} | {f"{n.lower()}.jsonl.zst": n for n in others}
    for name in {f"{n.lower()}.jsonl.zst" for n in (*MEANING, DSIR, RANDOM)} - set(files):
        stage.path(name).unlink(missing_ok=True)
    for file, name in files.items():
        write_kept(stage.path(file), selections[name].candidates, selections[name].kept)
    return {file: selections[name] for file, name in files.items()}
