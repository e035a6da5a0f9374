"""Scores of rewritten queries: how different they are, and how many advertisers bid on.

The paper names *diversity* and *density* for query rewriting; their definitions were not found.
Ours: diversity is the mean over queries of the mean distance, 1 - |A & B| / |A | B| over words,
between any two of the query and its rewrites, repeated ones too; density is the share of rewrites
that stand in the advertisers' keyword set. Density alone rewards one keyword for every query, so
three numbers stand beside it: distinct-n, the share of runs of n words that are different;
coverage, the different keywords that are hit over the most that so many rewrites could hit; and
the copy rate, the share of rewrites that are the query itself.
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
    """The mean distance between any two of a query and its rewrites; 0 without any.

    A rewrite that is repeated counts as often as it stands there: saying one thing three times is
    not diverse.
    """
    texts = [query, *rewrites]
    pairs = [distance(a, b) for a, b in itertools.combinations(texts, 2)]
    return float(np.mean(pairs)) if pairs else 0.0


def is_keyword(rewrite: str, keywords: set[tuple[str, ...]]) -> bool:
    """Does a rewrite stand in the keyword set, word for word?"""
    return tuple(words(rewrite)) in keywords


def keyword_set(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """The advertisers' keywords (rows with `keyword`), as tuples of words."""
    return {tuple(words(row["keyword"])) for row in rows}


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


def distinct(rewrites: Sequence[Rewrites], n: int) -> tuple[float, np.ndarray]:
    """distinct-n, different runs of `n` words over all runs; and without each query in turn.

    `rewrites` has one entry a query, and so has the array, for the jackknife. 0 without runs.
    """
    return _different([_runs(some, n) for some in rewrites], None)


def coverage(
    rewrites: Sequence[Rewrites], keywords: set[tuple[str, ...]]
) -> tuple[float, np.ndarray]:
    """The different keywords that rewrites hit, over the most that so many could hit.

    And the same without each query in turn; see `distinct`. 0 without rewrites or keywords.
    """
    return _different([[tuple(words(one)) for one in listed(some)] for some in rewrites], keywords)


def _runs(rewrites: Rewrites, n: int) -> list[tuple[str, ...]]:
    """All runs of `n` words in the rewrites of one query."""
    tokens = [words(text) for text in listed(rewrites)]
    return [tuple(t[i : i + n]) for t in tokens for i in range(len(t) - n + 1)]


def _different(
    queries: Sequence[Sequence[tuple[str, ...]]], counted: set[tuple[str, ...]] | None
) -> tuple[float, np.ndarray]:
    """The share of different things, of those `counted` where given, and without each query."""
    total = sum(map(len, queries))
    own = [Counter(one for one in some if counted is None or one in counted) for some in queries]
    counts = Counter(itertools.chain.from_iterable(mine.elements() for mine in own))

    def share(different: int, things: int) -> float:
        most = things if counted is None else min(things, len(counted))
        return different / most if most else 0.0

    without = [
        share(len(counts) - sum(counts[one] == count for one, count in mine.items()), total - size)
        for mine, size in zip(own, map(len, queries), strict=True)
    ]
    return share(len(counts), total), np.array(without)


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
