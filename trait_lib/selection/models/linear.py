"""Score documents by a two-label fastText model without fastText, an order of magnitude faster.

With two labels the log-odds of a document are the mean, over its words and hashed n-grams, of
(b_in - b_out) . a_w. The input matrix is multiplied by that difference once, which leaves one
number per word and per bucket: 8 MB for two million buckets in place of 2 GB at dim 256. What
remains per document is hashing and adding (`kernels`). The result is fastText's own, without the
1e-5 that it adds to every probability.
Paper: a fastText classifier; how it is applied is not stated. Ours because scoring the corpus is
nearly all of the selection's cost.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from trait_lib import records
from trait_lib.run import hash_value
from trait_lib.selection.models import kernels, lines

MAGIC, VERSION = 793712314, 12
SUPERVISED, SOFTMAX = 3, 3
HEADER = struct.Struct("<14id")  # magic, version, twelve settings, t
ENTRY_END = struct.Struct("<qb")  # occurrences, kind (0 word, 1 label)
ROWS = 65536  # rows of the input matrix that are multiplied at a time
FORMS = {"words": kernels.WORDS, "raw": kernels.RAW, "plain": -1}


class _Short(Exception):
    """The file ends before the model does."""


class NotLinear(ValueError):
    """A model that this module cannot score with; the message says why."""


@dataclass(frozen=True)
class Linear:
    """A two-label fastText model as one number per word and bucket."""

    numbers: np.ndarray  # float32 (buckets,)
    slots: np.ndarray  # uint64, a power of two of them: 64 bits of a word, 0 where free
    at: np.ndarray  # float32, the number of the word in each slot
    ngrams: np.ndarray  # int64 (1,): words in the longest n-gram


Model = TypeVar("Model")
"""A dataclass of arrays: `Linear`, `regression.Regression`."""


# --- reading a model --------------------------------------------------------------------------


def read_model(path: str | Path, positive: str = lines.IN_DOMAIN) -> Linear:
    """Read the file that fastText's `save_model` writes, a part of its matrix at a time.

    Args:
        path: of the model.
        positive: the label whose odds are wanted.

    Raises:
        NotLinear: no such model, a compressed one, one with character n-grams, another loss than
            softmax, or other than two labels; the message says which.
    """
    with open(path, "rb") as handle:
        try:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise NotLinear(f"{path}: empty, not a fastText model") from None
    with data:
        try:
            return _read(data, str(path), positive)
        except (struct.error, IndexError, _Short) as error:
            raise NotLinear(f"{path}: ends too early for a fastText model ({error})") from None


def _read(data: mmap.mmap, path: str, positive: str) -> Linear:
    head = HEADER.unpack_from(data)
    if head[:2] != (MAGIC, VERSION):
        raise NotLinear(f"{path}: not a fastText model of version {VERSION}")
    dim, ngrams, loss, kind, bucket, maxn = (head[i] for i in (2, 7, 8, 9, 10, 12))
    if kind != SUPERVISED or loss != SOFTMAX:
        raise NotLinear(f"{path}: not a classifier with softmax; train with loss='softmax'")
    if maxn > 0:
        raise NotLinear(f"{path}: has character n-grams (maxn {maxn}); train with maxn=0")
    size, nwords, nlabels, _, pruned = struct.unpack_from("<iiiqq", data, HEADER.size)
    if pruned >= 0:
        raise NotLinear(f"{path}: pruned by fastText's quantize; use the .bin model")
    if nlabels != 2:
        raise NotLinear(f"{path}: has {nlabels} labels; scoring by one number needs two")
    at = HEADER.size + struct.calcsize("<iiiqq")
    words, labels = [], []
    for _ in range(size):
        end = data.find(b"\0", at)
        if end < 0:
            raise _Short("in its dictionary")
        _, is_label = ENTRY_END.unpack_from(data, end + 1)
        (labels if is_label else words).append(data[at:end])
        at = end + 1 + ENTRY_END.size
    if positive.encode() not in labels:
        known = ", ".join(label.decode("utf-8", "replace") for label in labels)
        raise NotLinear(f"{path}: has no label {positive!r}; its labels: {known}")
    if data[at]:
        raise NotLinear(f"{path}: compressed by fastText's quantize; use the .bin model")
    rows, columns = struct.unpack_from("<qq", data, at + 1)
    if (rows, columns) != (nwords + bucket, dim):
        raise NotLinear(f"{path}: its matrix does not fit its dictionary")
    inputs = at + 17
    outputs = inputs + 4 * rows * dim
    if len(data) < outputs + 17 + 8 * dim:
        raise _Short("in its matrices")
    if data[outputs]:
        raise NotLinear(f"{path}: compressed by fastText's quantize; use the .bin model")
    output = np.frombuffer(data, "<f4", 2 * dim, outputs + 17).reshape(2, dim).astype(float)
    side = labels.index(positive.encode())
    numbers = _multiply(data, inputs, rows, output[side] - output[1 - side])
    return _with_words(words, numbers, bucket if ngrams > 1 else 0, ngrams)


def _multiply(data: mmap.mmap, start: int, rows: int, direction: np.ndarray) -> np.ndarray:
    """direction . a_w of every row of the matrix that begins at byte `start`, float32 (rows,)."""
    dim = len(direction)
    numbers = np.empty(rows, dtype=np.float32)
    for first in range(0, rows, ROWS):
        part = min(ROWS, rows - first)
        matrix = np.frombuffer(data, "<f4", part * dim, start + 4 * first * dim)
        numbers[first : first + part] = matrix.reshape(part, dim).astype(float) @ direction
        del matrix  # the file could not be closed with it
    return numbers


def _with_words(words: list[bytes], numbers: np.ndarray, buckets: int, ngrams: int) -> Linear:
    keys = np.array([kernels.fnv64(word) for word in words], dtype=np.uint64)
    if len(np.unique(keys)) < len(keys):  # once in ten million models of a million words
        raise NotLinear("two of the model's words share a 64-bit hash; train with another seed")
    slots = np.zeros(1 << max(4, (2 * len(words)).bit_length()), dtype=np.uint64)
    at = np.zeros(len(slots), dtype=np.float32)
    kernels.fill_slots(keys, numbers[: len(words)], slots, at)
    rest = numbers[len(words) : len(words) + buckets].copy()
    return _frozen(Linear(rest, slots, at, np.array([ngrams], dtype=np.int64)))


def _frozen(model: Model) -> Model:
    for part in fields(model):
        getattr(model, part.name).setflags(write=False)
    return model


def save(model: Model, folder: str | Path) -> Path:
    """Write the model as .npy files, from which workers read it."""
    for part in fields(model):
        path = Path(folder) / f"{part.name}.npy"
        with records.atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.save(handle, getattr(model, part.name))
    return Path(folder)


def load(folder: str | Path, kind: type[Model] = Linear) -> Model:
    """Read the files that `save` wrote: some megabytes a worker, where fastText needs gigabytes."""
    return _frozen(kind(**{p.name: np.load(Path(folder) / f"{p.name}.npy") for p in fields(kind)}))


# --- scoring ----------------------------------------------------------------------------------


def buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bytes of an array of strings, and where each one begins and ends; nulls are empty.

    Returns:
        data: uint8; begins, ends: int64, shape (n,).
    """
    wide = pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type)
    _, places, data = texts.buffers()
    kind = np.int64 if wide else np.int32
    offsets = np.frombuffer(places, kind)[texts.offset : texts.offset + len(texts) + 1]
    offsets = offsets.astype(np.int64)
    values = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    values.setflags(write=False)
    ends = offsets[1:].copy()
    if texts.null_count:
        nulls = texts.is_null().to_numpy(zero_copy_only=False)
        ends[nulls] = offsets[:-1][nulls]
    return values, offsets[:-1].copy(), ends


def log_odds(model: Linear, texts: pa.Array, form: str = "words") -> np.ndarray:
    """log p(in-domain) - log p(general) of each document, float64, shape (n,).

    Args:
        model: from `read_model` or `load`.
        texts: Arrow strings.
        form: how a document becomes a line, see `lines.to_line`.

    Returns:
        Log-odds; 0 for a document of which the model knows nothing.
    """
    data, begins, ends = buffers(texts)
    scores, left = np.zeros(len(begins)), np.zeros(len(begins), dtype=np.bool_)
    _score(model, data, begins, ends, FORMS[form], scores, left)
    if left.any():
        rows = np.flatnonzero(left)
        scores[rows] = log_odds(model, written(texts, rows, form), "plain")
    return scores


def written(texts: pa.Array, rows: np.ndarray, form: str) -> pa.Array:
    """The lines of some of the texts, as Python writes them: to be read in the form "plain"."""
    given = texts.take(pa.array(rows)).to_pylist()
    return pa.array([lines.to_line(text, form) for text in given], pa.large_string())


def _score(
    model: Linear,
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    form: int,
    scores: np.ndarray,
    left: np.ndarray,
) -> None:
    kernels.score(
        data, begins, ends, form, kernels.code_points(), model.numbers, int(model.ngrams[0]),
        model.slots, model.at, scores, left,
    )  # fmt: skip


def publish(
    path: str | Path, folder: str | Path, form: str, column: str = "log_odds"
) -> dict[str, Any]:
    """Prepare a model for the shard engine: write its numbers below `folder`, named by their hash.

    `column` is the name that its scores will have.

    Returns:
        What `passes.score_task` needs to make the method `scorer`.

    Raises:
        NotLinear: see `read_model`.
    """
    return published(read_model(path), folder, form, column, "linear")


def published(model: Any, folder: str | Path, form: str, column: str, name: str) -> dict[str, Any]:
    """As `publish`, for any model of arrays and the name of its method in `passes.METHODS`."""
    parts = [hashlib.sha256(getattr(model, f.name)).hexdigest() for f in fields(model)]
    place = Path(folder) / f"classifier-{hash_value(parts)[:16]}"
    save(model, place)
    return {"name": name, "settings": {"folder": str(place), "form": form, "column": column}}


def scorer(
    folder: str, form: str, column: str = "log_odds"
) -> Callable[[pa.Array], dict[str, Any]]:
    """A column of log-odds for the shard engine, from a model that `save` wrote."""
    model = load(folder)
    return lambda texts: {column: log_odds(model, texts, form)}
