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


# --- errors, tests, seeds -----------------------------------------------------------------------


def test_standard_errors_are_those_of_the_formula():
    base, adapted = (RNG.random((2, 400)) < 0.4).astype(float)
    found = statistics.compare([(base, adapted)], seed=0, resamples=4000)
    assert found.base_se == pytest.approx(base.std() / 20, rel=0.05)
    assert found.difference_se == pytest.approx((adapted - base).std() / 20, rel=0.05)
    ratio = statistics.compare_ratio(base, adapted, np.ones(400), seed=0, resamples=4000)
    assert ratio.adapted_se == pytest.approx(adapted.std() / 20, rel=0.05)


def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    pair = [(RNG.random(70), RNG.random(70))]
    once = statistics.compare(pair, seed=3, resamples=500)
    monkeypatch.setattr(statistics, "AT_ONCE", 701)
    assert statistics.compare(pair, seed=3, resamples=500) == once


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (3, 0, 0.25), (5, 5, 1.0), (10, 2, 0.03857421875), (1, 9, 0.021484375)],
)
def test_mcnemar_is_the_exact_binomial_test(gained, lost, p):
    assert statistics.mcnemar(gained, lost) == pytest.approx(p)


def test_one_task_of_right_and_wrong_is_tested_exactly_and_others_by_resampling():
    base, adapted = np.array([0] * 10 + [1] * 2 + [1] * 20), np.array([1] * 10 + [0] * 2 + [1] * 20)
    assert statistics.compare([(base, adapted)], 0).p == pytest.approx(0.03857421875)
    two = statistics.compare([(base, adapted), (base, adapted)], 0)
    assert two.p < 0.03
    assert statistics.compare([(base, base), (adapted, adapted)], 0).p == 1
    assert statistics.compare([(base * 0.5, base * 0.5 + 0.25)], 0).p < 0.01


def test_holm_known_values_and_order():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []
    found = statistics.holm([0.04, float("nan"), 0.02])
    assert found[0] == found[2] == 0.04 and np.isnan(found[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_holm_lies_between_the_p_values_and_bonferroni(p_values):
    found = statistics.holm(p_values)
    for p, corrected in zip(p_values, found, strict=True):
        assert p <= corrected <= min(1.0, len(p_values) * p) + 1e-12
    assert [found[n] for n in np.argsort(p_values, kind="stable")] == sorted(found)


def test_holm_keeps_false_calls_at_five_percent():
    rng = np.random.default_rng(6)
    runs = [min(statistics.holm(list(rng.random(7)))) < 0.05 for _ in range(2000)]
    assert 0.035 < np.mean(runs) < 0.065
    single = [rng.random(7).min() < 0.05 for _ in range(2000)]
    assert np.mean(single) > 0.2


def test_the_paired_interval_covers_the_true_difference():
    rng = np.random.default_rng(7)
    covered = 0
    for seed in range(200):
        hard = rng.random(100)  # items that are hard are hard for both
        base, adapted = (rng.random((2, 100)) < np.stack([hard * 0.5, hard * 0.5 + 0.2])) * 1.0
        low, high = statistics.compare([(base, adapted)], seed, 300).difference_interval
        covered += low <= 0.2 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_seeds_are_pooled_by_their_differences():
    values = [0.05, 0.08, 0.02, 0.06]
    found = statistics.pooled(values)
    wanted = scipy.stats.ttest_1samp(values, 0)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert (found.seeds, statistics.pooled([1.0, 1.0]).error) == (4, 0)
    one = statistics.pooled([0.3])
    assert one.mean == 0.3 and np.isnan(one.interval[0]) and np.isnan(one.p)
    with pytest.raises(ValueError, match="no seed to pool"):
        statistics.pooled([])


def test_three_seeds_cover_the_truth_which_a_bootstrap_over_them_does_not():
    rng = np.random.default_rng(8)
    by_t = by_bootstrap = 0
    for _ in range(1000):
        values = rng.normal(0.1, 0.03, size=3)
        low, high = statistics.pooled(values).interval
        by_t += low <= 0.1 <= high
        drawn = values[rng.integers(3, size=(200, 3))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        by_bootstrap += low <= 0.1 <= high
    assert 0.93 <= by_t / 1000 <= 0.97
    assert by_bootstrap / 1000 < 0.85


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = RNG.random(50)
    without = (values.sum() - values) / 49
    found = statistics.compare_jackknife([values.mean(), values.mean()], [without, without])
    assert found.base_se == pytest.approx(values.std(ddof=1) / 50**0.5)
    assert found.difference_interval == (0, 0) and found.p == 1
    assert found.base_interval[1] - found.base == pytest.approx(1.959964 * found.base_se)
