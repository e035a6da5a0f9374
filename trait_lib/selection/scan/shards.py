"""A corpus as shards, and the documents of one shard, streamed as Arrow tables.

A shard is a file (.jsonl, .jsonl.gz, .jsonl.zst, .parquet), some row groups of a large parquet
file, or a piece of a data set on the Hub. A corpus is named by files, folders, patterns and
`hub://` addresses. Shards are read from front to back with a few megabytes in memory.
Not stated in the paper, which scores hundreds of billions of tokens; ours because a corpus of
that size must be read in pieces that can fail and be done again one by one.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq
import zstandard
from isal import isal_zlib  # zlib's results in a third of the time

from trait_lib import ROOT, hub, run
from trait_lib.selection.models.lines import valid_text

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
BLOCK = 1 << 18  # compressed bytes read at a time
TABLE_BYTES = 4_000_000  # of text in one table, about
GROUP_BYTES = 256_000_000  # a larger parquet file is divided at its row groups
HUB_ROWS = 1000

SCHEMA = pa.schema([("id", pa.string()), ("source", pa.string()), ("text", pa.large_string())])


class Damaged(Exception):
    """A shard that cannot be read to its end; the message names the place and the reason."""


class NoCorpus(ValueError):
    """Files that a parameter names hold nothing to read."""


@dataclass(frozen=True)
class Shard:
    """A part of a corpus, small enough to do again."""

    name: str  # the file's path or the Hub address
    kind: str  # jsonl, parquet or hub
    first: int = 0  # parquet: first row group; hub: which piece
    last: int = 0  # parquet: the row group after the last; hub: of how many pieces
    size: int = 0  # bytes on the disk, 0 where it is not known
    version: str = ""  # changes when the content does

    def identity(self) -> dict[str, Any]:
        """What decides the shard's content.

        For a file its path, size and time of change in nanoseconds: hashing the content would
        read the whole corpus once more. A file that is touched is scored again, which costs time
        and changes nothing.
        """
        return asdict(self)

    def label(self) -> str:
        """The shard in a message."""
        if self.kind == "jsonl" or (self.kind == "parquet" and not self.first and not self.last):
            return run.show(self.name)
        if self.kind == "hub":
            return f"{self.name} piece {self.first + 1} of {self.last}"
        return f"{run.show(self.name)} row groups {self.first} to {self.last - 1}"


# --- finding shards ---------------------------------------------------------------------------


def find(sources: Sequence[str | Path], parameter: str = "corpus_files") -> list[Shard]:
    """The shards of a corpus, in the order of `sources`; files of a folder or pattern by name.

    Args:
        sources: files, folders (searched to any depth), patterns such as `data/*.parquet`, or
            `hub://` addresses. A relative path starts in the repository, never in the shell's
            folder, which papermill and JupyterLab do not agree about.
        parameter: that named them, for messages.

    Raises:
        NoCorpus: nothing found, or a file of another kind; says where was looked.
        Damaged: a parquet file without a readable end, with `parameter` files that are needed.
    """
    if isinstance(sources, str):
        sources = [sources]
    shards: list[Shard] = []
    for source in sources:
        if str(source).startswith(hub.PREFIX):
            shards += _hub_shards(str(source))
        else:
            for path in _paths(source, parameter):
                shards += _file_shards(path)
    if not shards:
        raise NoCorpus(f"{parameter}: names no file")
    return shards


def _paths(source: str | Path, parameter: str) -> list[Path]:
    path = ROOT / Path(source).expanduser()
    if path.is_dir():
        found = [f for f in sorted(path.rglob("*")) if f.is_file() and f.name.endswith(SUFFIXES)]
        found = [f for f in found if not f.name.startswith(".")]
    elif path.exists():
        found = [path]
    else:
        found = [Path(f) for f in sorted(glob.glob(str(path), recursive=True))]
        found = [f for f in found if f.is_file()]
    if not found:
        raise NoCorpus(
            f"{parameter}: {str(source)!r} is no file, folder or pattern with files "
            f"({', '.join(SUFFIXES)}) in {path.parent}; relative paths start in {ROOT}"
        )
    for file in found:
        if not file.name.endswith(SUFFIXES):
            raise NoCorpus(f"{parameter}: {file}: unknown kind of file; {', '.join(SUFFIXES)}")
    return [file.resolve() for file in found]


def _file_shards(path: Path) -> list[Shard]:
    about = path.stat()
    version = str(about.st_mtime_ns)
    if not path.name.endswith(".parquet"):
        return [Shard(str(path), "jsonl", size=about.st_size, version=version)]
    whole = Shard(str(path), "parquet", size=about.st_size, version=version)
    if about.st_size <= GROUP_BYTES:
        return [whole]
    try:
        groups = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return [whole]  # reading it will say what is wrong
    return _by_row_groups(whole, groups)


def _by_row_groups(whole: Shard, groups: pq.FileMetaData) -> list[Shard]:
    sizes = [
        sum(groups.row_group(g).column(c).total_compressed_size for c in range(groups.num_columns))
        for g in range(groups.num_row_groups)
    ]
    shards, first, size = [], 0, 0
    for group, more in enumerate(sizes):
        size += more
        if size >= GROUP_BYTES or group == len(sizes) - 1:
            part = Shard(whole.name, "parquet", first, group + 1, size, whole.version)
            shards.append(part)
            first, size = group + 1, 0
    return shards


def _hub_shards(source: str) -> list[Shard]:
    number, version = hub.pieces(source)
    return [Shard(source, "hub", i, number, 0, version) for i in range(number)]


# --- reading a shard --------------------------------------------------------------------------


def read(
    shard: Shard,
    text_field: str = "text",
    id_field: str = "id",
    wanted: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Yield (row numbers, table of `SCHEMA`) over a shard's documents.

    A document without an id gets one from its file and row. Row numbers count documents from 0,
    blank lines left out.

    Args:
        shard: what to read.
        text_field: the field with the text.
        id_field: the field with the id.
        wanted: only these rows, in ascending order; None for all.

    Raises:
        Damaged: the shard cannot be read to its end, or a row has no text.
        FileNotFoundError: the file went away.
    """
    readers = {"jsonl": _read_jsonl, "parquet": _read_parquet, "hub": _read_hub}
    yield from readers[shard.kind](shard, text_field, id_field, wanted)


def _open(path: str, consumed: list[int]) -> Iterator[bytes]:
    """The decompressed bytes of a file, in pieces; `consumed[0]` tells how much of it was read."""
    with open(path, "rb") as handle:
        if path.endswith(".gz"):
            yield from _inflate(handle, lambda: isal_zlib.decompressobj(31), "gzip", consumed)
        elif path.endswith(".zst"):
            make = zstandard.ZstdDecompressor().decompressobj
            yield from _inflate(handle, make, "zstd", consumed)
        else:
            while block := handle.read(BLOCK):
                consumed[0] += len(block)
                yield block


def _inflate(handle: BinaryIO, make: Any, name: str, consumed: list[int]) -> Iterator[bytes]:
    """Decompress one or several streams in a row; `Damaged` when the last one has no end."""
    stream, begun = make(), False
    try:
        while block := handle.read(BLOCK):
            consumed[0] += len(block)
            while block:
                if stream.eof:
                    block = block.lstrip(b"\0")  # padding after a stream
                    if not block:
                        break
                    stream = make()
                begun = True
                yield stream.decompress(block)
                block = stream.unused_data if stream.eof else b""
    except (isal_zlib.error, zstandard.ZstdError) as error:
        raise Damaged(f"damaged {name} data ({error})") from None
    if not begun or not stream.eof:
        raise Damaged(f"the {name} data end too early; the file was cut off")


def _blocks(path: str, consumed: list[int] | None = None) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time; the last may lack its end."""
    parts: list[bytes] = []
    size = 0
    for block in _open(path, [0] if consumed is None else consumed):
        parts.append(block)
        size += len(block)
        if size >= TABLE_BYTES and b"\n" in block:
            whole, end, rest = b"".join(parts).rpartition(b"\n")
            parts, size = [rest], len(rest)
            yield whole + end
    if last := b"".join(parts):
        yield last


def _read_jsonl(
    shard: Shard, text_field: str, id_field: str, wanted: np.ndarray | None
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    number, row = 0, 0  # lines and documents before this batch
    name = Path(shard.name).name
    want = None if wanted is None else iter(wanted.tolist())
    following = next(want, None) if want is not None else None
    for block in _blocks(shard.name):
        if want is None and (table := _all_good(block, text_field, id_field, name, number)):
            number += len(table)
            yield np.arange(row, row + len(table)), table
            row += len(table)
            continue
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        rows: list[int] = []
        found: list[tuple[str, str, str]] = []
        for line in lines:
            number += 1
            if not line or line.isspace():
                continue
            if want is None or row == following:
                value = _parse(line, number)
                found.append(_document(value, text_field, id_field, name, number))
                rows.append(row)
                if want is not None:
                    following = next(want, None)
            row += 1
        if rows:
            yield np.array(rows), _table(found)
        if want is not None and following is None:
            return


def _all_good(
    block: bytes, text_field: str, id_field: str, name: str, before: int
) -> pa.Table | None:
    """The table of lines of which each is a document; None where one needs a closer look.

    Arrow parses them several times as fast as they become Python's objects.
    """
    fields = {id_field: pa.string(), "source": pa.string(), text_field: pa.large_string()}
    options = pj.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore")
    reading = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        table = pj.read_json(pa.BufferReader(block), reading, options).combine_chunks()
        table.validate(full=True)  # UTF-8
    except pa.ArrowException:
        return None
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if len(table) != lines or table[text_field].null_count:
        return None
    ids, sources = table[id_field], table["source"]
    if ids.null_count or pc.any(pc.equal(ids, "")).as_py():
        given = enumerate(ids.to_pylist(), start=before + 1)
        ids = pa.array([one or f"{name}:{number}" for number, one in given], pa.string())
    sources = pc.if_else(pc.equal(pc.fill_null(sources, ""), ""), name, sources)
    return pa.table([ids, sources, table[text_field]], SCHEMA)


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(line)  # lone surrogates, NaN: what Python takes and orjson does not
        except (ValueError, UnicodeDecodeError, RecursionError) as error:
            raise Damaged(f"line {number}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise Damaged(f"line {number}: a JSON {type(value).__name__}, where an object is needed")
    return value


def _document(
    value: dict[str, Any], text_field: str, id_field: str, name: str, number: int
) -> tuple[str, str, str]:
    text, given = value.get(text_field), value.get(id_field)
    if not isinstance(text, str):
        known = ", ".join(sorted(value)[:10])
        raise Damaged(f"line {number}: no text in the field {text_field!r} (fields: {known})")
    identifier = f"{name}:{number}" if given is None or given == "" else str(given)
    source = value.get("source")
    return identifier, str(source) if source else name, text


def _table(found: list[tuple[str, str, str]]) -> pa.Table:
    columns = list(zip(*found, strict=True))
    try:
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], SCHEMA)
    except UnicodeEncodeError:  # half of a surrogate pair
        return _table([tuple(map(valid_text, row)) for row in found])


def _read_parquet(
    shard: Shard, text_field: str, id_field: str, wanted: np.ndarray | None
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    try:
        with pq.ParquetFile(shard.name) as file:
            groups = list(range(shard.first, shard.last or file.num_row_groups))
            before = sum(file.metadata.row_group(g).num_rows for g in range(shard.first))
            start = 0
            for group in groups:
                rows = file.metadata.row_group(group).num_rows
                if wanted is None or _any_between(wanted, start, start + rows):
                    yield from _row_group(
                        file, group, start, before, text_field, id_field, wanted, shard
                    )
                start += rows
    except pa.ArrowException as error:
        raise Damaged(f"damaged parquet data ({error})") from None
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's or the network's own
        raise Damaged(f"damaged parquet data ({error})") from None


def _any_between(wanted: np.ndarray, start: int, stop: int) -> bool:
    return bool(np.searchsorted(wanted, start) < np.searchsorted(wanted, stop))


def _row_group(
    file: pq.ParquetFile,
    group: int,
    start: int,
    before: int,
    text_field: str,
    id_field: str,
    wanted: np.ndarray | None,
    shard: Shard,
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """The documents of one row group; `before` rows of the file precede this shard."""
    names = set(file.schema_arrow.names)
    if text_field not in names:
        known = ", ".join(sorted(names)[:10])
        raise Damaged(f"no field {text_field!r} (fields: {known})")
    columns = [name for name in dict.fromkeys((id_field, "source", text_field)) if name in names]
    rows_at_once = _rows_at_once(file, group)
    for batch in file.iter_batches(rows_at_once, row_groups=[group], columns=columns):
        rows = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        table = pa.Table.from_batches([batch])
        if wanted is not None:
            keep = np.isin(rows, wanted[slice(*np.searchsorted(wanted, [rows[0], rows[-1] + 1]))])
            rows, table = rows[keep], table.filter(pa.array(keep))
        if len(rows):
            yield rows, _from_arrow(table, rows + before, text_field, id_field, shard.name)


def _rows_at_once(file: pq.ParquetFile, group: int) -> int:
    about = file.metadata.row_group(group)
    return max(1, min(10_000, about.num_rows * TABLE_BYTES // max(1, about.total_byte_size)))


def _from_arrow(
    table: pa.Table, rows: np.ndarray, text_field: str, id_field: str, where: str
) -> pa.Table:
    """A table of `SCHEMA` from one with other names; `rows` name documents without an id."""
    if text_field not in table.column_names:
        known = ", ".join(sorted(table.column_names)[:10])
        raise Damaged(f"no field {text_field!r} (fields: {known})")
    text, name = table[text_field], Path(where).name
    if pa.types.is_dictionary(text.type):
        text = text.cast(text.type.value_type)
    if not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type)):
        raise Damaged(f"the field {text_field!r} holds {text.type}, not text")
    if text.null_count:
        row = int(np.flatnonzero(text.is_null().to_numpy())[0])
        raise Damaged(f"row {int(rows[row]) + 1}: no text in the field {text_field!r}")
    made = [f"{name}:{row + 1}" for row in rows]
    given = table[id_field].to_pylist() if id_field in table.column_names else [None] * len(made)
    ids = [m if g is None or g == "" else str(g) for g, m in zip(given, made, strict=True)]
    told = table["source"].to_pylist() if "source" in table.column_names else [None] * len(made)
    sources = [str(s) if s else name for s in told]
    text = text.combine_chunks().cast(pa.large_string())
    return pa.table([pa.array(ids, pa.string()), pa.array(sources, pa.string()), text], SCHEMA)


def _read_hub(
    shard: Shard, text_field: str, id_field: str, wanted: np.ndarray | None
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    start = 0
    for table in hub.tables(shard.name, shard.first, shard.last, HUB_ROWS):
        rows = np.arange(start, start + table.num_rows)
        start += table.num_rows
        if wanted is not None:
            keep = np.isin(rows, wanted)
            rows, table = rows[keep], table.filter(pa.array(keep))
        if len(rows):
            name = hub.parse(shard.name)[0]
            yield rows, _from_arrow(table, rows, text_field, id_field, f"{name}-{shard.first}")


def documents_of(shard: Shard, seen: int) -> float:
    """About how many documents a shard holds, when `seen` were read from its front."""
    if shard.kind == "parquet":
        about = pq.read_metadata(shard.name)
        last = shard.last or about.num_row_groups
        return float(sum(about.row_group(g).num_rows for g in range(shard.first, last)))
    if shard.kind == "hub":
        return float(seen)
    consumed = [0]
    lines = next(_blocks(shard.name, consumed), b"").split(b"\n")
    number = sum(1 for line in lines if line and not line.isspace())
    return number * max(1.0, shard.size / max(1, consumed[0]))
