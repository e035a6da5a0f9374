r"""The parts of an answer: elements of lists, brackets, the sides of an equation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trait_lib.grading.notation import levels, trimmed

LIST_WORD = re.compile(
    r"(?<=[)\]}])\s*(?:and|or)\s*(?=[(\[\\])|,?\s*\\text\s*\{\s*,?\s*(?:and|or)\s*\}\s*"
    r"|,?\s+(?:and|or)\s+|,?\s*&\s*"
)
THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")


def split(text: str, separators: Sequence[str]) -> list[str]:
    """Split at separators that stand outside of all brackets."""
    pieces, start = [], 0
    for position, token, depth in levels(text):
        if depth == 0 and token in separators:
            pieces.append(text[start:position])
            start = position + len(token)
    return [*pieces, text[start:]]


def elements(text: str, join_thousands: bool = True) -> list[str]:
    """The elements of a bare list: at commas, semicolons, `and`, `or`; `a \\pm b` is two."""
    if join_thousands:
        text = THOUSANDS.sub(lambda m: m[0].replace(",", ""), text) if _flat(text) else text
    text = LIST_WORD.sub(",", text)
    parts = [trimmed(part) for part in split(text, (",", ";"))]
    return [choice for part in parts for choice in _plus_minus(part)]


def _flat(text: str) -> bool:
    """No brackets in which a comma could part coordinates."""
    return not re.search(r"[(\[]|\\\{", text)


def _plus_minus(text: str) -> list[str]:
    if not re.search(r"\\(?:pm|mp)(?![a-zA-Z])", text):
        return [text]
    upper = re.sub(r"\\pm(?![a-zA-Z])", "+", text)
    lower = re.sub(r"\\pm(?![a-zA-Z])", "-", text)
    upper = re.sub(r"\\mp(?![a-zA-Z])", "-", upper)
    lower = re.sub(r"\\mp(?![a-zA-Z])", "+", lower)
    return [upper, lower]


def enclosed(text: str) -> tuple[str, str, str] | None:
    r"""(opening, inside, closing) when one pair of brackets holds the whole text."""
    first, opened = None, 0
    for position, token, depth in levels(text):
        if position == 0:
            if token not in ("(", "[", "\\{", "\\langle"):
                return None
            first, opened = token, len(token)
        elif depth == 0:
            if token in (")", "]", "\\}", "\\rangle") and position + len(token) == len(text):
                return first, text[opened:position].strip(), token
            return None
    return None


LABEL = re.compile(
    r"(?:\\text\s*\{[^{}]*\}|\\(?:angle|triangle|overline|widehat)\s*|[a-zA-Z]|\\[a-zA-Z]+)"
    r"(?:_\s*(?:\{[^{}]*\}|\w)|'|[a-zA-Z\s]|\\(?:angle|text\s*\{[^{}]*\})|\{[^{}]*\})*"
    r"(?:\((?:[^()=]|\([^()]*\))*\))?"
)


NAMED_VALUE = re.compile(r"\|\s*[A-Z]{2}\s*\||[a-zA-Z]\s*\^\s*\{?\s*-1\s*\}?\s*\([^()]*\)")


def is_label(left: str) -> bool:
    """Is the left side of an equation only a name: `x`, `f(x)`, `AB`, `P(A)`, `Area`?"""
    left = trimmed(left)
    if enclosed(left):
        return all(is_label(part) for part in split(enclosed(left)[1], (",",)))
    if NAMED_VALUE.fullmatch(left):
        return True
    if LABEL.fullmatch(left) and "\\frac" not in left and "\\sqrt" not in left:
        return True
    return bool(re.match(r"[a-zA-Z]", left)) and not re.search(r"[\d\\^]", left)


def sides(text: str) -> list[str]:
    """The sides of an equation outside of brackets, `\\approx` and `\\in` included."""
    text = re.sub(r"(?<![<>!])=+", "=", text)
    return [trimmed(side) for side in split(text, ("=",))] if "=" in text else [text]
