"""The ledger: every request to a teacher and its reply, in one SQLite file.

A request's key is the hash of all that decides its reply: model, messages, sampling settings and
attempt. A reply is committed before it is used, so a process killed at any point loses nothing
that was finished, and a rerun sends only what is missing.

Money: before a request is sent, the most that it can cost is entered as `at_risk`. A definite
answer takes that back and enters the real `cost`; a request whose fate is unknown (killed, timed
out, dropped) stays at risk. Cost plus risk is never below what the provider can bill.

Not stated in the paper; ours because a teacher's replies cost money and cannot be had again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trait_lib import records, run

VERSION = 1
SCHEMA = """
CREATE TABLE calls (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    messages TEXT NOT NULL,
    settings TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'done', 'failed')),
    sends INTEGER NOT NULL DEFAULT 0,
    first_sent TEXT NOT NULL,
    finished TEXT,
    reply TEXT,
    text TEXT,
    finish_reason TEXT,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0,
    at_risk REAL NOT NULL DEFAULT 0,
    error TEXT,
    verdict TEXT
)
"""
EXPORTED = (
    "key model messages settings attempt state sends first_sent finished reply text finish_reason "
    "prompt_tokens completion_tokens cost at_risk error verdict"
).split()


class LedgerError(RuntimeError):
    """A ledger that cannot be opened, or a file that is none."""


@dataclass(frozen=True)
class Request:
    """What is asked: chat messages, and which attempt at them this is (0 is the first)."""

    messages: Sequence[Mapping[str, str]]
    attempt: int = 0


@dataclass(frozen=True)
class Reply:
    """A request's end: `error` is empty when it was answered."""

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost: float
    error: str = ""


def request_key(model: str, settings: Mapping[str, Any], request: Request) -> str:
    """The hash of all that decides the reply."""
    parts = {"model": model, "settings": dict(settings), "attempt": request.attempt}
    return run.hash_value(parts | {"messages": [dict(message) for message in request.messages]})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Ledger:
    """One open ledger; `with Ledger(path) as ledger`. One process at a time may hold it.

    Raises:
        LedgerError: another process holds it, or the file is not a ledger of this version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # the client commits in another thread than the one that opened; never two at a time
        self._db = sqlite3.connect(
            self.path, timeout=1, check_same_thread=False, isolation_level=None
        )
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut too
            self._prepare()
        except sqlite3.OperationalError as error:
            self._db.close()
            raise LedgerError(
                f"{run.show(self.path)}: {error}; is another process using this ledger?"
            ) from None
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise LedgerError(f"{run.show(self.path)} is not a ledger: {error}") from None

    def _prepare(self) -> None:
        with self._transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version == 0 and tables == 0:
                self._db.execute(SCHEMA)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"version {version}, this code reads {VERSION}")

    def __enter__(self) -> Ledger:
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Write everything into the one file and release it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def apply(self, changes: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Make several changes, each (statement, values), in one commit."""
        with self._transaction():
            for statement, values in changes:
                self._db.execute(statement, values)

    # --- questions ---

    def replies(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The finished replies among `keys`; failed requests are not among them."""
        found = {}
        for key in keys:
            query = "SELECT * FROM calls WHERE key = ? AND state = 'done'"
            if row := self._db.execute(query, (key,)).fetchone():
                found[key] = _reply(row)
        return found

    def totals(self) -> dict[str, Any]:
        """Counts and sums over the whole ledger.

        Returns:
            `done`, `failed`, `unknown` (sent by a process that was stopped), `sends`,
            `prompt_tokens`, `completion_tokens`, `cost` and `at_risk` (both money).
        """
        row = self._db.execute(
            "SELECT coalesce(sum(state = 'done'), 0) AS done, "
            "coalesce(sum(state = 'failed'), 0) AS failed, "
            "coalesce(sum(state = 'sent'), 0) AS unknown, "
            "coalesce(sum(sends), 0) AS sends, "
            "coalesce(sum(prompt_tokens), 0) AS prompt_tokens, "
            "coalesce(sum(completion_tokens), 0) AS completion_tokens, "
            "coalesce(sum(cost), 0.0) AS cost, coalesce(sum(at_risk), 0.0) AS at_risk FROM calls"
        ).fetchone()
        return dict(row)

    # --- verdicts, and copies for others ---

    def judge(self, verdicts: Mapping[str, str]) -> None:
        """Enter what became of replies: key -> `accepted`, or the reason of the rejection."""
        statement = "UPDATE calls SET verdict = :verdict WHERE key = :key"
        self.apply((statement, {"key": k, "verdict": v}) for k, v in verdicts.items())

    def export(self, path: str | Path) -> int:
        """Write the finished requests as rows, in the order of their keys; returns their number.

        With the exported file anyone can make the same passages without a key; see `load`.
        """
        query = "SELECT * FROM calls WHERE state = 'done' ORDER BY key"
        rows = ({name: row[name] for name in EXPORTED} for row in self._db.execute(query))
        return records.write_rows(path, rows)

    def load(self, path: str | Path) -> int:
        """Enter the rows of an exported ledger that are not here yet; returns how many came in.

        Raises:
            LedgerError: a row is not of an exported ledger, or its key is not its content's hash.
        """
        changes = []
        names = ", ".join(EXPORTED)
        values = ", ".join(f":{name}" for name in EXPORTED)
        before = self.totals()["done"]
        for number, row in enumerate(records.read_rows(path), start=1):
            if set(row) != set(EXPORTED):
                raise LedgerError(f"{path}: row {number} is not of an exported ledger")
            request = Request(json.loads(row["messages"]), row["attempt"])
            if row["key"] != request_key(row["model"], json.loads(row["settings"]), request):
                raise LedgerError(f"{path}: row {number} was changed: its key does not fit")
            changes.append((f"INSERT OR REPLACE INTO calls ({names}) VALUES ({values})", row))
        done = self.replies(values["key"] for _, values in changes)
        self.apply(change for change in changes if change[1]["key"] not in done)
        return self.totals()["done"] - before


def _reply(row: Mapping[str, Any]) -> Reply:
    return Reply(
        row["key"],
        row["text"] or "",
        row["finish_reason"] or "",
        row["prompt_tokens"],
        row["completion_tokens"],
        row["cost"],
        row["error"] or "",
    )


# --- changes, each a statement and its values ---------------------------------------------------

Change = tuple[str, dict[str, Any]]


def sending(
    key: str, model: str, settings: Mapping[str, Any], request: Request, worst: float
) -> Change:
    """The request is about to be sent, and may cost `worst`."""
    statement = (
        "INSERT INTO calls (key, model, messages, settings, attempt, state, sends, first_sent, "
        "at_risk) VALUES (:key, :model, :messages, :settings, :attempt, 'sent', 1, :now, :worst) "
        "ON CONFLICT (key) DO UPDATE SET state = 'sent', sends = sends + 1, "
        "at_risk = at_risk + :worst, error = NULL"
    )
    values = {"key": key, "model": model, "attempt": request.attempt, "now": _now()}
    texts = {
        "messages": json.dumps([dict(m) for m in request.messages], ensure_ascii=False),
        "settings": json.dumps(dict(settings), sort_keys=True),
    }
    return statement, {**values, **texts, "worst": worst}


def answered(reply: Reply, raw: str, worst: float) -> Change:
    """The request was answered: its end."""
    statement = (
        "UPDATE calls SET state = 'done', finished = :now, reply = :raw, text = :text, "
        "finish_reason = :finish_reason, prompt_tokens = prompt_tokens + :prompt_tokens, "
        "completion_tokens = completion_tokens + :completion_tokens, cost = cost + :cost, "
        "at_risk = max(at_risk - :worst, 0), error = NULL WHERE key = :key"
    )
    return statement, {**vars(reply), "raw": raw, "worst": worst, "now": _now()}


def billed(
    key: str, prompt_tokens: int, completion_tokens: int, cost: float, worst: float
) -> Change:
    """A reply came and cost money, but is of no use."""
    statement = (
        "UPDATE calls SET prompt_tokens = prompt_tokens + :prompt_tokens, "
        "completion_tokens = completion_tokens + :completion_tokens, cost = cost + :cost, "
        "at_risk = max(at_risk - :worst, 0) WHERE key = :key"
    )
    tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return statement, {"key": key, **tokens, "cost": cost, "worst": worst}


def refused(key: str, worst: float) -> Change:
    """The server refused the request, so it costs nothing."""
    statement = "UPDATE calls SET at_risk = max(at_risk - :worst, 0) WHERE key = :key"
    return statement, {"key": key, "worst": worst}


def failed(key: str, error: str) -> Change:
    """The request has no reply after all tries: its end, until another run tries again."""
    statement = (
        "UPDATE calls SET state = 'failed', finished = :now, error = :error WHERE key = :key"
    )
    return statement, {"key": key, "error": error, "now": _now()}
