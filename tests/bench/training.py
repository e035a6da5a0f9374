"""Tokens per second of our training step against a plain PyTorch loop: `make bench-training`.

Both train the same model on the same rows of the same plan with the same AdamW and schedule. Ours
is the real entry point in a process of its own: the Trainer, with DeepSpeed ZeRO-1 and without,
with its log, loss by source and exact sums. The loop is `tests/bench/training_loop.py`, the
shortest program that does the same sums. They take turns, so that a busy machine disturbs both;
compared is the lower quartile of the steps after start-up, that is, of the least disturbed.

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
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
LOOP = Path(__file__).with_name("training_loop.py")
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
    parser.add_argument("--quick", action="store_true", help="one round of few steps")
    parser.add_argument("--steps", type=int, help="steps of each run")
    parser.add_argument("--rounds", type=int, help="times that all take turns")
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
    steps = given.steps or (8 if given.quick else 25 if large else 12 if given.tiny else 80)
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


def ours(folder: Path, config: dict[str, Any], engine: str) -> dict[str, Any]:
    """Seconds of each step by the real entry point, and of its start."""
    import shutil

    from trait_lib import records
    from trait_lib.training import journal, launch

    place = folder / engine
    shutil.rmtree(place, ignore_errors=True)
    launch.run(place, {**config, "engine": engine}, 1)
    steps, _ = journal.read(place / "log.jsonl")
    done = records.read_json(place / "finished.json")
    return {
        "seconds": [line["seconds"] for line in steps],
        "losses": [line["loss"] for line in steps],
        "startup": done["startup_seconds"],
        "gib": steps[-1]["memory_gib"],
    }


def loop(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The same of the plain loop, in a process of its own too."""
    (folder / "loop.json").write_text(json.dumps(config))
    out = folder / "loop-out.json"
    words = [sys.executable, str(LOOP), str(folder / "loop.json"), str(out)]
    subprocess.run(words, check=True, cwd=ROOT)
    return json.loads(out.read_text())


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All sides in turns, over all rounds."""
    from trait_lib.training import preflight

    config = configuration(given, folder)
    write_text(folder)
    sides = {
        "plain loop": lambda: loop(folder, config),
        "ours, deepspeed": lambda: ours(folder, config, "deepspeed"),
    }
    if not given.gpu:
        sides["ours, plain"] = lambda: ours(folder, config, "plain")
    rounds = given.rounds or (1 if given.quick or given.tiny or given.gpu else 4)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            found[name].append(sides[name]())
            print(f"round {number + 1} of {rounds}: {name} done", flush=True)
    described = {"vocab_size": 2048, **config["model_config"]}
    size = preflight.shape(preflight.model_config("", described))
    operations = preflight.flops_per_token(size, config["sequence_length"])
    return {"config": config, "rows": rows_of(found, config, operations), "size": size.multiplying}


def rows_of(
    found: dict[str, list[dict[str, Any]]], config: dict[str, Any], operations: int
) -> list[dict[str, Any]]:
    """One row a side: tokens a second, ratio to the loop, MFU, start-up, difference of losses."""
    seconds = {
        name: statistics.quantiles([s for run in runs for s in run["seconds"][SKIPPED:]], n=4)[0]
        for name, runs in found.items()
    }
    first = found["plain loop"][0]["losses"]
    rows = []
    for name, runs in found.items():
        speed = config["batch_tokens"] / seconds[name]
        peak = config["device_peak_tflops"] * 1e12
        differ = max(abs(a - b) / b for a, b in zip(runs[0]["losses"][:3], first[:3], strict=True))
        rows.append(
            {
                "side": name,
                "tokens_per_second": round(speed),
                "ratio": round(seconds["plain loop"] / seconds[name], 3),
                "mfu": round(speed * operations / peak, 3) if peak else None,
                "startup_seconds": round(statistics.median(run["startup"] for run in runs), 1),
                "memory_gib": runs[0]["gib"],
                "loss_difference": float(f"{differ:.1e}"),
            }
        )
    return rows


def main() -> int:
    given = arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not given.gpu or given.tiny:
        os.environ.update(DS_ACCELERATOR="cpu", CUDA_VISIBLE_DEVICES="")
    with tempfile.TemporaryDirectory() as name:
        os.environ["TRAIT_RUNS"] = name
        sys.path.insert(0, str(ROOT))
        result = measure(given, Path(name).resolve())
    print(f"\n{'':18}{'tokens/s':>12}{'ratio':>8}{'MFU':>8}{'start s':>9}{'loss differs':>14}")
    for row in result["rows"]:
        mfu = "-" if row["mfu"] is None else f"{row['mfu']:.1%}"
        print(
            f"{row['side']:18}{row['tokens_per_second']:12,}{row['ratio']:8.3f}{mfu:>8}"
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
