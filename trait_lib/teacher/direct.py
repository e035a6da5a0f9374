"""The direct route: requests one by one, as many at a time as allowed.

A request is entered in the ledger before it is sent and its reply before it is used; commits that
fall together are made as one. A few requests more than there are slots are under way, so that a
slot never waits for a commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import openai

from trait_lib.teacher import ledger as book
from trait_lib.teacher import replies
from trait_lib.teacher.ledger import Change, Ledger, Reply, Request
from trait_lib.teacher.prices import Price, estimate_tokens, most_tokens
from trait_lib.teacher.sender import Sender, exchange
from trait_lib.teacher.settings import BudgetReached, Limits, Settings

GATHER_SECONDS = 0.002  # changes that arrive within this time share a commit


class Writer:
    """Commits changes to the ledger; those that arrive together share one commit.

    The statements run in the event loop's own thread: in another one each of them would wait for
    the interpreter's lock, up to 5 ms. Only the wait for the disk is left to another thread.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def commit(self, change: Change) -> None:
        """Return when the change is on the disk."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush())
        await asyncio.shield(done)

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            batch, self._waiting = self._waiting, []
            try:
                self._ledger.enter(change for change, _ in batch)
                await asyncio.to_thread(self._ledger.commit)
            except Exception as error:  # every waiter must hear of it, whatever it is
                for _, done in batch:
                    done.set_exception(error)
            else:
                for _, done in batch:
                    done.set_result(None)

    async def drain(self) -> None:
        """Return when nothing is left to commit."""
        if self._task is not None:
            await self._task


class Run:
    """The state of one run over the direct route."""

    def __init__(
        self,
        clients: Sequence[openai.AsyncOpenAI],
        settings: Settings,
        limits: Limits,
        ledger: Ledger,
        price: Price,
    ) -> None:
        self.settings, self.limits, self.ledger, self.price = settings, limits, ledger, price
        totals = ledger.totals()  # of earlier runs
        self.spent = totals["cost"] + totals["at_risk"]
        self.reserved = 0
        self.settled = asyncio.Event()
        self.writer = Writer(ledger)
        self.failed: dict[str, Reply] = {}
        self.sender = Sender(
            clients,
            limits,
            self._send,
            self._fail,
            lambda request: estimate_tokens(request) + settings.max_tokens,
        )

    async def send_all(self, todo: Mapping[str, Request]) -> dict[str, Reply]:
        """Send every request; returns the failed ones by key."""
        try:
            await self.sender.send_all(todo, "teacher")
        finally:
            await self.writer.drain()
        return self.failed

    async def _fail(self, key: str, error: str) -> None:
        error = book.storable(error)
        await self.writer.commit(book.failed(key, error))
        self.failed[key] = Reply(key, "", "", 0, 0, 0.0, error)

    async def _send(self, key: str, request: Request) -> None:
        """One send, entered in the ledger before and after."""
        worst = self.price.cost(most_tokens(request), self.settings.max_tokens)
        await self._reserve(worst)
        try:
            model, settings = self.settings.model, self.settings.without_model
            await self.writer.commit(book.sending(key, model, settings, request, worst))
            async with self.sender.slot() as client:
                if self.sender.stop:  # while this one waited
                    self.spent -= worst
                    await self.writer.commit(book.withdrawn(key, worst, "the run stopped"))
                    raise self.sender.stop
                text = await self._exchange(client, key, request, worst)
            await self._receive(key, text, worst)
        finally:
            self.reserved -= 1
            self.settled.set()

    async def _reserve(self, worst: float) -> None:
        """Set aside the most that a request can cost, waiting for what others give back of theirs.

        Raises:
            BudgetReached: it does not fit, and no other request is under way.
        """
        while worst > 0 and self.spent + worst > self.limits.budget:
            if not self.reserved:
                raise BudgetReached(budget_text(self.limits, self.price, self.spent, worst))
            self.settled.clear()
            await self.settled.wait()
            if self.sender.stop:
                raise self.sender.stop
        self.spent += worst
        self.reserved += 1

    async def _exchange(
        self, client: openai.AsyncOpenAI, key: str, request: Request, worst: float
    ) -> str:
        """Send the request; returns the body of the answer."""
        try:
            return await exchange(client, "/chat/completions", self.settings.body(request))
        except openai.APIError as error:
            if isinstance(error, openai.APIStatusError):  # refused, so it costs nothing
                self.spent -= worst
                await self.writer.commit(book.refused(key, worst))
            raise replies.fault_of(error, client.api_key) from None

    async def _receive(self, key: str, text: str, worst: float) -> None:
        """Enter what came back; an answer that is no reply may have cost money all the same."""
        body = replies.parse_json(text)
        received = replies.read_completion(key, body, self.price, worst)
        if received.cost is not None:  # else it stays at risk
            self.spent += received.cost - worst
        if received.reply is None:
            if received.cost is not None:
                await self.writer.commit(book.billed(key, received, worst))
            raise replies.fault_in(body)
        await self.writer.commit(book.answered(received.reply, text, worst))


def budget_text(limits: Limits, price: Price, spent: float, worst: float) -> str:
    """What to say when the next request does not fit into the budget."""
    return (
        f"budget {limits.budget} {price.currency}: {spent:.4f} is spent or in flight, the next "
        f"request may cost {worst:.4f}. Finished replies are in the ledger; raise the budget and "
        "run again to go on from here"
    )
