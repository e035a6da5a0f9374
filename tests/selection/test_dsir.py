import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib.selection import dsir

TARGET = [
    "To add two numbers, we count on from the first: 7 + 5 = 12.",
    "A rate tells how much of one thing belongs to one of another.",
]
RAW = [
    "To add two numbers, count on: 9 + 4 = 13.",
    "The shop on the corner sells warm coats (and hats!).",
    "We count the coats: 3 coats, 5 hats.",
    "It's raining in the hills; nobody went out.",
    "alice went",
]
# log weights and lengths that the package data-selection 1.0.3 gives for these texts (NLTK 3.9.1)
PUBLISHED = [
    -147.62936287771942,
    -280.8341782789577,
    -183.17857808446917,
    -292.35513805812406,
    -42.23105890190584,
]
PUBLISHED_LENGTHS = [14, 12, 11, 12, 2]
TEXTS = st.lists(st.text("ab ,.é1\n", max_size=20), min_size=1, max_size=8)


def counts_by_the_definition(text):
    words = dsir.tokens(text)
    found = np.zeros(dsir.BUCKETS, dtype=int)
    for gram in [*words, *(f"{a} {b}" for a, b in pairwise(words))]:
        found[int(hashlib.sha256(gram.encode()).hexdigest(), 16) % 10_000] += 1
    return found


def test_the_two_buckets_that_are_known():
    assert dsir.bucket("alice") == 6720
    assert dsir.bucket("alice went") == 114


def test_words_and_runs_of_marks_in_lower_case():
    assert dsir.tokens("Good muffins cost $3.88...\nin York!") == (
        ["good", "muffins", "cost", "$", "3", ".", "88", "...", "in", "york", "!"]
    )


def test_weights_and_lengths_equal_those_of_the_published_package():
    hasher = dsir.Hasher()
    weights, lengths = dsir.weigh(RAW, dsir.fit(TARGET, RAW, hasher), hasher)
    np.testing.assert_allclose(weights, PUBLISHED, rtol=0, atol=1e-9)
    assert lengths.tolist() == PUBLISHED_LENGTHS


@given(texts=TEXTS)
def test_weights_are_the_sum_over_hashed_grams_in_any_batching(texts):
    ratio = np.random.default_rng(0).normal(size=dsir.BUCKETS)
    expected = [float(ratio @ counts_by_the_definition(text)) for text in texts]
    hasher = dsir.Hasher()
    weights = [dsir.weigh([text], ratio, hasher)[0][0] for text in texts]
    np.testing.assert_allclose(weights, expected, atol=1e-9)
    np.testing.assert_allclose(dsir.weigh(texts, ratio, hasher)[0], expected, atol=1e-9)


@given(texts=TEXTS)
def test_shares_add_up_and_are_those_of_the_counts(texts):
    total = sum(counts_by_the_definition(text) for text in texts)
    if not total.sum():
        with pytest.raises(ValueError, match="no word"):
            dsir.shares(texts, dsir.Hasher())
        return
    found = dsir.shares(texts, dsir.Hasher())
    np.testing.assert_allclose(found, total / total.sum(), atol=1e-12)


def test_a_full_cache_starts_afresh_and_changes_nothing(monkeypatch):
    texts = RAW * 3
    ratio = np.random.default_rng(1).normal(size=dsir.BUCKETS)
    expected, _ = dsir.weigh(texts, ratio, dsir.Hasher())
    monkeypatch.setattr(dsir, "CACHE_GRAMS", 10)
    monkeypatch.setattr(dsir, "BATCH", 2)
    hasher = dsir.Hasher()
    found = np.concatenate([dsir.weigh([text], ratio, hasher)[0] for text in texts])
    np.testing.assert_allclose(found, expected)
    assert len(hasher.words) < 30


@pytest.mark.parametrize("batch", [1, 100])
def test_the_fit_stops_with_the_text_that_goes_beyond_the_grams_wanted(batch, monkeypatch):
    monkeypatch.setattr(dsir, "BATCH", batch)
    for grams, used in ((1, 1), (26, 1), (27, 2), (28, 2), (10**9, 5)):  # the first has 27
        expected = dsir.shares(RAW[:used], dsir.Hasher())
        found = dsir.shares(RAW, dsir.Hasher(), fit_grams=grams)
        np.testing.assert_array_equal(found, expected)


def test_draws_are_in_proportion_to_the_weights():
    weights, lengths = np.log([3.0, 1.0]), np.array([100, 100])
    first = [dsir.noised_order(weights, lengths, 0, seed)[0] for seed in range(4000)]
    assert np.mean(np.array(first) == 0) == pytest.approx(0.75, abs=0.035)  # 5 standard errors


def test_no_noise_undoes_a_large_difference_and_nothing_is_drawn_twice():
    order = dsir.noised_order(np.array([-500.0, 900.0, 100.0]), np.array([9, 9, 9]), 0, seed=1)
    assert order.tolist() == [1, 2, 0]


def test_short_documents_are_left_out_on_demand():
    order = dsir.noised_order(np.zeros(4), np.array([99, 100, 5, 300]), 100, seed=0)
    assert sorted(order.tolist()) == [1, 3]


@given(words=st.lists(st.text("xyz", min_size=1, max_size=3), max_size=40), size=st.integers(1, 9))
def test_chunks_are_equal_runs_of_a_documents_words(words, size):
    chunks = list(dsir.chunked([{"id": "d", "text": " \n".join(words)}], size))
    cut = [chunk["text"].split() for chunk in chunks]
    joined = [word for chunk in cut for word in chunk]
    assert joined == words[: len(joined)]
    assert all(len(chunk) == size for chunk in cut[:-1])
    assert 2 * (len(words) - len(joined)) < size or len(words) == len(joined)
    assert [chunk["id"] for chunk in chunks] == [f"d#{i}" for i in range(len(chunks))]


def test_without_a_chunk_length_documents_stay_whole():
    rows = [{"id": "a", "text": "one  two"}, {"id": "b", "text": ""}]
    assert [(r["id"], r["text"], r["document"]) for r in dsir.chunked(rows, 0)] == [
        ("a", "one  two", 0),
        ("b", "", 1),
    ]


def test_a_documents_weight_is_that_of_its_best_chunk():
    rows = [{"id": "a", "text": "p q r s"}, {"id": "b", "text": "r s"}, {"id": "c", "text": " "}]
    hasher = dsir.Hasher()
    ratio = np.random.default_rng(2).normal(size=dsir.BUCKETS)
    weighed = dsir.weigh_pool(rows, 2, ratio, hasher)
    assert weighed.document.tolist() == [0, 0, 1]
    single, _ = dsir.weigh(["p q", "r s"], ratio, hasher)
    found = weighed.of_documents(3)
    np.testing.assert_allclose(found[:2], [max(single), single[1]])
    assert np.isnan(found[2])


def test_an_empty_pool_has_no_weights():
    weights, lengths = dsir.weigh([], np.zeros(dsir.BUCKETS), dsir.Hasher())
    assert weights.shape == lengths.shape == (0,)
