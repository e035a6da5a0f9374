"""Decoding without waiting: the outputs of plain greedy decoding, with less work."""

import itertools

import numpy as np
import pytest
import torch
from transformers.cache_utils import Cache

from trait_lib.evaluation.inference import decoding

EXAMPLES = "Question: How many legs has a cow?\nAnswer: A cow has 4 legs. The answer is 4.\n\n" * 2
ONE = EXAMPLES + "Question: How many legs have {} hens?\nAnswer:"
OTHER = "One warb is 7 saln. " * 5 + "Question: What is {} times 3?\nAnswer:"
PROMPTS = [
    *(ONE.format(n) for n in range(9)),
    *(OTHER.format(11 * n) for n in range(9)),
    "Question: Why?\nAnswer:",
    "A",
    ONE.format(3),
    EXAMPLES,
]


def plainly(model, tokenizer, prompt, new):
    """Greedy decoding of one prompt without padding or cache."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(new):
            token = model(input_ids=ids, use_cache=False).logits[0, -1].argmax()
            if token == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, token.view(1, 1)], dim=1)
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


@pytest.fixture(scope="module")
def wanted(loaded):
    return [plainly(*loaded, prompt, 14) for prompt in PROMPTS]


@pytest.mark.parametrize("size", [1, 3, 8, 64])
@pytest.mark.parametrize("worth", [1, 40, 10**9])
def test_outputs_are_those_of_plain_decoding(loaded, wanted, size, worth, monkeypatch):
    monkeypatch.setattr(decoding, "GROW", 3)
    whole = decoding.families
    monkeypatch.setattr(decoding, "families", lambda encoded: whole(encoded, worth))
    rows = decoding.greedy(*loaded, PROMPTS, (), 14, size)
    found = {number: text for number, text, _, _ in rows}
    assert [found[n] for n in range(len(PROMPTS))] == wanted
    assert len(set(wanted)) > 5


def test_stop_strings_are_found_across_token_borders(loaded, wanted):
    text = max(wanted, key=len)
    stop = text[4:9]
    rows = {n: t for n, t, *_ in decoding.greedy(*loaded, PROMPTS, (stop,), 14, 4)}
    for number, plain in enumerate(wanted):
        if stop in plain:
            assert rows[number].find(stop) == plain.find(stop)
            assert plain.startswith(rows[number])
        else:
            assert rows[number] == plain
    assert len(rows[wanted.index(text)]) < len(text)


def test_common_beginnings_are_read_once(loaded):
    tokens = []
    model, tokenizer = loaded
    hook = model.register_forward_pre_hook(
        lambda _, __, named: tokens.append(named["input_ids"].numel()), with_kwargs=True
    )
    prompts = [ONE.format(n) for n in range(30)]
    try:
        rows = list(decoding.greedy(model, tokenizer, prompts, (), 1, 64))
    finally:
        hook.remove()
    whole = sum(len(tokenizer(one)["input_ids"]) for one in prompts)
    assert len(rows) == 30 and sum(tokens) < whole / 3


def test_families_within_families():
    def tokens(*parts):
        return np.array([*itertools.chain(*parts)], np.int64)

    first, second, third = [1] * 50, [2] * 50, [3] * 50
    encoded = [
        *(tokens(first, second, [9, n]) for n in range(10)),
        *(tokens(first, third, [8, n]) for n in range(10)),
        tokens([7], first),
        tokens([7], first),
    ]
    made = decoding.families(encoded, worth=50)
    assert sorted(n for family in made for n in family.members) == list(range(22))
    deep = [family for family in made if family.shared == 101]
    assert [len(family.members) for family in deep] == [10, 10]
    assert deep[0].parent is deep[1].parent and deep[0].parent.shared == 50
    assert [family.members for family in made if family not in deep] == [[20, 21]]
    few = decoding.families(encoded, worth=100)  # the beginning of two families is read twice
    assert {family.shared for family in few} == {0, 101}
    assert all(family.parent is None or family.parent.shared == 0 for family in few)


def test_equal_prompts_leave_each_row_a_token_to_read():
    encoded = [np.arange(40)] * 20
    made = decoding.families(encoded, worth=10)
    assert [family.shared for family in made] == [39]
    assert decoding.families([np.arange(3)]) and decoding.families([]) == []


def test_a_cache_grows_without_losing_what_it_holds():
    cache = Cache(layer_class_to_replicate=decoding.Roomy)
    parts = [torch.randn(2, 3, n, 4) for n in (5, 1, decoding.GROW, 2)]
    for part in parts:
        keys, values = cache.update(part, -part, 0)
    assert torch.equal(keys, torch.cat(parts, 2)) and torch.equal(values, -keys)
    assert cache.get_seq_length() == 8 + decoding.GROW


def test_parts_are_joined_on_the_right():
    parts = [torch.ones(1, 2, 3, 4), 2 * torch.ones(2, 2, 5, 4)]
    made = decoding.widened(parts, 9, 2)
    assert made.shape == (3, 2, 9, 4)
    assert made[:, 0, :7, 0].tolist() == [
        [0, 0, 0, 0, 1, 1, 1],
        [0, 0, 2, 2, 2, 2, 2],
        [0, 0, 2, 2, 2, 2, 2],
    ]
    some = decoding.widened([torch.arange(3.0).view(3, 1, 1, 1)], 4, 1, torch.tensor([2, 0]))
    assert some[:, 0, :3, 0].tolist() == [[0, 0, 2], [0, 0, 0]]


def test_a_model_without_keys_and_values_is_refused(loaded):
    class Stateful(torch.nn.Module):
        _is_stateful = True

    with pytest.raises(ValueError, match=r"serve it .* as base_url"):
        decoding.check(Stateful(), [np.arange(3)], 5)
