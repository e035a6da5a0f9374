r"""Data Selection with Importance Resampling (Xie et al. 2023, arXiv 2302.03169), a baseline.

A document is the bag of its words and word pairs, hashed into m = 10,000 buckets. With bucket
shares p of the target (in-domain) corpus and q of the raw (general) one, its log weight is

    log w = sum over its grams of  log(p[bucket] + 1e-8) - log(q[bucket] + 1e-8),

not divided by its length. Gumbel noise is added and the largest are taken, which draws without
replacement in proportion to w. The same buckets, weights and draws as the published package
`data-selection` 1.0.3 with NLTK 3.9 (NLTK 3.10 splits superscripts and circled letters in another
way); each distinct gram is hashed once instead of each time it occurs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from trait_lib.records import Row

BUCKETS = 10_000
SMOOTHING = 1e-8
FIT_GRAMS = 100_000 * BUCKETS  # the published fit stops after this many grams
BATCH = 4000
BATCH_CHARACTERS = 8_000_000
CACHE_GRAMS = 4_000_000  # the cache starts afresh beyond this, so memory stays bounded
TOKEN = re.compile(r"\w+|[^\w\s]+")  # NLTK's WordPunctTokenizer


def tokens(text: str) -> list[str]:
    """Words and runs of punctuation, in lower case."""
    return TOKEN.findall(text.lower())


def bucket(gram: str, buckets: int = BUCKETS) -> int:
    """The bucket of one gram: its SHA-256 as an integer, modulo the number of buckets."""
    digest = hashlib.sha256(gram.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest, "big") % buckets


class _Numbers(dict[str, int]):
    """Numbers words in the order in which they are first asked for."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


@dataclass
class Hasher:
    """Turns texts into bucket numbers and remembers the bucket of every gram it has seen."""

    buckets: int = BUCKETS
    words: _Numbers = field(default_factory=_Numbers)
    spelled: list[str] = field(default_factory=list)
    word_bucket: list[int] = field(default_factory=list)
    pair_bucket: dict[int, int] = field(default_factory=dict)

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Hash the words and word pairs of each text.

        Returns:
            buckets: int64, shape (grams of all texts,).
            owner: int64, same shape, the position in `texts` that each gram belongs to.
        """
        if len(self.words) + len(self.pair_bucket) > CACHE_GRAMS:
            self.__init__(self.buckets)
        split = [tokens(text) for text in texts]
        ids = np.fromiter(map(self.words.__getitem__, chain.from_iterable(split)), np.int64)
        owner = np.repeat(np.arange(len(texts)), [len(words) for words in split])
        self._learn_words()
        single = np.asarray(self.word_bucket, dtype=np.int64)[ids]
        # a pair is two neighbours of the same document; its key holds both word numbers
        inside = owner[1:] == owner[:-1]
        keys = ((ids[:-1] << 32) | ids[1:])[inside]
        return (
            np.concatenate([single, self._pairs(keys)]),
            np.concatenate([owner, owner[1:][inside]]),
        )

    def _learn_words(self) -> None:
        for word in islice(self.words, len(self.spelled), None):
            self.spelled.append(word)
            self.word_bucket.append(bucket(word, self.buckets))

    def _pairs(self, keys: np.ndarray) -> np.ndarray:
        distinct, inverse = np.unique(keys, return_inverse=True)
        found = np.fromiter(map(self._pair, distinct.tolist()), np.int64, len(distinct))
        return found[inverse]

    def _pair(self, key: int) -> int:
        known = self.pair_bucket.get(key)
        if known is None:
            first, second = self.spelled[key >> 32], self.spelled[key & 0xFFFFFFFF]
            known = self.pair_bucket[key] = bucket(f"{first} {second}", self.buckets)
        return known


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of at most `BATCH` texts, closed early once they hold `BATCH_CHARACTERS`."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) >= BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def shares(texts: Iterable[str], hasher: Hasher, fit_grams: int = FIT_GRAMS) -> np.ndarray:
    """The share of each bucket among the grams of `texts`, shape (buckets,).

    Reads no further than the first text with which there are more than `fit_grams` grams.

    Raises:
        ValueError: the texts hold no word at all.
    """
    counts = np.zeros(hasher.buckets, dtype=np.int64)
    for batch in batches(texts):
        buckets, owner = hasher(batch)
        ends = counts.sum() + np.cumsum(np.bincount(owner, minlength=len(batch)))
        last = int(np.searchsorted(ends, fit_grams, side="right"))  # the text that goes beyond
        counts += np.bincount(buckets[owner <= last], minlength=hasher.buckets)
        if last < len(batch):
            break
    if not counts.sum():
        raise ValueError("DSIR cannot be fitted: the texts hold no word")
    return counts / counts.sum()


def fit(target: Iterable[str], raw: Iterable[str], hasher: Hasher) -> np.ndarray:
    """log(p_target + 1e-8) - log(p_raw + 1e-8) of each bucket, shape (buckets,)."""
    return np.log(shares(target, hasher) + SMOOTHING) - np.log(shares(raw, hasher) + SMOOTHING)


def weigh(
    texts: Iterable[str], log_ratio: np.ndarray, hasher: Hasher
) -> tuple[np.ndarray, np.ndarray]:
    """Log importance weight and length in tokens of each text, both of shape (n,)."""
    weights, lengths = [], []
    for batch in batches(texts):
        buckets, owner = hasher(batch)
        weights.append(np.bincount(owner, weights=log_ratio[buckets], minlength=len(batch)))
        # n words make 2n - 1 grams
        grams = np.bincount(owner, minlength=len(batch))
        lengths.append((grams + 1) // 2)
    if not weights:
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    return np.concatenate(weights), np.concatenate(lengths)


@dataclass(frozen=True)
class Weighed:
    """The chunks of a pool (its documents, when they are not cut); one entry per chunk."""

    weights: np.ndarray  # float64 (n,), log importance weights
    lengths: np.ndarray  # int64 (n,), in tokens of `tokens`
    document: np.ndarray  # int64 (n,), which document of the pool the chunk is from

    def of_documents(self, number: int) -> np.ndarray:
        """The log weight of each document's best chunk, shape (number,); NaN without a chunk."""
        best = np.full(number, -np.inf)
        np.maximum.at(best, self.document, self.weights)
        return np.where(np.isfinite(best), best, np.nan)


def weigh_pool(rows: Iterable[Row], words: int, log_ratio: np.ndarray, hasher: Hasher) -> Weighed:
    """Weigh the chunks of `words` words of a pool's documents; 0 weighs whole documents."""
    document: list[int] = []

    def texts() -> Iterator[str]:
        for row in chunked(rows, words):
            document.append(row["document"])
            yield row["text"]

    weights, lengths = weigh(texts(), log_ratio, hasher)
    return Weighed(weights, lengths, np.array(document, dtype=np.int64))


def noised_order(
    log_weights: np.ndarray, lengths: np.ndarray, min_tokens: int, seed: int
) -> np.ndarray:
    """Row numbers, largest (log weight + Gumbel noise) first; shorter documents left out.

    Taking any number from the front is a draw without replacement in proportion to the weights.
    """
    keys = log_weights + np.random.default_rng(seed).gumbel(size=len(log_weights))
    order = np.argsort(-keys, kind="stable")
    return order[lengths[order] >= min_tokens]


def chunked(rows: Iterable[Row], words: int) -> Iterator[Row]:
    """Cut documents into chunks of `words` words, so that length does not decide; 0: as they are.

    Each row says in `document` from which document, counted from 0, it comes; a chunk's id is
    the document's with `#` and its number. The last chunk of a document is kept if it has half
    the length or more, or is the only one. DSIR's paper used chunks of 128 words; what it did
    with the rest is not stated.
    """
    for index, row in enumerate(rows):
        if not words:
            yield {**row, "document": index}
            continue
        ends = [match.end() for match in re.finditer(r"\S+", row["text"])]
        for number, start in enumerate(range(0, len(ends), words)):
            stop = min(start + words, len(ends))
            if number and 2 * (stop - start) < words:
                break
            left = ends[start - 1] if start else 0
            text = row["text"][left : ends[stop - 1]].strip()
            yield {**row, "id": f"{row['id']}#{number}", "text": text, "document": index}
