"""The tidy file: whole cells replaced, sorted, and nothing else taken for it."""

import pytest

from trait_lib import ROOT
from trait_lib.claims import __main__ as command
from trait_lib.claims import report, results, settings, verdicts
from trait_lib.claims.claims import DOCUMENTS, GENERAL, MEAN, PASSAGES

# the rate that the committed settings give: cells at another one are not the arm's result
RATE = settings.rate_of("trait", settings.read(ROOT / "params"))


def record(arm="trait", seed=0, manifest="a", **values):
    rows = [{"task": t, "metric": "accuracy", "value": v, "n": 9} for t, v in values.items()]
    cell = {"domain": "math", "seed": seed, "arm": arm, "rate": RATE, "manifest": manifest}
    return {**cell, "rows": rows, "curve": [{"step": 3, "text": "domain", "bits_per_byte": 1.5}]}


def test_a_cell_that_ran_again_replaces_all_of_its_rows_and_no_others(tmp_path):
    file = tmp_path / "results.csv"
    results.add(file, results.rows_of(record(seed=1, mean=0.5, old_task=0.1)))
    results.add(file, results.rows_of(record(seed=0, mean=0.4)))
    before = file.read_text()
    results.add(file, results.rows_of(record(seed=1, manifest="b", mean=0.6123456789)))
    lines = file.read_text().splitlines()
    assert lines == [
        ",".join(results.COLUMNS),
        f"math,0,trait,{RATE:g},mean,accuracy,0.4,9,a",
        f"math,1,trait,{RATE:g},mean,accuracy,0.612346,9,b",
    ]
    assert before.splitlines()[:2] == lines[:2], "what did not change stands where it was"


def test_a_value_that_was_not_measured_has_no_row():
    rows = results.rows_of(record(mean=0.5, auc=float("nan"), none=None))
    assert [row["task"] for row in rows] == ["mean"]


def test_learning_curves_have_a_file_of_their_own(tmp_path):
    results.add(tmp_path / "curves.csv", results.curve_of(record()))
    (row,) = results.read(tmp_path / "curves.csv")
    assert (row["step"], row["text"], row["value"]) == (3, "domain", 1.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n", "csv:1: the columns must be"),
     (",".join(results.COLUMNS) + "\nmath,x,trait,0.1,t,m,0.5,9,a\n", "csv:2: invalid literal")],
)  # fmt: skip
def test_another_file_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(results.BadResults, match=message):
        results.read(tmp_path / "r.csv")


def test_the_committed_settings_name_arms_that_there_are():
    known = settings.read(ROOT / "params")
    assert settings.rate_of("base", known) == settings.rate_of("copied_answer", known) == 0
    assert settings.rate_of("trait_finetuned", known) == known["rates"]["finetune"]
    with pytest.raises(ValueError, match="unknown arm 'trial'; did you mean 'trait'"):
        settings.check_arms(["trial"])


def test_the_sweep_takes_the_best_rate_of_each_arm_alone():
    rows = [
        {"arm": arm, "rate": rate, "task": "mean of tasks", "value": value}
        for arm, rate, value in [("trait", 1e-3, 0.7), ("trait", 2e-3, 0.9), ("trait", 2e-3, 0.3),
                                 ("dsir", 1e-3, 0.2), ("dsir", 2e-3, 0.4)]
    ]  # fmt: skip
    best = {row["arm"]: row["rate"] for row in command.best_rates(rows) if row["best"]}
    assert best == {"trait": "0.001", "dsir": "0.002"}


def test_verdicts_are_of_the_seeds_that_nothing_was_chosen_on():
    rows = [row for seed in (0, 1, 2) for row in results.rows_of(record(seed=seed, **{MEAN: 0.9}))]
    assert "no verdict is final" in report.about(rows, 0)
    (of_seed,) = report.scores(rows).values()
    assert sorted(of_seed) == [0, 1, 2]
    rows += results.rows_of(record(seed=10, **{MEAN: 0.5}))
    assert report.about(rows, 0).endswith("of the confirmation seeds 10")
    (of_seed,) = report.scores(rows).values()
    assert of_seed == {10: 0.5}
    (of_seed,) = report.scores(rows, development=True).values()
    assert sorted(of_seed) == [0, 1, 2]


def test_tables_and_figures_are_made_from_results_alone():
    rows = []
    for domain in ("ads", "math"):
        for number, arm in enumerate(("base", "random", "dsir", "trait", "one_mixed_stage")):
            for seed in range(3):
                level = number / 6 + seed / 50
                own = record(
                    arm, seed, **{MEAN: level, PASSAGES: level, DOCUMENTS: level, GENERAL: 0.9}
                )
                rows += [{**row, "domain": domain} for row in results.rows_of(own)]
    found = verdicts.scores(rows, lambda arm: RATE)
    table = report.claims_table(found)
    assert {row["claim"] for row in table} == {1, 2, 6, 8}
    for drawer, given in ((report.forest, table), (report.by_knowledge, found),
                          (report.forgetting, found), (report.rate_curve, rows)):  # fmt: skip
        figure, numbers, words = drawer(given)
        assert numbers and len(words.split()) > 8
        report.show.plt.close(figure)
