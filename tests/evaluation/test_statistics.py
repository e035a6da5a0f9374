"""Intervals and AUC: against scipy and scikit-learn, and what pairing and clustering do."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from trait_lib.evaluation import statistics

RNG = np.random.default_rng(0)


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = RNG.random(200)
    compared = statistics.compare([(values, values * 0.5)], seed=0, resamples=4000)
    wanted = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert compared.base_interval == pytest.approx((wanted.low, wanted.high), abs=0.004)


def test_items_are_paired():
    base = RNG.random(100) < 0.5
    same = statistics.compare([(base, base)], seed=0)
    assert same.difference == 0 and same.difference_interval == (0, 0)
    apart = statistics.compare([(base, RNG.permutation(base))], seed=0)
    assert apart.difference == pytest.approx(0)
    assert apart.difference_interval[0] < -0.05 and apart.difference_interval[1] > 0.05


def test_tasks_count_equally_whatever_their_size():
    small, large = np.ones(10), np.zeros(990)
    compared = statistics.compare([(small, small), (large, large)], seed=0)
    assert compared.base == 0.5 and compared.n == 1000
    assert compared.base_interval == (0.5, 0.5)  # drawn within each task


def test_the_same_seed_gives_the_same_interval():
    pair = [(RNG.random(50), RNG.random(50))]
    assert statistics.compare(pair, seed=3) == statistics.compare(pair, seed=3)
    assert statistics.compare(pair, seed=3) != statistics.compare(pair, seed=4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        items = (rng.random(80) < 0.3).astype(float)
        low, high = statistics.compare([(items, items)], seed, resamples=300).base_interval
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_items_that_do_not_match_are_refused():
    for strata in ([], [(np.ones(2), np.ones(3))], [(np.ones(0), np.ones(0))]):
        with pytest.raises(ValueError, match="the same items"):
            statistics.compare(strata, seed=0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(items):
    labels = np.array([label for label, _ in items])
    scores = np.array([score for _, score in items], float)
    if labels.all() or not labels.any():
        assert np.isnan(statistics.auc(labels, scores))
    else:
        assert statistics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_queries_are_drawn_whole():
    """Twenty copies of each of ten pairs know no more than the ten pairs."""
    labels, scores = np.tile([1, 0], 5), RNG.random(10)
    clusters = [str(n // 2) for n in range(10)]

    def width(copies):
        compared = statistics.compare_clustered(
            statistics.auc,
            np.repeat(labels, copies),
            np.repeat(scores, copies),
            np.repeat(scores, copies),
            list(np.repeat(clusters, copies)),
            seed=0,
            resamples=300,
        )
        assert compared.difference_interval == (0, 0)
        return compared.base_interval[1] - compared.base_interval[0]

    assert width(20) == pytest.approx(width(1), abs=1e-9)


def test_bits_per_byte_is_a_ratio_of_sums():
    bits, sizes = np.array([10.0, 100.0]), np.array([10.0, 50.0])
    compared = statistics.compare_ratio(bits, bits / 2, sizes, seed=0)
    assert compared.base == pytest.approx(110 / 60)
    assert compared.difference == pytest.approx(-55 / 60)


def test_changes_count_every_item_once():
    found = statistics.changes([True, True, False, False], [True, False, True, False])
    assert set(found.values()) == {1} and list(found)[1] == "wrong_to_right"
