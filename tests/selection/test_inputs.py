"""What notebook 01 reads, and from where."""

import pyarrow as pa
import pytest

from trait_lib import contamination, records, run
from trait_lib.selection import inputs
from trait_lib.selection.cut import hygiene

ASKED = {
    "domain": "math", "tier": "smoke", "seed": 0, "text_field": "body", "id_field": "key",
    "on_bad": "error",
    "seed_files": [], "corpus_files": [], "general_files": [],
    "question_files": [], "negative_files": [], "negative_shares": [],
    "min_words": 1, "shingle_words": 2, "near_duplicates": 0.0, "languages": [],
    "language_min": 0.5,
}  # fmt: skip


HELD_OUT = "A text that notebook 00 holds out, to be measured on only."


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A stage after a small notebook 00."""
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
    before = run.open_stage(inputs.BEFORE, ASKED)
    records.write_rows(before.path("seed.jsonl.zst"), [{"text": "two and two"}])
    records.write_rows(before.path("general.jsonl.zst"), [{"text": f"g{i}"} for i in range(9)])
    records.write_rows(before.path("pool.jsonl.zst"), [{"text": f"p{i}"} for i in range(9)])
    records.write_rows(before.path("pool_labels.jsonl"), [])
    records.write_json(before.path("base_model.json"), {"name_or_path": "a model"})
    for name in inputs.QUESTIONS:
        records.write_rows(before.path(name), [{"id": "1", "question": "1+1?"}])
    fingerprints = [contamination.fingerprint(HELD_OUT)]
    contamination.write_known(before.path("contamination.json"), {}, fingerprints)
    before.close()
    return lambda **changes: run.open_stage("01_data_selection", ASKED | changes)


def own_files(folder):
    corpus, seed = folder / "corpus.jsonl", folder / "seed.jsonl"
    records.write_rows(corpus, [{"body": f"c{i}"} for i in range(9)])
    records.write_rows(seed, [{"body": "three and four"}])
    return {"seed_files": [str(seed)], "corpus_files": [str(corpus)]}


def test_what_is_not_named_comes_from_notebook_00(stage):
    here = stage()
    given = inputs.gather(here)
    assert given.seed == ["two and two"]
    assert set(given.questions) == {"problems_test/1", "problems_dev/1", "relevance_test/1"}
    assert (given.tokenizer, given.fields["text_field"]) == ("a model", "text")
    assert given.labels.name == "pool_labels.jsonl"
    assert sorted(inputs.general_texts(here, given, 3))[0].startswith("g")
    assert "00_start_here/general.jsonl.zst" in here.inputs


def test_files_of_the_user_need_no_notebook_00(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
    asked = ASKED | own_files(tmp_path)
    assert inputs.alone(asked)
    here = run.open_stage("01_data_selection", asked, standalone=True)
    given = inputs.gather(here)
    assert (given.seed, given.questions) == (["three and four"], {})
    assert (given.tokenizer, given.labels) == ("", None)
    # nobody has labelled the corpus, and a part of it stands in for general text
    assert set(inputs.general_texts(here, given, 4)) < {f"c{i}" for i in range(9)}
    assert {name.rpartition("/")[2] for name in here.inputs} >= {"seed.jsonl"}


def test_the_user_may_name_only_the_corpus(stage, tmp_path):
    files = own_files(tmp_path)
    here = stage(corpus_files=files["corpus_files"])
    given = inputs.gather(here)
    assert given.seed == ["two and two"]
    assert given.fields == {"text_field": "body", "id_field": "key", "on_bad": "error"}
    assert given.labels is None


def test_what_notebook_00_holds_out_is_left_out_of_a_corpus_of_the_user(stage, tmp_path):
    own, questions = own_files(tmp_path), tmp_path / "problems_test.jsonl"
    records.write_rows(questions, [{"id": "1", "question": "And this?"}])
    for files in (own, {"corpus_files": own["corpus_files"]}):  # also where 00 is not needed
        here = stage(**files, question_files=[str(questions)])
        given = inputs.gather(here)
        assert sorted(given.questions.values()) == ["1+1?", "1+1?", "1+1?", "And this?"]
        inspect = hygiene.Inspector(**inputs.rules(here, given) | {"tokenizer": ""})
        texts = pa.array([HELD_OUT, "Another text, of as many words."])
        assert inspect(texts)["reason"].to_pylist() == ["held out", ""]
