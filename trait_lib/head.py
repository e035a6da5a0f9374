"""The output layer a piece at a time: the loss of each token without all logits at once.

With a vocabulary of 49k, the logits of 4,096 tokens take 0.8 GB in fp32, and a plain loss keeps
three such tensors. Here the layer is applied to some places at a time, to those that predict
something, and their part of the gradient is taken at once, so that nothing is computed twice.
Small vocabularies take the plain way. Paper: not stated; ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional

PIECE_BYTES = 2**26  # of fp32 logits in a piece; what is smaller in all takes the plain way


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each place in nats, 0 where the target is -100; logits (..., V)."""
    flat = functional.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), ignore_index=-100, reduction="none"
    )
    return flat.view_as(targets)


def token_losses(
    call: Callable[..., Any], model: Any, inputs: Mapping[str, Any], targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of the losses, with its gradient; the loss of each place (B, S), without) in nats.

    Args:
        call: what is called with `inputs`: the model, or what wraps it.
        model: the model itself.
        inputs: of the model.
        targets: (B, S), what each place predicts, -100 for nothing.
    """
    layer, predicted = _layer_of(model), targets.flatten() != -100
    dense = 2 * int(predicted.sum()) >= targets.numel()
    if layer is None or (dense and 4 * targets.numel() * len(layer.weight) <= PIECE_BYTES):
        losses = cross_entropies(call(**inputs).logits, targets)
        return losses.sum(), losses.detach()
    with _without(layer):
        hidden = call(**inputs).logits  # (B, S, d)
    total, some = _Pieces.apply(
        hidden.flatten(0, 1)[predicted], layer.weight, targets.flatten()[predicted]
    )
    losses = torch.zeros(targets.numel(), dtype=some.dtype, device=some.device)
    losses[predicted] = some
    return total, losses.view_as(targets)


def _layer_of(model: Any) -> Any:
    """The output layer, where the logits are its product with the hidden states and no more."""
    find = getattr(model, "get_output_embeddings", None)
    layer = find() if find else None
    plain = type(layer) is torch.nn.Linear and layer.bias is None
    capped = getattr(getattr(model, "config", None), "final_logit_softcapping", None)
    return layer if plain and not capped else None


@contextmanager
def _without(layer: Any) -> Iterator[None]:
    """Within the block the output layer hands on what it gets."""
    layer.forward = lambda hidden: hidden
    try:
        yield
    finally:
        del layer.forward


class _Pieces(torch.autograd.Function):
    """The losses, a piece at a time; the gradient of their sum is made on the way."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`hidden` (N, d), `weight` (V, d), `targets` (N,)."""
        device = hidden.device.type
        low = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if low else weight.dtype
        factor, wanted = weight.to(dtype), any(ctx.needs_input_grad[:2])
        losses = torch.empty(len(hidden), device=hidden.device)
        to_hidden = torch.empty_like(hidden) if wanted else None
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
        step = max(1, PIECE_BYTES // (4 * len(weight)))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), step):
                piece = slice(start, start + step)
                some, aims = hidden[piece].to(dtype), targets[piece][:, None]
                logged = torch.log_softmax((some @ factor.T).float(), -1)  # (n, V)
                losses[piece] = -logged.gather(1, aims)[:, 0]
                if wanted:
                    slope = logged.exp_().scatter_add_(1, aims, -torch.ones_like(aims).float())
                    slope = slope.to(dtype)
                    to_hidden[piece] = (slope @ factor).to(hidden.dtype)
                    to_weight += slope.T @ some
        if wanted:
            ctx.save_for_backward(to_hidden, to_weight.to(weight.dtype))
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor, _: Any) -> tuple[Any, ...]:
        """The gradient, scaled by what the sum's is."""
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * scale.to(to_hidden.dtype), to_weight * scale.to(to_weight.dtype), None
