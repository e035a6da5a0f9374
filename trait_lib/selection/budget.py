"""From ranked documents to a selection of a given size in tokens.

Paper: the classifier ranks, the quality filter keeps what is above a threshold, in this order;
the size is given in tokens (math 5.5 billion). The cut itself is not stated; ours takes the
best-ranked documents until the budget is reached, as DeepSeekMath does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trait_lib.selection import hygiene
from trait_lib.selection.pool import Examined


def best_first(scores: np.ndarray) -> np.ndarray:
    """Row numbers, highest score first; equal scores keep the order of the file."""
    return np.argsort(-scores, kind="stable")


def random_order(number: int, seed: int) -> np.ndarray:
    """Row numbers in random order."""
    return np.random.default_rng(seed).permutation(number)


def candidates(
    order: np.ndarray, sizes: np.ndarray, bytes_per_token: float, tokens: float
) -> np.ndarray:
    """The front of `order` that holds about `tokens` tokens, judged by the size in bytes.

    Only candidates are read again, tokenised and checked, however large the pool is.

    Args:
        order: row numbers, best first.
        sizes: bytes of each row, shape (n,).
        bytes_per_token: measured on text of the same kind.
        tokens: wanted; take the budget times a margin for what the filters will drop.
    """
    estimated = np.cumsum(sizes[order]) / bytes_per_token
    return order[: int(np.searchsorted(estimated, tokens)) + 1]


def apply_threshold(reason: np.ndarray, quality: np.ndarray, threshold: float) -> np.ndarray:
    """Give the rows with a quality below `threshold` the reason "quality"; a new array."""
    reason = reason.copy()
    reason[(reason == "") & (quality < threshold)] = hygiene.QUALITY  # NaN is not below
    return reason


def cut(order: np.ndarray, tokens: np.ndarray, reason: np.ndarray, budget: int) -> np.ndarray:
    """Take rows from the front of `order` until they hold `budget` tokens.

    Args:
        order: the candidates' row numbers, best first.
        tokens: of each row, shape (n,).
        reason: rows with a reason are passed over, shape (n,).
        budget: tokens; the last row taken may go beyond it.

    Returns:
        bool, shape (n,). Fewer tokens than the budget when the candidates run out.
    """
    usable = order[reason[order] == ""]
    before = np.cumsum(tokens[usable]) - tokens[usable]
    kept = np.zeros(len(tokens), dtype=bool)
    kept[usable[before < budget]] = True
    return kept


@dataclass(frozen=True)
class Selection:
    """The outcome of one ranking."""

    order: np.ndarray  # int64 (candidates,), row numbers, best first
    usable: np.ndarray  # int64, the part of `order` that nothing speaks against
    kept: np.ndarray  # bool (n,)
    reason: np.ndarray  # object (n,), one of `hygiene.REASONS`


def select(
    order: np.ndarray,
    found: Examined,
    budget: int,
    near_threshold: float,
    quality_bar: float | None = None,
) -> Selection:
    """Filter by quality, drop the worse-ranked of duplicates, and cut at the budget.

    Args:
        order: the candidates' row numbers, best first.
        found: what the second pass learned about them.
        budget: tokens.
        near_threshold: similarity of near duplicates, 0 for exact ones only.
        quality_bar: lowest quality to keep; None keeps all.
    """
    reason = found.reason
    if quality_bar is not None:
        reason = apply_threshold(reason, found.quality, quality_bar)
    reason = hygiene.mark_duplicates(order, reason, found.digests, found.minhashes, near_threshold)
    kept = cut(order, found.tokens, reason, budget)
    return Selection(order, order[reason[order] == ""], kept, final_reasons(kept, reason))


def final_reasons(kept: np.ndarray, reason: np.ndarray) -> np.ndarray:
    """ "selected" for kept rows, "below the cut" for rows that nothing else speaks against."""
    return np.where(kept, hygiene.SELECTED, np.where(reason == "", hygiene.BELOW, reason))


def shortfall(kept: np.ndarray, tokens: np.ndarray, budget: int) -> str:
    """A sentence for the reader when a selection is smaller than its budget, else ""."""
    total = int(tokens[kept].sum())
    if total >= budget:
        return ""
    return (
        f"only {total} of {budget} tokens: the candidates ran out. Raise oversample, lower "
        "quality_threshold or selection_tokens, or give a larger pool."
    )
