"""Grade a file of pairs.

    python -m trait_lib.grading PAIRS.jsonl [--out FILE] [--compat]

reads rows with `gold`, `prediction_text` and optional `kind` (number, math, text, choice) and
`options`, and writes them back with `correct`, `extracted`, `reason` and `seconds`. With `--compat`
they are scored as published numbers were (`compat`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trait_lib import code, records
from trait_lib.grading.answers import grade
from trait_lib.grading.formulas import algebra
from trait_lib.run import hash_value

PROGRAM = "trait_lib.grading.__main__"
ADDED = ("correct", "extracted", "reason", "seconds")


def grade_row(row: Mapping[str, Any], where: str, compat: bool = False) -> dict[str, Any]:
    """The row with `correct`, `extracted`, `reason` and `seconds` added.

    Raises:
        ValueError: it has no `gold` or no `prediction_text`, one of them is no answer or no text,
            or an impossible `kind` or `options`; the message begins with `where`.
    """
    missing = [name for name in ("gold", "prediction_text") if name not in row]
    if missing:
        raise ValueError(f"{where} has no field {missing[0]!r}")
    kind = str(row.get("kind") or "").strip().lower() or None
    try:
        verdict = grade(row["gold"], row["prediction_text"], kind, (), row.get("options"), compat)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return {**row, **asdict(verdict)}


def numbered(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`file:line`, row) of a file; `row 5` where a file has no lines."""
    if str(path).endswith(".parquet"):
        for number, row in enumerate(records.read_rows(path), start=1):
            yield f"{path}: row {number}", row
    else:
        for number, line in records.read_lines(path):
            yield f"{path}:{number}", records.parse_row(line, f"{path}:{number}")


def grade_file(path: str | Path, out: str | Path, compat: bool = False) -> tuple[int, int, int]:
    """Grade the pairs of a file into another; returns the numbers of rows, right rows, old rows.

    Each verdict is on the disk before the next pair is graded, in the journal `OUT.part`; after a
    Ctrl-C or kill -9 the same call takes up there (old rows), if neither the rows nor this grader
    have changed. `out` itself appears when all is done.

    Raises:
        FileNotFoundError, ValueError: as `records.read_rows` and `grade_row`.
        JournalInUse: another process is grading into the same file.
    """
    out = Path(out)
    part = out.with_name(f"{out.name}.part")
    state = {"grader": code.hash_of(PROGRAM), "compat": compat}
    count = right = old = 0
    with records.Journal(part, state) as journal, records.writer(out) as write:
        done = len(journal.rows)
        for where, row in numbered(path):
            known = journal.rows[count] if count < done else {}
            if count < done and known["row"] != _fingerprint(row):
                raise ValueError(
                    f"{where} is another row than when {part} was written; remove {part} to grade "
                    "from the start, or write to another file"
                )
            if not known:
                verdict = {name: value for name, value in grade_row(row, where, compat).items()
                           if name in ADDED}  # fmt: skip
                known = {"row": _fingerprint(row), "verdict": verdict}
                journal.add(known)
            write({**row, **known["verdict"]})
            count, old = count + 1, old + (count < done)
            right += known["verdict"]["correct"]
        if count < done:
            raise ValueError(
                f"{path} has {count} rows, and {part} has verdicts on {done}; is it cut off? Get "
                f"it again, or remove {part}"
            )
    part.unlink()
    return count, right, old


def _fingerprint(row: Mapping[str, Any]) -> str:
    """What the row holds, as a hash: in JSON text, where NaN is NaN."""
    return hash_value(json.dumps(row, sort_keys=True, default=str))


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade a file of pairs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m trait_lib.grading", description=__doc__.split("\n")[0]
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
    algebra().start()  # its imports take a second, during which the first rows are graded
    old = 0
    try:
        if options.out:
            count, right, old = grade_file(options.pairs, options.out, options.compat)
        else:
            count, right = _print_rows(options.pairs, options.compat)
    except (ValueError, OSError, records.JournalInUse) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "; the same command goes on from here" if options.out else ""
        print(f"stopped{again}", file=sys.stderr)
        return 130
    finally:
        algebra().close()
    taken = f", {old} of them by the run before" if old else ""
    print(f"{right} of {count} correct{taken}", file=sys.stderr)
    return 0


def _print_rows(path: str, compat: bool) -> tuple[int, int]:
    count = right = 0
    try:
        for where, row in numbered(path):
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
