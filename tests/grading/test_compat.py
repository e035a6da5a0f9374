"""The rules by which published numbers were scored, each with what it accepts and what not."""

import json
import subprocess
import sys

import pytest

from trait_lib import ROOT, records
from trait_lib.grading import compat, grade


@pytest.mark.parametrize(
    ("text", "gold", "expected", "rule"),
    [
        ("The final answer is $\\frac{1}{2}$. I hope it is correct.", "1", "\\frac{1}{2}", "E1"),
        ("\\boxed{1} then \\boxed{x^{2}}", "1", "x^{2}", "E2"),
        ("\\boxed{7 and no end", "1", "7noend", "E2"),
        ("so \\boxed 7$ it is", "1", "7", "E2"),
        ("The answer is 5. The answer is 6 apples.", "1", "6", "E3"),
        ("My final answer is 6 \n miles", "1", "6", "E3"),
        ("She has 1,234 and then 1,500 eggs", "1", "1500", "E4"),
        ("The answer is 18.", "1", "18", "E3"),
        ("no number", "1", None, "nothing found"),
        ("The answer is (B), not C.", "A", "B", "E5"),
        ("A or B. So it is C", "A", "C", "E5"),
        ("The answer is A.\n\nQuestion: x? The answer is (B).", "B", "A", "E5"),
        ("It is a long way to \\boxed{B} and a short one", "A", "B", "E2"),
    ],
)
def test_where_the_answer_is(text, gold, expected, rule):
    found = compat.extract(text, gold)
    assert (found.answer, found.where) == (expected, rule)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\dfrac12", "\\frac{1}{2}"),
        ("\\left( 3, 4 \\right)", "(3,4)"),
        ("5\\text{ cm}", "5"),
        ("90^\\circ", "90"),
        ("\\$ 3.00", "3"),
        ("25\\%", "25"),
        (".5", "0.5"),
        ("x = 5", "5"),
        ("\\sqrt3", "\\sqrt{3}"),
        ("3/4", "\\frac{3}{4}"),
        ("3 + 4j", "3+4i"),
        ("twenty five", "25"),
        ("\\text{even}", "even"),
        ("+\\infty", "+\\infty"),
        ("3 miles per hour", "3"),
    ],
)
def test_one_spelling(text, expected):
    assert compat.plain(text) == expected


@pytest.mark.parametrize(
    ("gold", "text", "kind", "correct", "rule"),
    [
        ("18", "The answer is 18.", "number", True, "M1"),
        ("B", "The answer is (b).", "choice", True, "M1"),
        ("0.5", "The answer is 50%.", "number", True, "M2"),
        ("50", "The answer is 0.5.", "number", True, "M2"),
        ("3.1416", "The answer is 3.1418.", "number", True, "M2"),
        ("3.1416", "The answer is 3.15.", "number", False, "M2"),
        ("5", "The answer is 6.", "number", False, "M2"),
        ("\\{a,b\\}", "\\boxed{a,b}", "math", True, "M3"),
        ("(0,1)", "\\boxed{[0,1]}", "math", True, "M4"),
        ("(0,1)", "\\boxed{[0,2]}", "math", False, "M7"),
        (
            "\\begin{pmatrix}1\\\\0.5\\end{pmatrix}",
            "\\boxed{\\begin{bmatrix}1\\\\\\frac12\\end{bmatrix}}",
            "math",
            True,
            "M5",
        ),
        ("2x+w=1", "\\boxed{1-w=2x}", "math", True, "M6"),
        ("\\sqrt{8}", "\\boxed{2\\sqrt2}", "math", True, "M7"),
        ("\\frac13", "\\boxed{0.33333}", "math", True, "M7"),
        ("\\frac13", "\\boxed{0.33}", "math", False, "M7"),
        ("9^{9^{9^9}}+1", "\\boxed{9^{9^{9^9}}}", "math", False, "M7"),
    ],
)
def test_what_is_equal(gold, text, kind, correct, rule):
    verdict = grade(gold, text, kind, compat=True)
    assert verdict.correct == correct
    assert verdict.reason.endswith(rule)


def test_the_two_ways_of_scoring_differ_where_they_should():
    assert not grade("0.5", "The answer is 50%.", "number").correct
    assert not grade("(0,1)", "\\boxed{[0,1]}", "math").correct
    assert grade("\\frac13", "The answer is 1/3 of the cake.", "math").correct
    assert not grade("\\frac13", "The answer is 1/3 of 6.", "math").correct
    assert not grade("0", "", "number", compat=True).correct
    assert not grade("0", None, "number", compat=True).correct


def test_from_the_shell(tmp_path):
    records.write_rows(tmp_path / "p.jsonl", [{"gold": "0.5", "prediction_text": "\\boxed{50}"}])
    command = [sys.executable, "-m", "trait_lib.grading", str(tmp_path / "p.jsonl")]
    for options, correct in (([], False), (["--compat"], True)):
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert json.loads(done.stdout)["correct"] == correct
