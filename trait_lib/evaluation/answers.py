r"""Is a model's output right? Extraction, then equivalence, within ten seconds whatever it wrote.

    python -m trait_lib.evaluation.answers PAIRS.jsonl [--out FILE]

reads rows with `gold`, `prediction_text` and an optional `kind` (number, math, text, choice) and
writes them back with `correct`, `extracted`, `reason` and `seconds`. Paper: not stated how answers
are graded; ours follows written rules (`extraction`, `equivalence`), and math-verify 0.9.0 judges
formulas in a process that is killed when it takes too long.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from trait_lib import records
from trait_lib.evaluation import choices
from trait_lib.evaluation.equivalence import equivalent
from trait_lib.evaluation.expressions import LONGEST, decimals
from trait_lib.evaluation.extraction import Found, choice_letter, extract
from trait_lib.evaluation.notation import spelled
from trait_lib.evaluation.symbolic import Judge
from trait_lib.evaluation.units import without_units
from trait_lib.evaluation.values import readable
from trait_lib.evaluation.words import is_text, plain_words, spoken_number

SECONDS = 8.0  # that math-verify may take for one output, whatever it holds
KINDS = ("number", "math", "text", "choice")


@dataclass(frozen=True)
class Grade:
    """The verdict on one output."""

    correct: bool
    extracted: str | None
    reason: str
    seconds: float


_turn = threading.Lock()  # there is one judge, and one output at a time


@cache
def judge() -> Judge:
    """The process that holds math-verify; one for each process that grades."""
    return Judge()


def grade(
    gold: Any,
    text: str | None,
    kind: str | None = None,
    alternatives: Sequence[str] = (),
    options: Any = None,
) -> Grade:
    """Grade one output against the right answer (or other right answers).

    Args:
        gold: the right answer; numbers are accepted as they come from JSON.
        text: the model's output without the prompt; None is a wrong answer.
        kind: number, math, text or choice; without it, taken from `gold`.
        alternatives: other right answers.
        options: of a multiple choice: their texts in order, {letter: text}, or one line
            (`choices.parse`). Then the letter of an option counts for its text, and its text for
            its letter, and `extracted` is the letter.

    Raises:
        ValueError: an unknown kind, or options that do not hold the right answer.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; it must be one of {', '.join(KINDS)}")
    if options is not None and len(options):
        with _turn:
            return _grade_choice(_as_text(gold), text, kind, choices.parse(options))
    if kind in (None, "number"):
        kind = _kind_of(_as_text(gold), kind)
    with _turn:
        return _grade([_as_text(answer) for answer in (gold, *alternatives)], text, kind)


def _kind_of(gold: str, announced: str | None) -> str:
    """The kind of a right answer, also where it is announced as a number and is none: `3:30 p.m.`.

    Without a kind, a plain number is a number, one letter from A to E a choice, and words are text.
    """
    if announced is None:
        bare = spelled(gold[:LONGEST]).removesuffix("%")
        if decimals(bare) or re.fullmatch(r"-?\d+/\d+", bare) or len(gold) > LONGEST:
            return "number"
        if re.search(r"\d\s*[ap]\.?\s?m\b", bare, re.IGNORECASE):
            return "text"
        if re.fullmatch(r"[A-E]|\(\s*[A-E]\s*\)", bare):
            return "choice"
        return "text" if is_text(bare) and "\\" not in gold else "math"
    if len(gold) > LONGEST or readable(without_units(spelled(gold))) is not None:
        return "number"
    return "text" if re.search(r"[a-zA-Z]{2}|[ap]\.m", gold) and "_" not in gold else "math"


def _grade(golds: Sequence[str], text: str | None, kind: str | None) -> Grade:
    started = time.perf_counter()
    judge().allow(SECONDS)
    found = extract(text, kind) if isinstance(text, str) else Found(None, "no output")
    if found.answer is None:
        correct, reason = False, found.where
    else:
        verdicts = [_compare(answer, found.answer, kind) for answer in golds]
        correct, reason = next((v for v in verdicts if v[0]), verdicts[0])
        reason = f"{found.where}: {reason}"
    return Grade(correct, found.answer, reason, round(time.perf_counter() - started, 6))


def _grade_choice(
    gold: str, text: str | None, kind: str | None, options: Mapping[str, str]
) -> Grade:
    """Grade an output that may state a letter or the text of an option."""
    started = time.perf_counter()
    judge().allow(SECONDS)
    right = choices.letter_of(gold, options, kind)

    def same(option: str, answer: str) -> bool:
        return _compare(option, answer, _kind_of(option, None))[0]

    found = Found(None, "no output")
    if isinstance(text, str):
        found = choices.chosen(text, options, kind, same)
    verdict = "same option" if found.answer == right else "another option"
    reason = f"{found.where}: {verdict}" if found.answer else found.where
    seconds = round(time.perf_counter() - started, 6)
    return Grade(found.answer == right, found.answer, reason, seconds)


def _as_text(gold: Any) -> str:
    """A gold answer as text; `145.0` from JSON is 145."""
    if isinstance(gold, bool) or gold is None:
        return str(gold)
    if isinstance(gold, float) and math.isfinite(gold) and gold == int(gold):
        return str(int(gold))
    return str(gold)


def _compare(gold: str, answer: str, kind: str | None) -> tuple[bool, str]:
    if kind == "choice":
        wanted = choice_letter(gold) or gold.strip().upper()
        return wanted == answer, "same letter" if wanted == answer else "another letter"
    if kind == "number" and re.search("[a-zA-Z]{3}", answer):
        spoken = spoken_number(plain_words(answer))
        answer = answer if spoken is None else str(spoken)
    try:
        return equivalent(gold, answer, judge().compare, kind)
    except Exception as error:  # one strange output must not end the grading of all others
        return False, f"cannot be compared ({type(error).__name__})"


def grade_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each row with `correct`, `extracted`, `reason` and `seconds` added.

    Raises:
        ValueError: a row has no `gold` or no `prediction_text`; the message gives its number.
    """
    for number, row in enumerate(rows, start=1):
        missing = [name for name in ("gold", "prediction_text") if name not in row]
        if missing:
            raise ValueError(f"row {number} has no field {missing[0]!r}")
        try:
            verdict = grade(row["gold"], row["prediction_text"], row.get("kind"))
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
        yield {**row, **asdict(verdict)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade a file of pairs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m trait_lib.evaluation.answers", description=__doc__.split("\n")[0]
    )
    parser.add_argument("pairs", metavar="PAIRS.jsonl", help="rows: gold, prediction_text, [kind]")
    parser.add_argument("--out", help="file to write (.jsonl, .gz, .zst); default: the output")
    options = parser.parse_args(arguments)
    judge().start()  # its imports take a second, during which the first rows are graded
    count = right = 0
    try:
        graded = []
        for row in grade_rows(records.read_rows(options.pairs)):
            count, right = count + 1, right + row["correct"]
            if options.out:
                graded.append(row)
            else:
                print(json.dumps(row, ensure_ascii=False))
        if options.out:
            records.write_rows(options.out, graded)
    except (ValueError, FileNotFoundError) as error:
        print(f"{options.pairs}: {error}", file=sys.stderr)
        return 2
    finally:
        judge().close()
    print(f"{right} of {count} correct", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
