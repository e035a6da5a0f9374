"""The bill: what a run costs, told before anything is spent, and plans that cannot go well."""

import shutil

import pytest

from trait_lib import ROOT, params, run
from trait_lib.passages import prompts, sampling
from trait_lib.repo import bill, costs
from trait_lib.teacher import client, prices
from trait_lib.teacher.ledger import Ledger, Request
from trait_lib.training.checks import preflight
from trait_lib.training.loop import engine

PAID = [(domain, tier) for domain in ("math", "ads") for tier in ("small", "paper")]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def whole(values, assumptions):
    lines = bill.items(values, assumptions)
    return bill.total([line for some in lines.values() for line in some])


@pytest.mark.parametrize(("domain", "tier"), PAID)
def test_the_paid_tiers_have_a_price_and_can_go_well(domain, tier):
    values, assumptions = bill.values_of(domain, tier), costs.assumed(tier)
    lines = bill.items(values, assumptions)
    assert list(lines) == list(costs.ITEMS)
    assert all(line.hours > 0 for some in lines.values() for line in some)
    assert bill.refusals(values, assumptions) == []
    bill.refuse(values)
    low, high = {"small": (10, 40), "paper": (1000, 4000)}[tier]
    assert low < whole(values, assumptions).money < high


@pytest.mark.parametrize("domain", ["math", "ads"])
def test_the_replica_costs_nothing(domain):
    assert whole(bill.values_of(domain, "replica"), costs.assumed("replica")).money == 0


def test_the_training_is_billed_as_notebook_03_prints_it(tmp_path):
    values = bill.values_of("math", "paper")
    asked = values[costs.TRAINING]
    _, stages = costs.stages_of(values)
    size = preflight.shape(preflight.model_config(asked["base_model"]))
    micro = engine.micro_batch_rows(asked, 8)
    needs = preflight.estimate(size, stages, asked, tmp_path, micro)
    line = costs.training(values, costs.assumed("paper"), {})[1]
    assert (line.money, line.tokens) == (needs.dollars, needs.tokens)
    assert line.hours == pytest.approx(197.4 / 8, rel=0.01)  # wall hours of eight devices


def test_the_passages_are_billed_as_the_client_plans_them(tmp_path):
    values, assumptions = bill.values_of("math", "small"), costs.assumed("small")
    asked = values[costs.PASSAGES]
    row = {"id": "", "question": "q" * 240, "solution": "s" * 440, "task": "t"}
    template = prompts.load_template(prompts.template_path("math"))
    chats = [prompts.render(template, sampling.Group("topic", (row, row)))]
    limits = client.Limits(32, 500.0, 200000.0)
    settings, price = client.Settings(asked["model"], 1500), prices.load_price(asked["model"])
    with Ledger(tmp_path / "ledger.sqlite") as book:
        one = client.plan([Request(chats[0])], settings, limits, book, price, 700, 15.0)
    (line,) = costs.passages(values, assumptions, {})
    # one attempt and, for 0.15 of the replies, a second one
    assert line.money == pytest.approx(10_000 * 1.15 * one.money)


def test_a_dry_run_replaces_what_was_assumed_to_the_cent():
    values, assumptions = bill.values_of("math", "small"), costs.assumed("small")
    stage = run.open_stage(costs.PASSAGES, {**values[costs.PASSAGES], "dry_run": True})
    costs.keep(stage, [costs.Item("passages by gpt-4.1-mini", money=12.34)])
    lines = bill.items(values, assumptions)
    assert [line.money for line in lines[costs.PASSAGES]] == [12.34]
    assert "measured by dry runs: 02_passage_generation;" in bill.text(values)
    changed = {**values, costs.PASSAGES: {**values[costs.PASSAGES], "passages": 9}}
    assert bill.items(changed, assumptions)[costs.PASSAGES][0].money != 12.34


@pytest.mark.parametrize(
    ("tier", "stage", "name", "value", "message"),
    [
        ("small", costs.TRAINING, "tokens_stage2", 40_000_000,
         r"source passages would be read 4\.07 times and max_epochs is 4.*lower tokens_stage2"),
        ("paper", costs.TRAINING, "seed_share", 0.0625, r"source seed .*lower seed_share"),
        ("small", costs.PASSAGES, "budget", 15.0, r"about 15\.9\d for passages by gpt-4\.1-mini"),
        ("small", costs.SELECTION, "selection_tokens", 30_000_000, r"source selected would be"),
    ],
)  # fmt: skip
def test_a_plan_that_rejections_would_break_is_refused(tier, stage, name, value, message):
    values = bill.values_of("ads" if name == "seed_share" else "math", tier)
    values[stage][name] = value
    with pytest.raises(params.ParameterError, match=message):
        bill.refuse(values)
    assert "REFUSED: " in bill.text(values)
    bill.refuse({**values, costs.PASSAGES: {**values[costs.PASSAGES], "teacher": "reference"}})


@pytest.mark.parametrize("domain", ["math", "ads"])
def test_no_rung_of_the_ladder_costs_more_than_its_budget(domain):
    rows = bill.ladder(domain)
    money = [float(row["money"].replace(",", "")) for row in rows]
    budgets = [float(row["budget"].replace(",", "")) for row in rows]
    assert budgets[:4] == [5, 20, 100, 500]
    assert all(cost <= budget + 0.5 for cost, budget in zip(money, budgets, strict=True))
    assert money == sorted(money) and money[0] > 4.5
    assert rows[-1]["buys of tier"] == "100% of paper"


def test_a_users_plan_file_comes_first(tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "accepted_share: 0.5\nproblems: {gsm8k: [1, 2]}\ntiers: {small: {cores: 3}}\n"
    )
    found = costs.assumed("small", tmp_path)
    assert (found["accepted_share"], found["cores"]) == (0.5, 3)
    assert found["problems"]["gsm8k"] == [1, 2] and found["problems"]["sat"] == [0, 32]
    assert found["question_tokens"] == 60
    (tmp_path / "plan.yaml").write_text("acceptd_share: 0.5\n")
    with pytest.raises(ValueError, match=r"plan\.yaml: unknown acceptd_share"):
        costs.assumed("small", tmp_path)


def test_every_assumption_is_named_with_its_meaning():
    text = bill.assumptions_text(costs.assumed("paper"))
    lines = [line for line in text.splitlines() if " = " in line and ": " not in line]
    assert all(len(line.partition("#")[2]) > 5 for line in lines), text
    assert "accepted_share = 0.85  # of the teacher's replies" in text


def test_make_stops_before_the_first_notebook(tmp_path, monkeypatch):
    from trait_lib.repo import commands

    shutil.copytree(ROOT / "params/math/small", tmp_path / "math/small")
    file = tmp_path / "math/small/03_two_stage_training.yaml"
    file.write_text(file.read_text().replace("tokens_stage2: 30000000", "tokens_stage2: 50000000"))
    monkeypatch.setenv("TRAIT_PARAMS", str(tmp_path))
    args = commands.parser().parse_args(["check", "--tier", "small"])
    with pytest.raises(params.ParameterError, match="source passages would be read"):
        commands.check(args)


@pytest.mark.parametrize("tier", ["replica", "small"])
def test_the_dry_runs_of_the_notebooks_agree_with_the_bill_to_the_cent(tier):
    values, assumptions = bill.values_of("math", tier), costs.assumed(tier)
    before = whole(values, assumptions).money
    for name in costs.ITEMS:
        stage = run.open_stage(name, {**values[name], "dry_run": True})
        said = bill.of(stage)
        money = bill.total(bill.items(values, assumptions)[name]).money
        assert said.splitlines()[-1].split()[-1] == f"{money:,.2f}"
    assert whole(values, assumptions).money == before
    stage = run.open_stage(costs.START, {**values[costs.START], "dry_run": True})
    said = bill.of_run(stage)
    assert f"{before:,.2f}" in said and "measured by dry runs: 00_start_here, 01" in said
    assert "What a budget buys:" in said
