"""Equivalence without the judge: properties of the rules, and what is sent to math-verify."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trait_lib.grading.equivalence import equivalent
from trait_lib.grading.extraction import extract
from trait_lib.grading.location import cut, last_box
from trait_lib.grading.notation import spelled, squeezed

whole = st.integers(-(10**12), 10**12)


@settings(deadline=None)
@given(whole)
def test_a_number_equals_its_spellings(number):
    for text in (
        str(number),
        f"{number:,}",
        f"{number}.0",
        f"{number} \\text{{ cm}}",
        f"${number}$",
    ):
        assert equivalent(str(number), spelled(text))[0], text


@settings(deadline=None)
@given(whole, whole)
def test_different_numbers_are_different(first, second):
    assume(first != second)
    assert not equivalent(str(first), str(second))[0]
    assert not equivalent(f"{first:,}", f"{second} apples")[0]


@settings(deadline=None)
@given(whole.filter(bool), st.sampled_from([10, 100, 1000]))
def test_magnitude_is_not_ignored(number, factor):
    assert not equivalent(str(number), str(number * factor))[0]
    assert not equivalent(str(number * factor), f"{number}%")[0]


@settings(deadline=None)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms())
def test_lists_have_no_order_and_tuples_have(values, random):
    shuffled = random.sample(values, len(values))
    plain = [", ".join(map(str, one)) for one in (values, shuffled)]
    assert equivalent(plain[0], plain[1])[0]
    assert equivalent(f"({plain[0]})", f"({plain[1]})")[0] == (values == shuffled)
    assert not equivalent(plain[0], ", ".join(map(str, values[1:])))[0]


@settings(deadline=None)
@given(st.fractions(-50, 50), st.integers(2, 9))
def test_unreduced_fractions_are_equal(amount, factor):
    assume(amount.denominator > 1)
    gold = f"\\frac{{{amount.numerator}}}{{{amount.denominator}}}"
    answer = f"\\frac{{{amount.numerator * factor}}}{{{amount.denominator * factor}}}"
    assert equivalent(gold, answer)[0]
    other = f"\\frac{{{amount.numerator * factor + 1}}}{{{amount.denominator * factor}}}"
    assert not equivalent(gold, other)[0]


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_gets_a_verdict(text):
    for kind in ("number", "math", "text", "choice", None):
        found = extract(text, kind)
        if found.answer is not None:
            equivalent("5", found.answer, kind)


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
    assert cut("It is 1.\nQuestion: two") == "It is 1.\n"
    assert cut("Question: 1 and 1?\nIt is 2.") == "Question: 1 and 1?\nIt is 2."
    assert cut("<think>3</think>It is 1.\nUser: two") == "It is 1.\n"
    assert cut("one </s> two") == "one "
    assert cut("a Question: inside a line") == "a Question: inside a line"


@settings(deadline=None)
@given(st.text(alphabet="ab12{}\\ $%,.()", max_size=40))
def test_spelling_is_settled_after_one_pass(text):
    once = spelled(text)
    assert squeezed(spelled(once)) == squeezed(spelled(spelled(once)))
