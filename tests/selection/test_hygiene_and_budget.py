import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib import contamination
from trait_lib.contamination import words
from trait_lib.selection import budget, hygiene
from trait_lib.selection.pool import Examined

LESSON = (
    "A square has four equal sides. Its area is the side times the side. A field of nine metres "
    "has eighty one square metres. To find the side, take the square root of the area."
)
MOVED = (
    "A square has four equal sides. A field of nine metres has eighty one square metres. To find "
    "the side, take the square root of the area. Its area is the side times the side."
)
OTHER = "The river runs past the old mill, where the miller's daughter feeds her two grey geese."


def examined(texts, tokens=None, quality=None):
    split = [words(text) for text in texts]
    return Examined(
        tokens=np.array(tokens or [10] * len(texts)),
        quality=np.array(quality or [5.0] * len(texts)),
        reason=np.full(len(texts), "", dtype=object),
        digests=np.array([hygiene.digest(w) for w in split], dtype=np.uint64),
        minhashes=dict(enumerate(hygiene.signatures(split, 3))),
    )


# --- hygiene ----------------------------------------------------------------------------------


def test_case_and_marks_do_not_make_a_text_new():
    assert hygiene.digest(words("One, two: THREE!")) == hygiene.digest(words("one two three"))
    assert hygiene.digest(words("one two")) != hygiene.digest(words("onetwo"))


def test_the_worse_ranked_copy_goes():
    found = examined([LESSON, OTHER, LESSON.upper(), MOVED])
    marked = hygiene.mark_duplicates(
        [2, 3, 0, 1], found.reason, found.digests, found.minhashes, 0.5
    )
    assert marked.tolist() == ["duplicate", "", "", "near duplicate"]
    assert found.reason.tolist() == [""] * 4  # the input stays as it is


def test_without_a_similarity_only_exact_copies_go():
    found = examined([LESSON, MOVED, LESSON])
    marked = hygiene.mark_duplicates([0, 1, 2], found.reason, found.digests, {}, 0.0)
    assert marked.tolist() == ["", "", "duplicate"]


def test_a_refused_document_does_not_drive_out_its_copy():
    found = examined([LESSON, MOVED])
    found.reason[0] = "quality"
    marked = hygiene.mark_duplicates([0, 1], found.reason, found.digests, found.minhashes, 0.5)
    assert marked.tolist() == ["quality", ""]


def test_similarity_below_the_threshold_is_no_near_duplicate():
    found = examined([LESSON, MOVED])
    similarity = found.minhashes[0].jaccard(found.minhashes[1])
    for threshold, expected in ((similarity, "near duplicate"), (similarity + 0.01, "")):
        marked = hygiene.mark_duplicates(
            [0, 1], found.reason, found.digests, found.minhashes, threshold
        )
        assert marked[1] == expected


def test_short_and_contaminated_documents_are_refused():
    index = contamination.build_index({"q": "How far does a train go in seven hours?"})
    asked = "Here: how far does a train go, in seven hours? Far."

    def why(text):
        return hygiene.refusal(words(text), index, text, 5)

    assert why(asked) == "contaminated"
    assert why(LESSON) == ""
    assert why("Only four words here.") == "too short"
    assert why(" \n\t ") == "too short"
    assert hygiene.refusal([], index, "", 0) == "too short"  # no word at all, whatever is allowed


def test_a_text_shorter_than_a_run_is_one_run():
    assert hygiene.shingles(["a", "b"], 5) == [b"a b"]
    assert hygiene.shingles(list("abcd"), 3) == [b"a b c", b"b c d"]


# --- the cut ----------------------------------------------------------------------------------


@given(
    tokens=st.lists(st.integers(1, 50), min_size=1, max_size=30),
    size=st.integers(1, 600),
    data=st.data(),
)
def test_the_cut_takes_a_front_of_the_usable_ranking_that_just_fills_the_budget(tokens, size, data):
    number = len(tokens)
    order = np.array(data.draw(st.permutations(range(number))))
    refused = data.draw(st.lists(st.booleans(), min_size=number, max_size=number))
    reason = np.where(refused, "quality", "").astype(object)
    tokens = np.array(tokens)
    kept = budget.cut(order, tokens, reason, size)
    usable = [i for i in order if not refused[i]]
    taken = [i for i in usable if kept[i]]
    assert taken == usable[: len(taken)]
    assert not kept[np.array(refused)].any()
    if len(taken) < len(usable):
        assert tokens[taken].sum() >= size
    if taken:
        assert tokens[taken[:-1]].sum() < size


def test_every_row_gets_exactly_one_reason():
    kept = np.array([True, False, False])
    reason = np.array(["", "", "quality"], dtype=object)
    assert budget.final_reasons(kept, reason).tolist() == ["selected", "below the cut", "quality"]


def test_quality_is_compared_with_the_bar_and_a_missing_score_passes():
    reason = np.array(["", "", "too short", ""], dtype=object)
    marked = budget.apply_threshold(reason, np.array([2.5, 2.4, 0.0, np.nan]), 2.5)
    assert marked.tolist() == ["", "quality", "too short", ""]


def test_the_filter_makes_room_further_down_and_comes_before_duplicates():
    # best ranked: a poor text; its good copy must not be lost as a duplicate of it
    found = examined([LESSON, LESSON, OTHER, MOVED], quality=[1.0, 4.0, 4.0, 4.0])
    got = budget.select(np.arange(4), found, 20, 0.5, quality_bar=2.5)
    assert got.reason.tolist() == ["quality", "selected", "selected", "near duplicate"]
    assert got.usable.tolist() == [1, 2]
    without = budget.select(np.arange(4), found, 20, 0.5)
    assert without.reason.tolist() == ["selected", "duplicate", "selected", "near duplicate"]


def test_equal_scores_keep_the_order_of_the_file():
    assert budget.best_first(np.array([1.0, 3.0, 1.0, 3.0])).tolist() == [1, 3, 0, 2]


def test_a_random_order_is_a_permutation_that_the_seed_decides():
    order = budget.random_order(100, seed=7)
    assert sorted(order) == list(range(100))
    assert (order == budget.random_order(100, seed=7)).all()
    assert (order != budget.random_order(100, seed=8)).any()


def test_candidates_hold_the_wanted_tokens_by_their_size():
    order, sizes = np.array([3, 1, 0, 2]), np.array([40, 30, 20, 10])
    # 10, 40, 80, 100 bytes from the front: at 4 bytes a token 2.5, 10, 20, 25 tokens
    assert budget.candidates(order, sizes, 4.0, 10).tolist() == [3, 1]
    assert budget.candidates(order, sizes, 4.0, 11).tolist() == [3, 1, 0]
    assert budget.candidates(order, sizes, 4.0, 10**9).tolist() == [3, 1, 0, 2]


def test_a_selection_that_is_too_small_says_what_to_change():
    kept, tokens = np.array([True, False]), np.array([7, 9])
    assert budget.shortfall(kept, tokens, 7) == ""
    message = budget.shortfall(kept, tokens, 8)
    assert message.startswith("only 7 of 8 tokens")
    assert "oversample" in message


@pytest.mark.parametrize("number", [0, 1])
def test_tiny_pools_do_not_break_the_cut(number):
    empty = budget.cut(
        np.arange(number), np.full(number, 3), np.full(number, "", dtype=object), 100
    )
    assert empty.tolist() == [True] * number
