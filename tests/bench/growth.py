"""How time and memory grow with the work: `make bench-growth`.

    documents -> seconds, memory   both passes of the selection (score all, read a tenth again),
                                   by one worker and by one a core
    tokens    -> seconds           training of the replica's base model under DeepSpeed, one rank
    requests  -> seconds, memory   the teacher client, 64 connections, a reply after 0.2 s

Each for 1, 4 and 16 times the work, each in a process of its own; seconds are of the work and not
of the start. An exponent is the slope of log seconds over log size: 1 is proportion. Text, model
and server are those of `make bench-selection`, `bench-training` and `bench-passages`.

    make bench-growth                         about five minutes on two idle cores
    make bench-growth BENCH_ARGS=--quick      half a minute, without meaning, and nothing is kept

README shows the results (`make refresh`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from trait_lib.repo.numbers import refresh  # noqa: E402

RESULTS = HERE / "results" / "growth.json"
FACTORS = (1, 4, 16)
FULL = {"documents": 10_000, "steps": 60, "requests": 800}
QUICK = {"documents": 100, "steps": 8, "requests": 50}
Row = dict[str, Any]


# --- measuring --------------------------------------------------------------------------------


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """The slope of log seconds over log size, by least squares."""
    x, y = ([math.log(value) for value in values] for values in (sizes, seconds))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def child(*words: str) -> dict[str, Any]:
    """Run this file in a process of its own; what it prints as its last line."""
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def pool(folder: str, documents: str) -> dict[str, str]:
    """Write 16 files of so many documents, and a classifier; the method to score with, as JSON.

    In a process of its own: what a process starts is told to have used as much memory as itself.
    """
    import selection as bench

    from trait_lib import records
    from trait_lib.selection.models import classifier, linear

    place, rows = Path(folder), bench.World().rows(int(documents))
    for number in range(max(FACTORS)):
        again = ({**row, "id": f"{number}-{row['id']}"} for row in rows)
        records.write_rows(place / f"pool/{number:02}.jsonl.gz", again)
    inside = [row["text"] for row in rows[::10]]
    model = classifier.train(inside, [row["text"] for row in rows[1::10]], bench.MODEL, 0, "plain")
    classifier.save(model, place / "model.bin")
    return {"method": json.dumps(linear.publish(place / "model.bin", place, "plain"))}


def selection(folder: Path, documents: int) -> list[Row]:
    """Both passes over 1, 4 and 16 files of so many documents."""
    method = child("--pool", str(folder), str(documents))["method"]
    found = []
    for workers in dict.fromkeys((1, os.cpu_count() or 1)):
        for factor in FACTORS:
            size = factor * documents
            words = (str(folder / "pool"), method, str(factor), str(workers), str(size // 10))
            one = {"what": f"selection, workers: {workers}", "unit": "documents", "size": size}
            found.append({**one, **child("--selection", *words)})
    return found


def select(pool: str, method: str, factor: str, workers: str, taken: str) -> dict[str, float]:
    """Both passes over the first `factor` files of a folder, timed, in this process."""
    import selection as bench

    from trait_lib.reading import shards
    from trait_lib.selection.cut import ranking
    from trait_lib.selection.scan import corpus

    files = sorted(Path(pool).iterdir())[: int(factor)]
    engine = bench.engine(int(workers))
    with bench.scratch() as folder:
        started = time.perf_counter()
        done = corpus.scan(folder, shards.find(files), [json.loads(method)], engine, bench.FIELDS)
        front = ranking.by_score(done.parts, "log_odds", one_each=True)
        bench.texts_of(folder, done, ranking.front(front, int(taken)), int(workers))
        seconds = time.perf_counter() - started
    peaks = [resource.getrusage(w).ru_maxrss
             for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]  # fmt: skip
    return {"seconds": round(seconds, 3), "memory_mb": round(max(peaks) / 1024)}


def training(folder: Path, steps: int) -> list[Row]:
    """The training entry point for 1, 4 and 16 times so many steps."""
    import training as bench

    words = sys.argv
    sys.argv = words[:1]
    given = bench.arguments()
    sys.argv = words
    bench.write_text(folder)
    found = []
    for factor in FACTORS:
        given.steps = factor * steps
        config = bench.configuration(given, folder)
        where = folder / f"training-{factor}"
        command = bench.command("ours, deepspeed", where, config)
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        done = json.loads((where / "finished.json").read_text())
        memory = bench.steps_of(where)[-1]["memory_gib"]
        one = {"what": "training, one rank", "unit": "tokens", "size": done["tokens"]}
        measured = {"seconds": done["training_seconds"], "memory_mb": round(1024 * memory)}
        found.append({**one, **measured})
    return found


def teacher(folder: Path, requests: int) -> list[Row]:
    """The client for 1, 4 and 16 times so many requests."""
    import passages as bench

    options = argparse.Namespace(connections=64, delay=0.2)
    server = subprocess.Popen(
        [sys.executable, str(HERE / "passages_server.py"), "--delay", str(options.delay)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port, found = int(server.stdout.readline()), []
        for factor in FACTORS:
            prompts = folder / f"prompts-{factor}.jsonl"
            bench.write_prompts(prompts, factor * requests)
            command = [sys.executable, str(HERE / "passages_ours.py")]
            one = bench.measure("ours", command, port, prompts, options)
            seconds = round(one["requests"] / one["requests_per_second"], 3)
            found.append({"what": "teacher, 64 connections", "unit": "requests",
                          "size": one["requests"], "seconds": seconds,
                          "memory_mb": round(one["memory_mb"])})  # fmt: skip
        return found
    finally:
        server.kill()
        server.wait()


def measure(sizes: dict[str, int]) -> dict[str, Any]:
    """All rows, and the exponents of each of their kinds."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["TRAIT_RUNS"] = name
        for what, size in ((selection, "documents"), (training, "steps"), (teacher, "requests")):
            rows += what(Path(name).resolve(), sizes[size])
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return {"rows": rows, "exponents": exponents(rows)}


def exponents(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Of seconds and of memory, for each kind of row."""
    found = {}
    for what in dict.fromkeys(row["what"] for row in rows):
        some = [row for row in rows if row["what"] == what]
        sizes = [row["size"] for row in some]
        found[what] = {
            name: round(exponent(sizes, [row[name] for row in some]), 2)
            for name in ("seconds", "memory_mb")
        }
    return found


# --- showing ----------------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs")
    parser.add_argument("--pool", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--selection", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.update(DS_ACCELERATOR="cpu", CUDA_VISIBLE_DEVICES="", TQDM_DISABLE="1")
    if given.pool or given.selection:
        print(json.dumps(pool(*given.pool) if given.pool else select(*given.selection)))
        return
    busy = os.getloadavg()[0]
    result = measure(QUICK if given.quick else FULL)
    result |= {"command": "make bench-growth", "date": datetime.date.today().isoformat(),
               "cores": os.cpu_count(), "load_before": round(busy, 2)}  # fmt: skip
    print(refresh.growth_table(result))
    if busy > 0.5:
        print(f"the machine was busy before the run (load {busy:.1f}): times are too long")
    if not given.quick:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        refresh.all_texts()


if __name__ == "__main__":
    main()
