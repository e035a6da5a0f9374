"""2,000 requests to a server that fails in every way, by a client that is killed five times.

The server stalls for 30 s where it stalls; the client's timeout, a parameter, is 2 s here so that
the test does not take minutes. Kills and faults come from seeded generators.
"""

import json
import random
import sqlite3
import threading
import time
from collections import Counter

import prepared
import pytest

from trait_lib import records

prepared.load("trait_lib.passages.write", "trait_lib.teacher.client", "tests.passages_ready")

REQUESTS = 2000
KILLS = 5
STALL_SECONDS = 30
NO_COMPLETION = {"malformed", "no choices"}

PROGRAM = """
import asyncio, json, sys
from trait_lib import records
from trait_lib.passages import checks, sampling, write
from trait_lib.teacher import client, ledger, prices
url, path, out, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def problem(name, number):
    question = f"How many pims are {number} dorns?"
    return {"id": name, "task": name[0], "question": question, "answer": str(6 * number)}

groups = [sampling.Group("length", (problem(f"a{i}", i), problem(f"b{i}", i + 7000)))
          for i in range(count)]
prompts = [[{"role": "user", "content": f"{i} {i + 7000}"}] for i in range(count)]

async def main():
    limits = client.Limits(concurrency=48, timeout_seconds=2, tries=12, first_delay=0.02)
    price = prices.Price("m", "USD", "2026-01-01", 1.0, 2.0, 0.5)
    with ledger.Ledger(path) as book:
        return await write.write_passages(
            groups, prompts, checks.Rules(k=2), client.Settings("m", 200, seed=5),
            limits, book, price, client.Server(url, needs_key=False), 2)

written = asyncio.run(main())
records.write_rows(out, [*written.passages, *written.rejected])
"""


def passage(body):
    """A good passage for the two numbers in the prompt, worded by them and nothing else."""
    parts = []
    for place, number in enumerate(map(int, body["messages"][0]["content"].split()), start=1):
        text = f"One dorn is 6 pims. {number} times 6 is {6 * number}. "
        text += f"The answer is {6 * number}."
        parts.append(f'<paragraph problem="{place}">\n{text}\n</paragraph>')
    closing = "Both turn dorns into pims by the same fact: one dorn is 6 pims."
    return "\n".join([*parts, f"<enlightenment>\n{closing}\n</enlightenment>"])


def reply(body):
    """The reply to a request, the same each time; some passages are of no use."""
    text, reason = passage(body), "stop"
    lot = random.Random(f"reply|{body['seed']}|{body['messages'][0]['content']}").random()
    if lot < 0.04:
        text, reason = text[: len(text) // 2], "length"
    elif lot < 0.06:
        text = text.replace("The answer is ", "The answer is 9", 1)
    elif lot < 0.07:
        text = "I'm sorry, but I cannot help with that."
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 60}}


class Broken:
    """A server's behaviour: at random it refuses, drops, garbles, says nothing, or stalls."""

    def __init__(self, seed):
        self.seed, self.lock = seed, threading.Lock()
        self.good, self.faults = Counter(), Counter()
        self.over = threading.Event()

    def __call__(self, number, body):
        asked = (body["messages"][0]["content"], body["seed"] - 5)
        fault = self.at(asked, number)
        with self.lock:
            self.faults.update([fault] if fault else [])
            self.good.update([] if fault else [asked])
        full = json.dumps(reply(body))
        if fault == "stalled":
            self.over.wait(STALL_SECONDS)
        return {
            "": {"body": full},
            "429": {"status": 429, "headers": {"Retry-After": "0.02"}},
            "500": {"status": 500},
            "503": {"status": 503, "body": "<html>busy</html>"},
            "dropped": {"drop": True, "body": full},
            "malformed": {"body": full[:-20]},
            "no choices": {"body": json.dumps(reply(body) | {"choices": []})},
            "stalled": {"body": full},
        }[fault]

    def at(self, asked, number):
        """The fault of the nth send. Status 200 without a completion never comes twice in a row:
        the same answer twice is a rejection, and no fault that passes."""
        now, before = (
            self.fault(random.Random(f"{self.seed}|{asked}|{n}").random())
            for n in (number, number - 1)
        )
        return "500" if {now, before} <= NO_COMPLETION else now

    @staticmethod
    def fault(lot):
        """One in four requests meets one of these, a stall being the rarest."""
        names = ("429", "500", "503", "dropped", "malformed", "no choices")
        if lot < 0.003:
            return "stalled"
        return names[int(lot * 1000) % 6] if lot < 0.25 else ""


def start(server, folder, count=REQUESTS):
    out = folder / "out.jsonl"
    return prepared.start(PROGRAM, server.url, folder / "ledger.sqlite", out, count)


def finish(process, folder):
    process.join(240)
    assert process.exitcode == 0
    return list(records.read_rows(folder / "out.jsonl"))


def rows(folder, columns, where="1"):
    db = sqlite3.connect(folder / "ledger.sqlite")
    found = db.execute(f"SELECT {columns} FROM calls WHERE {where}").fetchall()
    db.close()
    return found


def unknown(folder):
    """The requests that a killed client had entered as sent and not as ended."""
    found = rows(folder, "messages, attempt", "state = 'sent'")
    return {(json.loads(messages)[0]["content"], attempt) for messages, attempt in found}


def stop_at(process, reached, deadline=120.0):
    """Kill the process as soon as `reached()`; False when it ended before."""
    until = time.monotonic() + deadline
    while process.is_alive() and time.monotonic() < until:
        if reached():
            process.kill()
            process.join()
            return True
        time.sleep(0.001)
    return False


@pytest.mark.slow
def test_every_request_ends_once_whatever_the_server_and_the_machine_do(serve, tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    expected = finish(start(serve(lambda number, body: reply(body)), calm), calm)

    rough.mkdir()
    broken = Broken(seed=20)
    server = serve(broken)
    moments = sorted(random.Random(3).sample(range(100, REQUESTS - 100), KILLS))
    in_flight = Counter()
    for moment in moments:
        process = start(server, rough)
        assert stop_at(process, lambda m=moment: sum(broken.good.values()) >= m)
        in_flight.update(unknown(rough))
    found = finish(start(server, rough), rough)
    broken.over.set()

    assert found == expected
    twice = {asked: n - 1 for asked, n in broken.good.items() if n > 1}
    assert all(n <= in_flight[asked] for asked, n in twice.items())
    ended = rows(rough, "state, verdict, finish_reason")
    asked = {(json.loads(m)[0]["content"], a) for m, a in rows(rough, "messages, attempt")}
    assert len(asked) == len(ended) == len(broken.good) > REQUESTS  # each once, none lost
    assert {state for state, _, _ in ended} == {"done"}
    verdicts = Counter(verdict for _, verdict, _ in ended)
    assert set(verdicts) == {"accepted", "truncated", "wrong_answer", "refusal"}
    assert verdicts == Counter(v for (v,) in rows(calm, "verdict"))
    assert set(broken.faults) >= {"429", "500", "503", "dropped", "malformed", "no choices"}
    assert broken.faults["stalled"] >= 3
    print(
        f"\n{len(ended)} requests, {sum(server.received.values())} sends, kills at {moments}\n"
        f"faults: {dict(broken.faults)}\nends: {dict(verdicts)}\n"
        f"in flight at a kill: {in_flight.total()}, of them paid twice: {sum(twice.values())}"
    )
