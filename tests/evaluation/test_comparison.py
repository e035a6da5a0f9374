"""From one model's answers to the summary that `make` prints."""

import json
import subprocess
import sys

import numpy as np
import pytest

from trait_lib import ROOT, records, run
from trait_lib.evaluation import charts, comparison, measure, pairwise, summary
from trait_lib.evaluation.inference.generation import Settings

PROBLEMS = [
    {
        "id": f"{task}-{n}",
        "task": task,
        "question": f"Rewrite the query red tents {n}.",
        "answer": "crimson tents",
        "kind": "text",
        "documents_only": n % 2 == 1,
    }
    for task in ("query_rewriting", "sums", "general_questions")
    for n in range(6)
]
PAIRS = [
    {
        "id": f"p{n}",
        "task": "relevance",
        "topic": f"q{n // 2}",
        "query": "cow" if n % 2 else "hen",
        "document": "A cow has",
        "label": n % 2,
        "prompt": "The answer",
        "positive": " is 21",
        "negative": " is 2",
    }
    for n in range(6)
]
TEXTS = {
    "domain": ["One warb is 7 saln.", "3 times 7 is 21."],
    "general": ["A hen has 2 legs."] * 3,
}
QUESTIONS = measure.Questions(
    PROBLEMS,
    {row["id"]: row["question"] for row in PROBLEMS},
    PAIRS,
    {row["id"]: row["prompt"] for row in PAIRS},
    TEXTS,
)


def evaluated(right, shift=0.0):
    """A model that answers the first `right` items of each task, made by hand."""
    rows = [
        {
            "id": row["id"],
            "task": row["task"],
            "documents_only": row["documents_only"],
            "correct": int(row["id"][-1]) < right,
            "extracted": "crimson tents" if int(row["id"][-1]) < right else "red tents",
        }
        for row in PROBLEMS
    ]
    scores = {
        "likelihood": np.array([row["label"] + shift for row in PAIRS]),
        "domain_bits": np.array([30.0, 40.0]) - shift,
        "domain_bytes": np.array([18.0, 15.0]),
        "general_bits": np.array([30.0] * 3),
        "general_bytes": np.array([16.0] * 3),
    }
    return comparison.Evaluated({row["id"]: row for row in rows}, scores)


@pytest.fixture
def rows():
    keywords = [{"keyword": "crimson tents"}]
    return comparison.table(QUESTIONS, evaluated(1), evaluated(4, 3.0), keywords)


def test_every_group_of_scores_is_there(rows):
    assert [row["group"] for row in rows] == [
        *["tasks"] * 2, "mean", "split", "split", "relevance", *["rewriting"] * 6, "text", "text",
        "general",
    ]  # fmt: skip
    found = {row["name"]: row for row in rows}
    assert found["sums"]["base"] == pytest.approx(1 / 6)
    assert found["mean of tasks"]["adapted"] == pytest.approx(4 / 6)
    assert found["entities in documents only"]["adapted"] == pytest.approx(2 / 3)
    assert found["entities in documents only"]["n"] == 6
    assert found["relevance (likelihood)"]["base"] == 1.0
    assert found["rewrites: density"]["adapted"] == pytest.approx(4 / 6)
    assert found["held-out domain text"]["base"] == pytest.approx(70 / 33)
    assert found["general questions"]["n"] == 6
    assert found["rewrites: coverage"]["adapted"] == 1
    assert found["sums"]["base_se"] == pytest.approx((1 / 6 * 5 / 6 / 6) ** 0.5, abs=0.02)
    assert found["sums"]["p"] == 0.25 and found["sums"]["p_holm"] == 0.5
    for row in rows:
        assert row["difference"] == pytest.approx(row["adapted"] - row["base"])
        if row["low"] is not None:
            assert (
                row["low"] <= row["difference"] + 1e-9 and row["difference"] <= row["high"] + 1e-9
            )


def test_win_rates_stand_beside_the_scores():
    some = [
        pairwise.Judged(pairwise.Pair(f"{task}{n}", task, "q", "b", "a" * n), *seen)
        for task in ("title", "description")
        for n, seen in enumerate([("B", "A")] * 6 + [("A", "B")] * 2 + [("A", "A")] * 2, start=1)
    ]
    rows = comparison.table(QUESTIONS, evaluated(1), evaluated(4), judged=some)
    found = [row for row in rows if row["group"] == "win rate"]
    assert [row["name"] for row in found] == [
        "title (judge)", "description (judge)", "mean of tasks (judge)",
        "mean at equal lengths (judge)",
    ]  # fmt: skip
    for row in found[:3]:
        assert row["adapted"] == pytest.approx(0.7) and row["base"] == pytest.approx(0.3)
        assert row["low"] < row["difference"] < row["high"]
    assert found[3]["adapted"] != found[2]["adapted"]
    assert [row["n"] for row in found] == [10, 10, 20, 20]


def test_the_headline_and_its_gaps(rows):
    found = comparison.headline(rows)
    assert found["ratio"] == pytest.approx(4.0)
    assert found["general_text_change_percent"] == pytest.approx(0)
    assert found["auc_label_base"] is None
    assert comparison.headline([])["ratio"] is None


def test_item_changes_add_up():
    for row in comparison.item_changes(evaluated(1), evaluated(4)):
        assert row["wrong_to_right"] == 3 and row["right_to_wrong"] == 0
        counts = (v for k, v in row.items() if k not in ("task", "n", "p", "p_holm"))
        assert sum(counts) == row["n"] == 6
        assert row["p"] == 0.25 and row["p_holm"] == 0.75  # three of three: 2 / 2^3, three tasks


def test_domains_without_pairs_keywords_or_general_questions():
    problems = [row for row in PROBLEMS if row["task"] == "sums"]
    questions = measure.Questions(problems, {}, [], {}, {})
    keep = [row["id"] for row in problems]
    one = comparison.Evaluated({i: evaluated(2).answers[i] for i in keep}, {})
    found = comparison.table(questions, one, one)
    assert [row["name"] for row in found] == [
        "sums", "entities in passages", "entities in documents only",
    ]  # fmt: skip
    notes = summary.build(found, comparison.headline(found), [])["notes"]
    assert "mean accuracy 0.333 -> 0.333, 1.0 times" in notes


def test_the_summary_is_plain_json_and_fits_a_screen(rows, tmp_path):
    changes = comparison.item_changes(evaluated(1), evaluated(4))
    found = summary.build(
        [{**rows[0], "low": float("nan")}, *rows[1:]], comparison.headline(rows), changes
    )
    records.write_json(tmp_path / "summary.json", found)
    assert json.loads((tmp_path / "summary.json").read_text()) == found
    assert found["table"][0]["low"] is None
    assert set(found["table"][0]) == set(summary.COLUMNS)
    lines = charts.show.text_table(found["table"], found["columns"]).splitlines()
    assert len(lines) + len(found["notes"]) < 40 and max(map(len, lines)) <= 120
    assert "items: 9 from wrong to right, 0 from right to wrong" in found["notes"]


def test_the_summary_needs_no_torch():
    code = "import sys, trait_lib.evaluation.summary; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_figures_plot_what_their_data_says(rows):
    fig, data, alt = charts.scores(rows, "title", "share")
    assert len(data) == len(rows)
    assert all(f"{r['name']} {r['base']:.3f} to {r['adapted']:.3f}" in alt for r in data)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == [row["name"] for row in data]
    fig, data, alt = charts.changes(comparison.item_changes(evaluated(1), evaluated(4)))
    assert [bar.get_width() for bar in fig.axes[0].patches[:3]] == [3, 3, 3]
    assert alt.endswith(
        f"{data[0]['task']} 3 and 0, {data[1]['task']} 3 and 0, {data[2]['task']} 3 and 0."
    )
    charts.show.plt.close("all")


# --- one model, from its weights ----------------------------------------------------------------


def test_a_model_is_asked_everything_once(runs, model_folder, monkeypatch):
    settings = Settings(max_new_tokens=6)
    folder = measure.evaluate(
        str(model_folder), "hash", QUESTIONS, settings, measure.Scoring(window=16)
    )
    found = comparison.read_evaluated(folder)
    assert list(found.answers) == [row["id"] for row in PROBLEMS]
    row = found.answers["sums-0"]
    assert {"prompt", "output", "extracted", "gold", "correct", "reason", "seconds"} <= row.keys()
    assert found.scores["label"].shape == found.scores["likelihood"].shape == (6,)
    assert found.scores["general_bits"].shape == (3,)
    monkeypatch.setattr(measure, "graded", None)  # a second call does nothing
    again = measure.evaluate(
        str(model_folder), "hash", QUESTIONS, Settings(6, workers=2), measure.Scoring(window=16)
    )
    assert again == folder
    rows = comparison.table(QUESTIONS, found, found)
    assert all(row["difference"] == 0 for row in rows)


def test_the_key_holds_what_decides_a_result(runs, model_folder, monkeypatch):
    keys = []
    monkeypatch.setattr(run, "cached", lambda name, key, build: keys.append(run.hash_value(key)))
    scoring = measure.Scoring()
    for model, settings, scored in (
        ("a", Settings(), scoring),
        ("a", Settings(batch_size=3), scoring),
        ("b", Settings(), scoring),
        ("a", Settings(stop=()), scoring),
        ("a", Settings(), measure.Scoring("label")),
    ):
        measure.evaluate("folder", model, QUESTIONS, settings, scored)
    assert keys[0] == keys[1] and len(set(keys)) == 4


def test_a_limit_keeps_whole_groups_of_each_task():
    assert measure.limited(PROBLEMS, 0, 0) == PROBLEMS
    two = measure.limited(PROBLEMS, 2, seed=1)
    assert len(two) == 6 and two == [row for row in PROBLEMS if row in two]
    assert two == measure.limited(PROBLEMS, 2, seed=1) != measure.limited(PROBLEMS, 2, seed=2)
    pairs = measure.limited(PAIRS, 3, seed=0, by="topic")
    assert len(pairs) == 4 and len({row["topic"] for row in pairs}) == 2


def test_alternatives_of_a_problem_are_right_too():
    problem = {**PROBLEMS[0], "alternatives": ["scarlet tents"]}
    questions = measure.Questions([problem], {problem["id"]: "?"}, [], {}, {})
    output = {problem["id"]: {"output": "The answer is scarlet tents.", "tokens": 5, "seconds": 0}}
    assert measure.graded(questions, output)[0]["correct"]
