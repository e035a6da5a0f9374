"""The engine `ray`: actors on one machine or a cluster; paths go in, files come out.

Ray core actors over paths, because no document needs to pass through Ray's object store; a Ray
Data actor pool for the quality scorer, which wants a GPU for each actor. All machines must see
the stage's folder and the corpus under the same paths. A worker or a machine that dies costs the
items that it had in hand, which others do again.
`pip install "ray[data]==2.60.0"` (590 MB) on every machine.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from queue import Empty, Queue
from threading import Thread
from typing import Any

import ray

from trait_lib.selection.scan.jobs import Engine, Job
from trait_lib.selection.scan.worker import Worker

MOST_DEATHS = 3  # of workers at one item
LOOK_SECONDS = 2.0  # between looks at the machines, while nothing is finished
ROOM_SECONDS = 600.0  # without room for a worker, and nothing finished, before it is an error
STORE_BYTES = 100_000_000  # of the object store, where Ray is started here: nothing large is in it


def connect(engine: Engine) -> None:
    """Join the cluster at `ray_address`, or start one of this machine, with `workers` CPUs."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    shape: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if engine.ray_address:
        ray.init(engine.ray_address, **shape)
    else:
        store = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
        ray.init("local", num_cpus=engine.workers, **store, **shape)


def work(job: Job, engine: Engine, missing: list[int]) -> Iterator[tuple[int, str]]:
    """(item, why it is set aside or "") as they are finished."""
    connect(engine)
    if job.settings.get("gpu"):
        yield from _work_in_pool(job, engine, missing)
        return
    waiting = sorted(missing, key=lambda i: (job.items[i].get("size", 0), -i))
    actor = ray.remote(Worker).options(num_cpus=1)
    running: dict[Any, tuple[Any, int | None]] = {}
    free: list[Any] = []
    deaths: Counter[int | None] = Counter()
    number_of_actors = _number(engine, missing)

    def start() -> None:
        worker = actor.remote(job.file)
        running[worker.__ray_ready__.remote()] = (worker, None)

    for _ in range(number_of_actors):
        start()
    try:
        left, room = len(missing), _Room(job, "CPU", 1)
        while left:
            while waiting and free:
                worker, number = free.pop(), waiting.pop()
                running[worker.do.remote(number)] = (worker, number)
            ready, _ = ray.wait(list(running), timeout=LOOK_SECONDS)
            if not ready:
                room.check()
                continue
            room.made_progress()
            worker, number = running.pop(ready[0])
            try:
                reason = ray.get(ready[0])
            except ray.exceptions.RayActorError as error:  # its process or its machine is gone
                deaths[number] += 1
                _check_deaths(job, number, deaths[number], number_of_actors, error)
                if number is not None:
                    waiting.append(number)
                start()  # waits, where no machine has room for it; the others go on
                continue
            free.append(worker)
            if number is not None:
                left -= 1
                yield number, reason
    finally:
        if ray.is_initialized():
            for worker in [*free, *(worker for worker, _ in running.values())]:
                ray.kill(worker)  # else they hold their CPUs for a while


def _check_deaths(job: Job, number: int | None, deaths: int, actors: int, error: Exception) -> None:
    """Stop when one item, or the start itself, ends workers again and again."""
    if deaths < MOST_DEATHS * (1 if number is not None else actors):
        return
    what = "at its start" if number is None else f"at {job.items[number].get('label', number)}"
    raise RuntimeError(
        f"a worker of {job.file.name} died {what}, {deaths} times; perhaps its machine has too "
        f"little memory, or does not see {job.file.parent}. Run again to go on from what is done"
    ) from error


class _Room:
    """For how long the cluster has had no room for the workers that must be alive."""

    def __init__(self, job: Job, kind: str, wanted: int) -> None:
        self.job, self.kind, self.wanted = job, kind, wanted
        self.made_progress()

    def made_progress(self) -> None:
        self.since = time.monotonic()

    def check(self) -> None:
        """Raise a RuntimeError when it is longer than `ROOM_SECONDS`."""
        there = int(ray.cluster_resources().get(self.kind, 0))
        if there >= self.wanted:
            self.made_progress()
        elif time.monotonic() - self.since > ROOM_SECONDS:
            raise RuntimeError(
                f"{self.job.file.name} waits for machines since {ROOM_SECONDS:.0f} s: it needs "
                f"{self.wanted} {self.kind}, the cluster has {there}. Start Ray on another machine "
                f"(`ray start --address=...`), or run again as it is: what is done is kept"
            )


def _number(engine: Engine, missing: list[int]) -> int:
    """How many actors: `workers`, and never more than items or CPUs."""
    cpus = int(ray.cluster_resources().get("CPU", 1))
    return max(1, min(engine.workers, len(missing), cpus))


class _PoolWorker:
    """One actor of the Ray Data pool; a batch is a few items' numbers."""

    def __init__(self, file: str) -> None:
        self.worker = Worker(file)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        numbers = [int(number) for number in batch["item"]]
        return {"number": numbers, "reason": [self.worker.do(number) for number in numbers]}


def _work_in_pool(job: Job, engine: Engine, missing: list[int]) -> Iterator[tuple[int, str]]:
    import ray.data

    gpus = int(ray.cluster_resources().get("GPU", 0))
    size = max(1, min(engine.workers, len(missing), gpus or _number(engine, missing)))
    ray.data.DataContext.get_current().enable_progress_bars = False  # before the data set is made
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    items = ray.data.from_items([{"item": i} for i in missing], override_num_blocks=len(missing))
    with warnings.catch_warnings():  # without retries of its own, Ray Data tries for ever
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        done = items.map_batches(
            _PoolWorker,
            fn_constructor_args=(str(job.file),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size),
            num_gpus=1 if gpus else 0,
            num_cpus=0 if gpus else 1,
            max_task_retries=MOST_DEATHS - 1,
        )
    for row in _rows(done, _Room(job, "GPU" if gpus else "CPU", size)):
        yield row["number"], row["reason"]


def _rows(done: Any, room: _Room) -> Iterator[Mapping[str, Any]]:
    """The rows as they come. Ray Data would wait for ever for room for a lost actor."""
    came: Queue[Mapping[str, Any] | BaseException | None] = Queue()

    def read() -> None:
        try:
            for row in done.iter_rows():
                came.put(row)
            came.put(None)
        except BaseException as error:
            came.put(error)

    Thread(target=read, daemon=True).start()
    try:
        while (row := _next(came, room)) is not None:
            yield row
    except BaseException:
        ray.shutdown()  # else its actors stay; the next job joins the cluster again
        raise


def _next(came: Queue, room: _Room) -> Mapping[str, Any] | None:
    while True:
        try:
            row = came.get(timeout=LOOK_SECONDS)
        except Empty:
            room.check()
            continue
        if isinstance(row, ray.exceptions.RayActorError):
            raise RuntimeError(
                f"{room.job.file.name}: workers were lost, and Ray Data gave up: {row}. "
                "Run again to go on from what is done"
            ) from row
        if isinstance(row, BaseException):
            raise row
        room.made_progress()
        return row
