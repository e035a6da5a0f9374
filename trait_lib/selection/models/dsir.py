r"""Data Selection with Importance Resampling (Xie et al. 2023, arXiv 2302.03169), a baseline.

A document is the bag of its words and word pairs, hashed into m = 10,000 buckets. With bucket
shares p of the target (in-domain) corpus and q of the raw (general) one, its log weight is

    log w = sum over its grams of  log(p[bucket] + 1e-8) - log(q[bucket] + 1e-8),

not divided by its length. Gumbel noise is added and the largest are taken, which draws without
replacement in proportion to w. The same buckets, weights and draws as the published package
`data-selection` 1.0.3 with NLTK 3.9 (NLTK 3.10 splits superscripts and circled letters in another
way). SHA-256 is nearly all of the cost there; here a gram is hashed when it is new or long unseen
(`kernels.add_grams`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trait_lib import records
from trait_lib.selection.models import kernels
from trait_lib.selection.models.linear import buffers

BUCKETS = 10_000
SMOOTHING = 1e-8
FIT_GRAMS = 100_000 * BUCKETS  # the published fit stops after this many grams
BATCH = 2000
REMEMBERED = 1 << 22  # grams whose bucket is remembered, at most: 32 MB
CHUNK_BITS = 20  # a document has fewer than a million chunks
TOKEN = re.compile(r"\w+|[^\w\s]+")  # NLTK's WordPunctTokenizer


def tokens(text: str) -> list[str]:
    """Words and runs of punctuation, in lower case: what the compiled loop is held to."""
    return TOKEN.findall(text.lower())


def bucket(gram: str, buckets: int = BUCKETS) -> int:
    """The bucket of one gram: its SHA-256 as an integer, modulo the number of buckets."""
    digest = hashlib.sha256(gram.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest, "big") % buckets


def as_arrow(texts: Iterable[str]) -> pa.Array:
    """Strings in Arrow's layout; lone surrogates become `?`."""
    return pa.array([t.encode("utf-8", "replace") for t in texts], pa.large_binary()).cast(
        pa.large_string()
    )


def batches(texts: Iterable[str] | pa.Array) -> Iterator[pa.Array]:
    """Arrow arrays of at most `BATCH` texts; an array passes as it is."""
    if isinstance(texts, pa.Array):
        yield texts
        return
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield as_arrow(batch)
            batch = []
    if batch:
        yield as_arrow(batch)


@dataclass
class Hasher:
    """Hashes grams into buckets and remembers the bucket of those seen lately."""

    buckets: int = BUCKETS
    memory: np.ndarray = field(default_factory=lambda: np.zeros(REMEMBERED, dtype=np.uint64))

    def __post_init__(self) -> None:
        """Check the number of buckets."""
        if not 0 < self.buckets < min(len(self.memory), 1 << 21):
            raise ValueError(f"buckets must lie between 1 and {len(self.memory) - 1}")

    def count(self, texts: pa.Array, counts: np.ndarray, limit: int = FIT_GRAMS) -> bool:
        """Add the grams of `texts` to `counts`, int64 (buckets,), in place.

        Stops with the first text with which `counts` holds more than `limit` grams.

        Returns:
            Whether there is room for more.
        """
        data, begins, ends = buffers(texts)
        left = np.zeros(1, dtype=np.bool_)
        first = 0
        while first < len(begins) and counts.sum() <= limit:
            first += kernels.count_grams(
                data, begins[first:], ends[first:], kernels.code_points(), self.buckets,
                self.memory, counts, int(limit - counts.sum()), left,
            )  # fmt: skip
            if left[0]:  # the last text read is one whose case Python has to lower
                text = texts[first - 1].as_py().lower()
                self.count(pa.array([text], pa.large_string()), counts, limit)
        return bool(counts.sum() <= limit)

    def weigh(
        self, texts: pa.Array, log_ratio: np.ndarray, chunk_words: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weigh the texts, or their chunks of `chunk_words` words.

        Returns:
            weights: float64 (n,), the sum of `log_ratio` over the grams.
            lengths: int32 (n,), in words and runs of marks.
            owner: int64 (n,), the position in `texts` that each is from.
        """
        data, begins, ends = buffers(texts)
        owner = np.arange(len(begins))
        if chunk_words:
            owner, begins, ends = chunk_places(data, begins, ends, chunk_words)
        weights, lengths, left = self._sum(data, begins, ends, log_ratio)
        rows = np.flatnonzero(left)
        if len(rows):
            low = [bytes(data[begins[i] : ends[i]]).decode().lower() for i in rows]
            again = buffers(pa.array(low, pa.large_string()))
            weights[rows], lengths[rows], _ = self._sum(*again, log_ratio)
        return weights, lengths, owner

    def _sum(
        self, data: np.ndarray, begins: np.ndarray, ends: np.ndarray, log_ratio: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        number = len(begins)
        weights, lengths = np.zeros(number), np.zeros(number, dtype=np.int32)
        left = np.zeros(number, dtype=np.bool_)
        kernels.weigh(
            data, begins, ends, kernels.code_points(), log_ratio, self.memory,
            weights, lengths, left,
        )  # fmt: skip
        return weights, lengths, left


@cache
def shared_hasher(buckets: int = BUCKETS) -> Hasher:
    """One memory for all passes of a process: what the fit has hashed need not be hashed again."""
    return Hasher(buckets)


def chunk_places(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, words: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where chunks of `words` words lie: owner, first byte, byte after the last, int64 (chunks,).

    Equal lengths keep length from deciding. The last chunk of a document is kept if it has half
    the length or more, or is the only one. DSIR's paper used chunks of 128 words; what it did
    with the rest is not stated.
    """
    # n chunks of w words hold at least n * (2 * w - 1) bytes, the last one of a document half
    most = int((ends - begins).sum()) // (2 * words) + len(begins) + 1
    owner, first, last = (np.empty(most, dtype=np.int64) for _ in range(3))
    table = kernels.code_points()
    number = kernels.cut_chunks(data, begins, ends, words, table, owner, first, last)
    return owner[:number], first[:number], last[:number]


def chunk_texts(texts: pa.Array, words: int) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The chunks of texts as strings, the text each is from, and its number in it; 0: as is."""
    if not words:
        return texts, np.arange(len(texts)), np.zeros(len(texts), dtype=np.int64)
    data, begins, ends = buffers(texts)
    owner, first, last = chunk_places(data, begins, ends, words)
    pieces = [bytes(data[a:b]) for a, b in zip(first, last, strict=True)]
    number = np.arange(len(owner)) - np.searchsorted(owner, owner)
    return pa.array(pieces, pa.large_binary()).cast(pa.large_string()), owner, number


# --- fitting and drawing ----------------------------------------------------------------------


def shares(counts: np.ndarray) -> np.ndarray:
    """The share of each bucket, shape (buckets,).

    Raises:
        ValueError: the texts hold no word at all.
    """
    if not counts.sum():
        raise ValueError("DSIR cannot be fitted: the texts hold no word")
    return counts / counts.sum()


def count(texts: Iterable[str] | pa.Array, hasher: Hasher, limit: int = FIT_GRAMS) -> np.ndarray:
    """The grams of texts by bucket, int64 (buckets,), up to the text that goes beyond `limit`."""
    counts = np.zeros(hasher.buckets, dtype=np.int64)
    for batch in batches(texts):
        if not hasher.count(batch, counts, limit):
            break
    return counts


def log_ratio(target: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """log(p_target + 1e-8) - log(p_raw + 1e-8) of each bucket, from counts, shape (buckets,)."""
    return np.log(shares(target) + SMOOTHING) - np.log(shares(raw) + SMOOTHING)


def noised(log_weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Log weights with Gumbel noise.

    Taking any number of the largest is a draw without replacement in proportion to the weights.
    """
    return log_weights + generator.gumbel(size=len(log_weights))


def by_length(per_length: bool) -> Callable[..., np.ndarray]:
    """How chunks are ranked: by noised log weight, or by log weight per word without noise.

    The second is no published DSIR; ours as an option, because a sum over grams lets the length
    decide where documents are not cut into equal chunks.
    """

    def key(weights: np.ndarray, length: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        return weights / np.maximum(length, 1) if per_length else noised(weights, draw)

    return key


def publish(ratio: np.ndarray, folder: str | Path, chunk_words: int) -> dict[str, Any]:
    """Prepare a log ratio for the shard engine: write it below `folder`, named by its hash.

    Returns:
        What `passes.score_task` needs to make the method `scorer`.
    """
    path = Path(folder) / f"dsir-{hashlib.sha256(ratio).hexdigest()[:16]}.npy"
    with records.atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, ratio)
    settings = {"ratio": str(path), "chunk_words": chunk_words}
    return {"name": "dsir", "settings": settings}


def scorer(
    ratio: str, chunk_words: int, hasher: Hasher | None = None
) -> Callable[[pa.Array], dict[str, Any]]:
    """Columns for the shard engine, from the file of a log ratio (.npy).

    `dsir`: the log weight of the document's best chunk, `dsir_per_word`: the mean over the words
    of all its chunks, both null where it has none; `dsir_chunks` and `dsir_words`: log weight and
    length of every chunk. Without chunks a document is its own.
    """
    table = np.load(ratio)
    hasher = hasher or shared_hasher(len(table))

    def columns(texts: pa.Array) -> dict[str, Any]:
        weights, lengths, owner = hasher.weigh(texts, table, chunk_words)
        best = np.full(len(texts), -np.inf)
        np.maximum.at(best, owner, weights)
        places = np.searchsorted(owner, np.arange(len(texts) + 1)).astype(np.int64)
        lists = {
            name: pa.LargeListArray.from_arrays(pa.array(places), pa.array(values))
            for name, values in (("dsir_chunks", weights), ("dsir_words", lengths))
        }
        total = np.bincount(owner, weights, len(texts))
        words = np.bincount(owner, lengths, len(texts))
        none = ~np.isfinite(best)
        mean = pa.array(total / np.maximum(words, 1), mask=none)
        return {"dsir": pa.array(best, mask=none), "dsir_per_word": mean, **lists}

    return columns
