"""Items per second of few-shot generation against lm-evaluation-harness: `make bench-evaluation`.

Both answer the same prompts (problems of the replica's math tasks behind worked examples) with the
same model on one thread, greedily, with the same stop strings; the time is that of generation
alone, the model loaded, the rows written. Ours is `generation.generate` at its default batch
size. The harness is its Hugging Face route, `simple_evaluate` over local task files, at several
batch sizes, of which the fastest counts. Every output is compared. They take turns in processes
of their own; the fastest repetition counts, because others on the machine can only slow one down.
Each repetition is checked to have made all of its rows: none is read back from an earlier one.
Beside the ratio of wall seconds stands that of CPU seconds, which others disturb less.

The model is the base model of the replica, from notebook 00 (`make 00_start_here`, some minutes,
once; the benchmark makes it where it is missing). Examples per task are what notebook 04 uses by
default; with examples drawn anew for each question prompts share nothing, and little is gained:
that row has no target.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results" / "evaluation.json"
PEER = Path(__file__).parent / "peers" / "evaluation_lm_eval.py"
TARGET = 2.0
OURS, PEERS = 64, (16, 64, 256)  # batch sizes
CASES = {  # name: (shots, examples_for, target)
    "2 examples a task (default)": (2, "task", TARGET),
    "8 examples a task": (8, "task", TARGET),
    "2 examples, drawn for each question": (2, "question", None),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few items, once; no results file")
    parser.add_argument("--repeats", type=int, default=3, help="in each turn")
    parser.add_argument("--turns", type=int, default=2, help="of both sides, one after the other")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


def replica() -> Path:
    """The folder of notebook 00 in the replica, made where it is missing."""
    from trait_lib import run

    folder = run.runs_dir() / "math" / "replica" / "data" / "seed0" / "00_start_here"
    if not (folder / "manifest.json").exists():
        print("the replica's base model is made first: make 00_start_here", flush=True)
        subprocess.run(["make", "00_start_here"], cwd=ROOT, check=True)
    return folder


def job_of(folder: Path, shots: int, examples_for: str, items: int) -> dict[str, Any]:
    """Model, prompts by task and settings, as both sides read them."""
    from trait_lib import records
    from trait_lib.evaluation import fewshot

    problems = [
        row
        for split in ("test", "dev")
        for row in records.read_rows(folder / f"problems_{split}.jsonl")
    ]
    train = list(records.read_rows(folder / "problems_train.jsonl"))
    forms = {task: fewshot.Form(shots=shots) for task in fewshot.by_task(problems)}
    prompts = fewshot.prompts(problems[:items], train, forms, 0, examples_for)
    tasks = {
        task: [{"id": r["id"], "prompt": prompts[r["id"]], "answer": r["answer"]} for r in rows]
        for task, rows in fewshot.by_task(problems[:items]).items()
    }
    form = fewshot.Form()
    return {
        "model": records.read_json(folder / "base_model.json")["name_or_path"],
        "tasks": tasks,
        "stop": list(form.stop),
        "max_new_tokens": form.max_new_tokens,
        "threads": 1,
        "device": "cpu",
        "dtype": "float32",
    }


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Our side of a job: outputs, and the seconds of each repetition, by batch size."""
    import torch

    from trait_lib.evaluation.inference import generation

    torch.set_num_threads(job["threads"])
    prompts = {row["id"]: row["prompt"] for rows in job["tasks"].values() for row in rows}
    settings = generation.Settings(
        job["max_new_tokens"], tuple(job["stop"]), batch_size=job["batch_sizes"][0]
    )
    generation._load(job["model"], settings.precision)
    wall, cpu = [], []
    for _ in range(1 + job["repeats"]):  # the first is for warming up
        with tempfile.TemporaryDirectory() as folder:  # nothing is there to be resumed from
            made = Path(folder) / "rows.jsonl"
            started, used = time.perf_counter(), time.process_time()
            rows = generation.generate(prompts, job["model"], made, settings)
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
            written = sum(1 for _ in open(made, encoding="utf-8"))
        spent = sum(row["seconds"] > 0 for row in rows.values())
        assert written == spent == len(prompts), "a repetition must make every row itself"
    outputs = {name: row["output"] for name, row in rows.items()}
    one = {"outputs": outputs, "wall": wall[1:], "cpu": cpu[1:], "made": written}
    return {settings.batch_size: one}


def measured(command: list[str], job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run one side of a job in a process of its own."""
    file = folder / "job.json"
    job = {**job, "out": str(folder / "out.json")}
    file.write_text(json.dumps(job), encoding="utf-8")
    quiet = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    quiet |= {"CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [*command, str(file)], env={**os.environ, **quiet}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(Path(job["out"]).read_text(encoding="utf-8"))


def compare(name: str, job: dict[str, Any], turns: int, peers: str | None) -> dict[str, Any]:
    """One line of the result: items per second of both sides, ratios, outputs that differ."""
    times: dict[tuple[str, str], list[float]] = {}
    differing = 0
    with tempfile.TemporaryDirectory() as temporary:
        for _ in range(turns):
            mine = {**job, "batch_sizes": [OURS]}
            made = measured([sys.executable, __file__, "--job"], mine, Path(temporary))
            mine_outputs = made[str(OURS)]["outputs"]
            assert made[str(OURS)]["made"] == len(mine_outputs)
            found = {}
            if peers:
                theirs = {**job, "batch_sizes": PEERS}
                found = measured([peers, str(PEER)], theirs, Path(temporary))
            for side, sizes in (("ours", made), ("lm_eval", found)):
                for one in sizes.values():
                    assert one["outputs"].keys() == mine_outputs.keys()
                    differing += sum(mine_outputs[k] != v for k, v in one["outputs"].items())
                    for clock in ("wall", "cpu"):
                        times.setdefault((side, clock), []).extend(one[clock])
    items = sum(map(len, job["tasks"].values()))
    best = {key: min(seconds) for key, seconds in times.items()}
    line: dict[str, Any] = {"case": name, "items": items, "ours/s": items / best["ours", "wall"]}
    if peers:
        line["lm_eval/s"] = items / best["lm_eval", "wall"]
        for clock, column in (("wall", "ratio"), ("cpu", "ratio CPU")):
            line[column] = best["lm_eval", clock] / best["ours", clock]
        line["different"] = differing
    return line


def main() -> int:
    """Measure and print; returns 1 when a target is missed."""
    options = arguments()
    if options.job:
        job = json.loads(Path(options.job).read_text(encoding="utf-8"))
        Path(job["out"]).write_text(json.dumps(ours(job)), encoding="utf-8")
        return 0
    from trait_lib.show import text_table

    peers, folder = os.environ.get("BENCH_PEERS"), replica()
    if not peers:
        print("BENCH_PEERS is not set: ours alone (make bench-evaluation sets it)")
    lines = []
    for name, (shots, examples_for, target) in CASES.items():
        job = job_of(folder, shots, examples_for, 40 if options.quick else 10**6)
        job["repeats"] = 1 if options.quick else options.repeats
        line = compare(name, job, 1 if options.quick else options.turns, peers)
        line["target"] = target if peers else None
        lines.append(line)
        print(text_table([line]), flush=True)
    print(text_table(lines))
    missed = [
        line
        for line in lines
        if line.get("different") or line.get("ratio", 9) < (line["target"] or 0)
    ]
    if peers and not options.quick:
        found = {
            "command": "make bench-evaluation",
            "date": datetime.date.today().isoformat(),
            "cores": os.cpu_count(),
            "threads of each": 1,
            "versions": {
                **{name: metadata.version(name) for name in ("torch", "transformers")},
                "lm_eval": version(peers, "lm_eval"),
            },
            "lines": lines,
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return int(bool(missed))


def version(python: str, package: str) -> str:
    """The version of a package in another environment."""
    code = f"from importlib import metadata; print(metadata.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
