"""Scores with errors and intervals: bootstrap over items, paired between two models, by task.

An interval holds the middle 95 % of a score over resamples of the items. Both models are scored
on the same resample, so what is common to them (a hard item) does not widen the interval of their
difference. Several tasks count equally and are resampled each for itself. Items that turn right or
wrong are tested exactly (McNemar), p-values of many tasks are corrected (Holm), and runs with
several seeds are pooled by their differences (`pooled`). Paper: averages without intervals; ours,
because a mean of a few hundred items moves by points from sample to sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, rankdata, t

LEVEL = 0.95
RESAMPLES = 2000
AT_ONCE = 2_000_000  # numbers drawn at once: resamples times items


@dataclass(frozen=True)
class Comparison:
    """A score of two models and of their difference (adapted minus base), with 95 % intervals.

    `*_se` are standard errors, the spread over resamples. `p` is of the hypothesis that the
    models are equal: exact for right and wrong answers of one task, else from the resamples.
    """

    base: float
    adapted: float
    base_interval: tuple[float, float]
    adapted_interval: tuple[float, float]
    difference_interval: tuple[float, float]
    n: int
    base_se: float = float("nan")
    adapted_se: float = float("nan")
    difference_se: float = float("nan")
    p: float = float("nan")

    @property
    def difference(self) -> float:
        """Adapted minus base."""
        return self.adapted - self.base


def percentiles(samples: np.ndarray) -> tuple[float, float]:
    """The interval of a bootstrap sample of shape (resamples,); NaN entries are left out."""
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return (float("nan"), float("nan"))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def two_sided(differences: np.ndarray) -> float:
    """The p-value of no difference: twice the smaller share of resamples on one side of 0."""
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return float("nan")
    sides = ((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (min(sides) + 1) / (len(differences) + 1)))


def of_samples(
    exact: Sequence[float], samples: np.ndarray, n: int, p: float | None = None
) -> Comparison:
    """A comparison from its two exact scores and their resamples of shape (2, resamples)."""
    apart = samples[1] - samples[0]
    errors = [float(np.nanstd(one)) if np.isfinite(one).any() else float("nan") for one in samples]
    spread = float(np.nanstd(apart)) if np.isfinite(apart).any() else float("nan")
    return Comparison(
        base=float(exact[0]),
        adapted=float(exact[1]),
        base_interval=percentiles(samples[0]),
        adapted_interval=percentiles(samples[1]),
        difference_interval=percentiles(apart),
        n=n,
        base_se=errors[0],
        adapted_se=errors[1],
        difference_se=spread,
        p=two_sided(apart) if p is None else p,
    )


def compare(
    strata: Sequence[tuple[np.ndarray, np.ndarray]], seed: int, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two models by the mean over strata of the mean over items.

    Args:
        strata: for each task (base, adapted), both of shape (items,), the same items in the same
            order; tasks count equally whatever their size.
        seed: of the resampling.
        resamples: number of resamples.

    Raises:
        ValueError: no items, or arrays of different length.
    """
    if not strata or any(len(a) != len(b) or not len(a) for a, b in strata):
        raise ValueError("both models need the same items, and each task at least one")
    generator = np.random.default_rng(seed)
    sums = np.zeros((2, resamples))
    for base, adapted in strata:
        values = np.stack([base, adapted]).astype(float)  # (2, items)
        for some in _chunks(resamples, len(base)):
            picked = generator.integers(len(base), size=(some.stop - some.start, len(base)))
            sums[:, some] += values[:, picked].mean(axis=2)  # (2, resamples at once)
    exact = [float(np.mean([np.mean(pair[which]) for pair in strata])) for which in (0, 1)]
    p = None
    if len(strata) == 1 and all(np.isin(one, (0, 1)).all() for one in strata[0]):
        turned = changes(*(np.asarray(one) > 0 for one in strata[0]))
        p = mcnemar(turned["wrong_to_right"], turned["right_to_wrong"])
    return of_samples(exact, sums / len(strata), sum(len(base) for base, _ in strata), p)


def _chunks(resamples: int, items: int) -> list[slice]:
    """Slices of the resamples, so many at once as fit into `AT_ONCE`."""
    step = max(1, AT_ONCE // max(items, 1))
    return [slice(n, min(n + step, resamples)) for n in range(0, resamples, step)]


def compare_ratio(
    base: np.ndarray, adapted: np.ndarray, sizes: np.ndarray, seed: int, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two models by a sum over a sum, as bits over bytes; resampled by document.

    `base`, `adapted` and `sizes` are of shape (documents,).
    """
    generator = np.random.default_rng(seed)
    samples = np.empty((2, resamples))
    for some in _chunks(resamples, len(sizes)):
        picked = generator.integers(len(sizes), size=(some.stop - some.start, len(sizes)))
        totals = sizes[picked].sum(axis=1)
        samples[:, some] = [costs[picked].sum(axis=1) / totals for costs in (base, adapted)]
    exact = [costs.sum() / sizes.sum() for costs in (base, adapted)]
    return of_samples(exact, samples, len(sizes))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the share of (relevant, irrelevant) pairs in the right order.

    Ties count half. NaN when one of the two labels is absent.
    """
    positive = labels.astype(bool)
    count = int(positive.sum())
    if count in (0, len(labels)):
        return float("nan")
    ranks = rankdata(scores)
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(labels) - count)))


def compare_clustered(
    score: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    base: np.ndarray,
    adapted: np.ndarray,
    clusters: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two models by a score of all items, such as `auc`; whole clusters are resampled.

    The pairs of one query share it and are not independent, so queries are drawn, not pairs.

    Args:
        score: (labels, scores) to a number; NaN where it is undefined.
        labels: shape (items,).
        base: scores of the base model, shape (items,).
        adapted: scores of the adapted model, shape (items,).
        clusters: the cluster of each item.
        seed: of the resampling.
        resamples: number of resamples.
    """
    names, which = np.unique(np.asarray(clusters), return_inverse=True)
    members = [np.flatnonzero(which == number) for number in range(len(names))]
    generator = np.random.default_rng(seed)
    samples = np.empty((2, resamples))
    for number in range(resamples):
        drawn = generator.integers(len(members), size=len(members))
        items = np.concatenate([members[one] for one in drawn])
        samples[:, number] = [score(labels[items], values[items]) for values in (base, adapted)]
    return of_samples([score(labels, base), score(labels, adapted)], samples, len(labels))


def compare_jackknife(
    exact: Sequence[float], without: Sequence[np.ndarray], lowest: float = 0.0, highest: float = 1.0
) -> Comparison:
    """Compare two models by a score of the set that repeats change, such as distinct-n.

    A resample holds items twice, and a count of different things suffers from that; so each item
    is left out in turn, and intervals are 1.96 standard errors of the jackknife (Efron and Stein
    1981) about the score, within its bounds.

    Args:
        exact: the scores of the base and the adapted model.
        without: their scores without each item in turn, two arrays of shape (items,).
        lowest: the least that the score can be.
        highest: the most.
    """
    pair = np.stack(without).astype(float)  # (2, items)
    n = pair.shape[1]
    rows = [pair[0], pair[1], pair[1] - pair[0]]
    errors = [float(np.sqrt((n - 1) * np.var(row))) for row in rows]
    values = [float(exact[0]), float(exact[1]), float(exact[1] - exact[0])]
    bounds = [(lowest, highest), (lowest, highest), (lowest - highest, highest - lowest)]
    normal = 1.959964
    spans = [
        (max(low, value - normal * error), min(high, value + normal * error))
        for value, error, (low, high) in zip(values, errors, bounds, strict=True)
    ]
    beyond = math.erfc(abs(values[2]) / errors[2] / math.sqrt(2)) if errors[2] else math.nan
    return Comparison(*values[:2], *spans, n, *errors, p=1.0 if values[2] == 0 else beyond)


def mcnemar(wrong_to_right: int, right_to_wrong: int) -> float:
    """The exact two-sided p-value of McNemar's test: is one direction more frequent than chance?

    1 when no item changed. Items that both models get right or wrong tell nothing about it.
    """
    changed = wrong_to_right + right_to_wrong
    return float(binomtest(wrong_to_right, changed).pvalue) if changed else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the same order; NaN stays NaN.

    To call those below 0.05 different keeps the chance of any false call at 5 %.
    """
    told = [number for number, p in enumerate(p_values) if not math.isnan(p)]
    corrected, highest = [float("nan")] * len(p_values), 0.0
    for rank, number in enumerate(sorted(told, key=lambda one: p_values[one])):
        highest = max(highest, min(1.0, (len(told) - rank) * p_values[number]))
        corrected[number] = highest
    return corrected


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds, with its standard error, 95 % interval and the number of seeds."""

    mean: float
    error: float
    interval: tuple[float, float]
    p: float
    seeds: int


def pooled(values: Sequence[float]) -> Pooled:
    """Pool one number a seed, such as the difference of two models, by Student's t.

    A seed gives another training run and, in the replica, other items: runs and not items are what
    is repeated, so the spread between seeds is the error, which holds that of the items too. A
    bootstrap over three to five seeds would be too narrow by half. With one seed there is no
    spread: error, interval and p are NaN, and the interval over items is all that can be said.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("there is no seed to pool")
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Pooled(mean, math.nan, (math.nan, math.nan), math.nan, n)
    error = float(np.std(values, ddof=1) / math.sqrt(n))
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Pooled(mean, error, (mean - reach, mean + reach), p, n)


def changes(base: Sequence[bool], adapted: Sequence[bool]) -> dict[str, int]:
    """How many items were right with both, with neither, or changed, and which way."""
    pairs = [(bool(a), bool(b)) for a, b in zip(base, adapted, strict=True)]
    return {
        "right_both": sum(a and b for a, b in pairs),
        "wrong_to_right": sum(b and not a for a, b in pairs),
        "right_to_wrong": sum(a and not b for a, b in pairs),
        "wrong_both": sum(not a and not b for a, b in pairs),
    }
