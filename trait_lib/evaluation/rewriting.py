"""Scores of rewritten queries: how different they are, and how many advertisers bid on.

The paper names *diversity* and *density* for query rewriting; their definitions were not found.
Ours: diversity is the mean over queries of the mean distance, 1 - |A & B| / |A | B| over words,
between any two of the query and its distinct rewrites; density is the share of rewrites that
stand in the advertisers' keyword set. Density alone rewards one keyword for every query, so
distinct-n and the copy rate stand beside it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trait_lib.contamination import words

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


def items(
    rows: Sequence[Mapping[str, Any]],
    rewrites: Mapping[str, str | None],
    keywords: set[tuple[str, ...]],
) -> dict[str, np.ndarray]:
    """Diversity, density and copy for each problem: arrays of shape (rows,).

    Args:
        rows: query-rewriting problems.
        rewrites: the extracted rewrite of each row's id; None where there is none, which scores 0
            in everything.
        keywords: see `keyword_set`.
    """
    made = {"diversity": [], "density": [], "copy rate": []}
    for row in rows:
        query, rewrite = query_of(row), rewrites[row["id"]] or ""
        made["diversity"].append(diversity(query, [rewrite]) if rewrite else 0.0)
        made["density"].append(float(is_keyword(rewrite, keywords)) if rewrite else 0.0)
        made["copy rate"].append(float(is_copy(query, rewrite)))
    return {name: np.array(values) for name, values in made.items()}
