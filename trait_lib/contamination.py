"""Does a test question stand in a training text? By whole normalised question and by 13-gram.

The 13-gram rule is the one of the GPT-3 report, used since by most pre-training reports; the
paper does not state one. Ours adds the whole question, because short questions have no 13-gram.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GRAM = 13
WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The text's words in lower case: runs of letters and digits."""
    return WORD.findall(text.lower())


def grams(tokens: list[str], n: int = GRAM) -> set[str]:
    """All runs of `n` words, joined by spaces."""
    return {" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


@dataclass
class Index:
    """The test questions, ready to be searched for. Make it with `build_index`."""

    gram_to_ids: dict[str, set[str]] = field(default_factory=dict)
    question_to_ids: dict[str, set[str]] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)


def build_index(questions: Mapping[str, str], n: int = GRAM) -> Index:
    """Index test questions (id -> text).

    A question of `n` words or more is looked for by each of its n-grams; a shorter one as a whole.
    """
    index = Index()
    for identifier, text in questions.items():
        tokens = words(text)
        if len(tokens) >= n:
            for gram in grams(tokens, n):
                index.gram_to_ids.setdefault(gram, set()).add(identifier)
        elif tokens:
            index.question_to_ids.setdefault(" ".join(tokens), set()).add(identifier)
            index.lengths.add(len(tokens))
    return index


def hits(text: str, index: Index, n: int = GRAM) -> set[str]:
    """The ids of the test questions that stand in `text`."""
    tokens = words(text)
    found: set[str] = set()
    for gram in grams(tokens, n) & index.gram_to_ids.keys():
        found |= index.gram_to_ids[gram]
    for length in index.lengths:
        for gram in grams(tokens, length) & index.question_to_ids.keys():
            found |= index.question_to_ids[gram]
    return found


def report(texts: Iterable[tuple[str, str]], index: Index) -> dict[str, list[str]]:
    """Map the id of each contaminated text to the sorted ids of the questions found in it."""
    found = ((identifier, hits(text, index)) for identifier, text in texts)
    return {identifier: sorted(ids) for identifier, ids in found if ids}
