"""Rows on disk: one JSON object a line (plain or compressed) or parquet.

Not stated in the paper; ours because every stage hands rows to the next one through files that
a person can open, and because a bad line must be named by file and number.
"""

from __future__ import annotations

import bz2
import contextlib
import fcntl
import gzip
import io
import json
import lzma
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import zstandard
from isal import isal_zlib

if TYPE_CHECKING:  # loaded where a table is read or written: Make's questions need none
    import pyarrow.parquet as pq

Row = dict[str, Any]
TEXTS = (".jsonl", ".ndjson", ".json")  # one JSON object a line
TABLES = (".parquet",)
PACKED: dict[str, Callable[[], Any]] = {
    ".gz": lambda: isal_zlib.decompressobj(31),  # zlib's results in a third of the time
    ".zst": lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
}
KNOWN = f"{', '.join(TEXTS)} (also with {', '.join(PACKED)}), {TABLES[0]}"
BROKEN = (isal_zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError)  # of one stream
BLOCK = 1 << 18  # compressed bytes read at a time
BATCH_ROWS = 1024
BOM = b"\xef\xbb\xbf"
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PAR1": "parquet",
}


class BadRow(ValueError):
    """A line that is not what it must be; the message names file and line."""


class Damaged(BadRow):
    """A file that cannot be read to its end, or that is of an unknown kind; never skipped."""


def kind(path: str | Path) -> str:
    """`jsonl` or `parquet`, by the end of a file's name in any case.

    Raises:
        Damaged: the name ends otherwise; the message says what is known.
    """
    name = Path(path).name.lower()
    if name.endswith(TABLES):
        return "parquet"
    if name.removesuffix(_packing(path)).endswith(TEXTS):
        return "jsonl"
    raise Damaged(f"{path}: unknown kind of file; known: {KNOWN}")


def _packing(path: str | Path) -> str:
    """How a file is compressed, by the end of its name: a key of `PACKED`, or nothing."""
    end = Path(path).suffix.lower()
    return end if end in PACKED else ""


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
def _open_to_write(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open `path` for writing; `name` decides the compression (.gz, .zst or none)."""
    if name.endswith(".gz"):
        # mtime 0 and no name: the same rows give the same bytes
        with (
            open(path, "wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as handle,
        ):
            yield handle
    else:
        opened = zstandard.open if name.endswith(".zst") else open
        with opened(path, "wb") as handle:
            yield handle


# --- reading ----------------------------------------------------------------------------------


def pieces(path: str | Path, consumed: list[int] | None = None) -> Iterator[bytes]:
    """The decompressed bytes of a file, a leading byte order mark left out.

    `consumed[0]` tells how many bytes of the file itself were read.

    Raises:
        Damaged: the compressed data are broken, or end before they are whole.
        BadRow: compressed data, or a table, under the name of something else; never skipped.
    """
    make, counted = PACKED.get(_packing(path)), consumed or [0]
    with open(path, "rb") as handle:
        blocks = _counting(handle, counted)
        data = (piece for piece in (_inflate(blocks, make) if make else blocks) if piece)
        first = next(data, b"")
        if inside := next((kind for magic, kind in MAGIC.items() if first.startswith(magic)), ""):
            raise BadRow(f"{path}: holds {inside} data, its name says otherwise; rename it")
        yield first.removeprefix(BOM)
        yield from data


def _counting(handle: BinaryIO, consumed: list[int]) -> Iterator[bytes]:
    while block := handle.read(BLOCK):
        consumed[0] += len(block)
        yield block


def _inflate(blocks: Iterable[bytes], make: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress one or several streams in a row; `Damaged` when the last one has no end."""
    stream, begun = make(), False
    for block in blocks:
        while block:
            if stream.eof:
                block = block.lstrip(b"\0")  # padding after a stream
                if not block:
                    break
                stream = make()
            begun = True
            try:
                piece = stream.decompress(block)
            except BROKEN as error:
                raise Damaged(f"damaged: {error}") from None
            yield piece
            block = stream.unused_data if stream.eof else b""
    if not begun or not stream.eof:
        raise Damaged("damaged: the compressed data end too early; the file was cut off")


def line_blocks(
    path: str | Path, size: int = 1, consumed: list[int] | None = None
) -> Iterator[bytes]:
    """Whole lines of a text file, about `size` bytes at a time; the last may lack its end.

    Raises:
        Damaged: see `pieces`.
    """
    parts: list[bytes] = []
    length = 0
    for piece in pieces(path, consumed):
        length += len(piece)
        if length >= size and (end := piece.rfind(b"\n") + 1):
            yield b"".join([*parts, piece[:end]])
            piece = piece[end:]
            parts, length = [], len(piece)
        parts.append(piece)
    if last := b"".join(parts):
        yield last


def read_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, raw line) of a text file, blank lines left out.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: the compressed file is broken or cut off; the message says after which line.
    """
    number = 0
    try:
        for block in line_blocks(_existing(path)):
            for line in io.BytesIO(block):  # ends at \n alone
                number += 1
                if line.strip():
                    yield number, line
    except Damaged as error:
        raise Damaged(f"{path}: {error}, after line {number}; get it again") from None


def _existing(path: str | Path) -> Path:
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file; check the path in the parameters")
    return Path(path)


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
    except (RecursionError, ValueError) as error:  # nested too deeply, a number of 4,300 digits
        raise BadRow(f"{where}: not JSON that can be read ({error})") from None
    if not isinstance(row, dict):
        raise BadRow(f"{where}: a JSON {type(row).__name__}, where an object is needed")
    return row


def valid_text(text: str) -> str:
    """`text` with lone surrogates (from JSON such as `"\\ud800"`) replaced by `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def open_parquet(path: str | Path) -> Iterator[pq.ParquetFile]:
    """A parquet file whose damage, met in the block, is a `Damaged` that names it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _existing(path)
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's or the network's own
        raise Damaged(f"{path}: damaged, not a whole parquet file ({error})") from None


def read_rows(path: str | Path) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines (compressed or not) or parquet, streamed.

    Raises:
        FileNotFoundError: there is no such file.
        BadRow: a line is not a JSON object in UTF-8; the message names file and line.
        Damaged: the file cannot be read to its end.
    """
    if Path(path).name.lower().endswith(TABLES):
        with open_parquet(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield from batch.to_pylist()
        return
    for number, line in read_lines(path):
        yield parse_row(line, f"{path}:{number}")


# --- writing ----------------------------------------------------------------------------------


@contextmanager
def writer(path: str | Path) -> Iterator[Callable[[Row], None]]:
    """Yield a function that appends one row to `path` (not parquet); atomic, as `write_rows`.

    For one pass over a stream that fills several files.
    """
    path = Path(path)
    with atomic_path(path) as temporary, _open_to_write(temporary, path.name) as handle:
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
    import pyarrow as pa
    import pyarrow.parquet as pq

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
