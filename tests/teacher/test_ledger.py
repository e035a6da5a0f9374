"""The ledger: what is entered stays, once, and can be handed to others."""

import json
import re
import sqlite3
import subprocess
import sys

import pytest

from trait_lib import records
from trait_lib.teacher import ledger
from trait_lib.teacher.__main__ import main as command_line
from trait_lib.teacher.ledger import Ledger, LedgerError, Reply, Request

REQUEST = Request([{"role": "user", "content": "Wie heißt 六?"}])
SETTINGS = {"temperature": 1.0, "max_tokens": 5}
KEY = ledger.request_key("m", SETTINGS, REQUEST)


def send(book, worst=0.5, request=REQUEST):
    key = ledger.request_key("m", SETTINGS, request)
    book.apply([ledger.sending(key, "m", SETTINGS, request, worst)])
    return key


def answer(book, key=KEY, worst=0.5, cost=0.1):
    reply = Reply(key, "sechs", "stop", 10, 2, cost)
    book.apply([ledger.answered(reply, '{"raw": 1}', worst)])
    return reply


@pytest.fixture
def book(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_a_reply_is_found_by_its_key_after_reopening(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as book:
        send(book)
        reply = answer(book)
    with Ledger(tmp_path / "l.sqlite") as book:
        assert book.replies([KEY, "other"]) == {KEY: reply}
    assert [p.name for p in tmp_path.iterdir()] == ["l.sqlite"]  # nothing is left beside it


def test_the_key_changes_with_all_that_decides_the_reply():
    other = Request([{"role": "user", "content": "?"}])
    keys = {
        KEY,
        ledger.request_key("n", SETTINGS, REQUEST),
        ledger.request_key("m", SETTINGS | {"temperature": 0.9}, REQUEST),
        ledger.request_key("m", SETTINGS, Request(REQUEST.messages, attempt=1)),
        ledger.request_key("m", SETTINGS, other),
    }
    assert len(keys) == 5
    reordered = dict(reversed(SETTINGS.items()))
    assert ledger.request_key("m", reordered, REQUEST) == KEY


def test_money_is_at_risk_from_the_send_to_the_answer(book):
    send(book, worst=0.5)
    assert book.totals()["at_risk"] == 0.5
    answer(book, worst=0.5, cost=0.1)
    sums = book.totals()
    assert (sums["at_risk"], sums["cost"], sums["done"], sums["unknown"]) == (0, 0.1, 1, 0)


def test_a_lost_send_stays_at_risk_when_the_next_one_succeeds(book):
    send(book, worst=0.5)
    send(book, worst=0.5)
    answer(book, worst=0.5, cost=0.1)
    sums = book.totals()
    assert (sums["sends"], sums["at_risk"]) == (2, 0.5)


def test_a_refused_and_a_failed_request(book):
    send(book)
    book.apply([ledger.refused(KEY, 0.5), ledger.failed(KEY, "HTTP 500")])
    sums = book.totals()
    assert (sums["failed"], sums["at_risk"], sums["cost"]) == (1, 0, 0)
    assert book.replies([KEY]) == {}
    send(book)
    answer(book)
    assert book.totals()["failed"] == 0


def test_changes_are_made_together_or_not_at_all(book):
    with pytest.raises(sqlite3.Error):
        book.apply([ledger.sending(KEY, "m", SETTINGS, REQUEST, 0.5), ("NOT SQL", {})])
    assert book.totals()["sends"] == 0


def test_verdicts_stand_beside_the_replies(book, tmp_path):
    send(book)
    answer(book)
    book.enter_verdicts({KEY: "wrong_answer"})
    book.export(tmp_path / "out.jsonl")
    (row,) = records.read_rows(tmp_path / "out.jsonl")
    assert row["verdict"] == "wrong_answer"


def test_an_exported_ledger_answers_for_others(book, tmp_path):
    for text in "abc":
        answer(book, send(book, request=Request([{"role": "user", "content": text}])))
    send(book)  # not finished: not exported
    assert book.export(tmp_path / "out.jsonl.gz") == 3
    with Ledger(tmp_path / "theirs.sqlite") as theirs:
        assert theirs.load(tmp_path / "out.jsonl.gz") == 3
        assert theirs.load(tmp_path / "out.jsonl.gz") == 0
        theirs.export(tmp_path / "again.jsonl.gz")
    again = (tmp_path / "again.jsonl.gz").read_bytes()
    assert again == (tmp_path / "out.jsonl.gz").read_bytes()


def test_a_changed_export_is_refused(book, tmp_path):
    send(book)
    answer(book)
    book.export(tmp_path / "out.jsonl")
    (row,) = records.read_rows(tmp_path / "out.jsonl")
    row["messages"] = json.dumps([{"role": "user", "content": "another"}])
    records.write_rows(tmp_path / "changed.jsonl", [row])
    with pytest.raises(LedgerError, match="row 1 was changed"):
        book.load(tmp_path / "changed.jsonl")
    records.write_rows(tmp_path / "other.jsonl", [{"a": 1}])
    with pytest.raises(LedgerError, match="row 1 is not of an exported ledger"):
        book.load(tmp_path / "other.jsonl")


def test_a_second_process_is_kept_out(book):
    code = f"from trait_lib.teacher.ledger import Ledger; Ledger({str(book.path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "is another process using this ledger?" in done.stderr


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.sqlite"
    path.write_text("dear diary " * 100)
    with pytest.raises(LedgerError, match="is not a ledger"):
        Ledger(path)
    assert path.read_text() == "dear diary " * 100
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    with pytest.raises(LedgerError, match="this code reads"):
        Ledger(other)


def test_a_ledger_of_the_time_before_batches_is_taken_up(tmp_path):
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as db:
        columns = [c for c in ledger.EXPORTED if c != "key"]
        db.execute(f"CREATE TABLE calls (key TEXT PRIMARY KEY, {', '.join(columns)})")
        texts = (json.dumps(list(REQUEST.messages)), json.dumps(SETTINGS))
        db.execute(
            "INSERT INTO calls (key, model, messages, settings, attempt, state, sends, text, "
            "finish_reason, prompt_tokens, completion_tokens, cost, at_risk) "
            "VALUES (?, 'm', ?, ?, 0, 'done', 1, 'sechs', 'stop', 10, 2, 0.1, 0)",
            (KEY, *texts),
        )
        db.execute("PRAGMA user_version = 1")
    db.close()
    for _ in range(2):  # and stays as it is from then on
        with Ledger(path) as book:
            assert book.replies([KEY])[KEY].text == "sechs"
            assert book.open_batches() == []
            send(book, request=Request([{"role": "user", "content": "neu"}]))


def test_a_request_that_was_entered_and_not_sent_is_as_if_it_had_not_been(book):
    send(book, worst=0.5)
    book.apply([ledger.withdrawn(KEY, 0.5, "not sent: the run stopped")])
    sums = book.totals()
    assert (sums["sends"], sums["at_risk"], sums["failed"], sums["unknown"]) == (0, 0, 1, 0)
    send(book)
    assert book.totals()["sends"] == 1


def test_an_export_holds_failed_requests_and_never_replaces_a_reply(book, tmp_path):
    other = send(book, request=Request([{"role": "user", "content": "other"}]))
    book.apply([ledger.failed(other, "HTTP 500")])
    send(book)
    book.apply([ledger.failed(KEY, "HTTP 500")])
    assert book.export(tmp_path / "out.jsonl") == 2
    with Ledger(tmp_path / "theirs.sqlite") as theirs:
        send(theirs)
        answer(theirs)
        assert theirs.load(tmp_path / "out.jsonl") == 1  # the one that is not answered here
        assert theirs.replies([KEY])[KEY].text == "sechs"
        assert theirs.failures([other, KEY])[other].error == "HTTP 500"
        assert list(theirs.failures([other, KEY])) == [other]


def test_nothing_comes_in_from_a_file_with_one_bad_row(book, tmp_path):
    send(book)
    answer(book)
    book.export(tmp_path / "out.jsonl")
    (row,) = records.read_rows(tmp_path / "out.jsonl")
    records.write_rows(tmp_path / "half.jsonl", [row, row | {"attempt": 7}])
    with Ledger(tmp_path / "theirs.sqlite") as theirs:
        with pytest.raises(LedgerError, match="row 2 was changed"):
            theirs.load(tmp_path / "half.jsonl")
        assert theirs.totals()["done"] == 0


def test_the_command_line_hands_a_ledger_on(book, tmp_path, capsys):
    send(book)
    answer(book)
    book.close()
    rows, theirs = str(tmp_path / "rows.jsonl.gz"), str(tmp_path / "theirs.sqlite")
    command_line(["export", str(book.path), rows])
    command_line(["load", theirs, rows])
    command_line(["totals", theirs])
    command_line(["forget", theirs])
    told = capsys.readouterr().out
    assert "1 requests taken" in told and re.search(r"^done +1$", told, re.MULTILINE)
    for wrong in (["export", str(book.path)], ["totals", "nowhere.sqlite"], ["load", theirs, "no"]):
        with pytest.raises(SystemExit) as stopped:
            command_line(wrong)
        assert stopped.value.code == 2
