"""The engine `ray`: actors on one machine or a cluster; paths go in, files come out.

Ray core actors over paths, because no document needs to pass through Ray's object store; a Ray
Data actor pool for the quality scorer, which wants a GPU for each actor. All machines must see
the stage's folder and the corpus under the same paths.
`pip install "ray[data]==2.60.0"` (590 MB) on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import ray

from trait_lib.selection.scan.jobs import Engine, Job
from trait_lib.selection.scan.worker import Worker

STORE_BYTES = 100_000_000  # of the object store, where Ray is started here: nothing large is in it


def connect(engine: Engine) -> None:
    """Join the cluster at `ray_address`, or start Ray on this machine with `workers` CPUs."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    shape: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if engine.ray_address:
        ray.init(engine.ray_address, **shape)
    else:
        store = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
        ray.init(num_cpus=engine.workers, **store, **shape)


def work(job: Job, engine: Engine, missing: list[int]) -> Iterator[tuple[int, str]]:
    """(item, why it is set aside or "") as they are finished."""
    connect(engine)
    if job.settings.get("gpu"):
        yield from _work_in_pool(job, engine, missing)
        return
    waiting = sorted(missing, key=lambda i: (-job.items[i].get("size", 0), i))
    actor = ray.remote(Worker)
    actors = [actor.options(num_cpus=1).remote(job.file) for _ in range(_number(engine, missing))]
    running: dict[Any, tuple[Any, int]] = {}

    def hand(worker: Any) -> None:
        number = waiting.pop(0)
        running[worker.do.remote(number)] = (worker, number)

    for worker in actors:
        hand(worker)
    while running:
        ready, _ = ray.wait(list(running))
        worker, number = running.pop(ready[0])
        if waiting:
            hand(worker)
        yield number, ray.get(ready[0])


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
    size = max(1, min(engine.workers, len(missing), gpus or engine.workers))
    items = ray.data.from_items([{"item": i} for i in missing], override_num_blocks=len(missing))
    ray.data.DataContext.get_current().enable_progress_bars = False
    done = items.map_batches(
        _PoolWorker,
        fn_constructor_args=(str(job.file),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=size),
        num_gpus=1 if gpus else 0,
        num_cpus=0 if gpus else 1,
    )
    for row in done.iter_rows():
        yield row["number"], row["reason"]
