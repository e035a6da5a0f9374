"""Who does a job: this process, several, or Ray; what is missing of it, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from queue import Queue
from threading import Thread

from tqdm import tqdm

from trait_lib import ROOT, records
from trait_lib.selection.scan.jobs import WORKER, Done, Engine, Job, Progress, TooManyBad
from trait_lib.selection.scan.worker import Worker


def run(job: Job, engine: Engine, title: str = "") -> Done:
    """Do what is missing of a job.

    Raises:
        TooManyBad: more than the share `max_bad` of all items are set aside.
        records.BadRow: a row that the task does not take, with `on_bad: error`; names it.
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
    command = [sys.executable, "-m", WORKER, str(job.file), "--serve"]
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
            elif "refused" in (answer := json.loads(line)):
                raise records.BadRow(answer["refused"])
            elif "number" in answer:
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
