"""The inner loops of the search, compiled by numba: a text's bytes to letters, letters to keys.

A *key* is a run of letters that is looked for: 13 words of a question, or all of it. `search`
hashes the first letters of what may begin at each word of a text, and compares letter by letter
where a key begins with the same hash. So nothing is found that does not stand there, and nothing
that does is missed.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from trait_lib.contamination.normal import APART, DIGIT, GAP, JOINT, MANY, NOTHING

WINDOWS = (32, 16, 8, 4, 2, 1)  # letters that are hashed; each key has the longest that it fills
MOST_LETTERS = 6  # of one byte that is not ASCII: U+FDFA is three bytes and eighteen letters
U64, I64 = np.uint64, np.int64
BASE, SPREAD = U64(0x9E3779B97F4A7C15 | 1), U64(0xD6E8FEB86659FD93)

try:
    kernel = numba.njit(cache=True, nogil=True)
    kernel(lambda: None)
except RuntimeError:  # "no locator available": nowhere to keep what is compiled
    kernel = numba.njit(nogil=True)


class Keys(NamedTuple):
    """The keys, ready to be searched for; k of them. Make it with `keys`."""

    letters: np.ndarray  # uint32, in which the keys stand
    first: np.ndarray  # int64 (k,)
    length: np.ndarray  # int64 (k,)
    windows: np.ndarray  # int64, the windows that are used
    bits: np.ndarray  # uint64, a bit for each hash that a key may begin with
    slots: np.ndarray  # uint64, hashes, 0 where free
    heads: np.ndarray  # int64, the first key of each slot
    following: np.ndarray  # int64 (k,), the next key with that hash, or -1


@kernel
def normalise(
    data: np.ndarray, table: np.ndarray, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The letters of a text, and where words begin.

    Args:
        data: UTF-8, uint8.
        table: from `normal.code_points`.
        more: the other one of the two.

    Returns:
        uint32 (n,) and bool (n + 1,); `True` after the last letter too.
    """
    room = len(data) + 1
    for byte in data:
        if byte >= 0x80:
            room += MOST_LETTERS - 1
    letters, begins = np.empty(room, dtype=np.uint32), np.empty(room + 1, dtype=np.bool_)
    end, i, left, at = 0, 0, 0, 0
    gap, apart = True, False  # is there a gap before the next letter? is the last one a word?
    digits, joint = 0, -1  # of the number that ends here; the joint before it
    while left > 0 or i < len(data):
        if left > 0:
            entry = I64(more[at])
            at, left = at + 1, left - 1
        else:
            a = I64(data[i])
            if a < 0x80:
                i += 1
            elif a < 0xE0:
                a = (a & 0x1F) << 6 | (I64(data[i + 1]) & 0x3F)
                i += 2
            elif a < 0xF0:
                a = (a & 0xF) << 12 | (I64(data[i + 1]) & 0x3F) << 6 | (I64(data[i + 2]) & 0x3F)
                i += 3
            else:
                a = (a & 7) << 18 | (I64(data[i + 1]) & 0x3F) << 12
                a |= (I64(data[i + 2]) & 0x3F) << 6 | (I64(data[i + 3]) & 0x3F)
                i += 4
            entry = I64(table[a])
        kind = entry & 7
        if kind == MANY:
            at, left = (entry >> 3) + 1, I64(more[entry >> 3])
        elif kind == GAP:
            gap = True
        elif kind != NOTHING:
            if digits and (gap or kind != DIGIT):
                if joint >= 0 and digits == 3:
                    end = _join(letters, begins, joint, end)
                joint = -1
                if kind == DIGIT:
                    joint = end
                    letters[end], begins[end] = JOINT, True
                    end += 1
                digits = 0
            digits += kind == DIGIT
            letters[end], begins[end] = entry >> 3, gap or apart or kind == APART
            end += 1
            gap, apart = False, kind == APART
    if joint >= 0 and digits == 3:
        end = _join(letters, begins, joint, end)
    begins[end] = True
    return letters[:end], begins[: end + 1]


@kernel
def _join(letters: np.ndarray, begins: np.ndarray, joint: int, end: int) -> int:
    """Three digits after a number are its thousands: 1,000 is 1000, as is 1 000."""
    for k in range(joint, end - 1):
        letters[k], begins[k] = letters[k + 1], False
    return end - 1


@kernel
def runs(
    letters: np.ndarray, begins: np.ndarray, weights: np.ndarray, bounds: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """From each word of each text on, the shortest run of words that weighs `least`.

    Args:
        letters: of all texts, one after the other.
        begins: whether a word begins there, one more than there are letters.
        weights: of the word that begins there.
        bounds: int64 (texts + 1,), where each text begins.
        least: weight of a run.

    Returns:
        first letter, length and text of each run, and no run where too few words are left.
    """
    first, length = np.empty(len(letters), dtype=I64), np.empty(len(letters), dtype=I64)
    owner = np.empty(len(letters), dtype=I64)
    number = 0
    for text in range(len(bounds) - 1):
        last = bounds[text]
        total = 0
        for i in range(bounds[text], bounds[text + 1]):
            if not begins[i] or letters[i] == JOINT:
                continue
            while last < bounds[text + 1] and (total < least or not begins[last]):
                if begins[last]:
                    total += weights[last]
                last += 1
            if total < least:
                break
            first[number], length[number], owner[number] = i, last - i, text
            number += 1
            total -= weights[i]
    return first[:number], length[:number], owner[:number]


@kernel
def sums(letters: np.ndarray) -> np.ndarray:
    """A hash of the first i letters at place i, uint64 (n + 1,)."""
    result = np.empty(len(letters) + 1, dtype=U64)
    result[0] = 0
    for i in range(len(letters)):
        result[i + 1] = result[i] * BASE + U64(letters[i]) * SPREAD + U64(1)
    return result


@kernel
def hashes(letters: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """A hash of each of some runs of letters, uint64; equal runs have equal hashes."""
    before, result = sums(letters), np.empty(len(first), dtype=U64)
    for i in range(len(first)):
        value = before[first[i] + length[i]] - before[first[i]] * power(length[i])
        result[i] = _place(value, length[i])
    return result


@kernel
def power(length: int) -> int:
    """BASE to the `length`."""
    result = U64(1)
    for _ in range(length):
        result *= BASE
    return result


@kernel
def _place(value: int, window: int) -> int:
    """Spread a hash of so many letters over 64 bits; never 0."""
    value = (value + U64(window)) * SPREAD
    return (value ^ (value >> U64(32))) | U64(1)


@kernel
def keys(letters: np.ndarray, first: np.ndarray, length: np.ndarray) -> Keys:
    """Keys from places in `letters`."""
    size = 1024
    while size < 4 * len(first):
        size *= 2
    bits, slots = np.zeros(size // 8, dtype=U64), np.zeros(size, dtype=U64)
    heads, following = np.full(size, -1, dtype=I64), np.full(len(first), -1, dtype=I64)
    used = np.zeros(len(WINDOWS), dtype=np.bool_)
    before = sums(letters)
    for key in range(len(first)):
        which = 0
        while WINDOWS[which] > length[key]:
            which += 1
        used[which] = True
        window = WINDOWS[which]
        value = before[first[key] + window] - before[first[key]] * power(window)
        value = _place(value, window)
        bits[(value >> U64(38)) & U64(len(bits) - 1)] |= U64(1) << (value >> U64(58))
        slot = I64((value >> U64(1)) & U64(size - 1))
        while slots[slot] != 0 and slots[slot] != value:
            slot = (slot + 1) & (size - 1)
        slots[slot] = value
        following[key] = heads[slot]
        heads[slot] = key
    windows = np.array(WINDOWS, dtype=I64)[used]
    return Keys(letters, first, length, windows, bits, slots, heads, following)


@kernel
def search(letters: np.ndarray, begins: np.ndarray, wanted: Keys) -> np.ndarray:
    """The numbers of the keys in a text from `normalise`, int64, as often as they stand there."""
    found, number = np.empty(16, dtype=I64), 0
    before = sums(letters)
    mask, bits = len(wanted.slots) - 1, U64(len(wanted.bits) - 1)
    for window in wanted.windows:
        factor = power(window)
        for i in range(len(letters) - window + 1):
            if not begins[i]:
                continue
            value = _place(before[i + window] - before[i] * factor, window)
            word = wanted.bits[(value >> U64(38)) & bits]
            if not (word >> (value >> U64(58))) & U64(1):
                continue
            slot = I64((value >> U64(1)) & U64(mask))
            while wanted.slots[slot] != 0 and wanted.slots[slot] != value:
                slot = (slot + 1) & mask
            key = wanted.heads[slot] if wanted.slots[slot] == value else -1
            while key >= 0:
                if _stands(letters, begins, i, wanted, key):
                    if number == len(found):
                        found = np.append(found, found)
                    found[number] = key
                    number += 1
                key = wanted.following[key]
    return found[:number]


@kernel
def _stands(letters: np.ndarray, begins: np.ndarray, at: int, wanted: Keys, key: int) -> bool:
    """Whether a key stands at a place, and ends where a word does."""
    end, first = at + wanted.length[key], wanted.first[key]
    if end > len(letters) or not begins[end]:
        return False
    for k in range(wanted.length[key]):  # noqa: SIM110  (numba has no all())
        if letters[at + k] != wanted.letters[first + k]:
            return False
    return True


@kernel
def counted(
    letters: np.ndarray, begins: np.ndarray, bounds: np.ndarray, wanted: Keys
) -> np.ndarray:
    """In how many of some texts, laid out as for `runs`, each key stands; int64 (k,)."""
    count = np.zeros(len(wanted.first), dtype=I64)
    last = np.full(len(count), -1, dtype=I64)
    for text in range(len(bounds) - 1):
        first, end = bounds[text], bounds[text + 1]
        for key in search(letters[first:end], begins[first : end + 1], wanted):
            count[key] += last[key] != text
            last[key] = text
    return count
