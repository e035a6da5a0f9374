"""The loss a piece at a time: the same numbers and gradients as from all logits at once."""

import pytest
import torch
from tiny import SHAPE
from transformers import MistralConfig, MistralForCausalLM

from trait_lib import head
from trait_lib.training.loop import model as models


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request):
    torch.manual_seed(0)
    shape = {**SHAPE, "tie_word_embeddings": request.param, "initializer_range": 0.2}
    return MistralForCausalLM(MistralConfig(vocab_size=97, sliding_window=None, **shape))


def taken(model, targets, ids, precision="fp32"):
    """Losses, and the gradient of half their sum as one vector."""
    model.zero_grad()
    with models.arithmetic(precision, "cpu"):
        inputs = {"input_ids": ids}
        total, losses = head.token_losses(model, model, inputs, targets)
    (total / 2).backward()
    return losses, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("left_out", [0.1, 0.8])
def test_pieces_give_the_losses_and_gradients_of_all_logits(model, monkeypatch, left_out):
    ids = torch.randint(0, 97, (3, 20))
    targets = torch.randint(0, 97, (3, 20)).masked_fill(torch.rand(3, 20) < left_out, -100)
    monkeypatch.setattr(head, "_layer_of", lambda _: None)
    losses, gradient = taken(model, targets, ids)
    monkeypatch.undo()
    monkeypatch.setattr(head, "PIECE_BYTES", 4 * 97 * 7)
    some, other = taken(model, targets, ids)
    assert torch.allclose(losses, some, atol=1e-5) and (some[targets == -100] == 0).all()
    assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-5)
    assert model(ids).logits.shape[-1] == 97  # the output layer is as it was


def test_bf16_arithmetic_is_near_fp32(model, monkeypatch):
    monkeypatch.setattr(head, "PIECE_BYTES", 4 * 97 * 7)
    ids, targets = torch.randint(0, 97, (3, 20)), torch.randint(0, 97, (3, 20))
    losses, gradient = taken(model, targets, ids)
    some, other = taken(model, targets, ids, models.AUTOCAST)
    assert float(losses.mean()) == pytest.approx(float(some.mean()), rel=1e-2)
    assert (gradient - other).norm() < 0.05 * gradient.norm()
