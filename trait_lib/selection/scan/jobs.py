"""A job, its items and its parts: what is to be done shard by shard, and where it goes.

A job names a task, its settings and its items. The task turns one item into one parquet file
(a *part*), written in one move. A part's name holds a hash of task, settings and item, so a part
that stands is right and is never made again: after `kill -9`, a full disk or a lost node the same
command goes on where it stopped. Parts do not depend on who made them, so every engine gives the
same bytes. Not stated in the paper; ours because scoring a web corpus takes days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib import code, records
from trait_lib.run import hash_value

NOTES = b"notes"  # key of the notes in a part's metadata
WORKER = "trait_lib.selection.scan.worker"  # runs a job's tasks, also as a program

Progress = Callable[[int, int], None]
"""Told of documents and bytes of text that are done since the last call."""
Task = Callable[[Mapping[str, Any], "Part", Progress], None]
"""Turns an item into rows of its part."""


class SetAside(Exception):
    """This item cannot be done, whoever tries; the message says why."""


class TooManyBad(RuntimeError):
    """More shards are damaged than `max_bad_shards` allows."""


@dataclass(frozen=True)
class Job:
    """What is to be done; see `write_job`."""

    file: Path
    task: str
    settings: dict[str, Any]
    items: list[dict[str, Any]]

    def part(self, number: int) -> Path:
        """The file of item `number`."""
        key = hash_value([self.task, self.settings, self.items[number]["key"]])
        return self.file.parent / f"{self.file.stem}-{key[:24]}.parquet"


def write_job(
    folder: Path, name: str, task: str, settings: Mapping[str, Any], items: Sequence[Mapping]
) -> Job:
    """Write a job's file, from which workers on other machines read it.

    Args:
        folder: where the job and its parts go, the stage's scratch; all workers must see it.
        name: of the job.
        task: a name in `passes.TASKS`.
        settings: JSON; everything that decides the result, files by name and hash. The hash of
            the code joins them, so that no part of another version is taken for new.
        items: each with `key` (JSON, decides its result), whatever else the task needs, and
            `label` and `size` (bytes on the disk) for messages.
    """
    file = Path(folder) / f"{name}.json"
    decides = {**settings, "code": code.hash_of(WORKER)[:16]}
    content = {"task": task, "settings": decides, "items": [dict(item) for item in items]}
    records.write_json(file, content)
    return read_job(file)


def read_job(file: str | Path) -> Job:
    """Read what `write_job` wrote."""
    content = records.read_json(file)
    return Job(Path(file), content["task"], content["settings"], content["items"])


class Part:
    """The rows of one item, written batch by batch; readable only when all are there."""

    def __init__(self, path: Path) -> None:
        self.path, self.notes, self._writer = path, {}, None

    def write(self, table: pa.Table) -> None:
        """Append rows; all tables of a part have the same columns."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file. A part without rows holds its notes alone."""
        if self._writer is None:
            self.write(pa.table({}))
        self._writer.add_key_value_metadata({NOTES: json.dumps(self.notes, sort_keys=True)})
        self._writer.close()


def notes(part: Path) -> dict[str, Any]:
    """The notes of a part and its number of `rows`."""
    about = pq.read_metadata(part)
    return {"rows": about.num_rows, **json.loads((about.metadata or {}).get(NOTES, b"{}"))}


@dataclass(frozen=True)
class Engine:
    """Who does the work."""

    name: str = "local"
    workers: int = 1
    ray_address: str = ""
    max_bad: float = 0.05


@dataclass(frozen=True)
class Done:
    """A finished job: the parts of the items that could be done, in their order."""

    job: Job
    numbers: list[int]  # of the items that have a part
    parts: list[Path]
    set_aside: list[dict[str, Any]]  # label and reason of the others
    seconds: float = 0.0  # of work in this run
    size: int = 0  # bytes on the disk of the items that were worked on in this run
