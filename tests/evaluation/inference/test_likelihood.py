"""Log-likelihoods against a plain computation, one text at a time."""

import numpy as np
import pytest
import torch

from trait_lib.evaluation.inference import likelihood

TEXT = "One warb is 7 saln. 3 times 7 is 21. The answer is 21."


def plainly(model, ids):
    """log p of each token after the first, shape (T - 1,)."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
    logged = torch.log_softmax(logits, -1)
    return logged[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def test_continuations_agree_with_a_plain_computation(loaded):
    model, tokenizer = loaded
    pairs = [
        ("The answer", " is 21."),
        ("One", " warb"),
        ("A hen has", " 2 legs. The answer is 2."),
    ]
    found = likelihood.continuations(model, tokenizer, pairs, batch_size=2)
    for (context, text), value in zip(pairs, found, strict=True):
        ids, start = tokenizer(context + text)["input_ids"], len(tokenizer(context)["input_ids"])
        assert value == pytest.approx(plainly(model, ids)[start - 1 :].sum(), rel=1e-5)
    assert np.array_equal(found, likelihood.continuations(model, tokenizer, pairs[::-1])[::-1]) or (
        np.allclose(found, likelihood.continuations(model, tokenizer, pairs[::-1])[::-1], rtol=1e-5)
    )


def read_tokens(monkeypatch):
    """How many tokens each pass reads, in a list that grows."""
    read, whole = [], likelihood._logged
    monkeypatch.setattr(
        likelihood,
        "_logged",
        lambda m, f, batch: read.append([row.size for row in batch]) or whole(m, f, batch),
    )
    return read


def test_candidates_of_one_beginning_read_it_once(loaded, monkeypatch):
    model, tokenizer = loaded
    read = read_tokens(monkeypatch)
    context = "Question: How many legs has a cow?\nAnswer: A cow has"
    texts = [" 4 legs. The answer is 4.", " 2 legs.", " 7", " 4 hens has a cow", ""]
    pairs = [(context + more, text) for more in ("", " 4") for text in texts if more or text]
    pairs.append(("A hen", " has 2 legs."))
    found = likelihood.continuations(model, tokenizer, pairs)
    for (start, text), value in zip(pairs, found, strict=True):
        ids, known = likelihood._join(tokenizer, start, text)
        assert value == pytest.approx(plainly(model, ids)[known - 1 :].sum(), rel=1e-4, abs=1e-6)
    assert len(read) == 1 and len(read[0]) == 2
    alone = sum(len(likelihood._join(tokenizer, *pair)[0]) - 1 for pair in pairs)
    assert sum(read[0]) < alone / 2


def test_labels_of_one_token_share_one_reading(loaded, monkeypatch):
    model, tokenizer = loaded
    read = read_tokens(monkeypatch)
    found = likelihood.continuations(model, tokenizer, [("The answer", "a"), ("The answer", "b")])
    assert len(read) == 1 and len(read[0]) == 1
    for label, value in zip("ab", found, strict=True):
        ids = tokenizer("The answer")["input_ids"] + tokenizer(label)["input_ids"]
        assert value == pytest.approx(plainly(model, ids)[-1], rel=1e-5)


def test_a_model_that_sees_a_window_reads_each_sequence_by_itself(loaded, monkeypatch):
    model, tokenizer = loaded
    read = read_tokens(monkeypatch)
    monkeypatch.setattr(model.config, "sliding_window", 8)
    likelihood.continuations(model, tokenizer, [(TEXT, " One"), (TEXT, " Two")])
    assert len(read[0]) == 2


def test_no_context_is_the_beginning_of_a_document(loaded):
    model, tokenizer = loaded
    [found] = likelihood.continuations(model, tokenizer, [("", " warb is 7")])
    ids = [tokenizer.eos_token_id, *tokenizer(" warb is 7")["input_ids"]]
    assert found == pytest.approx(plainly(model, ids).sum(), rel=1e-5)


def test_bits_and_bytes_of_a_document(loaded):
    model, tokenizer = loaded
    ids = tokenizer(TEXT)["input_ids"]
    cost = likelihood.text_cost(model, tokenizer, [TEXT], window=512)
    assert cost.bits[0] == pytest.approx(-plainly(model, ids).sum() / np.log(2), rel=1e-5)
    assert cost.sizes[0] == len(TEXT.encode()) - len(tokenizer.decode(ids[:1]).encode())
    assert cost.bits_per_byte == pytest.approx(cost.bits[0] / cost.sizes[0])


def test_windows_predict_every_token_once_and_never_cross_documents(loaded):
    model, tokenizer = loaded
    ids = tokenizer(TEXT)["input_ids"]
    cost = likelihood.text_cost(model, tokenizer, [TEXT], window=5)
    parts = [plainly(model, ids[start : start + 5]) for start in range(0, len(ids) - 1, 4)]
    assert sum(map(len, parts)) == len(ids) - 1
    assert cost.bits[0] == pytest.approx(-np.concatenate(parts).sum() / np.log(2), rel=1e-5)
    both = likelihood.text_cost(model, tokenizer, [TEXT, "A cow has 4 legs."], window=512)
    alone = likelihood.text_cost(model, tokenizer, [TEXT], window=512)
    assert both.bits[0] == pytest.approx(alone.bits[0], rel=1e-5)


def test_bytes_are_those_of_utf8(loaded):
    model, tokenizer = loaded
    text = "A café in Zürich"
    assert likelihood.text_cost(model, tokenizer, [text], 64).sizes[0] == len(text.encode()) - 1


def test_a_uniform_model_costs_the_logarithm_of_its_vocabulary(loaded):
    _, tokenizer = loaded

    class Uniform(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, **_):
            logits = torch.zeros(*input_ids.shape, 512)
            return type("Output", (), {"logits": logits})

    tokens = len(tokenizer(TEXT)["input_ids"])
    cost = likelihood.text_cost(Uniform(), tokenizer, [TEXT], window=512)
    assert cost.bits[0] == pytest.approx(9 * (tokens - 1), rel=1e-6)


def test_no_text_is_an_error(loaded):
    with pytest.raises(ValueError, match="no held-out text"):
        likelihood.text_cost(*loaded, [], window=16)
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        likelihood.text_cost(*loaded, [TEXT], window=1)
