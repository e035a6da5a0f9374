"""A teacher's reply taken apart: one paragraph per problem, then the enlightenment paragraph.

Paper, method: a problem-specific paragraph for each problem and one enlightenment paragraph.
Not stated: whether the problem statements are in the training text (ours: yes, by a parameter).
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trait_lib import form
from trait_lib.passages.sampling import Group
from trait_lib.records import Row

# a tag as models write it: any case, any quotes or none, white space, backslashes of Markdown
TAG = re.compile(r"\\?<\s*(/?)\s*(paragraph|enlightenment)\b([^<>]*?)\\?>", re.IGNORECASE)
ESCAPED_TAG = re.compile(r"&lt;\s*/?\s*(?:paragraph|enlightenment)\b", re.IGNORECASE)
NUMBER = re.compile(r"\bproblem\W*(\d+)|(\d+)", re.IGNORECASE)
FENCE = re.compile(r"^\s*(?:```|~~~).*", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"\n\s*(?:#{1,6} [^\n]*|\*\*[^*\n]+\*\*:?)\s*$")
HALF_TAG = re.compile(r"\s*<\s*/?\s*\w*\s*$")
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


def parse(reply: str, k: int, enlightenment: bool = True, finished: bool = True) -> Passage:
    """Take a reply apart.

    Text outside the tags is ignored: many models begin with a phrase of courtesy, or put a heading
    or a fence of Markdown around. A block without its closing tag ends where the next one begins,
    and the last one with the text, if the model was `finished` there.

    Raises:
        Rejected: `missing_paragraph`, `extra_paragraph` or `no_enlightenment`.
    """
    blocks = _blocks(reply, finished)
    numbers = [number for number, _ in blocks if number]
    filled = {number: text for number, text in blocks if number and text}
    if missing := [i for i in range(1, k + 1) if i not in filled]:
        raise Rejected("missing_paragraph", f"no paragraph for problem {missing[0]} of {k}")
    if len(numbers) != k:
        raise Rejected("extra_paragraph", f"paragraphs {numbers} for {k} problems")
    closing = [text for number, text in blocks if not number and text]
    if enlightenment and len(closing) != 1:
        raise Rejected("no_enlightenment", f"{len(closing)} enlightenment paragraphs, not one")
    paragraphs = tuple(filled[i] for i in range(1, k + 1))
    return Passage(paragraphs, closing[0] if enlightenment else "")


def _blocks(reply: str, finished: bool) -> list[tuple[int, str]]:
    """The number of each paragraph with its text; that of an enlightenment paragraph is 0."""
    if ESCAPED_TAG.search(reply):  # then all of it is escaped
        reply = html.unescape(reply)
    tags = list(TAG.finditer(reply))
    blocks = []
    for place, tag in enumerate(tags):
        closes, name, attributes = tag.groups()
        found = NUMBER.search(attributes)
        if closes or (name.lower() == "paragraph" and not found):
            continue
        number = int(found[1] or found[2]) if name.lower() == "paragraph" else 0
        if place + 1 < len(tags):
            after = tags[place + 1]
            text = reply[tag.end() : after.start()]
            blocks.append((number, _clean(text if after[1] else HEADING.sub("", text))))
        elif finished:
            rest = HALF_TAG.sub("", FENCE.sub("", reply[tag.end() :]))
            blocks.append((number, _clean(rest)))
    return blocks


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


def training_text(problems: Sequence[Row], passage: Passage, include_questions: bool = True) -> str:
    """What the model is trained on: problems as they are asked, then the enlightenment."""
    parts = [
        form.example(problem, paragraph) if include_questions else paragraph
        for problem, paragraph in zip(problems, passage.paragraphs, strict=True)
    ]
    return form.SEPARATOR.join([*parts, *filter(None, [passage.enlightenment])])


def to_row(name: str, group: Group, passage: Passage, include_questions: bool = True) -> Row:
    """A row of `passages.jsonl`; `name` becomes its id."""
    return {
        "id": name,
        "topic": group.topic,
        "tasks": group.tasks,
        "problem_ids": group.ids,
        "paragraphs": list(passage.paragraphs),
        "enlightenment": passage.enlightenment,
        "text": training_text(group.problems, passage, include_questions),
    }


def without_enlightenment(row: Row) -> Row:
    """The same passage without its enlightenment paragraph, for the paper's ablation."""
    end = f"{form.SEPARATOR}{row['enlightenment']}" if row["enlightenment"] else ""
    return row | {"enlightenment": "", "text": row["text"].removesuffix(end)}
