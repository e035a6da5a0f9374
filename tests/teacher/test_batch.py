"""The batch route against a real server of files and batches: the same replies, paid for once."""

import asyncio
import json
import threading
from collections import Counter

import prepared
import pytest

from trait_lib.teacher import batch, client, prices
from trait_lib.teacher import ledger as book
from trait_lib.teacher.ledger import Ledger, Request

prepared.load("trait_lib.teacher.client")
BATCH = client.Route("batch", poll_seconds=0.02)
TEXTS = [f"text {i}" for i in range(12)]
COST = (10 * 1.0 + 5 * 2.0) / 1e6  # of one reply over the direct route


def echo(number, body):
    text = body["messages"][0]["content"]
    choice = {"message": {"content": f"reply to {text}"}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}


def replies_to(texts):
    return [f"reply to {text}" for text in texts]


def totals(path):
    with Ledger(path / "ledger.sqlite") as ledger:
        return ledger.totals()


def script(server, work=None, finish=None):
    """Have the desk's batches go wrong: `work(text, nth time) -> (status, error) or None`."""
    desk, seen = server.desk, Counter()
    good_work, good_finish = desk.work, desk.finish
    server.worked = seen

    def worked(line):
        text = line["body"]["messages"][0]["content"]
        seen[text] += 1
        fault = work(text, seen[text]) if work else None
        if fault is None:
            return good_work(line)
        status, body = fault
        if status is None:
            return {"custom_id": line["custom_id"], "response": None, "error": body}
        response = {"status_code": status, "body": body}
        return {"custom_id": line["custom_id"], "response": response, "error": None}

    desk.work = worked
    if finish:
        desk.finish = lambda made: finish(made, good_finish)
    return server


def test_the_replies_are_those_of_the_direct_route_at_half_the_price(serve, ask, tmp_path):
    server = serve(echo)
    replies = ask(server, TEXTS, route=BATCH)
    assert [r.text for r in replies] == replies_to(TEXTS)
    sums = totals(tmp_path)
    assert sums["cost"] == pytest.approx(len(TEXTS) * COST / 2)
    assert (sums["done"], sums["sends"], sums["at_risk"]) == (12, 12, 0)
    assert not server.bodies  # nothing went over the direct route
    assert server.calls.count("POST batches") == 1
    before = len(server.calls)
    assert ask(server, TEXTS) == replies  # whatever the route, they are in the ledger
    assert len(server.calls) == before and not server.bodies


def test_the_file_has_the_form_that_the_interface_documents(serve, ask):
    server = serve(echo)
    ask(server, TEXTS, route=BATCH)
    (made,) = server.desk.batches.values()
    assert made["endpoint"] == "/v1/chat/completions"
    lines = [json.loads(x) for x in server.desk.files[made["input_file_id"]].splitlines()]
    assert len({line["custom_id"] for line in lines}) == 12
    assert all(len(line["custom_id"]) <= 64 for line in lines)
    first = lines[0]
    assert (first["method"], first["url"]) == ("POST", made["endpoint"])
    assert first["body"]["messages"] == [{"role": "user", "content": TEXTS[0]}]


def test_many_requests_make_several_batches_that_are_open_at_once(serve, ask):
    server = serve(echo)
    route = client.Route("batch", batch_requests=5, poll_seconds=0.02)
    assert [r.text for r in ask(server, TEXTS, route=route)] == replies_to(TEXTS)
    assert [b["request_counts"]["total"] for b in server.desk.batches.values()] == [5, 5, 2]
    created = [i for i, call in enumerate(server.calls) if call == "POST batches"]
    looked = [i for i, call in enumerate(server.calls) if call.startswith("GET batches/")]
    assert max(created) < min(looked)


def test_a_file_is_no_larger_than_the_interface_takes(serve, ask, monkeypatch):
    monkeypatch.setattr(batch, "MOST_BYTES", 900)
    server = serve(echo)
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    sizes = [len(server.desk.files[b["input_file_id"]]) for b in server.desk.batches.values()]
    assert len(sizes) > 2 and max(sizes) <= 900


BUSY = (429, {"error": {"code": "rate_limit_exceeded", "message": "busy"}})
EXPIRED = (None, {"code": "batch_expired", "message": "out of time"})
EMPTY = (200, {"choices": []})
PAID_EMPTY = (200, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}})


@pytest.mark.parametrize(
    ("fault", "cost", "at_risk"),
    [(BUSY, 12, False), (EXPIRED, 12, False), (EMPTY, 12, True), (PAID_EMPTY, 14, False)],
    ids="busy expired empty empty-and-billed".split(),
)
def test_what_a_batch_did_not_answer_goes_into_the_next(serve, ask, tmp_path, fault, cost, at_risk):
    twice = TEXTS[3], TEXTS[8]
    server = script(serve(echo), lambda text, n: fault if text in twice and n == 1 else None)
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert server.worked == Counter(TEXTS) + Counter(twice)
    sums = totals(tmp_path)
    assert sums["cost"] == pytest.approx(cost * COST / 2)
    assert (sums["at_risk"] > 0) == at_risk


def test_a_request_that_never_works_ends_as_failed(serve, ask, tmp_path):
    server = script(serve(echo), lambda text, n: BUSY if text == TEXTS[0] else None)
    replies = ask(server, TEXTS, route=BATCH, tries=3)
    assert "busy" in replies[0].error
    assert [r.text for r in replies[1:]] == replies_to(TEXTS[1:])
    assert server.worked[TEXTS[0]] == 3
    sums = totals(tmp_path)
    assert (sums["done"], sums["failed"], sums["at_risk"]) == (11, 1, 0)


def test_an_expired_batch_gives_what_it_has_and_the_rest_costs_nothing(serve, ask, tmp_path):
    def finish(made, good):
        good(made)
        if len(server.desk.batches) == 1:  # half of the first batch was worked off
            lines = server.desk.files[made["output_file_id"]].splitlines()
            made["status"] = "expired"
            server.desk.files[made["output_file_id"]] = b"\n".join(lines[:6]) + b"\n"

    server = script(serve(echo), finish=finish)
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert [b["request_counts"]["total"] for b in server.desk.batches.values()] == [12, 6]
    sums = totals(tmp_path)
    assert sums["cost"] == pytest.approx(12 * COST / 2)
    assert sums["at_risk"] == 0


def refusing(code, times):
    """A `finish` that fails the first batches as a server does that does not accept their file."""

    def finish(made, good):
        if len(refused) >= times:
            return good(made)
        refused.append(made["id"])
        errors = {"object": "list", "data": [{"code": code, "message": "too much"}]}
        made.update(status="failed", errors=errors)

    refused = []
    return finish


def test_a_batch_that_is_not_accepted_stops_the_run_and_costs_nothing(serve, ask, tmp_path):
    server = script(serve(echo), finish=refusing("invalid_json_line", 1))
    with pytest.raises(client.TeacherStopped, match="the batch failed: invalid_json_line"):
        ask(server, TEXTS, route=BATCH)
    sums = totals(tmp_path)
    assert (sums["done"], sums["cost"], sums["at_risk"]) == (0, 0, 0)
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)


def test_a_full_queue_is_waited_for_while_other_batches_are_open(serve, ask):
    finish = refusing("token_limit_exceeded", 1)
    server = script(serve(echo), finish=finish)
    route = client.Route("batch", batch_requests=6, poll_seconds=0.02)
    assert [r.text for r in ask(server, TEXTS, route=route)] == replies_to(TEXTS)
    server = script(serve(echo), finish=refusing("token_limit_exceeded", 9))
    with pytest.raises(client.TeacherStopped, match="smaller batch_requests"):
        ask(server, ["alone"], route=route)


def test_a_fault_that_lasts_stops_the_run_after_the_others_are_kept(serve, ask, tmp_path):
    wrong = (400, {"error": {"code": "bad", "message": "no such setting"}})
    server = script(serve(echo), lambda text, n: wrong if text == TEXTS[0] else None)
    with pytest.raises(client.TeacherStopped, match=r"no such setting: .*check model, settings"):
        ask(server, TEXTS, route=BATCH)
    assert server.worked[TEXTS[0]] == 1
    assert totals(tmp_path)["done"] == 11


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("POST files", {"status": 503}),
        ("POST batches", {"status": 429, "headers": {"Retry-After": "0.05"}}),
        ("POST batches", {"drop": True}),
        ("GET batches/batch_000002", {"status": 500}),
        ("GET batches/batch_000002", {"drop": True}),
        ("GET files/file-000003/content", {"drop": True}),
    ],
)
def test_a_passing_fault_on_the_way_is_tried_again(serve, ask, tmp_path, place, fault):
    server = script(serve(echo))
    faults = {place: fault}
    server.at = lambda where: faults.pop(where, None)
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert not faults  # it did happen
    assert server.worked == Counter(TEXTS)  # though the batch's creation went unheard
    assert totals(tmp_path)["cost"] == pytest.approx(12 * COST / 2)


def test_a_refused_key_stops_at_once(serve, ask, tmp_path):
    server = serve(echo)
    server.at = lambda where: {"status": 401, "body": '{"error": {"message": "no"}}'}
    with pytest.raises(client.TeacherStopped, match="set OPENAI_API_KEY"):
        ask(server, TEXTS, route=BATCH)
    assert totals(tmp_path)["at_risk"] == 0
    server.at = lambda where: None
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)


def test_a_run_may_stop_and_a_later_one_fetches(serve, ask):
    server = script(serve(echo))
    server.desk.seconds = 3600.0
    soon = client.Route("batch", poll_seconds=0.01, wait_hours=0.0)
    with pytest.raises(client.TeacherStopped, match="run again to fetch them"):
        ask(server, TEXTS, route=soon)
    with pytest.raises(client.TeacherStopped, match="run again to fetch them"):
        ask(server, TEXTS, route=soon)
    for made in server.desk.batches.values():
        made["_ready"] = 0.0  # a day later
    # with the direct route too: the batch is paid for
    assert [r.text for r in ask(server, TEXTS)] == replies_to(TEXTS)
    assert server.worked == Counter(TEXTS) and not server.bodies


def test_a_paid_batch_on_another_server_is_named_and_not_given_up(serve, ask, tmp_path):
    first, second = script(serve(echo)), script(serve(echo))
    first.desk.seconds = 3600.0
    soon = client.Route("batch", poll_seconds=0.01, wait_hours=0.0)
    with pytest.raises(client.TeacherStopped, match="run again"):
        ask(first, TEXTS, route=soon)
    with pytest.raises(client.TeacherStopped, match=rf"at {first.url}/, .*set base_url"):
        ask(second, TEXTS, route=soon)
    assert not second.worked and totals(tmp_path)["at_risk"] > 0


def test_the_budget_holds_for_batches(serve, ask, tmp_path):
    # 100 tokens out at $2 and 14 in at $1 a million, half by batch: at most 0.000107 a request
    server = script(serve(echo))
    with pytest.raises(client.BudgetReached, match="raise the budget"):
        ask(server, TEXTS, route=BATCH, budget=0.00018)
    sums = totals(tmp_path)
    assert 0 < sums["cost"] + sums["at_risk"] <= 0.00018
    assert max(b["request_counts"]["total"] for b in server.desk.batches.values()) == 1
    assert 2 < sums["done"] < 12  # what the first replies left of their share was used
    assert [r.text for r in ask(server, TEXTS, route=BATCH, budget=1)] == replies_to(TEXTS)
    assert server.worked == Counter(TEXTS)


def test_the_plan_names_the_price_that_a_batch_then_has(serve, ask, tmp_path):
    price = prices.Price("m", "USD", "2026-01-01", 1.0, 2.0, 0.5)
    requests = [Request([{"role": "user", "content": text}]) for text in TEXTS]
    settings = client.Settings("m", max_tokens=100)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        plan = client.plan(requests, settings, client.Limits(), ledger, price, reply_tokens=5)
    ask(serve(echo), TEXTS, route=BATCH)
    assert plan.money_batch == pytest.approx(totals(tmp_path)["cost"], rel=0.1)
    assert plan.money == pytest.approx(2 * plan.money_batch)


def test_line_separators_of_other_alphabets_do_not_cut_a_reply(serve, ask):
    def answer(number, body):
        reply = echo(number, body)
        reply["choices"][0]["message"]["content"] = "one\u2028two\x85three\x0cfour"
        return reply

    server = serve(answer)
    server.desk.finish = unescaped(server.desk.finish, server.desk)
    (reply,) = ask(server, ["a"], route=BATCH)
    assert reply.text == "one\u2028two\x85three\x0cfour"


def unescaped(finish, desk):
    """Results as UTF-8, as some servers write them, instead of as \\u escapes."""

    def go(made):
        finish(made)
        name = made["output_file_id"]
        rows = [json.loads(line) for line in desk.files[name].splitlines()]
        texts = (json.dumps(row, ensure_ascii=False) for row in rows)
        desk.files[name] = "".join(text + "\n" for text in texts).encode()

    return go


def test_a_creation_that_may_have_happened_is_not_given_up_when_the_key_is_refused_then(
    serve, ask, tmp_path
):
    server = script(serve(echo))
    no = {"status": 401, "body": '{"error": {"message": "no"}}'}

    def later(where):
        if where == "POST batches":
            server.at = lambda where: no
            return {"drop": True}
        return None

    server.at = later
    with pytest.raises(client.TeacherStopped, match="set OPENAI_API_KEY"):
        ask(server, TEXTS, route=BATCH)
    server.at = lambda where: None
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert server.calls.count("POST batches") == 1
    assert server.worked == Counter(TEXTS)


def test_answers_about_a_batch_that_cannot_be_read_are_asked_for_again(serve, ask):
    server = script(serve(echo))
    odd = [{"status": 200, "body": "{"}, {"status": 200, "body": "[]"}]
    server.at = lambda where: odd.pop() if where.startswith("GET batches/") and odd else None
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert not odd


def test_a_batch_that_the_server_has_lost_can_be_given_up(serve, ask, tmp_path):
    server = script(serve(echo))
    server.desk.seconds = 3600.0
    soon = client.Route("batch", poll_seconds=0.01, wait_hours=0.0)
    with pytest.raises(client.TeacherStopped, match="run again"):
        ask(server, TEXTS, route=soon)
    server.desk.batches.clear()
    with pytest.raises(client.TeacherStopped, match="forget LEDGER"):
        ask(server, TEXTS, route=BATCH)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.forget_batches() == 1
        assert ledger.totals()["at_risk"] > 0  # it may have cost that
    server.desk.seconds = 0.0
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)


def test_a_batch_of_another_model_is_left_alone_and_does_not_hold_the_budget_check_up(
    serve, ask, tmp_path
):
    server = script(serve(echo))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.apply([book.batch_planned("other", server.url, "another model", 1)])
    with pytest.raises(client.BudgetReached):
        ask(server, TEXTS, route=BATCH, budget=1e-9)
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert [row["name"] for row in ledger.open_batches()] == ["other"]


# --- killed -------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, sys
from trait_lib.teacher import client, ledger, prices
url, path, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
requests = [ledger.Request([{"role": "user", "content": text}]) for text in texts]
price = prices.Price("m", "USD", "2026-01-01", 1.0, 2.0, 0.5)
async def main():
    with ledger.Ledger(path) as book:
        limits, where = client.Limits(first_delay=0.01), client.Server(url, needs_key=False)
        settings = client.Settings(model="m", max_tokens=100)
        route = client.Route("batch", poll_seconds=0.02)
        return await client.ask(requests, settings, limits, book, price, where, route)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "place",
    ["POST files", "POST batches", "GET batches/batch_000002", "GET files/file-000003/content"],
    ids="uploaded created polled fetched".split(),
)
def test_a_process_killed_at_any_step_pays_for_nothing_twice(serve, ask, tmp_path, place):
    """The step is done on the server, and the process is killed before it hears of it."""
    server, here = script(serve(echo)), threading.Event()
    server.at = lambda where: {"hold": here} if where == place and not here.is_set() else None
    path = tmp_path / "ledger.sqlite"
    process = prepared.start(PROGRAM, server.url, path, json.dumps(TEXTS))
    try:
        assert here.wait(30)
    finally:
        process.kill()
        process.join()
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert server.calls.count("POST batches") == 1
    assert server.worked == Counter(TEXTS)
    sums = totals(tmp_path)
    assert sums["cost"] == pytest.approx(12 * COST / 2)
    assert (sums["done"], sums["unknown"], sums["at_risk"]) == (12, 0, 0)


def test_replies_entered_before_a_fetch_broke_off_are_not_entered_twice(
    serve, ask, tmp_path, monkeypatch
):
    monkeypatch.setattr(batch, "CHANGES_PER_COMMIT", 2)
    server = script(serve(echo))
    commits, apply = [], Ledger.apply

    def full_disk(self, changes):
        commits.append(len(changes := list(changes)))
        if len(commits) == 6:
            raise OSError("no space left on device")
        return apply(self, changes)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "apply", full_disk)
        with pytest.raises(client.TeacherStopped, match=r"ledger.*no space left.*make room"):
            ask(server, TEXTS, route=BATCH)
    done = totals(tmp_path)["done"]
    assert 0 < done < 12
    assert [r.text for r in ask(server, TEXTS, route=BATCH)] == replies_to(TEXTS)
    assert server.worked == Counter(TEXTS)
    assert totals(tmp_path)["cost"] == pytest.approx(12 * COST / 2)


def test_the_stand_in_teacher_takes_batches():
    """The server of the small tiers, by its own address and over both of its interfaces."""
    from trait_lib.replica.stand_ins import teacher

    prompt = "Task: educational-quality\n<document>\nA dorn is six pims.\n</document>"
    request = [Request([{"role": "user", "content": prompt}])]
    settings, price = client.Settings(teacher.model_name()), prices.Price("m", "USD", "", 0, 0)

    async def go(url, path, route):
        where = client.Server(url, needs_key=False)
        with Ledger(path) as book:
            asked = (request, settings, client.Limits(), book, price, where, route)
            return await client.ask(*asked)

    with teacher.serve() as url:
        found = [asyncio.run(go(url, ":memory:", route)) for route in (BATCH, client.Route())]
    assert found[0] == found[1]
    assert "score" in found[0][0].text.lower()
