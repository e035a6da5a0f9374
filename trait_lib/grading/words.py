"""Answers in words: text, numbers that are spelled out, units of measure and number bases.

Not stated in the paper; ours: two text answers are equal when their words are, without regard to
case, LaTeX commands, punctuation and a leading article. A unit after an amount does
not change it, while the digits of a number mean nothing without their base.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from trait_lib.grading.notation import NAMES, squeezed, trimmed

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {
    "dozen": 12,
    "dozens": 12,
    "score": 20,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
PARTS = {
    name: number
    for number, names in (
        (2, "half halves"),
        (3, "third thirds"),
        (4, "quarter quarters fourth fourths"),
        (5, "fifth fifths"),
        (6, "sixth sixths"),
        (7, "seventh sevenths"),
        (8, "eighth eighths"),
        (9, "ninth ninths"),
        (10, "tenth tenths"),
    )
    for name in names.split()
}

DIGITS = 4000  # below Python's own limit for int(str)
DECIMAL = re.compile(r"([+-]?)\s*(\d{1,3}(?:,\d{3})+|\d+|)(?:\.(\d*))?")
TEXT_GROUP = re.compile(r"\\text\s*\{([^{}]*)\}")


def decimals(text: str) -> tuple[Fraction, int, int] | None:
    """The (value, digits after the point, significant digits) of a plain decimal, else None."""
    match = DECIMAL.fullmatch(text.strip()) if len(text) <= DIGITS else None
    if match is None or not (match[2] or match[3]):
        return None
    whole, part = match[2].replace(",", ""), match[3] or ""
    amount = Fraction(f"{whole or 0}.{part or 0}")
    significant = len((whole + part).lstrip("0"))
    return (-amount if match[1] == "-" else amount), len(part), significant


def plain_words(text: str) -> list[str]:
    """The words and signs of a text answer, in lower case, without LaTeX and articles."""
    text = TEXT_GROUP.sub(r" \1 ", text)
    text = re.sub(r"\\(?:left|right)|[$\\{}()\[\]\"'`*_~]", " ", text).lower()
    text = re.sub(r"(?<=[\d\s])([ap])\.?\s?m\b\.?", r" \1m", text)
    text = re.sub(r"(?<=[^\W\d])-(?=[^\W\d])", " ", text)  # a hyphen parts words, a minus stays
    words = re.findall(r"[^\W_]+(?:[.:/][^\W_]+)*|[^\w\s.,;:!?]", text)
    return words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words


def is_text(gold: str) -> bool:
    r"""Is the answer made of words? `\text{...}` alone, or letters that form a word."""
    bare = TEXT_GROUP.sub(lambda m: " " + m[1] + " ", gold).strip(" ()")
    if re.search(r"[\d\\^=<>+*/|%°]", bare) or not re.search(r"[a-zA-Z]", bare):
        return False
    if "\\text" in gold and squeezed(TEXT_GROUP.sub("", gold)).strip("()") == "":
        return True
    words = re.findall(r"[a-zA-Z]+", bare)
    return any(len(word) > 2 and word.lower() not in NAMES for word in words) and not (
        re.search(r"[{}_\[\]]", bare)
    )


def leading_number(words: Sequence[str]) -> str | None:
    """The number words with which `five apples` begins; None where another number follows."""
    length = next((n for n in range(len(words), 0, -1) if spoken_number(words[:n]) is not None), 0)
    if any(word in (*SMALL, *TENS, "or") for word in words[length:]):
        return None
    return " ".join(words[:length]) or None


def has_words(gold: str) -> bool:
    r"""Does an answer without brackets hold a word: `June 20`, `5 \text{ hours } 9 \text{ min}`?"""
    bare = re.sub(r"\\[a-zA-Z]+", " ", gold)
    words = re.findall(r"[a-zA-Z]{3,}", bare)
    brackets = re.search(r"[\[\]()^_]|\\\{|\\frac|\\sqrt", gold)
    return any(word.lower() not in NAMES for word in words) and not brackets


def same_words(gold: str, answer: str) -> tuple[bool, str]:
    """Are the words the same, or the numbers that they spell?"""
    first, second = plain_words(gold), plain_words(answer)
    if first == second:
        return bool(first), "same words" if first else "no words"
    numbers = [spoken_number(words) for words in (first, second)]
    if None not in numbers and numbers[0] == numbers[1]:
        return True, "same number"
    if _in_digits(first) == _in_digits(second):
        return True, "same words and numbers"
    lists = [
        sorted(map(plain_words, re.split(r"[,;&]|\band\b", TEXT_GROUP.sub(r" \1 ", text))))
        for text in (gold, answer)
    ]
    if len(lists[0]) > 1 and lists[0] == lists[1] and all(lists[0]):
        return True, "same words, in another order"
    return False, "different words"


def _in_digits(words: Sequence[str]) -> list[str]:
    """`three hours` as `3 hours`."""
    return [str(SMALL.index(word)) if word in SMALL else word for word in words]


def spoken_number(words: Sequence[str]) -> Fraction | None:
    """The number that words spell, or None.

    `["twenty", "five"]` is 25, `["2.5", "million"]` 2500000, `["minus", "two", "and", "a", "half"]`
    -5/2; `["five", "six"]` is no number.
    """
    words = list(words)
    if words and words[0] in ("minus", "negative"):
        positive = spoken_number(words[1:])
        return None if positive is None or words[1] in ("minus", "negative") else -positive
    if words and words[-1] in PARTS:
        return _with_part(words)
    if len(words) > 2 and words[-1] in SCALES and words[-2] == "half":
        several = _with_part(words[:-1])  # `two and a half million`
        return None if several is None else several * SCALES[words[-1]]
    total, part, before = Fraction(0), Fraction(0), ""
    for number, word in enumerate(words):
        follows = words[number + 1] if number + 1 < len(words) else ""
        if word in SMALL and (
            before in ("", "scale") or (before == "tens" and 0 < SMALL.index(word) < 10)
        ):
            part, before = part + SMALL.index(word), "small"
        elif word in TENS and before in ("", "scale"):
            part, before = part + 10 * (TENS.index(word) + 2), "tens"
        elif word in SCALES:
            part, before = (part or 1) * SCALES[word], "scale"
            if word != "hundred":
                total, part = total + part, Fraction(0)
        elif not before and (plain := decimals(word)):
            part, before = plain[0], "digits"
        elif not (word == "a" and not before and follows in SCALES) and not (
            word == "and" and before == "scale" and follows
        ):
            return None
    return total + part if before else None


def _with_part(words: Sequence[str]) -> Fraction | None:
    """`half`, `three quarters`, `two and a half`: words that end with the name of a part."""
    *front, name = words
    if not front:
        return Fraction(1, 2) if name == "half" else None  # `third` alone is an ordinal
    joint = len(front) - 1 - front[::-1].index("and") if "and" in front else -1
    whole = spoken_number(front[:joint]) if joint >= 0 else Fraction(0)
    count = (
        Fraction(1) if front[joint + 1 :] in (["a"], ["an"]) else spoken_number(front[joint + 1 :])
    )
    if whole is None or count is None or count.denominator != 1:
        return None
    if (count == 1) == (name.endswith("s") or name == "halves"):
        return None  # `one thirds`, and `twenty third`, which is an ordinal
    return whole + count / PARTS[name]


# --- units of measure ------------------------------------------------------------------------

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


# --- dates, times of day, ranges --------------------------------------------------------------

MOMENTS = {  # what is no number and no ratio, in its parts
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "time": r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*([ap])?\.?\s*(?:m\b)?\.?",
        "date": r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})",
        "day": r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{2}|\d{4})",
        "range": r"(\d+(?:\.\d+)?)\s*(?:--?|\bto\b)\s*(\d+(?:\.\d+)?)",
    }.items()
}


def moment(text: str) -> tuple[str, ...] | None:
    """(what it is, its parts) of a time of day, a date or a range; else None."""
    text = without_units(TEXT_GROUP.sub(r" \1 ", text)).strip()
    for name, pattern in MOMENTS.items():
        if match := pattern.fullmatch(text):
            parts = [(part or "").lower().lstrip("0") for part in match.groups()]
            if name == "range" and float(match[1]) >= float(match[2]):
                return None
            return (name, *parts)
    return None
