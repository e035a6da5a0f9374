import pytest

from trait_lib import records
from trait_lib.training.data import proof

QUESTION = "How many pemp are nine saln when one saln is exactly four pemp and two bren?"


@pytest.fixture
def written(tmp_path):
    records.write_rows(tmp_path / "test.jsonl", [{"id": "t-1", "question": QUESTION}])
    records.write_rows(tmp_path / "dev.jsonl", [{"id": "d-1", "question": "Is a toad wet?"}])
    clean = [{"id": "c", "text": "One saln is four pemp."}]
    records.write_rows(tmp_path / "clean.jsonl", clean)
    return tmp_path


def test_clean_texts_are_counted(written):
    held_out = [written / "test.jsonl", written / "dev.jsonl"]
    assert proof.prove_clean({"selected": written / "clean.jsonl"}, held_out) == {"selected": 1}


@pytest.mark.parametrize(
    ("text", "identifier"),
    [(f"So: {QUESTION.upper()} Well.", "t-1"), ("They ask: is a toad, wet? Yes.", "d-1")],
)
def test_a_held_out_question_stops_and_is_named(written, text, identifier):
    records.write_rows(
        written / "bad.jsonl", [{"id": "x", "text": "fine"}, {"id": "y", "text": text}]
    )
    with pytest.raises(proof.Contaminated, match=rf"{identifier} in passages/y"):
        proof.prove_clean(
            {"selected": written / "clean.jsonl", "passages": written / "bad.jsonl"},
            [written / "test.jsonl", written / "dev.jsonl"],
        )


def test_training_problems_that_hold_a_test_problem_are_left_out(written):
    rows = [{"id": "a", "text": f"Question: {QUESTION}\nAnswer: 36."}, {"id": "b", "text": "fine"}]
    kept, left_out = proof.without_held_out(rows, [written / "test.jsonl", written / "dev.jsonl"])
    assert [row["id"] for row in kept] == ["b"]
    assert left_out == ["a"]
