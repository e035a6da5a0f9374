"""Are two formulas equal in value? Exactly where rational, else by decimals and at random points.

The formulas are read and worked out in a process that can be killed (`symbolic`); plain numbers
are read here, which saves most of its time. Not stated in the paper; ours because a value decides
more surely than rewriting: two formulas that differ at a point are not equal.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from trait_lib import ROOT
from trait_lib.grading import symbolic
from trait_lib.grading.notation import DEGREE, NAMES, squeezed
from trait_lib.grading.words import TEXT_GROUP, decimals, plain_words, spoken_number

Verdict = tuple[bool, str]
LONGEST = 2000  # characters; a longer answer is compared as text
START_SECONDS = 60.0


class Algebra:
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
            [sys.executable, "-m", symbolic.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    def ready(self, seconds: float = START_SECONDS) -> bool:
        """Start the process if need be and wait until it has imported sympy.

        What this takes does not count as time of a comparison.
        """
        if not self.is_ready:
            started = time.monotonic()
            self.start()
            self.is_ready = self._ask({}, seconds) is not None
            self.deadline += time.monotonic() - started
        return self.is_ready

    def answer(self, question: str, *texts: str) -> Any:
        """The reply to one question (`QUESTIONS`) about texts; None when there is none in time.

        Takes at most `seconds`, and no longer than the block allows (`within`).
        """
        if self.remaining() <= 0 or not self.ready():
            return None
        reply = self._ask({"question": question, "texts": texts}, self.remaining())
        if reply is None:
            self.close()
            self.start()  # so that the next pair does not wait for the imports
            return None
        return reply["answer"]

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All questions in the block together take no longer than `seconds`."""
        self.deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self.deadline = float("inf")

    def remaining(self) -> float:
        """The seconds that the next question may take."""
        return min(self.seconds, self.deadline - time.monotonic())

    def _ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any] | None:
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


@cache
def algebra() -> Algebra:
    """The worker; one for each process that grades."""
    return Algebra()


# --- reading ----------------------------------------------------------------------------------

FRACTION = re.compile(
    r"(-?)\s*(?:\\frac\s*\{(\d{1,99})\}\s*\{(\d{1,99})\}|(\d{1,99})\s*/\s*(\d{1,99}))"
)
WORD = re.compile(rf"(?<![\\a-zA-Z])(?!{'|'.join(NAMES)})[a-zA-Z]{{4}}")


@dataclass(frozen=True)
class Formula:
    """What is known of a formula: its letters, and of a constant its value.

    `exact` is set where the value is rational, `value` (to 120 digits) where it is real and not.
    """

    letters: frozenset[str] = frozenset()
    exact: Fraction | None = None
    value: Fraction | None = None
    huge: bool = False
    infinite: str = ""


def readable(text: str) -> Formula | None:
    """The formula in `text`; None when it is none, cannot be worked out in time, or is too long."""
    text = text.strip()
    if plain := decimals(text):
        return Formula(exact=plain[0])
    if (match := FRACTION.fullmatch(text)) and int(match[3] or match[5]):
        amount = Fraction(int(match[2] or match[4]), int(match[3] or match[5]))
        return Formula(exact=-amount if match[1] else amount)
    bare = text.replace(DEGREE, "")
    if not text or len(text) > LONGEST or not bare.isascii() or WORD.search(text):
        return None
    with contextlib.suppress(TimeoutError):  # is not remembered: the machine may have been busy
        return _described(text)
    return None


@lru_cache(maxsize=4096)
def _described(text: str) -> Formula | None:
    known = algebra().answer("describe", text)
    if known is None:
        raise TimeoutError
    if not known:
        return None
    exact, value = known.get("exact"), known.get("value")
    return Formula(
        frozenset(known["letters"]),
        Fraction(*(int(part, 16) for part in exact)) if exact else None,
        Fraction(value) if value else None,
        known["huge"],
        known.get("infinite", ""),
    )


def exact_value(text: str) -> Fraction | None:
    """The value of a rational constant in `text`, or None."""
    formula = readable(text)
    return None if formula is None else formula.exact


# --- comparing --------------------------------------------------------------------------------


def scalars(gold: str, answer: str) -> Verdict:
    """Compare two formulas by value."""
    if squeezed(gold) == squeezed(answer):
        return bool(squeezed(gold)), "same text"
    if spoken := _spoken(gold, answer):
        return spoken
    first, second = readable(gold), readable(answer)
    if first is None or second is None:
        return _unread(gold, answer, first, second)
    if None not in (first.exact, second.exact) and first.exact == second.exact:
        return True, "same number"
    if first.letters != second.letters and 0 in (first.exact, second.exact):
        return False, "letters beside 0"  # `b0` and `0x` are slips of `b = 0` and of `10x`
    if first.huge or second.huge:
        return False, "too large to work out"
    if first.infinite or second.infinite:
        return first.infinite == second.infinite, "infinite"
    values = [one.value if one.exact is None else one.exact for one in (first, second)]
    if None not in values:
        if None in (first.exact, second.exact) and _differ_by(*values) < Fraction(1, 10**100):
            return True, "same value"
        rounded = is_rounding(gold, answer, *values, first.exact is None or second.exact is None)
        return rounded, "rounded to 3 digits or more" if rounded else "a different number"
    verdict = algebra().answer("same", gold, answer) or "no verdict"
    return verdict == "equal", f"{verdict} at random points"


def _differ_by(first: Fraction, second: Fraction) -> Fraction:
    """The relative difference."""
    return abs(first - second) / max(abs(first), abs(second), Fraction(1, 10**9))


def _spoken(gold: str, answer: str) -> Verdict | None:
    """A number in words against a number in digits."""
    answer = TEXT_GROUP.sub(r" \1 ", answer).strip()
    if not re.fullmatch(r"(?:[\d.,]+\s+)?[a-zA-Z\s-]+", answer) or not re.search(r"\d", gold):
        return None
    number = spoken_number(plain_words(answer))
    return None if number is None else (number == exact_value(gold), "a number in words")


def _unread(gold: str, answer: str, first: Formula | None, second: Formula | None) -> Verdict:
    """What is no formula goes to math-verify; a malformed answer is wrong."""
    if first is not None or max(len(gold), len(answer)) > LONGEST:
        return False, "not a formula"
    if not any(sign in gold for sign in ("\\", "^", "_", "(", "[")):
        return False, "not a formula"
    signs = [sorted(re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]|\d|'", text)) for text in (gold, answer)]
    matrices = "\\begin" in gold and "\\begin" in answer  # math-verify works them out
    if second is None and signs[0] != signs[1] and not matrices:
        return False, "different letters or digits"  # math-verify leaves out what it cannot read
    gold, answer = (text.replace("{matrix}", "{pmatrix}") for text in (gold, answer))
    verdict = algebra().answer("verify", gold, answer) or "no verdict"
    return verdict == "equal", f"math-verify: {verdict}"


def is_rounding(
    gold: str, answer: str, first: Fraction, second: Fraction, irrational: bool = False
) -> bool:
    """Is one a decimal of 3 digits or more that rounds the other, non-terminating, value?

    A decimal of 9 digits or more after the point counts as non-terminating too (it is how
    programs write thirds), and decimals of 12 significant digits may differ by float noise.
    """
    texts, values = (gold, answer), (first, second)
    for rounded, whole in ((1, 0), (0, 1)):
        short, long = decimals(texts[rounded]), decimals(texts[whole])
        if short is None:
            continue
        noise = Fraction(1, 10**12) if short[1] >= 10 else Fraction(1, 10**15)
        if short[2] >= 12 and short[1] >= 3 and _differ_by(first, second) <= noise:
            return True
        endless = long[1] >= 9 if long else irrational or not terminates(values[whole])
        precise = short[1] >= 3 and short[2] >= 3 and (not long or long[1] > short[1])
        if endless and precise and abs(short[0] - values[whole]) * 2 * 10 ** short[1] <= 1:
            return True
    return False


def terminates(amount: Fraction) -> bool:
    """Has the number a finite decimal expansion?"""
    rest = amount.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1
