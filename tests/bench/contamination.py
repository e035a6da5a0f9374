"""How fast test questions are looked for: `make bench-contamination`.

Made-up text of web documents, a question planted in each hundredth, is searched on one core and
by processes, file in to findings out. The questions are made up as well (18,000 of 10 to 80
words), or those of task files:

    make bench-contamination                       two minutes
    make bench-contamination BENCH_ARGS=FOLDER     with the `question` or `problem` of its files
    make bench-contamination BENCH_ARGS=--quick    seconds, without meaning

Target: 20 MB of text a second and core.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from selection import World

from trait_lib import contamination, records
from trait_lib.contamination import files

RESULTS = Path(__file__).parent / "results" / "contamination.json"
ROUNDS, TARGET = 3, 20.0


def questions_of(folder: Path | None, world: World, number: int) -> dict[str, str]:
    """The questions of all test files below a folder, else made-up ones."""
    if folder is None:
        made = (world.document(False).split()[: 10 + i % 70] for i in range(number))
        return {f"q{i}": " ".join(words) for i, words in enumerate(made)}
    paths = sorted(path for path in folder.glob("*_test*.jsonl*"))
    rows = ((path.name, i, row) for path in paths for i, row in enumerate(records.read_rows(path)))
    return {f"{name}/{i}": row.get("question") or row["problem"] for name, i, row in rows}


def written(path: Path, world: World, asked: dict[str, str], number: int) -> tuple[int, int]:
    """Write documents, each hundredth with a question of 13 words or more; bytes, and planted."""
    long = [text for text in asked.values() if len(contamination.words(text)) >= 20]
    texts = [world.document(i % 10 == 0) for i in range(number)]
    for i in range(0, number, 100):
        texts[i] += "\n" + long[i % len(long)].upper()
    records.write_rows(path, ({"id": f"d{i}", "text": text} for i, text in enumerate(texts)))
    return sum(len(text.encode()) for text in texts), len(range(0, number, 100))


def search(path: Path, asked: dict[str, str], processes: int, planted: int) -> float:
    """Seconds of one search, its index included; every planted question must be found."""
    with tempfile.TemporaryDirectory() as runs:  # nothing of another round is taken for work
        os.environ["TRAIT_RUNS"] = runs
        started = time.perf_counter()
        found = files.search(path, asked, {}, processes)
        seconds = time.perf_counter() - started
    places = {place for kind in ("exact", "grams") for one in found[kind].values() for place in one}
    missing = [i for i in range(0, 100 * planted, 100) if f"d{i}" not in places]
    assert not missing, f"planted questions were not found in {missing[:5]}"
    return seconds


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="task files")
    parser.add_argument("--quick", action="store_true", help="less text; nothing is written")
    given = parser.parse_args()
    world = World()
    asked = questions_of(given.folder, world, 500 if given.quick else 18_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.jsonl.zst"
        size, planted = written(path, world, asked, 1_000 if given.quick else 60_000)
        started = time.perf_counter()
        contamination.hits("compiled", contamination.build_index(asked))
        index_seconds = time.perf_counter() - started
        seconds = {
            n: min(search(path, asked, n, planted) for _ in range(1 if given.quick else ROUNDS))
            for n in (1, 2)
        }
    result = {
        "questions": len(asked),
        "megabytes": round(size / 1e6, 1),
        "index_seconds": round(index_seconds, 2),
        "megabytes_per_second": {str(n): round(size / 1e6 / s, 1) for n, s in seconds.items()},
        "target_of_one_core": TARGET,
    }
    print(json.dumps(result, indent=1))
    if not given.quick:
        result |= {"command": "python tests/bench/contamination.py FOLDER" if given.folder else
                   "python tests/bench/contamination.py"}  # fmt: skip
        result |= {"date": str(datetime.date.today()), "python": platform.python_version()}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
