"""Selection on a cluster of two machines that fail, rehearsed: `make test-cluster`.

Two Ray nodes are started on loopback, as on two machines (`ray start`). The same selection then
runs by one process; on the cluster; with a worker killed (kill -9) when a third of the shards is
scored, and again in the quality scorer's pass, on the actors of Ray Data; with the second node
killed likewise, and another one in its place; and with the second node lost for good, in either
pass. Each must end by itself and give the same files to the byte. On the cluster each item waits a
moment first, so seconds say what a loss costs and not how fast Ray is. Written:
`results/cluster.json`. No node is stopped but those started here.

    make test-cluster                            3 to 6 minutes of two cores
    make test-cluster BENCH_ARGS='--shards 6'    a shorter one, whose result is not written
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from trait_lib import records  # noqa: E402
from trait_lib.reading import shards  # noqa: E402
from trait_lib.selection.cut import budget, candidates, quality, ranking  # noqa: E402
from trait_lib.selection.models import classifier, linear  # noqa: E402
from trait_lib.selection.scan import corpus, jobs  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "cluster.json"
FIELDS = {"text_field": "text", "id_field": "id"}
CPUS, WORKERS = 1, 2  # of a node; one on each
SHARDS, ROWS = 12, 500  # of the corpus, rows of a shard
MARK = "TRAIT_REHEARSED_NODE"
AT_WORK = r"ray::(Slow\.do|.*MapWorker)"  # as `ps` names them
PAUSE = 0.4  # seconds before each item on the cluster, so that there is a middle to kill in
PASSES = ("score-*.parquet", "quality-*.parquet")  # the parts of the two passes that are disturbed
LOCAL = jobs.Engine()
SETTINGS = {"dim": 8, "lr": 0.5, "epoch": 3, "wordNgrams": 2, "minCount": 1, "bucket": 1000}
TOPICS = ("sum ratio angle prime root proof", "fox rain harbour letter summer bread")


def documents(topic: int, count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    words = TOPICS[topic].split() + "the of and one two three then so is a".split()
    return [" ".join(drawn.choices(words, k=120)) for _ in range(count)]


def write_pool(folder: Path, number: int, rows: int) -> list[shards.Shard]:
    """Files of documents of two topics."""
    folder.mkdir()
    for shard in range(number):
        texts = documents(0, rows // 4, 2 * shard) + documents(1, rows - rows // 4, 2 * shard + 1)
        named = ({"id": f"{shard}-{n}", "text": text} for n, text in enumerate(texts))
        records.write_rows(folder / f"{shard:03}.jsonl.gz", named)
    return shards.find([folder])


def select(
    folder: Path, pool: Any, model: Path, scorer: dict[str, Any], engine: jobs.Engine
) -> str:
    """The files of a selection, from the scan to the kept text, as a hash."""
    done = corpus.scan(folder, pool, [linear.publish(model, folder, "words")], engine, FIELDS)
    front = ranking.front(ranking.by_score(done.parts, "log_odds"), 400_000)
    rules = {"tokenizer": "", "questions": "", "min_words": 5, "shingle_words": 3}
    rules["questions"] = corpus.save_questions(folder, {"q": "nobody asks this question here"})
    found = candidates.examine(
        folder / "scratch", "candidates", done, [front], rules, engine, 0, FIELDS
    )
    candidates.add_quality(folder / "scratch", {"words": found}, scorer, engine)
    chosen = budget.select(front, found, budget.Budget(200_000), 0.8, 2.0)
    candidates.write_kept(folder / "selected.jsonl", found, chosen.kept)
    return hashlib.sha256((folder / "selected.jsonl").read_bytes()).hexdigest()


def slow_down(on_ray: Any) -> None:
    """Let the workers of both kinds pause before each item; their classes travel by value."""

    class Slow(on_ray.Worker):
        def do(self, number: int) -> str:
            time.sleep(PAUSE)
            return super().do(number)

    class SlowPoolWorker(on_ray._PoolWorker):
        def __init__(self, file: str) -> None:
            self.worker = Slow(file)

    on_ray.Worker, on_ray._PoolWorker = Slow, SlowPoolWorker


class Node:
    """One machine of the cluster: `ray start` with everything that it starts."""

    def __init__(self, temporary: Path, head: str = "") -> None:
        port = 0 if head else free_port()
        role = [f"--address={head}"] if head else ["--head", f"--port={port}"]
        role += [] if head else ["--include-dashboard=false", f"--temp-dir={temporary}"]
        role += [] if head else [f"--ray-client-server-port={free_port()}"]
        self.address = head or f"127.0.0.1:{port}"
        self.mark = f"{os.environ[MARK]}.{secrets.token_hex(4)}"  # in all its processes
        # any free ports for workers: both nodes would take them from one range
        words = ["--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"]
        words += [f"--num-cpus={CPUS}", "--object-store-memory=100000000", "--block"]
        self.started = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *role, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, MARK: self.mark},
        )

    def kill(self) -> None:
        """As when a machine loses power."""
        kill_all(self.mark)
        self.started.wait()

    def kill_worker(self) -> bool:
        """End one process that is at work; False where none is."""
        at_work = [p for p in marked(self.mark) if re.match(AT_WORK, name(p))]
        return bool(at_work) and kill(at_work[0])


def marked(mark: str) -> list[psutil.Process]:
    """The processes whose environment has a mark that begins so, and all that they started.

    Ray writes the names of its workers over their environment, which is why both are needed.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK, " ").startswith(mark):
                family = [process, *process.children(recursive=True)]
                found.update({member.pid: member for member in family})
    return list(found.values())


def kill_all(mark: str) -> None:
    while alive := marked(mark):
        for process in alive:
            kill(process)


def name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], Any], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"it did not happen within {seconds:.0f} s")
        time.sleep(0.01)


def when(folder: Path, pattern: str, number: int, act: Callable[[], Any]) -> threading.Thread:
    """Act once, when so many parts stand."""

    def watch() -> None:
        wait_for(lambda: len(list(folder.glob(pattern))) >= number)
        wait_for(lambda: act() is not False)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def rehearse(folder: Path, number: int, rows: int) -> list[dict[str, Any]]:
    """A row for each way: seconds, and whether the files are those of one process."""
    import ray

    from trait_lib.selection.scan import on_ray

    slow_down(on_ray)
    pool = write_pool(folder / "pool", number, rows)
    one, two = documents(0, 400, -1), documents(1, 400, -2)
    model = folder / "model.bin"
    classifier.save(classifier.train(one, two, SETTINGS, 1), model)
    graded = quality.publish(quality.fit(one + two, np.repeat([4.0, 1.0], 400)), folder)
    head = Node(folder / "ray")
    nodes = [head]
    found: list[dict[str, Any]] = []

    def node_joins() -> None:
        nodes.append(Node(folder / "ray", head.address))

    def run(how: str, engine: jobs.Engine, *killed: tuple[str, Callable[[], Any]]) -> None:
        """Select; act once a third of a pass's parts stand."""
        place = folder / how.replace(" ", "-")
        place.mkdir()
        third = max(1, number // 3)
        threads = [when(place / "scratch", pattern, third, act) for pattern, act in killed]
        began = time.perf_counter()
        told = select(place, pool, model, graded, engine)
        seconds = time.perf_counter() - began
        for thread in threads:
            thread.join(10)
        if any(thread.is_alive() for thread in threads):
            raise SystemExit(f"{how}: ended before anything was killed; take more shards")
        row = {"way": how, "seconds": round(seconds, 1), "kills": len(killed)}
        same = told == (found[0]["sha256"] if found else told)
        found.append({**row, "sha256": told, "same": same})
        print(f"{how:34}{seconds:8.1f} s   {'same' if same else 'DIFFERS'}", flush=True)

    try:
        run("one process", LOCAL)
        node_joins()
        cluster = jobs.Engine(name="ray", workers=WORKERS, ray_address=head.address)
        wait_for(lambda: joined(cluster) == 2)
        run("two nodes", cluster)
        run("a worker killed in each pass", cluster, *[(p, nodes[1].kill_worker) for p in PASSES])
        nodes_lost = [(p, lambda: (nodes[-1].kill(), node_joins())) for p in PASSES]
        run("a node killed in each pass", cluster, *nodes_lost)
        on_ray.ROOM_SECONDS = 10.0  # instead of ten minutes
        run("a node lost in the scoring", cluster, (PASSES[0], nodes[-1].kill))
        node_joins()
        wait_for(lambda: joined(cluster) == 2)
        run("a node lost in the quality pass", cluster, (PASSES[1], nodes[-1].kill))
    finally:
        ray.shutdown()
        for node in reversed(nodes):
            node.kill()
    return found


def joined(engine: jobs.Engine) -> int:
    """Nodes of the cluster that live; 0 before it answers."""
    import ray

    from trait_lib.selection.scan import on_ray

    try:
        on_ray.connect(engine)
        return sum(node["Alive"] for node in ray.nodes())
    except ConnectionError:
        return 0


def supervise() -> int:
    """Run this in a process of its own, and leave nothing of it, however it ends."""
    mark = secrets.token_hex(8)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        return subprocess.run(
            [sys.executable, *sys.argv], env={**os.environ, MARK: mark}
        ).returncode
    finally:
        kill_all(mark)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--rows", type=int, default=ROWS, help="documents of a shard")
    given = parser.parse_args()
    if MARK not in os.environ:
        return supervise()
    load = os.getloadavg()[0]
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=str(ROOT))
    os.environ.update(RAY_worker_niceness="0")  # else whatever runs beside starves the workers
    os.environ.update(RAY_worker_register_timeout_seconds="300")  # likewise
    # a cluster's machines know each other by a token: of this rehearsal alone
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    with tempfile.TemporaryDirectory() as place:
        os.environ["TRAIT_RUNS"] = place
        found = rehearse(Path(place).resolve(), given.shards, given.rows)
    if (given.shards, given.rows) == (SHARDS, ROWS):
        about = {
            "command": "make test-cluster",
            "date": datetime.date.today().isoformat(),
            "device": f"CPU, {os.cpu_count()} cores; two nodes of {CPUS} on this machine",
            "load_before": round(load, 1),  # others at work make the seconds longer
            "documents": given.shards * given.rows,
            "shards": given.shards,
            "pause_seconds": PAUSE,
            "packages": {"ray": metadata.version("ray")},
        }
        RESULTS.write_text(json.dumps({**about, "rows": found}, indent=2) + "\n")
    return 0 if all(row["same"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
