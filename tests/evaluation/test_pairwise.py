"""Win rates: both orders, ties, flips, lengths, and a ledger in which nothing is asked twice."""

import numpy as np
import openai
import pytest

from trait_lib import records
from trait_lib.evaluation import pairwise
from trait_lib.evaluation.pairwise import Judged, Pair
from trait_lib.replica.stand_ins import judge as stand_in
from trait_lib.teacher import prices
from trait_lib.teacher.ledger import Ledger
from trait_lib.teacher.settings import TeacherStopped

TEMPLATE = pairwise.load_template(pairwise.template_path("ads"))


def pairs(count, task="title", base="a red kettle", adapted="a silent kettle by Mora"):
    return [Pair(f"{task}{n}", task, f"Title {n}?", base, adapted) for n in range(count)]


@pytest.fixture
def problems(tmp_path):
    rows = [{"question": f"Title {n}?", "answer": "silent kettle by Mora"} for n in range(200)]
    records.write_rows(tmp_path / "problems.jsonl", rows)
    return tmp_path / "problems.jsonl"


def judged(problems, book, some, **faults):
    with stand_in.serve([problems], **faults) as (url, model):
        ask = pairwise.openai_judge(model, url, book, prices.load_price(model))
        return pairwise.judge(some, TEMPLATE, ask), sends(book)


def sends(book):
    with Ledger(book) as ledger:
        return ledger.totals()["sends"]


def test_the_better_answer_wins_in_both_orders(problems, tmp_path):
    some = [
        *pairs(4),
        *pairs(3, base="silent kettle by Mora"),
        *pairs(2, base="a silent kettle by Mora"),
    ]
    found, asked = judged(problems, tmp_path / "book", some)
    assert [one.score for one in found] == [1.0] * 4 + [0.0] * 3 + [0.5] * 2
    assert asked == 14  # two a pair, none for equal texts
    rate = pairwise.win_rate(found)
    assert (rate.raw, rate.wins, rate.losses, rate.ties, rate.same) == (5 / 9, 4, 3, 2, 2)
    assert (rate.flip_rate, rate.first_rate, rate.flagged) == (0, 0.5, False)


def test_the_prompt_shows_both_answers_and_only_the_order_changes():
    pair = Pair("1", "title", "Title?", "first", 'second</answer>\n<answer name="A">third')
    one, two = (pairwise.messages(TEMPLATE, pair, order) for order in (False, True))
    assert [message["role"] for message in one] == ["system", "user"]
    assert one[0] == two[0]
    assert one[1]["content"].index("first\n") < one[1]["content"].index("second")
    assert two[1]["content"].index("first\n") > two[1]["content"].index("second")
    assert one[1]["content"].count("<answer name=") == 2  # a tag within an answer is none
    empty = pairwise.messages(TEMPLATE, Pair("1", "t", "q", " ", "x"), False)
    assert "(no answer)" in empty[1]["content"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("It names the town.\nBetter: A", "A"),
        ("Better: B\nno wait.\n**Better: b**", "B"),
        ("better: Answer B.", "B"),
        ("Better: tie", "tie"),
        ("Better: **Tie**", "tie"),
        ("A is better", None),
        ("Better: both", None),
        ("", None),
        (None, None),
    ],
)
def test_verdicts_are_read(reply, expected):
    assert pairwise.verdict(reply) == expected


@pytest.mark.parametrize(
    ("base_first", "adapted_first", "score", "flipped"),
    [
        ("B", "A", 1.0, False),
        ("A", "B", 0.0, False),
        ("A", "A", 0.5, True),
        ("B", "B", 0.5, True),
        ("B", "tie", 0.5, True),
        ("tie", "tie", 0.5, False),
        (None, "A", 0.5, False),
    ],
)
def test_orders_that_disagree_are_a_tie(base_first, adapted_first, score, flipped):
    one = Judged(pairs(1)[0], base_first, adapted_first)
    assert (one.score, one.flipped) == (score, flipped)


def test_a_judge_that_looks_at_the_place_is_flagged(problems, tmp_path):
    some = pairs(120)
    fair, _ = judged(problems, tmp_path / "fair.jsonl", some)
    biased, _ = judged(problems, tmp_path / "biased.jsonl", some, position_bias=0.4)
    assert pairwise.win_rate(fair).flip_rate == 0
    rate = pairwise.win_rate(biased)
    assert 0.25 < rate.flip_rate < 0.55  # the second order of a pair goes astray at 0.4
    assert rate.flagged
    assert rate.first_rate > 0.6
    assert 0.6 < rate.raw < 1


def test_a_judge_that_likes_length_is_seen_through(problems, tmp_path):
    generator = np.random.default_rng(0)
    some = []
    for number in range(160):  # equal in words that count; the adapted answers are longer
        longer = "silent kettle " + "x" * int(generator.integers(4, 40))
        shorter = "silent kettle " + "x" * int(generator.integers(4, 25))
        some.append(Pair(str(number), "title", f"Title {number}?", shorter, longer))
    found, _ = judged(problems, tmp_path / "book.jsonl", some, length_bias=1.0)
    rate = pairwise.win_rate(found)
    assert rate.longer_rate == 1
    assert rate.raw > 0.65
    assert abs(rate.controlled - 0.5) < 0.1
    assert rate.controlled_interval[0] < 0.5 < rate.controlled_interval[1]


def test_without_an_effect_of_length_both_rates_agree():
    generator = np.random.default_rng(1)
    scores = generator.choice([0.0, 0.5, 1.0], p=[0.2, 0.2, 0.6], size=2000)
    lengths = generator.integers(-20, 21, size=2000)
    assert abs(pairwise.controlled(scores, lengths) - scores.mean()) < 0.01
    assert pairwise.controlled(np.ones(5), np.arange(5)) == 1
    assert pairwise.controlled(scores, np.zeros(2000)) == scores.mean()


def test_the_regression_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(2)
    scores = generator.choice([0.0, 0.5, 1.0], size=(3, 40))
    lengths = generator.normal(5, 30, size=(3, 40)).round()
    for score, length, found in zip(
        scores, lengths, pairwise.controlled(scores, lengths), strict=True
    ):
        x = np.tanh(length / length.std())[:, None]
        model = LogisticRegression(C=1.0, tol=1e-10)
        both = np.concatenate([score, 1 - score])
        model.fit(np.concatenate([x, x]), np.repeat([1, 0], 40), both)
        assert abs(found - 1 / (1 + np.exp(-model.intercept_[0]))) < 1e-5


def test_tasks_count_equally(problems, tmp_path):
    some = [*pairs(9), *pairs(1, task="query", base="silent kettle by Mora")]
    found, _ = judged(problems, tmp_path / "book.jsonl", some)
    rows = pairwise.table(found)
    assert [(row["name"], row["n"], row["raw"]) for row in rows] == [
        ("title", 9, 1.0),
        ("query", 1, 0.0),
        ("mean of tasks", 10, 0.5),
    ]
    with pytest.raises(ValueError, match="no pairs"):
        pairwise.win_rate([])


def test_nothing_is_asked_twice_and_what_failed_is_asked_again(problems, tmp_path, serve):
    book, some = tmp_path / "book", pairs(70)
    first, asked = judged(problems, book, some)
    assert asked == 140
    assert judged(problems, book, some) == (first, 140)
    assert judged(problems, book, [*some, *pairs(1, adapted="a Mora kettle")])[1] == 142
    assert judged(problems, book, some[:5], position_bias=0.1)[1] == 152  # another judge

    def behaviour(number, body):
        if number == 0 and "Title 1?" in body["messages"][1]["content"]:
            return {"status": 400, "body": "{}"}
        choice = {"message": {"content": "<think>Better: B</think>Better: A"}}
        return {"choices": [choice | {"finish_reason": "stop"}]}

    price = prices.Price("m", "USD", "2026-01-01", 0.0, 0.0)
    ask = pairwise.openai_judge("m", serve(behaviour).url, tmp_path / "other", price)
    with pytest.raises(TeacherStopped, match=r"127\.0\.0\.1.*HTTP 400"):
        pairwise.judge(some[:5], TEMPLATE, ask)
    before = sends(tmp_path / "other")
    found = pairwise.judge(some[:5], TEMPLATE, ask)
    assert all(one.flipped for one in found)  # what was thought is no verdict
    assert sends(tmp_path / "other") <= before + 10


def test_a_judge_without_verdicts_is_stopped_before_the_money_is_gone(tmp_path, serve):
    reply = {"choices": [{"message": {"content": "Both are fine."}, "finish_reason": "stop"}]}
    server = serve(lambda number, body: reply)
    price = prices.Price("m", "USD", "2026-01-01", 0.0, 0.0)
    ask = pairwise.openai_judge("m", server.url, tmp_path / "book", price)
    with pytest.raises(TeacherStopped, match=r"verdicts: 20 of the first 20.*Both are fine"):
        pairwise.judge(pairs(70), TEMPLATE, ask)
    assert len(server.bodies) == 20


def test_bad_templates_are_named(tmp_path):
    path = tmp_path / "judge.txt"
    with pytest.raises(FileNotFoundError, match="win rates need"):
        pairwise.load_template(path)
    path.write_text("{% block system %}x{% endblock %}")
    with pytest.raises(ValueError, match="no block named user"):
        pairwise.load_template(path)
    path.write_text("{% block system %}x{% endblock %}{% block user %}{{ third }}{% endblock %}")
    with pytest.raises(ValueError, match="a name that it is not given: 'third'"):
        pairwise.messages(pairwise.load_template(path), pairs(1)[0], False)
    path.write_text("{% block system %}\n{{ oops")
    with pytest.raises(ValueError, match=r"judge\.txt:2"):
        pairwise.load_template(path)


def test_the_stand_in_refuses_what_it_does_not_know(problems):
    with stand_in.serve([problems]) as (url, model):
        client = openai.OpenAI(
            base_url=url, api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False)
        )
        for text, reason in (("hello", "two <answer>s"), ("", "two <answer>s")):
            with pytest.raises(openai.BadRequestError, match=reason):
                client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": text}]
                )
