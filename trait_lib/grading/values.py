"""Are two formulas equal in value? Exactly where rational, else at points and by math-verify.

Not stated in the paper; ours because a value decides faster and more surely than rewriting: two
formulas that differ at a point are not equal, whatever a simplifier says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from trait_lib.grading import expressions
from trait_lib.grading.expressions import Tree, Unreadable
from trait_lib.grading.notation import squeezed
from trait_lib.grading.words import TEXT_GROUP, plain_words, spoken_number

Verdict = tuple[bool, str]
Compare = Callable[[str, str], str]


def readable(text: str) -> Tree | None:
    """The formula in `text`, or None."""
    try:
        return expressions.read(text)
    except Unreadable:
        return None


def exact_value(text: str) -> Fraction | None:
    """The value of a rational constant in `text`, or None."""
    tree = readable(text)
    return None if tree is None else expressions.exact(tree)


POINTS = 6
CLOSE = 1e-9


def points(names: Sequence[str]) -> list[dict[str, complex]]:
    """Fixed pseudo-random points: the first three positive, the others of both signs."""
    generator = random.Random(20240624)
    made = []
    for number in range(POINTS):
        point = {}
        for name in names:
            size = 0.3 + 1.9 * generator.random()
            negative = number >= 3 and (generator.random() < 0.5 or number == 3)
            point[name] = complex(-size if negative else size)
        made.append(point)
    return made


def _values(trees: Sequence[Tree]) -> list[list[complex | None]]:
    """The values of each tree at the same points; None where it is undefined."""
    names = sorted(frozenset().union(*(expressions.variables(tree) for tree in trees)))
    rows: list[list[complex | None]] = [[] for _ in trees]
    for point in points(names) if names else [{}]:
        for row, tree in zip(rows, trees, strict=True):
            try:
                row.append(expressions.value(tree, point))
            except (ArithmeticError, ValueError, KeyError, RecursionError, TypeError):
                row.append(None)
    return rows


def numerically(gold: Tree, answer: Tree) -> bool | None:
    """Do two formulas agree at all points where both are real (else where both exist)?

    None when no point can tell: undefined or too large everywhere.
    """
    if "inf" in (gold[0], answer[0]):
        return gold == answer
    pairs = [(a, b) for a, b in zip(*_values([gold, answer]), strict=True) if None not in (a, b)]
    real = [pair for pair in pairs if all(_is_real(v) for v in pair)]
    pairs = real or pairs
    if not pairs:
        return None
    return all(abs(a - b) <= CLOSE * max(abs(a), abs(b), 1e-6) for a, b in pairs)


def _is_real(number: complex) -> bool:
    return abs(number.imag) <= 1e-12 * max(1.0, abs(number))


def constant_factor(gold: Tree, answer: Tree) -> float | None:
    """The constant c with answer = c * gold at all points, or None."""
    if expressions.variables(gold) != expressions.variables(answer):
        return None
    pairs = [(a, b) for a, b in zip(*_values([gold, answer]), strict=True) if None not in (a, b)]
    ratios = [b / a for a, b in pairs if abs(a) > 1e-9]
    if not ratios or abs(ratios[0]) < 1e-9 or not _is_real(ratios[0]):
        return None
    same = all(abs(r - ratios[0]) <= 1e-7 * abs(ratios[0]) for r in ratios)
    return ratios[0].real if same and len(ratios) == len(pairs) else None


def scalars(gold: str, answer: str, compare: Compare) -> Verdict:
    """Compare two formulas by value."""
    if squeezed(gold) == squeezed(answer):
        return bool(squeezed(gold)), "same text"
    if spoken := _spoken(gold, answer):
        return spoken
    first, second = readable(gold), readable(answer)
    if first is None or second is None:
        return _unread(gold, answer, first, second, compare)
    if first == second:
        return True, "same formula"
    values = expressions.exact(first), expressions.exact(second)
    if None not in values:
        if values[0] == values[1]:
            return True, "same number"
        rounded = is_rounding(gold, answer, *values)
        return rounded, "rounded to 3 digits or more" if rounded else "a different number"
    if 0 in values and expressions.variables(first) != expressions.variables(second):
        return False, "letters beside 0"  # `b0` and `0x` are slips of `b = 0` and of `10x`
    if expressions.too_large(first) or expressions.too_large(second):
        return False, "too large to work out"
    close = numerically(first, second)
    if close is False:
        rounded = _rounded_constant(gold, answer, first, second)
        return rounded, "rounded to 3 digits or more" if rounded else "a different value"
    names = sorted(expressions.variables(first) | expressions.variables(second))
    if len(names) > len(LETTER_POOL):
        return bool(close), "same value at random points" if close else "too many letters"
    renamed = dict(zip(names, LETTER_POOL, strict=False))
    verdict = compare(expressions.latex(first, renamed), expressions.latex(second, renamed))
    if verdict == "unread" or (verdict == "timeout" and close):
        return bool(close), "same value at random points" if close else "cannot be evaluated"
    return verdict == "equal", f"math-verify: {verdict}"


LETTER_POOL = "x y z a b c p q r s t u v w k m n h j l".split()


def _spoken(gold: str, answer: str) -> Verdict | None:
    """A number in words against a number in digits."""
    answer = TEXT_GROUP.sub(r" \1 ", answer).strip()
    if not re.fullmatch(r"(?:[\d.,]+\s+)?[a-zA-Z\s-]+", answer) or not re.search(r"\d", gold):
        return None
    number = spoken_number(plain_words(answer))
    return None if number is None else (number == exact_value(gold), "a number in words")


def _unread(
    gold: str, answer: str, first: Tree | None, second: Tree | None, compare: Compare
) -> Verdict:
    """What the reader does not know goes to math-verify; a malformed answer is wrong."""
    if first is not None or max(len(gold), len(answer)) > expressions.LONGEST:
        return False, "not a formula"
    if not any(sign in gold for sign in ("\\", "^", "_", "(", "[")):
        return False, "not a formula"
    signs = [sorted(re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]|\d", text)) for text in (gold, answer)]
    if second is None and signs[0] != signs[1]:
        return False, "different letters or digits"  # math-verify leaves out what it cannot read
    verdict = compare(gold, answer)
    return verdict == "equal", f"math-verify: {verdict}"


def is_rounding(gold: str, answer: str, first: Fraction, second: Fraction) -> bool:
    """Is one a decimal of 3 digits or more that rounds the other, non-terminating, value?

    A decimal of 9 digits or more after the point counts as non-terminating too (it is how
    programs write thirds), and two decimals of 12 significant digits may differ by float noise.
    """
    texts, values = (gold, answer), (first, second)
    for rounded, whole in ((1, 0), (0, 1)):
        short = expressions.decimals(texts[rounded])
        long = expressions.decimals(texts[whole])
        if short is None:
            continue
        if (
            short[1] >= 10
            and short[2] >= 12
            and abs(first - second) <= abs(first) * Fraction(1, 10**12)
        ):
            return True
        endless = long[1] >= 9 if long else not expressions.terminates(values[whole])
        precise = short[1] >= 3 and short[2] >= 3 and (not long or long[1] > short[1])
        if endless and precise and abs(short[0] - values[whole]) * 2 * 10 ** short[1] <= 1:
            return True
    return False


def _rounded_constant(gold: str, answer: str, first: Tree, second: Tree) -> bool:
    """The same for a constant that is irrational, such as a root or a multiple of pi."""
    if expressions.variables(first) or expressions.variables(second):
        return False
    rows = _values([first, second])
    if None in (rows[0][0], rows[1][0]) or not _is_real(rows[0][0]) or not _is_real(rows[1][0]):
        return False
    for text, own, other in ((answer, rows[1][0], rows[0][0]), (gold, rows[0][0], rows[1][0])):
        short = expressions.decimals(text)
        if short and short[1] >= 3 and short[2] >= 3:
            return abs(own.real - other.real) <= 0.5 * 10.0 ** -short[1] * (1 + 1e-9)
    return False
