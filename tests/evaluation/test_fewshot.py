"""Prompts: which examples stand in them, and which never do."""

import pytest

from trait_lib.evaluation import fewshot


def problem(number, task="sums", entity=None, split="train"):
    return {
        "id": f"{task}-{split}-{number}",
        "task": task,
        "question": f"What is {number} plus 1?",
        "solution": f"{number} plus 1 is {number + 1}. The answer is {number + 1}.",
        "answer": str(number + 1),
        "entities": [entity] if entity else [],
    }


TRAIN = [problem(n) for n in range(20)] + [problem(n, "other") for n in range(20)]


def test_the_form_of_a_prompt():
    row = problem(50, split="test")
    assert fewshot.prompt(row, [problem(1)]) == (
        "Question: What is 1 plus 1?\nAnswer: 1 plus 1 is 2. The answer is 2."
        "\n\nQuestion: What is 50 plus 1?\nAnswer:"
    )


def test_examples_are_of_the_same_task_and_decided_by_seed_and_question():
    tests = [problem(50 + n, split="test") for n in range(8)]
    made = fewshot.prompts(tests, TRAIN, 2, seed=0)
    assert made == fewshot.prompts(tests, TRAIN, 2, seed=0)
    assert made == fewshot.prompts(tests[::-1], TRAIN, 2, seed=0) | made
    assert made != fewshot.prompts(tests, TRAIN, 2, seed=1)
    assert len({text.split("\n")[0] for text in made.values()}) > 1
    only_other = fewshot.prompts(tests[:1], TRAIN[:2] + TRAIN[20:], 2, seed=0)
    assert "What is 0 plus 1" in next(iter(only_other.values()))


def test_no_example_asks_the_same_or_is_about_the_same_entity():
    train = [problem(n, entity="warb" if n < 18 else "pof") for n in range(20)]
    row = problem(3, entity="warb", split="test")
    drawn = fewshot.choose(train, row, 2, seed=0)
    assert {one["entities"][0] for one in drawn} == {"pof"}
    for seed in range(20):
        assert all(
            e["question"] != row["question"] for e in fewshot.choose(TRAIN[:20], row, 5, seed)
        )


def test_too_few_examples_are_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"task 'sums' has 1 training problems .* lower the shots"):
        fewshot.prompts([problem(9, split="test")], TRAIN[:1], 2, seed=0)
    assert fewshot.prompts([problem(9, split="test")], [], 0, seed=0)


def test_shots_of_a_task_and_examples_of_ones_own(tmp_path):
    row = problem(50, split="test")
    made = fewshot.prompts([row], TRAIN, 2, 0, fewshot.shots_of(["sums=5"]))
    assert made[row["id"]].count("Question:") == 6
    (tmp_path / "sums.txt").write_text("Question: a?\nAnswer: The answer is b.\n")
    made = fewshot.prompts([row], [], 2, 0, examples_folder=tmp_path)
    assert made[row["id"]].startswith(
        "Question: a?\nAnswer: The answer is b.\n\nQuestion: What is 50"
    )
    with pytest.raises(ValueError, match="'sums' is not of the form task=number"):
        fewshot.shots_of(["sums"])


def test_reserved_questions_are_never_asked():
    rows = [problem(n, "general") for n in range(6)] + [problem(0, "single")]
    examples, asked = fewshot.reserve(rows, 2, seed=0)
    assert [len(examples), len(asked)] == [2, 5]
    assert not {r["id"] for r in examples} & {r["id"] for r in asked}
    assert [r["task"] for r in asked][-1] == "single"


def test_relevance_prompts_hold_both_labels():
    def pair(number, label):
        return {
            "id": f"p{number}",
            "task": "relevance",
            "query": f"q{number}",
            "document": f"d{number}",
            "label": label,
            "prompt": f"Is d{number} good for q{number}? It is",
            "positive": " good",
            "negative": " bad",
        }

    train = [pair(n, n % 2) for n in range(10)]
    made = fewshot.pair_prompts([pair(77, 1)], train, 2, seed=0)["p77"]
    assert made.endswith("\n\nIs d77 good for q77? It is")
    assert made.count(" good\n\n") == made.count(" bad\n\n") == 1
    with pytest.raises(ValueError, match="0 training problems"):
        fewshot.pair_prompts([pair(77, 1)], [p for p in train if p["label"]], 2, seed=0)
