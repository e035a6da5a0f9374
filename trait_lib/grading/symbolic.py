r"""Formulas by sympy and math-verify: the process that `formulas.Algebra` starts and may kill.

`python -m trait_lib.grading.symbolic` reads one JSON question a line and writes one reply a line.
Formulas are read by latex2sympy2_extended, values are sympy's, and what is no formula (matrices,
sets) is compared by math-verify. Not stated in the paper; ours because sympy cannot be stopped
from inside when it works out a power tower.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import re
import resource
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from trait_lib.grading.notation import DEGREE, FUNCTIONS, NAMES, matching

MEMORY_BYTES = 4 * 2**30
LARGEST_LOG = 1e6  # natural logarithm of the largest power that anybody may work out
LARGEST_COUNT = 1e5  # argument of a factorial
DIGITS = 120  # of a value
POINTS = 6
CLOSE = 1e-12


class Unreadable(ValueError):
    """Not one formula."""


# --- reading ----------------------------------------------------------------------------------

BARE_NAME = re.compile(rf"(?<![\\a-zA-Z])(?:{'|'.join(NAMES)})(?![_])")
RECURRING = re.compile(
    r"(\d*)\.(\d*?)(?:\\(?:overline|bar)\s*(?:\{(\d+)\}|(\d))|(\d)\5{2,}(?:\.\.\.|\\(?:l?dots|cdots)))"
)
ADAPTED = [  # order matters; latex2sympy reads these otherwise than people do
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
        (r"(?<![\\\w.])(\d*\.?\d+)[eE]([+-]?\d{1,4})(?![\da-zA-Z])", r"(\1*10^{\2})"),
        (r"(?<![\w.])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"\1\\frac{\2}{\3}"),
        (r"(?<![\w^.)}\]/])(\d+)\s*/\s*(\d+)(?![\d.])", r"(\\frac{\1}{\2})"),
        (r"(\d+)\.(?!\d)", r"\1"),
        (r"%", r"*\\frac{1}{100}"),
        (r"\\a(sin|cos|tan)(?![a-zA-Z])", r"\\arc\1"),
        (r"\\text\s*\{\s*([a-zA-Z])\s*\}", r"\1"),
        (rf"\\text\s*\{{\s*({'|'.join(FUNCTIONS)})\s*\}}", r"\\\1 "),
        (r"([_^])\s*(\d+|\w)", r"\1{\2}"),
        (r"(?<![\\a-zA-Z])([a-zA-Z]|\d)\s*(?=\()", r"\1*"),
        (r"(?<=\))\s*(?=\d)", "*"),
        (r"/\s*(\d+|[a-zA-Z])\s*(?=[\w\\(])", r"/\1*"),
        (r"\*", r"\\cdot "),
    ]
]
REFUSED = re.compile(
    r"\\text|\d\s+\d|\d\s*\{\s*\d|!!|\d_|'|[=<>,;:&?$#\"]|\\(?:pm|mp|in|cup|cap|begin|mathbb|equiv|pmod|lim|sum|prod|int)"
    r"(?![a-zA-Z])|(?<![\\a-zA-Z])[a-zA-Z]{4}|\\d?bar|\\overline"
)
DECIMAL = re.compile(r"(?<![\w.])(\d*)\.(\d+)")
ARGUMENT = re.compile(r"\s*(\\[a-zA-Z]+|[a-zA-Z\d])")
COMMAND = re.compile(r"\\(frac|binom|sqrt|cbrt)(?![a-zA-Z])\s*")
TAKEN = {"d": r"\varrho ", "I": r"\varsigma "}  # the sign of an integral, the imaginary unit


@lru_cache(maxsize=2048)
def read(text: str) -> Any:
    """The sympy expression of one formula, not worked out.

    Raises:
        Unreadable: it is no formula, or one with more than one reading (`2 3`, `14{3}`).
    """
    import sympy
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig

    adapted = adapt(text)
    try:
        tree = latex2sympy(adapted, conversion_config=ConversionConfig(lowercase_symbols=False))
    except Exception as error:  # its parser raises plain exceptions
        raise Unreadable(str(error)) from None
    if not isinstance(tree, sympy.Expr) or tree.atoms(sympy.MatrixBase):
        raise Unreadable("no formula")
    return tree.subs(sympy.Symbol("i"), sympy.I, evaluate=False) if "i" in text else tree


def adapt(text: str) -> str:
    """The formula in a spelling that latex2sympy reads as it is meant.

    Raises:
        Unreadable: words, lists, relations, two numbers side by side.
    """
    if any(text.count(opening) != text.count(closing) for opening, closing in ("()", "{}", "[]")):
        raise Unreadable("a bracket that does not close")
    text = re.sub(r"(\d{1,99})\s*\\pmod\{(\d{1,99})\}", _remainder, text)
    before = ""
    while before != text:  # its parser takes long over brackets within brackets
        before, text = text, re.sub(r"\(\(([^()]*)\)\)", r"(\1)", text)
    text = RECURRING.sub(_recurring, BARE_NAME.sub(lambda m: f"\\{m[0]} ", text))
    text = in_radians(text) if DEGREE in text else text
    for pattern, replacement in ADAPTED[:5]:
        text = pattern.sub(replacement, text)
    text = DECIMAL.sub(lambda m: rf"(\frac{{{m[1]}{m[2]}}}{{1{'0' * len(m[2])}}})", text)
    text = braced(text)
    for pattern, replacement in ADAPTED[5:]:
        text = pattern.sub(replacement, text)
    if REFUSED.search(text):
        raise Unreadable("no single formula")
    if re.search("[dI]", text):
        text = re.sub(r"(?<![\\a-zA-Z])[a-zA-Z]+", _renamed, text)
    return text


def _renamed(letters: re.Match[str]) -> str:
    return "".join(TAKEN.get(letter, letter) for letter in letters[0])


def _remainder(match: re.Match[str]) -> str:
    """`17 mod 5` is 2, and `2 mod 5` a class of numbers."""
    number, divisor = int(match[1]), int(match[2])
    return str(number % divisor) if number >= divisor > 0 else match[0]


def _recurring(match: re.Match[str]) -> str:
    """`0.1(6)` is 15/90."""
    whole, fixed = match[1] or "0", match[2]
    cycle = match[3] or match[4] or match[5]
    top = int(whole + fixed + cycle) - int(whole + fixed)
    return rf"(\frac{{{top}}}{{{'9' * len(cycle)}{'0' * len(fixed)}}})"


def in_radians(text: str) -> str:
    """Degree signs count within functions, and elsewhere are a unit."""
    inside = any(name in text for name in ("sin", "cos", "tan", "cot", "sec", "csc"))
    return text.replace(DEGREE, r"*\frac{\pi}{180}" if inside else "")


def braced(text: str) -> str:
    r"""`\frac12`, `\sqrt3` and `\binom52` with their braces; a binomial as factorials."""
    done, at = "", 0
    while match := COMMAND.search(text, at):
        done += text[at : match.start()]
        name, at, degree = match[1], match.end(), ""
        if name == "cbrt":
            name, degree = "sqrt", "[3]"
        elif name == "sqrt" and text[at : at + 1] == "[":
            end = text.find("]", at) + 1
            degree, at = text[at:end], end
        arguments = []
        for _ in range(1 if name == "sqrt" else 2):
            argument, at = _argument(text, at, name == "sqrt")
            arguments.append(braced(argument))
        if name == "binom":
            top, bottom = arguments
            done += rf"\frac{{({top})!}}{{({bottom})! \cdot (({top})-({bottom}))!}}"
        else:
            done += rf"\{name}{degree}" + "".join(f"{{{one}}}" for one in arguments)
    return done + text[at:]


def _argument(text: str, at: int, number: bool) -> tuple[str, int]:
    """(the TeX argument at a place, the place behind it); of `number`, all digits are one."""
    while text[at : at + 1].isspace():
        at += 1
    closing = {"{": "}", "(": ")"}.get(text[at : at + 1])
    if closing:
        end = matching(text, at, closing)
        if end is None:
            raise Unreadable("a bracket that does not close")
        return text[at + 1 : end], end + 1
    match = re.compile(r"\d+(?:\.\d+)?").match(text, at) if number else None
    match = match or ARGUMENT.match(text, at)
    if match is None:
        raise Unreadable("an argument is missing")
    return match[0].strip(), match.end()


# --- values -----------------------------------------------------------------------------------


def huge(tree: Any) -> bool:
    """Does the formula hold a constant power or factorial beyond the bounds above?

    Such numbers are equal to nothing but to the same formula; sympy would not come back from them.
    """
    import sympy

    for part in sympy.postorder_traversal(tree):
        if part.free_symbols or not isinstance(part, sympy.Pow | sympy.factorial | sympy.exp):
            continue
        values = [abs(sympy.N(one)) for one in part.args]
        if not all(value.is_Number and value.is_finite for value in values) or values[0] == 0:
            continue
        if isinstance(part, sympy.factorial):
            large = values[0] > LARGEST_COUNT
        elif isinstance(part, sympy.exp):
            large = values[0] > LARGEST_LOG
        else:
            large = values[1] * abs(sympy.log(values[0])) > LARGEST_LOG
        if large:
            return True
    return False


def describe(text: str) -> dict[str, Any]:
    """What is known of one formula: its letters, and of a constant its exact or decimal value.

    Nothing where it is none.
    """
    import sympy

    try:
        tree = read(text)
    except Unreadable:
        return {}
    reply: dict[str, Any] = {"letters": sorted(map(str, tree.free_symbols)), "huge": huge(tree)}
    if reply["letters"] or reply["huge"]:
        return reply
    value = tree.doit()
    if value.is_Rational:
        return {**reply, "exact": [hex(value.p), hex(value.q)]}  # of any number of digits
    if value.is_infinite:
        return {**reply, "infinite": str(value)}
    number = sympy.N(real_roots(tree).doit(), DIGITS)
    if number.is_Float and number.is_finite:
        reply["value"] = str(number)
    return reply


def real_roots(tree: Any) -> Any:
    """An odd root of a negative number is real here: of -8 it is -2."""
    import sympy

    def root(base: Any, exponent: Any) -> Any:
        odd = exponent.is_Rational and exponent.q % 2 == 1 and exponent.q > 1
        if odd and base.is_number and base.is_negative:
            return (-1) ** exponent.p * sympy.Pow(-base, exponent)
        return sympy.Pow(base, exponent)

    return tree.replace(sympy.Pow, root) if tree.has(sympy.Pow) else tree


def same(gold: str, answer: str) -> str:
    """`equal` or `different`: two formulas at random points, with 30 digits; `unread` if none told.

    They must agree at all points where both are real, else where both exist.
    """
    first, second = read(gold), read(answer)
    pairs = list(_values(first, second))
    real = [pair for pair in pairs if all(_is_real(value) for value in pair)]
    pairs = real or pairs
    if not pairs:
        return "unread"
    return "equal" if all(_near(a, b) for a, b in pairs) else "different"


def factor(*sides: str) -> float | None:
    """The constant c with `left2 - right2 = c (left1 - right1)` at all points, or None."""
    left, right, other_left, other_right = map(read, sides)
    first, second = left - right, other_left - other_right
    if first.free_symbols != second.free_symbols:
        return None
    pairs = list(_values(first, second))
    ratios = [complex(b / a) for a, b in pairs if abs(a) > CLOSE]
    if not ratios or len(ratios) < len(pairs) or abs(ratios[0]) < CLOSE:
        return None
    constant = all(abs(ratio - ratios[0]) <= CLOSE * abs(ratios[0]) for ratio in ratios)
    return ratios[0].real if constant and abs(ratios[0].imag) < CLOSE else None


def _values(first: Any, second: Any) -> Iterator[tuple[Any, Any]]:
    """The values of two formulas at the same points, where both exist.

    The first half of the points is positive, the others have both signs.
    """
    import sympy

    generator = random.Random(20240624)
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    for number in range(POINTS if symbols else 1):
        point = {}
        for symbol in symbols:
            size = sympy.Rational(generator.randint(300, 2200), 1009)
            negative = number >= POINTS / 2 and (number == POINTS / 2 or generator.random() < 0.5)
            point[symbol] = -size if negative else size
        try:
            values = [sympy.N(real_roots(tree.subs(point)).doit(), 30) for tree in (first, second)]
            if all(value.is_number and value.is_finite for value in values):
                yield values[0], values[1]
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            continue


def _is_real(number: Any) -> bool:
    return abs(complex(number).imag) <= CLOSE * max(1.0, abs(complex(number)))


def _near(first: Any, second: Any) -> bool:
    return bool(abs(first - second) <= CLOSE * max(abs(first), abs(second), 1e-6))


# --- what is no formula -----------------------------------------------------------------------


def verify(gold: str, answer: str) -> str:
    """`equal`, `different` or `unread`: what math-verify finds of matrices, sets and the like."""
    from math_verify import LatexExtractionConfig, parse
    from math_verify import verify as verified

    found = [
        parse(f"${text}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
        for text in (gold, answer)
    ]
    if not all(one and not isinstance(one[0], str) for one in found):
        return "unread"
    first, second = found[0][0], found[1][0]
    if {str(s) for s in first.free_symbols} != {str(s) for s in second.free_symbols}:
        return "different"
    return "equal" if verified(first, second, timeout_seconds=None) else "different"


QUESTIONS = {"describe": describe, "same": same, "factor": factor, "verify": verify}


def serve() -> None:
    """Answer questions from standard input until it ends."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.set_int_max_str_digits(0)
    import math_verify  # noqa: F401  (the import is what takes the time)

    logging.disable(logging.CRITICAL)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints may reach the replies
    for line in sys.stdin:
        message = json.loads(line)
        reply: dict[str, Any] = {"id": message["id"], "answer": None}
        if "question" in message:
            reply["answer"] = {}
            with contextlib.suppress(Exception, MemoryError):
                reply["answer"] = QUESTIONS[message["question"]](*message["texts"])
        output.write(json.dumps(reply) + "\n")
        output.flush()


if __name__ == "__main__":
    serve()
