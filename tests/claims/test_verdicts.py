"""Claims from results: paired differences over seeds against known values, and the rule."""

import numpy as np
import pytest
from scipy import stats

from trait_lib.claims import claims, verdicts

RATE = 0.002


def rows(arm, values, task=claims.MEAN, domain="math", rate=RATE):
    common = {
        "domain": domain,
        "arm": arm,
        "rate": rate,
        "task": task,
        "metric": "accuracy",
        "n": 9,
    }
    return [{**common, "seed": seed, "value": value} for seed, value in enumerate(values)]


def scored(*groups):
    return verdicts.scores([row for group in groups for row in group], lambda arm: RATE)


def test_differences_are_paired_by_seed_and_only_those_of_the_arms_own_rate():
    found = scored(
        rows("trait", [0.5, 0.7, 0.9]), rows("base", [0.1, 0.2]), rows("trait", [0, 0], rate=0.1)
    )
    assert verdicts.paired(found, "math", claims.COMPARISONS[0]) == pytest.approx({0: 0.4, 1: 0.5})


def test_interval_p_and_effect_are_students():
    differences = [0.1, 0.3, 0.2, 0.25]
    told = verdicts.measured(differences)
    known = stats.ttest_1samp(differences, 0)
    assert (told["low"], told["high"]) == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert told["p"] == pytest.approx(known.pvalue)
    assert told["effect"] == pytest.approx(np.mean(differences) / np.std(differences, ddof=1))


def test_one_seed_tells_nothing():
    told = verdicts.measured([0.4])
    assert told["low"] is told["p"] is told["effect"] is None
    assert verdicts.verdict({**told, "p_holm": None}, 0.0) == verdicts.UNTOLD


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.1, 0.3, 0.01, verdicts.HOLDS),
        (0.1, 0.3, 0.06, verdicts.UNTOLD),  # not after the correction
        (-0.1, 0.3, 0.2, verdicts.UNTOLD),
        (-0.1, 0.04, 0.2, verdicts.FAILS),  # an effect of 0.05 is ruled out
        (-0.3, -0.1, 0.01, verdicts.FAILS),
    ],
)
def test_the_rule(low, high, p, verdict):
    row = {"seeds": 5, "low": low, "high": high, "p_holm": p}
    assert verdicts.verdict(row, least=0.05) == verdict
    assert verdicts.verdict({**row, "seeds": 2}, 0.05) == verdicts.UNTOLD


def test_what_is_to_be_kept_may_be_worse_by_its_margin():
    general = rows("trait", [0.90, 0.89, 0.91, 0.90], claims.GENERAL)
    found = scored(general, rows("base", [0.92, 0.92, 0.92, 0.93], claims.GENERAL))
    (row,) = verdicts.domain_table(found, "math")
    assert row["difference"] == pytest.approx(-0.0225) and row["verdict"] == verdicts.HOLDS


def test_a_claim_holds_where_all_its_comparisons_do():
    steps = [0.0, 0.01, -0.01, 0.005]
    found = scored(
        *(rows(arm, [level + s for s in steps[i:] + steps[:i]])
          for i, (arm, level) in enumerate([("trait", 0.9), ("base", 0.1), ("random", 0.2)])),
        rows("dsir", [0.9 + s for s in (0.01, -0.02, 0.02, 0.0)]),
    )  # fmt: skip
    told = verdicts.by_claim(verdicts.domain_table(found, "math"))
    assert told == {(1, "math"): verdicts.HOLDS, (2, "math"): verdicts.FAILS}


def test_claim_nine_is_claims_one_and_two_in_law():
    row = {"domain": "law", "verdict": verdicts.HOLDS}
    told = verdicts.by_claim([{**row, "claim": 1}, {**row, "claim": 2, "verdict": verdicts.UNTOLD}])
    assert told[9, "law"] == verdicts.UNTOLD


def test_power_is_that_of_the_t_test():
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.1, 0.1, (4000, 10))
    share = (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean()
    assert verdicts.power(0.1, 0.1, 10) == pytest.approx(share, abs=0.02)
    least = verdicts.detectable(0.1, 10)
    assert verdicts.power(least, 0.1, 10) == pytest.approx(0.8, abs=1e-6)


def test_what_remains_under_a_control_stands_beside_the_gain():
    found = scored(
        rows("trait", [0.8, 0.9]), rows("base", [0.1, 0.1]), rows("permuted_answers", [0.3, 0.2])
    )
    (row,) = verdicts.remains(found, "math", ["permuted_answers", "other_passages"])
    assert row["gain"] == pytest.approx(0.15) and row["gain of trait"] == pytest.approx(0.75)
