r"""Scores as published numbers were scored: the rules of the common math-evaluation harness.

Numbers in papers on these nine sets mostly come from one public harness (ZubinGou,
math-evaluation-harness), which is more lenient than `answers.grade`: 50 for 0.5 is right, and so
is 3.1418 for 3.1416. This module follows its published behaviour in code of our own, for
comparison with such numbers and for nothing else. Paper: not stated which grader was used.

Where the answer is, first that applies:
  E1. between `final answer is $` and `$. I hope`;
  E2. after the last `boxed`: the braces that follow, open ones too, or the text up to a `$`;
  E3. after the last `he answer is`, else after the last `final answer is`;
  E4. the last number `-?\d*\.?\d+`, commas taken out.
  Lines are joined, a colon in front and a point or slash behind go (E6). When the right answer is
  a letter A to E and this gives none of them, the whole output is cleaned (E5): a second `answer
  is` or `choice is` means that the model went on, and only the text before the first empty line is
  read; then the first letter that stands alone after the phrase, or without a phrase the last one.

Both answers are rewritten (`plain`, rules P1 to P10), and are equal when
  M1. they are the same text in any case, or the reference is a letter A to E and the last letter
      that stands alone in the prediction is it;
  M2. both are numbers, and the prediction is within a ten-thousandth of the reference, of 100
      times it or of 1/100 of it;
  M3. they are the same text without brackets, when one kind of bracket stands around both;
  M4. both are tuples or intervals of the same length, and their elements are equal in order
      (the kind of bracket does not count);
  M5. both are matrices and equal cell by cell;
  M6. both are equations, and left minus right is the same or its negative; or one is, with at
      most two signs on its left, and its right side equals the other;
  M7. a computer algebra system finds them equal, or their values are within a ten-thousandth.

It follows the harness's parser and grader at commit dcfa46a, and its later way with choices (E5,
M1). Ours are M7, which asks the process of `formulas`, so that no power tower hangs it, and the
reading of number words.
"""

from __future__ import annotations

import math
import re

from trait_lib.grading.formulas import Verdict, algebra, readable
from trait_lib.grading.location import Found
from trait_lib.grading.words import SCALES, SMALL, TENS, plain_words, spoken_number

CLOSE = 1e-4  # relative
LONGEST = 2000  # characters; longer answers are equal only as text
NUMBER = re.compile(r"-?\d*\.?\d+")
LETTER = re.compile(r"\b([A-E])\b")
CHOICES = tuple("ABCDE")
TRIGGER = re.compile(r"choice is|answer is")

# --- where the answer is ----------------------------------------------------------------------


def extract(text: str, gold: str) -> Found:
    """The answer in an output, by rules E1 to E6; None when there is none."""
    rule, found = _located(text)
    found = re.sub(r"\n\s*", "", found).removeprefix(":").removesuffix(".").removesuffix("/")
    found = plain(found) if len(found) <= LONGEST else found
    if gold in CHOICES and found not in CHOICES:
        return Found(choice(text) or None, "E5")
    return Found(found or None, rule if found else "nothing found")


def _located(text: str) -> tuple[str, str]:
    if "final answer is $" in text and "$. I hope" in text:
        return "E1", text.split("final answer is $", 1)[1].split("$. I hope", 1)[0].strip()
    if "boxed" in text:
        return "E2", _boxed(text.rsplit("boxed", 1)[1])
    for phrase in ("he answer is", "final answer is"):
        if phrase in text:
            return "E3", text.rsplit(phrase, 1)[1].strip()
    numbers = NUMBER.findall(text.replace(",", ""))
    return "E4", numbers[-1] if numbers else ""


def _boxed(rest: str) -> str:
    """What is in the braces that `rest` begins with, to the end of the text when they stay open."""
    if not rest.startswith("{"):
        return rest.split("$")[0].strip()
    depth = 0
    for position, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:position]
    return rest[1:]


def choice(text: str) -> str:
    """The letter that a text chooses, by rule E5; the text itself when it holds none."""
    text = text.strip("\n")
    if any(text.count(phrase) > 1 for phrase in ("choice is", "answer is")):
        text = text.split("\n\n")[0]
    parts = TRIGGER.split(text)
    stated = parts[-1].strip("\n").rstrip("./").strip(" ").lstrip(":")
    letters = LETTER.findall(stated.upper())
    if not letters:
        return stated.strip().strip(".")
    return letters[0 if len(parts) > 1 else -1]


# --- one spelling -----------------------------------------------------------------------------

UNITS = (  # what P3 drops where it stands alone, in the singular
    "a a.m ab acre am apple are b. bc by c c. cc cent children+ticket cm cm+2 coin cu+.+m cu+cm "
    "cube cubic d d. day decrease deg degree digit dm e. east edge excess f. feet ft g g. gain gal "
    "gallon gm h h. hectare hour hr inch inches increase kg km kmh kmph l lb less liter litre loss "
    "lt m m+east m+square man mark meal men meter metre mile min minute minw mm month monkey more "
    "mph mt mtr multiple no+change noon number o ohm p+.+m per percent pi+sq+m pie pm point pound "
    "prime profit profit+of+rs pure q+. ratio rd rise rounds rs rs+. rupee s s+. sec second "
    "soldier sq sq+.+m sq+inch sq+m square st student sue surface t th tile toy unit way west "
    "woman women yard yr year"
).split()
UNIT = re.compile(
    r"(^|\W)(?:" + "|".join(
        re.escape(word.replace("+", " ")) for word in sorted(UNITS, key=len, reverse=True)
    ) + r")s?($|\W)"
)  # fmt: skip
REWRITES: list[tuple[str, str]] = [
    (r"\n", ""),
    (r"\\!", ""),  # P1: thin spaces and line ends go
    (r"\\begin\{array\}\{.*?\}", r"\\begin{pmatrix}"),
    (r"\\end\{array\}", r"\\end{pmatrix}"),
    (r"bmatrix", "pmatrix"),  # P2: one kind of matrix, of fraction, of sign
    (r"[td]frac", "frac"),
    (r"\\neq", r"\\ne"),
    (r"\\leq", r"\\le"),
    (r"\\geq", r"\\ge"),
    (r"\\left|\\right", ""),
    (r"\\([{}])", r"\1"),
    (r"(cm|inches)\}\^2", r"\1}"),
]
BEFORE_WORDS: list[tuple[str, str]] = [
    (r"\^\{\\circ\}|\^\\circ", ""),  # P4: degrees, dollars, percent and text marks go
    (r"\\?\$|\\\(|\\\)", ""),
]
LATER: list[tuple[str, str]] = [
    (r"\\text\{(.*?)\}", r"\1"),
    (r"[xyz](?:=|\\in|\\to)", ""),
    (r"\\emptyset", "{}"),
    (r"\(-\\infty,\\infty\)", r"\\mathbb{R}"),
    (r"\\?%", ""),
    (r"(?<=[\s{])\.", "0."),  # P5: a point gets its zero
    (r"infinity", r"\\infty"),
    (r"^(?!.*\\infty)(.*?)inf", r"\1\\infty"),
    (r"and|\\mathbf|\\mbox\{.*?\}", ""),  # P6: `1 and 2` is `1 2`
    (r"^([^i]*)j([^i]*)$", r"\1i\2"),
    (r"(\d+)\.0*([^\d])", r"\1\2"),  # P7: 5.0 is 5
    (r"(\d+)\.0*$", r"\1"),
    (r"^\.", "0."),
]
LAST: list[tuple[str, str]] = [
    (r"\\sqrt(\w+)", r"\\sqrt{\1}"),  # P9: arguments get braces, a/b is a fraction
    (r" ", ""),
    (r"\\frac([^{])([^{])", r"\\frac{\1}{\2}"),
    (r"\\frac([^{])\{", r"\\frac{\1}{"),
    (r"^(-?\d+|[^/]*sqrt[^/]*)/(-?\d+|[^/]*sqrt[^/]*)$", r"\\frac{\1}{\2}"),
]
NUMBER_WORDS = {*SMALL, *TENS, *SCALES, "and"}


def plain(text: str) -> str:
    """An answer in the harness's spelling, rules P1 to P10."""
    text = _rewritten(text.strip(), REWRITES).rstrip(".")
    text = re.sub(r"\\text\{.*?\}$", "", text).strip() or text  # P3: a unit at the end goes,
    for _ in range(4):  # and units of the list anywhere
        text = UNIT.sub(r"\1\2", text) or text
    text = _rewritten(text, BEFORE_WORDS)
    words = [word for word in plain_words(text) if word in NUMBER_WORDS]
    spoken = spoken_number(words) if words and not re.search(r"[\d\\]", text) else None
    text = _rewritten(text if spoken is None else str(spoken), LATER)  # P8: numbers in words
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]  # P10: `x = 5` is 5
    return _rewritten(text, LAST)


def _rewritten(text: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


# --- equality ---------------------------------------------------------------------------------


def number(text: str) -> float | None:
    """A plain number, or a percentage as its hundredth; None for anything else."""
    text = text.replace(",", "")
    share = text.endswith("%")
    try:
        value = float(text.removesuffix("%").removesuffix("\\"))
    except ValueError:
        return None
    return value / 100 if share else value


def close(prediction: float, reference: float) -> bool:
    """Within a ten-thousandth of the larger."""
    return math.isclose(prediction, reference, rel_tol=CLOSE)


def equal(gold: str, answer: str) -> Verdict:
    """Are two answers, both as `plain` writes them, the same by rules M1 to M7?"""
    if answer.strip().lower() == gold.strip().lower():
        return True, "M1"
    if gold in CHOICES and LETTER.findall(answer.upper())[-1:] == [gold]:
        return True, "M1"
    values = number(answer), number(gold)
    if None not in values:
        near = any(close(values[0], item) for item in (values[1] / 100, values[1], values[1] * 100))
        return near, "M2"
    if not answer or max(len(gold), len(answer)) > LONGEST:
        return False, "no rule"
    for name, rule in (("M3", _bracketed), ("M4", _tuples), ("M5", _matrices), ("M6", _equations)):
        if rule(gold, answer):
            return True, name
    return symbolic(gold, answer), "M7"


def _bracketed(gold: str, answer: str) -> bool:
    strip = (answer[0], answer[-1]) == ("[", "]") and not gold.startswith("(")
    strip |= (answer[0], answer[-1]) == ("(", ")") and not gold.startswith("[")
    if strip:
        gold, answer = gold.strip("[]()"), answer.strip("[]()")
    bare = [re.sub(r"[{}()]", "", text).lower() for text in (gold, answer)]
    return bare[0] == bare[1] != ""


def _tuples(gold: str, answer: str) -> bool:
    if not all(re.match(r"[(\[].+[)\]]", text) for text in (gold, answer)):
        return False
    return _each(gold[1:-1].split(","), answer[1:-1].split(","))


def _each(gold: list[str], answer: list[str]) -> bool:
    return len(gold) == len(answer) and all(
        equal(one, other)[0] for one, other in zip(gold, answer, strict=True)
    )


def _matrices(gold: str, answer: str) -> bool:
    cells: list[list[str]] = []
    for text in (gold, answer):
        found = re.fullmatch(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", text)
        if found is None:
            return False
        rows = [row for row in found[1].split("\\\\") if row]
        cells.append([f"{n}&{cell}" for n, row in enumerate(rows) for cell in row.split("&")])
    places = [[cell.split("&")[0] for cell in one] for one in cells]
    values = [[cell.split("&")[1] for cell in one] for one in cells]
    return places[0] == places[1] and _each(values[0], values[1])


def _equations(gold: str, answer: str) -> bool:
    sides = [text.split("=") for text in (gold, answer)]
    if [len(one) for one in sides] == [2, 2]:
        first, second = (f"{left} - ({right})" for left, right in sides)
        return symbolic(first, second) or symbolic(f"-({first})", second)
    if len(sides[1]) == 2 and len(sides[1][0].strip()) <= 2 and len(sides[0]) == 1:
        return equal(gold, sides[1][1])[0]
    if len(sides[0]) == 2 and len(sides[0][0].strip()) <= 2 and len(sides[1]) == 1:
        return equal(sides[0][1], answer)[0]
    return False


def symbolic(gold: str, answer: str) -> bool:
    """Rule M7: equal to a computer algebra system, or in value."""
    first, second = readable(gold), readable(answer)
    if None in (first, second):
        return algebra().answer("verify", gold, answer) == "equal"
    if first.huge or second.huge:
        return False
    values = [one.value if one.exact is None else one.exact for one in (first, second)]
    if None not in values:
        return abs(values[0] - values[1]) <= CLOSE * max(map(abs, values))
    return algebra().answer("same", gold, answer) == "equal"


def verdict(gold: str, text: str | None, kind: str | None) -> tuple[Found, Verdict]:
    """What an output says and whether it is right; `gold` is rewritten as the answer is."""
    if kind == "choice" and gold not in CHOICES:
        gold = choice(gold)
    wanted = gold if gold in CHOICES or len(gold) > LONGEST else plain(gold)
    found = extract(text, wanted) if isinstance(text, str) else Found(None, "no output")
    if found.answer is None:
        return found, (False, found.where)
    return found, equal(wanted, found.answer)
