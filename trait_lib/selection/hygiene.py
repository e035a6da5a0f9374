"""What a document must pass before its score counts: length, test questions, duplicates.

Paper: not stated; ours because a test question in the training text would make every later
number worthless, and because a text that is taken twice is paid for twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from datasketch import MinHash, MinHashLSH

from trait_lib import contamination

SELECTED = "selected"
BELOW = "below the cut"
QUALITY = "quality"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near duplicate"
CONTAMINATED = "contaminated"
SHORT = "too short"
REASONS = (SELECTED, BELOW, QUALITY, DUPLICATE, NEAR_DUPLICATE, CONTAMINATED, SHORT)

PERMUTATIONS = 128


def digest(words: list[str]) -> int:
    """64 bits of the text in lower case without punctuation: equal texts have equal digests.

    Among 10 million different texts, two share a digest with probability 3e-6.
    """
    joined = " ".join(words).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big")


def shingles(words: list[str], size: int) -> list[bytes]:
    """The runs of `size` words of a text; the whole text where it is shorter."""
    runs = (words[i : i + size] for i in range(max(1, len(words) - size + 1)))
    return [" ".join(run).encode("utf-8", "replace") for run in runs]


def signatures(texts: Iterable[list[str]], size: int) -> list[MinHash]:
    """A MinHash of each text (given as its words) over its runs of `size` words."""
    return MinHash.bulk((shingles(words, size) for words in texts), num_perm=PERMUTATIONS)


def refusal(words: list[str], index: contamination.Index, text: str, min_words: int) -> str:
    """Why a text cannot be training text, whatever its score: a reason, or an empty string."""
    if len(words) < max(1, min_words):
        return SHORT
    return CONTAMINATED if contamination.hits(text, index) else ""


def mark_duplicates(
    order: Iterable[int],
    reason: np.ndarray,
    digests: np.ndarray,
    minhashes: dict[int, MinHash],
    threshold: float,
) -> np.ndarray:
    """Give the worse-ranked copy of two texts the reason "duplicate" or "near duplicate".

    Args:
        order: row numbers, best first; rows that already have a reason are no copy of anything.
        reason: object array, shape (n,), "" where nothing speaks against a row.
        digests: uint64, shape (n,).
        minhashes: of the rows in `order` without a reason.
        threshold: the share of common word runs (Jaccard, estimated) from which on two texts
            count as near duplicates; 0 looks for exact duplicates only.

    Returns:
        A new array of reasons.
    """
    reason = reason.copy()
    seen: set[int] = set()
    near = _index(threshold) if threshold else None
    for row in order:
        if reason[row]:
            continue
        value = int(digests[row])
        if value in seen:
            reason[row] = DUPLICATE
        elif near is not None and _has_twin(near, minhashes[row], minhashes, threshold):
            reason[row] = NEAR_DUPLICATE
        else:
            seen.add(value)
            if near is not None:
                near.insert(row, minhashes[row])
    return reason


def _index(threshold: float) -> MinHashLSH:
    """An index that would rather find too much than too little; `_has_twin` looks again."""
    return MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(0.1, 0.9))


def _has_twin(
    near: MinHashLSH, minhash: MinHash, minhashes: dict[int, MinHash], threshold: float
) -> bool:
    """Whether a row in the index is as similar as the threshold asks."""
    return any(minhash.jaccard(minhashes[i]) >= threshold for i in near.query(minhash))
