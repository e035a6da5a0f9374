"""Scores of rewritten queries: known values, and why density does not stand alone."""

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
    pairs = [2 / 3, 1.0, 1.0]
    found = rewriting.diversity("red tents", ["crimson tents", "blue boats", "blue boats"])
    assert found == pytest.approx(sum(pairs) / 3)
    assert rewriting.diversity("red tents", []) == 0


def test_one_keyword_for_every_query_is_dense_and_not_distinct():
    rows = [{"id": str(n), "question": f"Rewrite the query word{n} tents."} for n in range(4)]
    keywords = rewriting.keyword_set([{"keyword": "Cheap tents"}])
    lazy = rewriting.items(rows, {row["id"]: "cheap tents" for row in rows}, keywords)
    assert lazy["density"].mean() == 1
    assert rewriting.distinct(["cheap tents"] * 4, 1) == 0.25
    assert rewriting.distinct(["cheap tents"] * 4, 2) == 0.25
    assert rewriting.distinct([], 2) == 0


def test_no_rewrite_and_a_copied_query():
    rows = [{"id": n, "question": "Rewrite the query red tents."} for n in "ab"]
    found = rewriting.items(rows, {"a": None, "b": "red tents"}, set())
    assert list(found["diversity"]) == [0, 0]
    assert list(found["copy rate"]) == [0, 1]
