"""The one form of question and answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib import form

PROBLEM = {"question": "How many are {2}?", "solution": "2 is 2. The answer is 2."}
PAIR = {"prompt": "Good?\nIt is", "positive": " good", "negative": " bad"}


def test_a_problem_a_pair_and_a_problem_with_its_own_prompt():
    assert form.prompt(PROBLEM) == "Question: How many are {2}?\nAnswer:"
    assert form.example(PROBLEM) == f"{form.prompt(PROBLEM)} 2 is 2. The answer is 2."
    assert form.example({**PROBLEM, "prompt": "Q. 2?"}) == "Q. 2? 2 is 2. The answer is 2."
    assert [form.example({**PAIR, "label": n}) for n in (0, 1)] == [
        "Good?\nIt is bad",
        "Good?\nIt is good",
    ]
    assert form.example({**PAIR, "label": 1}, "It is fine.") == "Good?\nIt is It is fine."


@pytest.mark.parametrize(
    ("solution", "answer", "expected"),
    [
        ("", "4", "The answer is 4."),
        ("So 4.", "4", "So 4. The answer is 4."),
        ("One.\nTwo.", "2", "One.\nTwo.\nThe answer is 2."),
        ("So. The answer is 4.", "4", "So. The answer is 4."),
        ("", "6 pcs.", "The answer is 6 pcs."),
    ],
)
def test_the_answer_sentence_is_added_once(solution, answer, expected):
    assert form.with_answer(solution, answer) == expected


@given(st.text(max_size=20), st.from_regex(r"[a-z0-9 ]*[a-z0-9]", fullmatch=True))
def test_a_solution_is_parted_into_what_it_was_made_of(reasoning, answer):
    reasoning, answer = reasoning.strip(), answer.strip()
    assert form.parted(form.with_answer(reasoning, answer))[1] == answer
    assert form.parted("It is 2.") == ("It is 2.", "")


def test_templates_are_filled_as_they_stand():
    text = "{% if x %}{{ x }}:\n{% endif %}{{ '%.15g' % n }}\n"
    assert form.fill(text, {"x": "", "n": 3.0}) == "3\n"
    assert form.fill(text, {"x": "a < b", "n": 0.1}) == "a < b:\n0.1\n"
    assert form.fields(text) == {"x", "n"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ y }}", "needs the field 'y'"),
        ("{{ x.y.z }}", "cannot be filled"),
        ("{{ x", "not a Jinja template"),
        ("{question}", r"write {{ question }} for {question}"),
        ("{n:.15g}", r"write {{ n }} for {n:.15g}"),
    ],
)
def test_templates_that_cannot_be_filled_say_why(template, message):
    with pytest.raises(form.TemplateError, match=message):
        form.fill(template, {"x": 1})


def test_braces_of_latex_are_no_fields():
    text = r"\boxed{answer} \frac{a}{b} \{x\} {2} {{ x }}"
    assert form.fill(text, {"x": 1}) == text.replace("{{ x }}", "1")
