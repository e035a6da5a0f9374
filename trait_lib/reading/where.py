"""Conditions on the fields of a row, written as text: `split=seed`, `label!=spam`.

Not stated in the paper; ours because a user's file often holds several corpora in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from trait_lib.records import Row

CONDITION = re.compile(r"^\s*([^=!\s][^=!]*?)\s*(!?=)\s*(.*?)\s*$", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """One condition: the field's value, as text, equals `value` (or, negated, differs from it)."""

    field: str
    value: str
    negated: bool

    def holds(self, row: Row) -> bool:
        """Whether `row` meets the condition; an absent field and null count as empty text."""
        return (as_text(row.get(self.field)) == self.value) != self.negated


def as_text(value: object) -> str:
    """A field's value as a condition writes it: `true`, `false`, empty for null, else `str`."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse(conditions: Iterable[str]) -> list[Condition]:
    """Read conditions such as `field=value` and `field!=value`; the value may hold `=`.

    Raises:
        ValueError: names the condition that is not of that form.
    """
    found = []
    for text in conditions:
        match = CONDITION.match(text) if isinstance(text, str) else None
        if not match:
            raise ValueError(f"where: {text!r} is not `field=value` or `field!=value`")
        found.append(Condition(match[1], match[3], match[2] == "!="))
    return found


def matches(row: Row, conditions: Iterable[Condition]) -> bool:
    """Whether `row` meets every condition; no condition at all lets every row through."""
    return all(condition.holds(row) for condition in conditions)
