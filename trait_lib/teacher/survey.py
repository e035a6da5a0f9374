"""Many short questions to one model, each reply read as one value: grades, and a judge's verdicts.

The plan is shown before the first call. The first replies are read before the others are asked
for, so that a model that does not answer in the form asked for costs little. Not stated in the
paper; ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio.from_thread

from trait_lib.teacher import client, replies
from trait_lib.teacher.ledger import Ledger, Reply, Request
from trait_lib.teacher.prices import Price
from trait_lib.teacher.settings import Limits, Server, Settings, TeacherStopped
from trait_lib.teacher.templates import Messages

FIRST = 20  # replies read before the others are asked for
SHOWN = 5  # so many unusable replies of one kind are told, with one of them
SHOWN_CHARACTERS = 200
T = TypeVar("T")


@dataclass(frozen=True)
class Survey:
    """Whom to ask and what it may cost; `ledger` is the file where replies are kept.

    `most_unusable`: the share of the first replies that, unusable, stops the run.
    """

    settings: Settings
    server: Server
    price: Price
    ledger: Path
    limits: Limits = field(default_factory=Limits)
    most_unusable: float = 0.9

    def ask(
        self,
        chats: Sequence[Messages],
        read: Callable[[str], T | None],
        reply_tokens: int,
        what: str,
    ) -> list[T | None]:
        """The value of each reply, in order; None where it holds none.

        Thoughts of a reasoning model are cut before a reply is read. Equal chats are asked once,
        and none whose reply is in the ledger.

        Args:
            chats: what to ask.
            read: the value in a reply's text, or None.
            reply_tokens: expected of a reply, for the plan.
            what: the values' name, for messages.

        Raises:
            TeacherStopped: see `client.ask`; requests without a reply, or too few usable ones.
        """
        requests = [Request(chat) for chat in chats]
        with Ledger(self.ledger) as book:
            asked = (self.settings, self.limits, book, self.price)
            plan = client.plan(requests, *asked, reply_tokens)
            if plan.requests > plan.in_ledger:
                print(plan.text())
            values: list[T | None] = []
            for start, end in ((0, FIRST), (FIRST, len(requests))):
                got = wait_for(client.ask, requests[start:end], *asked, self.server)
                self._check_answered(got, what)
                values += [read(replies.without_thoughts(one.text)) for one in got]
                if start == 0:
                    self._check_usable(got, values, what)
        return values

    def _check_answered(self, got: Sequence[Reply], what: str) -> None:
        failed = [reply.error for reply in got if reply.error]
        if failed:
            raise TeacherStopped(
                f"{self.server.name}: {len(failed)} of {len(got)} {what} have no reply, the last: "
                f"{failed[-1]}. The others are kept; run again to ask for these"
            )

    def _check_usable(self, got: Sequence[Reply], values: Sequence[T | None], what: str) -> None:
        bad = [reply for reply, value in zip(got, values, strict=True) if value is None]
        tell_first(
            [("unreadable", _shown(reply)) for reply in bad], len(got), self.most_unusable, what
        )


def _shown(reply: Reply) -> str:
    if reply.text:
        return repr(reply.text[:SHOWN_CHARACTERS])
    return f"a reply without text (finish reason {reply.finish_reason or 'not said'})"


def tell_first(
    rejected: Sequence[tuple[str, str]], replies_read: int, most: float, what: str
) -> None:
    """Say what is wrong with the first replies, and stop when nearly all are of no use.

    Args:
        rejected: reason and an example of each reply that is of no use.
        replies_read: all of them.
        most: the share of rejected ones that stops the run.
        what: was asked for.

    Raises:
        TeacherStopped: at least `SHOWN` are rejected, and that share.
    """
    counts = Counter(reason for reason, _ in rejected)
    for reason, count in counts.most_common(1):
        example = next(text for name, text in rejected if name == reason)
        first = f"{count} of the first {replies_read} replies"
        said = f"{first} are rejected as {reason}, such as {example}"
        if len(rejected) >= SHOWN and len(rejected) >= most * replies_read:
            raise TeacherStopped(
                f"{what}: {said}. In all {len(rejected)} are of no use, so the others were not "
                "asked for: change prompt, model or max_tokens. What was paid for is in the ledger"
            )
        if count >= SHOWN:
            print(f"{what}: {said}")


def wait_for(work: Callable[..., T], *given: object) -> T:
    """The result of an async function, for code that does not await, in a notebook or not.

    It runs in another thread's event loop; an interrupt stops it there.
    """
    with anyio.from_thread.start_blocking_portal() as portal:
        return portal.call(work, *given)
