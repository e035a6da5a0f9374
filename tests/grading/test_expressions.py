"""The reader of formulas: values that are known, properties, and what it refuses."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib.grading import expressions
from trait_lib.grading.expressions import Unreadable, exact, read


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1/2 + 1/3", Fraction(5, 6)),
        (r"\frac12", Fraction(1, 2)),
        (r"\frac{3}{4}\cdot 2".replace(r"\cdot", "*"), Fraction(3, 2)),
        (r"1\frac{1}{2}", Fraction(3, 2)),
        ("3 1/2", Fraction(7, 2)),
        ("-2^2", Fraction(-4)),
        ("(-2)^2", Fraction(4)),
        ("2^3^2", Fraction(512)),
        ("2^10", Fraction(1024)),
        ("5!", Fraction(120)),
        (r"\binom{5}{2}", Fraction(10)),
        (r"\sqrt{\frac{9}{4}}", Fraction(3, 2)),
        (r"\sqrt[3]{27}", Fraction(3)),
        ("8^{2/3}", Fraction(4)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        ("1,234.5", Fraction(2469, 2)),
        ("|3 - 5|", Fraction(2)),
        (r"\lfloor -3.5 \rfloor", Fraction(-4)),
        ("6/2(1+2)", Fraction(9)),
        ("3.5e3", Fraction(3500)),
    ],
)
def test_exact_values(text, wanted):
    assert exact(read(text)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 3",
        "14{3}",
        r"\frac{1}{2",
        r"\frac{}{3}",
        "(1",
        "x^",
        "1,2",
        "5_2",
        "5!!",
        "a = b",
        "(",
    ],
)
def test_what_it_refuses(text):
    with pytest.raises(Unreadable):
        read(text)


def test_deep_and_long_texts_are_refused_and_not_followed():
    for text in ("(" * 1900, "1+" * 5000 + "1", "-" * 1990 + "1"):
        with pytest.raises(Unreadable):
            read(text)


@pytest.mark.parametrize(
    "text", ["9^{9^{9^9}}", "(10^9)!", "10^{10^{10}}", "1/0", "0^{-1}", r"\sqrt{2}", "x"]
)
def test_what_has_no_exact_value_or_too_large_a_one(text):
    assert exact(read(text)) is None


def test_degrees_are_converted_in_functions_only():
    assert expressions.value(read("sin(30°)"), {}) == pytest.approx(0.5)
    assert expressions.value(read("30°"), {}) == 30
    assert expressions.value(read(r"\sin^{-1}(1)"), {}) == pytest.approx(1.5707963)


numbers = st.integers(0, 99).map(str)
formulas = st.recursive(
    numbers | st.sampled_from(["x", "y", "\\pi"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
            lambda t: f"({t[0]}{t[1]}{t[2]})"
        ),
        st.tuples(inner, inner).map(lambda t: f"\\frac{{{t[0]}}}{{{t[1]}+101}}"),
        inner.map(lambda t: f"\\sqrt{{{t}}}"),
        inner.map(lambda t: f"-{t}"),
    ),
    max_leaves=8,
)


@given(formulas)
def test_what_is_written_reads_back_to_the_same_value(text):
    tree = read(text)
    again = read(expressions.latex(tree, {"x": "x", "y": "y"}).replace(r"\left", "").replace(
        r"\right", "").replace(r"\cdot", "*"))  # fmt: skip
    assert exact(again) == exact(tree)
    point = {"x": 0.7 + 0j, "y": 1.9 + 0j}
    try:
        value = expressions.value(tree, point)
    except ZeroDivisionError:
        return
    assert expressions.value(again, point) == pytest.approx(value, rel=1e-9, abs=1e-9)


@given(st.fractions(-1000, 1000))
def test_fractions_are_read_exactly(amount):
    sign = "-" if amount < 0 else ""
    text = f"{sign}\\frac{{{abs(amount.numerator)}}}{{{amount.denominator}}}"
    assert exact(read(text)) == amount
    assert exact(read(f"{amount.numerator}/{amount.denominator}")) == amount
