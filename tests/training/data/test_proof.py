import pytest

from trait_lib import contamination, records
from trait_lib.contamination import files
from trait_lib.training.data import proof

QUESTION = "How many pemp are nine saln when one saln is exactly four pemp and two bren?"


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
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


def test_a_held_out_document_stops_too(written):
    text = "A page of a book that is only ever measured on."
    contamination.write_known(written / "known.json", {}, [contamination.fingerprint(text)])
    records.write_rows(written / "seen.jsonl", [{"id": "b", "text": f"{text.upper()}"}])
    with pytest.raises(proof.Contaminated, match="b of general is held out"):
        proof.prove_clean({"general": written / "seen.jsonl"}, [], written / "known.json")


def test_other_questions_are_reported_only(written):
    bad = [{"id": i, "text": "They ask: is a toad, wet? Yes."} for i in range(30)]
    records.write_rows(written / "bad.jsonl", bad)
    asked = [written / "test.jsonl"], None, [written / "dev.jsonl"], written / "proof.json"
    assert proof.prove_clean({"general": written / "bad.jsonl"}, *asked) == {"general": 30}
    found = records.read_json(written / "proof.json")
    assert found["exact"] == {"d-1": [f"general/{i}" for i in range(files.MOST)]}
    assert found["questions"] == ["d-1", "t-1"]


def test_processes_find_what_one_finds(written, monkeypatch):
    texts = ["fine", QUESTION, "is a toad wet", f"{QUESTION} Is a toad wet?", "Held out."] * 11
    rows = [{"id": f"r{i}", "text": text} for i, text in enumerate(texts)]
    known = {"shared": {}, "held_out": [contamination.fingerprint("held out")]}
    asked = {"t": QUESTION, "d": "Is a toad wet?"}
    found = []
    for name, processes in (("a.jsonl.zst", 1), ("b.jsonl.zst", 2), ("c.parquet", 1)):
        monkeypatch.setenv("TRAIT_RUNS", str(written / f"runs-{name}"))
        records.write_rows(written / name, rows)
        found.append(files.search(written / name, asked, known, processes))
    assert found[0] == found[1] == found[2] and found[0]["documents"] == 55
    assert found[0]["exact"]["d"][:3] == ["r2", "r3", "r7"]
    assert found[0]["held_out"] == [f"r{i}" for i in range(4, 55, 5)]


def test_a_file_is_searched_once(written, monkeypatch):
    asked = {"d": "Is a toad wet?"}
    first = files.search(written / "clean.jsonl", asked, {})
    (made,) = (written / "runs" / "cache").glob("searched-*/found.json")
    records.write_json(made, first | {"documents": 7})
    assert files.search(written / "clean.jsonl", asked, {})["documents"] == 7
    assert files.search(written / "clean.jsonl", asked | {"e": "Why?"}, {})["documents"] == 1
