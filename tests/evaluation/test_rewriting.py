"""Scores of rewritten queries: known values, and why density does not stand alone."""

import numpy as np
import pytest

from trait_lib.evaluation import rewriting


def test_the_query_of_a_problem():
    assert rewriting.query_of({"question": "Rewrite the query luxury chairs."}) == "luxury chairs"
    assert rewriting.query_of({"question": "Query: red tents"}) == "red tents"
    assert rewriting.query_of({"question": "x", "query": "old radios"}) == "old radios"


def test_distance_and_diversity():
    assert rewriting.distance("Red tents", "tents, red") == 0
    assert rewriting.distance("red tents", "blue boats") == 1
    assert rewriting.distance("red tents", "crimson tents") == pytest.approx(2 / 3)
    found = rewriting.diversity("red tents", ["crimson tents", "blue boats", "blue boats"])
    assert found == pytest.approx((2 / 3 + 2 * 1 + 2 * 1 + 0) / 6)  # the repeated one counts
    assert rewriting.diversity("red tents", ["blue boats"] * 3) == 0.5
    assert rewriting.diversity("red tents", ["blue boats"]) == 1
    assert rewriting.diversity("red tents", []) == 0


def test_one_keyword_for_every_query_is_dense_and_not_distinct():
    rows = [{"id": str(n), "question": f"Rewrite the query word{n} tents."} for n in range(4)]
    keywords = rewriting.keyword_set([{"keyword": "Cheap tents"}])
    lazy = rewriting.items(rows, {row["id"]: "cheap tents" for row in rows}, keywords)
    assert lazy["density"].mean() == 1
    assert rewriting.distinct(["cheap tents"] * 4, 1)[0] == 0.25
    assert rewriting.distinct(["cheap tents"] * 4, 2)[0] == 0.25
    assert rewriting.distinct([], 2)[0] == 0


def test_no_rewrite_and_a_copied_query():
    rows = [{"id": n, "question": "Rewrite the query red tents."} for n in "ab"]
    found = rewriting.items(rows, {"a": None, "b": "red tents"}, set())
    assert list(found["diversity"]) == [0, 0]
    assert list(found["copy rate"]) == [0, 1]


def test_coverage_counts_different_keywords():
    known = rewriting.keyword_set(
        [{"keyword": k} for k in ("cheap tents", "big tents", "red tents")]
    )
    assert rewriting.coverage(["cheap tents"] * 3, known)[0] == pytest.approx(1 / 3)
    assert rewriting.coverage(["cheap tents", "Big tents.", "no tents"], known)[0] == pytest.approx(
        2 / 3
    )
    assert rewriting.coverage(["big tents", None], known)[0] == 1  # one rewrite can hit one keyword
    assert rewriting.coverage([None], known)[0] == 0
    assert rewriting.coverage(["big tents"], set())[0] == 0


def test_several_rewrites_of_one_query():
    rows = [{"id": "a", "question": "Rewrite the query red tents."}]
    known = rewriting.keyword_set([{"keyword": "crimson tents"}])
    found = rewriting.items(rows, {"a": ["crimson tents", "red tents", "blue boats", ""]}, known)
    assert found["density"] == pytest.approx([1 / 3])
    assert found["copy rate"] == pytest.approx([1 / 3])
    wanted = rewriting.diversity("red tents", ["crimson tents", "red tents", "blue boats"])
    assert found["diversity"] == pytest.approx([wanted])


def test_leaving_out_each_query_in_turn():
    rng = np.random.default_rng(0)
    some = [" ".join(rng.choice(["red", "big", "old", "tent", "boat"], size=3)) for _ in range(12)]
    some[3], some[5] = None, [some[5], "red red tent"]
    known = rewriting.keyword_set([{"keyword": text} for text in some[:3]])
    for n in (1, 2):
        slow = [
            rewriting.distinct(
                [t for one in some[:k] + some[k + 1 :] for t in rewriting.listed(one)], n
            )[0]
            for k in range(len(some))
        ]
        assert rewriting.distinct(some, n)[1] == pytest.approx(slow)
    slow = [rewriting.coverage(some[:k] + some[k + 1 :], known)[0] for k in range(len(some))]
    assert rewriting.coverage(some, known)[1] == pytest.approx(slow)
