"""The documents of a shard as Arrow tables: the one reader of corpora, with one policy for rows.

Arrow parses JSON several times as fast as Python. Where it could read a block otherwise than line
by line, or refuses it, each line is parsed alone: a line is a row, whoever reads it. Rows have the
number of their line (from 1) in the file, which a second reading asks for.
Not stated in the paper; ours because a corpus of millions of lines always holds bad ones, and a
line dropped in silence cannot be told from a line that was never there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from trait_lib import hub, records
from trait_lib.reading.shards import Shard
from trait_lib.reading.where import Condition, as_text, matches
from trait_lib.records import BadRow, Damaged, valid_text

TABLE_BYTES = 4_000_000  # of text in one table, about
HUB_ROWS = 1000
SCHEMA = pa.schema([("id", pa.string()), ("source", pa.string()), ("text", pa.large_string())])
NOT_TEXT = "field {!r} is not text (it is of type {})"

Numbered = tuple[np.ndarray, pa.Table]
"""Row numbers and a table, of the same length."""


class EmptyCorpus(ValueError):
    """No document was left; the message says what was read and why nothing remained."""


@dataclass
class Report:
    """What was read: rows, documents kept, rows left out by conditions, bad rows by reason."""

    rows: int = 0
    documents: int = 0
    characters: int = 0
    left_out: int = 0
    shortened: int = 0
    repaired: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)  # fields of conditions that some row has

    def refuse(self, message: str, place: str, on_bad: str) -> None:
        """Raise `BadRow`, or count it when bad rows are to be skipped.

        The reason that is counted is the message without its details; the first place of each
        reason is kept.
        """
        if on_bad == "error":
            raise BadRow(f"{place}: {message}")
        reason = message.split(" (")[0].split(";")[0]
        self.skipped[reason] += 1
        self.first.setdefault(reason, place)

    def counts(self) -> dict[str, Any]:
        """Its numbers as a JSON value."""
        names = ("rows", "documents", "left_out", "repaired", "skipped", "first")
        return {name: getattr(self, name) for name in names}

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add what another report counted."""
        for name in ("rows", "documents", "left_out", "repaired"):
            setattr(self, name, getattr(self, name) + counts[name])
        self.skipped.update(counts["skipped"])
        self.first = {**counts["first"], **self.first}

    def __str__(self) -> str:
        """One sentence for the reader of a notebook."""
        text = f"{self.rows:,} rows read, {self.documents:,} documents kept"
        if self.left_out:
            text += f", {self.left_out:,} left out by the conditions"
        if self.shortened:
            text += f", {self.shortened:,} longer ones cut or split"
        if self.repaired:
            text += f", {self.repaired:,} with half of a surrogate pair (now ?)"
        for reason, count in sorted(self.skipped.items()):
            text += f"; {count:,} skipped: {reason} (first: {self.first[reason]})"
        return text


@dataclass(frozen=True)
class _Reading:
    """A shard and how its rows become documents."""

    shard: Shard
    text_field: str
    id_field: str
    on_bad: str
    keep: Sequence[str]
    where: Sequence[Condition]
    report: Report

    @property
    def fields(self) -> dict[str, pa.DataType]:
        """The fields that are needed of a row, and how they are read."""
        names = (self.id_field, "source", *self.keep, *(one.field for one in self.where))
        return dict.fromkeys(names, pa.string()) | {self.text_field: pa.large_string()}

    def refuse(self, message: str, number: int) -> None:
        self.report.refuse(message, f"{self.shard.name}:{number}", self.on_bad)


def read(
    shard: Shard,
    text_field: str = "text",
    id_field: str = "id",
    on_bad: str = "error",
    *,
    keep: Sequence[str] = (),
    where: Sequence[Condition] = (),
    wanted: np.ndarray | None = None,
    report: Report | None = None,
) -> Iterator[Numbered]:
    """Yield (row numbers, table of `SCHEMA` and the fields `keep`) over a shard's documents.

    A row's number is that of its line, or of its row in a parquet file, from 1 on. A document
    without an id gets one from its file and row. Fields in `keep` come as text (`where.as_text`).

    Args:
        shard: what to read.
        text_field: the field with the text.
        id_field: the field with the id.
        on_bad: `error` stops at a row that is no document, `skip` counts it in `report`: no JSON
            object in UTF-8, or without a text. Half of a surrogate pair in a text becomes `?`,
            which is counted.
        keep: further fields.
        where: conditions; rows that do not meet them are left out and may be bad.
        wanted: only these rows, in ascending order; None for all.
        report: filled while the tables pass.

    Raises:
        Damaged: the shard cannot be read to its end, whatever `on_bad` says.
        BadRow: a bad row, named by file and number, with `on_bad="error"`.
        FileNotFoundError: the file went away.
    """
    if on_bad not in ("error", "skip"):
        raise ValueError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
    reading = _Reading(
        shard, text_field, id_field, on_bad, keep, where, Report() if report is None else report
    )
    readers = {"jsonl": _read_lines, "parquet": _read_parquet, "hub": _read_hub}
    for numbers, table in readers[shard.kind](reading, wanted):
        numbers, table = _documents(reading, numbers, table)
        if len(numbers):
            yield numbers, table


def documents_in(shard: Shard, seen: int) -> float:
    """About how many documents a shard holds, when `seen` were read from its front."""
    if shard.kind == "parquet":
        about = pq.read_metadata(shard.name)
        last = shard.last or about.num_row_groups
        return float(sum(about.row_group(g).num_rows for g in range(shard.first, last)))
    if shard.kind == "hub":
        return float(seen)
    consumed = [0]
    lines = next(records.line_blocks(shard.name, TABLE_BYTES, consumed), b"").split(b"\n")
    number = sum(1 for line in lines if line and not line.isspace())
    return number * max(1.0, shard.size / max(1, consumed[0]))


# --- rows -------------------------------------------------------------------------------------


def _read_lines(reading: _Reading, wanted: np.ndarray | None) -> Iterator[Numbered]:
    """Rows of JSON lines, as text."""
    before = 0
    try:
        for block in records.line_blocks(reading.shard.name, TABLE_BYTES):
            ends = _line_ends(block)
            numbers = np.arange(before + 1, before + len(ends) + 1)
            before += len(ends)
            if wanted is not None:
                numbers = wanted[slice(*np.searchsorted(wanted, [numbers[0], before + 1]))]
                block, ends = _chosen(block, ends, numbers - before - 1 + len(ends))
            if len(numbers):
                table = _parse_together(reading, block, ends)
                if table is None:
                    yield from _parse_each(reading, block, numbers)
                else:
                    yield numbers, table
            if wanted is not None and (not len(wanted) or before >= wanted[-1]):
                return
    except Damaged as error:
        raise Damaged(f"{reading.shard.name}: {error}, after line {before}; get it again") from None


def _line_ends(block: bytes) -> np.ndarray:
    """Where the lines of a block end, int64 (lines,)."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    return ends if block.endswith(b"\n") else np.append(ends, len(block))


def _chosen(block: bytes, ends: np.ndarray, which: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Some lines of a block as a block of their own."""
    begins = np.append(0, ends[:-1] + 1)
    lines = b"".join(block[begins[i] : ends[i]] + b"\n" for i in which)
    return lines, _line_ends(lines)


def _parse_together(reading: _Reading, block: bytes, ends: np.ndarray) -> pa.Table | None:
    """The rows of a block of which each line is one object; None where that is not certain.

    Arrow takes objects as they come, several on a line or one over several lines. When every
    line begins with { and ends with }, each line end stands between two objects (nowhere else
    may } be followed by {), so as many objects as lines mean one a line.
    """
    data = np.frombuffer(block, np.uint8)
    last = ends - 1 - (data[ends - 1] == ord("\r"))
    first = np.append(0, ends[:-1] + 1)
    if not ((data[first] == ord("{")).all() and (data[last] == ord("}")).all()):
        return None
    schema = pa.schema(reading.fields)
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    one_block = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        table = pj.read_json(pa.BufferReader(block), one_block, options).combine_chunks()
        table.validate(full=True)  # UTF-8
    except pa.ArrowException:
        return None  # not text where text is wanted, or not JSON: a closer look
    return table if len(table) == len(ends) and b"\0" not in block else None


def _parse_each(reading: _Reading, block: bytes, numbers: np.ndarray) -> Iterator[Numbered]:
    """The rows of a block, line by line; bad ones are refused, blank lines left out."""
    kept, rows = [], []
    for number, line in zip(numbers, block.split(b"\n"), strict=False):
        if not line or line.isspace():
            continue
        try:
            rows.append(_parse(reading, line))
            kept.append(number)
        except BadRow as error:
            if reading.on_bad == "error":  # those before it first: perhaps no more are needed
                yield _rows(reading, kept, rows)
            reading.report.rows += 1
            reading.refuse(str(error), number)
    yield _rows(reading, kept, rows)


def _rows(reading: _Reading, numbers: list[int], rows: list[dict[str, Any]]) -> Numbered:
    made = {}
    for name, kind in reading.fields.items():
        values = [row.get(name) for row in rows]
        if name != reading.text_field:
            values = [None if value is None else as_text(value) for value in values]
        made[name] = _array(reading, values, kind)
    return np.array(numbers, dtype=np.int64), pa.table(made)


def _parse(reading: _Reading, line: bytes) -> dict[str, Any]:
    """The object on a line, as Python reads it; what only Arrow can read, as Arrow does.

    Every line that `_parse_together` takes among others is taken alone.
    """
    try:
        row = orjson.loads(line)
        exact = isinstance(row, dict) and float not in map(type, row.values())
    except orjson.JSONDecodeError:
        exact = False
    if not exact:  # NaN, lone surrogates, and whole numbers that orjson makes inexact
        try:
            row = records.parse_row(line, "")
        except BadRow as error:
            table = _parse_together(reading, line, np.array([len(line)]))
            if table is None:
                raise BadRow(str(error).removeprefix(": ")) from None
            row = table.to_pylist()[0]
    text = row.get(reading.text_field)
    if text is not None and not isinstance(text, str):
        if matches(row, reading.where):
            raise BadRow(NOT_TEXT.format(reading.text_field, type(text).__name__))
        row[reading.text_field] = None  # left out by the conditions
    return row


def _array(reading: _Reading, values: list[str | None], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # half of a surrogate pair
        sound = [value and valid_text(value) for value in values]
        reading.report.repaired += sum(a != b for a, b in zip(values, sound, strict=True))
        return pa.array(sound, kind)


def _read_parquet(reading: _Reading, wanted: np.ndarray | None) -> Iterator[Numbered]:
    shard = reading.shard
    with records.open_parquet(shard.name) as file:
        start = 1 + sum(file.metadata.row_group(g).num_rows for g in range(shard.first))
        _check_field(reading, file.schema_arrow.names)
        columns = [name for name in reading.fields if name in file.schema_arrow.names]
        for group in range(shard.first, shard.last or file.num_row_groups):
            about = file.metadata.row_group(group)
            if wanted is None or _between(wanted, start, start + about.num_rows).size:
                size = about.num_rows * TABLE_BYTES // max(1, about.total_byte_size)
                at_once = max(1, min(10_000, size))
                batches = file.iter_batches(at_once, row_groups=[group], columns=columns)
                tables = (pa.Table.from_batches([batch]) for batch in batches)
                yield from _numbered(reading, tables, start, wanted)
            start += about.num_rows


def _read_hub(reading: _Reading, wanted: np.ndarray | None) -> Iterator[Numbered]:
    shard = reading.shard
    tables = hub.tables(shard.name, shard.first, shard.last, HUB_ROWS)
    yield from _numbered(reading, tables, 1, wanted)


def _between(wanted: np.ndarray, start: int, stop: int) -> np.ndarray:
    return wanted[slice(*np.searchsorted(wanted, [start, stop]))]


def _numbered(
    reading: _Reading, tables: Iterator[pa.Table], start: int, wanted: np.ndarray | None
) -> Iterator[Numbered]:
    """The wanted rows of Arrow tables, numbered from `start`, their fields as text."""
    for table in tables:
        numbers = np.arange(start, start + len(table))
        start += len(table)
        if wanted is not None:
            chosen = _between(wanted, numbers[0], start) if len(numbers) else numbers
            numbers, table = chosen, table.take(chosen - (start - len(table)))
        if len(numbers):
            yield numbers, _as_text(reading, table)


def _as_text(reading: _Reading, table: pa.Table) -> pa.Table:
    """The fields that are needed, as text; absent ones are null."""
    names = table.column_names
    _check_field(reading, names)
    made = {}
    for name, kind in reading.fields.items():
        column = table[name].combine_chunks() if name in names else pa.nulls(len(table), kind)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            if name == reading.text_field and not pa.types.is_null(column.type):
                raise Damaged(
                    f"{reading.shard.name}: the field {name!r} holds {column.type}, not text"
                )
            values = (None if v is None else as_text(v) for v in column.to_pylist())
            column = pa.array(values, kind)
        made[name] = column.cast(kind)
    return pa.table(made)


def _check_field(reading: _Reading, names: Sequence[str]) -> None:
    if reading.text_field not in names:
        known = ", ".join(sorted(names)[:10])
        raise Damaged(f"{reading.shard.name}: no field {reading.text_field!r} (fields: {known})")


# --- documents --------------------------------------------------------------------------------


def _documents(reading: _Reading, numbers: np.ndarray, table: pa.Table) -> Numbered:
    """The documents among rows of text: those that meet the conditions and have a text."""
    reading.report.rows += len(table)
    keep = np.ones(len(table), dtype=bool)
    for one in reading.where:
        column = table[one.field]
        if column.null_count < len(column):
            reading.report.known.add(one.field)
        equal = pc.equal(pc.fill_null(column, ""), one.value).to_numpy()
        keep &= equal != one.negated
    reading.report.left_out += int(len(keep) - keep.sum())
    text = table[reading.text_field]
    blank = pc.or_kleene(pc.utf8_is_space(text), pc.equal(text, ""))
    bad = keep & pc.fill_null(blank, True).to_numpy()
    for row in np.flatnonzero(bad):
        absent = text[int(row)].as_py() is None
        problem = f"field {reading.text_field!r} is empty or only whitespace"
        message = f"no text field {reading.text_field!r} (absent or null)" if absent else problem
        reading.refuse(message, int(numbers[row]))
    keep &= ~bad
    if not keep.all():
        numbers, table = numbers[keep], table.filter(pa.array(keep))
    ids, sources, title = table[reading.id_field], table["source"], reading.shard.title
    if ids.null_count or pc.any(pc.equal(ids, "")).as_py():
        piece = f"-{reading.shard.first}" if reading.shard.kind == "hub" else ""
        given = zip(ids.to_pylist(), numbers, strict=True)
        ids = pa.array([one or f"{title}{piece}:{number}" for one, number in given], pa.string())
    sources = pc.if_else(pc.equal(pc.fill_null(sources, ""), ""), title, sources)
    documents = pa.table([ids, sources, table[reading.text_field]], SCHEMA)
    for name in reading.keep:
        documents = documents.append_column(name, table[name])
    return numbers, documents
