"""Scores of rewritten queries: how different they are, and how many advertisers bid on.

The paper names *diversity* and *density* for query rewriting; their definitions were not found.
Ours: diversity is the mean over queries of the mean distance, 1 - |A & B| / |A | B| over words,
between any two of the query and its distinct rewrites; density is the share of rewrites that
stand in the advertisers' keyword set. Density alone rewards one keyword for every query, so three
numbers stand beside it: distinct-n, the share of runs of n words that are different; coverage,
the different keywords that are hit over the most that so many rewrites could hit; and the copy
rate, the share of rewrites that are the query itself.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trait_lib.contamination import words

Rewrites = str | Sequence[str] | None
QUERY = re.compile(r"\bquery:?\s+(.+?)\s*[.?]?\s*$", re.IGNORECASE | re.DOTALL)


def query_of(row: Mapping[str, Any]) -> str:
    """The query that a rewriting problem asks about: its field `query`, or the question's end."""
    if row.get("query"):
        return str(row["query"])
    match = QUERY.search(row["question"])
    return match[1] if match else row["question"]


def distance(first: str, second: str) -> float:
    """1 - the Jaccard similarity of the words of two texts; 0 for two texts without words."""
    a, b = set(words(first)), set(words(second))
    return 1 - len(a & b) / len(a | b) if a | b else 0.0


def diversity(query: str, rewrites: Sequence[str]) -> float:
    """The mean distance between any two of a query and its distinct rewrites; 0 without any."""
    texts = [query, *dict.fromkeys(rewrites)]
    pairs = [distance(a, b) for a, b in itertools.combinations(texts, 2)]
    return float(np.mean(pairs)) if pairs else 0.0


def is_keyword(rewrite: str, keywords: set[tuple[str, ...]]) -> bool:
    """Does a rewrite stand in the keyword set, word for word?"""
    return tuple(words(rewrite)) in keywords


def keyword_set(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """The advertisers' keywords (rows with `keyword`), as tuples of words."""
    return {tuple(words(row["keyword"])) for row in rows}


def distinct(rewrites: Sequence[str], n: int) -> float:
    """distinct-n: different runs of `n` words over all runs; 0 when there is none."""
    tokens = [words(text) for text in rewrites]
    runs = [tuple(t[i : i + n]) for t in tokens for i in range(len(t) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def is_copy(query: str, rewrite: str) -> bool:
    """Is the rewrite the query itself, word for word?"""
    return words(query) == words(rewrite)


def listed(rewrites: Rewrites) -> list[str]:
    """The rewrites of one query as a list; empty ones are none."""
    some = [rewrites] if isinstance(rewrites, str) else list(rewrites or ())
    return [one for one in some if one and words(one)]


def _mean(flags: Iterable[bool]) -> float:
    values = [float(flag) for flag in flags]
    return sum(values) / len(values) if values else 0.0


def coverage(rewrites: Sequence[Rewrites], keywords: set[tuple[str, ...]]) -> float:
    """The different keywords that rewrites hit, over the most that so many could hit.

    `rewrites` has one entry a query. 0 without rewrites or keywords.
    """
    texts = [tuple(words(one)) for some in rewrites for one in listed(some)]
    most = min(len(texts), len(keywords))
    return len(set(texts) & keywords) / most if most else 0.0


def distinct_without(rewrites: Sequence[Rewrites], n: int) -> np.ndarray:
    """distinct-n without each query's rewrites in turn, shape (queries,), for the jackknife."""
    runs = [_runs(some, n) for some in rewrites]
    counts = Counter(run for some in runs for run in some)
    total, different = sum(counts.values()), len(counts)
    values = []
    for some in runs:
        own = Counter(some)
        alone = sum(counts[run] == count for run, count in own.items())
        left = total - len(some)
        values.append((different - alone) / left if left else 0.0)
    return np.array(values)


def _runs(rewrites: Rewrites, n: int) -> list[tuple[str, ...]]:
    """All runs of `n` words in the rewrites of one query."""
    tokens = [words(text) for text in listed(rewrites)]
    return [tuple(t[i : i + n]) for t in tokens for i in range(len(t) - n + 1)]


def coverage_without(rewrites: Sequence[Rewrites], keywords: set[tuple[str, ...]]) -> np.ndarray:
    """Coverage without each query's rewrites in turn, shape (queries,)."""
    texts = [[tuple(words(one)) for one in listed(some)] for some in rewrites]
    counts = Counter(text for some in texts for text in some if text in keywords)
    total = sum(map(len, texts))
    values = []
    for some in texts:
        own = Counter(text for text in some if text in keywords)
        alone = sum(counts[text] == count for text, count in own.items())
        most = min(total - len(some), len(keywords))
        values.append((len(counts) - alone) / most if most else 0.0)
    return np.array(values)


def items(
    rows: Sequence[Mapping[str, Any]],
    rewrites: Mapping[str, Rewrites],
    keywords: set[tuple[str, ...]],
) -> dict[str, np.ndarray]:
    """Diversity, density and copy for each problem: arrays of shape (rows,).

    Args:
        rows: query-rewriting problems.
        rewrites: the extracted rewrite, or rewrites, of each row's id; None where there is none,
            which scores 0 in everything.
        keywords: see `keyword_set`.
    """
    made = {"diversity": [], "density": [], "copy rate": []}
    for row in rows:
        query, some = query_of(row), listed(rewrites[row["id"]])
        made["diversity"].append(diversity(query, some) if some else 0.0)
        made["density"].append(_mean(is_keyword(one, keywords) for one in some))
        made["copy rate"].append(_mean(is_copy(query, one) for one in some))
    return {name: np.array(values) for name, values in made.items()}
