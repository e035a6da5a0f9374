"""The report of test questions in training texts."""

import numpy as np
import pytest

from trait_lib import records
from trait_lib.evaluation import leaks
from trait_lib.evaluation.comparison import Evaluated
from trait_lib.evaluation.measure import Questions
from trait_lib.training.data import proof

LONG = "A farmer has 17 sheep and buys 4 more and then sells every third one of them all"
QUESTIONS = [
    {"id": "a", "task": "sums", "question": f"{LONG}. How many?"},
    {"id": "b", "task": "sums", "question": "What is 2 plus 2?"},
    {"id": "c", "task": "sums", "question": f"Once {LONG} today, and so on and on, why?"},
    {"id": "d", "task": "pairs", "prompt": "Is the page of Zum good for tents?"},
]


def searched(folder, monkeypatch, **sources):
    """What notebook 03 writes of some sources."""
    monkeypatch.setenv("TRAIT_RUNS", str(folder / "runs"))
    for name, rows in sources.items():
        records.write_rows(folder / f"{name}.jsonl", rows)
    records.write_rows(folder / "asked.jsonl", QUESTIONS)
    files = {name: folder / f"{name}.jsonl" for name in sources}
    proof.prove_clean(files, [], None, [folder / "asked.jsonl"], folder / "proof.json")
    return folder / "proof.json"


def test_exact_questions_and_shared_words_are_told_apart(tmp_path, monkeypatch):
    texts = [
        {"id": 1, "text": "I asked: what is 2 plus 2?! Nobody knew."},
        {"id": 2, "text": f"Look, {LONG.upper()} - how many?"},
        {"id": 3, "text": "What is 2 plus 3?"},
    ]
    problems = [{"id": "t", "text": "Why?\nis the page of zum, good for tents?"}]
    path = searched(tmp_path, monkeypatch, selected=texts, problems=problems)
    found = leaks.read(path, QUESTIONS)
    assert found.exact == {
        "a": ["selected/2"],
        "b": ["selected/1"],
        "d": ["problems/t"],
    }
    assert found.grams == {"c": ["selected/2"]}
    assert found.touched == set("abcd") and found.texts == {"selected": 3, "problems": 1}
    assert leaks.table(QUESTIONS, found) == [
        {
            "task": "sums",
            "items": 3,
            "exact questions": 2,
            "13 words shared": 1,
            "untouched": 0,
        },
        {
            "task": "pairs",
            "items": 1,
            "exact questions": 1,
            "13 words shared": 0,
            "untouched": 0,
        },
    ]
    made = leaks.report(QUESTIONS, found)
    assert made["touched"]["c"] == {"exact": [], "13 words shared": ["selected/2"]}


def test_clean_texts_touch_nothing(tmp_path, monkeypatch):
    rows = [{"text": "A farmer has sheep. What is 2?"}]
    found = leaks.read(searched(tmp_path, monkeypatch, seed=rows), QUESTIONS)
    assert not found.touched and leaks.report(QUESTIONS, found)["touched"] == {}
    assert [row["untouched"] for row in leaks.table(QUESTIONS, found)] == [3, 1]


def test_a_question_that_was_not_looked_for_is_named(tmp_path, monkeypatch):
    path = searched(tmp_path, monkeypatch, seed=[{"text": "x"}])
    with pytest.raises(ValueError, match="question 'new' was not looked for"):
        leaks.read(path, [*QUESTIONS, {"id": "new"}])
    assert leaks.read(path, QUESTIONS[:1]).texts == {"seed": 1}


def test_results_without_the_touched():
    questions = Questions(
        [{"id": "a"}, {"id": "b"}], {}, [{"id": "c"}, {"id": "d"}], {}, {"domain": ["x"]}
    )
    scores = {"label": np.array([1.0, 2.0]), "domain_bits": np.array([7.0])}
    some = leaks.without(Evaluated({"a": {}, "b": {}}, scores), questions, {"b", "c"})
    assert list(some.answers) == ["a"]
    assert some.scores["label"].tolist() == [2.0] and some.scores["domain_bits"].tolist() == [7.0]
