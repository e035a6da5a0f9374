"""Text files into token shards: tokenised once, then read as memory maps by every process.

A shard is the concatenation of all documents of one file, each closed by the end-of-text token,
in the order of the file. Two things can differ for fine-tuning: no document is cut by the end of
a row (`whole`), and only answers are learned (`answers_only`). Paper: not stated; ours because a
run over billions of tokens must not tokenise again at each start, and because the rows of a plan
need a fixed address.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import pretrained, records, run

FORMAT = 1
BATCH_DOCUMENTS = 512
CHECKED_DOCUMENTS = 64  # whose tokens are read back, before the rest is tokenised


class EmptySource(ValueError):
    """A file with no document to train on."""


@dataclass(frozen=True)
class Shard:
    """The tokens of one file. `tokens` (T,) unsigned; `starts` (D,) int64, first token of each.

    `learn` (T,) bool: which tokens are to be predicted; None for all.
    """

    folder: Path
    tokens: np.ndarray
    starts: np.ndarray
    meta: dict[str, Any]
    learn: np.ndarray | None = None

    def rows(self, sequence_length: int) -> int:
        """Whole rows of `sequence_length` tokens; the tail of less than a row is not used."""
        return len(self.tokens) // sequence_length

    def row(self, number: int, sequence_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Row `number`: its tokens (S,) and each one's position in its document's part (S,)."""
        low = number * sequence_length
        high = low + sequence_length
        first, last = np.searchsorted(self.starts, [low + 1, high])
        positions = np.arange(sequence_length)
        for start in self.starts[first:last] - low:  # documents that begin inside the row
            positions[start:] = np.arange(sequence_length - start)
        return self.tokens[low:high].astype(np.int64), positions

    def learned(self, number: int, sequence_length: int) -> np.ndarray:
        """Which tokens (S,) of row `number` are to be predicted, as bool."""
        if self.learn is None:
            return np.ones(sequence_length, dtype=bool)
        low = number * sequence_length
        return np.array(self.learn[low : low + sequence_length], dtype=bool)

    def predicted(self, number: int, sequence_length: int) -> int:
        """How many tokens of row `number` are predicted: no document's first, and not the row's."""
        learned = self.learned(number, sequence_length)
        first, last = np.searchsorted(
            self.starts, number * sequence_length + np.array([1, sequence_length])
        )
        learned[self.starts[first:last] - number * sequence_length] = False
        return int(learned[1:].sum())

    def documents(self, number: int, sequence_length: int) -> list[str]:
        """The ids of the documents of which row `number` holds a part, in order."""
        low = number * sequence_length
        first = np.searchsorted(self.starts, low, side="right") - 1
        last = np.searchsorted(self.starts, low + sequence_length)
        with open(self.folder / "ids.jsonl", encoding="utf-8") as lines:
            return [json.loads(line) for line in itertools.islice(lines, int(first), int(last))]


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of all that decides how a text becomes tokens."""
    return run.hash_value([tokenizer.backend_tokenizer.to_str(), tokenizer.eos_token_id])


def tokenise(file: str | Path, tokenizer: Any, whole: int = 0, answers_only: bool = False) -> Shard:
    """Return the shard of a file of document rows, built when it is not in the cache.

    Args:
        file: document rows; with `answers_only` each also has `answer_starts`, the number of
            characters before the answer.
        tokenizer: a fast tokenizer.
        whole: a row length that no document may be cut by, 0 for none. What is left of a row
            before a document that does not fit is filled with end marks that are not learned.
        answers_only: learn the answer and its end mark, and nothing before it.

    Raises:
        FileNotFoundError: no such file.
        EmptySource: no document with text in it.
        records.BadRow: a row without a text or without its `answer_starts`, or one longer than
            `whole` tokens; names file and row.
    """
    if not Path(file).exists():
        raise FileNotFoundError(f"{file}: no such file; check the path in the parameters")
    key = {
        "file": run.hash_file(file),
        "tokenizer": tokenizer_hash(tokenizer),
        "eos": tokenizer.eos_token_id,
        "format": FORMAT,
        **({"whole": whole, "answers_only": answers_only} if whole or answers_only else {}),
    }
    return open_shard(
        run.cached(
            "tokens", key, lambda folder: _build(Path(file), tokenizer, folder, whole, answers_only)
        )
    )


def open_shard(folder: str | Path) -> Shard:
    """Map a finished shard into memory."""
    folder = Path(folder)
    meta = records.read_json(folder / "meta.json")
    tokens = np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r")
    learn = folder / "learn.bin"
    mask = np.memmap(learn, dtype=np.bool_, mode="r") if learn.exists() else None
    return Shard(folder, tokens, np.load(folder / "starts.npy"), meta, mask)


def _build(file: Path, tokenizer: Any, folder: Path, whole: int, answers_only: bool) -> None:
    eos = tokenizer.eos_token_id
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)
    some = enumerate(itertools.islice(records.read_rows(file), CHECKED_DOCUMENTS), start=1)
    pretrained.check_round_trip(tokenizer, (_text(row, file, n) for n, row in some), str(file))
    starts: list[int] = []
    total = padding = 0
    empty: list[int] = []
    with ExitStack() as stack:
        names = ["tokens.bin", "ids.jsonl", *(["learn.bin"] if whole or answers_only else [])]
        out, ids, *mask = (stack.enter_context(open(folder / name, "wb")) for name in names)

        def put(tokens: list[int], learn: list[bool]) -> None:
            nonlocal total
            out.write(np.asarray(tokens, dtype=dtype).tobytes())
            for one in mask:
                one.write(np.asarray(learn, dtype=np.bool_).tobytes())
            total += len(tokens)

        def fill() -> None:
            """End marks that are not learned, up to the end of the row."""
            nonlocal padding
            left = -total % whole
            put([eos] * left, [False] * left)
            padding += left

        for identifier, tokens, learn in _encoded(file, tokenizer, answers_only, empty):
            if whole and len(tokens) > whole:
                raise records.BadRow(
                    f"{file}: {identifier!r} has {len(tokens)} tokens, and a row has {whole}; "
                    "raise sequence_length, or leave it out"
                )
            if whole and -total % whole < len(tokens):
                fill()
            starts.append(total)
            put(tokens, learn)
            ids.write(json.dumps(identifier).encode() + b"\n")
        if whole:
            fill()
    if not starts:
        raise EmptySource(f"{file}: no document with text in it; nothing to train on")
    np.save(folder / "starts.npy", np.asarray(starts, dtype=np.int64))
    meta = {"dtype": dtype.name, "tokens": total, "documents": len(starts), "empty": len(empty)}
    records.write_json(folder / "meta.json", {**meta, **({"padding": padding} if whole else {})})


def _encoded(
    file: Path, tokenizer: Any, answers_only: bool, empty: list[int]
) -> Iterator[tuple[str, list[int], list[bool]]]:
    """Yield id, tokens with the end mark, and which of them are learned, of each document.

    The number of each row without text is added to `empty`.
    """
    backend = tokenizer.backend_tokenizer
    encode = backend.encode_batch if answers_only else backend.encode_batch_fast  # with places
    numbered = enumerate(records.read_rows(file), start=1)
    while batch := list(itertools.islice(numbered, BATCH_DOCUMENTS)):
        texts = [_text(row, file, n) for n, row in batch]
        begins = [_answer_starts(row, file, n) if answers_only else 0 for n, row in batch]
        kept = [i for i, text in enumerate(texts) if text.strip()]
        empty += [n for (n, _), text in zip(batch, texts, strict=True) if not text.strip()]
        for i, encoding in zip(kept, encode([texts[i] for i in kept]), strict=True):
            learn = [not answers_only or end > begins[i] for _, end in encoding.offsets]
            identifier = batch[i][1].get("id", str(batch[i][0]))
            yield identifier, [*encoding.ids, tokenizer.eos_token_id], [*learn, True]


def _answer_starts(row: records.Row, file: Path, number: int) -> int:
    place = row.get("answer_starts")
    if not isinstance(place, int) or isinstance(place, bool) or place < 0:
        raise records.BadRow(
            f"{file}: row {number} ({row.get('id')!r}) has no answer_starts, the number of "
            "characters before its answer; give it, or set loss_on: all"
        )
    return place


def _text(row: records.Row, file: Path, number: int) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise records.BadRow(f"{file}: row {number} ({row.get('id')!r}) has no text field")
    return text
