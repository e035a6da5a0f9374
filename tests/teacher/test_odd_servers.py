"""Servers that answer with status 200 and no completion, in parts, late, or in half characters."""

import json

import pytest

from trait_lib.teacher import client, replies, sender, settings
from trait_lib.teacher.ledger import Ledger

USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
BATCH = client.Route("batch", poll_seconds=0.02)


def completion(content, reason="stop", usage=USAGE, **more):
    message = {"role": "assistant", "content": content, **more}
    made = {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    return made | ({} if usage is None else {"usage": usage})


def page(text):
    return {"body": text}


def totals(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        return ledger.totals()


@pytest.mark.parametrize("route", [client.DIRECT, BATCH], ids="direct batch".split())
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (completion([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        (completion([{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]), "a"),
        (completion(None, reasoning_content="so"), ""),
        (completion(None, None), ""),
        (completion("half \ud83d a character"), "half \ufffd a character"),
        (completion("a\x00b"), "a\x00b"),
        (completion("a", usage=None), "a"),
        (completion("a", usage=[1]), "a"),
        (completion("a", usage={"prompt_tokens": 10**30, "completion_tokens": 1}), "a"),
        (completion("a", usage={"prompt_tokens": float("nan"), "completion_tokens": 1}), "a"),
        (completion("a", reason={"why": "\ud83d"}), "a"),
    ],
    ids="parts thinking null nothing surrogate nul no-usage list huge nan reason".split(),
)
def test_what_holds_a_message_is_a_reply_and_paid_once(serve, ask, tmp_path, answer, text, route):
    server = serve(lambda number, body: answer)
    (reply,) = ask(server, ["a"], route=route)
    assert (reply.text, reply.error) == (text, "")
    sums = totals(tmp_path)
    assert (sums["done"], sums["sends"], sums["at_risk"]) == (1, 1, 0)
    assert sums["cost"] > 0
    with Ledger(tmp_path / "ledger.sqlite") as ours, Ledger(tmp_path / "theirs") as theirs:
        assert ours.export(tmp_path / "handed.jsonl.gz") == 1
        assert theirs.load(tmp_path / "handed.jsonl.gz") == 1
        assert theirs.replies([reply.key]) == ours.replies([reply.key])


NO_COMPLETIONS = {
    "an error": ({"error": "Unexpected endpoint or method. (POST /v1)"}, "Unexpected endpoint"),
    "its message": ({"error": {"message": "no such \ud83d model"}}, "no such \ufffd model"),
    "choices null": ({"choices": None, "error": {"message": "overloaded"}}, "overloaded"),
    "a page": (page("<html><script>x()</script><b>Please\n sign in</b></html>"), "Please sign in"),
}


@pytest.mark.parametrize("name", NO_COMPLETIONS)
def test_the_same_answer_that_is_no_completion_stops_the_run_and_costs_nothing(
    serve, ask, tmp_path, name
):
    answer, words = NO_COMPLETIONS[name]
    server = serve(lambda number, body: answer)
    with pytest.raises(client.TeacherStopped, match=words) as stopped:
        ask(server, [str(i) for i in range(60)], concurrency=4)
    assert server.url in str(stopped.value)
    assert sum(server.received.values()) <= sender.SAME_ANSWERS_OF_ALL + 4
    sums = totals(tmp_path)
    assert (sums["cost"], sums["at_risk"]) == (0, 0)


@pytest.mark.parametrize("name", ["an error", "choices null"])
def test_so_does_a_batch_of_them(serve, ask, tmp_path, name):
    answer, words = NO_COMPLETIONS[name]
    server = serve(lambda number, body: answer)
    with pytest.raises(client.TeacherStopped, match=words):
        ask(server, [str(i) for i in range(60)], route=BATCH)
    assert server.calls.count("POST batches") == 1
    assert (totals(tmp_path)["cost"], totals(tmp_path)["at_risk"]) == (0, 0)


@pytest.mark.parametrize("route", [client.DIRECT, BATCH], ids="direct batch".split())
def test_one_request_that_always_gets_such_an_answer_is_asked_twice(serve, ask, route):
    def behaviour(number, body):
        bad = body["messages"][0]["content"] == "x"
        return {"error": "not this one"} if bad else completion("fine")

    server = serve(behaviour)
    found = ask(server, ["a", "x", "b", "c"], route=route, concurrency=1)
    assert [bool(reply.error) for reply in found] == [False, True, False, False]
    assert "not this one" in found[1].error


def test_an_error_that_carries_a_status_is_taken_for_that_status(serve, ask):
    busy = {"error": {"message": "upstream rate limit", "code": 429}}
    server = serve(lambda number, body: busy if number < 3 else completion("fine"))
    assert ask(server, ["a"])[0].text == "fine"
    server = serve(lambda number, body: {"error": {"message": "who?", "code": "401"}})
    with pytest.raises(client.TeacherStopped, match=r"who\?.*set OPENAI_API_KEY"):
        ask(server, ["b"])


def test_a_mark_of_byte_order_before_a_reply_is_no_matter(serve, ask):
    text = "\ufeff" + json.dumps(completion("fine"))
    assert ask(serve(lambda number, body: page(text)), ["a"])[0].text == "fine"


def test_a_full_disk_ends_the_run_with_what_it_was(serve, ask, tmp_path, monkeypatch):
    totals = Ledger.totals

    def on_a_small_disk(self):
        self._db.execute("PRAGMA max_page_count = 40")  # SQLite takes it for a full disk
        return totals(self)

    monkeypatch.setattr(Ledger, "totals", on_a_small_disk)
    server = serve(lambda number, body: completion("fine" * 10_000))
    with pytest.raises(client.TeacherStopped, match=r"ledger\.sqlite.* is full.*make room"):
        ask(server, [str(i) for i in range(60)])
    monkeypatch.undo()
    assert len(ask(server, [str(i) for i in range(60)])) == 60
    assert sum(server.received.values()) <= 60 + 5  # those in flight then


# --- slow servers -------------------------------------------------------------------------------


def test_timeouts_are_told_as_they_happen_with_what_to_do(serve, ask, capsys):
    late = {"delay": 0.6, "body": json.dumps(completion("fine"))}
    server = serve(lambda number, body: late if number == 0 else completion("fine"))
    ask(server, ["a"], timeout_seconds=0.2, concurrency=10)
    told = capsys.readouterr().out
    assert "no reply within 0.2 s" in told and "sent again (2 of 6)" in told
    assert "(now 10) to 5" in told and "timeout to 0.4 s" in told
    assert "still be at work" in told and "bill" in told


def test_a_run_in_which_nothing_but_timeouts_come_stops(serve, ask):
    late = {"delay": 1.0, "body": json.dumps(completion("fine"))}
    server = serve(lambda number, body: late)
    with pytest.raises(client.TeacherStopped, match=r"requests in a row had no reply within 0.1 s"):
        ask(server, [str(i) for i in range(40)], timeout_seconds=0.1, concurrency=4)
    assert sum(server.received.values()) <= 2 * 4 + 4


# --- where a server is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("0.0.0.0", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("a.localhost", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_known_by_any_name(host, here):
    assert settings.Server(f"http://{host}:8000/v1").is_loopback == here


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain [thought] 2 < 3", "plain [thought] 2 < 3"),
        ("<think>a</think>\n\nb", "b"),
        ("a</think>b", "b"),
        ("<THINK>a", ""),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("<reasoning>a</reasoning>b<think>c</think>d", "bd"),
        ("◁think▷a◁/think▷b", "b"),
        ("&lt;think&gt;a&lt;/think&gt;b", "b"),
        ("< think >a</ think >b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
    ],
)
def test_thoughts_are_cut(text, left):
    assert replies.without_thoughts(text) == left
