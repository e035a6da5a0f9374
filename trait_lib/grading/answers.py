r"""Is a model's output right? Extraction, then equivalence, within ten seconds whatever it wrote.

    python -m trait_lib.grading.answers PAIRS.jsonl [--out FILE] [--compat]

reads rows with `gold`, `prediction_text` and optional `kind` (number, math, text, choice) and
`options`, and writes them back with `correct`, `extracted`, `reason` and `seconds`. With `--compat`
they are scored as published numbers were (`compat`). Paper: not stated how answers
are graded; ours follows written rules (`extraction`, `equivalence`), and math-verify 0.9.0 judges
formulas in a process that is killed when it takes too long.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trait_lib import records
from trait_lib.grading import choices
from trait_lib.grading import compat as compat_rules
from trait_lib.grading.equivalence import equivalent
from trait_lib.grading.expressions import LONGEST, decimals
from trait_lib.grading.extraction import Found, choice_letter, extract
from trait_lib.grading.notation import spelled
from trait_lib.grading.symbolic import Judge
from trait_lib.grading.units import without_units
from trait_lib.grading.values import readable
from trait_lib.grading.words import is_text, plain_words, spoken_number

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
    compat: bool = False,
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
        compat: score as the common harness does (`compat`), for comparison with published
            numbers; it knows no other right answers and no options.

    Raises:
        ValueError: an unknown kind, or options that do not hold the right answer.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; it must be one of {', '.join(KINDS)}")
    gold, listed = _as_text(gold), choices.parse(options) if options else {}
    right = choices.letter_of(gold, listed, kind) if listed and not compat else ""
    if not listed and not (compat and kind):
        kind = _kind_of(gold, kind)
    with _turn:
        started = time.perf_counter()
        judge().allow(SECONDS)
        try:
            with _time_limit():
                if compat:
                    correct, found = _as_published(gold, text, kind)
                elif listed:
                    correct, found = _of_options(right, text, kind, listed)
                else:
                    golds = [gold, *map(_as_text, alternatives)]
                    correct, found = _of_text(golds, text, kind)
        except Exception as error:  # one strange output must not end the grading of all others
            correct, found = False, Found(None, f"cannot be read ({type(error).__name__})")
        return Grade(correct, found.answer, found.where, round(time.perf_counter() - started, 6))


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
    if announced != "number":
        return announced
    if len(gold) > LONGEST or readable(without_units(spelled(gold))) is not None:
        return "number"
    return "text" if re.search(r"[a-zA-Z]{2}|[ap]\.m", gold) and "_" not in gold else "math"


def _of_text(golds: Sequence[str], text: str | None, kind: str | None) -> tuple[bool, Found]:
    """(is it right, what was found and why) by the rules of `extraction` and `equivalence`."""
    found = extract(text, kind) if isinstance(text, str) else Found(None, "no output")
    if found.answer is None:
        return False, found
    verdicts = [_compare(answer, found.answer, kind) for answer in golds]
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
    found, (correct, rule) = compat_rules.verdict(gold, text, kind, judge().compare)
    return correct, Found(found.answer, f"{found.where}, {rule}" if found.answer else found.where)


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


# --- many rows --------------------------------------------------------------------------------

Numbered = Iterator[tuple[str, Mapping[str, Any]]]


def grade_row(row: Mapping[str, Any], where: str, compat: bool = False) -> dict[str, Any]:
    """The row with `correct`, `extracted`, `reason` and `seconds` added.

    Raises:
        ValueError: it has no `gold` or no `prediction_text`, or an impossible `kind` or `options`;
            the message begins with `where`.
    """
    missing = [name for name in ("gold", "prediction_text") if name not in row]
    if missing:
        raise ValueError(f"{where} has no field {missing[0]!r}")
    text = row["prediction_text"]
    text = _as_text(text) if isinstance(text, int | float) and text is not True else text
    kind = str(row.get("kind") or "").strip().lower() or None
    try:
        verdict = grade(row["gold"], text, kind, (), row.get("options"), compat)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return {**row, **asdict(verdict)}


def grade_rows(rows: Iterable[Mapping[str, Any]], compat: bool = False) -> Iterator[dict[str, Any]]:
    """Yield each row with its verdict, in order; see `grade_row`."""
    for number, row in enumerate(rows, start=1):
        yield grade_row(row, f"row {number}", compat)


def _numbered(path: str | Path) -> Numbered:
    """(`file:line`, row) of a file; `row 5` where a file has no lines."""
    if str(path).endswith(".parquet"):
        for number, row in enumerate(records.read_rows(path), start=1):
            yield f"{path}: row {number}", row
    else:
        for number, line in records.read_lines(path):
            yield f"{path}:{number}", records.parse_row(line, f"{path}:{number}")


def grade_file(path: str | Path, out: str | Path, compat: bool = False) -> tuple[int, int, int]:
    """Grade the pairs of a file into another; returns the numbers of rows, right rows, old rows.

    Each verdict is on the disk before the next pair is graded, in a file beside `out`; after a
    Ctrl-C or kill -9 the same call takes up there (old rows), if neither the rows nor this
    grader have changed. `out` itself appears when all is done.

    Raises:
        FileNotFoundError, ValueError: as `records.read_rows` and `grade_row`.
    """
    out = Path(out)
    part = out.with_name(f".{out.name}.part")
    state = {"grader": _version(), "compat": compat}
    finished = _finished(part, state)
    count = right = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with records.writer(out) as write, open(part, "ab") as done:
        if not finished:
            done.truncate(0)
            done.write(json.dumps(state).encode() + b"\n")
        for where, row in _numbered(path):
            graded = finished[count] if count < len(finished) else None
            if graded is None or any(graded.get(name) != row[name] for name in row):
                if graded is not None:  # other rows than those of the run before
                    raise ValueError(f"{where} has changed since {part} was written; remove that")
                graded = grade_row(row, where, compat)
                done.write(json.dumps(graded).encode() + b"\n")
                done.flush()
            write(graded)
            count, right = count + 1, right + graded["correct"]
    part.unlink()
    return count, right, min(count, len(finished))


def _version() -> str:
    """A hash of the modules of this room: another grader does not go on with old verdicts."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:16]


def _finished(part: Path, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that a run before has graded, up to the last whole line."""
    if not part.exists():
        return []
    data = part.read_bytes()
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    if not lines or json.loads(lines[0]) != dict(state):
        return []
    if not data.endswith(b"\n"):  # the line that was being written
        with open(part, "r+b") as handle:
            handle.truncate(data.rfind(b"\n") + 1)
    return [json.loads(line) for line in lines[1:]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade a file of pairs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m trait_lib.grading.answers", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "pairs", metavar="PAIRS.jsonl", help="rows: gold, prediction_text, [kind], [options]"
    )
    parser.add_argument(
        "--out",
        help="file to write (.jsonl, .gz, .zst); interrupted, the same command goes on with it; "
        "default: print the rows",
    )
    parser.add_argument(
        "--compat",
        action="store_true",
        help="score as the common math-evaluation harness, for comparison with published numbers",
    )
    options = parser.parse_args(arguments)
    judge().start()  # its imports take a second, during which the first rows are graded
    old = 0
    try:
        if options.out:
            count, right, old = grade_file(options.pairs, options.out, options.compat)
        else:
            count, right = _print_rows(options.pairs, options.compat)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "; the same command goes on from here" if options.out else ""
        print(f"stopped{again}", file=sys.stderr)
        return 130
    finally:
        judge().close()
    taken = f", {old} of them by the run before" if old else ""
    print(f"{right} of {count} correct{taken}", file=sys.stderr)
    return 0


def _print_rows(path: str, compat: bool) -> tuple[int, int]:
    count = right = 0
    try:
        for where, row in _numbered(path):
            graded = grade_row(row, where, compat)
            print(json.dumps(graded, ensure_ascii=not _utf8()), flush=True)
            count, right = count + 1, right + graded["correct"]
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return count, right


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


if __name__ == "__main__":
    sys.exit(main())
