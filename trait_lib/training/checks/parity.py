"""Are the gradients right? The real Trainer path against a few lines of PyTorch, before a training.

A tiny model takes one step on the same rows: as one process without any of the machinery, and as
several ranks under it, in one pass each and accumulated over several. A plain gradient step of
known size makes the gradient visible: what the weights moved by. Versions of DeepSpeed have
computed wrong gradients without a word (two ranks, bf16, fp32 accumulation: the norm was 0.63
instead of 0.45), and a training does not show it. Paper: not stated.

    python -m torch.distributed.run --standalone --nproc-per-node=2 \
        -m trait_lib.training.checks.parity --folder FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from trait_lib import code, head, records, run
from trait_lib.training.data import plan, shards
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import engine

# largest relative difference: sums in another order, in the arithmetic of the precision
LIMITS = {"fp32": 1e-6, "bf16": 1e-3}
ROWS, LENGTH, VOCABULARY = 8, 32, 64
SHAPE = {
    "model_type": "mistral",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "sliding_window": None,
}
# so large a step that the old weight does not blur the gradient: w' = w - RATE * g
RATE = 1e4


class WrongGradients(RuntimeError):
    """The gradients of the installed packages are not those of PyTorch; the message has numbers."""


def write_rows(folder: Path) -> plan.Plan:
    """A plan of one step over random tokens; no tokenizer is needed."""
    import numpy as np

    drawn = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    drawn.integers(2, VOCABULARY, ROWS * LENGTH).astype(np.uint16).tofile(folder / "tokens.bin")
    starts = np.sort(drawn.choice(ROWS * LENGTH, 3 * ROWS, replace=False))
    starts[0] = 0
    np.save(folder / "starts.npy", starts)
    meta = {"dtype": "uint16", "tokens": ROWS * LENGTH, "documents": len(starts), "empty": 0}
    records.write_json(folder / "meta.json", meta)
    (folder / "ids.jsonl").write_text("".join(f'"{n}"\n' for n in range(len(starts))))
    source = {"name": "random", "file": "random", "weight": 1.0}
    config = {
        "stages": [{"name": "one step", "tokens": ROWS * LENGTH, "sources": [source]}],
        "sequence_length": LENGTH,
        "batch_tokens": ROWS * LENGTH,
        "max_epochs": 1.0,
        "seed": 0,
    }
    return plan.build(config, {"random": shards.open_shard(folder)})


def configuration(precision: str, micro_rows: int, device: str) -> settings.Config:
    """The training configuration of one case: a constant rate, nothing clipped."""
    source = {"name": "random", "file": "random", "weight": 1.0}
    return settings.check(
        {
            "model_config": SHAPE,
            "tokenizer": "none",
            "stages": [{"name": "one step", "tokens": ROWS * LENGTH, "sources": [source]}],
            "sequence_length": LENGTH,
            "batch_tokens": ROWS * LENGTH,
            "micro_batch_rows": micro_rows,
            "learning_rate": 1.0,
            "warmup_share": 0.0,
            "decay_share": 0.0,
            "clip": 1e9,
            "precision": precision,
            "device": device,
        }
    )


def new_model(precision: str) -> Any:
    """The same tiny model at each call, in the weights' precision that DeepSpeed trains."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPE), dtype=torch.float32)
    model.config.use_cache = False
    return model.to(torch.bfloat16 if precision == "bf16" else torch.float32)


def reference(laid_out: plan.Plan, precision: str, device: Any) -> tuple[Any, float]:
    """Plain PyTorch, one process, row by row: the gradient as a vector (P,) in fp32, its norm."""
    import torch

    from trait_lib.training.data import rows

    model = new_model(precision).to(device).train()
    data = rows.PlannedRows(laid_out, True)
    batches = [rows.collate([data[n]]) for n in range(ROWS)]
    targets = [rows.next_tokens(batch["labels"]) for batch in batches]
    total = sum(int((one != -100).sum()) for one in targets)
    summed = [torch.zeros_like(p, dtype=torch.float32) for p in model.parameters()]
    for batch, target in zip(batches, targets, strict=True):
        ids, positions = batch["input_ids"].to(device), batch["position_ids"].to(device)
        logits = model(input_ids=ids, position_ids=positions).logits
        (head.cross_entropies(logits, target.to(device)).sum() / total).backward()
        for kept, parameter in zip(summed, model.parameters(), strict=True):
            kept += parameter.grad.float()
            parameter.grad = None
    vector = torch.cat([part.flatten() for part in summed]).cpu()
    return vector, float(vector.double().norm())


def one_step(
    laid_out: plan.Plan, precision: str, micro_rows: int, folder: Path, device: str, world: int
) -> tuple[Any, float]:
    """The same by the real Trainer path: the gradient (P,) that moved the weights, and its norm."""
    import torch
    from deepspeed.utils import safe_get_full_fp32_param

    from trait_lib.training.loop import training_log
    from trait_lib.training.loop.trainer import PlannedTrainer

    config = configuration(precision, micro_rows, device)
    model = new_model(precision)
    trainer = PlannedTrainer(config, laid_out, folder, model, world)
    before = torch.cat([p.detach().float().flatten().cpu() for p in model.parameters()])

    def plain_steps(model: Any = None) -> Any:
        trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=RATE)
        return trainer.optimizer

    trainer.create_optimizer = plain_steps
    trainer.accelerator.wait_for_everyone()
    trainer.train()
    # a collective of all ranks: the master weights lie in parts
    after = [safe_get_full_fp32_param(p).flatten().cpu() for p in model.parameters()]
    logged = training_log.read(folder / "log.jsonl")[0][-1]["grad_norm"] if is_first() else 0.0
    return (before - torch.cat(after)) / RATE, logged


def is_first() -> bool:
    """Whether this is the rank that writes."""
    return os.environ.get("RANK", "0") == "0"


def compare(folder: Path, device: str) -> list[dict[str, Any]]:
    """All cases of this number of ranks; call it under torchrun, on every rank."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = os.environ.get("RANK", "0")
    laid_out = write_rows(folder / f"rank-{rank}" / "rows")  # the name decides the order
    found = []
    for precision in LIMITS:
        share = ROWS // world
        for micro in (share, max(1, share // 4)):
            engine.prepare_environment(configuration(precision, micro, device), folder)
            place = folder / f"{precision}-{world}-{micro}"
            place.mkdir(exist_ok=True)
            gradient, norm = one_step(laid_out, precision, micro, place, device, world)
            place_of = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else "cpu"
            true, true_norm = reference(laid_out, precision, place_of)
            case = {
                "precision": precision,
                "ranks": world,
                "accumulated": share // micro,
                "norm": norm,
                "true_norm": true_norm,
                "norm_error": abs(norm - true_norm) / true_norm,
                "gradient_error": float((gradient - true).norm() / true.norm()),
            }
            found.append(case)
    return found


def key(ranks: int, device: str) -> dict[str, Any]:
    """What decides the outcome: checked once for each set of packages and kind of device."""
    import torch

    names = ("torch", "deepspeed", "transformers", "accelerate")
    return {
        "versions": {name: metadata.version(name) for name in names},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "ranks": ranks,
        "code": code.hash_of("trait_lib.training.checks.parity"),
    }


def check(ranks: int = 2, device: str = "auto") -> list[dict[str, Any]]:
    """Compare the gradients of `ranks` ranks with those of one process; once for these packages.

    Raises:
        WrongGradients: a difference above `LIMITS`; the message has the numbers.
        RuntimeError: the check itself failed; the message ends with its output.
    """
    import torch

    on = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    if on == "cuda":  # a rank needs a GPU of its own
        ranks = min(ranks, torch.cuda.device_count())

    def build(folder: Path) -> None:
        _run(folder, ranks, on)

    cases = records.read_json(run.cached("gradients", key(ranks, on), build) / "cases.json")
    refuse_wrong(cases)
    return cases


def _run(folder: Path, ranks: int, device: str) -> None:
    from trait_lib.training import launch

    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    entry = ["-m", "trait_lib.training.checks.parity", "--folder", str(folder), "--device", device]
    words = [sys.executable, *torchrun, *entry]
    with open(folder / "out", "wb") as output, launch.child(folder, words, output) as started:
        started.wait()
    if started.returncode:
        said = (folder / "out").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"the check of gradients failed with {ranks} ranks:\n{said}")


def refuse_wrong(cases: list[Mapping[str, Any]]) -> None:
    """Raise `WrongGradients` where a case is further from PyTorch than its precision explains."""
    wrong = [case for case in cases if not error_of(case) <= LIMITS[case["precision"]]]
    if wrong:
        told = "; ".join(
            f"{c['precision']}, {c['ranks']} ranks, {c['accumulated']} passes a step: norm "
            f"{c['norm']:.6g} instead of {c['true_norm']:.6g}"
            for c in wrong
        )
        raise WrongGradients(
            f"deepspeed {metadata.version('deepspeed')} with torch {metadata.version('torch')} "
            f"gives wrong gradients: {told}. Install the versions of requirements.lock."
        )


def error_of(case: Mapping[str, Any]) -> float:
    """What is held against the limit: in fp32 the whole gradient, in bf16 its norm.

    Single numbers of a bf16 gradient are rounded to 3 digits, so only their norm can agree better.
    """
    both = max(case["norm_error"], case["gradient_error"])
    return both if case["precision"] == "fp32" else case["norm_error"]


def main(arguments: list[str] | None = None) -> int:
    """One rank of the comparison."""
    parser = argparse.ArgumentParser(prog="trait_lib.training.checks.parity", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where cases.json is written")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args(arguments)
    engine.end_with_launcher()
    engine.prepare_environment(configuration("fp32", 1, given.device), given.folder)
    cases = compare(given.folder, given.device)
    if is_first():
        records.write_json(given.folder / "cases.json", cases)
        print(json.dumps(cases))
    engine.close_ranks()
    return 0


if __name__ == "__main__":
    sys.exit(main())
