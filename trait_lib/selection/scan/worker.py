"""A worker: does items of a job in the order in which it is told to, here or on another machine.

python -m trait_lib.selection.scan.worker JOB.json --worker 3/16  # the fourth of sixteen
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trait_lib import records
from trait_lib.selection.scan import jobs, passes

PROGRESS_SECONDS = 0.3
ABOUT = "Do a share of a job's shards. Parts that stand are passed over."


class Worker:
    """Does items of a job; makes the task once."""

    def __init__(self, file: str | Path) -> None:
        self.job = jobs.read_job(file)
        self._task: jobs.Task | None = None

    def do(self, number: int, progress: jobs.Progress = lambda documents, size: None) -> str:
        """Make the part of an item unless it stands; return why the item is set aside, or ""."""
        path = self.job.part(number)
        if path.exists():
            return ""
        if self._task is None:
            settings = {k: v for k, v in self.job.settings.items() if k not in ("code", "gpu")}
            self._task = passes.TASKS[self.job.task](**settings)
        try:
            with records.atomic_path(path) as temporary:
                part = jobs.Part(temporary)
                self._task(self.job.items[number], part, progress)
                part.close()
        except jobs.SetAside as reason:
            return str(reason)
        return ""


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
        try:
            say({"number": number, "reason": worker.do(number, progress)})
        except records.BadRow as error:
            say({"refused": str(error)})


def take_turns(file: str, which: int, of: int) -> None:
    """Do every `of`-th item, beginning with item `which`: what a job array runs."""
    worker = Worker(file)
    mine = range(which, len(worker.job.items), of)
    for number in tqdm(mine, desc=f"worker {which}/{of}", unit=" shards", disable=None):
        if reason := worker.do(number):
            print(f"set aside: {worker.job.items[number].get('label', number)}: {reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m trait_lib.selection.scan.worker", description=ABOUT)
    parser.add_argument("job", help="the job's file, in the stage's scratch folder")
    parser.add_argument("--worker", default="0/1", help="I/N: the share of this worker, from 0/N")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        return serve(given.job)
    which, _, of = given.worker.partition("/")
    if not (which.isdigit() and of.isdigit() and int(which) < int(of)):
        parser.error(f"--worker must be I/N with 0 <= I < N, got {given.worker!r}")
    return take_turns(given.job, int(which), int(of))


if __name__ == "__main__":
    main()
