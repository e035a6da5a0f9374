"""The inner loops of selection, compiled by numba: a document's bytes become a line and numbers.

`write_line` writes a document as `lines.to_line` or `dsir.tokens` would, byte for byte; `add_line`
reads a line as fastText does; `add_grams` hashes one as DSIR does. They work on UTF-8 in Arrow's
layout (all documents in one array, with their offsets) and make no Python object per document.
Case and kind of code points come from a table that `code_points` takes from Python itself, so the
two readings of a text cannot drift apart.

The first call on a machine compiles for about ten seconds; numba keeps the result beside this
file, or under `$NUMBA_CACHE_DIR`, or in the user's cache, whichever can be written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

# what a code point is; the table holds (lower case << 3) | kind
SPACE, WORD, MARK, CONTROL, ASK = 0, 1, 2, 3, 4
# the ways to write a line
WORDS, RAW, DSIR = 0, 1, 2
FINAL_SIGMA = 0x3A3  # its lower case depends on the letters around it

U32, U64, I64 = np.uint32, np.uint64, np.int64


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function and keep the result on the disk where one can be written."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available": nowhere to keep it
        return numba.njit(nogil=True)(function)


@cache
def code_points() -> np.ndarray:
    """(lower case << 3) | kind of every code point, uint32, shape (0x110000,).

    The kind is that of the lower case, by Python's own `re`. Code points whose lower case is
    several code points, or depends on the text around it, have the kind `ASK`.
    """
    number = 0x110000
    usable = np.arange(number, dtype=U32)
    usable = usable[(usable < 0xD800) | (usable > 0xDFFF)]  # UTF-8 holds no surrogate
    text = usable.astype("<u4").tobytes().decode("utf-32-le")
    lower = usable.copy()
    for first in range(0, len(text), 256):
        block = text[first : first + 256]
        if block.lower() != block:  # few hold letters with case
            low = [ord(low) if len(low) == 1 else 0 for low in map(str.lower, block)]
            lower[first : first + 256] = low
    kinds = np.full(number, MARK, dtype=U32)
    for pattern, kind in ((r"[\x00-\x1f\x7f-\x9f]", CONTROL), (r"\s+", SPACE), (r"\w+", WORD)):
        for run in re.finditer(pattern, text):
            kinds[usable[slice(*run.span())]] = kind
    table = np.zeros(number, dtype=U32)
    table[usable] = (lower << U32(3)) | kinds[lower]
    ask = (lower == 0) & (usable > 0)
    table[usable[ask]] = (usable[ask] << U32(3)) | U32(ASK)
    table[FINAL_SIGMA] = (FINAL_SIGMA << 3) | ASK
    table.setflags(write=False)
    return table


# --- a document as a line ---------------------------------------------------------------------


@kernel
def _decode(data: np.ndarray, at: int) -> tuple[int, int]:
    """The code point at a byte of UTF-8 and the number of its bytes."""
    a = I64(data[at])
    if a < 0x80:
        return a, 1
    b = I64(data[at + 1]) & 0x3F
    if a < 0xE0:
        return ((a & 0x1F) << 6) | b, 2
    c = I64(data[at + 2]) & 0x3F
    if a < 0xF0:
        return ((a & 0xF) << 12) | (b << 6) | c, 3
    return ((a & 0x7) << 18) | (b << 12) | (c << 6) | (I64(data[at + 3]) & 0x3F), 4


@kernel
def _ends_with_label(line: np.ndarray, end: int) -> bool:
    """Whether the bytes before `end` are `__label__`."""
    if end < 9 or line[end - 3] != 108:  # the last l
        return False
    mark = b"__label__"
    for i in range(9):  # noqa: SIM110  (numba has no all())
        if line[end - 9 + i] != mark[i]:
            return False
    return True


@kernel
def _is_end_mark(line: np.ndarray, first: int, stop: int) -> bool:
    if stop - first != 4 or line[first] != 60 or line[first + 1] != 47:
        return False
    return line[first + 2] == 115 and line[first + 3] == 62


@kernel
def _put(line: np.ndarray, end: int, point: int) -> int:
    """Append a code point in UTF-8; return the new end."""
    if point < 0x80:
        line[end] = point
        return end + 1
    if point < 0x800:
        line[end] = 0xC0 | (point >> 6)
        line[end + 1] = 0x80 | (point & 0x3F)
        return end + 2
    if point < 0x10000:
        line[end] = 0xE0 | (point >> 12)
        line[end + 1] = 0x80 | ((point >> 6) & 0x3F)
        line[end + 2] = 0x80 | (point & 0x3F)
        return end + 3
    line[end] = 0xF0 | (point >> 18)
    line[end + 1] = 0x80 | ((point >> 12) & 0x3F)
    line[end + 2] = 0x80 | ((point >> 6) & 0x3F)
    line[end + 3] = 0x80 | (point & 0x3F)
    return end + 4


@kernel
def write_line(
    data: np.ndarray, start: int, stop: int, form: int, table: np.ndarray, line: np.ndarray
) -> int:
    """Write the pieces of a document into `line`, one blank between two of them.

    Args:
        data: UTF-8, uint8.
        start: the document's first byte in `data`.
        stop: the byte after its last one.
        form: `WORDS` (lower case, each mark apart), `DSIR` (lower case, runs of marks together,
            control characters are marks) or `RAW` (as it is, control characters are blanks).
        table: from `code_points`.
        line: uint8, with room for 2 * (stop - start) + 2 bytes.

    Returns:
        The number of bytes written, or -1 where Python has to write this line: a code point of
        kind `ASK`, a `__label__` or an end mark.
    """
    end = 0
    before = SPACE  # the kind of the last piece
    i = start
    while i < stop:
        byte = data[i]
        if byte < 0x80:  # nearly all of most texts
            entry = I64(table[byte])
            point, size = I64(byte), 1
        else:
            point, size = _decode(data, i)
            entry = I64(table[point])
        i += size
        kind = entry & 7
        if kind == CONTROL:
            kind = MARK if form == DSIR else SPACE
        if kind == SPACE:
            before = SPACE
            continue
        if form == RAW:
            kind = WORD
        elif kind == ASK:
            return -1
        else:
            point = entry >> 3
        if kind != before or (kind == MARK and form == WORDS):
            if end > 0:
                line[end] = 32
                end += 1
            before = kind
        if point < 0x80:
            line[end] = point
            end += 1
        else:
            end = _put(line, end, point)
            continue
        if form != DSIR:
            if point == 95 and _ends_with_label(line, end):
                return -1
            if point == 62 and form == RAW and end >= 4 and _is_end_mark(line, end - 4, end):
                return -1
    return end


@kernel
def _mix(value: int) -> int:
    """Spread 64 bits (the finaliser of splitmix64)."""
    value = U64(value)
    value = (value ^ (value >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> U64(27))) * U64(0x94D049BB133111EB)
    return value ^ (value >> U64(31))


# --- a line as fastText reads it --------------------------------------------------------------


def fnv(word: bytes) -> int:
    """fastText's hash of a word: 32-bit FNV-1a over signed bytes."""
    value = 2166136261
    for byte in word:
        value = ((value ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619) & 0xFFFFFFFF
    return value


END_HASH = U32(fnv(b"</s>"))


SEED64, PRIME64 = U64(0xCBF29CE484222325), U64(0x100000001B3)


def fnv64(word: bytes) -> int:
    """64-bit FNV-1a, by which a word is known here; 0 is left to free slots."""
    value = int(SEED64)
    for byte in word:
        value = ((value ^ byte) * int(PRIME64)) & 0xFFFFFFFFFFFFFFFF
    return value or 1


END_KEY = U64(fnv64(b"</s>"))


@kernel
def fill_slots(keys: np.ndarray, numbers: np.ndarray, slots: np.ndarray, at: np.ndarray) -> None:
    """Enter words and their numbers into the table that `add_line` reads."""
    mask = U64(len(slots) - 1)
    for word in range(len(keys)):
        slot = I64(keys[word] & mask)
        while slots[slot] != 0:
            slot = I64(U64(slot + 1) & mask)
        slots[slot] = keys[word]
        at[slot] = numbers[word]


@kernel
def _split(
    line: np.ndarray, start: int, stop: int, hashes: np.ndarray, keys: np.ndarray
) -> int:  # fmt: skip
    """Both hashes of each word of a line, the end mark included; returns how many.

    As fastText: seven kinds of blanks (a line break is one of them here), labels are passed over,
    the line ends at `</s>` wherever it stands.
    """
    words = 0
    i = start
    while True:
        while i < stop and (line[i] == 32 or 9 <= line[i] <= 13 or line[i] == 0):
            i += 1
        if i == stop:
            break
        first = i
        value, key = U32(2166136261), SEED64
        while i < stop:
            byte = line[i]
            if byte <= 32 and (byte == 32 or 9 <= byte <= 13 or byte == 0):
                break
            value = U32((value ^ U32(np.int32(np.int8(byte)))) * U32(16777619))
            key = (key ^ U64(byte)) * PRIME64
            i += 1
        if line[first] == 95 and i - first >= 9 and _ends_with_label(line, first + 9):
            continue
        if line[first] == 60 and _is_end_mark(line, first, i):
            break
        hashes[words], keys[words] = value, key
        words += 1
    hashes[words], keys[words] = END_HASH, END_KEY
    return words + 1


@kernel
def _modulo(value: int, divisor: int, inverse: float) -> int:
    """value % divisor for 64-bit numbers, by a multiplication where that is exact.

    From 2^14 on, the quotient stays below 2^50, so its estimate in floating point is off by at
    most one.
    """
    if divisor < 16384:
        return I64(value % divisor)
    rest = I64(value - U64(I64(np.float64(value) * inverse)) * divisor)
    if rest < 0:
        rest += I64(divisor)
    elif rest >= I64(divisor):
        rest -= I64(divisor)
    return rest


@kernel
def add_line(
    line: np.ndarray, start: int, stop: int, numbers: np.ndarray, ngrams: int,
    slots: np.ndarray, at: np.ndarray,
    hashes: np.ndarray, keys: np.ndarray, places: np.ndarray,
) -> float:  # fmt: skip
    """The mean number of the words and n-grams of line[start:stop] and of the end mark.

    Unknown words count in n-grams only. Words are known by 64 bits: that an unknown word shares
    them with one of a million known ones has probability 5e-14.

    Args:
        line: uint8.
        start: first byte.
        stop: the byte after the last one.
        numbers: float32, one per bucket of n-grams.
        ngrams: words in the longest n-gram.
        slots: uint64, a power of two of them; 0 where free.
        at: float32, the number of the word in each slot.
        hashes: uint32, room for (stop - start) // 2 + 2 words.
        keys: uint64, as much room.
        places: int32, room for `ngrams` times as many.

    Returns:
        Log-odds; 0 when the model knows nothing of the line.
    """
    words = _split(line, start, stop, hashes, keys)
    mask = U64(len(slots) - 1)
    total, count = 0.0, 0
    # loops of their own, where one look-up need not wait for another
    for i in range(words):
        slot = I64(keys[i] & mask)
        while slots[slot] != 0:
            if slots[slot] == keys[i]:
                total += at[slot]
                count += 1
                break
            slot = I64(U64(slot + 1) & mask)
    buckets = U64(len(numbers))
    inverse = 1.0 / buckets if buckets > 0 else 0.0
    grams = 0
    if ngrams > 1 and buckets > 0:
        for i in range(words - 1):
            wide = U64(I64(np.int32(hashes[i])))  # fastText keeps hashes in signed 32 bits
            for j in range(i + 1, min(words, i + ngrams)):
                wide = wide * U64(116049371) + U64(I64(np.int32(hashes[j])))
                places[grams] = _modulo(wide, buckets, inverse)
                grams += 1
    for k in range(grams):
        total += numbers[places[k]]
    count += grams
    return total / count if count else 0.0


@kernel
def room(begins: np.ndarray, ends: np.ndarray) -> int:
    """Bytes that the longest of some documents may need as a line."""
    longest = 0
    for i in range(len(begins)):
        longest = max(longest, ends[i] - begins[i])
    return 2 * longest + 2


@kernel
def score(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, form: int, table: np.ndarray,
    numbers: np.ndarray, ngrams: int, slots: np.ndarray, at: np.ndarray,
    scores: np.ndarray, left: np.ndarray,
) -> None:  # fmt: skip
    """Score documents data[begins[i]:ends[i]]; `left[i]` where Python has to write the line.

    A `form` below 0 reads the documents as they are.
    """
    size = room(begins, ends)
    line = np.empty(size if form >= 0 else 1, dtype=np.uint8)
    hashes, keys = np.empty(size // 2 + 2, dtype=U32), np.empty(size // 2 + 2, dtype=U64)
    places = np.empty(ngrams * len(keys), dtype=np.int32)
    for i in range(len(scores)):
        first, last = begins[i], ends[i]
        if form < 0:
            scores[i] = add_line(
                data, first, last, numbers, ngrams, slots, at, hashes, keys, places
            )
            continue
        end = write_line(data, first, last, form, table, line)
        left[i] = end < 0
        if end >= 0:
            scores[i] = add_line(line, 0, end, numbers, ngrams, slots, at, hashes, keys, places)


# --- a line as a bag of hashed words ----------------------------------------------------------


@kernel
def _tally(
    line: np.ndarray, start: int, stop: int, ngrams: int,
    hashes: np.ndarray, keys: np.ndarray, counts: np.ndarray, found: np.ndarray,
) -> int:  # fmt: skip
    """Count the words and n-grams of line[start:stop] by bucket; returns how many buckets.

    `found` gets the buckets in the order of their first gram. `counts`, int32 and a power of two
    of them, must be zero before; the caller makes found[:n] zero again.
    """
    words = _split(line, start, stop, hashes, keys) - 1  # without the end mark
    mask = U64(len(counts) - 1)
    number = 0
    for i in range(words):
        value = U64(0)
        for j in range(i, min(words, i + ngrams)):
            value = _mix(value * U64(0x9E3779B97F4A7C15) + keys[j])
            bucket = I64(value & mask)
            if counts[bucket] == 0:
                found[number] = bucket
                number += 1
            counts[bucket] += 1
    return number


@kernel
def bags(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, form: int, table: np.ndarray,
    ngrams: int, weights: np.ndarray, idf: np.ndarray,
    columns: np.ndarray, values: np.ndarray, places: np.ndarray,
    scores: np.ndarray, left: np.ndarray,
) -> None:  # fmt: skip
    """Read documents as bags of hashed words: keep the counts, or score them by TF-IDF weights.

    With t = 1 + log(count) a score is sum(weights * t) / sqrt(sum((idf * t)^2)). Document i has
    the buckets columns[places[i] : places[i + 1]] and their counts in `values`; where `columns` is
    empty no counts are kept. `form` and `left` as in `score`.
    """
    size = room(begins, ends)
    line = np.empty(size if form >= 0 else 1, dtype=np.uint8)
    hashes, keys = np.empty(size // 2 + 2, dtype=U32), np.empty(size // 2 + 2, dtype=U64)
    counts = np.zeros(len(idf), dtype=np.int32)
    found = np.empty(ngrams * len(keys), dtype=np.int32)
    for i in range(len(begins)):
        places[i + 1] = places[i]
        if form < 0:
            number = _tally(data, begins[i], ends[i], ngrams, hashes, keys, counts, found)
        else:
            end = write_line(data, begins[i], ends[i], form, table, line)
            left[i] = end < 0
            number = _tally(line, 0, max(0, end), ngrams, hashes, keys, counts, found)
        total, square = 0.0, 0.0
        for k in range(number):
            bucket = found[k]
            count = counts[bucket]
            counts[bucket] = 0
            if len(columns):
                columns[places[i] + k], values[places[i] + k] = bucket, count
                continue
            t = 1.0 if count == 1 else 1.0 + math.log(count)
            total += weights[bucket] * t
            square += (idf[bucket] * t) ** 2
        if len(columns):
            places[i + 1] += number
        elif number:
            scores[i] = total / math.sqrt(square)


# --- a line as DSIR reads it ------------------------------------------------------------------


def _primes(number: int) -> list[int]:
    return [n for n in range(2, 400) if all(n % d for d in range(2, n))][:number]


# SHA-256: 32 bits after the point of the cube (square) roots of the first 64 (8) primes
ROUNDS = np.array([int((p ** (1 / 3) % 1) * 2**32) for p in _primes(64)], dtype=U32)
INITIAL = np.array([int((p**0.5 % 1) * 2**32) for p in _primes(8)], dtype=U32)
LANES = 16  # grams that are hashed side by side in the vector unit


@kernel
def _turn(value: int, by: int) -> int:
    return U32((U32(value) >> U32(by)) | (U32(value) << U32(32 - by)))


@kernel
def _block(state: np.ndarray, w: np.ndarray, v: np.ndarray) -> None:
    """One block of SHA-256 in every lane: of sixteen words in w[:16 * LANES], word by word."""
    for i in range(16, 64):
        for k in range(LANES):
            a, b = w[(i - 15) * LANES + k], w[(i - 2) * LANES + k]
            low = _turn(a, 7) ^ _turn(a, 18) ^ (a >> U32(3))
            high = _turn(b, 17) ^ _turn(b, 19) ^ (b >> U32(10))
            w[i * LANES + k] = U32(w[(i - 16) * LANES + k] + low + w[(i - 7) * LANES + k] + high)
    v[:] = state
    for i in range(64):
        constant = ROUNDS[i]
        for k in range(LANES):  # all of it at fixed distances, or LLVM would not vectorise it
            a, b, c, d = v[k], v[LANES + k], v[2 * LANES + k], v[3 * LANES + k]
            e, f, g, h = v[4 * LANES + k], v[5 * LANES + k], v[6 * LANES + k], v[7 * LANES + k]
            one = U32(_turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25))
            first = U32(h + one + ((e & f) ^ (~e & g)) + constant + w[i * LANES + k])
            two = U32(_turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22))
            v[k] = U32(first + two + ((a & b) ^ (a & c) ^ (b & c)))
            v[LANES + k], v[2 * LANES + k], v[3 * LANES + k] = a, b, c
            v[4 * LANES + k] = U32(d + first)
            v[5 * LANES + k], v[6 * LANES + k], v[7 * LANES + k] = e, f, g
    state += v


@kernel
def sha256_buckets(
    line: np.ndarray, starts: np.ndarray, stops: np.ndarray, number: int, powers: np.ndarray,
    buckets: int, work: np.ndarray, result: np.ndarray,
) -> None:  # fmt: skip
    """int(SHA-256(line[starts[k]:stops[k]])) modulo `buckets` for k < `number`, at most `LANES`.

    `powers` is from `powers_of`; `work` is uint32 with room for 80 * `LANES`.
    """
    state, v, w = work[: 8 * LANES], work[8 * LANES : 16 * LANES], work[16 * LANES :]
    blocks = 0
    for k in range(LANES):
        state[k::LANES] = INITIAL
        if k < number:
            blocks = max(blocks, (stops[k] - starts[k] + 9 + 63) // 64)
    for block in range(blocks):
        for k in range(number):
            size = stops[k] - starts[k]
            for i in range(16):
                word = U32(0)
                for j in range(4):
                    at = 64 * block + 4 * i + j
                    byte = line[starts[k] + at] if at < size else (0x80 if at == size else 0)
                    word = U32((word << U32(8)) | U32(byte))
                w[i * LANES + k] = word
            if block == (size + 8) // 64:  # its last one
                w[14 * LANES + k] = U32((size * 8) >> 32)
                w[15 * LANES + k] = U32((size * 8) & 0xFFFFFFFF)
        _block(state, w, v)
        for k in range(number):
            if block == (stops[k] - starts[k] + 8) // 64:
                total = U64(0)  # eight numbers below 2^53: one division in place of eight
                for i in range(8):
                    total += U64(state[i * LANES + k]) * powers[i]
                result[k] = I64(total % U64(buckets))


@kernel
def powers_of(buckets: int) -> np.ndarray:
    """2^(32 k) modulo `buckets` for k = 7 to 0, uint64 (8,); fewer than 2^21 buckets."""
    powers = np.empty(8, dtype=U64)
    power = U64(1) % U64(buckets)
    for i in range(7, -1, -1):
        powers[i] = power
        power = (power << U64(32)) % U64(buckets)
    return powers


@kernel
def add_grams(
    line: np.ndarray, end: int, buckets: int, memory: np.ndarray,
    found: np.ndarray, keys: np.ndarray, places: np.ndarray,
) -> int:  # fmt: skip
    """The buckets of the words and word pairs of a line; returns the number of words.

    `found` gets word, pair, word, pair, ..., word: 2n - 1 buckets for n words. A gram that was
    seen lately is remembered by 64 bits of its own: the low ones are its slot in `memory`, the
    others stand there with its bucket plus one. Two grams share all 64 bits with probability
    5e-20, so in effect the buckets are exact, and memory stays as it is.

    Args:
        line: from `write_line`.
        end: its length.
        buckets: how many, fewer than there are slots.
        memory: uint64, a power of two of slots, 0 where nothing is known.
        found: int32, room for end + 1 (words and blanks take turns).
        keys: uint64, as much room.
        places: int64, room for end // 2 + 2: where words begin.
    """
    words = 0
    i = 0
    last = U64(0)
    while i < end:
        places[words] = i
        value = U64(0xCBF29CE484222325)
        while i < end and line[i] != 32:
            value = (value ^ U64(line[i])) * U64(0x100000001B3)
            i += 1
        if words:
            keys[2 * words - 1] = _mix(last * U64(0x9E3779B97F4A7C15) + value)
        keys[2 * words] = _mix(value ^ U64(0x5851F42D4C957F2D))
        words += 1
        last = value
        i += 1  # the blank
    places[words] = end + 1
    low = U64(len(memory) - 1)
    powers, work = powers_of(buckets), np.empty(80 * LANES, dtype=U32)
    which, starts, stops, hashed = np.empty((4, LANES), dtype=I64)
    waiting = 0
    # in a loop of its own, where one look-up need not wait for another
    for k in range(2 * words - 1):
        key = keys[k]
        entry = memory[I64(key & low)]
        if entry & low and (entry ^ key) & ~low == 0:
            found[k] = I64(entry & low) - 1
        else:
            which[waiting], starts[waiting] = k, places[k >> 1]
            stops[waiting] = places[(k >> 1) + 1 + (k & 1)] - 1
            waiting += 1
        if waiting == LANES or (waiting and k == 2 * words - 2):
            sha256_buckets(line, starts, stops, waiting, powers, buckets, work, hashed)
            for j in range(waiting):
                key = keys[which[j]]
                found[which[j]] = hashed[j]
                memory[I64(key & low)] = (key & ~low) | U64(hashed[j] + 1)
            waiting = 0
    return words


@kernel
def count_grams(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, table: np.ndarray, buckets: int,
    memory: np.ndarray, counts: np.ndarray, limit: int, left: np.ndarray,
) -> int:  # fmt: skip
    """Add the grams of documents to `counts`; stop with the one that goes beyond `limit` grams.

    Returns:
        The number of documents that were read; where `left` is set the last of them was not
        counted, because Python has to lower its case.
    """
    line = np.empty(room(begins, ends), dtype=np.uint8)
    found = np.empty(len(line) + 1, dtype=np.int32)
    keys, places = np.empty(len(line) + 1, dtype=U64), np.empty(len(line) // 2 + 2, dtype=I64)
    total = 0
    left[0] = False
    for i in range(len(begins)):
        end = write_line(data, begins[i], ends[i], DSIR, table, line)
        if end < 0:
            left[0] = True
            return i + 1
        words = add_grams(line, end, buckets, memory, found, keys, places)
        for k in range(2 * words - 1):
            counts[found[k]] += 1
        total += max(0, 2 * words - 1)
        if total > limit:
            return i + 1
    return len(begins)


@kernel
def weigh(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, table: np.ndarray,
    ratio: np.ndarray, memory: np.ndarray,
    weights: np.ndarray, lengths: np.ndarray, left: np.ndarray,
) -> None:  # fmt: skip
    """Sum of ratio[bucket] over each document's grams, and its words; `left` as in `score`."""
    line = np.empty(room(begins, ends), dtype=np.uint8)
    found = np.empty(len(line) + 1, dtype=np.int32)
    keys, places = np.empty(len(line) + 1, dtype=U64), np.empty(len(line) // 2 + 2, dtype=I64)
    for i in range(len(begins)):
        end = write_line(data, begins[i], ends[i], DSIR, table, line)
        left[i] = end < 0
        if end < 0:
            continue
        words = add_grams(line, end, len(ratio), memory, found, keys, places)
        total = 0.0
        for k in range(2 * words - 1):
            total += ratio[found[k]]
        weights[i], lengths[i] = total, words


@kernel
def cut_chunks(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, size: int, table: np.ndarray,
    owner: np.ndarray, first: np.ndarray, last: np.ndarray,
) -> int:  # fmt: skip
    """Cut documents into runs of `size` words between blanks; returns how many.

    The last run of a document counts if it has half the words or more, or is the only one.
    Chunk j is data[first[j]:last[j]] of document owner[j].
    """
    number = 0
    for i in range(len(begins)):
        words, inside, before = 0, False, number
        at = begins[i]
        begin, end = at, at
        while at < ends[i]:
            point, step = _decode(data, at)
            blank = I64(table[point]) & 7 == SPACE
            if not blank and not inside:
                if words == size:  # the chunk is full and another word follows
                    owner[number], first[number], last[number] = i, begin, end
                    number += 1
                    words = 0
                if words == 0:
                    begin = at
                words += 1
            inside = not blank
            at += step
            if inside:
                end = at
        if words and (number == before or 2 * words >= size):
            owner[number], first[number], last[number] = i, begin, end
            number += 1
    return number


@kernel
def hash_strings(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """64 bits of each of some strings (FNV-1a, then mixed), uint64 (n,)."""
    result = np.empty(len(begins), dtype=U64)
    for i in range(len(begins)):
        value = U64(0xCBF29CE484222325)
        for at in range(begins[i], ends[i]):
            value = (value ^ U64(data[at])) * U64(0x100000001B3)
        result[i] = _mix(value)
    return result
