"""Chat prompts from template files: Jinja texts with a block `user`, and perhaps `system`.

The guideline of passages and the judge's prompt are such files beside a domain's parameters, the
rubric of grades beside its code. Not stated in the paper; ours so that a new domain adds a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from trait_lib.teacher.ledger import storable

Messages = list[dict[str, str]]
ROLES = ("system", "user")


class PromptError(ValueError):
    """A template that cannot be used, or something to fill in that would break its tags."""


def load_template(path: str | Path, needed: str) -> jinja2.Template:
    """Read a template.

    Args:
        path: of the file.
        needed: what needs it, for the message when there is no such file.

    Raises:
        FileNotFoundError: there is no such file.
        PromptError: not valid Jinja, or there is no block `user`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such template; {needed}")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    try:
        template = environment.from_string(path.read_text(encoding="utf-8"))
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(f"{path}:{error.lineno}: {error.message}") from None
    if "user" not in template.blocks:
        raise PromptError(f"{path}: no block named user")
    return template


def render(template: jinja2.Template, given: Mapping[str, Any], whose: str = "the") -> Messages:
    """The chat messages of a filled-in template.

    Args:
        template: from `load_template`.
        given: the names that it may use.
        whose: first words of the message when it uses another one.

    Raises:
        PromptError: the template uses a name that it is not given.
    """
    context = template.new_context(dict(given))
    try:
        blocks = [(role, template.blocks[role]) for role in ROLES if role in template.blocks]
        parts = [(role, "".join(block(context))) for role, block in blocks]
    except jinja2.UndefinedError as error:
        raise PromptError(f"{whose} template uses a name that it is not given: {error}") from None
    return [{"role": role, "content": storable(text.strip())} for role, text in parts]
