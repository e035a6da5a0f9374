"""The order that a run gives to its teacher: who, at what price, how fast, and by which route.

Not stated in the paper (its teacher is GPT-4); ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from trait_lib import run
from trait_lib.passages.checks import Rules
from trait_lib.passages.prompts import Messages
from trait_lib.passages.sampling import Group
from trait_lib.passages.write import Written, write_passages
from trait_lib.teacher import client, prices
from trait_lib.teacher.ledger import Ledger, Request


@dataclass(frozen=True)
class Commission:
    """All but what is asked; `stand_in` starts the server, where it is not at an address."""

    stage: run.Stage
    settings: client.Settings
    limits: client.Limits
    price: prices.Price
    route: client.Route
    stand_in: Callable[[], AbstractContextManager[str]] | None

    @property
    def ledger(self) -> Path:
        """Beside the results, where a dry run finds it, too."""
        return run.stage_dir(self.stage.name, self.stage.params) / "ledger.sqlite"

    def take_replay(self) -> None:
        """Take the replies of the exported ledger that the parameter `replay` names, if any."""
        if handed := self.stage.params["replay"]:
            with Ledger(self.ledger) as book:
                print(f"{book.load(self.stage.external(handed))} requests taken from the replay")

    def plan(self, prompts: Sequence[Messages]) -> prices.Plan:
        """What is to be sent for the first attempt at each passage, and what it will cost."""
        asked = self.stage.params
        with Ledger(self.ledger) as book:
            return client.plan(
                [Request(messages) for messages in prompts],
                self.settings,
                self.limits,
                book,
                self.price,
                asked["reply_tokens"],
                asked["seconds_per_reply"],
            )

    async def write(
        self, groups: Sequence[Group], prompts: Sequence[Messages], rules: Rules
    ) -> Written:
        """Have the passages written; see `write_passages`."""
        asked = self.stage.params
        serving = nullcontext(asked["base_url"] or None)
        if self.stand_in and not asked["replay"]:
            serving = self.stand_in()
        with serving as url, Ledger(self.ledger) as book:
            server = client.Server(url, needs_key=self.stand_in is None)
            return await write_passages(
                groups,
                prompts,
                rules,
                self.settings,
                self.limits,
                book,
                self.price,
                None if asked["replay"] else server,
                asked["attempts"],
                self.route,
                asked["trial_replies"],
                asked["most_rejected"],
            )


def commission(
    stage: run.Stage, stand_in: Callable[[], AbstractContextManager[str]], its_name: str
) -> Commission:
    """What the parameters of notebook 02 say.

    Args:
        stage: with the parameters.
        stand_in: starts the reference-solution teacher, for `teacher: reference`.
        its_name: the model that it is.
    """
    asked = stage.params
    own = asked["teacher"] == "reference"
    name = its_name if own else asked["model"]
    return Commission(
        stage,
        client.Settings(
            name,
            asked["max_tokens"],
            asked["temperature"],
            asked["top_p"],
            asked["seed"],
            asked["limit_field"],
        ),
        client.Limits(
            asked["concurrency"],
            asked["requests_per_minute"],
            asked["tokens_per_minute"],
            asked["timeout_seconds"],
            asked["tries"],
            asked["budget"],
        ),
        prices.of(stage, name, asked["base_url"]),
        client.Route(
            asked["route"], asked["batch_requests"], asked["poll_seconds"], asked["wait_hours"]
        ),
        stand_in if own else None,
    )
