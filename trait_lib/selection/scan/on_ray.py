"""The engine `ray`: actors on one machine or a cluster; paths go in, files come out.

Ray core actors over paths, because no document needs to pass through Ray's object store; a Ray
Data actor pool for the quality scorer, which wants a GPU for each actor. All machines must see
the stage's folder and the corpus under the same paths. A worker or a machine that dies costs the
items that it had in hand, which others do again, on what is left of the cluster.
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
from tqdm import tqdm

from trait_lib.selection.scan.jobs import Engine, Job
from trait_lib.selection.scan.worker import Worker

MOST_DEATHS = 3  # of workers at one item; of pools since an item was finished
LOOK_SECONDS = 2.0  # between looks at the machines, while nothing is finished
ROOM_SECONDS = 600.0  # without room for a worker, and nothing finished, before it is an error
GONE = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)  # with a process or machine
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
    number_of_actors = _number(engine, missing, "CPU")

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


class _PoolLost(Exception):
    """The pool cannot finish its items; says why."""


class _Room:
    """For how long the cluster has had no room for the workers that must be alive."""

    def __init__(self, job: Job, kind: str, wanted: int) -> None:
        self.job, self.kind, self.wanted = job, kind, wanted
        self.made_progress()

    def made_progress(self) -> None:
        self.since = time.monotonic()

    def check(self) -> None:
        """Raise an error when it is longer than `ROOM_SECONDS`: `_PoolLost` where some room is."""
        there = _there(self.kind)
        if there >= self.wanted:
            self.made_progress()
        elif time.monotonic() - self.since > ROOM_SECONDS:
            if there:
                raise _PoolLost(f"made for {self.wanted} {self.kind}, and the cluster has {there}")
            raise RuntimeError(
                f"{self.job.file.name} waits for machines since {ROOM_SECONDS:.0f} s: it needs a "
                f"{self.kind}, the cluster has none. Start Ray on another machine "
                f"(`ray start --address=...`), or run again as it is: what is done is kept"
            )


def _there(kind: str) -> int:
    """How many of a kind, CPU or GPU, the cluster has."""
    return int(ray.cluster_resources().get(kind, 0))


def _number(engine: Engine, items: list[int], kind: str) -> int:
    """How many actors: `workers`, and never more than items, or than there are CPUs or GPUs."""
    return max(1, min(engine.workers, len(items), _there(kind)))


class _PoolWorker:
    """One actor of the Ray Data pool; a batch is a few items' numbers."""

    def __init__(self, file: str) -> None:
        self.worker = Worker(file)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        numbers = [int(number) for number in batch["item"]]
        return {"number": numbers, "reason": [self.worker.do(number) for number in numbers]}


def _work_in_pool(job: Job, engine: Engine, missing: list[int]) -> Iterator[tuple[int, str]]:
    """A pool, and when it is lost another one for what has no result, on what is left.

    Ray Data gives up a whole pool for one item, also where that was lost with its machine.
    """
    kind = "GPU" if _there("GPU") else "CPU"
    finished: set[int] = set()
    lost = 0
    while left := [number for number in missing if number not in finished]:
        try:
            for row in _rows(*_pool(job, engine, left, kind)):
                finished.add(row["number"])
                lost = 0
                yield row["number"], row["reason"]
        except _PoolLost as why:
            lost += 1
            if lost == MOST_DEATHS:
                raise RuntimeError(
                    f"{job.file.name}: {lost} pools of workers were lost, one after the other, the "
                    f"last one: {why}. Perhaps their machines have too little memory, or do not "
                    f"see {job.file.parent}. Run again to go on from what is done"
                ) from why
            left_over = len(missing) - len(finished)
            tqdm.write(f"{job.file.name}: workers were lost; others do the {left_over} items left")
            connect(engine)


def _pool(job: Job, engine: Engine, items: list[int], kind: str) -> tuple[Any, _Room]:
    """The data set of (number, reason) that a pool of actors makes of items, and its room."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False  # before the data set is made
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors come as exceptions
    size = _number(engine, items, kind)
    rows = ray.data.from_items([{"item": i} for i in items], override_num_blocks=len(items))
    with warnings.catch_warnings():  # without retries of its own, Ray Data tries for ever
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        done = rows.map_batches(
            _PoolWorker,
            fn_constructor_args=(str(job.file),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size),
            num_gpus=int(kind == "GPU"),
            num_cpus=int(kind == "CPU"),
            max_task_retries=MOST_DEATHS - 1,
        )
    return done, _Room(job, kind, size)


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
        if isinstance(row, GONE):
            raise _PoolLost(str(row)) from row
        if isinstance(row, BaseException):
            raise row
        room.made_progress()
        return row
