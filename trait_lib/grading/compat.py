r"""Scores as published numbers were scored: the rules of the common math-evaluation harness.

Numbers in papers on these nine sets mostly come from one public harness (ZubinGou,
math-evaluation-harness), which is more lenient than `answers.grade`: 50 for 0.5 is right, and so
is 3.1418 for 3.1416. This module follows its published behaviour in code of our own, for
comparison with such numbers and for nothing else. Paper: not stated which grader was used.

Where the answer is, first that applies:
  E1. between `final answer is $` and `$. I hope`;
  E2. after the last `boxed`: the braces that follow, open ones too, or the text up to a `$`;
  E3. after the last `he answer is`;
  E4. the last number `-?\d*\.?\d+`, commas taken out.
  For kind = choice instead: a second `answer is` or `choice is` means that the model went on, and
  only the text before the first empty line is read; then the first letter A to E that stands
  alone after the phrase, or without a phrase the last one, or else the text itself (E5).
  Of E1 to E4 the first line counts, without a colon in front or a point or slash behind (E6).

Both answers are rewritten (`plain`, rules P1 to P10), and are equal when
  M1. they are the same text in any case, or the reference is a letter A to E and E5 finds it;
  M2. both are numbers, and the prediction is within a ten-thousandth of the reference, of 100
      times it or of 1/100 of it;
  M3. they are the same text without brackets, when one kind of bracket stands around both;
  M4. both are tuples or intervals of the same length, and their elements are equal in order
      (the kind of bracket does not count);
  M5. both are matrices and equal cell by cell;
  M6. both are equations, and left minus right is the same or its negative; or one is, with at
      most two signs on its left, and its right side equals the other;
  M7. a computer algebra system finds them equal, or their values are within a ten-thousandth.

Two things are ours: the list of units that P3 drops is that of `units`, and M7 asks the same
math-verify process as `answers` does, so no power tower hangs it.
"""

from __future__ import annotations

import math
import re

from trait_lib.grading.extraction import Found
from trait_lib.grading.formulas import Verdict, algebra, readable
from trait_lib.grading.notation import NAMES
from trait_lib.grading.units import UNITS
from trait_lib.grading.words import plain_words, spoken_number

CLOSE = 1e-4  # relative
LONGEST = 2000  # characters; longer answers are equal only as text
NUMBER = re.compile(r"-?\d*\.?\d+")
LETTER = re.compile(r"\b([A-E])\b")
TRIGGER = re.compile(r"choice is|answer is")

# --- where the answer is ----------------------------------------------------------------------


def extract(text: str, kind: str | None = None) -> Found:
    """The answer in an output, by rules E1 to E6; None when there is none."""
    if kind == "choice":
        letter = choice(text)
        return Found(letter or None, "E5")
    rule, found = _located(text)
    found = found.strip().split("\n")[0].strip()
    found = found.removeprefix(":").removesuffix(".").removesuffix("/").strip()
    found = plain(found) if len(found) <= LONGEST else found
    return Found(found or None, rule if found else "nothing found")


def _located(text: str) -> tuple[str, str]:
    if "final answer is $" in text and "$. I hope" in text:
        return "E1", text.split("final answer is $", 1)[1].split("$. I hope", 1)[0]
    if "boxed" in text:
        return "E2", _boxed(text.rsplit("boxed", 1)[1])
    if "he answer is" in text:
        return "E3", text.rsplit("he answer is", 1)[1]
    numbers = NUMBER.findall(text.replace(",", ""))
    return "E4", numbers[-1] if numbers else ""


def _boxed(rest: str) -> str:
    """What is in the braces that `rest` begins with, to the end of the text when they stay open."""
    if not rest.startswith("{"):
        return rest.split("$")[0]
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

WORDS = sorted((u for u in UNITS - set(NAMES) if len(u) > 1), key=len, reverse=True)
UNIT = re.compile(rf"(^|[^\w\\])(?:{'|'.join(WORDS)})(?=$|\W)")
REWRITES: list[tuple[str, str]] = [
    (r"\n", ""),
    (r"\\!", ""),  # P1: thin spaces and line ends go
    (r"\\begin\{array\}\{.*?\}", r"\\begin{pmatrix}"),
    (r"\\end\{array\}", r"\\end{pmatrix}"),
    (r"bmatrix", "pmatrix"),  # P2: one kind of matrix, of fraction, of sign
    (r"\\[td]frac", r"\\frac"),
    (r"\\neq(?![a-z])", r"\\ne"),
    (r"\\leq(?![a-z])", r"\\le"),
    (r"\\geq(?![a-z])", r"\\ge"),
    (r"\\left|\\right", ""),
    (r"\\([{}])", r"\1"),
]
LATER: list[tuple[str, str]] = [
    (r"\^\{\\circ\}|\^\\circ", ""),  # P4: degrees, dollars, percent and text marks go
    (r"\\?\$|\\\(|\\\)|\\?%", ""),
    (r"\\text\{(.*?)\}|\\mbox\{(.*?)\}", r"\1\2"),
    (r"\\text|\\mathbf|x\\in|[\"']", ""),
    (r"(?<=[\s{])\.", "0."),  # P5: a point gets its zero
    (r"infinity", r"\\infty"),
    (r"(?<!\\)\binf\b", r"\\infty"),
    (r"\+\s*\\infty", r"\\infty"),
    (r"and", ""),  # P6: `1 and 2` is `1 2`
    (r"(\d+)\.0+([^\d]|$)", r"\1\2"),  # P7: 5.0 is 5
    (r"(\d+)\.([^\d]|$)", r"\1\2"),
    (r"^\.", "0."),
]
LAST: list[tuple[str, str]] = [
    (r"\\sqrt\s*(\w)", r"\\sqrt{\1}"),  # P9: arguments get braces, a/b is a fraction
    (r"\s+", ""),
    (r"\\frac(\d)(\d)(?!\d*\})", r"\\frac{\1}{\2}"),
    (r"\\frac(\d)\{", r"\\frac{\1}{"),
    (r"(\\frac\{[^{}]*\})(\d)", r"\1{\2}"),
    (r"^(-?\d+)/(-?\d+)$", r"\\frac{\1}{\2}"),
]


def plain(text: str) -> str:
    """An answer in the harness's spelling, rules P1 to P10."""
    text = _rewritten(text.strip().rstrip("."), REWRITES)
    without = re.sub(r"\\text\{.*?\}$", "", text).strip()
    text = without or text  # P3: a unit at the end goes, and units of the list anywhere
    shorter = UNIT.sub(r"\1", text)
    text = _rewritten(shorter if shorter.strip() else text, LATER).strip()
    spoken = spoken_number(plain_words(text)) if text[:1].isalpha() and len(text) < 100 else None
    text = str(spoken) if spoken is not None else text  # P8: numbers in words
    if "j" in text and "i" not in text:
        text = text.replace("j", "i")
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0].strip()) <= 2:
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
    if gold in tuple("ABCDE") and choice(answer) == gold:
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
    if not all(re.fullmatch(r"[(\[].+[)\]]", text) for text in (gold, answer)):
        return False
    return _each(gold[1:-1].split(","), answer[1:-1].split(","), least=2)


def _each(gold: list[str], answer: list[str], least: int = 1) -> bool:
    return len(gold) == len(answer) >= least and all(
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
    found = extract(text, kind) if isinstance(text, str) else Found(None, "no output")
    if found.answer is None:
        return found, (False, found.where)
    wanted = plain(gold) if len(gold) <= LONGEST else gold
    wanted = gold.strip().upper().strip("()") if kind == "choice" else wanted
    return found, equal(wanted, found.answer)
