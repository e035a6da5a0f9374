"""From ranked documents to a selection of a given size in tokens.

Paper: the classifier ranks, the quality filter keeps what is above a threshold, in this order;
the size is given in tokens (math 5.5 billion). The cut itself is not stated; ours takes the
best-ranked documents until the budget is reached, as DeepSeekMath does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trait_lib.selection.cut import hygiene
from trait_lib.selection.cut.candidates import Candidates


def apply_threshold(reason: np.ndarray, quality: np.ndarray, threshold: float) -> np.ndarray:
    """Give the rows with a quality below `threshold` the reason "quality"; a new array."""
    reason = reason.copy()
    reason[(reason == "") & (quality < threshold)] = hygiene.QUALITY  # NaN is not below
    return reason


def cut(order: np.ndarray, size: np.ndarray, reason: np.ndarray, budget: int) -> np.ndarray:
    """Take rows from the front of `order` until they hold `budget`.

    Args:
        order: the candidates' row numbers, best first.
        size: of each row, shape (n,): its tokens, or ones to count documents.
        reason: rows with a reason are passed over, shape (n,).
        budget: in the unit of `size`; the last row taken may go beyond it.

    Returns:
        bool, shape (n,). Less than the budget when the candidates run out.
    """
    usable = order[reason[order] == ""]
    before = np.cumsum(size[usable]) - size[usable]
    kept = np.zeros(len(size), dtype=bool)
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
    found: Candidates,
    budget: int,
    near_threshold: float,
    quality_bar: float | None = None,
    documents: int = 0,
) -> Selection:
    """Filter by quality, drop the worse-ranked of duplicates, and cut at the budget.

    Args:
        order: the candidates' row numbers, best first.
        found: what the second pass learned about them.
        budget: tokens.
        near_threshold: similarity of near duplicates, 0 for exact ones only.
        quality_bar: lowest quality to keep; None keeps all.
        documents: take exactly so many documents, whatever their tokens; 0 goes by tokens.
    """
    reason = found.reason
    if quality_bar is not None:
        reason = apply_threshold(reason, found.quality, quality_bar)
    reason = hygiene.mark_duplicates(order, reason, found.digests, found.minhashes, near_threshold)
    size = np.ones_like(found.tokens) if documents else found.tokens
    kept = cut(order, size, reason, documents or budget)
    return Selection(order, order[reason[order] == ""], kept, final_reasons(kept, reason))


def final_reasons(kept: np.ndarray, reason: np.ndarray) -> np.ndarray:
    """ "selected" for kept rows, "below the cut" for rows that nothing else speaks against."""
    return np.where(kept, hygiene.SELECTED, np.where(reason == "", hygiene.BELOW, reason))


def shortfall(kept: np.ndarray, tokens: np.ndarray, budget: int, documents: int = 0) -> str:
    """A sentence for the reader when a selection is smaller than its budget, else ""."""
    total, wanted, unit = int(tokens[kept].sum()), budget, "tokens"
    if documents:
        total, wanted, unit = int(kept.sum()), documents, "documents"
    if total >= wanted:
        return ""
    return (
        f"only {total} of {wanted} {unit}: the candidates ran out. Raise oversample, lower "
        f"quality_threshold or selection_{unit}, or give a larger pool."
    )
