"""Loading a causal language model to evaluate it: a folder or a Hub id, in a stated precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trait_lib import pretrained

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(name: str | Path, precision: str = "fp32", threads: int = 1) -> tuple[Any, Any]:
    """Load (model, tokenizer); the tokenizer pads on the left, the model is in evaluation mode.

    On a CPU `threads` are used; two threads on a shared machine are slower than one.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: an unknown precision.
    """
    if precision not in DTYPES:
        raise ValueError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise FileNotFoundError(f"{name}: no such model folder; run notebook 03 first")
    made = tokenizer(name)
    # from_pretrained would load bf16 by default, and sums in bf16 depend on the batch
    model = AutoModelForCausalLM.from_pretrained(name, dtype=DTYPES[precision])
    if device().type == "cpu":
        torch.set_num_threads(threads)
    return model.to(device()).eval(), made


def positions(name: str | Path) -> int | None:
    """How many tokens a model can read; None without a limit."""
    return pretrained.positions(AutoConfig.from_pretrained(name))


def tokenizer(name: str | Path) -> Any:
    """A model's tokenizer, which pads on the left."""
    made = pretrained.tokenizer(name)
    made.padding_side = "left"
    return made
