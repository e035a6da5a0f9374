"""Long-lived processes that run tasks side by side, one thread each, and end with their parent.

A worker keeps what it has imported and prepared between tasks. An interrupt ends all of them; one
that dies is reported with its task. Not stated in the paper.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from tqdm import tqdm

Task = tuple[Callable[..., Any], tuple[Any, ...]]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "DS_ACCELERATOR": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}
_children: list[subprocess.Popen[bytes]] = []


class TaskFailed(RuntimeError):
    """A task raised, or its process died; the message is its own."""


def _work(link: Connection) -> None:
    """The life of a worker: tasks in, results out, until the link is closed."""
    tqdm.set_lock(threading.RLock())  # its own is one of several processes, and outlives a kill
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, lambda *_: _end())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            function, arguments = link.recv()
        except EOFError:
            return
        try:
            link.send((True, function(*arguments)))
        except Exception as error:
            known = isinstance(error, ValueError | RuntimeError)  # these say what to do
            link.send((False, str(error) if known else traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _end()


def _end() -> None:
    """End this process and what it has started."""
    for child in _children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGTERM)
    os._exit(1)


def command(words: list[str], log: Any, **given: Any) -> int:
    """Run a command in a group of its own, that ends with this worker; returns its exit code."""
    child = subprocess.Popen(
        words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **given
    )
    _children.append(child)
    try:
        return child.wait()
    finally:
        _children.remove(child)


class Pool:
    """A few workers; give one a task with `start`, and `finished` waits for the next that ends."""

    def __init__(self, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.idle: list[Connection] = []
        self.busy: dict[Connection, Any] = {}
        self.processes: dict[Connection, Any] = {}
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_work, args=(theirs,))
            process.start()
            theirs.close()
            self.idle.append(ours)
            self.processes[ours] = process

    def start(self, name: Any, task: Task) -> None:
        """Give an idle worker a task; `name` comes back with its result."""
        link = self.idle.pop()
        link.send(task)
        self.busy[link] = name

    def finished(self) -> tuple[Any, Any]:
        """Wait for a task to end; its name and result.

        Raises:
            TaskFailed: it raised, or its worker died.
        """
        (link, *_) = wait(list(self.busy))
        name = self.busy.pop(link)
        try:
            good, result = link.recv()
        except (EOFError, ConnectionError):
            self.processes[link].join()
            code = self.processes[link].exitcode
            raise TaskFailed(f"{name}: its process died with exit code {code}") from None
        self.idle.append(link)
        if not good:
            raise TaskFailed(f"{name}: {result}")
        return name, result


@contextmanager
def pool(count: int) -> Iterator[Pool]:
    """Workers that end with the block, whatever they are doing."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    made = Pool(count)
    try:
        yield made
    finally:
        for link, process in made.processes.items():
            if link in made.busy:
                process.terminate()
            link.close()
        for process in made.processes.values():
            process.join()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
