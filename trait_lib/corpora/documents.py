"""Documents from files or from the Hub, with every bad line named or counted.

Not stated in the paper; ours because a corpus of millions of lines always holds bad ones, and
a line dropped in silence cannot be told from a line that was never there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trait_lib import hub, params, records
from trait_lib.reading import shards, tables
from trait_lib.reading.tables import EmptyCorpus, Report
from trait_lib.reading.where import parse
from trait_lib.records import BadRow, Row

LONG = ("keep", "cut", "split")


def base(data_dir: str | Path) -> Path:
    """Where relative paths start: at `data_dir`, itself found by `params.locate`.

    Never at the working directory: papermill and JupyterLab disagree about that one.
    """
    return params.locate(data_dir) if str(data_dir) else params.start()


def read_source(source: str | Path, on_bad: str, report: Report) -> Iterator[tuple[int, Row]]:
    """Yield (line or row number from 1, row with all its fields) of a file or Hub data set.

    Bad lines raise, or are counted in `report` with `on_bad="skip"`.

    Raises:
        BadRow: a bad line, named.
        Damaged: a file that cannot be read to its end, whatever `on_bad` says.
    """
    if isinstance(source, str):
        yield from enumerate(hub.read(source), start=1)
    elif records.kind(source) == "parquet":
        yield from enumerate(records.read_rows(source), start=1)
    else:
        for number, line in records.read_lines(source):
            try:
                row = records.parse_row(line, "")
            except BadRow as error:
                report.rows += 1
                report.refuse(str(error).removeprefix(": "), f"{source}:{number}", on_bad)
                continue
            yield number, row


def load_documents(
    files: Sequence[str | Path],
    text_field: str = "text",
    where: Sequence[str] = (),
    on_bad: str = "error",
    *,
    id_field: str = "id",
    keep: Sequence[str] = (),
    data_dir: str | Path = "",
    max_characters: int = 0,
    long: str = "split",
    limit: int = 0,
    report: Report | None = None,
) -> Iterator[Row]:
    """Stream the documents of `files` as rows {"id", "text", "source"} plus the fields in `keep`.

    Files, folders, patterns and `hub://` sources are those of `shards.find`; a relative path
    starts at `data_dir`. Documents above `max_characters` (0: no limit) are kept whole, cut, or
    split at paragraph ends, as `long` says. `limit` stops after that many documents (0: all). An
    absent id is made from file and line; a piece of a split document names that one in `whole`.
    Fields in `keep` come as text. `report` is filled while the rows pass.

    Raises:
        NoCorpus: a file is not there (before anything is read).
        BadRow: a bad line, text or id, named by file and line, with `on_bad="error"`.
        Damaged: a file that cannot be read to its end, or is of an unknown kind.
        EmptyCorpus: nothing is left at the end.
        ValueError: an argument, or a condition on a field that no row has.
    """
    if on_bad not in ("error", "skip"):
        raise ValueError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
    if long not in LONG:
        raise ValueError(f"long must be one of {', '.join(LONG)}, got {long!r}")
    if isinstance(files, str | Path) or not files:
        raise EmptyCorpus(f"files must be a list with at least one file, got {files!r}")
    report = Report() if report is None else report
    reading = {"text_field": text_field, "id_field": id_field, "on_bad": on_bad, "keep": keep}
    reading |= {"where": parse(where), "report": report}
    documents = _documents(shards.find(files, "files", base(data_dir)), reading)
    pieces = ((at, piece) for at, row in documents for piece in _fit(row, max_characters, long))
    name = ", ".join(map(str, files)) + (f" where {list(where)}" if where else "")
    return _counted(_unique(pieces, on_bad, report), limit, report, name)


def _documents(corpus: Iterable[shards.Shard], reading: dict) -> Iterator[tuple[str, Row]]:
    """(place, document) of every row that is one and meets the conditions."""
    for shard in corpus:
        for numbers, table in tables.read(shard, **reading):
            for number, row in zip(numbers, table.to_pylist(), strict=True):
                yield f"{shard.name}:{number}", row
    report, fields = reading["report"], {condition.field for condition in reading["where"]}
    if report.rows and (unknown := fields - report.known):
        raise ValueError(f"where: no row has a field {min(unknown)!r}; check the conditions")


def _fit(document: Row, max_characters: int, long: str) -> Iterator[Row]:
    """The document itself, or its parts of at most `max_characters` characters."""
    text = document["text"]
    if not max_characters or long == "keep" or len(text) <= max_characters:
        yield document
        return
    pieces = split_text(text, max_characters)
    if long == "cut":
        yield document | {"text": pieces[0], "shortened": True}
        return
    for number, piece in enumerate(pieces):
        identifier = f"{document['id']}~{number}"
        whole = document["id"]
        yield document | {"id": identifier, "text": piece, "whole": whole, "shortened": not number}


def split_text(text: str, max_characters: int) -> list[str]:
    """Cut a text into pieces of at most `max_characters`, best at a paragraph, else at a space."""
    pieces = []
    rest = text.strip()
    while len(rest) > max_characters:
        window = rest[: max_characters + 1]
        ends = (window.rfind(mark) for mark in ("\n\n", "\n", " "))
        end = next((end for end in ends if end > max_characters // 2), max_characters)
        pieces.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [piece for piece in [*pieces, rest] if piece]


def _unique(pieces: Iterable[tuple[str, Row]], on_bad: str, report: Report) -> Iterator[Row]:
    """The documents whose id was not there before."""
    seen: set[str] = set()
    for place, document in pieces:
        identifier = document["id"]
        if identifier in seen:
            report.refuse(f"id occurs twice ({identifier!r})", place, on_bad)
            continue
        seen.add(identifier)
        yield document


def _counted(rows: Iterable[Row], limit: int, report: Report, name: str) -> Iterator[Row]:
    """Pass the documents on, counted, up to `limit`; raise when there was none."""
    for row in rows:
        report.documents += 1
        report.shortened += row.pop("shortened", False)
        report.characters += len(row["text"])
        yield row
        if report.documents == limit:
            return
    if not report.documents:
        raise EmptyCorpus(f"{name}: no document left; {report}")
