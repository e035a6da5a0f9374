"""The prompt for one passage, from a template file beside the domain's parameters.

A template is a Jinja text with the blocks `system` and `user`; it sees `problems`, `topic`,
`enlightenment` and `show_solution`. A new domain adds a file, not code. The paper's own prompts
are not published; the guideline follows what its method section says that a passage holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from trait_lib import params
from trait_lib.passages.sampling import Group
from trait_lib.records import Row
from trait_lib.teacher import templates
from trait_lib.teacher.templates import Messages, PromptError

TAGS = ("problem", "question", "solution", "paragraph", "enlightenment")


def template_path(domain: str) -> Path:
    """The domain's own template, `params/<domain>/prompts/passage.txt`."""
    return params.find(f"{domain}/prompts/passage.txt")


def load_template(path: str | Path) -> jinja2.Template:
    """Read a passage template; raises as `chat.load_template` does."""
    return templates.load_template(path, "a domain needs prompts/passage.txt")


def render(
    template: jinja2.Template, group: Group, enlightenment: bool = True, show_solution: bool = True
) -> Messages:
    """The chat messages that ask for one passage.

    Args:
        template: from `load_template`.
        group: the problems, and the topic or entity that they share.
        enlightenment: ask for the enlightenment paragraph.
        show_solution: show the teacher each reference solution (paper: not stated).

    Raises:
        PromptError: the template uses a name that it is not given, or a problem holds a tag of the
            prompt's own, so that the parts could not be told apart.
    """
    given = {
        "topic": _attribute(group.topic),
        "problems": [_fields(problem) for problem in group.problems],
        "enlightenment": enlightenment,
        "show_solution": show_solution,
    }
    return templates.render(template, given)


def _attribute(text: str) -> str:
    return " ".join(str(text).split()).replace('"', "'")


def _fields(problem: Row) -> dict[str, str]:
    fields = {name: str(problem.get(name) or "") for name in ("question", "solution")}
    for name, text in fields.items():
        held = [tag for tag in TAGS if f"<{tag}" in text or f"</{tag}" in text]
        if held:
            raise PromptError(f"problem {problem['id']}: its {name} holds the tag <{held[0]}>")
    return fields | {"task": _attribute(problem.get("task") or "")}


def instructions(template: jinja2.Template, k: int) -> str:
    """All words of the prompt for `k` problems but the problems' own, to find copies of them."""
    blank: Sequence[Row] = [{"id": "", "question": "", "solution": "", "task": ""}] * k
    messages = render(template, Group("", tuple(blank)))
    return "\n".join(message["content"] for message in messages)
