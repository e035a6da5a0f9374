"""The report of test questions in training texts."""

import numpy as np

from trait_lib.evaluation import leaks
from trait_lib.evaluation.comparison import Evaluated
from trait_lib.evaluation.measure import Questions

LONG = "A farmer has 17 sheep and buys 4 more and then sells every third one of them all"
QUESTIONS = [
    {"id": "a", "task": "sums", "question": f"{LONG}. How many?"},
    {"id": "b", "task": "sums", "question": "What is 2 plus 2?"},
    {"id": "c", "task": "sums", "question": f"Once {LONG} today, and so on and on, why?"},
    {"id": "d", "task": "pairs", "prompt": "Is the page of Zum good for tents?"},
]


def test_exact_questions_and_shared_words_are_told_apart():
    texts = [
        {"id": 1, "text": "I asked: what is 2 plus 2?! Nobody knew."},
        {"id": 2, "text": f"Look, {LONG.upper()} - how many?"},
        {"id": 3, "text": "What is 2 plus 3?"},
    ]
    problems = [{"id": "t", "question": "Why?", "solution": "is the page of zum, good for tents?"}]
    found = leaks.search(QUESTIONS, {"selected": texts, "problems": problems})
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


def test_clean_texts_touch_nothing():
    found = leaks.search(QUESTIONS, {"seed": [{"text": "A farmer has sheep. What is 2?"}]})
    assert not found.touched and leaks.report(QUESTIONS, found)["touched"] == {}
    assert [row["untouched"] for row in leaks.table(QUESTIONS, found)] == [3, 1]


def test_what_a_training_stage_trained_on():
    inputs = "00_start_here/general.jsonl.zst 00_start_here/problems_test.jsonl"
    inputs += " 00_start_here/base_model.json"
    inputs += " 00_start_here/problems_train.jsonl 00_start_here/heldout_domain.jsonl"
    inputs += " 02_passage_generation/passages.jsonl"
    assert leaks.trained_on(inputs.split()) == [
        "00_start_here/general.jsonl.zst",
        "00_start_here/problems_train.jsonl",
        "02_passage_generation/passages.jsonl",
    ]


def test_results_without_the_touched():
    questions = Questions(
        [{"id": "a"}, {"id": "b"}], {}, [{"id": "c"}, {"id": "d"}], {}, {"domain": ["x"]}
    )
    scores = {"label": np.array([1.0, 2.0]), "domain_bits": np.array([7.0])}
    some = leaks.without(Evaluated({"a": {}, "b": {}}, scores), questions, {"b", "c"})
    assert list(some.answers) == ["a"]
    assert some.scores["label"].tolist() == [2.0] and some.scores["domain_bits"].tolist() == [7.0]
