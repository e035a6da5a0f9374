"""Muon moves matrices as torch's own does, and everything else as AdamW; it resumes to the bit."""

import copy

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from trait_lib import params
from trait_lib.training.loop import config as configuration
from trait_lib.training.loop import optimizer

SETTINGS = {
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    return MistralForCausalLM(MistralConfig(vocab_size=128, **shape, **heads))


def backward(model, seed):
    tokens = torch.randint(0, 128, (4, 16), generator=torch.Generator().manual_seed(seed))
    model.zero_grad()
    model(input_ids=tokens, labels=tokens).loss.backward()


def of_layers(model):
    return [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]


def test_a_step_is_that_of_torch(model):
    theirs = copy.deepcopy(model)
    before = copy.deepcopy(model)
    layers = of_layers(theirs)
    rest = [p for p in theirs.parameters() if all(p is not one for one in layers)]
    peers = (
        torch.optim.Muon(layers, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=0.01, betas=(0.9, 0.999), weight_decay=0.0),
    )
    for one in (model, theirs):
        backward(one, 1)
    optimizer.Muon(model, SETTINGS).step()
    for peer in peers:
        peer.step()
    matrices = set(map(id, of_layers(model)))
    for ours, its, old in zip(
        model.parameters(), theirs.parameters(), before.parameters(), strict=True
    ):
        # torch iterates in bf16, whose errors grow to a sixth; AdamW is the same code
        allowed = 0.25 if id(ours) in matrices else 0.0
        assert (ours - its).norm() <= allowed * (its - old).norm()
        assert not torch.equal(ours, old)


def test_its_moves_are_orthogonal():
    moves = optimizer.orthogonal(torch.randn(3, 64, 24, generator=torch.Generator().manual_seed(0)))
    values = torch.linalg.svdvals(moves)
    # where Muon's polynomial takes all but the smallest singular values
    assert moves.shape == (3, 64, 24) and values.min() > 0.6 and values.max() < 1.3


def test_it_goes_on_from_a_checkpoint_to_the_bit(model, tmp_path):
    first = optimizer.Muon(model, SETTINGS)
    for seed in (1, 2):
        backward(model, seed)
        first.step()
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    other = copy.deepcopy(model)
    again = optimizer.Muon(other, SETTINGS)
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt"))
    for one, steps in ((model, first), (other, again)):
        backward(one, 3)
        steps.step()
    assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_deepspeed_takes_adamw_alone():
    given = {
        "model": "m",
        "stages": [
            {"name": "s", "tokens": 64, "sources": [{"name": "a", "file": "a", "weight": 1}]}
        ],
        "sequence_length": 32,
        "batch_tokens": 64,
        "learning_rate": 0.01,
        "optimizer": "muon",
    }
    with pytest.raises(params.ParameterError, match="muon needs the engine plain"):
        configuration.check(given)
    assert configuration.check({**given, "engine": "plain"})["optimizer"] == "muon"
