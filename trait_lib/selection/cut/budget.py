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
from trait_lib.selection.cut.ranking import Ranked


@dataclass(frozen=True)
class Budget:
    """How much is to be selected: so many tokens or, where `documents` is not 0, documents."""

    tokens: int
    documents: int = 0
    bytes_per_token: float = 4.0  # of the domain's text, to estimate tokens that are not counted

    @property
    def wanted(self) -> int:
        """The size in its own unit."""
        return self.documents or self.tokens

    def estimate(self, times: float = 1.0) -> float:
        """So many times the size, in what the first pass knows: bytes of UTF-8, or documents."""
        return times * self.wanted * (1 if self.documents else self.bytes_per_token)

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        """What rows of so many tokens take of the budget, each, int64 (n,)."""
        return np.ones_like(tokens) if self.documents else tokens

    def share(self, documents: float, text_bytes: float) -> float:
        """The part that the budget is of a corpus of so many documents and bytes."""
        return self.estimate() / (documents if self.documents else text_bytes)

    def shortfall(self, kept: np.ndarray, tokens: np.ndarray) -> str:
        """A sentence for the reader when a selection is smaller than its budget, else ""."""
        unit = "documents" if self.documents else "tokens"
        total = int(self.sizes(tokens)[kept].sum())
        if total >= self.wanted:
            return ""
        return (
            f"only {total} of {self.wanted} {unit}: the candidates ran out. Raise oversample, "
            f"lower quality_threshold or selection_{unit}, or give a larger pool."
        )


def cut(order: np.ndarray, size: np.ndarray, reason: np.ndarray, wanted: int) -> np.ndarray:
    """Take rows from the front of `order` until they hold `wanted`.

    Args:
        order: the candidates' row numbers, best first.
        size: of each row, shape (n,): its tokens, or ones to count documents.
        reason: rows with a reason are passed over, shape (n,).
        wanted: in the unit of `size`; the last row taken may go beyond it.

    Returns:
        bool, shape (n,). Less than wanted when the candidates run out.
    """
    usable = order[reason[order] == ""]
    before = np.cumsum(size[usable]) - size[usable]
    kept = np.zeros(len(size), dtype=bool)
    kept[usable[before < wanted]] = True
    return kept


@dataclass(frozen=True)
class Selection:
    """The outcome of one ranking."""

    candidates: Candidates  # n of them
    order: np.ndarray  # int64 (ranked,), row numbers of candidates, best first
    score: np.ndarray  # float64 (ranked,), of each
    usable: np.ndarray  # int64, the part of `order` that nothing speaks against
    kept: np.ndarray  # bool (n,)
    reason: np.ndarray  # object (n,), one of `hygiene.REASONS`

    @property
    def documents(self) -> np.ndarray:
        """The number in the corpus of each kept document, or of each kept chunk's document."""
        return self.candidates.document[self.kept]

    @property
    def tokens(self) -> int:
        """Of all that is kept."""
        return int(self.candidates.tokens[self.kept].sum())

    @property
    def kept_scores(self) -> np.ndarray:
        """Of what is kept, best first."""
        return self.score[self.kept[self.order]]

    @property
    def last_score(self) -> float:
        """The score at the cut; NaN where nothing is kept."""
        return float(self.kept_scores[-1]) if self.kept.any() else float("nan")


def select(
    front: Ranked,
    candidates: Candidates,
    budget: Budget,
    near_duplicates: float,
    quality_bar: float | None = None,
) -> Selection:
    """Filter by quality, drop the worse-ranked of duplicates, and cut at the budget.

    Args:
        front: of a ranking, best first.
        candidates: what the second pass learned about its rows, and perhaps about others.
        budget: the size to reach.
        near_duplicates: similarity of near duplicates, 0 for exact ones only.
        quality_bar: lowest quality to keep; None keeps all.
    """
    order, reason = candidates.find(front), candidates.reason
    if quality_bar is not None:  # a quality that is not known, NaN, is not below it
        poor = (reason == "") & (candidates.quality < quality_bar)
        reason = np.where(poor, hygiene.QUALITY, reason)
    digests, minhashes = candidates.digests, candidates.minhashes
    reason = hygiene.mark_duplicates(order, reason, digests, minhashes, near_duplicates)
    kept = cut(order, budget.sizes(candidates.tokens), reason, budget.wanted)
    # every row has one reason: it is kept, or something speaks against it, or it ranks too low
    final = np.where(kept, hygiene.SELECTED, np.where(reason == "", hygiene.BELOW, reason))
    usable = order[reason[order] == ""]
    return Selection(candidates, order, front.score, usable, kept, final)
