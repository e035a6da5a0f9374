"""math-verify in a process of its own, which can be killed: the judge of formulas.

`python -m trait_lib.grading.symbolic` is the process: it reads one JSON pair a line and writes
one verdict a line. `Judge` starts it, waits no longer than allowed, kills it when it hangs and
starts another. Not stated in the paper; ours because sympy cannot be stopped from inside when it
works out a power tower.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import resource
import selectors
import subprocess
import sys
import time
from typing import Any

from trait_lib import ROOT

START_SECONDS = 60.0
MEMORY_BYTES = 4 * 2**30


class Judge:
    """One worker process, started at its first use and again after it was killed."""

    def __init__(self, seconds: float = 6.0) -> None:
        self.seconds = seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.buffer = b""
        self.sent = 0
        self.is_ready = False
        self.deadline = float("inf")
        atexit.register(self.close)

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self.process is not None and self.process.poll() is None:
            return
        self.close()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trait_lib.grading.symbolic"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    def ready(self, seconds: float = START_SECONDS) -> bool:
        """Start the process if need be and wait until it has imported sympy."""
        self.start()
        self.is_ready = self.is_ready or self.ask({}, seconds) is not None
        return self.is_ready

    def compare(self, gold: str, answer: str) -> str:
        """`equal`, `different`, `unread` (math-verify cannot read one of them) or `timeout`.

        Takes at most `seconds`, as long again when the process has to be started first, and no
        longer than the time set with `allow`.
        """
        if self.remaining() <= 0 or not self.ready(self.remaining()):
            return "timeout"
        reply = self.ask({"gold": gold, "answer": answer}, self.remaining())
        if reply is None:
            self.close()
            self.start()  # so that the next pair does not wait for the imports
            return "timeout"
        return str(reply["verdict"])

    def allow(self, seconds: float) -> None:
        """All comparisons from now on together take no longer than `seconds`."""
        self.deadline = time.monotonic() + seconds

    def remaining(self) -> float:
        """The seconds that the next comparison may take."""
        return min(self.seconds, self.deadline - time.monotonic())

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Send one message and wait for its reply; None when time is up or the process died."""
        deadline = time.monotonic() + seconds
        self.sent += 1
        try:
            self.process.stdin.write(json.dumps({**message, "id": self.sent}).encode() + b"\n")
            self.process.stdin.flush()
            while line := self._line(deadline):
                reply = json.loads(line)
                if reply["id"] == self.sent:  # else the late reply to an earlier message
                    return reply
        except OSError:
            pass
        return None

    def _line(self, deadline: float) -> bytes | None:
        """One line of the process's output, before the deadline."""
        stream = self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(stream.fileno(), 65536)
                if not chunk:
                    return None
                self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def close(self) -> None:
        """Kill the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()
        self.process, self.buffer, self.is_ready = None, b"", False


# --- inside the process -----------------------------------------------------------------------


def judge(gold: str, answer: str) -> str:
    """Compare two LaTeX formulas with math-verify, then at random points with 30 digits."""
    first, second = parsed(gold), parsed(answer)
    if first is None or second is None:
        return "unread"
    from math_verify import verify

    letters = [{str(s) for s in one.free_symbols} for one in (first, second)]
    if not any(letters) and agree(first, second) is False:
        return "different"  # math-verify takes numbers below its rounding for 0
    if letters[0] == letters[1] and verify(first, second, timeout_seconds=None):
        return "equal"
    return {True: "equal", False: "different", None: "different"}[agree(first, second)]


def parsed(latex: str) -> Any:
    """The sympy object that math-verify reads from `latex`, or None."""
    from math_verify import LatexExtractionConfig, parse

    found = parse(f"${latex}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


def agree(first: Any, second: Any) -> bool | None:
    """Do two sympy formulas have the same value at random points? None: no point told."""
    import sympy

    generator = random.Random(0)
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    compared = 0
    for _ in range(4):
        point = {s: sympy.Rational(generator.randint(50, 400), 173) for s in symbols}
        point |= {s: sympy.I for s in symbols if str(s) == "i"}
        try:
            values = [sympy.N(f.subs(point).doit(), 30) for f in (first, second)]
            scale = max(abs(values[0]), abs(values[1]))
            if not scale.is_finite:
                continue
            if 0 in values or symbols:
                scale = max(scale, sympy.Float(1e-9))  # what is left of a difference
            if abs(values[0] - values[1]) > scale * sympy.Float("1e-20"):
                return False
            compared += 1
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            continue
    return True if compared else None


def serve() -> None:
    """Answer pairs from standard input until it ends."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.set_int_max_str_digits(0)
    import logging

    import math_verify  # noqa: F401  (the import is what takes the time)

    logging.disable(logging.CRITICAL)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints may reach the replies
    for line in sys.stdin:
        message = json.loads(line)
        reply: dict[str, Any] = {"id": message["id"]}
        if "gold" in message:
            try:
                reply["verdict"] = judge(message["gold"], message["answer"])
            except (Exception, MemoryError):
                reply["verdict"] = "unread"
        output.write(json.dumps(reply) + "\n")
        output.flush()


if __name__ == "__main__":
    serve()
