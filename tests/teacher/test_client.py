"""The teacher client against a real server that misbehaves."""

import asyncio
import json
import re
import sqlite3
import time
from email.utils import formatdate

import prepared
import pytest

from trait_lib.teacher import client, prices, replies
from trait_lib.teacher.ledger import Ledger, Request

prepared.load("trait_lib.teacher.client")
OK = {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}
USED = OK | {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}


def echo(number, body):
    text = body["messages"][0]["content"]
    choice = {"message": {"content": f"reply to {text}"}, "finish_reason": "stop"}
    return USED | {"choices": [choice]}


def totals(path):
    with Ledger(path) as ledger:
        return ledger.totals()


def test_replies_come_in_order_and_are_paid_by_their_usage(serve, ask, tmp_path):
    server = serve(echo)
    replies = ask(server, ["c", "a", "b"])
    assert [r.text for r in replies] == ["reply to c", "reply to a", "reply to b"]
    assert all(r.cost == pytest.approx((10 * 1.0 + 5 * 2.0) / 1e6) for r in replies)
    assert totals(tmp_path / "ledger.sqlite")["at_risk"] == 0


def test_a_second_run_and_a_repeated_request_send_nothing(serve, ask):
    server = serve(echo)
    first = ask(server, ["a", "b", "a"])
    assert sum(server.received.values()) == 2
    assert ask(server, ["b", "a"]) == [first[1], first[0]]
    assert sum(server.received.values()) == 2


def test_no_more_requests_are_open_than_allowed(serve, ask):
    server = serve(lambda n, body: {"delay": 0.02, "body": json.dumps(USED)})
    ask(server, [str(i) for i in range(24)], concurrency=6)
    assert server.most_open <= 6
    assert server.most_open >= 4  # and they do run at the same time


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503, "body": "<html>busy</html>"},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 408},
        {"drop": True, "body": json.dumps(USED)},
        {"body": '{"choices": [{"mess'},
        {"body": "[]"},
        {"body": json.dumps(USED | {"choices": []})},
        {"body": json.dumps({"choices": [{"message": None}]})},
        {"delay": 0.6, "body": json.dumps(USED)},
    ],
    ids="500 503 429 408 dropped cut-json list no-choices no-message timeout".split(),
)
def test_a_passing_fault_is_tried_again(serve, ask, fault, tmp_path):
    server = serve(lambda n, body: fault if n == 0 else USED)
    limits = {"timeout_seconds": 0.3} if "delay" in fault else {}
    (reply,) = ask(server, ["a"], **limits)
    assert (reply.text, reply.error) == ("fine", "")
    assert sum(server.received.values()) == 2
    sums = totals(tmp_path / "ledger.sqlite")
    assert (sums["done"], sums["failed"], sums["sends"]) == (1, 0, 2)


def test_money_that_may_have_been_spent_stays_at_risk(serve, ask, tmp_path):
    dropped = {"drop": True, "body": json.dumps(USED)}
    ask(serve(lambda n, body: dropped if n == 0 else USED), ["a"])
    assert totals(tmp_path / "ledger.sqlite")["at_risk"] > 0


def test_a_refused_request_costs_nothing(serve, ask, tmp_path):
    ask(serve(lambda n, body: {"status": 500} if n == 0 else USED), ["a"])
    assert totals(tmp_path / "ledger.sqlite")["at_risk"] == 0


def test_a_useless_reply_that_reports_its_usage_is_paid(serve, ask, tmp_path):
    empty = USED | {"choices": []}
    ask(serve(lambda n, body: empty if n == 0 else USED), ["a"])
    sums = totals(tmp_path / "ledger.sqlite")
    assert sums["cost"] == pytest.approx(2 * 20e-6)
    assert (sums["prompt_tokens"], sums["at_risk"]) == (20, 0)


def test_retry_after_is_waited_for_by_all(serve, ask):
    seen = []

    def behaviour(number, body):
        seen.append(number)
        if len(seen) == 1:
            return {"status": 429, "headers": {"Retry-After": "0.5"}}
        return USED

    server = serve(behaviour)
    ask(server, ["a", "b", "c", "d"], concurrency=1)
    assert server.times[1] - server.times[0] >= 0.5


def test_retry_after_reads_seconds_milliseconds_and_dates():
    assert replies.retry_after({"retry-after": "1.5"}) == 1.5
    assert replies.retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    date = formatdate(time.time() + 30, usegmt=True)
    assert 27 < replies.retry_after({"retry-after": date}) <= 31
    assert replies.retry_after({"retry-after": "soon"}) == replies.retry_after({}) == 0


def test_a_server_that_asks_for_a_very_long_pause_ends_the_run(serve, ask):
    server = serve(lambda n, body: {"status": 429, "headers": {"Retry-After": "86400"}})
    with pytest.raises(client.TeacherStopped, match="asks to wait 86400 s"):
        ask(server, ["a"])


def error(status, code, message="no"):
    return {"status": status, "body": json.dumps({"error": {"code": code, "message": message}})}


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (error(400, "bad"), "check model, settings and prompt"),
        (error(401, "invalid_api_key"), "set OPENAI_API_KEY"),
        (error(403, "forbidden"), "another model or key"),
        (error(404, "model_not_found"), "check model and base_url"),
        (error(429, "insufficient_quota"), "quota is used up"),
        (
            {"status": 429, "body": '{"error": {"type": "insufficient_quota", "message": "no"}}'},
            "quota is used up",
        ),
        (error(402, "payment_required"), "add some, then run again"),
    ],
)
def test_a_lasting_fault_stops_at_once_and_says_what_to_do(serve, ask, fault, advice):
    server = serve(lambda n, body: fault)
    with pytest.raises(client.TeacherStopped, match=re.escape(advice)):
        ask(server, [str(i) for i in range(50)], concurrency=4)
    assert sum(server.received.values()) <= 4  # those in flight, and none a second time
    assert max(server.received.values()) == 1


def test_replies_in_flight_when_the_run_stops_are_kept(serve, ask, tmp_path):
    def behaviour(number, body):
        if body["messages"][0]["content"] == "0":
            return error(401, "invalid_api_key")
        return {"delay": 0.2, "body": json.dumps(USED)}

    server = serve(behaviour)
    with pytest.raises(client.TeacherStopped):
        ask(server, ["0", "1", "2", "3"], concurrency=4)
    assert totals(tmp_path / "ledger.sqlite")["done"] == 3


def test_a_request_that_never_works_is_reported_and_the_others_go_on(serve, ask, tmp_path):
    broken = {"status": 500, "body": '{"error": {"message": "bad day"}}'}
    server = serve(lambda n, b: broken if b["messages"][0]["content"] == "x" else USED)
    replies = ask(server, ["a", "x", "b"], tries=3)
    assert [bool(r.error) for r in replies] == [False, True, False]
    assert "bad day" in replies[1].error
    sums = totals(tmp_path / "ledger.sqlite")
    assert (sums["done"], sums["failed"]) == (2, 1)
    # the next run tries it again, and only it
    server.behaviour = echo
    assert [r.text for r in ask(server, ["a", "x", "b"])] == ["fine", "reply to x", "fine"]
    assert sum(server.received.values()) == 2 + 3 + 1


def test_a_server_that_is_away_ends_the_run(serve, ask):
    server = serve(lambda n, body: {"status": 503})
    with pytest.raises(client.TeacherStopped, match="20 requests in a row"):
        ask(server, [str(i) for i in range(60)], tries=1)
    assert sum(server.received.values()) < 30


# --- the key, money, rates ----------------------------------------------------------------------


def test_a_missing_key_stops_before_anything_is_sent(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(client.TeacherStopped, match="set OPENAI_API_KEY"):
        client.api_key(client.Server(None))


def test_the_key_reaches_the_server_and_nothing_else(serve, ask, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123")
    telling = error(500, "x", "odd key sk-secret-123")
    server = serve(lambda n, body: telling)
    (reply,) = ask(server, ["a"], needs_key=True, tries=2)
    assert server.keys == ["Bearer sk-secret-123"] * 2
    assert "odd key ***" in reply.error
    assert b"sk-secret" not in (tmp_path / "ledger.sqlite").read_bytes()


def test_the_key_is_not_sent_to_a_server_that_needs_none(serve, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123")
    server = serve(echo)
    ask(server, ["a"], needs_key=False)
    assert server.keys == ["Bearer none"]


def test_the_budget_is_never_exceeded(serve, ask, tmp_path):
    # 100 tokens out at $2 and some 10 in at $1 a million: at most 0.00022 a request
    full = USED | {"usage": {"prompt_tokens": 9, "completion_tokens": 100}}
    server = serve(lambda n, body: full)
    with pytest.raises(client.BudgetReached, match="raise the budget"):
        ask(server, [str(i) for i in range(100)], budget=0.002)
    sums = totals(tmp_path / "ledger.sqlite")
    assert 0.0015 < sums["cost"] <= 0.002
    assert sums["done"] == sum(server.received.values()) < 12
    # with more money the run goes on, and pays only for what is missing
    replies = ask(server, [str(i) for i in range(100)], budget=1)
    assert len(replies) == 100
    assert sum(server.received.values()) == 100


def test_the_budget_counts_what_earlier_runs_spent(serve, ask, tmp_path):
    server = serve(lambda n, body: USED)
    ask(server, ["a"], budget=1)
    spent = totals(tmp_path / "ledger.sqlite")["cost"]
    with pytest.raises(client.BudgetReached):
        ask(server, ["b"], budget=spent)


@pytest.mark.parametrize(
    "rate",
    # 108 tokens a request: 100 allowed out, 8 about the message
    [{"requests_per_minute": 1200}, {"tokens_per_minute": 1200 * 108}],
    ids="requests tokens".split(),
)
def test_the_rate_is_kept(serve, ask, rate):
    server = serve(echo)
    started = time.monotonic()
    ask(server, [str(i) for i in range(7)], **rate)
    assert time.monotonic() - started >= 6 * 60 / 1200


def test_a_plan_sends_nothing_and_counts_what_is_missing(serve, ask, tmp_path):
    server = serve(echo)
    ask(server, ["a"])
    requests = [Request([{"role": "user", "content": text}]) for text in ("a", "b" * 400)]
    settings = client.Settings(model="m", max_tokens=100)
    price = prices.Price("m", "USD", "2026-01-01", 1.0, 2.0, 0.5)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        plan = client.plan(requests, settings, client.Limits(), ledger, price, reply_tokens=50)
    assert (plan.requests, plan.in_ledger) == (2, 1)
    assert (plan.prompt_tokens, plan.completion_tokens) == (108, 50)
    assert plan.money == pytest.approx(208e-6)
    assert plan.money_batch == pytest.approx(104e-6)
    assert plan.money_at_most == pytest.approx((408 + 200) / 1e6)
    assert sum(server.received.values()) == 1


@pytest.mark.parametrize(
    "rate",
    [{"requests_per_minute": 900}, {"tokens_per_minute": 900 * 108}],
    ids=["requests", "tokens"],
)
def test_a_plan_foretells_money_and_time_at_the_limits(serve, ask, tmp_path, rate):
    texts = [str(i) for i in range(10)]
    requests = [Request([{"role": "user", "content": text}]) for text in texts]
    settings = client.Settings(model="m", max_tokens=100)
    price = prices.Price("m", "USD", "2026-01-01", 1.0, 2.0, 0.5)
    limits = client.Limits(concurrency=4, **rate)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        plan = client.plan(requests, settings, limits, ledger, price, 5, seconds_per_reply=0.001)
    started = time.monotonic()
    ask(serve(echo), texts, **rate)
    took = time.monotonic() - started
    assert plan.minutes == pytest.approx(10 / 900, rel=0.01)
    assert took >= 0.9 * 60 * plan.minutes  # the first request need not wait
    assert totals(tmp_path / "ledger.sqlite")["cost"] == pytest.approx(plan.money, rel=0.12)
    assert plan.money < plan.money_at_most


def test_retry_after_as_a_date_is_waited_for(serve, ask):
    seen = []

    def behaviour(number, body):
        seen.append(time.time())
        if len(seen) == 1:
            date = formatdate(time.time() + 2, usegmt=True)  # whole seconds
            return {"status": 503, "headers": {"Retry-After": date}}
        return USED

    ask(serve(behaviour), ["a"])
    assert seen[1] - seen[0] >= 0.9


def test_the_budget_holds_with_many_requests_in_flight(serve, ask, tmp_path):
    full = USED | {"usage": {"prompt_tokens": 9, "completion_tokens": 100}}
    server = serve(lambda n, body: {"delay": 0.05, "body": json.dumps(full)})
    with pytest.raises(client.BudgetReached):
        ask(server, [str(i) for i in range(200)], budget=0.005, concurrency=32)
    sums = totals(tmp_path / "ledger.sqlite")
    assert 0.0045 < sums["cost"] <= 0.005
    assert (sums["at_risk"], sums["done"]) == (0, sum(server.received.values()))


def test_the_seed_differs_by_attempt_and_the_limit_has_the_name_the_server_knows():
    settings = client.Settings("m", 50, seed=7, limit_field="max_completion_tokens")
    messages = [{"role": "user", "content": "a"}]
    body = settings.body(Request(messages, attempt=2))
    assert (body["seed"], body["max_completion_tokens"]) == (9, 50)
    keys = {settings.key(Request(messages, attempt)) for attempt in range(3)}
    keys.add(client.Settings("n", 50, seed=7).key(Request(messages)))
    assert len(keys) == 4


# --- killed -------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, pathlib, sys
from trait_lib.teacher import client, ledger, prices
url, path, out, count = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
requests = [ledger.Request([{"role": "user", "content": str(i)}]) for i in range(count)]
settings = client.Settings(model="m", max_tokens=100)
price = prices.Price("m", "USD", "2026-01-01", 1.0, 2.0)
async def main():
    with ledger.Ledger(path) as book:
        server = client.Server(url, needs_key=False)
        limits = client.Limits(concurrency=8, tries=8)
        return await client.ask(requests, settings, limits, book, price, server)
out.write_text(json.dumps([reply.text for reply in asyncio.run(main())]))
"""


def finished(path):
    """What a killed process left: the messages of done calls, and the number of unknown ones."""
    db = sqlite3.connect(path)
    rows = db.execute("SELECT messages, state FROM calls").fetchall()
    db.close()
    done = {json.loads(messages)[0]["content"] for messages, state in rows if state == "done"}
    return done, sum(state == "sent" for _, state in rows)


def test_a_killed_run_goes_on_without_paying_twice(serve, tmp_path):
    count = 160
    server = serve(lambda n, body: {"delay": 0.02, "body": json.dumps(echo(n, body))})
    path, replies = tmp_path / "ledger.sqlite", tmp_path / "replies.json"
    words = server.url, path, replies, count
    unknown, done = 0, set()

    def sent_by_the_next(start):
        """Run `start`; the requests that it sent, of which none may have been finished before."""
        server.bodies = []
        start()
        time.sleep(0.1)  # the server ends what was in flight
        assert not {body["messages"][0]["content"] for body in server.bodies} & done

    def killed():
        process = prepared.start(PROGRAM, *words)
        try:
            deadline = time.monotonic() + 30
            while len(server.bodies) < 40 and time.monotonic() < deadline:
                time.sleep(0.002)
        finally:
            process.kill()
            process.join()

    def to_its_end():
        prepared.start(PROGRAM, *words).join()

    for _ in range(2):
        before = len(done)
        sent_by_the_next(killed)
        done, lost = finished(path)
        assert before < len(done) < count
        assert lost <= 8 + 2  # in flight, or entered and next in line
        unknown += lost
    sent_by_the_next(to_its_end)
    assert json.loads(replies.read_text()) == [f"reply to {i}" for i in range(count)]
    assert sum(server.received.values()) <= count + unknown
    sums = totals(path)
    assert (sums["done"], sums["unknown"]) == (count, 0)
    assert sums["sends"] == count + unknown


def test_many_faults_at_random_end_every_request_once(serve, ask, tmp_path):
    faults = [
        {"status": 429, "headers": {"Retry-After": "0.01"}},
        {"status": 500},
        {"drop": True, "body": json.dumps(USED)},
        {"body": "{"},
        {"body": json.dumps(USED | {"choices": []})},
    ]

    def behaviour(number, body):
        name = int(body["messages"][0]["content"])
        return (
            faults[(name + number) % 5] if (name * 7 + number * 3) % 4 == 0 else echo(number, body)
        )

    server = serve(behaviour)
    replies = ask(server, [str(i) for i in range(200)], concurrency=16, tries=10)
    assert [r.text for r in replies] == [f"reply to {i}" for i in range(200)]
    sums = totals(tmp_path / "ledger.sqlite")
    assert (sums["done"], sums["sends"]) == (200, sum(server.received.values()))
    assert sums["sends"] > 200


def test_it_runs_inside_a_running_loop_as_a_notebook_has_one(serve, tmp_path):
    server = serve(echo)

    async def cell():
        requests = [Request([{"role": "user", "content": "a"}])]
        where = client.Server(server.url, needs_key=False)
        price = prices.Price("m", "USD", "2026-01-01", 0, 0)
        with Ledger(tmp_path / "l.sqlite") as ledger:
            return await client.ask(
                requests, client.Settings("m"), client.Limits(), ledger, price, where
            )

    assert asyncio.run(cell())[0].text == "reply to a"
