"""The model to train: new weights from a configuration, or those of an existing model.

Paper: Mistral-7B, continued in bf16.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from trait_lib import pretrained

AUTOCAST = "bf16_autocast"
ROTARY_POSITIONS = 2048  # of a new model at least: they cost nothing, and tasks need room


def load_model(config: Mapping[str, Any], tokenizer: Any) -> Any:
    """A new model from `model_config`, or the weights of `model`.

    Weights are loaded in fp32, since an update of 2e-5 to a bf16 weight of 0.02 rounds to nothing;
    only under DeepSpeed with bf16, which keeps fp32 master weights itself, are they bf16.

    Raises:
        pretrained.ModelError: see `described`.
    """
    import torch
    from transformers import AutoModelForCausalLM, set_seed

    shape = described(config, tokenizer)
    set_seed(config["seed"])
    own_master = config["engine"] == "deepspeed" and config["precision"] == "bf16"
    dtype = torch.bfloat16 if own_master else torch.float32
    if config["model"]:
        model = AutoModelForCausalLM.from_pretrained(config["model"], dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    model.config.use_cache = False  # with a cache, packed documents would see each other
    settle(model, config["precision"])
    if config["gradient_checkpointing"]:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if config["compile_model"]:
        model.compile(dynamic=False)  # every batch has the same shape
    return model


def fp32_attention(module: Any, *states: Any, **rest: Any) -> Any:
    """Attention in fp32 whatever surrounds it: on CPUs its backward pass in bf16 is slower."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    queries, keys, values, *others = states
    with torch.autocast(queries.device.type, enabled=False):
        wide = [one.float() for one in (queries, keys, values)]
        return sdpa_attention_forward(module, *wide, *others, **rest)


def settle(model: Any, precision: str) -> None:
    """Give a model the attention that goes with the precision."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if precision == AUTOCAST:
        AttentionInterface.register("fp32_attention", fp32_attention)
        AttentionMaskInterface.register("fp32_attention", sdpa_mask)
        model.set_attn_implementation("fp32_attention")


def arithmetic(precision: str, device: str) -> Any:
    """The block in which a forward pass runs: with bf16_autocast its matrix products are bf16."""
    import torch

    return torch.autocast(device, torch.bfloat16) if precision == AUTOCAST else nullcontext()


def described(config: Mapping[str, Any], tokenizer: Any) -> Any:
    """The transformers configuration of the model to train, before any weight is read.

    Raises:
        pretrained.ModelError: the rows are longer than the model's positions, or the tokenizer
            has more tokens than the model; names both numbers.
    """
    from transformers import AutoConfig

    if config["model"]:
        shape = AutoConfig.from_pretrained(config["model"])
    else:
        shape = AutoConfig.for_model(
            **{
                "model_type": "mistral",
                "max_position_embeddings": max(ROTARY_POSITIONS, config["sequence_length"]),
                "sliding_window": None,
                "vocab_size": len(tokenizer),
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                **config["model_config"],
            }
        )
    pretrained.check_length(config["sequence_length"], shape, "a row (sequence_length)")
    pretrained.check_belongs(tokenizer, shape)
    return shape


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights, configuration and tokenizer as `from_pretrained` reads them.

    Weights that two layers share are written once: the state that DeepSpeed hands out holds them
    twice. An output ends where the training's documents end, and where the model ended before.
    """
    end = tokenizer.eos_token_id
    model.config.use_cache = True  # generation wants it
    model.config.eos_token_id = end
    before = model.generation_config.eos_token_id
    ends = dict.fromkeys([end, *(before if isinstance(before, list) else [before])])
    ends.pop(None, None)
    model.generation_config.eos_token_id = list(ends) if len(ends) > 1 else end
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
