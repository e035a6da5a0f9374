r"""A reader for the formulas that answers consist of, and their values without sympy.

`read` turns one formula (LaTeX or plain text) into a tree of tuples, `exact` gives its value as a
fraction where it is rational, `value` as a complex float at a point, `latex` writes it back in one
unambiguous spelling. All refuse instead of guessing, and all are bounded: no power tower or giant
factorial is ever worked out here. Not stated in the paper; ours because math-verify reads
`14{3}` as 17, ignores degree signs and the case of letters, and can hang.
"""

from __future__ import annotations

import cmath
import math
import re
from fractions import Fraction
from functools import lru_cache

from trait_lib.grading.notation import DEGREE

Tree = tuple
LONGEST = 2000  # characters; a longer answer is compared as text
DIGITS = 4000  # below Python's own limit for int(str)
BITS = 40_000  # of an exact value

NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+\.\d*|\.\d+|\d+")
EXPONENT = re.compile(r"[eE]([+-]?\d{1,4})(?![\da-zA-Z])")
REPEATING = re.compile(r"(\d*)\.(\d*?)(?:\\overline\s*\{?(\d+)\}?|\\bar\s*\{?(\d+)\}?)")
DOTS = re.compile(r"(\d*)\.(\d*?)(\d)\3{2,}(?:\.\.\.|\\l?dots|\\cdots)")
LETTERS = re.compile(r"[a-zA-Z]+")
COMMAND = re.compile(r"\\([a-zA-Z]+)")
MIXED = re.compile(r"(?<=\s)(\d+)\s*/\s*(\d+)(?![\d.])")

FUNCTIONS = (
    "arcsinh arccosh arctanh arcsin arccos arctan asin acos atan sinh cosh tanh sin cos tan cot "
    "sec csc ln log exp"
).split()
SAME = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega varepsilon ell"
).split()
NAMES = tuple(sorted([*FUNCTIONS, "sqrt", "pi", "cbrt", *GREEK], key=len, reverse=True))


class Unreadable(ValueError):
    """Not a formula that this reader knows."""


@lru_cache(maxsize=4096)
def read(text: str) -> Tree:
    """Read one formula.

    Raises:
        Unreadable: it is malformed, longer than `LONGEST` characters, or holds anything else than
            numbers, letters, roots, powers, fractions, factorials, binomials and functions.
    """
    if len(text) > LONGEST or not text.replace(DEGREE, "").isascii():
        raise Unreadable("too long, or in other letters")
    try:
        reader = _Reader(text)
        tree = reader.sum()
        reader.expect_end()
    except RecursionError:
        raise Unreadable("too deep") from None
    return tree


class _Reader:
    """A recursive descent over `text`; one method a level of precedence."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def peek(self) -> str:
        """The next token: a character or a command with its backslash; empty at the end."""
        self.skip()
        if command := COMMAND.match(self.text, self.at):
            return command[0]
        if self.text.startswith("\\", self.at):
            return self.text[self.at : self.at + 2]
        return self.text[self.at : self.at + 1]

    def take(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.at += len(token)
        return True

    def need(self, token: str) -> None:
        if not self.take(token):
            raise Unreadable(f"{token!r} is missing at {self.at}")

    def expect_end(self) -> None:
        if self.peek():
            raise Unreadable(f"{self.peek()!r} at {self.at}")

    def sum(self) -> Tree:
        tree = self.product()
        while (sign := self.peek()) in ("+", "-") and sign:
            self.at += 1
            right = self.product()
            tree = ("add", tree, right if sign == "+" else ("neg", right))
        return tree

    def product(self) -> Tree:
        tree = self.signed()
        while True:
            token = self.peek()
            if token in ("*", "/") and token:
                self.at += 1
                right = self.signed()
                tree = ("mul" if token == "*" else "div", tree, right)
            elif self.starts_factor(token):
                self.forbid_number_after_number(token)
                tree = ("mul", tree, self.power())
            else:
                return tree

    def forbid_number_after_number(self, token: str) -> None:
        """`2 3` and `14{3}` are no products."""
        before = self.text[: self.at].rstrip()[-1:]
        if before.isdigit() and (token.isdigit() or token == "." or token == "{"):
            raise Unreadable("two numbers side by side")
        if before == "}" and token.isdigit():
            raise Unreadable("two numbers side by side")

    @staticmethod
    def starts_factor(token: str) -> bool:
        if not token:
            return False
        if token.startswith("\\"):
            name = token[1:]
            return name in NAMES or name in ("frac", "binom", "text", "lfloor", "lceil", "infty")
        return token.isalnum() or token in "({[."

    def signed(self) -> Tree:
        if self.take("-"):
            return ("neg", self.signed())
        if self.take("+"):
            return self.signed()
        return self.power()

    def power(self) -> Tree:
        base = self.postfix(self.atom())
        if self.take("^"):
            exponent = self.script()
            return self.postfix(("pow", base, exponent))
        return base

    def postfix(self, tree: Tree) -> Tree:
        while (token := self.peek()) in ("!", "°", "%") and token:
            self.at += 1
            if token == "!" and self.peek() == "!":
                raise Unreadable("double factorial")
            tree = ({"!": "fact", "°": "deg", "%": "pct"}[token], tree)
        return tree

    def script(self) -> Tree:
        """What stands after `^`: a group, or a sign and one factor."""
        if self.peek() == "{":
            return self.group("{", "}")
        if self.take("-"):
            return ("neg", self.script())
        if self.take("+"):
            return self.script()
        is_number = self.peek().isdigit() or self.peek() == "."
        atom = self.number(may_be_mixed=False) if is_number else self.atom()
        return ("pow", atom, self.script()) if self.take("^") else atom

    def group(self, opening: str, closing: str) -> Tree:
        self.need(opening)
        tree = self.sum()
        self.need(closing)
        return tree

    def argument(self) -> Tree:
        """A TeX argument: a group, a command, or one character."""
        token = self.peek()
        if token == "{":
            return self.group("{", "}")
        if token.startswith("\\") or token == "(":
            return self.atom()
        if token.isdigit():
            self.at += 1
            return ("num", Fraction(token))
        if token.isalpha():
            self.at += 1
            return _constant(token)
        raise Unreadable(f"argument expected at {self.at}")

    def atom(self) -> Tree:
        token = self.peek()
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isdigit() or token == ".":
            return self.number()
        if token.isalpha():
            return self.letters()
        if token in ("(", "[", "{") and token:
            return self.group(token, {"(": ")", "[": "]", "{": "}"}[token])
        if token == "|":
            self.at += 1
            tree = self.sum()
            self.need("|")
            return ("abs", tree)
        raise Unreadable(f"{token!r} at {self.at}")

    def number(self, may_be_mixed: bool = True) -> Tree:
        if repeating := REPEATING.match(self.text, self.at) or DOTS.match(self.text, self.at):
            self.at = repeating.end()
            cycle = next(group for group in repeating.groups()[2:] if group)
            return ("num", _repeating(repeating[1], repeating[2], cycle))
        match = NUMBER.match(self.text, self.at)
        if match is None or len(match[0]) > DIGITS:
            raise Unreadable("number")
        self.at = match.end()
        amount = Fraction(match[0].replace(",", "").rstrip("."))
        if exponent := EXPONENT.match(self.text, self.at):
            self.at = exponent.end()
            amount *= Fraction(10) ** int(exponent[1])
        if self.peek() == "_":
            raise Unreadable("number in a base")
        return ("num", self.mixed(amount) if may_be_mixed else amount)

    def mixed(self, whole: Fraction) -> Fraction:
        r"""`1\frac{1}{2}` and `1 1/2` are 3/2, if the part is a proper fraction of digits."""
        if whole.denominator != 1:
            return whole
        before = self.at
        if plain := MIXED.match(self.text, self.at):
            part = int(plain[1]), int(plain[2])
            self.at = plain.end()
        elif self.peek() == "\\frac":
            self.at += len("\\frac")
            top, bottom = self.argument(), self.argument()
            if top[0] != "num" or bottom[0] != "num":
                self.at = before
                return whole
            part = top[1], bottom[1]
        else:
            return whole
        if not 0 < part[0] < part[1]:
            raise Unreadable("a whole number beside an improper fraction")
        return whole + Fraction(part[0]) / Fraction(part[1])

    def letters(self) -> Tree:
        """A known name, else one letter; letters side by side are a product."""
        run = LETTERS.match(self.text, self.at)[0]
        name = next((n for n in NAMES if run.startswith(n)), None)
        if name in GREEK and run != name:
            name = None
        if name:
            self.at += len(name)
            return self.named(name)
        self.at += 1
        return self.subscripted(run[0])

    def subscripted(self, name: str) -> Tree:
        if self.take("_"):
            if self.peek() == "{":
                end = self.text.find("}", self.at)
                index = self.text[self.at + 1 : end] if end > 0 else ""
                self.at = end + 1
            else:
                index = self.peek()
                self.at += len(index)
            if not index or len(index) > 30:
                raise Unreadable("subscript")
            return ("var", name + "_" + re.sub(r"[{}\\\s]|text", "", index))
        return _constant(name)

    def command(self, name: str) -> Tree:
        self.at += len(name) + 1
        if name == "frac":
            return ("div", self.argument(), self.argument())
        if name == "binom":
            return ("binom", self.argument(), self.argument())
        if name == "infty":
            return ("inf",)
        if name == "text":
            return self.text_letter()
        if name in ("lfloor", "lceil"):
            tree = self.sum()
            self.need("\\r" + name[1:])
            return ("floor" if name == "lfloor" else "ceil", tree)
        if name in NAMES:
            return self.named(name)
        raise Unreadable(f"\\{name}")

    def text_letter(self) -> Tree:
        r"""`\text{i}` is i, `\text{sin}` is a function; words are no formula."""
        inside = re.compile(r"\s*\{\s*([a-zA-Z]+)\s*\}").match(self.text, self.at)
        if inside is None or (len(inside[1]) > 1 and inside[1] not in NAMES):
            raise Unreadable("text")
        self.at = inside.end()
        return self.named(inside[1]) if inside[1] in NAMES else self.subscripted(inside[1])

    def named(self, name: str) -> Tree:
        name = SAME.get(name, name)
        if name == "pi":
            return ("pi",)
        if name == "cbrt":
            return ("root", ("num", Fraction(3)), self.argument())
        if name == "sqrt":
            degree: Tree = ("num", Fraction(2))
            if self.peek() == "[":
                degree = self.group("[", "]")
            is_number = self.peek().isdigit() or self.peek() == "."
            return ("root", degree, self.number() if is_number else self.argument())
        if name in FUNCTIONS:
            return self.function(name)
        return self.subscripted(name)

    def function(self, name: str) -> Tree:
        """`sin x`, `sin^2 x`, `sin^{-1} x`, `sin(x)`, `log_2 8`."""
        base = self.script() if name == "log" and self.take("_") else None
        power = self.script() if self.take("^") else None
        if power == ("neg", ("num", Fraction(1))) and name in ("sin", "cos", "tan"):
            name, power = "arc" + name, None
        if self.peek() in ("(", "{", "["):
            inside = self.atom()
            inside = self.postfix(inside) if self.peek() != "!" else inside
        else:
            inside = self.function_product()
        tree = ("log", base or ("num", Fraction(10)), inside) if name == "log" else (name, inside)
        return ("pow", tree, power) if power else tree

    def function_product(self) -> Tree:
        """The argument of a function without brackets: factors side by side, to the next one."""
        if self.take("-"):
            return ("neg", self.function_product())
        tree = self.power()
        while self.starts_factor(token := self.peek()) and token not in ("(", "["):
            run = LETTERS.match(self.text, self.at)
            name = token[1:] if token.startswith("\\") else (run[0] if run else "")
            if any(name.startswith(f) for f in FUNCTIONS) or name == "text":
                break
            self.forbid_number_after_number(token)
            tree = ("mul", tree, self.power())
        return tree


def _constant(letter: str) -> Tree:
    return {"e": ("e",), "i": ("i",)}.get(letter, ("var", letter))


def _repeating(whole: str, fixed: str, cycle: str) -> Fraction:
    """`0.1(6)` as a fraction: 1/6."""
    shift = 10 ** len(fixed)
    head = Fraction(int(whole + fixed or "0"), shift)
    return head + Fraction(int(cycle), shift * (10 ** len(cycle) - 1))


def decimals(text: str) -> tuple[Fraction, int, int] | None:
    """The (value, digits after the point, significant digits) of a plain decimal, else None."""
    match = re.fullmatch(r"([+-]?)\s*(\d{1,3}(?:,\d{3})+|\d+|)(?:\.(\d*))?", text.strip())
    if match is None or len(text) > DIGITS or not (match[2] or match[3]):
        return None
    whole, part = match[2].replace(",", ""), match[3] or ""
    amount = Fraction(f"{whole or 0}.{part or 0}")
    significant = len((whole + part).lstrip("0"))
    return (-amount if match[1] == "-" else amount), len(part), significant


# --- exact values -----------------------------------------------------------------------------


def exact(tree: Tree) -> Fraction | None:
    """The value of a rational constant, or None (irrational, variable, too large, undefined)."""
    try:
        return _exact(tree)
    except (ZeroDivisionError, OverflowError, ValueError, RecursionError):
        return None


def _exact(tree: Tree) -> Fraction | None:
    kind = tree[0]
    if kind == "num":
        return tree[1]
    if kind in ("pi", "e", "i", "var", "inf", "log", *FUNCTIONS):
        return None
    parts = [_exact(part) for part in tree[1:]]
    if any(part is None or _size(part) > BITS for part in parts):
        return None
    if kind in ("fact", "binom"):
        return _counted(kind, parts)
    if kind == "pow":
        return _power(*parts)
    if kind == "root":
        return _power(parts[1], 1 / parts[0])
    return {
        "add": lambda: parts[0] + parts[1],
        "mul": lambda: parts[0] * parts[1],
        "div": lambda: parts[0] / parts[1],
        "neg": lambda: -parts[0],
        "abs": lambda: abs(parts[0]),
        "floor": lambda: Fraction(math.floor(parts[0])),
        "ceil": lambda: Fraction(math.ceil(parts[0])),
        "deg": lambda: parts[0],
        "pct": lambda: parts[0] / 100,
    }[kind]()


def _size(amount: Fraction) -> int:
    return amount.numerator.bit_length() + amount.denominator.bit_length()


def _counted(kind: str, parts: list[Fraction]) -> Fraction | None:
    """n! and n over k, for whole numbers up to 3000."""
    if any(part.denominator != 1 or not 0 <= part <= 3000 for part in parts):
        return None
    whole = [int(part) for part in parts]
    return Fraction(math.factorial(whole[0]) if kind == "fact" else math.comb(*whole))


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """base^exponent where it is rational: whole exponents, and roots that come out even."""
    if exponent.denominator == 1:
        if abs(exponent) * _size(base) > BITS:
            return None
        return base ** int(exponent)
    degree = exponent.denominator
    if degree > 64 or (base < 0 and degree % 2 == 0):
        return None
    tops = [_whole_root(abs(part), degree) for part in (base.numerator, base.denominator)]
    if None in tops:
        return None
    root = Fraction(*tops) * (-1 if base < 0 else 1)
    return _power(root, Fraction(exponent.numerator))


def _whole_root(number: int, degree: int) -> int | None:
    if number.bit_length() > 2000:
        return None
    if degree == 2:
        root = math.isqrt(number)
        return root if root * root == number else None
    near = round(number ** (1 / degree)) if number.bit_length() < 1000 else 0
    return next((r for r in (near - 1, near, near + 1) if r >= 0 and r**degree == number), None)


def terminates(amount: Fraction) -> bool:
    """Does the fraction have a finite decimal expansion?"""
    bottom = amount.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


# --- values at a point ------------------------------------------------------------------------


def variables(tree: Tree) -> frozenset[str]:
    """The names of the letters in a formula."""
    if tree[0] == "var":
        return frozenset([tree[1]])
    return frozenset().union(*(variables(part) for part in tree[1:] if isinstance(part, tuple)))


def value(tree: Tree, point: dict[str, complex], angle: bool = False) -> complex:
    """The value of a formula at `point`; inside trigonometric functions degrees are converted.

    Raises:
        ArithmeticError or ValueError: undefined or too large there.
    """
    kind = tree[0]
    if kind == "num":
        return complex(float(tree[1]))
    if kind in ("pi", "e", "i"):
        return {"pi": math.pi, "e": math.e, "i": 1j}[kind] + 0j
    if kind == "var":
        return point[tree[1]]
    if kind == "inf":
        raise OverflowError("infinity")
    if kind == "log":
        return cmath.log(value(tree[2], point)) / cmath.log(value(tree[1], point))
    if kind in FUNCTIONS:
        return _function(kind, value(tree[1], point, angle=True))
    parts = [value(part, point, angle) for part in tree[1:]]
    result = _operation(kind, parts, angle)
    if not cmath.isfinite(result):
        raise OverflowError("not finite")
    return result


LARGEST_LOG = 1e6  # natural logarithm of the largest power that anybody may work out
LARGEST_COUNT = 1e5  # argument of a factorial or binomial


def too_large(tree: Tree) -> bool:
    """Does the formula hold a constant power, factorial or binomial beyond these bounds?

    Such numbers are equal to nothing but to the same formula; sympy would not come back from them.
    """
    if any(too_large(part) for part in tree[1:] if isinstance(part, tuple)):
        return True
    if tree[0] not in ("pow", "fact", "binom") or variables(tree):
        return False
    try:
        parts = [value(part, {}) for part in tree[1:]]
    except OverflowError:
        return True
    except (ArithmeticError, ValueError):
        return False
    if tree[0] == "pow":
        size = abs(parts[0])
        return size > 0 and abs(parts[1]) * abs(math.log(size)) > LARGEST_LOG
    return any(abs(part) > LARGEST_COUNT for part in parts)


def _operation(kind: str, parts: list[complex], angle: bool) -> complex:
    first, second = parts[0], parts[-1]
    if kind == "add":
        return first + second
    if kind == "mul":
        return first * second
    if kind == "div":
        return first / second
    if kind == "neg":
        return 0j - first  # and not -first: its imaginary part -0 is another side of the cut
    if kind == "pow":
        return first**second
    if kind == "root":
        return _root(first, second)
    if kind == "abs":
        return complex(abs(first))
    if kind in ("floor", "ceil"):
        return complex(getattr(math, kind)(_real(first)))
    if kind == "fact":
        return complex(math.gamma(_real(first) + 1))
    if kind == "binom":
        top, bottom = _real(first), _real(second)
        return complex(
            math.gamma(top + 1) / (math.gamma(bottom + 1) * math.gamma(top - bottom + 1))
        )
    if kind == "deg":
        return first * math.pi / 180 if angle else first
    if kind == "pct":
        return first / 100
    raise ValueError(kind)


def _real(number: complex) -> float:
    if abs(number.imag) > 1e-12 * max(1.0, abs(number)):
        raise ValueError("complex where a real number is needed")
    return number.real


def _root(degree: complex, number: complex) -> complex:
    """The principal root; an odd root of a negative real number is real."""
    if number.imag == 0 and number.real < 0 and degree.real % 2 == 1:
        return complex(-((-number.real) ** (1 / degree.real)))
    return number ** (1 / degree)


def _function(name: str, at: complex) -> complex:
    if name in ("cot", "sec", "csc"):
        return 1 / {"cot": cmath.tan, "sec": cmath.cos, "csc": cmath.sin}[name](at)
    if name == "ln":
        return cmath.log(at)
    return getattr(cmath, name.replace("arc", "a"))(at)


# --- writing ----------------------------------------------------------------------------------

SUM, PRODUCT, POWER, ATOM = range(4)


def latex(tree: Tree, names: dict[str, str]) -> str:
    """The formula in a LaTeX that has one reading only; letters are renamed by `names`."""
    return _written(tree, names)[0]


def _written(tree: Tree, names: dict[str, str]) -> tuple[str, int]:
    """(LaTeX, how tightly it binds)."""
    kind = tree[0]
    if kind == "num":
        top, bottom = tree[1].numerator, tree[1].denominator
        return (str(top), ATOM) if bottom == 1 else (rf"\frac{{{top}}}{{{bottom}}}", PRODUCT)
    if kind == "var":
        return names[tree[1]], ATOM
    if kind in ("pi", "e", "i", "inf"):
        return {"pi": r"\pi", "e": "e", "i": "i", "inf": r"\infty"}[kind], ATOM
    if kind in FUNCTIONS:
        tree = in_radians(tree)
    parts = [_written(part, names) for part in tree[1:]]
    bare = [text for text, _ in parts]
    if kind == "log":
        return rf"\log_{{{bare[0]}}}\left({bare[1]}\right)", PRODUCT
    if kind in FUNCTIONS:
        return rf"\{kind}\left({bare[0]}\right)", PRODUCT
    return _operator(kind, parts, bare)


def in_radians(tree: Tree) -> Tree:
    """A formula with its degree signs worked out as factors of pi / 180."""
    parts = [in_radians(part) if isinstance(part, tuple) else part for part in tree[1:]]
    if tree[0] == "deg":
        return ("div", ("mul", parts[0], ("pi",)), ("num", Fraction(180)))
    return (tree[0], *parts)


def _grouped(part: tuple[str, int], at_least: int) -> str:
    """In brackets where it binds less tightly than its place needs."""
    return part[0] if part[1] >= at_least else rf"\left({part[0]}\right)"


def _operator(kind: str, parts: list[tuple[str, int]], bare: list[str]) -> tuple[str, int]:
    first, second = parts[0], parts[-1]
    if kind == "add":
        negative = second[0].startswith("-")
        right = second[0] if negative else "+" + _grouped(second, PRODUCT)
        return first[0] + right, SUM
    if kind == "neg":
        return "-" + _grouped(first, PRODUCT), SUM
    if kind == "mul":
        return _grouped(first, PRODUCT) + r" \cdot " + _grouped(second, PRODUCT), PRODUCT
    if kind == "pow":
        return f"{_grouped(first, ATOM)}^{{{bare[1]}}}", POWER
    if kind == "fact":
        return _grouped(first, ATOM) + "!", POWER
    template, tightness = {
        "deg": ("({0})", ATOM),
        "pct": (r"\frac{{{0}}}{{100}}", PRODUCT),
        "div": (r"\frac{{{0}}}{{{1}}}", PRODUCT),
        "root": (r"\sqrt[{0}]{{{1}}}", ATOM),
        "abs": (r"\left|{0}\right|", ATOM),
        "floor": (r"\lfloor {0} \rfloor", ATOM),
        "ceil": (r"\lceil {0} \rceil", ATOM),
        "binom": (r"\binom{{{0}}}{{{1}}}", PRODUCT),
    }[kind]
    return template.format(*bare), tightness
