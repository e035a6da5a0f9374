"""A teacher's reply taken apart: one paragraph per problem, then the enlightenment paragraph.

Paper, method: a problem-specific paragraph for each problem and one enlightenment paragraph.
Not stated: whether the problem statements are in the training text (ours: yes, by a parameter).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trait_lib.passages.sampling import Group
from trait_lib.records import Row

PARAGRAPH = re.compile(r'<paragraph problem="(\d+)">(.*?)</paragraph>', re.DOTALL)
ENLIGHTENMENT = re.compile(r"<enlightenment>(.*?)</enlightenment>", re.DOTALL)
BLANK_LINES = re.compile(r"\n\s*\n")


class Rejected(ValueError):
    """A passage that is not used: `reason` is counted, `detail` is shown."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Passage:
    """A parsed reply; `enlightenment` is empty where none was asked for."""

    paragraphs: tuple[str, ...]
    enlightenment: str


def parse(reply: str, k: int, enlightenment: bool = True) -> Passage:
    """Take a reply apart.

    Text outside the tags is ignored: many models begin with a phrase of courtesy.

    Raises:
        Rejected: `missing_paragraph`, `extra_paragraph` or `no_enlightenment`.
    """
    found = PARAGRAPH.findall(reply)
    numbers = [int(number) for number, _ in found]
    missing = [i for i in range(1, k + 1) if i not in numbers]
    filled = {int(number): _clean(text) for number, text in found}
    if missing or not all(filled.get(i) for i in range(1, k + 1)):
        which = missing or [i for i in range(1, k + 1) if not filled.get(i)]
        raise Rejected("missing_paragraph", f"no paragraph for problem {which[0]} of {k}")
    if len(numbers) != k:
        raise Rejected("extra_paragraph", f"paragraphs {numbers} for {k} problems")
    closing = [text for part in ENLIGHTENMENT.findall(reply) if (text := _clean(part))]
    if enlightenment and len(closing) != 1:
        raise Rejected("no_enlightenment", f"{len(closing)} enlightenment paragraphs, not one")
    paragraphs = tuple(filled[i] for i in range(1, k + 1))
    return Passage(paragraphs, closing[0] if enlightenment else "")


def as_reply(row: Row) -> str:
    """The reply, in the form that the prompt asks for, that gives a row of `passages.jsonl`."""
    parts = [
        f'<paragraph problem="{i}">\n{text}\n</paragraph>'
        for i, text in enumerate(row["paragraphs"], start=1)
    ]
    if row["enlightenment"]:
        parts.append(f"<enlightenment>\n{row['enlightenment']}\n</enlightenment>")
    return "\n".join(parts)


def _clean(text: str) -> str:
    """Without outer white space and without blank lines, which part problems in training text."""
    return BLANK_LINES.sub("\n", text.strip())


def training_text(
    questions: Sequence[str], passage: Passage, include_questions: bool = True
) -> str:
    """What the model is trained on: problems in the few-shot form, then the enlightenment."""
    parts = [
        f"Question: {question}\nAnswer: {paragraph}" if include_questions else paragraph
        for question, paragraph in zip(questions, passage.paragraphs, strict=True)
    ]
    return "\n\n".join([*parts, *filter(None, [passage.enlightenment])])


def to_row(name: str, group: Group, passage: Passage, include_questions: bool = True) -> Row:
    """A row of `passages.jsonl`; `name` becomes its id."""
    questions = [problem["question"] for problem in group.problems]
    return {
        "id": name,
        "topic": group.topic,
        "tasks": group.tasks,
        "problem_ids": group.ids,
        "paragraphs": list(passage.paragraphs),
        "enlightenment": passage.enlightenment,
        "text": training_text(questions, passage, include_questions),
    }


def without_enlightenment(row: Row) -> Row:
    """The same passage without its enlightenment paragraph, for the paper's ablation."""
    end = f"\n\n{row['enlightenment']}" if row["enlightenment"] else ""
    return row | {"enlightenment": "", "text": row["text"].removesuffix(end)}
