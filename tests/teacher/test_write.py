"""From groups to passages through a real server, and what they cost."""

import asyncio
import re

import pytest
import yaml

from trait_lib import ROOT, records
from trait_lib.passages import checks, prompts, sampling, write
from trait_lib.replica.stand_ins import teacher
from trait_lib.teacher import client, prices
from trait_lib.teacher.ledger import Ledger

UNITS = {"dorn": 6, "tosk": 4, "pell": 7, "gart": 3}
PROBLEMS = [
    {
        "id": f"{task}-{unit}-{n}",
        "task": task,
        "topic": "length",
        "question": f"{ask} {n} {unit}?",
        "solution": f"One {unit} is {value} pims. {n} times {value} is {n * value}. "
        f"The answer is {n * value}.",
        "answer": str(n * value),
        "kind": "number",
        "split": "train",
        "entities": [unit],
    }
    for unit, value in UNITS.items()
    for task, ask, first in (
        ("one_step", "How many pims are", 2),
        ("buy", "Who sells", 6),
        ("cut", "Cut up", 10),
    )
    for n in range(first, first + 4)
]
# each problem is in one group, so that no passage is like another, however they are worded
GROUPS = sampling.sample_groups(PROBLEMS, 40, 2, seed=0, group_by="entity", max_uses=1)
COUNT = len(GROUPS)
FREE = prices.Price("reference", "USD", "2026-01-01", 0, 0)


def make(server, path, attempts=2, groups=None, price=FREE, model=None, trial=0, **rules):
    groups = groups or GROUPS
    template = prompts.load_template(prompts.template_path("math"))
    messages = [prompts.render(template, group) for group in groups]
    rules = checks.Rules(k=2, instructions=prompts.instructions(template, 2), **rules)
    settings = client.Settings(model or teacher.model_name(), seed=3)

    async def go():
        with Ledger(path) as ledger:
            limits = client.Limits(concurrency=8, tries=3, first_delay=0.01)
            asked = (groups, messages, rules, settings, limits, ledger, price, server, attempts)
            return await write.write_passages(*asked, trial=trial)

    return asyncio.run(go())


@pytest.fixture(scope="module")
def here():
    with teacher.serve() as url:
        yield client.Server(url, needs_key=False)


def test_the_reference_teacher_writes_only_good_passages(here, tmp_path):
    written = make(here, tmp_path / "l.sqlite")
    assert (len(written.passages), written.rejected) == (COUNT, [])
    by_id = {row["id"]: row for row in PROBLEMS}
    for row in written.passages:
        for name, paragraph in zip(row["problem_ids"], row["paragraphs"], strict=True):
            assert paragraph.endswith(by_id[name]["solution"])  # word for word
        (unit,) = set(by_id[row["problem_ids"][0]]["entities"])
        assert f"One {unit} is {UNITS[unit]} pims." in row["enlightenment"]
    assert len({row["id"] for row in written.passages}) == COUNT


def test_a_rerun_gives_the_same_rows_from_the_ledger_alone(here, tmp_path):
    first = make(here, tmp_path / "l.sqlite")
    away = client.Server("http://127.0.0.1:9/v1", needs_key=False)
    again = make(away, tmp_path / "l.sqlite")
    assert again.passages == first.passages
    assert again.cost(FREE) == first.cost(FREE)
    fresh = make(here, tmp_path / "other.sqlite")
    assert fresh.passages == first.passages


def passage(prompt):
    """A good passage in words of this test: each solution, and what they rest on."""
    solutions = re.findall(r"<solution>\n(.*?)\n</solution>", prompt, re.DOTALL)
    parts = [
        f'<paragraph problem="{i}">\nLook up the unit first. {solution}\n</paragraph>'
        for i, solution in enumerate(solutions, start=1)
    ]
    shared = solutions[0].partition(".")[0]
    parts.append(f"<enlightenment>\nBoth rest on one fact: {shared}.\n</enlightenment>")
    return "\n".join(parts)


def scripted(bad_first_tries):
    """A server that writes good passages, but badly on the first attempt at some groups."""

    def behaviour(number, body):
        text = passage(body["messages"][1]["content"])
        if body["seed"] == 3:  # the first attempt
            text = bad_first_tries(text) or text
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(str(body["messages"])), "completion_tokens": len(text)}
        return {"choices": [choice], "usage": usage}

    return behaviour


def test_a_rejected_reply_is_asked_for_again_and_both_are_paid(serve, tmp_path):
    def damage(text):
        return text.partition("<enlightenment>")[0] if "dorn" in text else ""

    server = serve(scripted(damage))
    where = client.Server(server.url, needs_key=False)
    price = prices.Price("m", "USD", "2026-01-01", 1.0, 1.0)
    written = make(where, tmp_path / "l.sqlite", price=price)
    assert len(written.passages) == COUNT
    reasons = checks.count_reasons(written.rejected)
    assert set(reasons) == {"no_enlightenment"}
    assert len(written.replies) == COUNT + reasons["no_enlightenment"] > COUNT
    cost = written.cost(price)
    tokens = cost["prompt_tokens"] + cost["completion_tokens"]
    assert cost["money"] == pytest.approx(tokens / 1e6, abs=1e-6)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.export(tmp_path / "out.jsonl")
        assert ledger.totals()["cost"] == pytest.approx(cost["money"], abs=1e-6)
    verdicts = [row["verdict"] for row in records.read_rows(tmp_path / "out.jsonl")]
    assert verdicts.count("accepted") == COUNT
    assert verdicts.count("no_enlightenment") == reasons["no_enlightenment"]


def test_with_one_attempt_the_rejected_stay_rejected_with_their_reply(serve, tmp_path):
    server = serve(scripted(lambda text: "I'm sorry, no." if "dorn" in text else ""))
    written = make(client.Server(server.url, False), tmp_path / "l.sqlite", attempts=1)
    assert len(written.passages) + len(written.rejected) == COUNT
    row = written.rejected[0]
    assert (row["reason"], row["reply"]) == ("refusal", "I'm sorry, no.")
    assert re.fullmatch(r"passage-\d{6}-attempt-0", row["id"])
    names = {row["id"] for row in written.passages}
    assert not names & {row["id"][:14] for row in written.rejected}


def test_a_request_without_any_reply_is_a_rejection_too(serve, tmp_path):
    answer = scripted(lambda text: "")

    def behaviour(number, body):
        text = body["messages"][1]["content"]
        return {"status": 500} if "dorn" in text else answer(number, body)

    server = serve(behaviour)
    written = make(client.Server(server.url, False), tmp_path / "l.sqlite", attempts=1)
    assert set(checks.count_reasons(written.rejected)) == {"call_failed"}
    assert written.passages


def test_no_passage_at_all_is_an_error_that_says_why(serve, tmp_path):
    server = serve(scripted(lambda text: text.replace("The answer is ", "The answer is 1")))
    with pytest.raises(write.NoPassages, match=rf"'wrong_answer': {COUNT}.*the reference has"):
        make(client.Server(server.url, False), tmp_path / "l.sqlite", attempts=1)


def test_a_run_stops_after_the_first_replies_when_nearly_all_are_rejected(serve, tmp_path):
    server = serve(scripted(lambda text: text.replace("The answer is ", "The answer is 1")))
    with pytest.raises(client.TeacherStopped, match=r"10 of the first 10 .*wrong_answer.*others"):
        make(client.Server(server.url, False), tmp_path / "l.sqlite", trial=10)
    assert len(server.bodies) == 10


def test_what_rejects_several_of_the_first_replies_is_told_with_one(serve, tmp_path, capsys):
    server = serve(scripted(lambda text: "I'm sorry, no." if "dorn" in text else ""))
    written = make(client.Server(server.url, False), tmp_path / "l.sqlite", trial=COUNT)
    refusals = checks.count_reasons(written.rejected)["refusal"]
    assert refusals >= 5
    assert f"{refusals} of the first {COUNT} replies" in (told := capsys.readouterr().out)
    assert "I'm sorry, no." in told


def test_a_ledger_in_other_hands_gives_the_same_rows_without_key_or_server(
    serve, tmp_path, monkeypatch
):
    """Rejected replies and requests that never had one are replayed too."""

    def behaviour(number, body):
        text = body["messages"][1]["content"]
        return {"status": 500} if "One pell" in text else answer(number, body)

    answer = scripted(lambda text: "I'm sorry, no." if "dorn" in text else "")
    written = make(client.Server(serve(behaviour).url, False), tmp_path / "ours.sqlite")
    assert {row["reason"] for row in written.rejected} == {"refusal", "call_failed"}
    with Ledger(tmp_path / "ours.sqlite") as ledger:
        ledger.export(tmp_path / "replies.jsonl.gz")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Ledger(tmp_path / "theirs.sqlite") as ledger:
        ledger.load(tmp_path / "replies.jsonl.gz")
    theirs = make(None, tmp_path / "theirs.sqlite")
    assert (theirs.passages, theirs.rejected) == (written.passages, written.rejected)
    assert theirs.cost(FREE) == written.cost(FREE)
    with pytest.raises(client.TeacherStopped, match="lacks 24 of the requests"):
        make(None, tmp_path / "theirs.sqlite", model="another")


# --- prices -------------------------------------------------------------------------------------


def test_the_price_file_is_dated_and_its_prices_add_up():
    table = yaml.safe_load((ROOT / "params/prices.yaml").read_text())
    for entry in table["models"]:
        price = prices.load_price(entry["model"].replace("*", "x"))
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", price.as_of)
        assert price.cost(1_000_000, 1_000_000) == pytest.approx(price.input + price.output)
    assert prices.load_price("reference-solution-1234").output == 0
    assert prices.load_price("gpt-4.1-mini-2025-04-14").input == 0.40
    assert prices.load_price("gpt-4.1").output == 8.00


def test_the_models_of_all_parameter_files_have_a_price():
    files = list((ROOT / "params").glob("*/*/02_passage_generation.yaml"))
    models = [yaml.safe_load(f.read_text()).get("model") for f in files]
    assert len([prices.load_price(model) for model in models if model]) >= 4


def test_a_model_without_a_price_is_refused_with_what_to_add(tmp_path):
    with pytest.raises(prices.PriceError, match=r"no price for the model 'gpt-9'.*PARAMS"):
        prices.load_price("gpt-9")
    bad = tmp_path / "prices.yaml"
    bad.write_text("models: [{model: a}]")
    with pytest.raises(prices.PriceError, match="is not a price file"):
        prices.load_price("a", bad)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "10.1.2.3",
        "192.168.0.7",
        "gpu-3",
        "box.local",
        "[fd00::1]",
    ],
)
def test_a_server_of_ones_own_costs_nothing_unless_priced(host, tmp_path):
    url = f"http://{host}:8000/v1"
    assert prices.load_price("my-model", base_url=url).cost(10**6, 10**6) == 0
    assert prices.load_price("gpt-4.1", base_url=url).output == 8.00  # such as a proxy
    own = tmp_path / "mine.yaml"
    own.write_text("currency: EUR\nmodels: [{model: my-*, as_of: today, input: 1, output: 2}]")
    price = prices.load_price("my-model", own, url)
    assert (price.currency, price.input, price.output) == ("EUR", 1, 2)


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "localhost.example.com"])
def test_a_public_server_without_a_price_is_refused(host):
    with pytest.raises(prices.PriceError, match="no price for the model 'my-model'"):
        prices.load_price("my-model", base_url=f"https://{host}/v1")


def test_prices_in_ones_own_folder_come_first_and_the_repositorys_after(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_PARAMS", str(tmp_path))
    (tmp_path / "prices.yaml").write_text(
        "currency: EUR\nmodels: [{model: gpt-4.1, as_of: today, input: 1, output: 2}]"
    )
    assert prices.load_price("gpt-4.1").currency == "EUR"
    assert prices.load_price("gpt-4.1-mini").output == 1.60


def test_the_papers_scale_costs_what_arithmetic_says():
    price = prices.Price("m", "USD", "2026-01-01", 2.0, 8.0, 0.5)
    assert 100_000 * price.cost(1000, 900) == pytest.approx(920)
