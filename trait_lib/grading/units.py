"""Units of measure, which are ignored, and number bases, which are not.

Not stated in the paper; ours because a unit after an amount does not change it, while the digits
of a number mean nothing without their base.
"""

from __future__ import annotations

import re

from trait_lib.grading.notation import NAMES, squeezed, trimmed
from trait_lib.grading.words import SCALES, SMALL, TEXT_GROUP

UNITS = set(
    "m cm mm km ft in yd mi g kg mg lb lbs oz l ml s sec secs min mins h hr hrs hz khz mhz n j kj "
    "w kw v a k c f pa kpa mol rad deg sq cu mph kmh kph rpm usd eur gbp cc gb mb tb px pt pts "
    "kwh wh ev cal kcal atm bar ohm dm nm um gal qt pc pcs nos rs cts cent cents".split()
)
NO_UNITS = set(  # words after a number that change it, or lead on
    "and or to base x e i if squared cubed factorial half halves third thirds fourth fourths fifth "
    "fifths sixth sixths seventh sevenths eighth eighths ninth ninths tenth tenths hundredths "
    "thousandths times plus minus mod modulo root roots over divided trillion hundreds thousands "
    "millions billions".split()
) | set(SCALES)
ONE_LETTER_UNITS = set("m g s h l L J N W V A K C F".split())
BASES = {word: number for number, word in enumerate(SMALL) if number > 1} | {"binary": 2}


UNIT_TEXT = re.compile(r"\s*\\text\s*\{\s*([^{}]*)\}(?:\s*\^\s*(?:\{?\s*-?\d\s*\}?))?\s*$")
UNIT_WORD = re.compile(
    r"(?<=[\d)}\]%°])\s*(?:/|per\s+|a\s+|an\s+)?\s*([a-zA-Z]{1,20})\.?"
    r"(?:\s*\^\s*\{?\s*-?\d\s*\}?)?(?:[\s/.-]+[a-zA-Z]{1,20}(?:\s*\^\s*\{?\s*\d\s*\}?)?\.?){0,6}$"
)
UNIT_POWER = re.compile(r"[a-zA-Z]\s*\}\s*\^\s*\{?\s*(-?\d)\s*\}?$")
PRODUCT_OF_UNITS = re.compile(r"(?<=[\d}])\s*(?:[kM]?[NWJAVg]|lb)\s?\*\s?(?:m|h|hr|s|ft|cm)$")
MOST_UNITS = 8  # one after another
OF_WHAT = re.compile(  # `3/4 of the cake`
    r"(?<=[\d)}%])\s+of\s+(?:the|a|an|all|his|her|its|their|it)\b[a-zA-Z\s'-]*$"
)
JOINED_UNITS = re.compile(r"(\\text\s*\{[^{}]*)\}\s*([/*])\s*\\text\s*\{")
LEADING_WORD = re.compile(
    r"^(?:\\text\s*\{\s*)?(?:USD|EUR|GBP|US|Rs\.?|about|approximately|exactly|roughly)(?:\s*\}|\s)\s*",
    re.I,
)


def without_units(text: str) -> str:
    r"""Without units of measure, degree and percent signs around the amount.

    `5\text{ cm}^2`, `5 apples`, `5 km/h`, `72°`, `25%`: a unit stands after a complete amount. A
    letter that touches its number (`5x`) is none.
    """
    text = PRODUCT_OF_UNITS.sub("", JOINED_UNITS.sub(r"\1\2", text))
    for _ in range(MOST_UNITS):
        before = text
        if not any(name in text for name in ("sin", "cos", "tan", "sec", "csc", "cot")):
            text = re.sub(r"°(?:\s*(?:\\text\{)?[CFK]\}?)?$", "", text).strip()
        text = trimmed(text.removesuffix("%"))
        text = trimmed(re.sub(r"^\\approx", "", text))
        text = trimmed(OF_WHAT.sub("", LEADING_WORD.sub("", text)))
        match = UNIT_TEXT.search(text)
        if match is None or not _is_unit_text(match[1], text[: match.start()]):
            match = UNIT_WORD.search(text)
            match = match if match and _is_unit(match, text) else None
        if match:
            text = trimmed(text[: match.start()])
        if text == before:
            break
    return text


def _is_unit_text(words: str, amount: str) -> bool:
    """Words in `\\text{}` after an amount; not a connective and not a scale."""
    amount = amount.strip()
    first = (re.findall(r"[a-zA-Z]+", words) or [""])[0].lower()
    complete = bool(re.search(r"[\d)}\]%°a-zA-Z]$", amount))
    return complete and first not in NO_UNITS


def _is_unit(match: re.Match[str], text: str) -> bool:
    """Is the run of letters after an amount a unit, and no variable, function or connective?"""
    first = match[1]
    amount = text[: match.start(1)]
    if first.lower() in NO_UNITS:
        return False
    if first in NAMES or re.search(r"[+*/^_=-]\s*$", amount.rstrip()):
        return bool(re.search(r"\d\s*/\s*$", amount)) and len(first) > 1
    spaced = amount[-1:].isspace() or "per" in match[0]
    if len(first) == 1:
        return spaced and first in ONE_LETTER_UNITS and bool(re.fullmatch(r"[-+\d.,\s]*", amount))
    if spaced:
        return len(first) > 2 or first.lower() in UNITS
    return first.lower() in UNITS and bool(re.search(r"[\d]$", amount))


# --- number bases -----------------------------------------------------------------------------

BASE = re.compile(
    r"\(?\s*([0-9A-Za-z][0-9A-Za-z,\s]*?)\s*\)?\s*"
    r"(?:_\s*\{?\s*\(?\s*(?:base\s*)?(\d+|[a-z]+)\s*\)?\s*\}?|\(?\s*(?:in\s+)?base[\s-]*(\d+|[a-z]+)\s*\)?)"
)


def based_number(text: str) -> tuple[str, int] | None:
    """(`digits`, base) of a number written with its base, else None."""
    match = BASE.fullmatch(TEXT_GROUP.sub(r" \1 ", text).strip())
    if match is None:
        return None
    name = match[2] or match[3]
    base = int(name) if name.isdigit() else BASES.get(name)
    digits = squeezed(match[1]).replace(",", "").upper().lstrip("0") or "0"
    if base is None or (base <= 10 and not match[1][0].isdigit()):
        return None  # x_1 is a variable
    return digits, base
