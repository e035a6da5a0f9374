"""From hours to tokens: how a CPU is used, and what fits into the time, the same for all arms.

Paper: tokens are stated, hours are not. Ours: a reader has an hour and a machine of unknown speed.
What was settled for a base model and its data is kept, so that every arm, whenever it is run,
trains on equally many tokens in the same arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trait_lib import records, run

Values = dict[str, Any]
LEAST = 40_000  # tokens of a stage: less teaches a model of 135M parameters nothing to be seen
ASSUMED = 250.0  # tokens/s of SmolLM2-135M on two cores with AVX-512, where none is measured
NOTEBOOK_GIB = 1.0  # of the notebook's own process
CHOSEN = ("precision", "processes", "threads", "tokens_per_second")
DECIDING = ("hours", "training_share", "precision", "processes", "sequence_length", "batch_tokens")


def settle(stage: run.Stage, values: Values, model: Mapping[str, str]) -> Values:
    """`values` with precision, processes and tokens in place of `auto`, 0 and hours; said aloud.

    Values that leave nothing open come back as they are. The threads of each rank go into the
    environment, for the training that is started from here.

    Args:
        stage: this stage; its data decide which budget is read.
        values: parameters of notebook 03.
        model: what `inputs.starting_model` gave.

    Raises:
        ValueError: the hours hold less than 40,000 tokens a stage.
    """
    if values["precision"] != "auto" and values["processes"] and not values["hours"]:
        return values
    if values["dry_run"]:
        found = _settled(values, model["name_or_path"])
    else:
        base = records.read_json(stage.read("00_start_here", "base_model.json"))
        key = {
            **{name: values[name] for name in (*DECIDING, "domain", "tier")},
            "model": base["hash"],
            "data": run.hash_file(stage.read("00_start_here", "heldout_domain.jsonl")),
        }

        def build(folder: Path) -> None:
            records.write_json(folder / "budget.json", _settled(values, base["name_or_path"]))

        found = records.read_json(run.cached("budget", key, build) / "budget.json")
    os.environ["OMP_NUM_THREADS"] = str(found["threads"])
    settled = {**values, **{name: found[name] for name in found if name in values}}
    print(said(values, settled, found))
    return settled


def assumed(values: Values) -> Values:
    """`values` as far as they can be settled without a measurement, for a bill: `ASSUMED` tokens/s.

    Two processes of fp32; nothing changes in values that leave nothing open.
    """
    tokens = {}
    if values["hours"]:
        count = tokens_of(ASSUMED, values)
        tokens = {"tokens_stage1": count, "tokens_stage2": count}
    precision = "fp32" if values["precision"] == "auto" else values["precision"]
    return {**values, **tokens, "precision": precision, "processes": values["processes"] or 2}


def said(values: Values, settled: Values, found: Values) -> str:
    """What was chosen, in a sentence or two."""
    text = (
        f"{found['precision']}, {found['processes']} process(es) of {found['threads']} thread(s): "
        f"{found['tokens_per_second']:,.0f} tokens/s expected here, about "
        f"{found['memory_gib']:.1f} GiB of memory in all"
    )
    if not values["hours"]:
        return text
    first, second = settled["tokens_stage1"], settled["tokens_stage2"]
    hours = (first + second) / found["tokens_per_second"] / 3600
    return (
        f"{text}\n{values['hours']:g} hours, {values['training_share']:.0%} of them to train: "
        f"{first:,} + {second:,} tokens, {hours:.2f} hours; the same for every arm of this model"
    )


def _settled(values: Values, name: str) -> Values:
    import torch

    from trait_lib.training.checks import preflight, speed

    if torch.cuda.is_available():
        raise ValueError(
            "precision: auto, processes: 0 and hours are for a CPU; here is a GPU: set precision: "
            f"bf16, processes: {torch.cuda.device_count()}, hours: 0 and the tokens"
        )
    config = preflight.model_config(name, revision=values["base_revision"])
    ways = speed.measured(config, values["sequence_length"], values["batch_tokens"])
    wanted = [
        way
        for way in ways
        if values["precision"] in ("auto", way["precision"])
        and values["processes"] in (0, way["processes"])
    ]
    if not wanted:
        raise ValueError(
            f"no way to train with precision {values['precision']} and {values['processes']} "
            f"processes was measured; there are: {ways}. Set precision: auto and processes: 0"
        )
    best = {name: wanted[0][name] for name in CHOSEN}
    asked = {"engine": values["engine"], "sequence_length": values["sequence_length"], **best}
    each = preflight.device_gib(preflight.shape(config), asked, best["processes"], 1, False)
    best["memory_gib"] = best["processes"] * each + NOTEBOOK_GIB
    if not values["hours"]:
        return best
    tokens = tokens_of(best["tokens_per_second"], values)
    return {**best, "tokens_stage1": tokens, "tokens_stage2": tokens}


def tokens_of(tokens_per_second: float, values: Mapping[str, Any]) -> int:
    """Tokens of each of the two stages, in whole batches.

    Raises:
        ValueError: fewer than `LEAST`; says which hours suffice.
    """
    seconds = 3600 * values["hours"] * values["training_share"]
    batch = values["batch_tokens"]
    tokens = int(seconds * tokens_per_second / 2) // batch * batch
    if tokens < LEAST:
        needed = 2 * (LEAST + batch) / tokens_per_second / 3600 / values["training_share"]
        raise ValueError(
            f"hours: {values['hours']:g} hold {tokens:,} tokens a stage at "
            f"{tokens_per_second:,.0f} tokens/s; {LEAST:,} are the least. Set hours: {needed:.1f}"
        )
    return tokens
