"""The ledger: every request to a teacher and its reply, in one SQLite file.

A request's key is the hash of all that decides its reply: model, messages, sampling settings and
attempt. A reply is committed before it is used, so a process killed at any point loses nothing
that was finished, and a rerun sends only what is missing.

Money: before a request is sent, the most that it can cost is entered as `at_risk`. A definite
answer takes that back and enters the real `cost`; a request whose fate is unknown (killed, timed
out, dropped) stays at risk. Cost plus risk is never below what the provider can bill.

Batches (`batch.py`) are entered with the requests that they hold, before anything is uploaded.

Not stated in the paper; ours because a teacher's replies cost money and cannot be had again.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trait_lib import records, run

VERSION = 2
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
    verdict TEXT,
    batch TEXT,
    risk REAL NOT NULL DEFAULT 0
)
"""
# `risk` is what the last send may have cost, `at_risk` the sum over all sends of unknown fate;
# `name` is ours and stands in the batch's metadata; `file` and `batch` are the server's names
BATCHES = """
CREATE TABLE batches (
    name TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'created', 'closed')),
    requests INTEGER NOT NULL,
    opened TEXT NOT NULL,
    file TEXT,
    batch TEXT,
    status TEXT
)
"""
EXPORTED = (
    "key model messages settings attempt state sends first_sent finished reply text finish_reason "
    "prompt_tokens completion_tokens cost at_risk error verdict"
).split()

Change = tuple[str, Mapping[str, Any]]  # a statement and its values
REPLY = (
    "key, coalesce(text, '') AS text, coalesce(finish_reason, '') AS finish_reason, "
    "prompt_tokens, completion_tokens, cost, coalesce(error, '') AS error"
)


LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which UTF-8 refuses


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


def storable(text: str) -> str:
    """The text with the replacement character for each half of a character."""
    return LONE_SURROGATE.sub("\ufffd", text)


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
        # `commit` may be called in another thread than the one that opened; never two at a time
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
                f"{run.show(self.path)}: {error}; is another process using this ledger? Is there "
                "room on the disk?"
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
                self._db.execute(BATCHES)
            elif version == 1:  # of the time before batches
                self._db.execute("ALTER TABLE calls ADD COLUMN batch TEXT")
                self._db.execute("ALTER TABLE calls ADD COLUMN risk REAL NOT NULL DEFAULT 0")
                self._db.execute(BATCHES)
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"version {version}, this code reads {VERSION}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")

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
            self._roll_back()
            raise
        self.commit()

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # SQLite has done it itself on a full disk
            self._db.execute("ROLLBACK")

    def apply(self, changes: Iterable[Change]) -> None:
        """Make several changes, each (statement, values), in one commit."""
        self.enter(changes)
        self.commit()

    def enter(self, changes: Iterable[Change]) -> None:
        """Make several changes that `commit` makes last; all of them, or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in changes:
                kept = {k: storable(v) if isinstance(v, str) else v for k, v in values.items()}
                self._db.execute(statement, kept)
        except BaseException:
            self._roll_back()
            raise

    def commit(self) -> None:
        """Write what was entered to the disk, or take it back where that fails."""
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    # --- questions ---

    def replies(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The finished replies among `keys`; failed requests are not among them."""
        return self._among(keys, "done")

    def failures(self, keys: Iterable[str]) -> dict[str, Reply]:
        """Those among `keys` that ended without a reply, with `error` set."""
        return self._among(keys, "failed")

    def _among(self, keys: Iterable[str], state: str) -> dict[str, Reply]:
        query = f"SELECT {REPLY} FROM calls WHERE key = ? AND state = ?"
        rows = (self._db.execute(query, (key, state)).fetchone() for key in keys)
        return {row["key"]: Reply(*row) for row in rows if row}

    def open_batches(self) -> list[dict[str, Any]]:
        """The batches that are not closed, the oldest first, as rows of the table."""
        query = "SELECT * FROM batches WHERE state != 'closed' ORDER BY opened, name"
        return [dict(row) for row in self._db.execute(query)]

    def waiting_in(self, batch: str) -> dict[str, float]:
        """The requests of a batch without an end: key -> what the batch may cost for it."""
        query = "SELECT key, risk FROM calls WHERE batch = ? AND state = 'sent'"
        return {row["key"]: row["risk"] for row in self._db.execute(query, (batch,))}

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

    def forget_batches(self) -> int:
        """Give up all open batches; what they may have cost stays at risk. Returns their number."""
        found = self.open_batches()
        for row in found:
            reason = f"the batch {row['batch']} was given up"
            changes = [failed(key, reason) for key in self.waiting_in(row["name"])]
            self.apply([*changes, batch_closed(row["name"], "forgotten")])
        return len(found)

    # --- verdicts, and copies for others ---

    def enter_verdicts(self, verdicts: Mapping[str, str]) -> None:
        """Enter what became of replies: key -> `accepted`, or the reason of the rejection."""
        statement = "UPDATE calls SET verdict = :verdict WHERE key = :key"
        self.apply((statement, {"key": k, "verdict": v}) for k, v in verdicts.items())

    def export(self, path: str | Path) -> int:
        """Write every request that has an end as a row, in the order of keys; returns their number.

        With the exported file anyone can make the same passages without a key; see `load`.
        """
        query = "SELECT * FROM calls WHERE state != 'sent' ORDER BY key"
        rows = ({name: row[name] for name in EXPORTED} for row in self._db.execute(query))
        return records.write_rows(path, rows)

    def load(self, path: str | Path) -> int:
        """Enter the rows of an exported ledger; returns how many came in.

        Replies that are here already stay as they are. All come in, or none.

        Raises:
            LedgerError: a row is not of an exported ledger, or its key is not its content's hash.
        """
        names = ", ".join(EXPORTED)
        values = ", ".join(f":{name}" for name in EXPORTED)
        # a reply is never replaced, a request without one is
        statement = (
            f"INSERT INTO calls ({names}) VALUES ({values}) ON CONFLICT (key) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in EXPORTED)
            + " WHERE calls.state != 'done'"
        )
        before = self._db.total_changes
        rows = enumerate(records.read_rows(path), start=1)
        self.apply((statement, _checked(row, f"{path}: row {number}")) for number, row in rows)
        return self._db.total_changes - before


def _checked(row: records.Row, where: str) -> records.Row:
    """The row of an exported ledger; raises `LedgerError` when it is not one."""
    if set(row) != set(EXPORTED) or row["state"] not in ("done", "failed"):
        raise LedgerError(f"{where} is not of an exported ledger")
    request = Request(json.loads(row["messages"]), row["attempt"])
    if row["key"] != request_key(row["model"], json.loads(row["settings"]), request):
        raise LedgerError(f"{where} was changed: its key does not fit")
    return row


# --- changes, each a statement and its values ---------------------------------------------------


def sending(
    key: str,
    model: str,
    settings: Mapping[str, Any],
    request: Request,
    worst: float,
    batch: str | None = None,
) -> Change:
    """The request is about to be sent, alone or in a batch, and may cost `worst`."""
    statement = (
        "INSERT INTO calls (key, model, messages, settings, attempt, state, sends, first_sent, "
        "at_risk, batch, risk) "
        "VALUES (:key, :model, :messages, :settings, :attempt, 'sent', 1, :now, :worst, :batch, "
        ":worst) "
        "ON CONFLICT (key) DO UPDATE SET state = 'sent', sends = sends + 1, "
        "at_risk = at_risk + :worst, error = NULL, batch = :batch, "
        "risk = :worst"
    )
    values = {"key": key, "model": model, "attempt": request.attempt, "now": _now()}
    texts = {
        "messages": json.dumps([dict(m) for m in request.messages], ensure_ascii=False),
        "settings": json.dumps(dict(settings), sort_keys=True),
    }
    return statement, {**values, **texts, "worst": worst, "batch": batch}


def _ends(key: str, what: str, **values: Any) -> Change:
    """A change of one request's row."""
    return f"UPDATE calls SET {what} WHERE key = :key", {"key": key, "now": _now(), **values}


NO_RISK = "at_risk = max(at_risk - :worst, 0)"
USED = (
    "prompt_tokens = prompt_tokens + :prompt_tokens, "
    "completion_tokens = completion_tokens + :completion_tokens, cost = cost + :cost"
)


def withdrawn(key: str, worst: float, reason: str) -> Change:
    """The request was entered and then not sent."""
    what = f"state = 'failed', sends = sends - 1, finished = :now, error = :reason, {NO_RISK}"
    return _ends(key, what, worst=worst, reason=reason)


def answered(reply: Reply, raw: str, worst: float) -> Change:
    """The request was answered: its end."""
    what = (
        "state = 'done', finished = :now, reply = :raw, text = :text, "
        f"finish_reason = :finish_reason, {USED}, {NO_RISK}, error = NULL"
    )
    return _ends(what=what, raw=raw, worst=worst, **vars(reply))


def billed(key: str, used: Any, worst: float) -> Change:
    """An answer came and cost `used.cost` (and so many tokens), but is no reply."""
    tokens = {n: getattr(used, n) for n in ("prompt_tokens", "completion_tokens", "cost")}
    return _ends(key, f"{USED}, {NO_RISK}", worst=worst, **tokens)


def refused(key: str, worst: float) -> Change:
    """The server refused the request, so it costs nothing."""
    return _ends(key, NO_RISK, worst=worst)


def failed(key: str, error: str) -> Change:
    """The request has no reply after all tries: its end, until another run tries again."""
    return _ends(key, "state = 'failed', finished = :now, error = :error", error=error)


def batch_planned(name: str, server: str, model: str, requests: int) -> Change:
    """A batch is about to be uploaded to `server`; enter its requests in the same commit."""
    statement = (
        "INSERT INTO batches (name, server, model, state, requests, opened) "
        "VALUES (:name, :server, :model, 'planned', :requests, :now)"
    )
    values = {"name": name, "server": server, "model": model, "requests": requests}
    return statement, values | {"now": _now()}


def _batch(name: str, what: str, value: str) -> Change:
    return f"UPDATE batches SET {what} WHERE name = :name", {"name": name, "value": value}


def batch_uploaded(name: str, file: str) -> Change:
    """The requests of a batch are on the server, which does nothing with them yet."""
    return _batch(name, "file = :value", file)


def batch_created(name: str, batch: str) -> Change:
    """The server works on the batch, from now on or since an earlier run."""
    return _batch(name, "state = 'created', batch = :value", batch)


def batch_closed(name: str, status: str) -> Change:
    """All that a batch gave is in the ledger."""
    return _batch(name, "state = 'closed', status = :value", status)
