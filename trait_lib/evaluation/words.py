"""Answers in words: text, and numbers that are spelled out.

Not stated in the paper; ours: two text answers are equal when their words are, without regard to
case, LaTeX commands, punctuation and a leading article.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from trait_lib.evaluation import expressions
from trait_lib.evaluation.notation import squeezed

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}

TEXT_GROUP = re.compile(r"\\text\s*\{([^{}]*)\}")


def plain_words(text: str) -> list[str]:
    """The words and signs of a text answer, in lower case, without LaTeX and articles."""
    text = TEXT_GROUP.sub(r" \1 ", text)
    text = re.sub(r"\\(?:left|right)|[$\\{}()\[\]\"'`*_~]", " ", text).lower()
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", text)
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
    return any(len(word) > 2 and word.lower() not in expressions.NAMES for word in words) and not (
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
    return any(word.lower() not in expressions.NAMES for word in words) and not brackets


def same_words(gold: str, answer: str) -> tuple[bool, str]:
    """Are the words the same, or the numbers that they spell?"""
    first, second = plain_words(gold), plain_words(answer)
    if first == second:
        return bool(first), "same words" if first else "no words"
    numbers = [spoken_number(words) for words in (first, second)]
    if None not in numbers and numbers[0] == numbers[1]:
        return True, "same number"
    return False, "different words"


def spoken_number(words: Sequence[str]) -> Fraction | None:
    """`["twenty", "five"]`, `["25"]` or `["2.5", "million"]` as a number, or None."""
    total, part = Fraction(0), Fraction(0)
    for word in words:
        if word in SMALL:
            part += SMALL.index(word)
        elif word in TENS:
            part += 10 * (TENS.index(word) + 2)
        elif word in SCALES:
            part = (part or 1) * SCALES[word]
            if word != "hundred":
                total, part = total + part, Fraction(0)
        elif (plain := expressions.decimals(word)) and not part:
            part = plain[0]
        elif word != "and" or not (total or part):
            return None
    return total + part if words else None
