"""Scores with intervals: bootstrap over items, paired between two models, stratified by task.

An interval holds the middle 95 % of a score over resamples of the items. Both models are scored
on the same resample, so what is common to them (a hard item) does not widen the interval of their
difference. Paper: averages without intervals; ours, because a mean of a few hundred items moves
by points from sample to sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """A score of two models and of their difference (adapted minus base), with 95 % intervals."""

    base: float
    adapted: float
    base_interval: tuple[float, float]
    adapted_interval: tuple[float, float]
    difference_interval: tuple[float, float]
    n: int

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
        picked = generator.integers(len(base), size=(resamples, len(base)))
        sums += values[:, picked].mean(axis=2)  # (2, resamples)
    means = sums / len(strata)
    exact = [float(np.mean([np.mean(pair[which]) for pair in strata])) for which in (0, 1)]
    return Comparison(
        base=exact[0],
        adapted=exact[1],
        base_interval=percentiles(means[0]),
        adapted_interval=percentiles(means[1]),
        difference_interval=percentiles(means[1] - means[0]),
        n=sum(len(base) for base, _ in strata),
    )


def compare_ratio(
    base: np.ndarray, adapted: np.ndarray, sizes: np.ndarray, seed: int, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two models by a sum over a sum, as bits over bytes; resampled by document.

    `base`, `adapted` and `sizes` are of shape (documents,).
    """
    generator = np.random.default_rng(seed)
    picked = generator.integers(len(sizes), size=(resamples, len(sizes)))
    totals = sizes[picked].sum(axis=1)
    samples = [costs[picked].sum(axis=1) / totals for costs in (base, adapted)]
    return Comparison(
        base=float(base.sum() / sizes.sum()),
        adapted=float(adapted.sum() / sizes.sum()),
        base_interval=percentiles(samples[0]),
        adapted_interval=percentiles(samples[1]),
        difference_interval=percentiles(samples[1] - samples[0]),
        n=len(sizes),
    )


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
    return Comparison(
        base=score(labels, base),
        adapted=score(labels, adapted),
        base_interval=percentiles(samples[0]),
        adapted_interval=percentiles(samples[1]),
        difference_interval=percentiles(samples[1] - samples[0]),
        n=len(labels),
    )


def changes(base: Sequence[bool], adapted: Sequence[bool]) -> dict[str, int]:
    """How many items were right with both, with neither, or changed, and which way."""
    pairs = [(bool(a), bool(b)) for a, b in zip(base, adapted, strict=True)]
    return {
        "right_both": sum(a and b for a, b in pairs),
        "wrong_to_right": sum(b and not a for a, b in pairs),
        "right_to_wrong": sum(a and not b for a, b in pairs),
        "wrong_both": sum(not a and not b for a, b in pairs),
    }
