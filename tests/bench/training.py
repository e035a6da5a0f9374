"""Tokens per second of our training step against a plain PyTorch loop: `make bench-training`.

Both train the same model on the same rows of the same plan with the same AdamW and schedule. Ours
is the real entry point in a process of its own: the Trainer, with DeepSpeed ZeRO-1 and without,
with its log, loss by source and exact sums. The loop is `tests/bench/training_loop.py`, the
shortest program that does the same sums. On a CPU they take turns of a second, stopped and
continued, so that a busy machine disturbs all alike; compared is the lower quartile of the steps
after start-up, that is, of the undisturbed ones; beside it, CPU seconds a step, which no other
process disturbs. Start-up is measured before, one at a time.

    make bench-training                          a CPU core, the replica's base model
    make bench-training BENCH_ARGS=--gpu         a GPU: 1.2B parameters, Mistral architecture, rows
                                                 of 4096, bf16, ZeRO-1, random weights, compiled
    make bench-training BENCH_ARGS='--gpu --tiny'  the same code path on a CPU, without meaning

MFU: 6N + 12 L d S operations a token, over the stated peak of the device (--peak-tflops).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
LOOP = Path(__file__).with_name("training_loop.py")
TURN_SECONDS = 1.0
SKIPPED = 5  # first steps: allocation, compilation
TARGET, TARGET_MFU = 0.95, 0.45

REPLICA = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
LARGE = {  # Mistral's proportions: 1.16e9 parameters that multiply
    "hidden_size": 2048,
    "num_hidden_layers": 20,
    "intermediate_size": 7168,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
}
TINY = {**REPLICA, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--gpu", action="store_true", help="measure on a GPU, with bf16 and compile"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="tiny model and rows: does it run at all"
    )
    parser.add_argument("--quick", action="store_true", help="few steps, no results file")
    parser.add_argument("--steps", type=int, help="steps of each run")
    parser.add_argument(
        "--isolate", action="store_true", help="documents of a row do not see each other"
    )
    parser.add_argument("--no-compile", action="store_true", help="GPU: without torch.compile")
    parser.add_argument("--micro-rows", type=int, help="rows of a forward pass")
    parser.add_argument(
        "--peak-tflops", type=float, default=989.0, help="GPU: dense bf16 peak; H100, H200: 989"
    )
    parser.add_argument("--no-results", action="store_true", help="write no results file")
    return parser.parse_args()


def configuration(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The training configuration that both sides read."""
    large = given.gpu and not given.tiny
    length, rows = (4096, 32) if large else ((64, 8) if given.tiny else (256, 4))
    steps = given.steps or (20 if given.quick else 25 if large else 12 if given.tiny else 150)
    source = {"name": "text", "file": str(folder / "text.jsonl"), "weight": 1.0}
    tokens = steps * rows * length
    return {
        "model_config": LARGE if large else TINY if given.tiny else REPLICA,
        "tokenizer": str(folder / "tokenizer"),
        "stages": [{"name": "bench", "tokens": tokens, "sources": [source]}],
        "sequence_length": length,
        "batch_tokens": rows * length,
        "micro_batch_rows": given.micro_rows or (4 if large else 2 if given.tiny else rows),
        "max_epochs": 1e6,
        "isolate_documents": given.isolate,
        "learning_rate": 2e-4,
        "precision": "bf16" if given.gpu else "fp32",
        "compile_model": given.gpu and not given.no_compile,
        "device": "cuda" if large else "cpu",
        "device_peak_tflops": given.peak_tflops if large else 0.0,
    }


def write_text(folder: Path) -> None:
    """Documents of random words, and a tokenizer of their own; no download."""
    import random

    from trait_lib import records
    from trait_lib.training import base

    drawn = random.Random(0)
    words = ["".join(drawn.choices("abcdefghij", k=drawn.randint(2, 9))) for _ in range(3000)]
    texts = (" ".join(drawn.choices(words, k=drawn.randint(20, 400))) for _ in range(1500))
    records.write_rows(
        folder / "text.jsonl", ({"id": str(n), "text": t} for n, t in enumerate(texts))
    )
    base.train_tokenizer([folder / "text.jsonl"], 2048, folder / "tokenizer")


def command(side: str, folder: Path, config: dict[str, Any]) -> list[str]:
    """Write what one side reads; return how it is started. It logs into `folder`/log.jsonl."""
    from trait_lib.training import launch

    folder.mkdir()
    if side == "plain loop":
        (folder / "config.json").write_text(json.dumps(config))
        return [sys.executable, str(LOOP), str(folder)]
    launch.write(folder, {**config, "engine": side.partition(", ")[2]}, 1)
    return launch.command(folder / "config.json")


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The steps that a side has logged so far."""
    file = folder / "log.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait(running: subprocess.Popen[bytes], until: Callable[[], Any]) -> None:
    """Let a side run until something is true or it has ended."""
    while running.poll() is None and not until():
        time.sleep(0.02)
    if running.returncode:
        raise SystemExit(f"a side failed with exit code {running.returncode}; see above")


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start every side, let them take turns, and read what they have logged."""
    from trait_lib.training.checks import preflight

    config = configuration(given, folder)
    write_text(folder)
    sides = ["plain loop", "ours, deepspeed", *([] if given.gpu else ["ours, plain"])]
    words = {side: command(side, folder / side.replace(", ", "-"), config) for side in sides}
    started = {}
    for side, run in words.items():
        log = folder / side.replace(", ", "-")
        process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL)
        started[side] = process
        wait(process, lambda log=log: not given.gpu and steps_of(log))
        print(f"{side}: {'done' if process.poll() is not None else 'has started'}", flush=True)
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)
    folders = {side: folder / side.replace(", ", "-") for side in sides}
    spent = take_turns(started, folders)
    found = {side: {**read(folders[side]), "cpu": cpu_of_a_step(spent[side])} for side in sides}
    described = {"vocab_size": 2048, **config["model_config"]}
    size = preflight.shape(preflight.model_config("", described))
    operations = preflight.flops_per_token(size, config["sequence_length"])
    return {"config": config, "rows": rows_of(found, config, operations), "size": size.multiplying}


def take_turns(
    started: dict[str, subprocess.Popen[bytes]], folders: dict[str, Path]
) -> dict[str, list[tuple[float, int]]]:
    """Continue one after the other for a second each, until all have ended.

    Returns what each had spent at every stop: (CPU seconds, steps).
    """
    spent: dict[str, list[tuple[float, int]]] = {side: [] for side in started}
    while left := [side for side, process in started.items() if process.poll() is None]:
        for side in left:
            process = started[side]
            spent[side].append((cpu_seconds(process.pid), len(steps_of(folders[side]))))
            process.send_signal(signal.SIGCONT)
            end = time.monotonic() + TURN_SECONDS
            wait(process, lambda end=end: time.monotonic() > end)
            if process.poll() is None and len(left) > 1:
                process.send_signal(signal.SIGSTOP)
    return spent


def cpu_seconds(process: int) -> float:
    """CPU seconds of a process with all its threads (Linux)."""
    file = Path(f"/proc/{process}/stat")
    if not file.exists():
        return 0.0
    fields = file.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_a_step(spent: list[tuple[float, int]]) -> float | None:
    """CPU seconds a step between the first stop after start-up and the last one before the end."""
    after = [(cpu, steps) for cpu, steps in spent if steps >= SKIPPED]
    if len(after) < 2 or after[-1][1] == after[0][1]:
        return None
    return (after[-1][0] - after[0][0]) / (after[-1][1] - after[0][1])


def read(folder: Path) -> dict[str, Any]:
    """Seconds and loss of each step of a side, and of its start."""
    steps = steps_of(folder)
    return {
        "seconds": [line["seconds"] for line in steps],
        "losses": [line["loss"] for line in steps],
        "startup": json.loads((folder / "finished.json").read_text())["startup_seconds"],
        "gib": steps[-1]["memory_gib"],
    }


def rows_of(
    found: dict[str, dict[str, Any]], config: dict[str, Any], operations: int
) -> list[dict[str, Any]]:
    """One row a side: tokens a second, ratio to the loop, MFU, start-up, difference of losses."""
    seconds = {
        name: statistics.quantiles(run["seconds"][SKIPPED:], n=4)[0] for name, run in found.items()
    }
    first = found["plain loop"]["losses"]
    rows = []
    for name, run in found.items():
        speed = config["batch_tokens"] / seconds[name]
        peak = config["device_peak_tflops"] * 1e12
        differ = max(abs(a - b) / b for a, b in zip(run["losses"][:3], first[:3], strict=True))
        rows.append(
            {
                "side": name,
                "tokens_per_second": round(speed),
                "ratio": round(seconds["plain loop"] / seconds[name], 3),
                "cpu_ratio": cpu_ratio(found, name),
                "mfu": round(speed * operations / peak, 3) if peak else None,
                "startup_seconds": round(run["startup"], 1),
                "memory_gib": run["gib"],
                "loss_difference": float(f"{differ:.1e}"),
            }
        )
    return rows


def cpu_ratio(found: dict[str, dict[str, Any]], name: str) -> float | None:
    """CPU seconds of a step of the loop over those of a side."""
    loop, side = found["plain loop"]["cpu"], found[name]["cpu"]
    return round(loop / side, 3) if loop and side else None


def main() -> int:
    given = arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not given.gpu or given.tiny:
        os.environ.update(DS_ACCELERATOR="cpu", CUDA_VISIBLE_DEVICES="")
    with tempfile.TemporaryDirectory() as name:
        os.environ["TRAIT_RUNS"] = name
        sys.path.insert(0, str(ROOT))
        result = measure(given, Path(name).resolve())
    heads = f"{'tokens/s':>12}{'ratio':>8}{'by CPU':>8}{'MFU':>8}{'start s':>9}{'loss differs':>14}"
    print(f"\n{'':18}{heads}")
    for row in result["rows"]:
        mfu = "-" if row["mfu"] is None else f"{row['mfu']:.1%}"
        cpu = "-" if row["cpu_ratio"] is None else f"{row['cpu_ratio']:.3f}"
        print(
            f"{row['side']:18}{row['tokens_per_second']:12,}{row['ratio']:8.3f}{cpu:>8}{mfu:>8}"
            f"{row['startup_seconds']:9.1f}{row['loss_difference']:14.1e}"
        )
    print(f"targets: ratio at least {TARGET}; on a GPU an MFU of at least {TARGET_MFU:.0%}")
    if not (given.no_results or given.quick or given.tiny):
        write_results(given, result)
    return 0


def write_results(given: argparse.Namespace, result: dict[str, Any]) -> None:
    """`results/training.json`, or `training_gpu.json`: numbers, command, versions, machine."""
    import torch

    device = torch.cuda.get_device_name() if given.gpu else f"CPU, {os.cpu_count()} cores"
    config = {k: v for k, v in result["config"].items() if k not in ("tokenizer", "stages")}
    words = " ".join(sys.argv[1:])
    report = {
        "command": "make bench-training" + (f" BENCH_ARGS='{words}'" if words else ""),
        "date": datetime.date.today().isoformat(),
        "device": device,
        "parameters_that_multiply": result["size"],
        "configuration": config,
        "packages": {
            p: metadata.version(p) for p in ("torch", "transformers", "accelerate", "deepspeed")
        },
        "targets": {"ratio": TARGET, "mfu": TARGET_MFU if given.gpu else None},
        "convention": "MFU: 6N + 12LdS operations a token over the stated peak of the device",
        "rows": result["rows"],
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / ("training_gpu.json" if given.gpu else "training.json")
    file.write_text(json.dumps(report, indent=2) + "\n")
    print("written:", file.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
