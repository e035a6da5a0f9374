"""Documents packed in one row must not see each other, on the real model class."""

import pytest
import torch
from tiny import SHAPE
from transformers import MistralConfig, MistralForCausalLM

from trait_lib import head
from trait_lib.training.data import plan, rows
from trait_lib.training.loop import config as settings


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=64, **SHAPE, use_cache=False, sliding_window=None)
    return MistralForCausalLM(config).eval()


def documents():
    drawn = torch.Generator().manual_seed(1)
    return [torch.randint(0, 64, (1, n), generator=drawn) for n in (7, 12, 5)]


def packed(docs, batch):
    ids = torch.cat(docs, dim=1).expand(batch, -1)
    positions = torch.cat([torch.arange(d.shape[1]) for d in docs]).expand(batch, -1)
    return ids, positions


@pytest.mark.parametrize("batch", [1, 2])
def test_a_packed_document_gets_the_logits_it_gets_alone(model, batch):
    docs = documents()
    ids, positions = packed(docs, batch)
    with torch.no_grad():
        together = model(input_ids=ids, position_ids=positions).logits
        alone = torch.cat([model(input_ids=d).logits for d in docs], dim=1)
    assert torch.allclose(together, alone.expand(batch, -1, -1), atol=1e-5)


def test_the_check_sees_a_leak(model):
    docs = documents()
    ids, _ = packed(docs, 1)
    with torch.no_grad():
        together = model(input_ids=ids, position_ids=torch.arange(24)[None]).logits
        alone = torch.cat([model(input_ids=d).logits for d in docs], dim=1)
    assert torch.allclose(together[:, :7], alone[:, :7], atol=1e-5)  # nothing precedes the first
    assert not torch.allclose(together[:, 7:], alone[:, 7:], atol=1e-2)


@pytest.mark.parametrize("isolate", [True, False])
def test_rows_carry_positions_and_labels(runs, configuration, isolate):
    laid_out = plan.prepare(settings.check(configuration()))
    data = rows.PlannedRows(laid_out, isolate)
    batch = rows.collate([data[n] for n in range(len(data))])
    assert batch["input_ids"].shape == (64, 32)
    restarts = (batch["position_ids"] == 0).sum()
    assert restarts > 64 if isolate else restarts == 64
    # the first token of a document is not predicted, every other one is
    begins = rows.collate([rows.PlannedRows(laid_out, True)[n] for n in range(64)])
    hidden = batch["labels"] == -100
    assert (hidden == (begins["position_ids"] == 0)).all()
    assert (batch["labels"][~hidden] == batch["input_ids"][~hidden]).all()
    assert "attention_mask" not in batch


def test_token_losses_are_those_of_the_model_class(model):
    docs = documents()
    ids, positions = packed(docs, 2)
    labels = ids.masked_fill(positions == 0, -100)
    with torch.no_grad():
        out = model(input_ids=ids, position_ids=positions, labels=labels)
    losses = head.cross_entropies(out.logits, rows.next_tokens(labels))
    predicted = (labels[:, 1:] != -100).sum()
    assert losses.sum() / predicted == pytest.approx(out.loss.item(), rel=1e-6)
