"""The checks on language, and the quality report with an example of each rejection."""

import asyncio

import pytest

from trait_lib import contamination
from trait_lib.passages import checks, language, parse, prompts, quality, write
from trait_lib.passages.sampling import Group
from trait_lib.teacher import client, prices
from trait_lib.teacher.ledger import Ledger

ENGLISH = (
    "The number of pims in a dorn is fixed, so it is looked up first and then multiplied by the "
    "number of dorns that the problem names."
)
OTHERS = {
    "de": quality.GERMAN,
    "fr": "Les deux problèmes reposent sur le même fait, qu'il faut d'abord retrouver; ensuite "
    "chacun demande une étape que l'autre ne demande pas.",
    "es": "Los dos problemas se apoyan en el mismo hecho, que hay que recordar primero; después "
    "cada uno pide un paso propio que el otro no necesita.",
    "zh": "两道题都依赖同一个事实,必须首先把它找出来。然后,每一道题都需要自己的一个步骤。"
    "另一道题并不需要这个步骤。因此先看共同点,再看不同点。",
    "ru": "Обе задачи опираются на один и тот же факт, который сначала нужно вспомнить, а затем "
    "каждая требует своего шага.",
}


@pytest.mark.parametrize("code", OTHERS)
def test_another_language_is_known(code):
    assert language.other_language(OTHERS[code], "en") == code
    assert language.other_language(OTHERS[code], code) == ""
    assert language.other_language(OTHERS[code], "") == ""


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        "One nog is 7 biln. One trilp is 2 biln. 7 minus 2 is 5. The answer is 5.",
        "2x + 3 = 7, so 2x = 4 and x = 2.",
        r"We have $\frac{d}{dx}\left(x^2\sin x\right)=2x\sin x+x^2\cos x$ by the product rule.",
        r"\[ \int_0^1 x^n \, dx = \frac{1}{n+1} \] " + ENGLISH,
        "1 2 3 4 5 6 7 8 9 10",
        "",
    ],
)
def test_english_formulas_and_made_up_words_pass(text):
    assert language.other_language(text, "en") == ""


def test_an_unknown_language_is_refused_before_anything_is_asked():
    with pytest.raises(ValueError, match="'english' is not known"):
        checks.Rules(k=2, language="english")


QUESTION = "How many pims does a man have who buys nine dorns and six tosks and loses one pell?"


def problem(name, task, n):
    return {"id": name, "task": task, "question": f"How many pims are {n} dorns?"} | {
        "answer": str(6 * n),
        "kind": "number",
        "solution": f"One dorn is 6 pims. {n} times 6 is {6 * n}. The answer is {6 * n}.",
    }


GROUP = Group("length", (problem("a", "one_step", 4), problem("b", "buy", 7)))


def row(closing=ENGLISH):
    solutions = tuple(p["solution"] for p in GROUP.problems)
    return parse.to_row("passage-000000", GROUP, parse.Passage(solutions, closing))


@pytest.fixture(params=["math", "ads"])
def rules(request):
    template = prompts.load_template(prompts.template_path(request.param))
    index = contamination.build_index({"t": QUESTION})
    return checks.Rules(k=2, instructions=prompts.instructions(template, 2), test_index=index)


def test_a_row_written_as_a_reply_gives_the_row_again():
    assert parse.to_row("passage-000000", GROUP, parse.parse(parse.as_reply(row()), 2)) == row()


def test_every_reason_that_a_reply_can_have_is_shown_by_a_damaged_one(rules):
    rules.accept(parse.as_reply(row()), "stop", GROUP)
    found = quality.verdicts(quality.damaged(row(), rules, QUESTION), rules, GROUP)
    expected = {
        "cut at the token limit": "truncated",
        "thoughts and no more": "empty",
        "stopped by a content filter": "filtered",
        "a refusal": "refusal",
        "half of it gone": "missing_paragraph",
        "a paragraph twice": "extra_paragraph",
        "no last paragraph": "no_enlightenment",
        "a paragraph too long": "length",
        "an instruction in the text": "copied_prompt",
        "German at the end": "language",
        "no final answer": "no_answer",
        "another answer": "wrong_answer",
        "a test question in it": "contaminated",
        "the same once more": "duplicate",
        "a word more at the end": "duplicate",
    }
    assert {v["what"]: v["reason"] for v in found} == expected
    assert set(expected.values()) == set(checks.REASONS) - {"call_failed"}
    assert all(v["detail"] for v in found)


def test_the_report_counts_every_reply_and_shows_examples(serve, tmp_path):
    """Three groups: one good at once, one at the second attempt, one refused twice."""
    groups = [Group("length", (problem(f"a{n}", "x", n), problem(f"b{n}", "y", n + 50)))
              for n in (3, 5, 8)]  # fmt: skip
    made = {
        str(i): parse.as_reply(
            parse.to_row("", g, parse.Passage(tuple(p["solution"] for p in g.problems), ENGLISH))
        )
        for i, g in enumerate(groups)
    }

    def behaviour(number, body):
        name, attempt = body["messages"][0]["content"], body["seed"]
        bad = {("1", 0): OTHERS["de"], ("2", 0): "I'm sorry, no.", ("2", 1): "I'm sorry, no."}
        text = bad.get((name, attempt), made[name])
        if text == OTHERS["de"]:
            text = made[name].replace(ENGLISH, text)
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    prompted = [[{"role": "user", "content": name}] for name in made]
    rules, server = checks.Rules(k=2), serve(behaviour)

    async def go():
        price = prices.Price("m", "USD", "2026-01-01", 1.0, 1.0)
        where = client.Server(server.url, needs_key=False)
        settings = client.Settings("m", seed=0)
        with Ledger(tmp_path / "l.sqlite") as book:
            asked = (groups, prompted, rules, settings, client.Limits(), book, price, where, 2)
            return await write.write_passages(*asked)

    found = quality.report(asyncio.run(go()), 3, rules)
    assert (found["groups"], found["replies"], found["passages"]) == (3, 5, 2)
    assert found["by_attempt"] == [
        {"attempt": 0, "replies": 3, "accepted": 1},
        {"attempt": 1, "replies": 2, "accepted": 1},
    ]
    assert list(found["reasons"]) == list(checks.REASONS)
    counts = {r: v["count"] for r, v in found["reasons"].items() if v["count"]}
    assert counts == {"language": 1, "refusal": 2}
    (example,) = found["reasons"]["language"]["examples"]
    assert example["id"] == "passage-000001-attempt-0"
    assert "in de, not en" in example["detail"] and quality.GERMAN in example["reply"]
    assert [part["part"] for part in found["lengths"]] == [
        "paragraph",
        "enlightenment",
        "whole text",
    ]
