"""Text files into token shards: tokenised once, then read as memory maps by every process.

A shard is the concatenation of all documents of one file, each closed by the end-of-text token,
in the order of the file. Paper: not stated; ours because a run over billions of tokens must not
tokenise again at each start, and because the rows of a plan need a fixed address.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import records, run

FORMAT = 1
BATCH_DOCUMENTS = 512


class EmptySource(ValueError):
    """A file with no document to train on."""


@dataclass(frozen=True)
class Shard:
    """The tokens of one file. `tokens` (T,) unsigned; `starts` (D,) int64, first token of each."""

    folder: Path
    tokens: np.ndarray
    starts: np.ndarray
    meta: dict[str, Any]

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

    def documents(self, number: int, sequence_length: int) -> list[str]:
        """The ids of the documents of which row `number` holds a part, in order."""
        low = number * sequence_length
        first = np.searchsorted(self.starts, low, side="right") - 1
        last = np.searchsorted(self.starts, low + sequence_length)
        with open(self.folder / "ids.jsonl", encoding="utf-8") as lines:
            return [json.loads(line) for line in itertools.islice(lines, int(first), int(last))]


def load_tokenizer(name: str) -> Any:
    """Load a fast tokenizer from a folder or the Hub.

    Raises:
        ValueError: it has no end-of-text token, which separates documents.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.eos_token_id is None:
        raise ValueError(f"tokenizer {name}: no end-of-text token (eos_token); set one")
    return tokenizer


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of all that decides how a text becomes tokens."""
    return run.hash_value([tokenizer.backend_tokenizer.to_str(), tokenizer.eos_token_id])


def tokenise(file: str | Path, tokenizer: Any) -> Shard:
    """Return the shard of a file of document rows, built when it is not in the cache.

    Raises:
        FileNotFoundError: no such file.
        EmptySource: no document with text in it.
        records.BadRow: a row without a text; names file and row.
    """
    if not Path(file).exists():
        raise FileNotFoundError(f"{file}: no such file; check the path in the parameters")
    key = {
        "file": run.hash_file(file),
        "tokenizer": tokenizer_hash(tokenizer),
        "eos": tokenizer.eos_token_id,
        "format": FORMAT,
    }
    return open_shard(
        run.cached("tokens", key, lambda folder: _build(Path(file), tokenizer, folder))
    )


def open_shard(folder: str | Path) -> Shard:
    """Map a finished shard into memory."""
    folder = Path(folder)
    meta = records.read_json(folder / "meta.json")
    tokens = np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r")
    return Shard(folder, tokens, np.load(folder / "starts.npy"), meta)


def _build(file: Path, tokenizer: Any, folder: Path) -> None:
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True  # "<|endoftext|>" written in a text stays text
    eos = tokenizer.eos_token_id
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)
    starts: list[int] = []
    total = skipped = 0
    numbered = enumerate(records.read_rows(file), start=1)
    with open(folder / "tokens.bin", "wb") as out, open(folder / "ids.jsonl", "w") as ids:
        while batch := list(itertools.islice(numbered, BATCH_DOCUMENTS)):
            kept = [(_text(row, file, n), row.get("id", str(n))) for n, row in batch]
            kept = [(text, identifier) for text, identifier in kept if text.strip()]
            skipped += len(batch) - len(kept)
            for encoding in backend.encode_batch_fast([text for text, _ in kept]):
                tokens = encoding.ids if encoding.ids[-1:] == [eos] else [*encoding.ids, eos]
                out.write(np.asarray(tokens, dtype=dtype).tobytes())
                starts.append(total)
                total += len(tokens)
            ids.writelines(json.dumps(identifier) + "\n" for _, identifier in kept)
    if not starts:
        raise EmptySource(f"{file}: no document with text in it; nothing to train on")
    np.save(folder / "starts.npy", np.asarray(starts, dtype=np.int64))
    meta = {"dtype": dtype.name, "tokens": total, "documents": len(starts), "empty": skipped}
    records.write_json(folder / "meta.json", meta)


def _text(row: records.Row, file: Path, number: int) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise records.BadRow(f"{file}: row {number} ({row.get('id')!r}) has no text field")
    return text
