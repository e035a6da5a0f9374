"""Ways of ranking a corpus beside the paper's: each is one value of notebook 01's `rank_by`.

Not stated in the paper, which ranks by one classifier. What each is worth on open text stands in
notebook 01; the default is chosen by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import records
from trait_lib.selection.cut import ranking
from trait_lib.selection.models import classifier, linear, mining

CLASSIFIER = "classifier"
MINED = "mined"
TASKS = "tasks"
SECOND_ROUND = "second_round"
SAMPLED = "sampled"
AVERAGED = "averaged"

MEANING = {
    CLASSIFIER: "the paper's: seed against general text, the best scores",
    MINED: "positives mined from the corpus in rounds (ours)",
    TASKS: "training problems of the tasks as positives (BETR, arXiv 2507.12466)",
    SECOND_ROUND: "the best documents of a first ranking added to the seed (DeepSeekMath)",
    SAMPLED: "a draw in proportion to the odds in place of the best (QuRating, arXiv 2402.09739)",
    AVERAGED: "mean of the classifier's and DSIR's standard scores per word",
}
TRAINED = (CLASSIFIER, MINED, TASKS, SECOND_ROUND)

Examples = tuple[list[str], list[str]]
"""Positives and negatives."""


class UnknownRanking(ValueError):
    """A ranking that there is not, or that has nothing to learn from."""


def named(chosen: str, others: Sequence[str], tasks: bool) -> list[str]:
    """The rankings to compute, the chosen one first.

    Args:
        chosen: the parameter `rank_by`.
        others: the parameter `compare`.
        tasks: whether there are training problems; without them `tasks` is not compared.

    Raises:
        UnknownRanking: a name is none of `MEANING`, or `tasks` is chosen and there are none.
    """
    names = list(dict.fromkeys([chosen, *others]))
    if wrong := [name for name in names if name not in MEANING]:
        raise UnknownRanking(f"compare: no ranking {wrong[0]!r}; there are {', '.join(MEANING)}")
    if chosen == TASKS and not tasks:
        raise UnknownRanking("rank_by: 'tasks' needs training problems; name them in task_files")
    return [name for name in names if tasks or name != TASKS]


def column(name: str) -> str:
    """The column of a trained ranking's log-odds in the parts and in scores.parquet."""
    return "log_odds" if name == CLASSIFIER else f"log_odds_{name}"


def second_round(
    scores: np.ndarray, sample: Sequence[str], positives: Sequence[str], number: int
) -> Examples:
    """Examples of a second round: the `number` best documents of a sample join the positives.

    Args:
        scores: of the first classifier for the sample, shape (n,).
        sample: documents of the corpus.
        positives: of the first round.
        number: how many to add.

    Returns:
        Positives, and as many negatives from the rest of the sample, in its order.
    """
    order = mining.best(scores, len(sample))
    more = [sample[i] for i in order[:number]]
    rest = [sample[i] for i in np.sort(order[number:])]
    found = [*positives, *more]
    return found, rest[: len(found)]


def task_texts(path: str | Path) -> list[str]:
    """Question and solution of each problem of a file, for the ranking `tasks`.

    Raises:
        records.BadRow: a row without a question; names file and row.
    """
    texts = []
    for number, row in enumerate(records.read_rows(path), start=1):
        if not isinstance(row.get("question"), str):
            raise records.BadRow(f"{path}: row {number} has no question")
        texts.append(f"{row['question']}\n{row.get('solution') or ''}".strip())
    return texts


def train(
    name: str,
    examples: Examples,
    settings: Mapping[str, Any],
    seed: int,
    form: str,
    threads: int,
    folder: Path,
) -> dict[str, Any]:
    """Train the classifier of a ranking and prepare it for the pass over the corpus.

    Args:
        name: of the ranking.
        examples: its positives and negatives.
        settings: fastText's.
        seed: of the training.
        form: see `lines.to_line`.
        threads: of the training; one repeats exactly.
        folder: of the stage; `classifier_<name>.bin` is written there.

    Returns:
        What `corpus.scan` needs.
    """
    model = classifier.train(*examples, settings, seed, form, threads)
    path = folder / f"classifier_{name}.bin"
    classifier.save(model, path)
    return linear.publish(path, folder / "parts", form, column(name))


def stream(name: str, parts: Sequence[Path], seed: int, one_each: bool = False) -> ranking.Stream:
    """The documents of a corpus as one of the rankings scores them.

    Args:
        name: of the ranking, one of `MEANING`.
        parts: of the first pass.
        seed: of the draw, for `sampled`.
        one_each: the size of a document is 1; else its bytes.
    """
    if name in TRAINED:
        return ranking.by_score(parts, column(name), one_each)
    key = _sampled if name == SAMPLED else _averaged(parts)
    return ranking.by_columns(parts, ["log_odds", "dsir_per_word"], key, seed, one_each)


def shown(name: str, parts: Sequence[Path]) -> Callable[[ranking.Columns], np.ndarray]:
    """The score of a ranking from a document's columns, without the noise of a draw."""
    if name in TRAINED:
        return lambda values: values[column(name)]
    if name == SAMPLED:
        return lambda values: values["log_odds"]
    key = _averaged(parts)
    return lambda values: key(values, None)


def _sampled(values: ranking.Columns, draw: np.random.Generator) -> np.ndarray:
    """Log-odds with Gumbel noise: the largest are a draw in proportion to the odds."""
    return values["log_odds"] + draw.gumbel(size=len(values["log_odds"]))


def _averaged(parts: Sequence[Path]) -> Callable[..., np.ndarray]:
    """Mean of two scores, each less its mean over the corpus and divided by its deviation."""
    names = ("log_odds", "dsir_per_word")
    moments = {name: _moments(parts, name) for name in names}

    def key(values: ranking.Columns, _: np.random.Generator | None) -> np.ndarray:
        standard = [(values[name] - mean) / spread for name, (mean, spread) in moments.items()]
        return np.mean(standard, axis=0)

    return key


def _moments(parts: Sequence[Path], name: str) -> tuple[float, float]:
    """Mean and standard deviation of a column, from a stream."""
    count, total, squares = 0, 0.0, 0.0
    for part in parts:
        for batch in ranking.columns(part, [name]):
            values = ranking.numbers(batch[name])
            values = values[np.isfinite(values)]
            count, total = count + len(values), total + float(values.sum())
            squares += float(np.square(values).sum())
    mean = total / max(1, count)
    return mean, max(1e-9, squares / max(1, count) - mean * mean) ** 0.5
