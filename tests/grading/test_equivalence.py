"""Equivalence without the judge: properties of the rules, and what is sent to math-verify."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trait_lib.grading.equivalence import equivalent
from trait_lib.grading.extraction import cut, extract, last_box
from trait_lib.grading.notation import spelled, squeezed
from trait_lib.grading.symbolic import Judge, judge


def never(gold, answer):
    raise AssertionError(f"math-verify was asked about {gold} and {answer}")


whole = st.integers(-(10**12), 10**12)


@given(whole)
def test_a_number_equals_its_spellings(number):
    for text in (
        str(number),
        f"{number:,}",
        f"{number}.0",
        f"{number} \\text{{ cm}}",
        f"${number}$",
    ):
        assert equivalent(str(number), spelled(text), never)[0], text


@given(whole, whole)
def test_different_numbers_are_different(first, second):
    assume(first != second)
    assert not equivalent(str(first), str(second), never)[0]
    assert not equivalent(f"{first:,}", f"{second} apples", never)[0]


@given(whole.filter(bool), st.sampled_from([10, 100, 1000]))
def test_magnitude_is_not_ignored(number, factor):
    assert not equivalent(str(number), str(number * factor), never)[0]
    assert not equivalent(str(number * factor), f"{number}%", never)[0]


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms())
def test_lists_have_no_order_and_tuples_have(values, random):
    shuffled = random.sample(values, len(values))
    plain = [", ".join(map(str, one)) for one in (values, shuffled)]
    assert equivalent(plain[0], plain[1], never)[0]
    assert equivalent(f"({plain[0]})", f"({plain[1]})", never)[0] == (values == shuffled)
    assert not equivalent(plain[0], ", ".join(map(str, values[1:])), never)[0]


@given(st.fractions(-50, 50), st.integers(2, 9))
def test_unreduced_fractions_are_equal(amount, factor):
    assume(amount.denominator > 1)
    gold = f"\\frac{{{amount.numerator}}}{{{amount.denominator}}}"
    answer = f"\\frac{{{amount.numerator * factor}}}{{{amount.denominator * factor}}}"
    assert equivalent(gold, answer, never)[0]
    other = f"\\frac{{{amount.numerator * factor + 1}}}{{{amount.denominator * factor}}}"
    assert not equivalent(gold, other, never)[0]


@given(st.text(max_size=60))
def test_any_text_gets_a_verdict(text):
    for kind in ("number", "math", "text", "choice", None):
        found = extract(text, kind)
        if found.answer is not None:
            equivalent("5", found.answer, lambda *_: "unread", kind)


def test_different_values_are_refused_without_asking():
    assert not equivalent(r"x^2+1", r"x^2+2", never)[0]
    assert not equivalent(r"\sqrt{2}", r"\sqrt{3}", never)[0]


def test_equal_values_are_confirmed_by_math_verify():
    asked = []
    verdict = equivalent("(x+1)^2", "x^2+2x+1", lambda *pair: asked.append(pair) or "equal")
    assert verdict == (True, "math-verify: equal") and len(asked) == 1
    assert not equivalent("(x+1)^2", "x^2+2x+1", lambda *_: "different")[0]


def test_math_verify_itself_in_this_process():
    assert judge(r"\sqrt{8}", r"2\sqrt{2}") == "equal"
    assert judge("x+1", "x+2") == "different"
    assert judge("x+1", r"\frac{}{3}") == "unread"


def test_a_judge_that_died_is_replaced():
    one = Judge(seconds=20)
    try:
        assert one.compare("x+x", "2x") == "equal"
        one.process.kill()
        one.process.wait()
        assert one.compare("x+x", "2x") == "equal"
    finally:
        one.close()


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{a{b}c} d", "a{b}c"),
        (r"\boxed{1} \fbox{2}", "2"),
        (r"\boxed{1} \boxed{2", "1"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed {4}", "4"),
        ("none", None),
    ],
)
def test_the_last_balanced_box(text, box):
    assert last_box(text) == box


def test_the_text_is_cut_where_another_problem_begins():
    assert cut("one\nQuestion: two") == "one\n"
    assert cut("one </s> two") == "one "
    assert cut("a Question: inside a line") == "a Question: inside a line"


@given(st.text(alphabet="ab12{}\\ $%,.()", max_size=40))
def test_spelling_is_settled_after_one_pass(text):
    once = spelled(text)
    assert squeezed(spelled(once)) == squeezed(spelled(spelled(once)))
