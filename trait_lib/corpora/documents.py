"""Documents from files or from the Hub, with every bad line named or counted.

Not stated in the paper; ours because a corpus of millions of lines always holds bad ones, and
a line dropped in silence cannot be told from a line that was never there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trait_lib import ROOT, hub, records
from trait_lib.corpora.where import Condition, matches, parse
from trait_lib.records import BadRow, Row

LONG = ("keep", "cut", "split")


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
    skipped: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def skip(self, reason: str, where: str) -> None:
        """Count a bad row; the first of each reason is kept by its place."""
        self.skipped[reason] += 1
        self.first.setdefault(reason, where)

    def __str__(self) -> str:
        """One sentence for the reader of a notebook."""
        text = f"{self.rows:,} rows read, {self.documents:,} documents kept"
        if self.left_out:
            text += f", {self.left_out:,} left out by the conditions"
        if self.shortened:
            text += f", {self.shortened:,} longer ones cut or split"
        for reason, count in sorted(self.skipped.items()):
            text += f"; {count:,} skipped: {reason} (first: {self.first[reason]})"
        return text


def resolve(source: str | Path, data_dir: str | Path = "") -> str | Path:
    """A source as a Hub address (unchanged) or as an absolute path.

    A relative path starts at `data_dir`, and a relative `data_dir` at the repository's top
    folder, never at the working directory: papermill and JupyterLab disagree about that one.
    """
    if str(source).startswith(hub.PREFIX):
        return str(source)
    base = ROOT / Path(data_dir).expanduser()
    return (base / Path(source).expanduser()).resolve()


def read_source(source: str | Path, on_bad: str, report: Report) -> Iterator[tuple[int, Row]]:
    """Yield (line or row number from 1, row) of a file or Hub data set.

    Bad lines raise, or are counted in `report` with `on_bad="skip"`; a damaged file always raises.

    Raises:
        BadRow: a bad line, a damaged file, or an unknown kind of file; named.
        FileNotFoundError: there is no such file.
    """
    if str(source).startswith(hub.PREFIX):
        yield from enumerate(hub.read(str(source)), start=1)
        return
    path = Path(source)
    if not path.name.endswith(records.SUFFIXES):
        raise BadRow(f"{path}: unknown kind of file; known: {', '.join(records.SUFFIXES)}")
    if path.name.endswith(".parquet"):
        yield from enumerate(records.read_rows(path), start=1)
        return
    for number, line in records.read_lines(path):
        place = f"{path}:{number}"
        try:
            row = records.parse_row(line, place)
        except BadRow as error:
            report.rows += 1
            refuse(error, place, on_bad, report)
            continue
        yield number, row


def refuse(error: BadRow, place: str, on_bad: str, report: Report) -> None:
    """Raise `error`, or count it in the report when bad rows are to be skipped.

    The reason that is counted is the message without the place and without its details.
    """
    if on_bad == "error":
        raise error
    reason = str(error).removeprefix(f"{place}: ").split(" (")[0].split(";")[0]
    report.skip(reason, place)


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

    A file is `.jsonl`, `.jsonl.gz`, `.jsonl.zst`, `.parquet` or a `hub://` source; a relative
    path starts at `data_dir`. Documents above `max_characters` (0: no limit) are kept whole,
    cut, or split at paragraph ends, as `long` says. `limit` stops after that many documents
    (0: all). An absent id is made from file and line; a piece of a split document names that one
    in `whole`. `report` is filled while the rows pass.

    Raises:
        FileNotFoundError: a file is not there (before anything is read).
        BadRow: a bad line, text or id, named by file and line, with `on_bad="error"`.
        EmptyCorpus: nothing is left at the end.
        ValueError: an argument, or a condition on a field that no row has.
    """
    if on_bad not in ("error", "skip"):
        raise ValueError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
    if long not in LONG:
        raise ValueError(f"long must be one of {', '.join(LONG)}, got {long!r}")
    if isinstance(files, str | Path) or not files:
        raise EmptyCorpus(f"files must be a list with at least one file, got {files!r}")
    sources = check_sources(files, data_dir)
    report = Report() if report is None else report
    rows = _selected(sources, parse(where), on_bad, report)
    documents = _documents(rows, text_field, id_field, tuple(keep), on_bad, report)
    pieces = ((at, piece) for at, row in documents for piece in _fit(row, max_characters, long))
    name = ", ".join(map(str, files)) + (f" where {list(where)}" if where else "")
    return _counted(_unique(pieces, on_bad, report), limit, report, name)


def check_sources(files: Sequence[str | Path], data_dir: str | Path) -> list[str | Path]:
    """The sources as `resolve` gives them; raise `FileNotFoundError` when a file is not there."""
    sources = [resolve(source, data_dir) for source in files]
    for source in sources:
        if isinstance(source, Path) and not source.is_file():
            raise FileNotFoundError(f"{source}: no such file; check the path in the parameters")
        if isinstance(source, str):
            hub.parse(source)
    return sources


def _selected(
    sources: list[str | Path], conditions: list[Condition], on_bad: str, report: Report
) -> Iterator[tuple[str, str, Row]]:
    """(place, id to use when there is none, row) of every row that meets the conditions."""
    names = [_name(source) for source in sources]
    never_seen = {condition.field for condition in conditions}
    for position, source in enumerate(sources):
        name = names[position]
        label = name if names.count(name) == 1 else f"{position}-{name}"
        for number, row in read_source(source, on_bad, report):
            report.rows += 1
            never_seen -= row.keys()
            if matches(row, conditions):
                yield f"{source}:{number}", f"{label}:{number}", row
            else:
                report.left_out += 1
    if never_seen and report.rows:
        raise ValueError(f"where: no row has a field {min(never_seen)!r}; check the conditions")


def _name(source: str | Path) -> str:
    """How documents name their source: the file, or the data set on the Hub."""
    return hub.parse(source)[0] if isinstance(source, str) else source.name


def _documents(
    rows: Iterable[tuple[str, str, Row]],
    text_field: str,
    id_field: str,
    keep: tuple[str, ...],
    on_bad: str,
    report: Report,
) -> Iterator[tuple[str, Row]]:
    """(place, document) of every row whose text is a text."""
    for place, made_id, row in rows:
        if problem := _text_problem(row, text_field):
            refuse(BadRow(f"{place}: {problem}"), place, on_bad, report)
            continue
        given = row.get(id_field)
        document = {
            "id": made_id if given in (None, "") else str(given),
            "text": row[text_field],
            "source": str(row.get("source") or made_id.rpartition(":")[0]),
        }
        yield place, document | {name: row.get(name) for name in keep}


def _text_problem(row: Row, text_field: str) -> str | None:
    """What is wrong with the text of a row, in words, or None."""
    text = row.get(text_field)
    if text is None:
        return f"no text field {text_field!r} (fields: {', '.join(sorted(row))})"
    if not isinstance(text, str):
        return f"field {text_field!r} is not text (it is of type {type(text).__name__})"
    if not text.strip():
        return f"field {text_field!r} is empty or only whitespace"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"field {text_field!r} is not Unicode text (half of a surrogate pair)"
    return None


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
            refuse(BadRow(f"{place}: id occurs twice ({identifier!r})"), place, on_bad, report)
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
