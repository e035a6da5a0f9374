"""The settings of one training run: a flat JSON object, checked before anything starts.

Provenance of each default stands in `SETTINGS`; "paper" values were read in the paper, the
others are ours because the paper does not state them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REQUIRED = object()
Config = dict[str, Any]


class ConfigError(ValueError):
    """A setting that is unknown, missing, of the wrong type or out of range."""


@dataclass(frozen=True)
class Setting:
    """One key: its type, default, smallest and largest value or choices, and meaning."""

    type: type
    default: Any
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    help: str = ""


SETTINGS: dict[str, Setting] = {
    "model": Setting(str, "", help="folder or Hub id of the model to continue from"),
    "model_config": Setting(dict, None, help="settings of a new model, in place of `model`"),
    "tokenizer": Setting(str, "", help="folder or Hub id; default: that of `model`"),
    "stages": Setting(list, REQUIRED, help="[{name, tokens, sources: [{name, file, weight}]}]"),
    "sequence_length": Setting(int, REQUIRED, 2, 2**20, help="tokens a row; paper: not stated"),
    "batch_tokens": Setting(int, REQUIRED, 2, 2**40, help="tokens a step; paper: 1M"),
    "micro_batch_rows": Setting(int, 0, 0, 2**20, help="rows a forward pass; 0: chosen by size"),
    "max_epochs": Setting(
        float,
        4.0,
        0,
        math.inf,
        help="most passes over a source; ours: repetition up to 4 costs little",
    ),
    "isolate_documents": Setting(bool, True, help="a document sees no other of its row; ours"),
    "learning_rate": Setting(float, REQUIRED, 0, 10, help="peak; paper: 2e-5, fine-tuning 5e-6"),
    "schedule": Setting(
        str, "wsd", choices=("wsd", "cosine"), help="paper: wsd; fine-tuning cosine"
    ),
    "schedule_scope": Setting(
        str, "run", choices=("run", "stage"), help="one schedule over all stages, or one each; ours"
    ),
    "warmup_share": Setting(float, 0.03, 0, 1, help="paper: 3 %"),
    "decay_share": Setting(float, 0.10, 0, 1, help="paper: exponential over the last 10 %"),
    "final_lr_share": Setting(float, 0.1, 0, 1, help="floor of the decay; paper: not stated"),
    "weight_decay": Setting(float, 0.1, 0, 10, help="paper: not stated"),
    "adam_beta1": Setting(float, 0.9, 0, 1, help="paper: not stated"),
    "adam_beta2": Setting(float, 0.95, 0, 1, help="paper: not stated"),
    "adam_epsilon": Setting(float, 1e-8, 0, 1, help="paper: not stated"),
    "clip": Setting(float, 1.0, 0, math.inf, help="largest gradient norm; paper: not stated"),
    "precision": Setting(str, "fp32", choices=("fp32", "bf16"), help="paper: bf16"),
    "gradient_checkpointing": Setting(bool, False, help="recompute activations to save memory"),
    "engine": Setting(str, "deepspeed", choices=("deepspeed", "plain"), help="paper: ZeRO stage 1"),
    "device": Setting(str, "auto", choices=("auto", "cpu", "cuda"), help="auto: cuda if present"),
    "seed": Setting(int, 0, 0, 2**31, help="decides new weights and the order of the rows"),
    "checkpoint_steps": Setting(int, 0, 0, 2**31, help="steps between checkpoints; 0: none"),
    "keep_checkpoints": Setting(int, 1, 1, 10**6, help="newest checkpoints kept"),
    "whole_documents": Setting(bool, False, help="no document is cut by a row's end; fine-tuning"),
    "loss_on": Setting(
        str, "all", choices=("all", "answer"), help="tokens to learn; fine-tuning, not stated"
    ),
    "heldout": Setting(list, [], help="[{name, file}] of texts to measure and never train on"),
    "heldout_tokens": Setting(int, 8192, 2, 2**40, help="tokens measured of each of these texts"),
    "heldout_steps": Setting(
        int, 0, 0, 2**31, help="steps between measurements; 0: at start and stage ends only"
    ),
    "compile_model": Setting(bool, False, help="torch.compile: faster on GPUs after a slow start"),
    "device_peak_tflops": Setting(
        float, 0.0, 0, math.inf, help="peak of one device for the MFU in the log; 0: none"
    ),
    "tensorboard": Setting(bool, False, help="also write logs for TensorBoard (an extra package)"),
}


def check(given: Mapping[str, Any]) -> Config:
    """Return `given` with every default filled in.

    Raises:
        ConfigError: names each offending key and what is allowed.
    """
    problems = [_unknown(key) for key in given if key not in SETTINGS]
    full: Config = {}
    for key, setting in SETTINGS.items():
        value = given.get(key, setting.default)
        if value is REQUIRED:
            problems.append(f"{key!r} is missing ({setting.help})")
        elif key in given and (problem := _problem(value, setting)):
            problems.append(f"{key!r} {problem} ({setting.help})")
        else:
            full[key] = float(value) if setting.type is float else value
    if not problems:
        problems = _together(full)
    if problems:
        raise ConfigError("training configuration: " + "; ".join(problems))
    full["tokenizer"] = full["tokenizer"] or full["model"]
    return full


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, SETTINGS, n=1)
    return f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else "")


def _problem(value: Any, setting: Setting) -> str | None:
    if setting.type is dict:
        return (
            None if value is None or isinstance(value, dict) else f"must be a dict, got {value!r}"
        )
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number if setting.type is float else isinstance(value, setting.type)
    if not fits or (isinstance(value, bool) and setting.type is not bool):
        return f"must be of type {setting.type.__name__}, got {value!r}"
    if number and not setting.low <= value <= setting.high:  # NaN fails too
        return f"must lie in [{setting.low}, {setting.high}], got {value!r}"
    if setting.choices and value not in setting.choices:
        return f"must be one of {', '.join(setting.choices)}, got {value!r}"
    return None


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
