"""The model to train: new weights from a configuration, or those of an existing model.

Paper: Mistral-7B, continued in bf16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def load_model(config: Mapping[str, Any], tokenizer: Any) -> Any:
    """A new model from `model_config`, or the weights of `model`.

    Weights are loaded in fp32, since an update of 2e-5 to a bf16 weight of 0.02 rounds to nothing;
    only under DeepSpeed with bf16, which keeps fp32 master weights itself, are they bf16.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    set_seed(config["seed"])
    own_master = config["engine"] == "deepspeed" and config["precision"] == "bf16"
    dtype = torch.bfloat16 if own_master else torch.float32
    if config["model"]:
        model = AutoModelForCausalLM.from_pretrained(config["model"], dtype=dtype)
        if model.config.vocab_size < len(tokenizer):
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size}; "
                "they do not belong together"
            )
    else:
        described = new_model_config(config["model_config"], tokenizer, config["sequence_length"])
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(**described), dtype=torch.float32
        )
    model.config.use_cache = False  # with a cache, packed documents would see each other
    if config["gradient_checkpointing"]:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if config["compile_model"]:
        model.compile(dynamic=False)  # every batch has the same shape
    return model


def new_model_config(given: Mapping[str, Any], tokenizer: Any, length: int) -> dict[str, Any]:
    """Complete a model configuration (default: Mistral) by what the tokenizer decides."""
    return {
        "model_type": "mistral",
        "max_position_embeddings": length,
        "sliding_window": None,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **given,
    }
