"""The test questions, ready to be searched for: which runs of their words are looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trait_lib.contamination import kernels
from trait_lib.contamination.normal import JOINT, WORD_WEIGHT, code_points, unmarked, weights

GRAM = 13
LEAST = 4  # words of a question that is looked for as a whole
SHARED = 5  # so many different questions with the same words: these are nobody's

Letters = tuple[np.ndarray, np.ndarray]
"""A text's letters, and where words begin; from `letters`."""


def letters(text: str) -> Letters:
    """What of a text is compared: uint32 (n,), and bool (n + 1,) where words begin."""
    data = np.frombuffer(unmarked(text).encode("utf-8", "replace"), dtype=np.uint8)
    return kernels.normalise(data, *code_points())


def spelled(found: Letters, first: int, last: int) -> str:
    """Letters as words again, for a reader."""
    part, begins = found[0][first:last], found[1][first:last]
    apart = weights(part) < WORD_WEIGHT
    blank = begins & ~(apart & np.append(False, apart[:-1]))
    pieces = (f" {chr(c)}" if b else chr(c) for c, b in zip(part, blank, strict=True))
    return " ".join("".join(pieces).replace(chr(JOINT), "").split())


@dataclass
class Index:
    """The test questions, ready to be searched for. Make it with `build_index`."""

    questions: dict[str, Letters] = field(default_factory=dict)  # by id
    short: list[str] = field(default_factory=list)  # ids: too few words to be looked for
    common: list[str] = field(default_factory=list)  # ids: no words of their own
    shared: dict[str, int] = field(default_factory=dict)  # words -> different questions with them
    held_out: frozenset[int] = frozenset()  # fingerprints of documents
    keys: kernels.Keys | None = None
    begins: np.ndarray | None = None  # where words begin in the letters of the keys
    owners: list[list[str]] = field(default_factory=list)  # of each key, the ids of its questions

    def said(self, most: int = 5) -> list[str]:
        """What is not looked for, for a reader: in numbers, and which words."""
        ranked = sorted(self.shared, key=lambda text: (-self.shared[text], len(text), text))
        told: list[str] = []
        told += (text for text in ranked if not any(one in text for one in told))
        lines = [f"in {self.shared[one]} questions, so it does not count: {one}" for one in told]
        lines[most:] = [f"and {len(lines) - most} more such runs of words"] * (len(lines) > most)
        of = f"of {len(self.questions):,} questions"
        if self.common:
            lines.append(f"{len(self.common)} {of} hold no words of their own: not looked for")
        if self.short:
            lines.append(f"{len(self.short)} {of} have fewer than {LEAST} words: not looked for")
        return lines


def build_index(
    questions: Mapping[str, str], shared: Iterable[str] = (), held_out: Iterable[int] = ()
) -> Index:
    """Index test questions (id -> text), and held-out documents by their fingerprints.

    A question of 13 words or more is looked for by each 13 of its words in a row, a shorter one as
    a whole. Thirteen words that stand in `SHARED` or more different questions do not count: they
    are cut out, and what is left is a question of its own. Where no piece has 13 words, the longest
    one is looked for as a whole, from four words on; where that stands in many questions, or is
    too short, the question as it is, from 13 words on. Where words are not set apart by blanks,
    letters count as parts of a word, see `normal.weights`. `shared` names more words that do not
    count: some of the questions share less than all do, and all stages must agree, see
    `contamination.write_known`.
    """
    index = Index({identifier: letters(text) for identifier, text in questions.items()})
    index.held_out = frozenset(held_out)
    same: dict[bytes, list[str]] = {}
    for identifier, (found, _) in index.questions.items():
        same.setdefault(found.tobytes(), []).append(identifier)
    if not same:
        return index
    names = list(same.values())
    asked = _asked([index.questions[one[0]] for one in names])
    known = _hashes(shared)
    runs = asked.runs(asked.bounds)
    pieces, index.shared = _pieces(asked, runs, asked.count(runs, known))
    by_runs = pieces.runs()
    done = np.isin(np.arange(len(names)), by_runs.text)
    longest = pieces.longest(~done)
    many = asked.count(longest, known)
    for start, size, number in zip(*longest[:2], many, strict=True):
        if number >= SHARED:
            index.shared[spelled((asked.letters, asked.begins), start, start + size)] = int(number)
    longest = longest.pick(many < SHARED)
    done[longest.text] = True
    whole = np.flatnonzero(~done & (asked.heavy(asked.bounds) >= GRAM * WORD_WEIGHT))
    wholes = _Runs(asked.bounds[whole], np.diff(asked.bounds)[whole], whole)
    done[whole] = True
    few = asked.heavy(asked.bounds) < LEAST * WORD_WEIGHT
    index.short = [name for one in np.flatnonzero(few) for name in names[one]]
    index.common = [name for one in np.flatnonzero(~done & ~few) for name in names[one]]
    _enter(
        index, asked, _Runs(*map(np.concatenate, zip(by_runs, longest, wholes, strict=True))), names
    )
    return index


class _Runs(NamedTuple):
    """Runs of letters in the questions' letters."""

    first: np.ndarray  # int64 (n,)
    length: np.ndarray  # int64 (n,)
    text: np.ndarray  # int64 (n,), the number of the question

    def pick(self, which: np.ndarray) -> _Runs:
        """Some of them."""
        return _Runs(*(column[which] for column in self))


@dataclass(frozen=True)
class _Asked:
    """Different questions, one after the other."""

    letters: np.ndarray  # uint32 (n,)
    begins: np.ndarray  # bool (n + 1,)
    weight: np.ndarray  # int64 (n,), of the word that begins there, else 0
    bounds: np.ndarray  # int64 (questions + 1,)

    def runs(self, bounds: np.ndarray) -> _Runs:
        """Each 13 words in a row between two neighbours of `bounds`."""
        least = GRAM * WORD_WEIGHT
        return _Runs(*kernels.runs(self.letters, self.begins, self.weight, bounds, least))

    def heavy(self, bounds: np.ndarray) -> np.ndarray:
        """What the words weigh between neighbours of `bounds`."""
        return np.diff(np.append(0, np.cumsum(self.weight))[bounds])

    def unique(self, runs: _Runs) -> tuple[kernels.Keys, np.ndarray, np.ndarray]:
        """The different ones of some runs as keys; the key and a hash of each run."""
        code = kernels.hashes(self.letters, runs.first, runs.length)
        _, one, key = np.unique(code, return_index=True, return_inverse=True)
        return kernels.keys(self.letters, runs.first[one], runs.length[one]), key, code

    def count(self, runs: _Runs, known: np.ndarray) -> np.ndarray:
        """In how many questions each run stands; at least `SHARED` where its hash is known."""
        keys, key, code = self.unique(runs)
        count = kernels.counted(self.letters, self.begins, self.bounds, keys)[key]
        return np.where(np.isin(code, known), np.maximum(count, SHARED), count)


def _asked(texts: Sequence[Letters]) -> _Asked:
    every = np.concatenate([found for found, _ in texts])
    begins = np.concatenate([*(begins[:-1] for _, begins in texts), [True]])
    bounds = np.cumsum([0, *(len(found) for found, _ in texts)])
    return _Asked(every, begins, weights(every) * begins[:-1], bounds)


@dataclass(frozen=True)
class _Pieces:
    """The questions, cut where words begin or end that many of them share."""

    asked: _Asked
    bounds: np.ndarray  # int64 (pieces + 1,)
    own: np.ndarray  # bool (pieces,), of one question
    text: np.ndarray  # int64 (pieces,), the number of the question

    def runs(self) -> _Runs:
        """Each 13 words in a row of an own piece."""
        found = self.asked.runs(self.bounds)
        piece = found.text
        return found._replace(text=self.text[piece]).pick(self.own[piece])

    def longest(self, which: np.ndarray) -> _Runs:
        """The longest own piece of some questions (bool), where it has `LEAST` words."""
        heavy = self.asked.heavy(self.bounds)
        piece = np.flatnonzero(self.own & which[self.text] & (heavy >= LEAST * WORD_WEIGHT))
        piece = piece[np.lexsort((-piece, heavy[piece], self.text[piece]))]
        piece = piece[np.append(np.diff(self.text[piece]) > 0, True)[: len(piece)]]
        first, end, found = self.bounds[piece], self.bounds[piece + 1], self.asked.letters
        first = first + (found[first] == JOINT)
        return _Runs(first, end - (found[end - 1] == JOINT) - first, self.text[piece])


def _pieces(asked: _Asked, runs: _Runs, count: np.ndarray) -> tuple[_Pieces, dict[str, int]]:
    """Cut the questions; and the words that were cut out, with the largest count of their runs."""
    shared = count >= SHARED
    runs, count = runs.pick(shared), count[shared]
    change = np.zeros(len(asked.letters) + 1, dtype=np.int64)
    np.add.at(change, runs.first, 1)
    np.add.at(change, runs.first + runs.length, -1)
    covered = np.cumsum(change) > 0
    bounds = np.union1d(asked.bounds, np.flatnonzero(np.diff(covered)) + 1)
    text = np.searchsorted(asked.bounds, bounds[:-1], "right") - 1
    pieces = _Pieces(asked, bounds, ~covered[bounds[:-1]], text)
    largest = np.zeros(len(bounds), dtype=np.int64)
    np.maximum.at(largest, np.searchsorted(bounds, runs.first, "right") - 1, count)
    words: dict[str, int] = {}
    for piece in np.flatnonzero(~pieces.own):
        one = spelled((asked.letters, asked.begins), *bounds[piece : piece + 2])
        words[one] = max(int(largest[piece]), words.get(one, 0))
    return pieces, words


def _hashes(texts: Iterable[str]) -> np.ndarray:
    """Hashes of some texts and of each 13 words in a row of them, uint64."""
    found = [letters(text) for text in texts]
    if not found:
        return np.zeros(0, dtype=np.uint64)
    asked = _asked(found)
    runs = asked.runs(asked.bounds)
    first = np.append(runs.first, asked.bounds[:-1])
    return kernels.hashes(asked.letters, first, np.append(runs.length, np.diff(asked.bounds)))


def _enter(index: Index, asked: _Asked, runs: _Runs, names: Sequence[Sequence[str]]) -> None:
    """Make keys of the runs that are looked for."""
    index.keys, key, _ = asked.unique(runs)
    index.begins, index.owners = asked.begins, [[] for _ in index.keys.first]
    for number, text in zip(key, runs.text, strict=True):
        index.owners[number] += names[text]
