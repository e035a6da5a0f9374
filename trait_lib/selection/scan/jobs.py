"""Do a job shard by shard, each into a file of its own: here, in processes, on Ray or SLURM.

    python -m trait_lib.selection.scan.jobs JOB.json --worker 3/16  # the fourth of sixteen workers

A job names a task, its settings and its items. The task turns one item into one parquet file
(a *part*), written in one move. A part's name holds a hash of task, settings and item, so a part
that stands is right and is never made again: after `kill -9`, a full disk or a lost node the same
command goes on where it stopped. Parts do not depend on who made them, so every engine gives the
same bytes. Not stated in the paper; ours because scoring a web corpus takes days.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from trait_lib import ROOT, records
from trait_lib.run import hash_value

ENGINES = ("local", "ray")
NOTES = b"notes"  # key of the notes in a part's metadata
PROGRESS_SECONDS = 0.3
OUTSIDE = ("charts", "report", "estimate", "on_ray")  # modules that decide no part's content

Progress = Callable[[int, int], None]
"""Told of documents and bytes of text that are done since the last call."""
Task = Callable[[Mapping[str, Any], "Part", Progress], None]
"""Turns an item into rows of its part."""


class SetAside(Exception):
    """This item cannot be done, whoever tries; the message says why."""


class TooManyBad(RuntimeError):
    """More shards are damaged than `max_bad_shards` allows."""


# --- a job and its parts ----------------------------------------------------------------------


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
        return self.file.parent / f".{self.file.stem.strip('.')}-{key[:24]}.parquet"


def write_job(
    folder: Path, name: str, task: str, settings: Mapping[str, Any], items: Sequence[Mapping]
) -> Job:
    """Write a job's file, from which workers on other machines read it.

    Args:
        folder: where the job and its parts go; all workers must see it. Their names begin with a
            dot, so they do not count as results of the stage.
        name: of the job.
        task: `module:function`; called with the settings it gives a `Task`.
        settings: JSON; everything that decides the result, files by name and hash.
        items: each with `key` (JSON, decides its result), whatever else the task needs, and
            `label` and `size` (bytes on the disk) for messages.
    """
    file = Path(folder) / f".{name}.json"
    content = {"task": task, "settings": {**settings, "code": code_hash()}}
    content["items"] = [dict(item) for item in items]
    records.write_json(file, content)
    return read_job(file)


@cache
def code_hash() -> str:
    """Changes with the code of this room, so that no part of another version is taken for new."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hash_value([f.read_text(encoding="utf-8") for f in files if f.stem not in OUTSIDE])[:16]


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


class Worker:
    """Does items of a job; loads the task once."""

    def __init__(self, file: str | Path) -> None:
        self.job = read_job(file)
        self._task: Task | None = None

    def do(self, number: int, progress: Progress = lambda documents, size: None) -> str:
        """Make the part of an item unless it stands; return why the item is set aside, or ""."""
        path = self.job.part(number)
        if path.exists():
            return ""
        if self._task is None:
            settings = {k: v for k, v in self.job.settings.items() if k not in ("code", "gpu")}
            self._task = load(self.job.task)(**settings)
        try:
            with records.atomic_path(path) as temporary:
                part = Part(temporary)
                self._task(self.job.items[number], part, progress)
                part.close()
        except SetAside as reason:
            return str(reason)
        return ""


def load(name: str) -> Callable[..., Any]:
    """The function `module:function`."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


# --- engines ----------------------------------------------------------------------------------


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


def run(job: Job, engine: Engine, title: str = "") -> Done:
    """Do what is missing of a job.

    Raises:
        TooManyBad: more than the share `max_bad` of all items are set aside.
        RuntimeError: a worker failed for another reason; parts so far are kept.
    """
    missing = [i for i in range(len(job.items)) if not job.part(i).exists()]
    started = time.perf_counter()
    reasons: dict[int, str] = {}
    sizes = [item.get("size", 0) for item in job.items]
    with _bar(title or job.file.stem, missing, sizes) as bar:
        for number, reason in _work(job, engine, missing, bar.told):
            bar.finished(number)
            if reason:
                reasons[number] = reason
                bar.write(f"set aside: {job.items[number].get('label', number)}: {reason}")
                _check_bad(job, reasons, engine.max_bad)
    numbers = [i for i in range(len(job.items)) if i not in reasons]
    bad = [{"shard": job.items[i].get("label", i), "reason": reasons[i]} for i in sorted(reasons)]
    parts = [job.part(i) for i in numbers]
    seconds = time.perf_counter() - started
    return Done(job, numbers, parts, bad, seconds, sum(sizes[i] for i in missing))


def _check_bad(job: Job, reasons: Mapping[int, str], most: float) -> None:
    if len(reasons) > most * len(job.items):
        first = min(reasons)
        raise TooManyBad(
            f"{len(reasons)} of {len(job.items)} shards cannot be read, max_bad_shards allows the "
            f"share {most}; the first: {job.items[first].get('label', first)}: {reasons[first]}"
        )


def _work(
    job: Job, engine: Engine, missing: list[int], progress: Progress
) -> Iterator[tuple[int, str]]:
    """(item, why it is set aside or "") as they are finished."""
    if engine.name == "ray" and missing:
        from trait_lib.selection.scan import on_ray  # an extra that not everyone installs

        yield from on_ray.work(job, engine, missing)
    elif engine.workers > 1 and len(missing) > 1:
        yield from _in_processes(job, min(engine.workers, len(missing)), missing, progress)
    else:
        worker = Worker(job.file)
        for number in missing:
            yield number, worker.do(number, progress)


def _in_processes(
    job: Job, workers: int, missing: list[int], progress: Progress
) -> Iterator[tuple[int, str]]:
    """Hand items to processes of this module, largest first; each takes the next when it is done.

    A process ends when its input does, so none outlives this one, however that ends.
    """
    waiting = sorted(missing, key=lambda i: (-job.items[i].get("size", 0), i))
    command = [sys.executable, "-m", "trait_lib.selection.scan.jobs", str(job.file), "--serve"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])}
    processes = [
        subprocess.Popen(command, stdin=-1, stdout=-1, env=environment) for _ in range(workers)
    ]
    said: Queue[tuple[subprocess.Popen, bytes]] = Queue()
    try:
        for process in processes:
            Thread(target=_listen, args=(process, said), daemon=True).start()
            _hand(process, waiting)
        running = len(processes)
        while running:
            process, line = said.get()
            if not line:
                running -= 1
                _check_ended(process, job)
            elif "number" in (answer := json.loads(line)):
                _hand(process, waiting)
                yield answer["number"], answer["reason"]
            else:
                progress(answer["documents"], answer["bytes"])
    finally:
        for process in processes:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def _listen(process: subprocess.Popen, said: Queue) -> None:
    """Pass on what a process says, and an empty line when it has ended."""
    for line in process.stdout:
        said.put((process, line))
    said.put((process, b""))


def _check_ended(process: subprocess.Popen, job: Job) -> None:
    if process.wait():
        raise RuntimeError(
            f"a worker of {job.file.name} ended with status {process.returncode}; its message "
            "stands above. What is done is kept: run again to go on"
        )


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _hand(process: subprocess.Popen, waiting: list[int]) -> None:
    """Give a process its next item, or close its input."""
    with contextlib.suppress(BrokenPipeError):  # it has failed, and its output says so
        if waiting:
            process.stdin.write(b"%d\n" % waiting.pop(0))
            process.stdin.flush()
        else:
            process.stdin.close()


# --- progress ---------------------------------------------------------------------------------


class _Bar(tqdm):
    """A bar over bytes on the disk, with documents and megabytes of text a second."""

    def prepare(self, sizes: Sequence[int]) -> None:
        self.sizes, self.documents, self.text = sizes, 0, 0

    def told(self, documents: int, size: int) -> None:
        self.documents, self.text = self.documents + documents, self.text + size
        seconds = max(1e-9, time.time() - self.start_t) if not self.disable else 1.0
        rate = f"{self.documents / seconds:,.0f} docs/s, {self.text / seconds / 1e6:,.1f} MB/s"
        self.set_postfix_str(rate, refresh=False)
        self.update(0)

    def finished(self, number: int) -> None:
        self.update(self.sizes[number])


@contextlib.contextmanager
def _bar(title: str, missing: Sequence[int], sizes: Sequence[int]) -> Iterator[_Bar]:
    total = sum(sizes[i] for i in missing)
    shape = {"unit": "B", "unit_scale": True, "mininterval": 0.5, "disable": None}
    if not total:  # sizes are not known on the Hub: shards are counted
        sizes, total, shape["unit"] = [1] * len(sizes), len(missing), " shards"
    with _Bar(total=total, desc=title, **shape) as bar:
        bar.prepare(sizes)
        yield bar


# --- the command ------------------------------------------------------------------------------


def serve(file: str) -> None:
    """Do the items whose numbers come on standard input; say on standard output what is done."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    worker = Worker(file)
    told = {"documents": 0, "bytes": 0}
    last = 0.0

    def say(value: Mapping[str, Any]) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    def progress(documents: int, size: int) -> None:
        nonlocal last
        told["documents"] += documents
        told["bytes"] += size
        if time.monotonic() > last + PROGRESS_SECONDS:
            last = time.monotonic()
            say(told)
            told.update(documents=0, bytes=0)

    for line in sys.stdin:
        number = int(line)
        say({"number": number, "reason": worker.do(number, progress)})


def take_turns(file: str, which: int, of: int) -> None:
    """Do every `of`-th item, beginning with item `which`: what a job array runs."""
    worker = Worker(file)
    mine = range(which, len(worker.job.items), of)
    for number in tqdm(mine, desc=f"worker {which}/{of}", unit=" shards", disable=None):
        if reason := worker.do(number):
            print(f"set aside: {worker.job.items[number].get('label', number)}: {reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m trait_lib.selection.scan.jobs", description=run_as)
    parser.add_argument("job", help="the job's file, .JOB.json in the stage's folder")
    parser.add_argument("--worker", default="0/1", help="I/N: the share of this worker, from 0/N")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        return serve(given.job)
    which, _, of = given.worker.partition("/")
    if not (which.isdigit() and of.isdigit() and int(which) < int(of)):
        parser.error(f"--worker must be I/N with 0 <= I < N, got {given.worker!r}")
    return take_turns(given.job, int(which), int(of))


run_as = "Do a share of a job's shards. Parts that stand are passed over."

if __name__ == "__main__":
    # the module under its own name, so that there is one `SetAside` and not two
    load("trait_lib.selection.scan.jobs:main")()
