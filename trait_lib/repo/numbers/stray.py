"""Which numbers of a text are bound to no file and quoted from nowhere; the rule is below.

A number needs a key (`marks`) unless it is

- *quoted*: its sentence, list item or table row carries the paper's mark, (P) or (S);
- *explained*: its paragraph, list item or table carries `<!-- numbers: REASON -->`, with a reason
  of `REASONS`; never a result of ours;
- *code*: in code, formulas, links, alternative texts and comments; exercises with their solutions,
  which a test runs;
- *a name*: years and dates, versions, numbers of notebooks, stages, claims, seeds, steps and
  sections, numbers in names (Mistral-7B), list numbers; 95 % of an interval; 0 and 1 as ends.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from trait_lib.repo.numbers.marks import KEY, MADE

REASONS = {
    "definition": "part of how a thing is defined, here or by the work that is named",
    "setting": "the value of a parameter or constant, which the text explains",
    "cited": "from another text than the paper, which is named",
    "worked": "worked out in the text itself",
    "estimate": "planned or assumed, and said to be so",
    "limit": "an upper bound that is kept to, no measurement",
}
EXPLAINED = re.compile(r"<!-- numbers: (\w+) -->")
QUOTED = re.compile(r"\((?:P|S)\)|\|\s*(?:P|S)\s*\|")
NOT_PROSE = (
    MADE, KEY,
    re.compile(r"(?ms)^```.*?^```"), re.compile(r"(?ms)^#+ Exercises.*?(?=^## |\Z)"),
    re.compile(r"(?s)\$\$.*?\$\$"), re.compile(r"`[^`]*`"),
    re.compile(r"(?s)(?<!\\)\$[^$]*?[^$\\]\$"),
    re.compile(r"!\[[^\]]*\]\([^)]*\)"), re.compile(r"\]\([^)]*\)"), re.compile(r"https?://\S+"),
)  # fmt: skip
HIDDEN = re.compile(r"(?s)<!--.*?-->|</?[a-z][^>]*>")
NAMED = (
    r"stages?|notebooks?|claims?|seeds?|steps?|sections?|chapters?|exercises?|chains?|levels?|arXiv"
    r"|Python|make|bash|Debian|BY|version|EMNLP|ZeRO|ranks?|paragraphs?|questions?|Apache"
)
NUMBER = r"\d[\d,]*(?:\.\d+)*"
NAMES = (
    re.compile(r"\b\d{4}-\d\d(?:-\d\d)?\b"),
    re.compile(r"\b(?:19|20)\d\d\b"), re.compile(r"\b\d+(?:\.\d+){2,}\b"),
    re.compile(r"\b0\d(?=\b|_)"),
    re.compile(rf"\b(?i:{NAMED})[ -]{NUMBER}(?:(?:, | and | to | or |,| – ){NUMBER})*"),
    re.compile(r"\b95 ?% (?=interval|confidence)"), re.compile(r"(?m)^#+ \d+\b"),
    re.compile(r"(?<![\w.,/-])[01](?![\w.,]*\d| ?%)"),
)  # fmt: skip
FOUND = re.compile(rf"(?<![\w.-])(?:[-+±] ?)?{NUMBER}(?:[ ]?%|[kMBT]\b)?")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0]) if "\n" in match[0] else " # "


def units(text: str) -> list[str]:
    """Paragraphs, list items and tables, each with the marks that stand in it."""
    parts = re.split(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*]|\d+\.) )", text)
    return [part for part in parts if part.strip()]


def sentences(unit: str) -> list[str]:
    """The rows of a table, or the sentences of other text."""
    if unit.lstrip().startswith("|"):
        return unit.splitlines()
    return re.split(r"(?<=[.!?:;])\s+", re.sub(r"^\s*(?:[-*]|\d+[.)])\s", "", unit))


def stray(text: str) -> list[str]:
    """The numbers of a Markdown text that are neither bound nor quoted, each with its sentence.

    Raises:
        ValueError: a reason that there is not.
    """
    for pattern in NOT_PROSE:
        text = pattern.sub(_blank, text)
    found = []
    for unit in units(text):
        if reasons := EXPLAINED.findall(unit):
            if wrong := set(reasons) - REASONS.keys():
                raise ValueError(f"numbers: {wrong.pop()}: the reasons are {', '.join(REASONS)}")
            continue
        for sentence in sentences(HIDDEN.sub(" ", unit)):
            if QUOTED.search(sentence):
                continue
            rest = sentence
            for pattern in NAMES:
                rest = pattern.sub(_blank, rest)
            numbers = [match[0].strip(" ,.") for match in FOUND.finditer(rest)]
            if numbers:
                found.append(f"{', '.join(numbers)}: {' '.join(sentence.split())}")
    return found


def of_file(path: Path) -> list[str]:
    """The stray numbers of a Markdown file or of a notebook's Markdown cells, with their place."""
    if path.suffix != ".ipynb":
        return [f"{path.name}: {one}" for one in stray(path.read_text(encoding="utf-8"))]
    cells = nbformat.read(path, as_version=4).cells
    return [
        f"{path.name}, cell {number}: {one}"
        for number, cell in enumerate(cells)
        if cell.cell_type == "markdown"
        for one in stray(cell.source)
    ]
