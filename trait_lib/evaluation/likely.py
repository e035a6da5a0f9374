"""Items with power for small models: reference solutions and next sentences, by likelihood.

Few-shot accuracy of a model of 135M parameters is a few percent, so hundreds of problems tell
little. What it finds likely tells more. From each test problem with a worked solution:

- *result of the next calculation*: the solution is given up to a result, which must be likelier
  than three wrong numbers with as many digits, as round, and none of them in the text before, so
  that nothing can be copied. Chance is 0.25.
- *bits per byte of the solution*, of its results alone, and of the solution behind another
  problem: style helps the last as much as the first, knowledge does not.

From held-out general text, *which sentence is next*: the true one, or three later ones of the same
document of like length, as whole sentences. Paper: not stated; ours.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trait_lib import form

Row = Mapping[str, Any]
WRONG = 3
CHANCE = 1 / (WRONG + 1)
TOO_HIGH = 0.95
GATE = ("name", "n", "base", "low", "passes")
NUMBER = re.compile(r"(?<![\d.,])\d[\d,]*(?:\.\d+)?(?![\d])")
COMPUTED = re.compile(r"(?:=|\bis|\bare|\bequals|\bmakes)\s*\$?$")
GOES_ON = re.compile(r"\s*[-+*/x×÷=%]\s*[\d$(]|\s*(?:times|plus|minus|divided)\b")
SENTENCE = re.compile(r"[^.!?\n]{20,300}[.!?](?=\s|$)")
PER_DOCUMENT, LIKE, FAR = 3, 1.3, 2  # items of a document; longest over shortest; sentences apart


def items(
    problems: Sequence[Row], texts: Sequence[str], seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Items from all problems, and from all texts: see `solutions` and `sentences`."""
    return solutions(problems, seed), sentences(texts, seed)


def solutions(problems: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    """One item a problem that has a worked solution; see `likelihood.solutions`.

    `prompt` and `solution` are texts, `results` and `asked` characters of the solution (of all
    computed numbers, and of the one to choose, or none), `wrong` the three wrong numbers, and
    `other` the prompt of another problem of the same task.
    """
    solved = [row for row in problems if row.get("solution")]
    tasks: dict[str, list[Row]] = {}
    for row in solved:
        tasks.setdefault(row["task"], []).append(row)
    made = []
    for group in tasks.values():
        for number, row in enumerate(group):
            other = group[(number + max(1, len(group) // 2)) % len(group)]
            if other is not row:
                made.append(
                    _solution(row, form.prompt(other), random.Random(f"{seed}|{row['id']}"))
                )
    return made


def _solution(row: Row, other: str, draw: random.Random) -> dict[str, Any]:
    prompt, solution = form.prompt(row), form.answer(row)
    results = [match.span() for match in _computed(solution)]
    items = [(span, _wrong(prompt, solution, span, draw)) for span in results]
    usable = [(span, wrong) for span, wrong in items if wrong]
    asked, wrong = draw.choice(usable) if usable else ((), [])
    made = {"id": row["id"], "prompt": prompt, "solution": solution, "other": other}
    return {**made, "results": results, "asked": asked, "wrong": wrong}


def _computed(solution: str) -> Iterator[re.Match[str]]:
    """The numbers that a solution computes: behind `=` or `is`, and not the start of a sum."""
    for match in NUMBER.finditer(solution):
        before, after = solution[: match.start()], solution[match.end() :]
        if COMPUTED.search(before) and not GOES_ON.match(after):
            yield match


def _wrong(prompt: str, solution: str, span: tuple[int, int], draw: random.Random) -> list[str]:
    """Three numbers that differ in one digit, its closing zeros aside; [] where that is not fair.

    Neither they nor the right one may stand in what comes before.
    """
    right = solution[slice(*span)]
    before = set(NUMBER.findall(prompt + solution[: span[0]]))
    core = len(right.rstrip("0.,")) if "." not in right else len(right)
    places = [n for n in range(core) if right[n].isdigit()]
    others = [
        right[:n] + digit + right[n + 1 :]
        for n in places
        for digit in "0123456789"
        if digit != right[n] and not (digit == "0" and n in (0, core - 1))
    ]
    fair = [other for other in others if other not in before]
    if right in before or len(fair) < WRONG:
        return []
    return draw.sample(fair, WRONG)


def sentences(texts: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Items `group` (the document), `context` and four `choices`, of which the first is true."""
    made = []
    for number, text in enumerate(texts):
        found = list(SENTENCE.finditer(text))
        items = [item for place in range(2, len(found)) if (item := _next(text, found, place))]
        draw = random.Random(f"{seed}|{number}")
        for item in draw.sample(items, min(PER_DOCUMENT, len(items))):
            made.append({"group": number, **item})
    return made


def _next(text: str, found: Sequence[re.Match[str]], place: int) -> dict[str, Any] | None:
    """The item that asks for the sentence at `place`; None without three others of like length."""
    start, end = found[place].span()
    true = text[start:end].strip()
    context = text[max(0, start - 1200) : start].strip()
    others = [one[0].strip() for one in found[place + FAR :]]
    like = [one for one in others if one != true and _ratio(len(one), len(true)) <= LIKE]
    if len(like) < WRONG or not context:
        return None
    return {"context": context, "choices": [" " + one for one in (true, *like[:WRONG])]}


def _ratio(one: int, other: int) -> float:
    return max(one, other) / max(1, min(one, other))


def gates(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Whether each choice among four can tell something: the base above chance, below 0.95.

    `rows` are those of `comparison.table`. A row that does not pass is not to be compared.
    """
    return [
        {
            "name": row["name"],
            "n": row["n"],
            "base": row["base"],
            "low": row["base_low"],
            "passes": bool(row["base_low"] > CHANCE and row["base"] < TOO_HIGH),
        }
        for row in rows
        if row["group"] == "choice"
    ]


def style_only(control: Row) -> bool:
    """Whether a control that learnt the form alone gains on a row of its comparison: then it fails.

    A choice gains upwards, bits per byte downwards.
    """
    return control["low"] > 0 if control["group"] == "choice" else control["high"] < 0
