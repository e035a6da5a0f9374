"""The settings of one training run: a flat JSON object, checked before anything starts.

Provenance of each default stands in `SETTINGS`; "paper" values were read in the paper, the
others are ours because the paper does not state them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trait_lib import params, pretrained
from trait_lib.params import REQUIRED, Parameter

Config = dict[str, Any]

# type, default, allowed, meaning
_DECLARED: dict[str, tuple[str, Any, str, str]] = {
    "model": ("str", "", "", "folder or Hub name of the model to continue from"),
    "model_config": ("dict", {}, "", "settings of a new model, in place of `model`"),
    "tokenizer": ("str", "", "", "folder or Hub name; default: that of `model`"),
    "end_mark": ("str", "", "", "token that closes a document; default: chosen, and shown in 00"),
    "stages": ("list", REQUIRED, "", "[{name, tokens, sources: [{name, file, weight}]}]"),
    "sequence_length": ("int", REQUIRED, "[2, 1048576]", "tokens a row; paper: not stated"),
    "batch_tokens": ("int", REQUIRED, "[2, inf)", "tokens a step; paper: 1M"),
    "micro_batch_rows": ("int", 0, "[0, inf)", "rows a forward pass; 0: chosen by size"),
    "max_epochs": ("float", 4.0, "(0, inf)", "passes over a source; ours: up to 4 cost little"),
    "isolate_documents": ("bool", True, "", "a document sees no other of its row; ours"),
    "learning_rate": ("float", REQUIRED, "[0, 10]", "peak; paper: 2e-5, fine-tuning 5e-6"),
    "schedule": ("str", "wsd", "{wsd, cosine}", "paper: wsd; fine-tuning cosine"),
    "schedule_scope": ("str", "run", "{run, stage}", "one over all stages, or one each; ours"),
    "warmup_share": ("float", 0.03, "[0, 1]", "paper: 3 %"),
    "decay_share": ("float", 0.10, "[0, 1]", "paper: exponential over the last 10 %"),
    "final_lr_share": ("float", 0.1, "[0, 1]", "floor of the decay; paper: not stated"),
    "optimizer": ("str", "adamw", "{adamw, muon}", "paper: not stated; muon: engine plain"),
    "weight_decay": ("float", 0.1, "[0, 10]", "paper: not stated"),
    "adam_beta1": ("float", 0.9, "[0, 1]", "paper: not stated"),
    "adam_beta2": ("float", 0.95, "[0, 1]", "paper: not stated"),
    "adam_epsilon": ("float", 1e-8, "[0, 1]", "paper: not stated"),
    "clip": ("float", 1.0, "[0, inf)", "largest gradient norm; paper: not stated"),
    "precision": ("str", "fp32", "{fp32, bf16, bf16_autocast}", "paper: bf16"),
    "gradient_checkpointing": ("bool", False, "", "recompute activations to save memory"),
    "engine": ("str", "deepspeed", "{deepspeed, plain}", "paper: ZeRO stage 1"),
    "device": ("str", "auto", "{auto, cpu, cuda}", "auto: cuda if present"),
    "seed": ("int", 0, "[0, 2147483648]", "decides new weights and the order of the rows"),
    "checkpoint_steps": ("int", 0, "[0, inf)", "steps between checkpoints; 0: none"),
    "keep_checkpoints": ("int", 1, "[1, inf)", "newest checkpoints kept"),
    "whole_documents": ("bool", False, "", "no document is cut by a row's end; fine-tuning"),
    "loss_on": ("str", "all", "{all, answer}", "tokens to learn; fine-tuning, not stated"),
    "heldout": ("list", [], "", "[{name, file}] of texts to measure and never train on"),
    "heldout_tokens": ("int", 8192, "[0, inf)", "tokens measured of each of these texts"),
    "heldout_steps": ("int", 0, "[0, inf)", "steps between measurements; 0: start, stage ends"),
    "compile_model": ("bool", False, "", "torch.compile: faster on GPUs after a slow start"),
    "device_peak_tflops": ("float", 0.0, "[0, inf)", "of one device, for the log's MFU; 0: none"),
    "tensorboard": ("bool", False, "", "also write logs for TensorBoard (an extra package)"),
}
SETTINGS = {name: Parameter(name, *declared) for name, declared in _DECLARED.items()}


def check(given: Mapping[str, Any]) -> Config:
    """Return `given` with every default filled in; None counts as not given.

    Raises:
        params.ParameterError: names each offending key and what is allowed.
    """
    where = "training configuration"
    given = {key: value for key, value in given.items() if value is not None}
    full = params.completed(given, SETTINGS, where, "setting")
    if problems := _together(full):
        raise params.ParameterError(f"{where}: {'; '.join(problems)}")
    full["tokenizer"] = full["tokenizer"] or full["model"]
    return full


def resolve(config: Config) -> Config:
    """A checked configuration with the folder of its model in place of a name.

    Raises:
        FileNotFoundError, pretrained.ModelError: there is no such model; names it.
    """
    if not config["model"]:
        return config
    place = str(pretrained.folder(config["model"]))
    tokenizer = place if config["tokenizer"] == config["model"] else config["tokenizer"]
    return {**config, "model": place, "tokenizer": tokenizer}


def _together(config: Config) -> list[str]:
    """Problems that only several keys together show."""
    problems = []
    if bool(config["model"]) == bool(config["model_config"]):
        problems.append("give exactly one of 'model' and 'model_config'")
    if config["model_config"] and not config["tokenizer"]:
        problems.append("'tokenizer' is missing; a new model needs one")
    if config["batch_tokens"] % config["sequence_length"]:
        problems.append(
            f"'batch_tokens' must be a multiple of 'sequence_length' "
            f"({config['sequence_length']}), got {config['batch_tokens']}"
        )
    if config["schedule"] == "wsd" and config["final_lr_share"] == 0:
        problems.append("'final_lr_share' must be above 0: an exponential never reaches 0")
    if config["optimizer"] == "muon" and config["engine"] != "plain":
        problems.append("'optimizer' muon needs the engine plain")
    if config["warmup_share"] + config["decay_share"] > 1:
        problems.append("'warmup_share' and 'decay_share' together exceed 1")
    if not config["stages"]:
        problems.append("'stages' is empty; at least one stage is needed")
    for number, stage in enumerate(config["stages"], start=1):
        problems += _stage_problems(stage, f"stage {number}")
    for text in config["heldout"]:
        if not isinstance(text, dict) or set(text) != {"name", "file"}:
            problems.append(f"'heldout' holds {{name, file}} entries, got {text!r}")
    return problems


def _stage_problems(stage: Any, where: str) -> list[str]:
    if not isinstance(stage, dict) or set(stage) != {"name", "tokens", "sources"}:
        return [f"{where} must hold exactly name, tokens and sources, got {stage!r}"]
    problems = []
    if not isinstance(stage["tokens"], int) or stage["tokens"] <= 0:
        problems.append(f"{where}: 'tokens' must be an integer above 0, got {stage['tokens']!r}")
    if not stage["sources"]:
        problems.append(f"{where}: 'sources' is empty")
    for source in stage["sources"]:
        if not isinstance(source, dict) or set(source) != {"name", "file", "weight"}:
            problems.append(f"{where}: a source holds exactly name, file and weight: {source!r}")
        elif not isinstance(source["weight"], int | float) or not 0 < source["weight"] < math.inf:
            problems.append(
                f"{where}: 'weight' of {source['name']} must be above 0, got {source['weight']!r}"
            )
    return problems
