"""What there is to read: a corpus as shards, found by files, folders, patterns and Hub addresses.

A shard is a file of rows (`records.KNOWN`), some row groups of a large parquet file, or a piece of
a data set on the Hub. Every file below a folder is read, named as passed over, or refused: none is
ignored in silence.
Not stated in the paper, which scores hundreds of billions of tokens; ours because a corpus of
that size must be read in pieces that can fail and be done again one by one.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib import hub, params, records, run

GROUP_BYTES = 256_000_000  # a larger parquet file is divided at its row groups
COMPANION = re.compile(r"(readme|licen[cs]e|notice|changelog)\b.*|_success|.*\.(md|md5|sha256)")


class NoCorpus(FileNotFoundError):
    """Files that a parameter names hold nothing to read."""


@dataclass(frozen=True)
class Shard:
    """A part of a corpus, small enough to do again."""

    name: str  # the file's path or the Hub address
    kind: str  # jsonl, parquet or hub
    title: str  # how its documents name it, not shared with another file of the corpus
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
        if self.kind == "hub":
            return f"{self.name} piece {self.first + 1} of {self.last}"
        groups = f" row groups {self.first} to {self.last - 1}" if self.last else ""
        return run.show(self.name) + groups


def find(
    sources: Sequence[str | Path], parameter: str = "corpus_files", base: Path | None = None
) -> list[Shard]:
    """The shards of a corpus, in the order of `sources`; files of a folder or pattern by name.

    Args:
        sources: files, folders (searched to any depth, linked folders too), patterns such as
            `data/*.parquet`, or `hub://` addresses. A file that is found twice is read once.
        parameter: that named them, for messages.
        base: where a relative path starts, None: at `params.start`; never in the shell's folder,
            which papermill and JupyterLab do not agree about.

    Raises:
        NoCorpus: nothing found; says where was looked.
        records.Damaged: a file of unknown kind.
    """
    found = places(sources, parameter, base)
    names = Counter(name(place) for place in found)
    shards: list[Shard] = []
    for position, place in enumerate(found):
        title = name(place) if names[name(place)] == 1 else f"{position}-{name(place)}"
        shards += _hub_shards(place, title) if isinstance(place, str) else _of_file(place, title)
    return shards


def places(
    sources: Sequence[str | Path], parameter: str, base: Path | None = None
) -> list[str | Path]:
    """The Hub addresses (text) and files (paths) that `find` makes shards of; see there."""
    if isinstance(sources, str | Path):
        sources = [sources]
    if not sources:
        raise NoCorpus(f"{parameter}: names no file")
    return list(_places(sources, parameter, base or params.start(), Counter()))


def passed_over(sources: Sequence[str | Path], base: Path | None = None) -> Counter[str]:
    """How many files below the folders of `sources` `find` does not read, by the reason."""
    counted: Counter[str] = Counter()
    list(_places(sources, "", base or params.start(), counted))
    return counted


def name(place: str | Path) -> str:
    """How a file or a data set on the Hub is named where its folder does not matter."""
    return hub.parse(place)[0] if isinstance(place, str) else place.name


def _places(
    sources: Sequence[str | Path], parameter: str, base: Path, passed: Counter[str]
) -> Iterator[str | Path]:
    """Every Hub address and every file once; files that are not read are counted in `passed`."""
    seen: set[str] = set()
    for source in sources:
        if str(source).startswith(hub.PREFIX):
            hub.parse(str(source))
            yield str(source)
            continue
        for file in _files(source, parameter, base, passed):
            records.kind(file)  # refuses what is unknown
            real = os.path.realpath(file)
            if real in seen:
                passed["the same file again, by a link or another name"] += 1
            else:
                seen.add(real)
                yield file


def _files(source: str | Path, parameter: str, base: Path, passed: Counter[str]) -> list[Path]:
    # not resolved: a link's name tells the kind of its file, the name behind it may not
    path = Path(os.path.abspath(base / Path(source).expanduser()))
    if path.is_dir():
        files = sorted(_below(path, passed))
    elif path.exists():
        files = [path]
    else:
        files = list(_matching(path, passed))
    if lost := next((file for file in files if not file.exists()), None):
        raise NoCorpus(f"{parameter}: {lost} is a link to nothing; mend or remove it")
    if not files:
        raise NoCorpus(
            f"{parameter}: {str(source)!r} is no file, folder or pattern with files to read "
            f"({records.KNOWN}) in {path.parent}; relative paths start in {base}. Please check "
            "the path in the parameters"
        )
    return files


def _matching(pattern: Path, passed: Counter[str]) -> Iterator[Path]:
    """The files that a pattern matches, and those below the folders that it matches."""
    matched = [Path(found) for found in sorted(glob.glob(str(pattern), recursive=True))]
    entered = {place for place in matched if place.is_dir()}
    for place in matched:
        if not entered.isdisjoint(place.parents):
            continue  # found below that folder
        yield from sorted(_below(place, passed)) if place in entered else [place]


def _below(folder: Path, passed: Counter[str]) -> Iterator[Path]:
    """The files below a folder, linked folders included; hidden ones and companions counted.

    Raises:
        records.Damaged: a file of unknown kind.
    """
    entered: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # a link to a folder above it, or a second link
            folders.clear()
            continue
        entered.add(real)
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = sorted(set(folders) - set(hidden))
        passed["in hidden folders"] += sum(_files_in(Path(place, name)) for name in hidden)
        for name in names:
            if name.startswith("."):
                passed["hidden"] += 1
            elif COMPANION.fullmatch(name.lower()):
                passed["about the data, such as README.md"] += 1
            else:
                yield Path(place, name)


def _files_in(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def _of_file(path: Path, title: str) -> list[Shard]:
    about = path.stat()
    whole = Shard(
        str(path), records.kind(path), title, size=about.st_size, version=str(about.st_mtime_ns)
    )
    if whole.kind != "parquet" or whole.size <= GROUP_BYTES:
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
            part = Shard(whole.name, "parquet", whole.title, first, group + 1, size, whole.version)
            shards.append(part)
            first, size = group + 1, 0
    return shards


def _hub_shards(source: str, title: str) -> list[Shard]:
    number, version = hub.pieces(source)
    return [Shard(source, "hub", title, i, number, 0, version) for i in range(number)]
