"""From groups of problems to passages: ask, check, ask again for what was rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trait_lib.passages.checks import Rejected, Rules, count_reasons
from trait_lib.passages.parse import to_row
from trait_lib.passages.prompts import Messages
from trait_lib.passages.sampling import Group
from trait_lib.records import Row
from trait_lib.teacher import client, survey
from trait_lib.teacher.ledger import Ledger, Reply, Request
from trait_lib.teacher.prices import Price

TRIAL = 20  # replies that are checked before the others are asked for
EXAMPLE_CHARACTERS = 200  # of a rejected reply


class NoPassages(RuntimeError):
    """Not one reply was accepted: prompt, checks or teacher must be wrong."""


@dataclass
class Written:
    """The accepted passages in the order of their groups, every rejection, and the replies."""

    passages: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def cost(self, price: Price) -> dict[str, Any]:
        """Tokens and money of all replies, rejected ones included."""
        money = sum(reply.cost for reply in self.replies)
        return {
            "model": price.model,
            "currency": price.currency,
            "prices_as_of": price.as_of,
            "replies": len(self.replies),
            "prompt_tokens": sum(reply.prompt_tokens for reply in self.replies),
            "completion_tokens": sum(reply.completion_tokens for reply in self.replies),
            "money": round(money, 6),
            "money_per_passage": round(money / max(len(self.passages), 1), 6),
        }


async def write_passages(
    groups: Sequence[Group],
    prompts: Sequence[Messages],
    rules: Rules,
    settings: client.Settings,
    limits: client.Limits,
    ledger: Ledger,
    price: Price,
    server: client.Server | None,
    attempts: int = 2,
    route: client.Route = client.DIRECT,
    trial: int = TRIAL,
    most_rejected: float = 0.9,
) -> Written:
    """Have the teacher write one passage for each group.

    A rejected reply is asked for again, up to `attempts` times in all, each time as a new request.
    What became of each reply is entered in the ledger. Passages are named `passage-<number of the
    group>`, so the same groups and replies give the same rows. With `server` None nothing is sent:
    all replies come from the ledger, as they do for somebody who loaded an exported one.

    The first `trial` replies are checked before the others are asked for; a reason that rejects
    several of them is printed with one, and a share `most_rejected` of rejected ones stops the
    run. Portions do not decide a passage, since replies are checked in the order of the groups.

    Raises:
        client.TeacherStopped: see `client.ask`; finished replies are in the ledger. Or nearly all
            of the first replies were rejected.
        NoPassages: every reply was rejected; says why.
    """
    written = Written()
    accepted: dict[int, Row] = {}
    for attempt in range(attempts):
        open_groups = [i for i in range(len(groups)) if i not in accepted]
        if not open_groups:
            break
        first = trial if attempt == 0 else 0
        for part in filter(None, (open_groups[:first], open_groups[first:])):
            requests = [Request(prompts[i], attempt) for i in part]
            replies = await client.ask(requests, settings, limits, ledger, price, server, route)
            written.replies += replies
            verdicts = {}
            for i, reply in zip(part, replies, strict=True):
                name = f"passage-{i:06d}"
                try:
                    accepted[i] = _checked(name, groups[i], reply, rules)
                    verdicts[reply.key] = "accepted"
                except Rejected as rejection:
                    written.rejected.append(_rejection(name, attempt, groups[i], reply, rejection))
                    verdicts[reply.key] = rejection.reason
            ledger.enter_verdicts(verdicts)
            if part == open_groups[:first] and server:
                told = [(r["reason"], _example(r)) for r in written.rejected]
                survey.tell_first(told, len(part), most_rejected, "passages")
    if not accepted:
        first = written.rejected[0]
        counts = count_reasons(written.rejected)
        raise NoPassages(f"all replies were rejected: {counts}. The first: {first['detail']}")
    written.passages = [accepted[i] for i in sorted(accepted)]
    return written


def _example(row: Row) -> str:
    return f"{row['detail']} in {row['reply'][-EXAMPLE_CHARACTERS:]!r}"


def _checked(name: str, group: Group, reply: Reply, rules: Rules) -> Row:
    if reply.error:
        raise Rejected("call_failed", reply.error)
    passage = rules.accept(reply.text, reply.finish_reason, group)
    return to_row(name, group, passage, rules.include_questions)


def _rejection(
    name: str, attempt: int, group: Group, reply: Reply, rejection: Rejected
) -> dict[str, Any]:
    """A row of `rejected.jsonl`."""
    about: Mapping[str, Any] = {"id": f"{name}-attempt-{attempt}", "reason": rejection.reason}
    texts = {"detail": rejection.detail, "reply": reply.text}
    return {**about, **texts, "topic": group.topic, "problem_ids": group.ids}
