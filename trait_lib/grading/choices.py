"""Which option does an output choose, by its letter or by its text?

A letter counts for the text of its option and a text for the letter of the one option that it
equals, because some test sets ask for a letter (MathQA, MMLU, SAT), others for the text (TabMWP),
and models answer both ways. Not stated in the paper; ours, with the rule that what fits two
options chooses none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trait_lib.grading.extraction import SHORT, choice_letter, extract
from trait_lib.grading.location import SENTENCE_END, Found, locate, sentence
from trait_lib.grading.notation import spelled, squeezed, trimmed
from trait_lib.grading.words import plain_words

LETTERS = "ABCDEFGHIJ"
MARKS = (  # a letter in a line of options
    re.compile(r"(?:^|(?<=[\s,;]))\(?([A-Ja-j])\s?\)\s*"),
    re.compile(r"(?:^|(?<=\s))([A-J])[.:]\s+"),
)
ENDS = 8  # sentences at whose end a chosen option's text may end
Same = Callable[[str, str], bool]


def parse(options: Any) -> dict[str, str]:
    """Options as {letter: text}, from a list of texts, a mapping, or one line of text.

    `["38", "27"]`, `{"A": "38", "B": "27"}`, `a ) 38 , b ) 27` and `A) 38 B) 27` are the same.

    Raises:
        ValueError: something else, letters out of order, or fewer than two options.
    """
    if isinstance(options, str) and options.lstrip().startswith("["):
        try:
            options = " ".join(map(str, ast.literal_eval(options.strip())))
        except (SyntaxError, ValueError, TypeError):
            raise ValueError(f"options must be a list, not {options!r}") from None
    if isinstance(options, str):
        found = next(filter(None, (_listed(options, marks) for marks in MARKS)), {})
    elif isinstance(options, Mapping):
        found = {str(letter).strip("() ").upper(): str(text) for letter, text in options.items()}
    elif isinstance(options, Sequence):
        found = dict(zip(LETTERS, map(str, options), strict=False))
    else:
        raise ValueError(f"options must be a list, a mapping or a line, not {options!r}")
    if len(found) < 2 or "".join(found) != LETTERS[: len(found)]:
        raise ValueError(f"options must be two to ten, lettered from A on, not {options!r}")
    return found


def _listed(line: str, marks: re.Pattern[str]) -> dict[str, str]:
    """The options of one line, whose letters `marks` finds; empty where they are not in order."""
    line = re.sub(r"\b([a-j]) \) \1 \)", r"\1 )", line)  # MathQA has `a ) a ) 4.8`
    parts = marks.split(line)
    letters, texts = "".join(parts[1::2]).upper(), parts[2::2]
    if not LETTERS.startswith(letters):
        return {}
    return {
        one: text.strip().rstrip(",;").strip() for one, text in zip(letters, texts, strict=True)
    }


def letter_of(gold: str, options: Mapping[str, str], kind: str | None) -> str:
    """The letter of the right answer, given as a letter or as an option's text.

    For kind = choice it is read as a letter first, else as a text first.

    Raises:
        ValueError: it names no option.
    """
    letter = choice_letter(gold) if len(gold.strip()) <= 3 else None
    text = _by_text([gold], options)
    order = (letter, text) if kind == "choice" else (text, letter)
    for found in order:
        if found in options:
            return str(found)
    if kind != "choice" and text:  # two options with the very text that is right
        return next(one for one, own in options.items() if own == gold)
    raise ValueError(f"the right answer {gold!r} names none of the options {dict(options)!r}")


def chosen(text: str, options: Mapping[str, str], kind: str | None, same: Same) -> Found:
    """The letter of the option that an output chooses, or None with the reason.

    In this order: the output states an option's text word for word; it names a letter; it states
    something equal in value to one option (`0.5` for `1/2`). Where the question asks for a letter,
    a capital letter alone is one, even when it is also the text of an option.

    Args:
        text: the output.
        options: {letter: text}.
        kind: of the right answer; for `choice` letters go before texts of one letter.
        same: does an option's text equal an extracted answer in value?
    """
    region = locate(text, "choice", whole=True)
    letter = extract(text, "choice").answer
    if region.answer is None:
        return region
    if region.where != "whole text" or len(region.answer) <= SHORT:
        worded = {
            one: own
            for one, own in options.items()
            if kind != "choice" or own.strip() not in options
        }
        by_text = _by_text(_statements(region.answer), worded)
        if by_text:
            return _told(by_text, region.where, "text of an option")
    if letter in options:
        return Found(letter, f"{region.where}, letter")
    answer = _own_answer(text)
    equal = [one for one, own in options.items() if answer and same(own, answer)]
    if len(equal) == 1:
        return Found(equal[0], f"{region.where}, equal to an option")
    return Found(None, "equal to several options" if equal else "no option chosen")


def _told(letters: str, where: str, how: str) -> Found:
    if len(letters) > 1:
        return Found(None, f"{where}: the text of several options")
    return Found(letters, f"{where}, {how}")


def _own_answer(text: str) -> str | None:
    """What an output states, when it states it and does not only end with a number."""
    found = extract(text, "math")
    return None if found.where == "last number" else found.answer


def _statements(region: str) -> list[str]:
    """The stretches at the beginning of a region that may be an option's text, longest first."""
    region = region[:20_000]
    ends = [match.start() for match in SENTENCE_END.finditer(region)][:ENDS]
    pieces = [region, sentence(region), *(region[:end] for end in ends)]
    return sorted({piece.strip() for piece in pieces if piece.strip()}, key=len, reverse=True)


def _by_text(statements: Sequence[str], options: Mapping[str, str]) -> str:
    """The letter of the option whose text is a statement; several letters where texts are alike."""
    for statement in statements:
        for form in (str.strip, _written, _folded, _words):
            wanted = form(statement)
            fits = "".join(one for one, own in options.items() if wanted and form(own) == wanted)
            if fits:
                return fits
    return ""


def _written(text: str) -> str:
    """A text without white space, markup and final punctuation; its case counts."""
    return squeezed(trimmed(spelled(re.sub(r"\*\*|__|`", "", text)))).replace(" ", "")


def _folded(text: str) -> str:
    return _written(text).casefold()


def _words(text: str) -> str:
    """Words alone, for texts that are nothing else."""
    return "" if re.search(r"[\d\\^_=<>+*/|%°-]", text) else " ".join(plain_words(text))
