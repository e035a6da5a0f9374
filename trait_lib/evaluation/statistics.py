"""Scores with standard errors and 95 % intervals, paired between two models, by task.

A score between 0 and 1 has Wilson's interval (1927), for as many items as its standard error is
worth, as shares in surveys have: it holds near 0 and 1, where a bootstrap of 20 items covers 0.61
instead of 0.95. Differences are taken item by item, so that what is common to both models (a hard
item) does not widen their interval. Half an imagined item at either bound is counted into the
errors (after Bonett and Price 2012), so that no interval is without width: that all items of a
task agree is no certainty. Scores of a whole set (AUC, distinct-n) have the error of what each
item, or each query, moves in them. Tasks count equally. Items that turn right or wrong are tested
exactly (McNemar), p-values of many tasks are corrected (Holm), runs with several seeds are pooled
by their differences (`pooled`).

A count has few values, so no interval of it covers 0.95 everywhere: of 20 items with a true share
of 0.05 it can be 0.925 or 0.984. Paper: averages without intervals; ours, because a mean of a few
hundred items moves by points from sample to sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm, rankdata, t

LEVEL = 0.95
NORMAL = float(norm.ppf((1 + LEVEL) / 2))
Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """A score of two models and of their difference (adapted minus base), with 95 % intervals.

    `*_se` are standard errors. `p` is of the hypothesis that the models are equal: exact for right
    and wrong answers of one task, else of the normal distribution.
    """

    base: float
    adapted: float
    base_interval: Interval
    adapted_interval: Interval
    difference_interval: Interval
    n: int
    base_se: float
    adapted_se: float
    difference_se: float
    p: float

    @property
    def difference(self) -> float:
        """Adapted minus base."""
        return self.adapted - self.base


def wilson(share: float, n: float) -> Interval:
    """Wilson's interval of a share of `n` items, which need not be a whole number."""
    square = NORMAL**2 / n
    middle = (share + square / 2) / (1 + square)
    reach = NORMAL / (1 + square) * math.sqrt((share * (1 - share) + square / 4) / n)
    return min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach))


def worth(share: float, error: float) -> float:
    """Of how many items a share with this standard error is."""
    return share * (1 - share) / error**2


def compare(strata: Sequence[tuple[np.ndarray, np.ndarray]]) -> Comparison:
    """Compare two models by the mean over strata of the mean over items.

    Args:
        strata: for each task (base, adapted), both of shape (items,) between 0 and 1, the same
            items in the same order; tasks count equally whatever their size.

    Raises:
        ValueError: no items, or arrays of different length.
    """
    if not strata or any(len(a) != len(b) or not len(a) for a, b in strata):
        raise ValueError("both models need the same items, and each task at least one")
    pairs = [np.stack(pair).astype(float) for pair in strata]  # (2, items) each
    scores = [float(np.mean([pair[side].mean() for pair in pairs])) for side in (0, 1)]
    held = [_held([pair[side] for pair in pairs], 0) for side in (0, 1)]
    middle, error = _held([pair[1] - pair[0] for pair in pairs], -1)
    p = _two_sided(middle, error)
    if len(pairs) == 1 and np.isin(pairs[0], (0, 1)).all():
        turned = changes(*(pairs[0] > 0))
        p = mcnemar(turned["wrong_to_right"], turned["right_to_wrong"])
    return Comparison(
        *scores,
        *(wilson(score, worth(*one)) for score, one in zip(scores, held, strict=True)),
        _around(middle, error, -1, 1),
        sum(pair.shape[1] for pair in pairs),
        *(one[1] for one in held),
        error,
        p,
    )


def _held(strata: Sequence[np.ndarray], lowest: int) -> tuple[float, float]:
    """The mean over strata and its standard error, with half an item at `lowest` and half at 1.

    Items that lie between the bounds, and differ, tell their spread themselves.
    """
    means, variances = [], []
    for items in strata:
        weights = np.ones(len(items))
        if np.ptp(items) == 0 or np.isin(items, (-1, 0, 1)).all():
            items, weights = np.append(items, (lowest, 1)), np.append(weights, (0.5, 0.5))
        means.append(np.average(items, weights=weights))
        spread = np.average((items - means[-1]) ** 2, weights=weights)
        variances.append(spread / (weights == 1).sum())
    return float(np.mean(means)), math.sqrt(sum(variances)) / len(strata)


def _around(value: float, error: float, lowest: float, highest: float) -> Interval:
    return max(lowest, value - NORMAL * error), min(highest, value + NORMAL * error)


def _two_sided(value: float, error: float) -> float:
    return float(2 * norm.sf(abs(value) / error)) if error else float(value == 0)


def compare_moved(exact: Sequence[float], moved: np.ndarray, n: int) -> Comparison:
    """Compare two models by a score of a whole set, between 0 and 1.

    Args:
        exact: the scores of the base and the adapted model.
        moved: by how much each item, or each query, moves them; shape (2, items).
        n: number of items.
    """
    rows = np.array([moved[0], moved[1], moved[1] - moved[0]])
    if not np.isfinite(exact).all():
        nothing = (math.nan, math.nan)
        return Comparison(*exact, nothing, nothing, nothing, n, *[math.nan] * 4)
    unseen = 1 / math.sqrt(n * (n + 1))  # half an item either way
    errors = [math.hypot(_error(row), unseen) for row in rows]
    spans = [
        wilson(score, min(n, worth(score, error) or n))
        for score, error in zip(exact, errors, strict=False)
    ]
    difference = exact[1] - exact[0]
    span = _around(difference, errors[2], -1, 1)
    p = _two_sided(difference, errors[2])
    return Comparison(float(exact[0]), float(exact[1]), *spans, span, n, *errors, p)


def compare_grouped(right: np.ndarray, groups: np.ndarray) -> Comparison:
    """Compare two models by the share of right items, where items of a group are no two draws.

    `right` is of shape (2, items), `groups` names the group of each item, such as its document.
    """
    which = np.unique(groups, return_inverse=True)[1]
    exact = right.mean(axis=1)
    moved = (right - exact[:, None]) / right.shape[1]
    return compare_moved(list(exact), np.stack([np.bincount(which, m) for m in moved]), len(which))


def _error(moved: np.ndarray) -> float:
    """The standard error of a score from what each item moves, shape (items,)."""
    n = len(moved)
    return math.sqrt(n / max(n - 1, 1) * float((moved**2).sum()))


def jackknife(without: np.ndarray) -> np.ndarray:
    """What each item moves in a score, from the scores without it in turn; (..., items) both.

    For scores that the repeats of a bootstrap change, such as distinct-n (Efron and Stein 1981).
    """
    n = without.shape[-1]
    return (without.mean(axis=-1, keepdims=True) - without) * (n - 1) / n


def compare_ratio(base: np.ndarray, adapted: np.ndarray, sizes: np.ndarray) -> Comparison:
    """Compare two models by a sum over a sum, as bits over bytes, which has no upper bound.

    `base`, `adapted` and `sizes` are of shape (documents,).
    """
    costs, total = np.stack([base, adapted]).astype(float), sizes.sum()
    scores = costs.sum(axis=1) / total
    moved = (costs - scores[:, None] * sizes) / total
    errors = [_error(one) for one in (*moved, moved[1] - moved[0])]
    values = [*map(float, scores), float(scores[1] - scores[0])]
    bounds = [(0.0, math.inf), (0.0, math.inf), (-math.inf, math.inf)]
    spans = [_around(*one, *bound) for *one, bound in zip(values, errors, bounds, strict=True)]
    return Comparison(*values[:2], *spans, len(sizes), *errors, _two_sided(values[2], errors[2]))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the share of (relevant, irrelevant) pairs in the right order.

    Ties count half. NaN when one of the two labels is absent.
    """
    return _auc_moved(labels, scores)[0]


def _auc_moved(labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """The AUC and by how much each item moves it (DeLong et al. 1988), shape (items,)."""
    positive = np.asarray(labels).astype(bool)
    counts = np.array([(~positive).sum(), positive.sum()])
    if not counts.all():
        return math.nan, np.zeros(len(positive))
    ahead = rankdata(scores)  # after the next line: how many of the other label stand before it
    for side in (positive, ~positive):
        ahead[side] -= rankdata(np.asarray(scores)[side])
    right = np.where(positive, ahead / counts[0], 1 - ahead / counts[1])
    value = float(right[positive].mean())
    return value, (right - value) / counts[positive.astype(int)]


def compare_auc(
    labels: np.ndarray, base: np.ndarray, adapted: np.ndarray, clusters: Sequence[str]
) -> Comparison:
    """Compare two models by their AUC.

    The pairs of one query share it and are not independent, so queries are what is drawn, and not
    pairs (Obuchowski 1997).

    Args:
        labels: shape (items,).
        base: scores of the base model, shape (items,).
        adapted: scores of the adapted model, shape (items,).
        clusters: the query of each item.
    """
    which = np.unique(np.asarray(clusters), return_inverse=True)[1]
    found = [_auc_moved(labels, scores) for scores in (base, adapted)]
    moved = np.stack([np.bincount(which, one) for _, one in found])  # (2, queries)
    return compare_moved([value for value, _ in found], moved, len(labels))


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
    bootstrap over three to five seeds would be too narrow by half. With one seed, or equal values,
    there is no spread: error, interval and p are NaN, and the interval over items is all that can
    be said.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("there is no seed to pool")
    mean, n = float(np.mean(values)), len(values)
    if np.ptp(values) == 0:
        return Pooled(mean, math.nan, (math.nan, math.nan), math.nan, n)
    error = float(np.std(values, ddof=1) / math.sqrt(n))
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, n - 1))
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
