"""The report of test questions in training texts."""

from trait_lib.evaluation import leaks

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
