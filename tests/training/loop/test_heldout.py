import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import SHAPE
from transformers import MistralConfig, MistralForCausalLM

from trait_lib import records
from trait_lib.evaluation.inference import likelihood
from trait_lib.training.loop import heldout


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=len(tokenizer), **SHAPE, use_cache=False)
    return MistralForCausalLM(config).train()


@pytest.fixture
def config(files):
    texts = [{"name": name, "file": str(file)} for name, file in files.items()]
    return {
        "heldout": texts,
        "heldout_tokens": 10**6,
        "heldout_steps": 5,
        "sequence_length": 64,
    }


def alone(part):
    return part


def test_bits_per_byte_are_those_of_notebook_04(model, tokenizer, config, files):
    found = heldout.measure(model, heldout.prepare(config, tokenizer), 0, 1, alone)
    for name, file in files.items():
        texts = [row["text"] for row in records.read_rows(file)]
        expected = likelihood.text_cost(model.eval(), tokenizer, texts, window=64)
        assert found[name]["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-5)


def test_the_ranks_together_measure_what_one_measures(model, tokenizer, config):
    text = heldout.prepare({**config, "heldout_tokens": 400}, tokenizer)[0]
    whole = heldout.sums(model, text)
    parts = sum(heldout.sums(model, text, rank, 3) for rank in range(3))
    assert parts.tolist() == pytest.approx(whole.tolist(), rel=1e-6)
    assert whole[1] == text.tokens == 400


def test_measuring_leaves_model_and_random_numbers_as_they_were(model, tokenizer, config):
    model.train()
    before, state = [p.clone() for p in model.parameters()], torch.random.get_rng_state()
    heldout.measure(model, heldout.prepare(config, tokenizer), 0, 1, alone)
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_the_sample_does_not_hang_on_the_order_of_the_file(tokenizer, config, files, tmp_path):
    rows = list(records.read_rows(files["general"]))
    records.write_rows(tmp_path / "turned.jsonl", rows[::-1])
    small = {**config, "heldout_tokens": 100}
    turned = {**small, "heldout": [{"name": "x", "file": str(tmp_path / "turned.jsonl")}]}
    straight = {**small, "heldout": [{"name": "x", "file": str(files["general"])}]}
    one, two = (heldout.prepare(c, tokenizer)[0] for c in (turned, straight))
    assert one == two
    assert one.tokens == 100


def test_bytes_are_those_of_the_predicted_text(tokenizer, tmp_path, config):
    text = "Lesson 12. Zwölf naïve Füchse, 3 €."
    records.write_rows(tmp_path / "a.jsonl", [{"text": text}, {"text": "x"}, {"text": ""}])
    one = {**config, "heldout": [{"name": "a", "file": str(tmp_path / "a.jsonl")}]}
    (made,) = heldout.prepare(one, tokenizer)
    first = tokenizer.decode(tokenizer(text)["input_ids"][:1])
    assert made.sizes == [len(text.encode()) - len(first.encode())]
    with pytest.raises(ValueError, match="held-out text a: no document"):
        records.write_rows(tmp_path / "a.jsonl", [{"text": ""}])
        heldout.prepare(one, tokenizer)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 200), st.floats(0.01, 0.4))
def test_a_split_is_fixed_by_ids_alone(tmp_path_factory, rows, share):
    folder = tmp_path_factory.mktemp("split")
    counts, held = [], []
    for name, text in (("long", "a long text"), ("short", "text")):
        file = folder / f"{name}.jsonl"
        records.write_rows(file, ({"id": f"passage-{n}", "text": text} for n in range(rows)))
        kept, out = folder / f"{name}-kept.jsonl", folder / f"{name}-out.jsonl"
        counts.append(heldout.split(file, share, kept, out))
        held.append([row["id"] for row in records.read_rows(out)])
        ids = [row["id"] for row in records.read_rows(kept)]
        assert sorted(ids + held[-1]) == sorted(f"passage-{n}" for n in range(rows))
    assert held[0] == held[1]
    assert counts[0] == (rows - math.ceil(share * rows), math.ceil(share * rows))


def test_a_share_of_nothing_keeps_all_and_too_much_is_refused(tmp_path, files):
    kept, out = tmp_path / "kept.jsonl", tmp_path / "out.jsonl"
    assert heldout.split(files["general"], 0.0, kept, out) == (160, 0)
    records.write_rows(tmp_path / "one.jsonl", [{"id": "a", "text": "b"}])
    with pytest.raises(ValueError, match=r"one\.jsonl.*heldout_passages_share"):
        heldout.split(tmp_path / "one.jsonl", 0.1, kept, out)


def test_it_is_measured_at_the_start_at_stage_ends_and_every_so_often():
    stages = [{"first_step": 0, "steps": 7}, {"first_step": 7, "steps": 5}]
    assert heldout.measured_steps(stages, 0) == {0, 7, 12}
    assert heldout.measured_steps(stages, 4) == {0, 4, 7, 8, 12}
