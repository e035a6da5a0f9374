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


def forms(shots=2, **more):
    return {name: fewshot.Form(shots=shots, **more) for name in ("sums", "other", "relevance")}


def test_a_task_has_one_set_of_examples_decided_by_the_seed():
    tests = [problem(50 + n, split="test") for n in range(8)]
    made = fewshot.prompts(tests, TRAIN, forms(), seed=0)
    assert made == fewshot.prompts(tests, TRAIN, forms(), seed=0)
    assert made == fewshot.prompts(tests[::-1], TRAIN, forms(), seed=0) | made
    assert made != fewshot.prompts(tests, TRAIN, forms(), seed=1)
    assert len({text.rsplit("\n\n", 1)[0] for text in made.values()}) == 1
    only_other = fewshot.prompts(tests[:1], TRAIN[:2] + TRAIN[20:], forms(), seed=0)
    assert "What is 0 plus 1" in next(iter(only_other.values()))


def test_examples_can_be_drawn_anew_for_each_question():
    tests = [problem(50 + n, split="test") for n in range(8)]
    made = fewshot.prompts(tests, TRAIN, forms(), 0, examples_for="question")
    assert made == fewshot.prompts(tests[::-1], TRAIN, forms(), 0, "question") | made
    assert len({text.split("\n")[0] for text in made.values()}) > 1
    with pytest.raises(ValueError, match="examples_for must be one of task, question"):
        fewshot.prompts(tests, TRAIN, forms(), 0, "seed")


def drawn(train, rows, shots, seed=0):
    examples = fewshot.Examples(train, rows, seed)
    return [examples.take(row, shots) for row in rows]


def test_no_example_asks_the_same_or_is_about_the_same_entity():
    train = [problem(n, entity="warb" if n < 18 else "pof") for n in range(20)]
    row = problem(3, entity="warb", split="test")
    for one in (problem(n, entity="warb" if n < 18 else "pof") for n in range(20)):
        assert fewshot.fits(one, row) == (one["entities"] == ["pof"])
    [taken] = drawn(train, [row], 2)
    assert {one["entities"][0] for one in taken} == {"pof"}
    for seed in range(20):
        [taken] = drawn(TRAIN[:20], [problem(3, split="test")], 5, seed)
        assert all(one["question"] != row["question"] for one in taken)


def test_an_example_that_holds_a_test_question_is_never_taken():
    long = "A farmer has 17 sheep and buys 4 more and then sells every third one of all of them"
    rows = [{**problem(1, split="test"), "question": f"{long}. How many?"}, problem(90)]
    copies = [
        {**problem(2), "question": f"Look: {long.upper()}; how MANY are there?"},
        {**problem(3), "solution": f"As in {long}, so 1. The answer is 1."},
    ]
    for shots in range(3, 5):
        for taken in drawn([*copies, *TRAIN[5:9]], rows, shots):
            assert not {"sums-train-2", "sums-train-3"} & {one["id"] for one in taken}
    with pytest.raises(ValueError, match="has 4 training problems"):
        drawn([*copies, *TRAIN[5:9]], rows, 5)


def test_near_copies_are_passed_over():
    row = {**problem(1, split="test"), "question": "How many red and blue hats has Ann in all?"}
    copy = {**problem(2), "question": "In all, how many blue and red hats has Ann?"}
    assert fewshot.near(row["question"], copy["question"]) and not fewshot.fits(copy, row)
    assert not fewshot.near("How many saln are 2 fint?", "How many saln are 2 warb?")


def test_candidates_that_clash_with_many_questions_come_last():
    train = [problem(n, entity="warb") for n in range(9)] + [problem(9, entity="pof")]
    rows = [problem(30 + n, entity="warb", split="test") for n in range(9)]
    rows.append(problem(80, entity="dak", split="test"))
    for seed in range(5):
        taken = drawn(train, rows, 1, seed)
        assert {one["id"] for [one] in taken} == {"sums-train-9"}


def test_too_few_examples_are_an_error_that_says_what_to_do():
    row = problem(90, split="test")
    with pytest.raises(ValueError, match=r"task 'sums' has 1 training problems .* lower the shots"):
        fewshot.prompts([row], TRAIN[:1], forms(), seed=0)
    assert fewshot.prompts([row], [], forms(0), seed=0)


OWN = ({"question": "What is it?", "solution": "It is b. The answer is b.", "answer": "b"},)


def test_examples_of_the_task_file_and_of_a_folder(tmp_path):
    row = problem(50, split="test")
    made = fewshot.prompts([row], TRAIN, forms(examples=OWN), 0)
    assert made[row["id"]] == (
        "Question: What is it?\nAnswer: It is b. The answer is b.\n\n"
        "Question: What is 50 plus 1?\nAnswer:"
    )
    asked = fewshot.prompts([{**row, "prompt": "Q: Sum?\nA:"}], TRAIN, forms(examples=OWN), 0)
    assert asked[row["id"]].endswith("b.\n\nQ: Sum?\nA:")
    (tmp_path / "sums.txt").write_text("Question: a?\nAnswer: The answer is b.\n")
    made = fewshot.prompts([row], [], forms(examples=OWN), 0, examples_folder=tmp_path)
    assert made[row["id"]].startswith(
        "Question: a?\nAnswer: The answer is b.\n\nQuestion: What is 50"
    )


def test_own_examples_that_stand_in_the_test_set_are_refused():
    row = {**problem(50, split="test"), "question": "It is what?"}
    with pytest.raises(ValueError, match=r"example 1 is, or nearly is, .* 'sums-test-50'"):
        fewshot.prompts([row], TRAIN, forms(examples=OWN), 0)


def test_the_form_of_a_task_comes_from_its_file():
    settings = {"shots": 8, "stop": ["\nQ:"], "examples": [*OWN], "kind": "number"}
    form = fewshot.form_of(settings, max_new_tokens=9)
    assert form == fewshot.Form(8, stop=("\nQ:",), max_new_tokens=9, examples=OWN)
    assert fewshot.form_of(settings, shots=1).shots == 1
    assert fewshot.shots_of(["sums=5"]) == {"sums": 5}
    with pytest.raises(ValueError, match="'sums' is not of the form task=number"):
        fewshot.shots_of(["sums"])


def test_reserved_questions_are_never_asked():
    rows = [problem(n, "general") for n in range(6)] + [problem(0, "single")]
    examples, asked = fewshot.reserve(rows, {"general": 2, "single": 2}, seed=0)
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
    made = fewshot.pair_prompts([pair(77, 1)], train, forms(), seed=0)["p77"]
    assert made.endswith("\n\nIs d77 good for q77? It is")
    assert made.count(" good\n\n") == made.count(" bad\n\n") == 1
    with pytest.raises(ValueError, match="0 training problems"):
        fewshot.pair_prompts([pair(77, 1)], [p for p in train if p["label"]], forms(), seed=0)


def test_examples_of_a_prompt_differ_where_they_can():
    train = [problem(n, entity="warb") for n in range(5)] + [problem(9, entity="pof")]
    train += [{**problem(30, entity="dak"), "answer": "10"}]
    rows = [problem(80, entity="lus", split="test")]
    for seed in range(6):
        [taken] = drawn(train, rows, 2, seed)
        assert not fewshot.repeats(*taken)
        [many] = drawn(train, rows, 7, seed)
        assert len({one["id"] for one in many}) == 7


def test_a_run_replaces_what_the_task_files_say():
    settings = {
        "sums": {"shots": 8, "max_new_tokens": 99},
        "pairs": {"form": "relevance", "shots": 6},
    }
    own = {"shots": -1, "relevance_shots": -1, "shots_by_task": [], "stop": [], "max_new_tokens": 0}
    made = fewshot.forms_of(settings, own)
    assert (made["sums"].shots, made["pairs"].shots) == (8, 6)
    own = {"shots": 1, "relevance_shots": 3, "shots_by_task": ["sums=4"], "stop": ["\n"]}
    made = fewshot.forms_of(settings, own | {"max_new_tokens": 7})
    assert (made["sums"].shots, made["pairs"].shots) == (4, 3)
    assert made["sums"].stop == ("\n",) and made["sums"].max_new_tokens == 7
