"""Rows on disk: one JSON object a line (plain, .gz, .zst) or parquet, read and written alike.

Not stated in the paper; ours because every stage hands rows to the next one through files that
a person can open, and because a bad line must be named by file and number.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".parquet")
BATCH_ROWS = 1024
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


class BadRow(ValueError):
    """A line that is not what it must be; the message names file and line."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved onto it only when the block succeeds.

    The data is flushed to the disk before the move, so a crash leaves the old file or the new
    one and never half of either.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _open_bytes(path: Path, name: str, mode: str) -> Iterator[BinaryIO]:
    """Open `path` for binary reading or writing; `name` decides the compression."""
    if name.endswith(".gz"):
        # mtime 0 and no name: the same rows give the same bytes
        with (
            open(path, mode) as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode=mode, mtime=0) as handle,
        ):
            yield handle
    else:
        opened = zstandard.open if name.endswith(".zst") else open
        with opened(path, mode) as handle:
            yield handle


def read_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, raw line) of a text file, decompressed, blank lines left out.

    Raises:
        FileNotFoundError: there is no such file.
        BadRow: the compressed file is damaged; the message says after which line.
    """
    path, number = Path(path), 0
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; check the path in the parameters")
    with _open_bytes(path, path.name, "rb") as handle:
        try:
            for number, line in enumerate(io.BufferedReader(handle), start=1):
                if line.strip():
                    yield number, line
        except DAMAGED as error:
            raise BadRow(f"{path}: damaged after line {number} ({error}); get it again") from None


def parse_row(line: bytes, where: str) -> Row:
    """Return the JSON object on `line`.

    Raises:
        BadRow: bytes that are not UTF-8, text that is not JSON, or JSON that is not an object;
            the message begins with `where`.
    """
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow(f"{where}: not UTF-8 (byte {error.start}); re-encode the file") from None
    except json.JSONDecodeError as error:
        raise BadRow(f"{where}: not JSON ({error.msg}); each line must be one object") from None
    if not isinstance(row, dict):
        raise BadRow(f"{where}: a JSON {type(row).__name__}, where an object is needed")
    return row


def read_rows(path: str | Path) -> Iterator[Row]:
    """Yield the rows of a `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or `.parquet` file, streamed.

    Raises:
        FileNotFoundError: there is no such file.
        BadRow: a line is not a JSON object in UTF-8; the message names file and line.
    """
    path = Path(path)
    if path.name.endswith(".parquet"):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; check the path in the parameters")
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise BadRow(f"{path}: not a whole parquet file ({error})") from None
        return
    for number, line in read_lines(path):
        yield parse_row(line, f"{path}:{number}")


@contextmanager
def writer(path: str | Path) -> Iterator[Callable[[Row], None]]:
    """Yield a function that appends one row to `path` (not parquet); atomic, as `write_rows`.

    For one pass over a stream that fills several files.
    """
    path = Path(path)
    with atomic_path(path) as temporary, _open_bytes(temporary, path.name, "wb") as handle:
        yield lambda row: handle.write(_line(row))


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"


def write_rows(path: str | Path, rows: Iterable[Row]) -> int:
    """Write rows to `path` in the format that its name says, atomically; return their number."""
    path = Path(path)
    if path.name.endswith(".parquet"):
        with atomic_path(path) as temporary:
            return _write_parquet(temporary, rows)
    count = 0
    with writer(path) as write:
        for row in rows:
            write(row)
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterable[Row]) -> int:
    table = pa.Table.from_pylist(list(rows))
    pq.write_table(table, path, compression="zstd")
    return table.num_rows


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return the value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


# --- the append journal -----------------------------------------------------------------------


class JournalInUse(RuntimeError):
    """Another process is writing to the journal."""


class Journal:
    """Rows that are safe one by one: what a killed run has appended, the next one finds.

        with Journal(path, state) as journal:
            for row in wanted[len(journal.rows):]:
                journal.add(work(row))

    A line that a kill or a full disk cut off is dropped when the journal is opened again. One
    process writes to a journal at a time. Rows are kept as JSON in ASCII, so text that UTF-8
    refuses (a lone surrogate) is kept, too.
    """

    SYNC_SECONDS = 1.0  # a power cut loses no more; a kill loses nothing

    def __init__(self, path: str | Path, state: Any = None) -> None:
        """Open a journal to read and append.

        Args:
            path: of the file; made when it is absent.
            state: JSON value that decides the rows. Rows of another state are dropped.

        Raises:
            JournalInUse: another process has it open.
            BadRow: a line that is not the last one is damaged; names it.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise JournalInUse(f"{self.path}: another run is writing to it; wait for it") from None
        self._synced = time.monotonic()
        self.rows = self._begin(json.loads(json.dumps(state)))

    def _begin(self, state: Any) -> list[Row]:
        """The rows that stand, when they are of this state."""
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        del lines[-1]  # what follows the last line end was not finished
        rows = [parse_row(line, f"{self.path}:{n}") for n, line in enumerate(lines, start=1)]
        self._file.truncate(sum(map(len, lines)) + len(lines))
        if state is None:
            return rows
        if rows[:1] != [{"state": state}]:
            self._file.truncate(0)
            self.add({"state": state})
        return rows[1:] if rows[:1] == [{"state": state}] else []

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; when this returns, a kill cannot lose it.

        Raises:
            OSError: it could not be written (a full disk); the rows before it stand.
        """
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(json.dumps(row).encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise OSError(error.errno, f"{self.path}: {error.strerror or error}") from None
        if time.monotonic() - self._synced > self.SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Flush to the disk and let others write."""
        if not self._file.closed:
            with contextlib.suppress(OSError):  # a full disk was told where it was met
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Journal:
        """The journal itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
