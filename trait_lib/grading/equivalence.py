r"""Are two answers the same? First by form (lists, intervals, bases, words), then by value.

The form is decided here, by rules; a formula is decided by its exact value where it is rational,
else by its values at random points and by math-verify (`symbolic`), which must not disagree.
Not stated in the paper; ours because math-verify alone ignores bases, units of measure and the
kind of brackets, and published graders disagree on the rest. The rules are listed in the
docstrings; where a rule had to choose, it chooses to reject.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trait_lib.grading.formulas import LONGEST, Verdict, algebra, exact_value, readable, scalars
from trait_lib.grading.notation import DEGREE, outside, spelled, squeezed, trimmed
from trait_lib.grading.parts import elements, enclosed, is_label, sides, split
from trait_lib.grading.words import (
    UNIT_POWER,
    based_number,
    has_words,
    is_text,
    moment,
    plain_words,
    same_words,
    without_units,
)

AN_AMOUNT = re.compile(r"[-+]?[\d.,]*\d(?:/\d+)?%?")
LONGEST_FORM = 20_000  # characters; above, only equal text is equal
MOST_ELEMENTS = 60
SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,])")


def equivalent(gold: str, answer: str, kind: str | None = None) -> Verdict:
    """Is `answer` the same as `gold`? Returns (verdict, reason in a few words).

    Args:
        gold: the right answer, in LaTeX or plain text.
        answer: the extracted answer.
        kind: number, math or text; decides how doubtful strings are read.
    """
    if kind == "number" and ", " in gold and re.fullmatch(r"\d{1,2}(?:,\d{1,2})+", answer.strip()):
        return False, "digits with commas, which as a number are neither list nor thousands"
    if squeezed(gold) == squeezed(answer):
        return True, "same text"
    if max(len(gold), len(answer)) > LONGEST:
        verdict = _long_numbers(gold, answer)
        if verdict[0] or max(len(gold), len(answer)) > LONGEST_FORM:
            return verdict
    gold, answer = spelled(gold), spelled(answer)
    if squeezed(gold) == squeezed(answer):
        return bool(squeezed(gold)), "same text"
    for rule in (_bases, _moments):
        if verdict := rule(gold, answer):
            return verdict
    if squeezed(gold).replace(DEGREE, "") == squeezed(answer).replace(DEGREE, ""):
        return True, "same but for degree signs"
    if has_words(gold) and _without_and(gold) == _without_and(answer):
        return True, "same words"
    if (kind == "text" and not AN_AMOUNT.fullmatch(gold)) or is_text(gold):
        return same_words(gold, answer)
    if kind == "number":
        gold, answer = (SPACED.sub(lambda m: m[0].replace(" ", ""), t) for t in (gold, answer))
    powers = [UNIT_POWER.search(text) for text in (gold, answer)]
    if None not in powers and powers[0][1] != powers[1][1]:
        return False, "a different power of the unit"
    gold, answer = without_units(gold), without_units(answer)
    if squeezed(gold) == squeezed(answer):
        return bool(squeezed(gold)), "same but for units"
    return _forms(gold, answer)


def _without_and(text: str) -> list[str]:
    """`3 hours and 20 minutes` as the words of `3 hours 20 minutes`."""
    return [word for word in plain_words(text) if word != "and"]


def _bases(gold: str, answer: str) -> Verdict | None:
    """The verdict when one of the two is written with a base: the base is part of the answer."""
    first, second = based_number(gold), based_number(answer)
    if first is None and second is None:
        return None
    if first is None and not re.search(r"\d", gold):
        return None
    same = first == second
    return same, "same digits in the same base" if same else "a different number or base"


def _moments(gold: str, answer: str) -> Verdict | None:
    """The verdict when the right answer is a time, a date or a range, or both answers are."""
    first, second = moment(gold), moment(answer)
    if first is None:
        number = second is not None and second[0] in ("date", "day") and readable(gold) is not None
        return (False, f"a {second[0]}") if number else None
    if first[0] == "time" and second is None:
        return None
    if first[0] == "range" and second is None and not re.fullmatch(r"[\d\s+*/().-]+", answer):
        return None
    if second and first[0] == second[0] == "time" and not first[4]:
        first, second = first[:4], second[:4]
    return first == second, f"the same {first[0]}" if first == second else f"another {first[0]}"


def _long_numbers(gold: str, answer: str) -> Verdict:
    """Numbers of any length, digit by digit."""
    digits = [re.sub(r"^\+?0*(?=\d)|(?<=\d)\.0*$|[\s,$]", "", text) for text in (gold, answer)]
    same = digits[0] == digits[1] and digits[0].lstrip("-").isdigit()
    return same, "same digits" if same else "too long to compare but as text"


# --- forms ------------------------------------------------------------------------------------

MATRIX = re.compile(
    r"\\begin\s*\{([pbvBV]?matrix|smallmatrix|array)\}(?:\s*\{[lcr|\s]*\})?(.*)"
    r"\\end\s*\{\1\}",
    re.DOTALL,
)
ORDER = re.compile(r"[<>]|!=")
RELATION = re.compile(r"<=|>=|!=|<|>|=")


def _forms(gold: str, answer: str) -> Verdict:
    """Compare two answers by their forms, part by part."""
    if not squeezed(gold) or not squeezed(answer):
        return False, "empty"
    gold, answer = _unwrapped(gold, answer)
    for rule in (_matrices, _unions, _enclosed, _lists, _ratios, _relations):
        verdict = rule(gold, answer)
        if verdict is not None:
            return verdict
    return scalars(gold, answer)


WORKED_OUT = re.compile(r"\\(?:sum|prod|lim|int|pmod|gcd|det|max|min)(?![a-zA-Z])|vmatrix")


def _unwrapped(gold: str, answer: str) -> tuple[str, str]:
    """Take the names off: `x = 5` is 5, `x \\in S` is S, `3 + 4 = 7` is 7, `a \\approx b` is a."""
    gold, answer = (_exact_side(text) for text in (gold, answer))
    names = {_member(text) for text in (gold, answer)} - {None}
    if len(names) > 1:
        return gold, answer  # `x \\in S` is not `y \\in S`
    gold, answer = (_after_in(text) for text in (gold, answer))
    if any(outside(text, ORDER) for text in (gold, answer)) or len(elements(answer)) > 1:
        return gold, answer
    left, right = sides(gold), sides(answer)
    if len(left) == 2 and len(right) == 2 and all(_is_variable(s) for s in (left[0], right[0])):
        return gold, answer  # two equations: their letters count
    if len(left) == 1 and len(right) > 1:
        if len(right) == 2 and _numeric(right[0]) and _is_variable(right[1]):
            return gold, right[0]
        if is_label(right[0]) or _numeric(right[0]) or len(right) > 2:
            return gold, right[-1]
        if WORKED_OUT.search(right[0]) and _numeric(right[-1]):
            return gold, right[-1]
        if is_label(right[-1]):
            return gold, right[0]
    if len(right) == 1 and len(left) == 2 and is_label(left[0]):
        constant = not _letters(left[1]) or enclosed(left[1]) is not None
        if constant or not _is_variable(left[0]):
            return left[1], answer
    return gold, answer


def _exact_side(text: str) -> str:
    r"""`\sqrt{2} \approx 1.414` states the root; `x \approx 1.414` states the decimal."""
    parts = [trimmed(part) for part in text.split("\\approx")]
    return next((part for part in parts if part and not is_label(part)), text)


def _member(text: str) -> str | None:
    """The letter of which a text says that it lies in a set."""
    parts = re.split(r"\\in(?![a-zA-Z])", text)
    return squeezed(parts[0]) if len(parts) == 2 and _is_variable(parts[0]) else None


def _after_in(text: str) -> str:
    parts = re.split(r"\\in(?![a-zA-Z])", text)
    return trimmed(parts[1]) if len(parts) == 2 and is_label(parts[0]) else text


def _is_variable(side: str) -> bool:
    return bool(re.fullmatch(r"[a-zA-Z](?:_\{?\w+\}?)?|\\[a-zA-Z]+", side.strip()))


def _numeric(side: str) -> bool:
    return readable(side) is not None and not _letters(side)


def _letters(text: str) -> frozenset[str]:
    """The variables of a formula; of text that is none, its letters outside of commands."""
    tree = readable(text)
    if tree is not None:
        return tree.letters
    return frozenset(re.findall(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text)))


def _inside_brackets(text: str) -> str:
    """`(array)`, `[array]` and a set of one matrix are matrices too."""
    text = text.strip()
    while (brackets := enclosed(text)) and re.match(r"[(\[]?\s*\\begin", brackets[1]):
        if len(elements(brackets[1])) > 1:
            break
        text = brackets[1].strip()
    return text


def _matrix(text: str) -> tuple[str, list[list[str]]] | None:
    """(kind of matrix, its rows) of a matrix, or of rows given as lists; else None."""
    text = _inside_brackets(text)
    found = MATRIX.fullmatch(text)
    if found and found[2].count("\\begin") == 0:
        rows = [row for row in re.split(r"\\\\|\\cr(?![a-z])", found[2]) if row.strip()]
        return found[1], [[trimmed(cell) for cell in row.split("&")] for row in rows]
    brackets = enclosed(text)
    rows = [enclosed(part.strip()) for part in elements(brackets[1], False)] if brackets else []
    if brackets and brackets[0] != "\\{" and len(rows) > 1 and all(rows):
        return "list", [[trimmed(cell) for cell in elements(row[1], False)] for row in rows]
    return None


def _matrices(gold: str, answer: str) -> Verdict | None:
    """Matrices, as LaTeX or as rows of lists; a vector may be one list."""
    first, second = _matrix(gold), _matrix(answer)
    known = [one for one in (first, second) if one and one[0] != "list"]
    if not known:
        return None
    if first is None or second is None:
        other = enclosed((answer if first else gold).strip())
        rows = (first or second)[1]
        if other and other[0] == "[" and (len(rows) == 1 or all(len(row) == 1 for row in rows)):
            flat, cells = [cell for row in rows for cell in row], elements(other[1], False)
            return _ordered(*((flat, cells) if first else (cells, flat)))
        return (
            None if "\\begin" in gold and "\\begin" in answer else (False, "only one is a matrix")
        )
    if ("v" in first[0].lower()) != ("v" in second[0].lower()):
        return False, "only one is a determinant"
    if [len(row) for row in first[1]] != [len(row) for row in second[1]]:
        return False, "matrices of different shape"
    return _ordered(*([cell for row in one[1] for cell in row] for one in (first, second)))


FINITE = re.compile(r"\\?\{([^{}\\]*)\\?\}")


def _unions(gold: str, answer: str) -> Verdict | None:
    parts = [split(re.sub(r"(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup ", t), ("\\cup",)) for t in
             (gold, answer)]  # fmt: skip
    if len(parts[0]) == 1 and len(parts[1]) == 1:
        return None
    for number, text in enumerate((gold, answer)):
        if len(parts[number]) == 1 and re.search(r"\bor\b", text):
            parts[number] = [_interval(part) for part in elements(text)]
    for number, other in ((0, answer), (1, gold)):
        sets = [FINITE.fullmatch(part.strip()) for part in parts[number]]
        if len(sets) > 1 and all(sets):  # `{1,2} \\cup {2,3}` lists its elements
            united = dict.fromkeys(
                squeezed(one) for part in sets for one in elements(part[1], join_thousands=False)
            )
            union = r"\{" + ",".join(united) + r"\}"
            return _sets(union, other) if number == 0 else _sets(other, union)
    return _unordered([trimmed(p) for p in parts[0]], [trimmed(p) for p in parts[1]])


REALS = re.compile(r"\\mathbb\{R\}|(?:\\text\{)?(?:all|theset\w*)?real(?:number)?s\}?", re.I)
CONDITION = re.compile(  # `\{x | x > 1\}`
    r"\\\{\s*([a-zA-Z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?[|:]\s*([^|:]*[<>][^|:]*)\\\}"
)


POINT = re.compile(  # `P(1,2)`, `the point (1,2)`
    r"(?:[A-Z]|\\text\s*\{\s*(?:the\s+)?(?:point|interval|set|vector)s?(?:\s+is)?:?\s*\})\s*(?=\(|\[|\\\{)"
)


def _enclosed(gold: str, answer: str) -> Verdict | None:
    """Tuples and intervals: the brackets count, and the order; sets: neither."""
    gold, answer = (
        r"(-\infty,\infty)" if REALS.fullmatch(squeezed(text)) else _interval(text)
        for text in (gold, answer)
    )
    if enclosed(gold) and (point := POINT.match(answer)):
        answer = answer[point.end() :]
    first, second = enclosed(gold), enclosed(answer)
    if first is None and second is None:
        return None
    for one, other, swap in ((first, answer, False), (second, gold, True)):
        if one and one[0] == "\\{":  # a set is a list without order
            pair = (other, one[1]) if swap else (one[1], other)
            return _sets(*pair)
    inside = [split(one[1], (",", ";")) if one else [] for one in (first, second)]
    if len(inside[0]) < 2 and len(inside[1]) < 2:
        return None  # brackets around one thing only group
    if first and second:
        if (first[0], first[2]) != (second[0], second[2]):
            return False, "different brackets"
        return _ordered(inside[0], inside[1])
    return _tuple_and_list(inside, first or second, gold if second else answer)


def _tuple_and_list(inside: list[list[str]], brackets: tuple[str, str, str], other: str) -> Verdict:
    """A tuple against something without brackets: `x = 3, y = 4`, or a Python list of numbers."""
    own = inside[0] or inside[1]
    others = elements(other)
    named = [sides(part) for part in others]
    distinct = len({pair[0] for pair in named}) == len(named) > 1
    if distinct and all(len(pair) == 2 and _is_variable(pair[0]) for pair in named):
        values = [pair[1] for pair in sorted(named)]
        return _ordered(*((own, values) if inside[0] else (values, own)))
    if brackets[0] == "[" and len(own) > 2 and len(others) > 1:
        return _unordered(*((own, others) if inside[0] else (others, own)))
    return False, "a tuple against something else"


def _interval(text: str) -> str:
    """An inequality in one letter as an interval; other text as it is."""
    condition = CONDITION.fullmatch(text.strip())
    text = condition[2].strip() if condition else text
    pieces = re.split(r"(<=|>=|<|>)", text)
    if len(pieces) == 3:
        left, relation, right = (p.strip() for p in pieces)
        if _is_variable(right) and not _letters(left):
            flipped = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}[relation]
            left, relation, right = right, flipped, left
        if not _is_variable(left) or _letters(right) or not readable(right):
            return text
        return {
            "<": rf"(-\infty,{right})",
            "<=": rf"(-\infty,{right}]",
            ">": rf"({right},\infty)",
            ">=": rf"[{right},\infty)",
        }[relation]
    if len(pieces) == 5:
        low, first, middle, second, high = (p.strip() for p in pieces)
        if first[0] == second[0] and _is_variable(middle) and not _letters(low + "+" + high):
            if first[0] == ">":
                low, first, second, high = high, second, first, low
            opening, closing = "[" if "=" in first else "(", "]" if "=" in second else ")"
            return f"{opening}{low},{high}{closing}"
    return text


def _sets(gold: str, answer: str) -> Verdict:
    """Two collections without order; each may be written with braces or without."""
    lists = []
    for text in (gold, answer):
        while (brackets := enclosed(text)) and brackets[0] == "\\{":
            text = brackets[1]
        lists.append(elements(text, join_thousands=False))
    return _unordered(*lists)


def _lists(gold: str, answer: str) -> Verdict | None:
    """Bare lists: `1, 2` is `2 and 1`, and `x = 1, x = 2`; `100,200` may be one number."""
    first, second = elements(gold), elements(answer)
    if len(first) == 1 and len(second) == 1:
        return None
    if len(first) != len(second):
        loose = [elements(text, join_thousands=False) for text in (gold, answer)]
        if len(loose[0]) == len(loose[1]) and not any(
            re.fullmatch(r"0\d+", part) for part in (*loose[0], *loose[1])
        ):
            first, second = loose
    if len(first) == len(second) == 1:
        return None
    names = {pair[0] for pair in map(sides, first) if len(pair) == 2}
    if len(names) == len(first) and not any(len(sides(part)) == 2 for part in second):
        return _ordered([sides(part)[1] for part in first], second)
    return _unordered(_shared_name(first), _shared_name(second))


def _shared_name(parts: list[str]) -> list[str]:
    """`x = 1`, `2` (from `x = 1, 2`) share the name: the values are 1 and 2."""
    pairs = [sides(part) for part in parts]
    names = {pair[0] for pair in pairs if len(pair) == 2}
    if len(names) == 1 and len(pairs[0]) == 2 and is_label(pairs[0][0]):
        return [pair[-1] for pair in pairs]
    return parts


def _ratios(gold: str, answer: str) -> Verdict | None:
    """`1:2` is `2:4` and `1 to 2`, and neither `2:1` nor 1/2."""
    parts = [
        [trimmed(p) for p in re.split(r":|\\text\s*\{\s*to\s*\}|(?<=[\w}])\s+to\s+(?=[\w\\])", t)]
        for t in (gold, answer)
    ]
    if len(parts[0]) == 1 and len(parts[1]) == 1:
        return None
    if len(parts[0]) != len(parts[1]):
        return False, "only one is a ratio"
    values = [[exact_value(part) for part in side] for side in parts]
    if all(v is not None and v != 0 for side in values for v in side):
        same = len({a / b for a, b in zip(*values, strict=True)}) == 1
        return same, "same ratio" if same else "different ratio"
    return _ordered(*parts)


def _ordered(gold: Sequence[str], answer: Sequence[str]) -> Verdict:
    if len(gold) != len(answer):
        return False, "a different number of elements"
    if len(gold) > MOST_ELEMENTS:
        return False, "too many elements to compare but as text"
    for first, second in zip(gold, answer, strict=True):
        verdict = _element(first, second)
        if not verdict[0]:
            return False, f"an element differs: {verdict[1]}"
    return True, "all elements equal, in order"


def _unordered(gold: Sequence[str], answer: Sequence[str]) -> Verdict:
    """Each element of one has its own partner in the other."""
    if len(gold) != len(answer):
        return False, "an element is missing or extra"
    if len(gold) > MOST_ELEMENTS:
        return False, "too many elements to compare but as text"
    left = list(answer)
    for first in gold:
        partner = next((s for s in left if _element(first, s)[0]), None)
        if partner is None:
            return False, "an element differs"
        left.remove(partner)
    return True, "all elements equal, in any order"


def _element(gold: str, answer: str) -> Verdict:
    gold, answer = trimmed(gold), trimmed(answer)
    if squeezed(gold) == squeezed(answer):
        return bool(squeezed(gold)), "same text"
    if is_text(gold):
        return same_words(gold, answer)
    return _forms(without_units(gold), without_units(answer))


FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def _sides_and_signs(text: str) -> list[str]:
    """[side, sign, side, ...]; signs within brackets (bounds of sums) do not part."""
    pieces, start = [], 0
    for match in outside(text, RELATION):
        pieces += [text[start : match.start()], match[0]]
        start = match.end()
    return [*pieces, text[start:]]


def _relations(gold: str, answer: str) -> Verdict | None:
    """Equations and inequalities: the same up to a factor (and the direction it implies)."""
    parts = [_sides_and_signs(text) for text in (gold, answer)]
    if len(parts[0]) == 1 and len(parts[1]) == 1:
        return None
    if len(parts[0]) != len(parts[1]):
        return False, "not the same kind of relation"
    if len(parts[0]) != 3:
        same = parts[0][1::2] == parts[1][1::2]
        return _ordered(parts[0][::2], parts[1][::2]) if same else (False, "relation")
    formulas = [readable(side) for part in parts for side in part[::2]]
    if None in formulas:
        return _ordered(parts[0][::2], parts[1][::2])
    if any(formula.huge for formula in formulas):
        return False, "too large to work out"
    factor = algebra().answer("factor", *parts[0][::2], *parts[1][::2])
    if not factor:
        return False, "a different equation"
    wanted = parts[0][1] if factor > 0 else FLIP[parts[0][1]]
    solved = _is_variable(parts[0][0].strip()) and not formulas[1].letters
    if solved and not _is_variable(parts[1][0].strip()) and not _is_variable(parts[1][2].strip()):
        return False, "an unsolved equation"
    return parts[1][1] == wanted, "same relation" if parts[1][1] == wanted else "direction"
