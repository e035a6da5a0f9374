"""Items by likelihood: fair choices, and scores equal to a plain computation."""

import numpy as np
import pytest
import torch

from trait_lib.evaluation import comparison, likely, measure
from trait_lib.evaluation.inference import likelihood

PROBLEM = {
    "id": "a",
    "task": "sums",
    "question": "Ann has 3 boxes of 40 eggs. How many eggs?",
    "solution": "She has 3 * 40 = 120 eggs.\nThat is 120 - 20 = $100 less. The answer is 100.",
}
OTHER = {**PROBLEM, "id": "b", "question": "Bob has 7 hens. How many legs?"}


def test_wrong_results_are_as_long_as_round_and_not_named_before():
    for seed in range(20):
        [item, _] = likely.solutions([PROBLEM, OTHER], seed)
        results = [item["solution"][a:b] for a, b in item["results"]]
        assert results == ["120", "100", "100"]  # 120 - 20 begins a calculation
        first, last = item["asked"]
        right, before = item["solution"][first:last], item["prompt"] + item["solution"][:first]
        assert right not in before and len(set(item["wrong"])) == 3
        for wrong in item["wrong"]:
            assert len(wrong) == 3 and wrong != right and wrong not in before
            assert len(wrong.rstrip("0")) == len(right.rstrip("0"))
        assert item["other"] == "Question: Bob has 7 hens. How many legs?\nAnswer:"


def test_a_solution_without_a_calculation_asks_for_none():
    plain = {**PROBLEM, "solution": "The answer is a red hat."}
    items = likely.solutions([plain, {**plain, "id": "c"}, {"id": "d", "task": "x"}], 0)
    assert len(items) == 2 and not items[0]["asked"] and not items[0]["results"]


def test_the_next_sentence_stands_beside_others_of_its_document():
    text = " ".join(
        f"The {n} animals of the house went over hill number {n}." for n in range(10, 22)
    )
    items = likely.sentences([text, "One sentence only, which is short."], 0)
    assert 1 <= len(items) <= likely.PER_DOCUMENT and {one["group"] for one in items} == {0}
    for item in items:
        assert text.startswith(item["context"] + item["choices"][0])
        assert len(set(item["choices"])) == 4 and all(one in text for one in item["choices"])


def plainly(model, ids, known):
    """Sum of log p of the tokens after the first `known`."""
    with torch.no_grad():
        logged = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, :-1].double(), -1)
    return logged[torch.arange(len(ids) - 1), torch.tensor(ids[1:])][known - 1 :].sum().item()


def test_solutions_cost_what_a_plain_computation_says(loaded):
    model, tokenizer = loaded
    items = likely.solutions([PROBLEM, OTHER], 1)
    found = likelihood.solutions(model, tokenizer, items)
    assert found.shape == (2, 6)
    for item, row in zip(items, found, strict=True):
        for prompt, bits in ((item["prompt"], row[0]), (item["other"], row[4])):
            start = tokenizer(prompt)["input_ids"]
            whole = start + tokenizer(item["solution"])["input_ids"]
            assert bits == pytest.approx(-plainly(model, whole, len(start)) / np.log(2), rel=1e-4)
        assert row[1] == len(item["solution"].encode())
        assert 0 < row[2] < row[0] and 0 < row[3] <= 9
        assert row[5] in (0.0, 1.0)


def test_a_choice_is_right_where_the_true_number_is_the_likeliest(loaded):
    model, tokenizer = loaded
    item, _ = likely.solutions([PROBLEM, OTHER], 1)
    first, last = item["asked"]
    before = item["solution"][:first]
    lead = " " if before.endswith(" ") else ""
    context = item["prompt"] + before.removesuffix(" " if lead else "")
    texts = [lead + one for one in (item["solution"][first:last], *item["wrong"])]
    values = likelihood.continuations(model, tokenizer, [(context, text) for text in texts])
    [[*_, right], _] = likelihood.solutions(model, tokenizer, [item, item])
    assert right == float(values[0] > values[1:].max())


def evaluated(right, sentences):
    rows = np.array([[10.0, 10, 2, 1, 12, one] for one in right])
    scores = {"solutions": rows, "next_sentences": np.array(sentences, float)}
    return comparison.Evaluated({}, scores)


def test_rows_gates_and_changed_items_of_a_comparison():
    n = 200
    questions = measure.Questions(
        [], {}, [], {}, {}, (), [{}] * n, [{"group": i // 4} for i in range(n)]
    )
    base = evaluated([1.0, 0] * 80 + [-1.0] * 40, [1] * 196 + [0] * 4)
    better = evaluated([1.0] * 20 + [1.0, 0] * 70 + [-1.0] * 40, [1] * n)
    table = comparison.table(questions, base, better)
    by_name = {row["name"]: row for row in table}
    row = by_name["result of the next calculation"]
    assert (row["n"], row["base"], row["adapted"]) == (160, 0.5, pytest.approx(0.5625))
    assert row["p"] == pytest.approx(2 * 0.5**10)  # McNemar: ten items changed, one way
    assert by_name["solutions of other problems"]["base"] == pytest.approx(1.2)
    assert [(g["name"], g["passes"]) for g in likely.gates(table)] == [
        ("result of the next calculation", True),
        ("next sentence of general text", False),  # 0.98: a ceiling
    ]
    [changed] = comparison.item_changes(base, better)
    assert (changed["n"], changed["wrong_to_right"], changed["right_to_wrong"]) == (160, 10, 0)
    assert likely.style_only({"group": "choice", "low": 0.01, "high": 0.1})
    assert not likely.style_only({"group": "solutions", "low": -0.1, "high": 0.1})
