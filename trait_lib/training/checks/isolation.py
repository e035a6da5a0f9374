"""Do packed documents see each other? Asked of the real model class, before a training.

With restarting positions, no attention mask and no cache, the classes of transformers keep the
documents of a row apart; with an all-ones mask or with a cache they do not, and say nothing.
Paper: not stated.
"""

from __future__ import annotations

from typing import Any

LIMIT = 1e-4  # of a logit in fp32; a leak is a thousand times as large
LENGTHS = (7, 12, 5)


class DocumentsLeak(RuntimeError):
    """Documents of a row see each other with this model class and this version."""


def small_model(config: Any) -> Any:
    """A random model of the class of `config`, with two narrow layers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    described = AutoConfig.for_model(config.model_type, **small)
    model = AutoModelForCausalLM.from_config(described, dtype=torch.float32).eval()
    torch.random.set_rng_state(state)
    model.config.use_cache = False
    return model


def largest_leak(config: Any, restart: bool = True, batch: int = 1) -> float:
    """By how much a logit of three packed documents differs from that of each one alone, at most.

    `restart`: positions restart with each document, as the training does it.
    """
    import torch

    model = small_model(config)
    generator = torch.Generator().manual_seed(1)
    documents = [torch.randint(0, 64, (1, n), generator=generator) for n in LENGTHS]
    ids = torch.cat(documents, 1).expand(batch, -1)  # (B, S)
    parts = [torch.arange(n) for n in LENGTHS]
    positions = torch.cat(parts) if restart else torch.arange(sum(LENGTHS))
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=positions.expand(batch, -1)).logits
        alone = torch.cat([model(input_ids=one).logits for one in documents], 1)
    return float((packed - alone).abs().max())


def require(config: Any) -> None:
    """Raise `DocumentsLeak` when packed documents of this model class are not isolated."""
    for batch in (1, 2):
        leak = largest_leak(config, True, batch)
        if leak > LIMIT:
            raise DocumentsLeak(
                f"with {batch} rows a pass, documents of a row change each other's logits of "
                f"{type(config).__name__} by up to {leak:.2g}; set isolate_documents: false, or "
                "install the transformers of requirements.lock"
            )
