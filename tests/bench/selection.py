"""Selection against other tools, as ratios: `make bench-selection`.

Every figure is file in to file out on one core, all tools on the same files and the same model, in
the same run, in turns; compared are the shortest of the rounds. The text is made up: words of a
Zipf vocabulary, a tenth of them not ASCII, documents of 40 to 1,200 words.

    datatrove     its FastTextClassifierFilter pipeline, from JsonlReader or ParquetReader to
                  JsonlWriter or ParquetWriter; reports are off, the output is not compressed
    fastText      batched prediction from Python, orjson and gzip or pyarrow around it
    data-selection  DSIR: fit, weights, resampling, from .jsonl to .jsonl

Ours runs twice: as a filter by threshold in one pass, as they do, and as a ranking in two passes
(score all, cut, read the chosen again), which is what the notebook does.

Where the ranking's time goes, in CPU seconds on one core (2,000 documents of a .jsonl.gz file, 4.8
MB of JSON, dim 100, 26 November 2026): 0.087 in all, of which inflating twice (`isal`) takes 0.024,
scoring 0.024, parsing JSON 0.010, writing the compressed output 0.007. A worker starts in 1.0 s
(2.1 before scikit-learn was left out), which two workers pay on a core each.

    make bench-selection                         about fifteen minutes
    make bench-selection BENCH_ARGS=--quick      a minute, without meaning
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib import records
from trait_lib.reading import shards, tables
from trait_lib.selection.cut import candidates, columns, ranking
from trait_lib.selection.models import classifier, dsir, linear
from trait_lib.selection.scan import corpus, jobs, passes

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "selection.json"
FIELDS = {"text_field": "text", "id_field": "id"}
KEPT = 0.1  # share of the documents that are selected
MODEL = {"dim": 100, "lr": 0.5, "epoch": 5, "wordNgrams": 2, "minCount": 1, "bucket": 2_000_000}
LARGE = MODEL | {"dim": 256, "wordNgrams": 3}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TARGETS = {"datatrove": 8.0, "fastText": 5.0, "2 workers": 1.8, "data-selection": 10.0}
MEMORY_TARGET = 1.2


# --- text -------------------------------------------------------------------------------------


class World:
    """Made-up documents of two kinds that share most of their words."""

    def __init__(self, words: int = 60_000) -> None:
        draw = random.Random(0)
        self.draw = draw
        self.words = [self._word() for _ in range(words)]
        weights = np.cumsum([1 / (rank + 3) for rank in range(words)])
        self.weights = weights.tolist()
        self.special = draw.sample(self.words[200:5000], 300)

    def _word(self) -> str:
        letters = LETTERS + "éüñßжд中" if self.draw.random() < 0.1 else LETTERS
        return "".join(self.draw.choices(letters, k=self.draw.randint(2, 9)))

    def document(self, inside: bool) -> str:
        """One document, with a third of special words if it is in the domain."""
        size = min(1200, max(40, int(self.draw.lognormvariate(5.7, 0.6))))
        words = self.draw.choices(self.words, cum_weights=self.weights, k=size)
        if inside:
            for place in self.draw.sample(range(size), size // 3):
                words[place] = self.draw.choice(self.special)
        for place in range(0, size, 12):
            words[place] = words[place].capitalize()
        return " ".join(f"{w}." if i % 12 == 11 else w for i, w in enumerate(words))

    def rows(self, number: int) -> list[dict[str, str]]:
        """Rows of documents, one in ten of the domain."""
        return [
            {"id": f"d{i}", "source": "made up", "text": self.document(i % 10 == 0)}
            for i in range(number)
        ]


# --- ours -------------------------------------------------------------------------------------


def engine(workers: int = 1) -> jobs.Engine:
    """Processes of this machine."""
    return jobs.Engine(workers=workers)


def texts_of(folder: Path, scored: jobs.Done, front: ranking.Ranked, workers: int = 1) -> jobs.Done:
    """The documents of a front, without a look at them."""
    rows = front.pick(np.argsort(front.document))
    return candidates.read_again(folder, "taken", scored, rows, None, engine(workers), 0, FIELDS)


def write_parts(path: Path, parts: list[Path]) -> None:
    """All rows (id, text, source) of some parts in one file, `.parquet` or rows of JSON."""
    batches = columns.batches(parts, ["id", "text", "source"], 1000)
    if path.suffix == ".parquet":
        made = jobs.Part(path)
        for batch in batches:
            made.write(pa.Table.from_batches([batch]))
        return made.close()
    with records.writer(path) as write:
        for batch in batches:
            for row in batch.to_pylist():
                write(row)


def filtered(source: Path, out: Path, method: dict, least: float) -> None:
    """All documents of `source` above a threshold, in one pass, to the file `out`."""
    (score,) = passes.made([method])
    found = ((table, score(table["text"].combine_chunks())["log_odds"])
             for shard in shards.find([source]) for _, table in tables.read(shard))  # fmt: skip
    kept = (table.filter(pa.array(odds >= least)) for table, odds in found)
    if out.suffix == ".parquet":
        made = jobs.Part(out)
        for table in kept:
            made.write(table)
        return made.close()
    with records.writer(out) as write:
        for table in kept:
            for row in table.to_pylist():
                write(row)


def scored(source: Path, method: dict, workers: int) -> None:
    """The scores of all documents of `source`, in parts."""
    with scratch() as folder:
        corpus.scan(folder, shards.find([source]), [method], engine(workers), FIELDS)


def ranked(source: Path, out: Path, method: dict, number: int, workers: int = 1) -> None:
    """The best `number` documents of `source`, in two passes, to the file `out`."""
    with scratch() as folder:
        done = corpus.scan(folder, shards.find([source]), [method], engine(workers), FIELDS)
        front = ranking.front(ranking.by_score(done.parts, "log_odds", one_each=True), number)
        taken = texts_of(folder, done, front, workers)
        write_parts(out, taken.parts)


def dsir_ours(source: Path, target: Path, out: Path, number: int, weights: Path | None) -> None:
    """DSIR's fit, weights and draw of `number` documents, to the file `out`."""
    dsir.shared_hasher.cache_clear()  # every round begins without a memory
    with scratch() as folder:
        pool = shards.find([source])
        seeds = corpus.texts(shards.find([target]), FIELDS)
        wanted = dsir.count(seeds, dsir.shared_hasher())
        raw = corpus.count_grams(folder, pool, engine(), FIELDS)
        method = dsir.publish(dsir.log_ratio(wanted, raw), folder, 0)
        done = corpus.scan(folder, pool, [method], engine(), FIELDS)
        stream = ranking.by_dsir(done.parts, dsir.by_length(False), 0, 100, one_each=True)
        taken = texts_of(folder, done, ranking.front(stream, number))
        write_parts(out, taken.parts)
        if weights:
            values = [pq.read_table(part)["dsir"].to_numpy() for part in done.parts]
            np.save(weights, np.concatenate(values))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder, removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def whole_notebook_pass(source: str, method: str, number: int) -> None:
    """Both rankings over a corpus, in a process whose memory is then asked for."""
    with scratch() as folder:
        parts, pool = folder / "parts", shards.find([source])
        raw = corpus.count_grams(folder, pool, engine(), FIELDS)
        ratio = dsir.log_ratio(raw + 1, raw)
        methods = [json.loads(method), dsir.publish(ratio, parts, 0)]
        done = corpus.scan(folder, pool, methods, engine(), FIELDS)
        from trait_lib.selection import scores

        front = ranking.front(ranking.by_score(done.parts, "log_odds", one_each=True), number)
        taken = texts_of(parts, done, front)
        write_parts(folder / "out.jsonl.zst", taken.parts)
        kept = {"kept": scores.true_for(front.document)}
        scores.write(folder / "scores.parquet", done.parts, kept)
        columns.repeated_ids(done.parts)
    # not getrusage: that begins with the memory of the process that started this one
    status = Path("/proc/self/status").read_text()
    print(1024 * int(status.split("VmHWM:")[1].split()[0]))


# --- the other tools --------------------------------------------------------------------------


def peer(name: str, *arguments: Any) -> float:
    """Run a peer in its own environment; the seconds that it says its work took."""
    command = [os.environ["BENCH_PEERS"], str(HERE / "peers" / f"selection_{name}.py")]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def ids(path: Path) -> set[str]:
    """The ids in a file, or in all files of a folder."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return {str(row["id"]) for file in files for row in records.read_rows(file)}


# --- measuring --------------------------------------------------------------------------------


def compare(folder: Path, model: Path, name: str, documents: int, rounds: int) -> dict[str, Any]:
    """Seconds of every tool on one file, shortest of `rounds`, and whether the outputs agree."""
    source = folder / name
    ending = "parquet" if name.endswith("parquet") else "jsonl.zst"
    odds = all_odds(source, model)
    method = linear.publish(model, folder, "plain")  # as theirs, loaded before the clock starts
    number = round(KEPT * documents)
    # half-way between two documents, so that a rounding error moves none across
    ordered = np.sort(odds)[::-1]
    least = float((ordered[number - 1] + ordered[number]) / 2)
    least_p = float(classifier.probability(np.array(least))) + classifier.FASTTEXT_OFFSET
    ours, by_rank = folder / f"ours.{ending}", folder / f"ranked.{ending}"
    trove, plain = folder / "datatrove", folder / f"fasttext-{name}.jsonl"
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        shutil.rmtree(trove, ignore_errors=True)
        times = {
            "ours, filter": seconds(filtered, source, ours, method, least),
            "ours, ranking": seconds(ranked, source, by_rank, method, number),
        }
        if "BENCH_PEERS" in os.environ:
            times["datatrove"] = peer("datatrove", source, trove, model, least_p)
            times["fastText"] = peer("fasttext", source, plain, model, least_p)
        for key, value in times.items():
            found.setdefault(key, []).append(value)
    wanted = ids(ours)
    same = {"ours, ranking": ids(by_rank) == wanted}
    if "BENCH_PEERS" in os.environ:
        # fastText's own 32-bit sums may move a document at the very threshold
        same["datatrove"] = len(ids(trove) ^ wanted) <= 2
        same["fastText"] = len(ids(plain) ^ wanted) <= 2
    best = {key: min(values) for key, values in found.items()}
    return {"file": name, "documents": documents, "seconds": best, "same_selection": same}


def all_odds(source: Path, model: Path) -> np.ndarray:
    """The log-odds of every document, to choose a threshold by."""
    read = linear.read_model(model)
    read_once = tables.read(shards.find([source])[0])
    return np.concatenate([linear.log_odds(read, t["text"].combine_chunks(), "plain")
                           for _, t in read_once])  # fmt: skip


def two_workers(folder: Path, model: Path, rounds: int) -> dict[str, float]:
    """Seconds with one and with two workers on eight files."""
    method = linear.publish(model, folder, "plain")
    found = {
        workers: min(seconds(scored, folder / "eight", method, workers) for _ in range(rounds))
        for workers in (1, 2)
    }
    return {"1": found[1], "2": found[2]}


def compare_dsir(folder: Path, documents: int, rounds: int) -> dict[str, Any]:
    """Seconds of both DSIRs, and the largest difference of their log weights."""
    source, target, number = folder / "dsir.jsonl", folder / "target.jsonl", documents // 10
    ours, theirs = [], []
    weights = folder / "weights.npy"
    for _ in range(rounds):
        ours.append(seconds(dsir_ours, source, target, folder / "dsir-out.jsonl", number, weights))
        if "BENCH_PEERS" in os.environ:
            theirs.append(peer("dsir", source, target, folder / "published", number))
    result: dict[str, Any] = {"documents": documents, "seconds": {"ours": min(ours)}}
    if theirs:
        published = np.load(folder / "published" / "weights.npy")
        result["seconds"]["data-selection"] = min(theirs)
        result["largest_difference"] = float(np.abs(published - np.load(weights)).max())
    return result


def memory(folder: Path, model: Path, times: int) -> dict[str, float]:
    """Peak bytes of a whole pass over one file, and over `times` of them in one file."""
    found = {}
    # written here: reading fastText's own file maps gigabytes and would hide the rest
    method = json.dumps(linear.publish(model, folder, "words"))
    for name in ("once", "many"):
        command = [sys.executable, __file__, "--memory", str(folder / f"{name}.jsonl.gz"),
                   method, "500"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(done.stdout.splitlines()[-1])
    return {**found, "times": times, "ratio": found["many"] / found["once"]}


# --- input and output -------------------------------------------------------------------------


def prepare(
    folder: Path, documents: int, published: int, times: int, models: dict[str, dict]
) -> None:
    """Write all input files and train the models."""
    world = World()
    rows = world.rows(documents)
    records.write_rows(folder / "pool.jsonl.gz", rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "pool.parquet", compression="zstd",
                   row_group_size=2000)  # fmt: skip
    for i in range(8):
        records.write_rows(
            folder / "eight" / f"{i}.jsonl.gz", rows[i::8] * (2 if documents < 1000 else 32)
        )
    records.write_rows(folder / "dsir.jsonl", rows[:published])
    inside = [world.document(True) for _ in range(1000)]
    records.write_rows(folder / "target.jsonl", ({"id": str(i), "text": t}
                                                 for i, t in enumerate(inside)))  # fmt: skip
    once = (folder / "pool.jsonl.gz").read_bytes()
    (folder / "once.jsonl.gz").write_bytes(once)
    with open(folder / "many.jsonl.gz", "wb") as handle:
        for _ in range(times):
            handle.write(once)
    outside = [world.document(False) for _ in range(1000)]
    for name, settings in models.items():
        classifier.save(classifier.train(inside, outside, settings, 1, "plain"), folder / name)
    method = linear.publish(folder / "model", folder, "plain")
    filtered(folder / "pool.parquet", folder / "warm.parquet", method, 0.0)


def line(what: str, ratio: float, target: float, note: str = "") -> str:
    """One line of the table."""
    word = "reached" if ratio >= target else "MISSED"
    return f"{what:62} {ratio:7.1f}x   at least {target:4.1f}x   {word}  {note}"


def show(result: dict[str, Any]) -> list[str]:
    """The table of ratios."""
    lines = []
    for run in result["runs"]:
        times = run["seconds"]
        for own in ("ours, filter", "ours, ranking"):
            rate = f"({run['documents'] / times[own]:,.0f} documents/s)"
            for other in ("datatrove", "fastText"):
                if other in times:
                    what = f"{run['model']}, {run['file']}: {own} against {other}"
                    lines.append(line(what, times[other] / times[own], TARGETS[other], rate))
    both = result["workers"]
    lines.append(line("2 workers against 1", both["1"] / both["2"], TARGETS["2 workers"]))
    times = result["dsir"]["seconds"]
    if "data-selection" in times:
        note = f"(largest difference of log weights {result['dsir']['largest_difference']:.1e})"
        ratio = times["data-selection"] / times["ours"]
        lines.append(line("DSIR against data-selection", ratio, TARGETS["data-selection"], note))
    ratio = result["memory"]["ratio"]
    word = "reached" if ratio <= MEMORY_TARGET else "MISSED"
    what = f"peak memory, {result['memory']['times']} times the corpus against one"
    lines.append(f"{what:62} {ratio:7.2f}x   at most  {MEMORY_TARGET:4.1f}x   {word}")
    same = [ok for run in result["runs"] for ok in run["same_selection"].values()]
    lines.append(f"selections equal in {sum(same)} of {len(same)} comparisons")
    return lines


def measure(
    documents: int, published: int, rounds: int, times: int, models: dict[str, dict]
) -> dict[str, Any]:
    """Everything."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with scratch() as folder:
        prepare(folder, documents, published, times, models)
        runs = []
        for model, names in (("model", ("pool.jsonl.gz", "pool.parquet")),
                             ("large", ("pool.jsonl.gz",))):  # fmt: skip
            settings = models[model]
            label = f"dim {settings['dim']}, n-grams to {settings['wordNgrams']}"
            for name in names:
                run = compare(folder, folder / model, name, documents, rounds)
                runs.append({"model": label, **run})
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
        return {
            "runs": runs,
            "workers": two_workers(folder, folder / "model", rounds),
            "dsir": compare_dsir(folder, published, rounds),
            "memory": memory(folder, folder / "model", times),
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs")
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        source, method, number = given.memory
        whole_notebook_pass(source, method, int(number))
        return
    models = {"model": MODEL, "large": LARGE}
    documents, rounds, times = given.documents, given.rounds, 10
    if given.quick:
        models = {name: settings | {"bucket": 20_000} for name, settings in models.items()}
        documents, rounds, times = 400, 1, 2
    result = measure(documents, min(documents, 16_000), rounds, times, models)
    print("\n".join(show(result)))
    if given.quick:
        return
    packages = ("numba", "numpy", "pyarrow", "orjson", "fasttext-community")
    result |= {
        "command": "make bench-selection",
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in packages},
        "peers": (HERE / "selection.txt").read_text().split(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    records.write_json(RESULTS, result)


if __name__ == "__main__":
    main()
