import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trait_lib.selection.models import dsir, kernels

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


def fitted(target, raw):
    hasher = dsir.Hasher()
    return dsir.log_ratio(dsir.count(target, hasher), dsir.count(raw, hasher))


def test_weights_and_lengths_equal_those_of_the_published_package():
    weights, lengths, owner = dsir.Hasher().weigh(dsir.as_arrow(RAW), fitted(TARGET, RAW))
    np.testing.assert_allclose(weights, PUBLISHED, rtol=0, atol=1e-9)
    assert lengths.tolist() == PUBLISHED_LENGTHS
    assert owner.tolist() == [0, 1, 2, 3, 4]


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@example(text="ΑΣ ΑΣΑ İx Σ. ǅ \x00\x85\u2028 a_b__c ½ ²③ \ufeff")
@example(text="x" * 5000 + " " + "é" * 300)
def test_grams_of_any_text_are_those_of_the_definition(text):
    np.testing.assert_array_equal(dsir.count([text], dsir.Hasher()), counts_by_the_definition(text))


@pytest.mark.parametrize("sizes", [[0], [1, 3, 55, 56, 63, 64, 119, 120, 1000], [7] * 16])
def test_sha_256_is_that_of_the_standard_library(sizes):
    stops = np.cumsum([0, *sizes])
    data = np.frombuffer(bytes(i * 7 % 256 for i in range(stops[-1])), np.uint8)
    work, found = np.empty(80 * kernels.LANES, np.uint32), np.empty(len(sizes), np.int64)
    kernels.sha256_buckets(
        data, stops[:-1], stops[1:], len(sizes), kernels.powers_of(9973), 9973, work, found
    )
    digests = [hashlib.sha256(bytes(data[a:b])).hexdigest() for a, b in pairwise(stops)]
    assert found.tolist() == [int(digest, 16) % 9973 for digest in digests]


@given(texts=TEXTS)
def test_weights_are_the_sum_over_hashed_grams_in_any_batching(texts):
    ratio = np.random.default_rng(0).normal(size=dsir.BUCKETS)
    expected = [float(ratio @ counts_by_the_definition(text)) for text in texts]
    hasher = dsir.Hasher()
    weights = [hasher.weigh(dsir.as_arrow([text]), ratio)[0][0] for text in texts]
    np.testing.assert_allclose(weights, expected, atol=1e-9)
    np.testing.assert_allclose(hasher.weigh(dsir.as_arrow(texts), ratio)[0], expected, atol=1e-9)


@given(texts=TEXTS)
def test_shares_add_up_and_are_those_of_the_counts(texts):
    total = sum(counts_by_the_definition(text) for text in texts)
    if not total.sum():
        with pytest.raises(ValueError, match="no word"):
            dsir.shares(dsir.count(texts, dsir.Hasher()))
        return
    found = dsir.shares(dsir.count(texts, dsir.Hasher()))
    np.testing.assert_allclose(found, total / total.sum(), atol=1e-12)


def test_a_small_memory_forgets_and_changes_nothing():
    texts = dsir.as_arrow(RAW * 3)
    ratio = np.random.default_rng(1).normal(size=100)
    expected = dsir.Hasher(100).weigh(texts, ratio)[0]
    found = dsir.Hasher(100, np.zeros(128, dtype=np.uint64)).weigh(texts, ratio)[0]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="buckets must lie between"):
        dsir.Hasher(128, np.zeros(128, dtype=np.uint64))


@pytest.mark.parametrize("batch", [1, 100])
def test_the_fit_stops_with_the_text_that_goes_beyond_the_grams_wanted(batch, monkeypatch):
    monkeypatch.setattr(dsir, "BATCH", batch)
    raw = ["ΑΣ " + RAW[0], *RAW[1:]]  # the first has 29 grams, and Python lowers it
    for grams, used in ((1, 1), (28, 1), (29, 2), (30, 2), (10**9, 5)):
        expected = dsir.count(raw[:used], dsir.Hasher())
        found = dsir.count(raw, dsir.Hasher(), limit=grams)
        np.testing.assert_array_equal(found, expected)


def test_draws_are_in_proportion_to_the_weights():
    weights = np.log([3.0, 1.0])
    draws = [dsir.noised(weights, np.random.default_rng(seed)) for seed in range(4000)]
    share = np.mean([noised[0] > noised[1] for noised in draws])
    assert share == pytest.approx(0.75, abs=0.035)  # 5 standard errors


def test_noise_drawn_in_pieces_is_the_noise_drawn_at_once():
    weights = np.arange(10.0)
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    pieces = [dsir.noised(part, one) for part in np.split(weights, [3, 4])]
    np.testing.assert_array_equal(np.concatenate(pieces), dsir.noised(weights, two))


def test_weights_per_word_are_ranked_without_noise():
    key = dsir.by_length(True)
    given = key(np.array([6.0, -4.0, 0.0]), np.array([3, 2, 0]), np.random.default_rng(0))
    assert given.tolist() == [2.0, -2.0, 0.0]


@given(words=st.lists(st.text("xyé", min_size=1, max_size=3), max_size=40), size=st.integers(1, 9))
def test_chunks_are_equal_runs_of_a_documents_words(words, size):
    texts = dsir.as_arrow(["", " \n\u2003".join(words) + " "])
    pieces, owner, number = dsir.chunk_texts(texts, size)
    cut = [piece.split() for piece in pieces.to_pylist()]
    joined = [word for chunk in cut for word in chunk]
    assert joined == words[: len(joined)]
    assert all(piece == piece.strip() for piece in pieces.to_pylist())
    assert all(len(chunk) == size for chunk in cut[:-1])
    assert 2 * (len(words) - len(joined)) < size or len(words) == len(joined)
    assert owner.tolist() == [1] * len(cut)
    assert number.tolist() == list(range(len(cut)))


def test_without_a_chunk_length_documents_stay_whole():
    texts = dsir.as_arrow(["one  two", ""])
    pieces, owner, number = dsir.chunk_texts(texts, 0)
    assert pieces.to_pylist() == ["one  two", ""]
    assert (owner.tolist(), number.tolist()) == ([0, 1], [0, 0])


def test_a_documents_weight_is_that_of_its_best_chunk(tmp_path):
    ratio = np.random.default_rng(2).normal(size=dsir.BUCKETS)
    maker = dsir.publish(ratio, tmp_path, 2)
    columns = dsir.scorer(**maker["settings"])(dsir.as_arrow(["p q ΑΣ s", "r s", " "]))
    single = dsir.Hasher().weigh(dsir.as_arrow(["p q", "ΑΣ s", "r s"]), ratio)[0]
    assert columns["dsir_chunks"].to_pylist() == [list(single[:2]), [single[2]], []]
    assert columns["dsir_words"].to_pylist() == [[2, 2], [2], []]
    assert columns["dsir"].to_pylist() == [max(single[:2]), single[2], None]


def test_no_texts_have_no_weights():
    weights, lengths, _ = dsir.Hasher().weigh(dsir.as_arrow([]), np.zeros(dsir.BUCKETS))
    assert weights.shape == lengths.shape == (0,)
