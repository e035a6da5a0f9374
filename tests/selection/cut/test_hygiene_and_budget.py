import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from trait_lib import contamination, records
from trait_lib.contamination import words
from trait_lib.selection.cut import budget, hygiene, tokens
from trait_lib.selection.cut.budget import Budget
from trait_lib.selection.cut.candidates import Candidates
from trait_lib.selection.cut.ranking import Ranked

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
    return Candidates(
        document=np.arange(len(texts)),
        chunk=np.zeros(len(texts), dtype=int),
        tokens=np.array(tokens or [10] * len(texts)),
        quality=np.array(quality or [5.0] * len(texts)),
        reason=np.full(len(texts), "", dtype=object),
        digests=np.array([hygiene.digest(w) for w in split], dtype=np.uint64),
        minhashes=hygiene.signatures(split, 3),
    )


def ranked(*rows):
    """These documents in this order, with falling scores."""
    number = np.array(rows)
    return Ranked(number, np.zeros_like(number), -np.arange(len(rows), dtype=float), number)


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
    marked = hygiene.mark_duplicates([0, 1, 2], found.reason, found.digests, None, 0.0)
    assert marked.tolist() == ["", "", "duplicate"]


def test_a_refused_document_does_not_drive_out_its_copy():
    found = examined([LESSON, MOVED])
    found.reason[0] = "quality"
    marked = hygiene.mark_duplicates([0, 1], found.reason, found.digests, found.minhashes, 0.5)
    assert marked.tolist() == ["quality", ""]


def test_similarity_below_the_threshold_is_no_near_duplicate():
    found = examined([LESSON, MOVED])
    similarity = float((found.minhashes[0] == found.minhashes[1]).mean())
    for threshold, expected in ((similarity, "near duplicate"), (similarity + 0.01, "")):
        marked = hygiene.mark_duplicates(
            [0, 1], found.reason, found.digests, found.minhashes, threshold
        )
        assert marked[1] == expected


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("q") / "questions.json"
    long = "If a farmer has three fields of nine metres, how many square metres are in all of them?"
    records.write_json(path, {"short": "How far does a train go in seven hours?", "long": long})
    return path


def inspect(path, texts, **changes):
    given = {"tokenizer": "", "questions": str(path), "min_words": 5, "shingle_words": 2}
    return hygiene.Inspector(**(given | changes))(pa.array(texts, pa.large_string()))


def test_short_and_contaminated_documents_are_refused(questions):
    asked = "Here: how far does a train go, in seven hours? Far."
    texts = [asked, LESSON, "Only four words here.", " \n\t ", ""]
    found = inspect(questions, texts)["reason"].to_pylist()
    assert found == ["contaminated", "", "too short", "too short", "too short"]
    # no word at all is too short, whatever is allowed
    assert inspect(questions, ["", "a"], min_words=0)["reason"].to_pylist() == ["too short", ""]


def test_held_out_documents_and_their_chunks_are_refused(questions, tmp_path):
    known = tmp_path / "known.json"
    contamination.write_known(known, {}, [contamination.fingerprint(LESSON)])
    texts = [LESSON.upper().replace(" ", "\n"), f"Another beginning. {LESSON}"]
    found = inspect(questions, texts, known=str(known))["reason"].to_pylist()
    assert found == ["held out", ""]
    given = {"questions": str(questions), "min_words": 1, "shingle_words": 0}
    inspector = hygiene.Inspector("", **given, known=str(known))
    of = inspector.held_out(pa.array(texts))
    chunks = pa.array(["a piece of the first", "a piece of the second"], pa.large_string())
    assert inspector(chunks, of)["reason"].to_pylist() == ["held out", ""]


def test_the_report_says_which_question_and_what_is_shared(questions):
    run = "a farmer has three fields of nine metres how many square metres are"
    texts = [
        "He asked: HOW far does a train go in seven hours!",
        f"Nobody knows whether {run} there.",
        "How far does a train go in seven",
    ]
    found = inspect(questions, texts)["shared"].to_pylist()
    first, second = json.loads(found[0]), json.loads(found[1])
    whole = "how far does a train go in seven hours"
    assert first == [{"question": "short", "kind": "question", "shared": whole}]
    assert second == [{"question": "long", "kind": "13-gram", "shared": run}]
    assert len(run.split()) == 13
    assert found[2] is None


def test_other_languages_are_refused_on_demand(questions):
    german = "Der Hund und die Katze gehen am Abend zusammen nach Hause, weil es regnet."
    found = inspect(questions, [LESSON, german], languages=["en"])
    assert found["reason"].to_pylist() == ["", "language"]
    assert found["language"].to_pylist() == ["en", "de"]
    sure = inspect(questions, [LESSON], languages=["en"], language_min=1.0)
    assert sure["reason"].to_pylist() == [
        "" if sure["language_p"].to_pylist()[0] == 1.0 else "language"
    ]
    with pytest.raises(hygiene.UnknownLanguage, match="languages: 'english'"):
        inspect(questions, [LESSON], languages=["english"])


def test_tokens_are_estimated_from_bytes_where_no_model_is_named(questions):
    assert inspect(questions, ["é" * 4, "abcde", ""])["tokens"].tolist() == [2, 2, 0]
    assert tokens.bytes_per_token(["a" * 40], tokens.estimate) == 4.0


def test_tokens_are_counted_by_the_models_own_tokenizer(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    count = tokens.counter(str(tmp_path))
    # neither truncation nor padding counts, and lone surrogates do not break it
    assert count(["a b a", "b", "", "a \ud800"]).tolist() == [3, 1, 0, 2]
    assert tokens.bytes_per_token(["a b a", "b"], count) == 6 / 4


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


def test_quality_is_compared_with_the_bar_and_a_missing_score_passes():
    found = examined([LESSON, OTHER, "one two", "three four"], quality=[2.5, 2.4, 0.0, np.nan])
    found.reason[2] = "too short"
    got = budget.select(ranked(0, 1, 2, 3), found, Budget(99), 0.0, quality_bar=2.5)
    assert got.reason.tolist() == ["selected", "quality", "too short", "selected"]
    assert found.reason.tolist() == ["", "", "too short", ""]  # the input stays as it is


def test_the_filter_makes_room_further_down_and_comes_before_duplicates():
    # best ranked: a poor text; its good copy must not be lost as a duplicate of it
    found = examined([LESSON, LESSON, OTHER, MOVED], quality=[1.0, 4.0, 4.0, 4.0])
    got = budget.select(ranked(0, 1, 2, 3), found, Budget(20), 0.5, quality_bar=2.5)
    assert got.reason.tolist() == ["quality", "selected", "selected", "near duplicate"]
    assert got.usable.tolist() == [1, 2]
    without = budget.select(ranked(0, 1, 2, 3), found, Budget(20), 0.5)
    assert without.reason.tolist() == ["selected", "duplicate", "selected", "near duplicate"]


def test_a_number_of_documents_is_met_exactly():
    found = examined([LESSON, OTHER, MOVED + " more", "one two three"], tokens=[1, 50, 1, 1])
    got = budget.select(ranked(3, 1, 0, 2), found, Budget(1, documents=3), 0.0)
    assert np.flatnonzero(got.kept).tolist() == [0, 1, 3]
    assert (got.documents.tolist(), got.tokens, got.last_score) == ([0, 1, 3], 52, -2.0)
    assert got.reason.tolist() == ["selected", "selected", "below the cut", "selected"]
    assert Budget(1, documents=3).shortfall(got.kept, found.tokens) == ""
    assert "3 of 4 documents" in Budget(1, documents=4).shortfall(got.kept, found.tokens)


def test_a_selection_that_is_too_small_says_what_to_change():
    kept, tokens = np.array([True, False]), np.array([7, 9])
    assert Budget(7).shortfall(kept, tokens) == ""
    message = Budget(8).shortfall(kept, tokens)
    assert message.startswith("only 7 of 8 tokens")
    assert "oversample" in message


def test_a_budget_is_estimated_in_the_bytes_of_the_domain_or_in_documents():
    assert Budget(100, bytes_per_token=2.5).estimate(3) == 750
    assert Budget(100, bytes_per_token=2.5).share(10, 1000) == 0.25
    assert Budget(100, 4, 2.5).estimate(3) == 12
    assert Budget(100, 4, 2.5).share(10, 1000) == 0.4


@pytest.mark.parametrize("number", [0, 1])
def test_tiny_pools_do_not_break_the_cut(number):
    empty = budget.cut(
        np.arange(number), np.full(number, 3), np.full(number, "", dtype=object), 100
    )
    assert empty.tolist() == [True] * number
