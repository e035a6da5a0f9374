"""Is a model's output right? Extraction, then equivalence, within ten seconds whatever it wrote.

Paper: not stated how answers are graded; ours follows written rules (`extraction`, `equivalence`),
and sympy works out formulas in a process that is killed when it takes too long (`formulas`).
"""

from __future__ import annotations

import contextlib
import math
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trait_lib.grading import choices
from trait_lib.grading import compat as compat_rules
from trait_lib.grading.equivalence import equivalent
from trait_lib.grading.extraction import choice_letter, extract
from trait_lib.grading.formulas import LONGEST, algebra, readable
from trait_lib.grading.location import Found, all_boxes, last_box
from trait_lib.grading.notation import single_backslashes, spelled
from trait_lib.grading.parts import elements
from trait_lib.grading.words import decimals, is_text, plain_words, spoken_number, without_units

SECONDS = 6.0  # that sympy may take for one output, whatever it holds
KINDS = ("number", "math", "text", "choice")


@dataclass(frozen=True)
class Grade:
    """The verdict on one output."""

    correct: bool
    extracted: str | None
    reason: str
    seconds: float


_turn = threading.Lock()  # there is one worker, and one output at a time


def grade(
    gold: Any,
    text: Any,
    kind: str | None = None,
    alternatives: Sequence[str] = (),
    options: Any = None,
    compat: bool = False,
) -> Grade:
    """Grade one output against the right answer (or other right answers).

    Args:
        gold: the right answer; numbers are accepted as they come from JSON.
        text: the model's output without the prompt; None is a wrong answer, and of a list the
            first counts.
        kind: number, math, text or choice; without it, taken from `gold`.
        alternatives: other right answers.
        options: of a multiple choice: their texts in order, {letter: text}, or one line
            (`choices.parse`). Then the letter of an option counts for its text, and its text for
            its letter, and `extracted` is the letter.
        compat: score as the common harness does (`compat`), for comparison with published
            numbers; it knows no other right answers and no options.

    Raises:
        ValueError: an unknown kind, a gold that is no answer, an output that is no text, or
            options that do not hold the right answer.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; it must be one of {', '.join(KINDS)}")
    (text, note), gold = output_text(text), gold_text(gold)
    listed = choices.parse(options) if options else {}
    right = choices.letter_of(gold, listed, kind) if listed and not compat else ""
    if not listed and not (compat and kind):
        kind = _kind_of(gold, kind)
    with _turn:
        started = time.perf_counter()
        try:
            with _time_limit(), algebra().within(SECONDS):
                if compat:
                    correct, found = _as_published(gold, text, kind)
                elif listed:
                    correct, found = _of_options(right, text, kind, listed)
                else:
                    golds = [gold, *map(gold_text, alternatives)]
                    correct, found = _of_text(golds, text, kind)
        except Exception as error:  # one strange output must not end the grading of all others
            correct, found = False, Found(None, f"cannot be read ({type(error).__name__})")
        return Grade(
            correct, found.answer, found.where + note, round(time.perf_counter() - started, 6)
        )


def _kind_of(gold: str, announced: str | None) -> str:
    """The kind of a right answer, also where it is announced as a number and is none: `3:30 p.m.`.

    A plain number is a number whatever it is called. Without a kind, one letter from A to E is a
    choice, and words are text.
    """
    if announced == "choice":
        return announced
    bare = spelled(gold[:LONGEST]).removesuffix("%")
    if decimals(bare) or (len(gold) > LONGEST and announced is None):
        return "number"
    if announced is None:
        if re.fullmatch(r"-?\d+/\d+", bare):
            return "number"
        if re.search(r"\d\s*[ap]\.?\s?m\b", bare, re.IGNORECASE):
            return "text"
        if re.fullmatch(r"[A-E]|\(\s*[A-E]\s*\)", bare):
            return "choice"
        return "text" if is_text(bare) and "\\" not in gold else "math"
    if announced != "number" or re.fullmatch(r"\d+(?:,\s*\d+)+", bare):
        return announced
    if len(gold) > LONGEST or readable(without_units(spelled(gold))) is not None:
        return "number"
    return "text" if re.search(r"[a-zA-Z]{2}|[ap]\.m", gold) and "_" not in gold else "math"


def _of_text(golds: Sequence[str], text: str | None, kind: str | None) -> tuple[bool, Found]:
    """(is it right, what was found and why) by the rules of `extraction` and `equivalence`."""
    found = extract(text, kind) if isinstance(text, str) else Found(None, "no output")
    if found.answer is None:
        return False, found
    verdicts = [_compare(gold, found.answer, kind) for gold in golds]
    if kind != "choice" and (boxes := all_boxes(text)):  # one for each element of a list
        verdicts += [_compare(gold, boxes, kind) for gold in golds if len(elements(gold)) > 1]
    correct, reason = next((v for v in verdicts if v[0]), verdicts[0])
    return correct, Found(found.answer, f"{found.where}: {reason}")


def _of_options(
    right: str, text: str | None, kind: str | None, options: Mapping[str, str]
) -> tuple[bool, Found]:
    """The same for an output that may state the letter or the text of an option."""

    def same(option: str, answer: str) -> bool:
        return _compare(option, answer, _kind_of(option, None))[0]

    if not isinstance(text, str):
        return False, Found(None, "no output")
    found = choices.chosen(text, options, kind, same)
    verdict = "same option" if found.answer == right else "another option"
    return found.answer == right, Found(
        found.answer, f"{found.where}: {verdict}" if found.answer else found.where
    )


def _as_published(gold: str, text: str | None, kind: str | None) -> tuple[bool, Found]:
    """The same by the rules of `compat`."""
    found, (correct, rule) = compat_rules.verdict(gold, text, kind)
    return correct, Found(found.answer, f"{found.where}, {rule}" if found.answer else found.where)


def same_answer(gold: Any, answer: str, kind: str | None = None) -> bool:
    """Are two bare answers the same, as `grade` would find them?

    Args:
        gold: the right answer.
        answer: the other one, without words around it.
        kind: number, math, text or choice; without it, taken from `gold`.
    """
    gold = gold_text(gold)
    kind = _kind_of(gold, kind)
    with _turn, _time_limit(), algebra().within(SECONDS):
        return _compare(gold, choice_letter(answer) or "" if kind == "choice" else answer, kind)[0]


class OutOfTime(Exception):
    """A verdict took too long in this process."""


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Raise `OutOfTime` after `SECONDS`, where a timer can be set: in the main thread.

    The rules are linear in the text as far as we know; this is for what we do not know.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        yield
        return

    def stop(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS + 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def gold_text(gold: Any) -> str:
    """A right answer as text: `145.0` from JSON is 145, and a worked solution is its answer.

    Raises:
        ValueError: null, empty, a list or an object.
    """
    if gold is None or not isinstance(gold, str | int | float) or not str(gold).strip():
        raise ValueError(
            f"gold is {type(gold).__name__} {str(gold)[:40]!r}; it must be one right answer, as a "
            "text or a number (other right answers go into `alternatives`)"
        )
    text = single_backslashes(as_text(gold))
    if "####" in text and (marked := text.rpartition("####")[2].strip()):
        return marked
    return last_box(text) or text


def output_text(output: Any) -> tuple[str | None, str]:
    """(the text of an output, a note where it is the first of a list); None stays None.

    Raises:
        ValueError: it is no text, number or list of texts.
    """
    note = ""
    while isinstance(output, list | tuple) and output:
        output, note = output[0], " (the first of a list)"
    if isinstance(output, bool) or not isinstance(output, str | int | float | None):
        raise ValueError(
            f"prediction_text is {type(output).__name__} {str(output)[:40]!r}; it must be a text, "
            "a list of texts, or null where the model gave nothing"
        )
    return (None if output is None else as_text(output)), note


def as_text(value: str | float) -> str:
    """A value from JSON as text; `145.0` is 145."""
    whole = isinstance(value, float) and math.isfinite(value) and value == int(value)
    return str(int(value) if whole else value)


def _compare(gold: str, answer: str, kind: str | None) -> tuple[bool, str]:
    if kind == "choice":
        wanted = choice_letter(gold) or gold.strip().upper()
        return wanted == answer, "same letter" if wanted == answer else "another letter"
    if kind == "number" and re.search("[a-zA-Z]{3}", answer):
        spoken = spoken_number(plain_words(answer))
        answer = answer if spoken is None else str(spoken)
    try:
        return equivalent(gold, answer, kind)
    except Exception as error:  # one strange output must not end the grading of all others
        return False, f"cannot be compared ({type(error).__name__})"
