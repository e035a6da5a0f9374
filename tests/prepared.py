"""Processes that have loaded their modules before they start, for tests that kill them.

They are forked from a process that does nothing but load what the collected tests asked for, so
that a start takes milliseconds and not seconds.
"""

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess

CONTEXT = multiprocessing.get_context("forkserver")
LOADED = {"pytest"}  # the main module of this process, which a forked one loads again


def load(*modules: str) -> None:
    """Ask for modules; test files do when they are imported, before any process starts."""
    LOADED.update(modules)
    CONTEXT.set_forkserver_preload(sorted(LOADED))


def start(program: str, *words: object) -> BaseProcess:
    """Run a program's text, with words in `sys.argv[1:]` and this process's environment."""
    given = (program, list(map(str, words)), dict(os.environ))
    process = CONTEXT.Process(target=_run, args=given, daemon=True)
    process.start()
    return process


def _run(program: str, words: list[str], environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *words]
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
