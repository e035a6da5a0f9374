"""What the results say of each claim: paired differences over seeds, intervals, verdicts, power.

Seeds are the unit: another seed is another world, other items and another training, so the spread
of an arm's difference over seeds is the error of it (Student's t, 95 %). p-values are corrected
for all comparisons of a domain (Holm). Not stated in the paper, which gives averages.

The rule, fixed before the confirmation seeds. With d the difference in the claim's direction (plus
the margin, for what is only to be kept), its interval [low, high], and `least` a quarter of TRAIT's
gain over the base model in that domain, the smallest effect of interest:

- *holds*: low > 0 and the corrected p is at most 0.05;
- *does not hold*: high < least, so an effect as large as that is ruled out (of claims 1 and 8,
  which that gain measures itself or which state no gain: high < 0);
- *cannot be told*: all else, and fewer than three seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import nct, t

from trait_lib.claims.claims import COMPARISONS, MEAN, NEW_DOMAIN, Comparison
from trait_lib.evaluation import statistics

Row = dict[str, Any]
Scores = dict[tuple[str, str, str, str], dict[int, float]]
RateOf = Callable[[str], float]
ALPHA, WANTED_POWER, LEAST_SEEDS = 0.05, 0.8, 3
HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"
ABSOLUTE = (1, 8)  # claims judged against 0 and not against a share of the gain


def scores(rows: Iterable[Mapping[str, Any]], rate_of: RateOf) -> Scores:
    """(domain, arm, task, metric) -> value by seed, of the cells at each arm's own rate."""
    found: Scores = {}
    for row in rows:
        if math.isclose(row["rate"], rate_of(row["arm"])):
            name = (row["domain"], row["arm"], row["task"], row["metric"])
            found.setdefault(name, {})[row["seed"]] = row["value"]
    return found


def paired(found: Scores, domain: str, one: Comparison) -> dict[int, float]:
    """The difference by seed, of the seeds in which both arms have run."""
    first, second = (
        found.get((domain, arm, one.task, one.metric), {}) for arm in (one.arm, one.against)
    )
    return {seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}


def measured(differences: Sequence[float], margin: float = 0.0) -> Row:
    """Mean, 95 % interval, p of no difference, and effect size of paired differences.

    The effect size is the mean over the standard deviation (Cohen's d of paired differences). All
    are None where one seed, or no spread, does not tell them.
    """
    made = statistics.pooled([value + margin for value in differences])
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    low, high = (end - margin for end in made.interval)
    return {
        "seeds": made.seeds,
        "difference": made.mean - margin,
        **{name: _told(value) for name, value in (("low", low), ("high", high), ("p", made.p))},
        "effect": made.mean / spread if spread > 0 else None,
        "sd": spread,
    }


def _told(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def verdict(row: Mapping[str, Any], least: float, margin: float = 0.0) -> str:
    """The verdict on one comparison; see the rule above.

    Args:
        row: from `measured`, with `p_holm`.
        least: the smallest effect of interest.
        margin: as in the comparison.
    """
    if row["seeds"] < LEAST_SEEDS or row["low"] is None:
        return UNTOLD
    if row["low"] + margin > 0 and row["p_holm"] <= ALPHA:
        return HOLDS
    return FAILS if row["high"] + margin < least else UNTOLD


def why(row: Mapping[str, Any], least: float, margin: float = 0.0) -> str:
    """The part of the rule that decided, in words and points; arguments as of `verdict`."""
    if row["seeds"] < LEAST_SEEDS:
        return f"{row['seeds']} of at least {LEAST_SEEDS} seeds"
    if row["low"] is None:
        return "no spread over seeds"
    edge = f"{-100 * margin:.0f}" if margin else "0"
    found = verdict(row, least, margin)
    if found == HOLDS:
        return f"interval above {edge}"
    if found == FAILS:
        ruled_out = f"{100 * least:.1f} points ruled out"
        return ruled_out if least else f"interval below {edge}"
    if row["low"] + margin > 0:
        return f"corrected p {row['p_holm']:.2g}"
    return f"interval holds {edge}" + (f" and {100 * least:.1f}" if least else "")


def domain_table(found: Scores, domain: str) -> list[Row]:
    """A row for each comparison of a domain that has run, with corrected p and verdict."""
    gain = paired(found, domain, COMPARISONS[0])
    least = max(0.0, float(np.mean(list(gain.values()))) / 4) if gain else 0.0
    rows: list[Row] = []
    margins: list[float] = []
    for one in COMPARISONS:
        differences = paired(found, domain, one)
        if not differences:
            continue
        names = {"claim": one.claim, "comparison": one.name, "domain": domain}
        means = {
            side: float(np.mean([found[domain, arm, one.task, one.metric][s] for s in differences]))
            for side, arm in (("value", one.arm), ("against", one.against))
        }
        rows.append(
            {**names, "task": one.task, **means, **measured(list(differences.values()), one.margin)}
        )
        margins.append(one.margin)
    corrected = statistics.holm([math.nan if row["p"] is None else row["p"] for row in rows])
    for row, p, margin in zip(rows, corrected, margins, strict=True):
        row["p_holm"] = _told(p)
        wanted = 0.0 if row["claim"] in ABSOLUTE else least
        row["verdict"] = verdict(row, wanted, margin)
        row["why"] = why(row, wanted, margin)
    return rows


def by_claim(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], str]:
    """(claim, domain) -> the verdict on all of its comparisons together."""
    told: dict[tuple[int, str], list[str]] = {}
    for row in rows:
        told.setdefault((row["claim"], row["domain"]), []).append(row["verdict"])
        if row["domain"] == NEW_DOMAIN and row["claim"] in (1, 2):
            told.setdefault((9, NEW_DOMAIN), []).append(row["verdict"])
    return {
        name: FAILS if FAILS in parts else UNTOLD if UNTOLD in parts else HOLDS
        for name, parts in told.items()
    }


def domains_of(found: Scores) -> list[str]:
    """The domains with results, in order."""
    return sorted({domain for domain, *_ in found})


def against_each(
    found: Scores, domain: str, scored: Sequence[tuple[str, str]], arms: Sequence[str]
) -> list[Row]:
    """TRAIT beside other arms on any scores, each difference with its interval; not corrected."""
    rows = []
    for task, metric in scored:
        for arm in arms:
            one = Comparison(0, arm, "trait", arm, task, metric)
            if differences := paired(found, domain, one):
                value = np.mean([found[domain, "trait", task, metric][s] for s in differences])
                told = measured(list(differences.values()))
                kept = {name: told[name] for name in ("seeds", "difference", "low", "high")}
                names = {"score": task, "metric": metric, "against": arm}
                rows.append({**names, "trait": float(value), **kept})
    return rows


def remains(found: Scores, domain: str, controls: Iterable[str]) -> list[Row]:
    """What is left under each control: its gain over base beside TRAIT's, seed by seed."""
    gain = paired(found, domain, COMPARISONS[0])
    rows = []
    for name in controls:
        left = paired(found, domain, Comparison(0, name, name, "base"))
        if left:
            told = measured(list(left.values()))
            both = [seed for seed in left if seed in gain]
            real = float(np.mean([gain[s] for s in both])) if both else None
            row = {"domain": domain, "control": name, "gain": told["difference"]}
            row |= {name: told[name] for name in ("low", "high", "seeds")}
            rows.append({**row, "gain of trait": real})
    return rows


# --- power ------------------------------------------------------------------------------------


def power(effect: float, sd: float, seeds: int) -> float:
    """The chance that the two-sided paired t-test finds a difference `effect` with this spread."""
    if sd <= 0 or seeds < 2:
        return math.nan
    edge, away = t.ppf(1 - ALPHA / 2, seeds - 1), effect / sd * math.sqrt(seeds)
    found = float(nct.sf(edge, seeds - 1, away) + nct.cdf(-edge, seeds - 1, away))
    return found if math.isfinite(found) else 1.0  # scipy's ends at large effects


def detectable(sd: float, seeds: int) -> float:
    """The smallest difference that is found with a chance of `WANTED_POWER`."""
    if sd <= 0 or seeds < 2:
        return math.nan
    low, high = 0.0, 20 * sd
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, sd, seeds) >= WANTED_POWER else (middle, high)
    return high


def power_table(found: Scores, domain: str, planned: int) -> list[Row]:
    """For each comparison the spread over seeds, and what `planned` seeds would find of it."""
    rows = []
    for row in domain_table(found, domain):
        if row["sd"] > 0:
            kept = {name: row[name] for name in ("domain", "claim", "comparison", "sd")}
            found_with = power(row["difference"], row["sd"], planned)
            least = detectable(row["sd"], planned)
            rows.append({**kept, "detectable": least, "power": found_with})
    return rows


def mean_of(
    found: Scores, domain: str, arm: str, task: str = MEAN, metric: str = "accuracy"
) -> Row:
    """Mean over seeds of one score with its interval."""
    values = list(found.get((domain, arm, task, metric), {}).values())
    return {"arm": arm, "domain": domain, **measured(values)} if values else {}
