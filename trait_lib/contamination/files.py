"""Whole files searched for test questions: by processes, in constant memory, each file once.

Every process reads the whole file and parses and searches each n-th row of it, which costs less
than handing rows around. What was found is kept under `runs/cache` by the hash of file, questions
and code, so the arms of a run, which share most of their text, search it once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from trait_lib import code, contamination, records, run

MOST = 20  # places that are named of each question and kind
EACH = 50_000_000  # bytes on the disk for which another process is worth its start
SAMPLE = "".join(
    f"The {n} apples of farm {n % 97} weigh as much as all others. " for n in range(9999)
)

Result = dict[str, Any]
"""`documents`: searched; `exact`, `grams`: question -> ids of texts; `held_out`: ids of texts."""


def search(
    file: str | Path, questions: Mapping[str, str], known: Mapping[str, Any], processes: int = 0
) -> Result:
    """Search the `text` of each row of a file for all questions, and for held-out documents.

    Args:
        file: rows with `text` and perhaps `id`; without one they are named by their number.
        questions: id -> text.
        known: see `contamination.read_known`.
        processes: 0 takes as many as the file is worth, at most one a core.

    Raises:
        records.BadRow: a row that cannot be read; names file and row.
    """
    path = Path(file)
    key = {"file": run.hash_file(path), "questions": run.hash_value([questions, known])}
    key["code"] = code.hash_of(__name__)
    of = processes or min(cores(), 1 + path.stat().st_size // EACH)
    folder = run.cached(
        "searched",
        key,
        lambda to: records.write_json(to / "found.json", _all(path, questions, known, of)),
    )
    return records.read_json(folder / "found.json")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hours(text_bytes: float, processes: int = 0, rate: float = 0.0) -> float:
    """How long it takes to search so much text; 0: on all cores.

    `rate`: bytes a second and core, 0 to measure it here on a sample.
    """
    return text_bytes / (rate or _rate()) / 3600 / (processes or cores())


def _rate() -> float:
    index = contamination.build_index({"q": SAMPLE[:90]})
    contamination.hits(SAMPLE[:1000], index)  # compiled and loaded
    started = time.process_time()
    contamination.hits(SAMPLE[1:], index)
    return len(SAMPLE) / max(1e-9, time.process_time() - started)


def _all(path: Path, questions: Mapping[str, str], known: Mapping[str, Any], of: int) -> Result:
    if of == 1:
        shares = [_share(path, questions, known, 0, 1)]
    else:
        with ProcessPoolExecutor(of, get_context("spawn")) as pool:
            told = [pool.submit(_share, path, questions, known, which, of) for which in range(of)]
            shares = [one.result() for one in told]
    total: Result = {"documents": sum(share["documents"] for share in shares)}
    for kind in ("exact", "grams"):
        names = sorted({name for share in shares for name in share[kind]})
        total[kind] = {
            n: _first(place for s in shares for place in s[kind].get(n, ())) for n in names
        }
    total["held_out"] = _first(place for share in shares for place in share["held_out"])
    return total


def _first(places: Iterator[tuple[int, str]]) -> list[str]:
    """The ids at the first places in the file, whoever found them."""
    return [identifier for _, identifier in sorted(places)[:MOST]]


def _share(
    path: Path, questions: Mapping[str, str], known: Mapping[str, Any], which: int, of: int
) -> Result:
    """Search every `of`-th row from row `which` on; places are (row, id)."""
    index = contamination.build_index(questions, **known)
    found: Result = {"documents": 0, "exact": {}, "grams": {}, "held_out": []}
    for number, row in _rows(path, which, of):
        found["documents"] += 1
        place = number, str(row.get("id", number))
        for match in contamination.matches(row["text"], index):
            places = found["exact" if match.whole else "grams"].setdefault(match.question, [])
            places += [place] * (len(places) < MOST)
        if len(found["held_out"]) < MOST and contamination.is_held_out(row["text"], index):
            found["held_out"].append(place)
    return found


def _rows(path: Path, which: int, of: int) -> Iterator[tuple[int, records.Row]]:
    """(number from 1, row) of a share of the rows; lines of the others are not parsed."""
    if path.name.endswith(".parquet"):
        rows = enumerate(records.read_rows(path), start=1)
        yield from ((number, row) for number, row in rows if number % of == which)
        return
    for number, line in records.read_lines(path):
        if number % of == which:
            yield number, records.parse_row(line, f"{path}:{number}")
