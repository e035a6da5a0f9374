"""Workers run tasks side by side, say whose task failed, and leave nothing behind."""

import os
import signal
import time

import pytest

from trait_lib.claims import workers


def test_tasks_run_side_by_side_and_come_back_by_name():
    with workers.pool(2) as pool:
        pool.start("a", (pow, (2, 5)))
        pool.start("b", (pow, (3, 2)))
        assert dict([pool.finished(), pool.finished()]) == {"a": 32, "b": 9}
        processes = list(pool.processes.values())
    assert not any(process.is_alive() for process in processes)


def test_a_task_that_fails_or_dies_is_named():
    with workers.pool(1) as pool:
        pool.start("math 0 trait", (int, ("x",)))
        with pytest.raises(workers.TaskFailed, match="math 0 trait: invalid literal"):
            pool.finished()
        pool.start("math 0 dsir", (time.sleep, (60,)))
        os.kill(next(iter(pool.processes.values())).pid, signal.SIGKILL)
        with pytest.raises(workers.TaskFailed, match="math 0 dsir: its process died"):
            pool.finished()


def test_leaving_early_ends_what_is_running():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), workers.pool(1) as pool:
        pool.start("long", (time.sleep, (60,)))
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
    assert not any(process.is_alive() for process in pool.processes.values())
