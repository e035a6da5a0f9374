"""Formulas: values that are known, what is refused, and the process that works them out."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib.grading import symbolic
from trait_lib.grading.formulas import Algebra, exact_value, readable, scalars
from trait_lib.grading.symbolic import Unreadable, adapt, read


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1/2 + 1/3", Fraction(5, 6)),
        (r"\frac12", Fraction(1, 2)),
        (r"\frac{3}{4}* 2", Fraction(3, 2)),
        (r"1\frac{1}{2}", Fraction(3, 2)),
        ("3 1/2", Fraction(7, 2)),
        ("-2^2", Fraction(-4)),
        ("(-2)^2", Fraction(4)),
        ("2^10", Fraction(1024)),
        ("5!", Fraction(120)),
        (r"\binom{5}{2}", Fraction(10)),
        (r"\sqrt{\frac{9}{4}}", Fraction(3, 2)),
        (r"\sqrt[3]{27}", Fraction(3)),
        ("8^{2/3}", Fraction(4)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        ("0.333...", Fraction(1, 3)),
        ("1,234.5", Fraction(2469, 2)),
        ("|3 - 5|", Fraction(2)),
        (r"\lfloor -3.5 \rfloor", Fraction(-4)),
        ("6/2(1+2)", Fraction(9)),
        ("3.5e3", Fraction(3500)),
        ("2(3)", Fraction(6)),
        ("0.1234567890123456789", Fraction(1234567890123456789, 10**19)),
        ("sin(30°)", Fraction(1, 2)),
        ("30°", Fraction(30)),
        (r"\log_2 8", Fraction(3)),
    ],
)
def test_exact_values(text, wanted):
    assert exact_value(text) == wanted


REFUSED = ["", "2 3", "14{3}", r"\frac{1}{2", r"\frac{}{3}", "(1", "x^", "1,2", "5_2", "5!!", "½"]
WORDS = ["one half", r"\text{none}", "x<1", "a = b", "f'(x)", "(", "(" * 1900, "1+" * 5000 + "1"]


@pytest.mark.parametrize("text", [*REFUSED, *WORDS])
def test_what_it_refuses(text):
    assert readable(text) is None


@pytest.mark.parametrize("text", ["9^{9^{9^9}}", "(10^9)!", "10^{10^{10}}", r"\frac{1}{9^{9^9}}"])
def test_what_is_too_large_to_work_out(text):
    assert readable(text).huge


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("(x+1)^2", "x^2+2x+1", True),
        ("(x+1)^2", "x^2+2x+2", False),
        ("|x|", "x", False),
        (r"\sqrt{x^2}", "x", False),
        (r"\ln(x^2)", r"2\ln x", True),
        ("ab", "Ab", False),
        ("dx", "xd", True),
        ("I", "i", False),
        (r"\sqrt{2}", r"\frac{2}{\sqrt{2}}", True),
        (r"\pi", "3.141592653589793", True),
        (r"\log_2 3", "1.584962500721156", True),
        (r"2\sqrt{2}", "2.8284271247461903", True),
        (r"\pi", "3.14", False),
        (r"\pi", "3.143", False),
        (r"\frac13", "0.33333333333333331", True),
        (r"\frac{1}{2004!}", "1/(2004!)", True),
        (r"\tan a", r"\cot^{-1} a", False),
        (r"\arctan a", r"\tan^{-1} a", True),
    ],
)
def test_which_values_are_equal(gold, answer, equal):
    assert scalars(gold, answer)[0] == equal


def test_an_adapted_formula_says_what_is_wrong():
    assert adapt(r"\sqrt3x") == r"\sqrt{3}x"
    with pytest.raises(Unreadable, match="a bracket that does not close"):
        read(r"\frac{1}{2")


def test_a_worker_that_died_is_replaced():
    one = Algebra(seconds=20)
    try:
        assert one.answer("same", "x+x", "2x") == "equal"
        one.process.kill()
        one.process.wait()
        assert one.answer("same", "x+x", "2x") is None
        assert one.answer("same", "x+x", "2x") == "equal"
    finally:
        one.close()


def test_what_is_no_formula_is_verified():
    matrices = [r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"]
    assert symbolic.verify(*matrices) == "equal"
    assert symbolic.verify(matrices[0], r"\begin{pmatrix}1\\3\end{pmatrix}") == "different"
    assert symbolic.verify("x+1", r"\frac{}{3}") == "unread"


numbers = st.integers(0, 99).map(str)
formulas = st.recursive(
    numbers | st.sampled_from(["x", "y", "\\pi"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
            lambda t: f"({t[0]}{t[1]}{t[2]})"
        ),
        st.tuples(inner, inner).map(lambda t: f"\\frac{{{t[0]}}}{{({t[1]})^2+101}}"),
        inner.map(lambda t: f"\\sqrt{{{t}}}"),
        inner.map(lambda t: f"-({t})"),
    ),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None)
@given(formulas)
def test_a_formula_equals_itself_times_one_and_not_one_more(text):
    assert scalars(text, f"({text})*2/2")[0]
    assert not scalars(text, f"({text})+1")[0]


@given(st.fractions(-1000, 1000))
def test_fractions_are_read_exactly(amount):
    sign = "-" if amount < 0 else ""
    text = f"{sign}\\frac{{{abs(amount.numerator)}}}{{{amount.denominator}}}"
    assert exact_value(text) == amount
    assert exact_value(f"{amount.numerator}/{amount.denominator}") == amount
