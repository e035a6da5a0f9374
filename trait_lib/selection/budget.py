"""From ranked documents to a selection of a given size in tokens.

Paper: the classifier ranks, the quality filter keeps what is above a threshold, in this order;
the size is given in tokens (math 5.5 billion). The cut itself is not stated; ours takes the
best-ranked documents until the budget is reached, as DeepSeekMath does.
"""

from __future__ import annotations

import numpy as np

from trait_lib.selection import hygiene


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
