"""Mining says whether the corpus holds the seed's kind of text, and searches where it does not."""

import string

import numpy as np
import pytest

from trait_lib.selection.models import dsir, mining, regression

TOPICS = 8
LETTERS = string.ascii_lowercase


@pytest.fixture(autouse=True)
def fewer_buckets(monkeypatch):
    monkeypatch.setattr(regression, "BUCKETS", 2**14)  # enough here, and faster


def document(draw, topic, style, length=40):
    """Words of a topic, words of a style, and words that all texts share."""
    kinds = draw.choice(3, size=length, p=[0.3, 0.4, 0.3])
    ranks = np.minimum(draw.zipf(1.3, size=length), 30)
    names = ("topic" + LETTERS[topic], "style" + LETTERS[style], "common")
    return " ".join(names[k] + LETTERS[rank % 26] * 2 for k, rank in zip(kinds, ranks, strict=True))


def corpus(draw, number, styles):
    topics = draw.integers(TOPICS, size=number)
    return [document(draw, t, draw.choice(styles)) for t in topics], topics


def mine(seed, sample, number, random=0):
    return mining.mine(regression.counts(seed), regression.counts(sample), number, random)


def share_of_topic(model, texts, topics, topic=0):
    number = int(np.sum(topics == topic))
    best = mining.best(regression.log_odds(model, dsir.as_arrow(texts)), number)
    return float(np.mean(topics[best] == topic))


def test_where_the_seeds_kind_is_in_the_corpus_the_regression_stands():
    draw = np.random.default_rng(1)
    sample, topics = corpus(draw, 800, styles=[0, 1])
    seed = [document(draw, 0, 0) for _ in range(60)]
    found = mine(seed, sample, int(np.sum(topics == 0)) // 2)
    assert not found.gap and found.reach > 0.3 and found.rounds == []
    assert found.model is found.start
    assert mining.warning(found.reach, 50) == ""


def test_the_subject_is_found_in_styles_that_the_seed_does_not_have():
    draw = np.random.default_rng(2)
    sample, topics = corpus(draw, 800, styles=[1, 2, 3])
    seed = [document(draw, 0, 0) for _ in range(60)]
    wanted = int(np.sum(topics == 0))
    found = mine(seed, sample, wanted)
    assert found.gap and found.reach < mining.GAP
    assert found.rounds[0] == wanted // 4 and found.rounds[-1] == wanted
    assert share_of_topic(found.model, sample, topics) > 0.9
    assert "100 best documents read unlike the seed" in mining.warning(found.reach, 100)


def test_a_corpus_without_the_subject_is_said():
    draw = np.random.default_rng(5)
    sample = [document(draw, 1 + i % 7, 1 + i % 3) for i in range(600)]
    seed = [document(draw, 0, 0) for _ in range(60)]
    assert mine(seed, sample, 60).gap


def test_fewer_documents_than_a_round_needs_are_no_round():
    draw = np.random.default_rng(6)
    sample, _ = corpus(draw, 400, styles=[1, 2])
    seed = [document(draw, 0, 0) for _ in range(40)]
    few, none = (mine(seed, sample, number) for number in (mining.LEAST - 1, 0))
    assert few.gap and few.rounds == [] and few.model is few.start
    assert none.rounds == []
    assert mine(seed, sample, mining.LEAST).rounds == [mining.LEAST]


def test_the_same_input_gives_the_same_model():
    draw = np.random.default_rng(3)
    sample, _ = corpus(draw, 300, styles=[1, 2])
    seed = [document(draw, 0, 0) for _ in range(30)]
    first, again = (mine(seed, sample, 40, 5) for _ in range(2))
    assert first.rounds and first.reach == again.reach
    np.testing.assert_array_equal(first.model.weights, again.model.weights)


def test_reach_is_a_half_for_documents_of_the_seeds_own_kind():
    scores = np.arange(100.0)
    assert mining.reach(scores, scores) == pytest.approx(0.495)
    assert mining.reach(scores, scores - 1000) == 0
    assert mining.reach(scores, scores + 1000) == 1
    assert np.isnan(mining.reach(scores, scores[:0]))


@pytest.mark.parametrize(
    ("seeds", "number", "advice"), [(5, 30, "5 seed documents"), (30, 80, "80 to be found")]
)
def test_too_little_to_search_with_is_an_error_that_says_so(seeds, number, advice):
    with pytest.raises(mining.TooFew, match=advice):
        mine(["a b"] * seeds, ["c d"] * 100, number)
