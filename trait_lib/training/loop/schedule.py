"""The learning rate at every step: warm-up, stable, decay (WSD), or warm-up and cosine.

Paper: WSD with 3 % warm-up and exponential decay over the last 10 %; fine-tuning: cosine with 3 %
warm-up. Not stated, so ours: the floor of the decay, and one schedule over both stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def wsd(step: int, steps: int, warmup: float, decay: float, floor: float) -> float:
    r"""Share of the peak rate at step `step` (from 0) of `steps`.

    With $W$ warm-up and $D$ decay steps: $(s+1)/W$ while $s < W$, then 1, then
    $f^{(s+1-(S-D))/D}$; the last step has exactly the floor $f$.
    """
    warm = _at_least_one(warmup, steps)
    fall = _at_least_one(decay, steps)
    if step < warm:
        return (step + 1) / warm
    if step < steps - fall:
        return 1.0
    return floor ** ((step + 1 - (steps - fall)) / fall)


def cosine(step: int, steps: int, warmup: float, floor: float) -> float:
    """Share of the peak rate: linear warm-up, then half a cosine down to `floor`."""
    warm = _at_least_one(warmup, steps)
    if step < warm:
        return (step + 1) / warm
    along = (step + 1 - warm) / max(1, steps - warm)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


def _at_least_one(share: float, steps: int) -> int:
    """Steps of a phase: none for share 0, else at least one."""
    return max(1, round(share * steps)) if share > 0 else 0


def share_at(step: int, stages: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> float:
    """Share of the peak rate at `step` (from 0) of a run with these stages.

    `stages` holds first_step and steps of each, as `plan.json` does.
    """
    last = stages[-1]
    first, steps = 0, last["first_step"] + last["steps"]
    if config["schedule_scope"] == "stage":
        stage = next((s for s in reversed(stages) if step >= s["first_step"]), stages[0])
        first, steps = stage["first_step"], stage["steps"]
    local = min(step - first, steps - 1)
    if config["schedule"] == "cosine":
        return cosine(local, steps, config["warmup_share"], config["final_lr_share"])
    return wsd(
        local, steps, config["warmup_share"], config["decay_share"], config["final_lr_share"]
    )


def rates(stages: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> list[float]:
    """The learning rate of every step of the run."""
    steps = stages[-1]["first_step"] + stages[-1]["steps"]
    return [config["learning_rate"] * share_at(s, stages, config) for s in range(steps)]
