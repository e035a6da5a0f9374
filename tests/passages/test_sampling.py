"""Groups of problems: which go together, how often each is used, always the same."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import contamination
from trait_lib.passages import sampling


def problem(name, task="sum", topic="length", **more):
    row = {"id": name, "task": task, "topic": topic, "question": f"What of {name}?", "answer": "1"}
    return row | {"solution": f"It is {name}. The answer is 1.", "split": "train"} | more


WORLD = [
    problem(f"{topic}-{task}-{i}", task, topic)
    for topic in ("length", "weight")
    for task, count in (("sum", 20), ("rate", 5), ("change", 8))
    for i in range(count)
]


def test_a_group_has_one_topic_and_different_tasks():
    groups = sampling.sample_groups(WORLD, 100, 3, seed=1)
    assert len(groups) == 100
    for group in groups:
        assert {p["topic"] for p in group.problems} == {group.topic}
        assert len(set(group.tasks)) == 3


def test_every_problem_is_used_before_any_is_used_much():
    groups = sampling.sample_groups(WORLD, 66, 2, seed=1)
    report = sampling.coverage(WORLD, groups)
    assert report["used"] == report["problems"] == 66
    assert report["share_used"] == 1
    # 40 sums need partners among 26 other problems
    assert report["uses_max"] <= 4


def test_groups_are_distinct_and_the_same_for_the_same_seed():
    groups = sampling.sample_groups(WORLD, 300, 2, seed=5)
    assert len({frozenset(g.ids) for g in groups}) == 300
    assert sampling.sample_groups(WORLD, 300, 2, seed=5) == groups
    assert sampling.sample_groups(WORLD, 300, 2, seed=6) != groups


def test_no_more_groups_come_out_than_there_are():
    three = [problem("a", "sum"), problem("b", "rate"), problem("c", "change")]
    assert len(sampling.sample_groups(three, 50, 2, seed=0)) == 3
    assert len(sampling.sample_groups(three, 50, 1, seed=0)) == 3


def test_max_uses_is_kept():
    groups = sampling.sample_groups(WORLD, 500, 2, seed=2, max_uses=1)
    uses = Counter(name for group in groups for name in group.ids)
    assert max(uses.values()) == 1
    assert 20 <= len(groups) <= 33


def test_one_task_alone_makes_groups_of_different_problems_and_says_so():
    single = [problem(str(i)) for i in range(10)]
    groups = sampling.sample_groups(single, 12, 2, seed=0)
    assert all(len(set(group.ids)) == 2 for group in groups)
    report = sampling.coverage(single, groups)
    assert report["single_task"]
    assert report["groups_of_different_tasks"] == 0


def test_entities_are_shared_where_the_groups_are_by_entity():
    rows = [
        problem("a", "title", "", entities=["Pos"]),
        problem("b", "query", "", entities=["Pos", "Gig"]),
        problem("c", "ad", "", entities=["Gig"]),
        problem("d", "ad", "Pos"),  # no entity: its topic counts
    ]
    groups = sampling.sample_groups(rows, 20, 2, seed=0, group_by="entity")
    pairs = {tuple(sorted(g.ids)) for g in groups}
    assert pairs == {("a", "b"), ("b", "c"), ("a", "d"), ("b", "d")}
    assert {g.topic for g in groups if "c" in g.ids} == {"Gig"}


def test_problems_that_only_documents_may_use_are_left_out():
    rows = [problem("a", "sum"), problem("b", "rate"), problem("c", "x", documents_only=True)]
    groups = sampling.sample_groups(rows, 9, 2, seed=0)
    assert [sorted(g.ids) for g in groups] == [["a", "b"]]
    assert sampling.coverage(rows, groups)["left_out"] == 1


def test_a_question_that_repeats_another_is_used_once():
    rows = [
        problem("a", "x", question="How many?"),
        problem("b", "y", question="how  many"),
        problem("c", "z", question="What?"),
    ]
    groups = sampling.sample_groups(rows, 9, 2, seed=0)
    assert [sorted(g.ids) for g in groups] == [["a", "c"]]
    assert sampling.coverage(rows, groups)["left_out"] == 1


def test_problems_of_another_split_are_refused():
    with pytest.raises(ValueError, match=r"problem b .*'test'.*train only"):
        sampling.sample_groups([problem("a"), problem("b", split="test")], 1, 1, seed=0)


def test_an_id_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="two problems have the id 'a'"):
        sampling.sample_groups([problem("a"), problem("a")], 1, 1, seed=0)


def test_no_possible_group_is_an_error_that_says_what_to_do():
    with pytest.raises(sampling.NoGroups, match="use a smaller k"):
        sampling.sample_groups([problem("a", topic="x"), problem("b", topic="y")], 5, 2, seed=0)


def test_a_problem_that_holds_a_test_question_is_left_out_and_named():
    index = contamination.build_index({"t1": "What of the blue box?"})
    rows = [problem("a"), problem("b", question="Tell me. What of the blue box? Say it.")]
    rest, found = sampling.without_test_problems(rows, index)
    assert [row["id"] for row in rest] == ["a"]
    assert found == {"b": ["t1"]}


# --- topics by clustering -----------------------------------------------------------------------

TRAINS = ["the train leaves the station on rails", "a train on rails passes two stations"]
CAKES = ["bake a cake with flour and sugar", "sugar and flour make the cake sweet"]


def test_problems_without_a_topic_are_clustered_by_their_words():
    rows = [
        problem(f"{kind}{i}{j}", f"task{j}", "", question=f"{text} {'so ' * j}?")
        for kind, texts in (("t", TRAINS), ("c", CAKES))
        for i, text in enumerate(texts)
        for j in range(3)
    ]
    names = sampling.cluster([row["question"] for row in rows], 2, seed=0)
    assert len(set(names)) == 2
    assert len(set(names[:6])) == len(set(names[6:])) == 1
    assert "cake" in names[-1] and "train" in names[0]
    groups = sampling.sample_groups(rows, 20, 2, seed=0, topics=2)
    assert all(len({name[0] for name in group.ids}) == 1 for group in groups)


def test_texts_without_words_are_one_topic():
    assert sampling.cluster(["1 + 1", "2 + 2"], 0, seed=0) == ["all", "all"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz")), min_size=1, max_size=14),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_whatever_the_problems_the_groups_keep_their_promises(kinds, k, max_uses, seed):
    rows = [problem(str(i), task, topic) for i, (task, topic) in enumerate(kinds)]
    try:
        groups = sampling.sample_groups(rows, 30, k, seed, max_uses=max_uses)
    except sampling.NoGroups:
        assert max(Counter(topic for _, topic in kinds).values()) < k
        return
    tasks_of = {topic: {t for t, other in kinds if other == topic} for _, topic in kinds}
    uses = Counter(name for group in groups for name in group.ids)
    assert len({frozenset(g.ids) for g in groups}) == len(groups) <= 30
    assert not max_uses or max(uses.values()) <= max_uses
    for group in groups:
        assert len(set(group.ids)) == k
        assert {p["topic"] for p in group.problems} == {group.topic}
        if not max_uses:
            assert len(set(group.tasks)) == min(k, len(tasks_of[group.topic]))
