"""A letter counts for the text of its option, a text for its letter; two readings are none."""

import gzip
import json
import os
from pathlib import Path

import pytest

from trait_lib import ROOT
from trait_lib.grading import choices, grade
from trait_lib.grading.formulas import algebra

DATA = Path(os.environ.get("TRAIT_SHARED_DATA") or ROOT.parent / "shared" / "data") / "math_eval"
SETS = {  # file, field of the options, kind of the right answer, rows whose gold text stands twice
    "tabmwp_test1k": ("choices", "text", 0),
    "mathqa_test": ("options", "choice", 4),
    "mmlu_stem_test": ("choices", "choice", 6),
    "sat_math_test": ("options", "choice", 0),
}
FRUIT = ["apple", "apple pie", "cherry", "B. subtilis"]


@pytest.mark.parametrize(
    "options",
    [
        ["38", "27.5", "1 : 6"],
        {"A": "38", "B": "27.5", "C": "1 : 6"},
        {"a": "38", "b": "27.5", "c": "1 : 6"},
        "a ) 38 , b ) 27.5 , c ) 1 : 6",
        "A) 38 B) 27.5 C) 1 : 6",
        "(A) 38 (B) 27.5 (C) 1 : 6",
        "A. 38 B. 27.5 C. 1 : 6",
        "['a ) 38', 'b ) 27.5', 'c ) 1 : 6']",
    ],
)
def test_options_are_read_in_every_form(options):
    assert choices.parse(options) == {"A": "38", "B": "27.5", "C": "1 : 6"}


@pytest.mark.parametrize("options", [["one"], "no letters here", 5, {"B": "1", "A": "2"}, "[1, "])
def test_what_is_no_list_of_options_is_refused(options):
    with pytest.raises(ValueError, match="options must be"):
        choices.parse(options)


@pytest.mark.parametrize(
    ("gold", "kind", "text", "correct"),
    [
        ("A", "choice", "The answer is apple.", True),
        ("A", "choice", "The answer is an apple, because it is red.", True),
        ("A", "choice", "The answer is apple pie.", False),
        ("B", "choice", "The answer is apple pie.", True),
        ("B", "choice", "The answer is (B) apple.", True),
        ("B", "choice", "The answer is **Apple Pie**.\nIt is sweet.", True),
        ("apple", "text", "The answer is (A).", True),
        ("apple", "text", "The answer is A.", True),
        ("apple", "text", "The answer is B.", False),
        ("apple", "text", "The answer is pear.", False),
        ("apple", "text", "The answer is A or B.", False),
        ("apple", "text", "", False),
        ("apple", "text", None, False),
        ("D", "choice", "The answer is B. subtilis.", True),
        ("B", "choice", "The answer is B. subtilis.", False),
        ("C", "choice", "Both apple and cherry.", False),
    ],
)
def test_letters_and_texts(gold, kind, text, correct):
    assert grade(gold, text, kind, options=FRUIT).correct == correct


def test_values_count_when_one_option_has_them():
    halves = ["1/2", "1/3", "0.75", "75%"]
    assert grade("A", "The answer is 0.5.", "choice", options=halves).correct
    assert grade("A", "The answer is \\boxed{\\frac{2}{4}}.", "choice", options=halves).correct
    assert not grade("A", "The answer is 0.3.", "choice", options=halves).correct
    assert not grade("B", "so we get 1/3 of 0.5", "choice", options=halves).correct


def test_two_options_with_one_text_are_told_by_the_letter_only():
    twice = ["15 sec", "12 sec", "15 sec"]
    verdict = grade("C", "The answer is 15 sec.", "choice", options=twice)
    assert not verdict.correct
    assert "text of several options" in verdict.reason
    assert grade("C", "The answer is (C) 15 sec.", "choice", options=twice).correct


def test_a_capital_letter_is_a_letter_where_a_letter_is_asked_for():
    elements = ["As", "P", "Sb", "B"]
    assert grade("B", "The answer is B.", "choice", options=elements).correct
    assert grade("B", "The answer is B.", "text", options=elements).extracted == "D"
    assert grade("D", "The answer is c.", "choice", options=["x", "a", "b", "c"]).correct


def test_a_right_answer_that_is_no_option_is_an_error():
    with pytest.raises(ValueError, match="'kiwi' names none of the options"):
        grade("kiwi", "The answer is kiwi.", "text", options=FRUIT)
    with pytest.raises(ValueError, match="'E' names none of the options"):
        grade("E", "The answer is A.", "choice", options=FRUIT)


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA.name} is not on this machine")
@pytest.mark.parametrize("name", SETS)
def test_every_option_of_the_public_sets_in_both_forms(name):
    field, kind, twice = SETS[name]
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row[field]]
    algebra().ready()
    missed = 0
    for row in rows[:: 1 + len(rows) // 150]:
        options = choices.parse(row[field])
        right = choices.letter_of(row["answer"], options, kind)
        for letter, option in options.items():
            by_letter = grade(row["answer"], f"The answer is ({letter}).", kind, (), options)
            by_text = grade(row["answer"], f"The answer is {option}.", kind, (), options)
            assert by_letter.correct == (letter == right)
            assert letter == right or not by_text.correct
            missed += letter == right and not by_text.correct
    assert missed <= twice
