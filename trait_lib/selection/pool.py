"""Streaming passes over the pool: a score for every row, a closer look at the candidates.

Never more than one batch of text is in memory; what stays is a few numbers per document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasketch import MinHash
from tokenizers import Tokenizer
from tqdm import tqdm

from trait_lib import contamination, records
from trait_lib.selection import hygiene
from trait_lib.selection.classifier import EmptyCorpus

BATCH = 1000

Scorer = Callable[[Sequence[str]], np.ndarray]
"""n texts -> n numbers, float64, shape (n,)."""


def rows(path: str | Path) -> Iterator[records.Row]:
    """The document rows of a file, checked.

    Raises:
        records.BadRow: a row without a string `id` or `text`; the message names file and row.
    """
    for number, row in enumerate(records.read_rows(path), start=1):
        for name in ("id", "text"):
            if not isinstance(row.get(name), str):
                raise records.BadRow(f"{path}: row {number} has no string {name!r}")
        yield row


def batches(stream: Iterable[records.Row], size: int = BATCH) -> Iterator[list[records.Row]]:
    """Lists of at most `size` rows."""
    iterator = iter(stream)
    while batch := list(islice(iterator, size)):
        yield batch


def token_counter(name_or_path: str) -> Scorer:
    """A function that counts the tokens of texts with a model's own tokenizer.

    Args:
        name_or_path: a folder with `tokenizer.json`, or a model's name on the Hub.
    """
    file = Path(name_or_path) / "tokenizer.json"
    tokenizer = (
        Tokenizer.from_file(str(file)) if file.exists() else Tokenizer.from_pretrained(name_or_path)
    )
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> np.ndarray:
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encoded = tokenizer.encode_batch(clean, add_special_tokens=False)
        return np.array([len(item.ids) for item in encoded], dtype=np.int64)

    return count


def bytes_per_token(texts: Sequence[str], count_tokens: Scorer) -> float:
    """How many bytes of UTF-8 a token holds in these texts."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return size / max(1, int(np.sum(count_tokens(texts))))


# --- first pass -------------------------------------------------------------------------------


@dataclass
class Scanned:
    """One entry per pool document, in file order."""

    ids: list[str]
    sources: list[str]
    sizes: np.ndarray  # int64 (n,), bytes of UTF-8
    scores: np.ndarray  # float64 (n,)


def scan(path: str | Path, score: Scorer) -> Scanned:
    """Score every document of the pool, reading it once.

    Raises:
        EmptyCorpus: the file holds no document.
        records.BadRow: a bad row or an id that occurs twice.
    """
    ids, sources, sizes, scores = [], [], [], []
    for batch in batches(tqdm(rows(path), desc="classifier", unit=" docs", disable=None)):
        texts = [row["text"] for row in batch]
        ids += [row["id"] for row in batch]
        sources += [str(row.get("source", "")) for row in batch]
        sizes += [len(text.encode("utf-8", "replace")) for text in texts]
        scores.append(score(texts))
    if not ids:
        raise EmptyCorpus(f"{path}: holds no document")
    if len(set(ids)) < len(ids):
        raise records.BadRow(f"{path}: {len(ids) - len(set(ids))} ids occur more than once")
    return Scanned(ids, sources, np.array(sizes), np.concatenate(scores))


# --- second pass ------------------------------------------------------------------------------


@dataclass
class Examined:
    """What a closer look found; one entry per row, empty for the rows that were not wanted."""

    tokens: np.ndarray  # int64 (n,), 0 where not examined
    quality: np.ndarray  # float64 (n,), NaN where not scored
    reason: np.ndarray  # object (n,), why not to take the row, or ""
    digests: np.ndarray  # uint64 (n,)
    minhashes: dict[int, MinHash] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """What the second pass looks at."""

    count_tokens: Scorer
    test_questions: contamination.Index
    min_words: int
    shingle_words: int
    quality: Scorer | None = None


def examine(
    stream: Iterable[records.Row], number: int, wanted: np.ndarray, rules: Rules
) -> Examined:
    """Count tokens, score quality and apply the hygiene rules to the wanted rows of a stream.

    Args:
        stream: `number` rows, in the order in which `wanted` numbers them.
        number: how many rows the stream has.
        wanted: bool, shape (number,).
        rules: what to look at.
    """
    found = Examined(
        tokens=np.zeros(number, dtype=np.int64),
        quality=np.full(number, np.nan),
        reason=np.full(number, "", dtype=object),
        digests=np.zeros(number, dtype=np.uint64),
    )
    chosen = ((i, row["text"]) for i, row in enumerate(stream) if wanted[i])
    for batch in batches(tqdm(chosen, desc="candidates", unit=" docs", disable=None)):
        numbers, texts = [i for i, _ in batch], [text for _, text in batch]
        words = [contamination.words(text) for text in texts]
        found.tokens[numbers] = rules.count_tokens(texts)
        found.digests[numbers] = [hygiene.digest(w) for w in words]
        found.reason[numbers] = [
            hygiene.refusal(w, rules.test_questions, text, rules.min_words)
            for w, text in zip(words, texts, strict=True)
        ]
        hashes = hygiene.signatures(words, rules.shingle_words)
        found.minhashes.update(zip(numbers, hashes, strict=True))
        if rules.quality is not None:
            found.quality[numbers] = rules.quality(texts)
    return found


# --- texts of some rows -----------------------------------------------------------------------


def texts_at(stream: Iterable[records.Row], wanted: Collection[int]) -> dict[int, str]:
    """The texts of the rows with these numbers; keep the numbers few, the texts stay in memory."""
    wanted = set(map(int, wanted))
    return {i: row["text"] for i, row in enumerate(stream) if i in wanted}


def write_kept(path: str | Path, stream: Iterable[records.Row], kept: np.ndarray) -> int:
    """Write the kept rows (id, text, source) of a stream to `path`, in its order."""
    fields = ("id", "text", "source")
    chosen = (
        {name: row.get(name, "") for name in fields} for i, row in enumerate(stream) if kept[i]
    )
    return records.write_rows(path, chosen)


def write_scores(path: str | Path, scanned: Scanned, columns: dict[str, np.ndarray]) -> int:
    """Write one row per pool document, parquet: id, source and the given columns; NaN as null."""
    table = pa.table(
        {
            "id": pa.array(scanned.ids, pa.string()),
            "source": pa.array(scanned.sources, pa.string()),
            **{name: pa.array(values, from_pandas=True) for name, values in columns.items()},
        }
    )
    with records.atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table.num_rows
