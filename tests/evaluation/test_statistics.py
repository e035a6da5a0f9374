"""Intervals and AUC: against scipy and scikit-learn, and what pairing and clustering do."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from trait_lib.evaluation import statistics

RNG = np.random.default_rng(0)


def test_the_interval_of_one_task_is_wilson_s_and_that_of_a_mean_is_normal():
    for right, n in ((0, 20), (3, 20), (20, 20), (41, 60), (1, 1)):
        items = np.arange(n) < right
        wanted = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
        found = statistics.compare([(items, items)]).base_interval
        assert found == pytest.approx(tuple(wanted), abs=1e-12)
    values = 0.2 * RNG.random(200)
    middle, error = values.mean(), values.std() / 200**0.5
    found = statistics.compare([(values, values)]).base_interval
    assert found == pytest.approx((middle - 1.96 * error, middle + 1.96 * error), abs=1e-3)


def test_items_are_paired():
    base = RNG.random(100) < 0.5
    same = statistics.compare([(base, base)])
    assert same.difference == 0 and same.p == 1
    assert same.difference_interval == pytest.approx((-0.0195, 0.0195), abs=1e-4)
    apart = statistics.compare([(base, RNG.permutation(base))])
    assert apart.difference == pytest.approx(0)
    assert apart.difference_interval[0] < -0.05 and apart.difference_interval[1] > 0.05


def test_tasks_count_equally_whatever_their_size():
    small, large = np.ones(10), np.zeros(990)
    compared = statistics.compare([(small, small), (large, large)])
    assert compared.base == 0.5 and compared.n == 1000
    low, high = compared.base_interval  # the ten items decide: one of them wrong is 0.05
    assert 0.3 < low < 0.45 and 0.55 < high < 0.7


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from([0, 0.3, 0.5, 1]), st.sampled_from([0, 0.3, 0.5, 1])),
            min_size=1,
            max_size=9,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=100, deadline=None)
def test_every_interval_has_a_width_holds_its_score_and_keeps_to_its_bounds(tasks):
    found = statistics.compare([tuple(np.array(task, float).T) for task in tasks])
    for value, (low, high), lowest in (
        (found.base, found.base_interval, 0),
        (found.adapted, found.adapted_interval, 0),
        (found.difference, found.difference_interval, -1),
    ):
        assert lowest <= low <= value + 1e-9 and value - 1e-9 <= high <= 1
        assert high - low > 1e-3
    assert min(found.base_se, found.adapted_se, found.difference_se) > 0


def test_items_that_do_not_match_are_refused():
    for strata in ([], [(np.ones(2), np.ones(3))], [(np.ones(0), np.ones(0))]):
        with pytest.raises(ValueError, match="the same items"):
            statistics.compare(strata)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(items):
    labels = np.array([label for label, _ in items])
    scores = np.array([score for _, score in items], float)
    if labels.all() or not labels.any():
        assert np.isnan(statistics.auc(labels, scores))
    else:
        assert statistics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_queries_count_and_not_their_copies():
    """Copies of pairs within their query know no more than the pairs."""
    labels, scores = np.tile([1, 0], 40), RNG.random(80)
    clusters = [str(n // 2) for n in range(80)]

    def error(copies, clusters):
        many = [np.repeat(one, copies) for one in (labels, scores, scores, clusters)]
        return statistics.compare_auc(*many).base_se

    assert error(20, clusters) == pytest.approx(error(1, clusters), rel=0.03)
    apart = [str(n) for n in range(80)]
    assert error(1, apart) > 2 * error(20, [f"{n}" for n in range(80)]) * 0.4


def test_the_error_of_an_auc_is_that_of_leaving_out_each_query():
    labels, scores = np.tile([1, 0], 60), RNG.random(120) + np.tile([0.3, 0], 60)
    clusters = np.arange(120) // 4
    found = statistics.compare_auc(labels, scores, -scores, [str(one) for one in clusters])
    without = [statistics.auc(labels[clusters != n], scores[clusters != n]) for n in range(30)]
    error = np.sqrt(29 * np.var(without))
    assert found.base_se == pytest.approx(error, rel=0.05)
    assert found.base == pytest.approx(1 - found.adapted)
    assert found.difference_se == pytest.approx(2 * error, rel=0.05)


def test_bits_per_byte_is_a_ratio_of_sums():
    bits, sizes = np.array([10.0, 100.0]), np.array([10.0, 50.0])
    compared = statistics.compare_ratio(bits, bits / 2, sizes)
    assert compared.base == pytest.approx(110 / 60)
    assert compared.difference == pytest.approx(-55 / 60)


def test_changes_count_every_item_once():
    found = statistics.changes([True, True, False, False], [True, False, True, False])
    assert set(found.values()) == {1} and list(found)[1] == "wrong_to_right"


# --- errors, tests, seeds -----------------------------------------------------------------------


def test_standard_errors_are_those_of_the_formula():
    base, adapted = (RNG.random((2, 400)) < 0.4).astype(float)
    found = statistics.compare([(base, adapted)])
    assert found.base_se == pytest.approx(base.std() / 20, rel=0.02)
    assert found.difference_se == pytest.approx((adapted - base).std() / 20, rel=0.02)
    ratio = statistics.compare_ratio(base, adapted, np.ones(400))
    assert ratio.adapted_se == pytest.approx(adapted.std() / 20, rel=0.02)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (3, 0, 0.25), (5, 5, 1.0), (10, 2, 0.03857421875), (1, 9, 0.021484375)],
)
def test_mcnemar_is_the_exact_binomial_test(gained, lost, p):
    assert statistics.mcnemar(gained, lost) == pytest.approx(p)


def test_one_task_of_right_and_wrong_is_tested_exactly_and_others_by_their_error():
    base, adapted = np.array([0] * 10 + [1] * 2 + [1] * 20), np.array([1] * 10 + [0] * 2 + [1] * 20)
    assert statistics.compare([(base, adapted)]).p == pytest.approx(0.03857421875)
    two = statistics.compare([(base, adapted), (base, adapted)])
    assert two.p < 0.03
    assert statistics.compare([(base, base), (adapted, adapted)]).p == 1
    assert statistics.compare([(base * 0.5, base * 0.5 + 0.25)]).p < 0.01


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


def test_seeds_are_pooled_by_their_differences():
    values = [0.05, 0.08, 0.02, 0.06]
    found = statistics.pooled(values)
    wanted = scipy.stats.ttest_1samp(values, 0)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.seeds == 4 and np.isnan(statistics.pooled([1.0, 1.0]).interval).all()
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
    values = RNG.random(5000)
    without = (values.sum() - values) / 4999
    moved = np.stack([statistics.jackknife(without)] * 2)
    found = statistics.compare_moved([values.mean()] * 2, moved, 5000)
    assert found.base_se == pytest.approx(values.std(ddof=1) / 5000**0.5, rel=0.01)
    assert found.difference == 0 and found.p == 1


# --- how often an interval holds the truth --------------------------------------------------------

RUNS = 1500


def covered(truth, draw, runs=RUNS):
    """The share of runs in which each of the intervals that `draw(rng)` returns holds its truth."""
    rng, hits = np.random.default_rng(11), np.zeros(len(truth))
    for _ in range(runs):
        spans = draw(rng)
        hits += [low <= true <= high for true, (low, high) in zip(truth, spans, strict=True)]
    return hits / runs


@pytest.mark.parametrize("n", [20, 60, 200])
@pytest.mark.parametrize("p", [0.05, 0.1, 0.3, 0.5, 0.9, 0.98])
def test_one_score_is_covered_as_well_as_a_count_can_be(n, p):
    """Exactly: the probability of each count whose interval holds the true share."""
    counts = np.arange(n + 1)
    spans = [statistics.wilson(count / n, n) for count in counts]
    chances = scipy.stats.binom.pmf(counts, n, p)
    held = np.array([low <= p <= high for low, high in spans])
    cover = chances[held].sum()
    # no count may be left out or taken in: the next smaller cover is too small
    edge = chances[held].min() if 0 not in counts[held] else chances[held][-1]
    assert cover >= 0.92 and (cover <= 0.97 or cover - edge < 0.95)


def test_a_mean_of_tasks_and_its_difference_are_covered():
    sizes, shares, gains = (30, 60, 40), np.array([0.05, 0.4, 0.8]), np.array([0.2, 0.2, 0.1])

    def draw(rng):
        strata = []
        for n, share, gain in zip(sizes, shares, gains, strict=True):
            hard = rng.random(n)  # what is hard is hard for both
            strata.append((hard < share, (hard + rng.normal(0, 0.05, n)) < share + gain))
        found = statistics.compare([(a * 1.0, b * 1.0) for a, b in strata])
        return found.base_interval, found.difference_interval

    big = np.random.default_rng(1)
    hard, noise = big.random(2_000_000), big.normal(0, 0.05, 2_000_000)
    after = [np.mean(hard + noise < a + b) for a, b in zip(shares, gains, strict=True)]
    base, difference = covered([shares.mean(), np.mean(after) - shares.mean()], draw)
    assert 0.93 <= base <= 0.97 and 0.93 <= difference <= 0.97


@pytest.mark.parametrize(
    ("n", "gained", "lost"), [(60, 0.2, 0.1), (200, 0.05, 0.02), (20, 0.3, 0.1)]
)
def test_the_difference_of_one_task_is_covered(n, gained, lost):
    def draw(rng):
        turned = rng.choice([1.0, -1.0, 0.0], n, p=[gained, lost, 1 - gained - lost])
        return [statistics.compare([(turned < 0, turned > 0)]).difference_interval]

    [cover] = covered([gained - lost], draw)
    assert 0.93 <= cover <= 0.97


def test_few_changes_are_covered_at_least_as_often_as_said():
    def draw(rng):
        turned = rng.choice([1.0, -1.0, 0.0], 20, p=[0.05, 0.02, 0.93])
        return [statistics.compare([(turned < 0, turned > 0)]).difference_interval]

    assert covered([0.03], draw) >= 0.95  # the bootstrap: 0.72, for often nothing changes


@pytest.mark.parametrize(("apart", "queries"), [(0.0, 27), (1.0, 60), (2.0, 27)])
def test_auc_by_query_and_its_difference_are_covered(apart, queries):
    def model(rng, count):
        labels, which = np.tile([0, 0, 1, 1], count), np.repeat(np.arange(count), 4)
        shared = rng.normal(0, 0.5, count)[which] + rng.normal(0, 0.7, len(labels))
        noise = rng.normal(0, 0.7, (2, len(labels)))
        scores = shared + noise + labels * np.array([[apart], [apart + 0.5]])
        return labels, *scores, which

    labels, *scores, _ = model(np.random.default_rng(3), 50_000)
    truth = [statistics.auc(labels, one) for one in scores]

    def draw(rng):
        found = statistics.compare_auc(*model(rng, queries))
        return found.base_interval, found.difference_interval

    base, difference = covered([truth[0], truth[1] - truth[0]], draw)
    assert 0.93 <= base <= 0.98 and 0.93 <= difference <= 0.97


@pytest.mark.parametrize("chances", [(0.5, 0.3, 0.2), (0.85, 0.1, 0.05), (0.2, 0.7, 0.1)])
def test_win_rates_are_covered(chances):
    def draw(rng):
        won = rng.choice([1, 0.5, 0], 60, p=chances)
        found = statistics.compare([(1 - won, won)])
        return found.adapted_interval, found.difference_interval

    rate = chances[0] + chances[1] / 2
    assert (covered([rate, 2 * rate - 1], draw) >= 0.93).all()
    assert (covered([rate, 2 * rate - 1], draw) <= 0.975).all()


def test_diversity_and_density_are_covered():
    def draw(rng):
        diverse = rng.beta(4, 2, 60)
        dense = rng.binomial(3, rng.beta(1, 9, 60)) / 3  # three rewrites a query, few of them hit
        return [statistics.compare([(values, values)]).base_interval for values in (diverse, dense)]

    diversity, density = covered([2 / 3, 0.1], draw)
    assert 0.93 <= diversity <= 0.97 and 0.93 <= density <= 0.97


def test_bits_per_byte_are_covered():
    def draw(rng):
        sizes = rng.integers(200, 2000, 100).astype(float)
        rate = rng.normal(1.0, 0.2, 100)
        found = statistics.compare_ratio(
            sizes * rate, sizes * (rate - rng.normal(0.1, 0.05, 100)), sizes
        )
        return found.base_interval, found.difference_interval

    base, difference = covered([1.0, -0.1], draw)
    assert 0.93 <= base <= 0.97 and 0.93 <= difference <= 0.97


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_pooled_seeds_are_covered(seeds):
    [cover] = covered([0.1], lambda rng: [statistics.pooled(rng.normal(0.1, 0.03, seeds)).interval])
    assert 0.93 <= cover <= 0.97
