"""The log of a training, `log.jsonl`: a line a step, and a line for each held-out measurement.

Paper: not stated; ours because what is not written while it happens cannot be looked up later.
"""

from __future__ import annotations

import json
import math
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trait_lib import records, run
from trait_lib.training.data import plan

Line = dict[str, Any]


class TrainingDiverged(FloatingPointError):
    """The loss or the gradient is not a number; the message names step, stage, rows, documents."""


def step_line(
    laid_out: plan.Plan,
    step: int,
    sums: list[list[float]],
    logs: Mapping[str, float],
    seconds: float,
    operations: float = 0.0,
    peak: float = 0.0,
) -> Line:
    """The log's line for `step` (from 1).

    Args:
        laid_out: the plan.
        step: optimizer step.
        sums: (loss sum in nats, tokens) of each source.
        logs: Trainer's own, for learning rate and gradient norm.
        seconds: wall time of the step.
        operations: floating-point operations a token, 6N + 12LdS.
        peak: FLOP/s of all devices; 0 when it is not known, then `mfu` is None.
    """
    tokens = laid_out.batch_rows * laid_out.sequence_length
    return {
        "step": step,
        "stage": laid_out.stage_of(step - 1),
        "tokens": step * tokens,
        "loss": sum(total for total, _ in sums) / max(1.0, sum(count for _, count in sums)),
        "learning_rate": logs["learning_rate"],
        "grad_norm": float(logs.get("grad_norm", math.nan)),
        "tokens_per_second": round(tokens / seconds, 1),
        "mfu": round(tokens / seconds * operations / peak, 4) if peak else None,
        "seconds": round(seconds, 4),
        "memory_gib": round(_memory_gib(), 3),
        "loss_by_source": {
            name: total / count
            for name, (total, count) in zip(laid_out.sources, sums, strict=True)
            if count
        },
    }


def heldout_line(laid_out: plan.Plan, step: int, scores: Mapping[str, Any], seconds: float) -> Line:
    """The log's line for a measurement after `step` steps; 0 stands for the model at the start."""
    return {
        "step": step,
        "stage": laid_out.stage_of(max(0, step - 1)),
        "heldout": dict(scores),
        "seconds": round(seconds, 4),
    }


def _memory_gib() -> float:
    """Peak memory of this rank: of the GPU when there is one, else of the process."""
    import torch

    if os.environ.get("DS_ACCELERATOR") != "cpu":
        return torch.cuda.max_memory_allocated() / 2**30
    return run.peak_gib(resource.RUSAGE_SELF)


def stop_if_diverged(line: Mapping[str, Any], laid_out: plan.Plan) -> None:
    """Raise `TrainingDiverged` when the loss or the gradient norm of a log line is not finite."""
    if math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]):
        return
    seen = [
        f"{row['source']} row {row['row']} (documents {_some(row['documents'])})"
        for row in plan.seen_at(laid_out, line["step"] - 1)[:8]
    ]
    raise TrainingDiverged(
        f"step {line['step']} (stage {line['stage']}): loss {line['loss']}, gradient norm "
        f"{line['grad_norm']}, learning rate {line['learning_rate']:g}. Its rows: "
        f"{', '.join(seen)}{' ...' if laid_out.batch_rows > 8 else ''}. Lower learning_rate, or "
        "look at those documents."
    )


def _some(documents: list[str]) -> str:
    return ", ".join(documents[:3]) + (" ..." if len(documents) > 3 else "")


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Write one line at the end of the log."""
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")


def rewind(path: Path, step: int) -> None:
    """Drop the log's lines after `step`: they will be trained again."""
    kept = []
    if path.exists() and step:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("}") and json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    with records.atomic_path(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def read(path: str | Path) -> tuple[list[Line], list[Line]]:
    """The lines of steps, and the lines of held-out measurements."""
    lines = list(records.read_rows(path))
    steps = [line for line in lines if "loss" in line]
    return steps, [line for line in lines if "heldout" in line]


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """A line as flat names and numbers, for TensorBoard."""
    flat: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{key}": number for key, number in scalars(value).items()}
        elif isinstance(value, int | float) and name != "step":
            flat[name] = value
    return flat
