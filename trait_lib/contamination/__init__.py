"""Does a test question stand in a training text? By whole question and by 13 words in a row.

The 13-gram rule is the one of the GPT-3 report, used since by most pre-training reports; the
paper does not state one. Ours adds the whole question, because short questions have no 13-gram,
and leaves out what says nothing: questions of one to three words ("Simplify."), and words that many
questions share (a fixed instruction). What is left out is known by number, see `Index.said`.
Typography does not count, see `normal`; `kernels` does the work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trait_lib import records
from trait_lib.contamination import kernels
from trait_lib.contamination.index import (
    GRAM,
    SHARED,
    Index,
    Letters,
    build_index,
    letters,
    spelled,
)

__all__ = ["GRAM", "SHARED", "Index", "build_index"]

FRONT = 500  # letters by which a document is known: a long one may be cut in one stage only
WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The text's words in lower case: runs of letters and digits."""
    return WORD.findall(text.lower())


def grams(tokens: list[str], n: int = GRAM) -> set[str]:
    """All runs of `n` words, joined by spaces."""
    return {" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


class Match(NamedTuple):
    """A test question in a text."""

    question: str  # its id
    whole: bool  # all of it stands there, not only 13 words
    shared: str  # what stands there: the question, or the first 13 of its words


# --- searching --------------------------------------------------------------------------------


def hits(text: str, index: Index) -> set[str]:
    """The ids of the test questions that stand in `text`."""
    return set(_found(letters(text), index))


def is_held_out(text: str, index: Index) -> bool:
    """Whether a text is, or begins like, a held-out document."""
    return bool(index.held_out) and fingerprint(text) in index.held_out


def matches(text: str, index: Index) -> list[Match]:
    """The test questions that stand in `text`, and what of them, sorted by id."""
    read = letters(text)
    return [_match(name, key, read, index) for name, key in sorted(_found(read, index).items())]


def _found(text: Letters, index: Index) -> dict[str, int]:
    """The questions that stand in a text, each with its first key there."""
    if index.keys is None:
        return {}
    keys = np.unique(kernels.search(*text, index.keys))
    keys = keys[np.argsort(-index.keys.first[keys])]
    return {name: key for key in keys for name in index.owners[key]}


def _match(name: str, key: int, text: Letters, index: Index) -> Match:
    question = index.questions[name]
    size = len(question[0])
    all_of_it = kernels.keys(question[0], np.array([0]), np.array([size]))
    if len(kernels.search(*text, all_of_it)):
        return Match(name, True, spelled(question, 0, size))
    start = index.keys.first[key]
    run = spelled((index.keys.letters, index.begins), start, start + index.keys.length[key])
    return Match(name, False, run)


def report(texts: Iterable[tuple[str, str]], index: Index) -> dict[str, list[str]]:
    """Map the id of each contaminated text to the sorted ids of the questions found in it."""
    found = ((identifier, hits(text, index)) for identifier, text in texts)
    return {identifier: sorted(ids) for identifier, ids in found if ids}


# --- what all stages must agree on ------------------------------------------------------------


def fingerprint(text: str) -> int:
    """64 bits of a document's first letters; typography does not count."""
    front = letters(text[: 8 * FRONT])[0][:FRONT]
    return int(kernels.hashes(front, np.array([0]), np.array([len(front)]))[0])


def write_known(path: str | Path, shared: Mapping[str, int], held_out: Iterable[int]) -> None:
    """Write what notebook 00 found: words that many questions share, and held-out documents."""
    records.write_json(path, {"shared": dict(shared), "held_out": sorted(held_out)})


def read_known(path: str | Path) -> dict[str, Any]:
    """What `write_known` wrote, for `build_index`."""
    return records.read_json(path)
