"""The reference-solution teacher: a stand-in for a teacher LLM behind a real HTTP server.

It answers two kinds of prompt as an OpenAI-compatible server does, so that the real `openai`
client is always in the path: passage prompts (`writer.py`) and the educational-quality question
(`rubric.py`), known by a line `Task: educational-quality` or by the words `Educational score:`
that it must answer with, and by a text in `<document>` tags.
The wording varies with a hash of the whole request, so equal requests get equal replies.

    with teacher.serve(["problems_train.jsonl"]) as base_url: ...
    python -m trait_lib.replica.stand_ins.teacher --problems problems_train.jsonl --port 8000

Not in the paper (its teacher is GPT-4); ours so that the chain runs without a network or a key.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trait_lib.replica.stand_ins import rubric, server, writer
from trait_lib.replica.stand_ins.batches import BadRequest

QUALITY_MARKER = re.compile(r"^Task: educational-quality\s*$|Educational score:", re.MULTILINE)
DOCUMENT = re.compile(r"<document>\n?(.*?)\n?</document>", re.DOTALL)
TOKEN = re.compile(r"\w+|[^\w\s]")
MODEL_PREFIX = "reference-solution"
# decides the model's name; a change of any reply needs another text here, and a test holds some
# replies to it. These are hashes of the sources that names were made from before, so that the
# ledgers of then stay valid
VERSION = (
    "3911654c14e04082469d74e4b761ea65b856f60af5273dd94c634ecb1fdcb64a"
    "b34dde6e631815b93c0e4823289de5deefef6b120841d5945524ba73e8993bc4"
    "6dc7d23ba6cb95aa9d186b6af07820b819f7c33631e572bdb12ab0e537bcf0c5"
)


@dataclass(frozen=True)
class Teacher:
    """What the server answers with: the problems it knows and how freely it words."""

    library: writer.Library
    model: str
    opener_share: float


def model_name(problem_files: Sequence[str | Path] = (), opener_share: float = 0.25) -> str:
    """The model's name, which changes with all that decides its replies.

    That is the stated version, the problem files and the settings; so a ledger keyed by the
    model's name never returns a reply of an older teacher.
    """
    digest = hashlib.sha256(repr(opener_share).encode() + bytes.fromhex(VERSION))
    for path in map(Path, problem_files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{MODEL_PREFIX}-{digest.hexdigest()[:8]}"


def count_tokens(text: str) -> int:
    """Words and punctuation marks: the teacher's usage counts, as it has no tokenizer."""
    return len(TOKEN.findall(text))


# --- replies ----------------------------------------------------------------------------------


def complete(teacher: Teacher, request: dict[str, Any]) -> dict[str, Any]:
    """The chat completion for a request body, as the OpenAI API words it.

    Raises:
        BadRequest: a field is missing or wrong, or no prompt of a known kind is in the messages.
    """
    prompt = server.contents(request, MODEL_PREFIX)
    limit = _limit(request)
    chance = random.Random(server.digest(request))
    text, reason = _cut(_reply(teacher, prompt, chance), limit)
    used = (count_tokens(prompt), count_tokens(text))
    return server.completion(request, teacher.model, text, used, reason)


def _limit(request: dict[str, Any]) -> int | None:
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequest("'max_tokens' must be a positive integer")
    return limit


def _reply(teacher: Teacher, prompt: str, rng: random.Random) -> str:
    if QUALITY_MARKER.search(prompt):
        documents = DOCUMENT.findall(prompt)
        if not documents:
            raise BadRequest("no text between <document> and </document>")
        return rubric.reply(documents[-1])
    try:
        problems = writer.read_prompt(prompt, teacher.library)
    except writer.UnknownProblem as error:
        raise BadRequest(str(error), "unknown_problem") from None
    if not problems:
        raise BadRequest("no <problem> in the prompt; this teacher writes passages only")
    wanted = "<enlightenment>" in prompt
    return writer.write_passage(problems, teacher.library, rng, wanted, teacher.opener_share)


def _cut(text: str, limit: int | None) -> tuple[str, str]:
    """The text within `limit` tokens, and the finish reason."""
    ends = [found.end() for found in TOKEN.finditer(text)]
    if limit is None or len(ends) <= limit:
        return text, "stop"
    return text[: ends[limit - 1]], "length"


# --- the server -------------------------------------------------------------------------------


def make_server(
    problem_files: Sequence[str | Path] = (),
    port: int = 0,
    opener_share: float = 0.25,
    host: str = "127.0.0.1",
    seconds: float = 0.0,
) -> server.Server:
    """A server that is bound but does not answer yet; port 0 takes a free one.

    Raises:
        FileNotFoundError, ValueError: a problem file is missing or holds a bad row.
        OSError: the port is taken.
    """
    library = writer.load_library(problem_files)
    teacher = Teacher(library, model_name(problem_files, opener_share), opener_share)
    return server.Server(partial(complete, teacher), teacher.model, port, host, seconds)


def serve(
    problem_files: Sequence[str | Path] = (), port: int = 0, opener_share: float = 0.25
) -> AbstractContextManager[str]:
    """Run the teacher in a thread of this process; the block gets its base URL."""
    return server.running(make_server(problem_files, port, opener_share))


def main(arguments: Iterable[str] | None = None) -> None:
    """Serve until interrupted; prints the base URL first."""
    parser = argparse.ArgumentParser(
        "python -m trait_lib.replica.stand_ins.teacher", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--problems", nargs="*", default=[], help="problem files with solutions")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--opener-share", type=float, default=0.25)
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        made = make_server(options.problems, options.port, options.opener_share, options.host)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(made.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt), made:
        made.serve_forever()


if __name__ == "__main__":
    main()
