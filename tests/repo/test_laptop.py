"""All arms of the tier laptop: their order, the control, the file of results."""

import csv
import re
from pathlib import Path

import pytest

from trait_lib import records, run
from trait_lib.repo import laptop


def test_the_control_comes_first_and_each_run_once():
    runs = laptop.order(["math", "ads"], stand_in=True)
    names = [(one.domain, one.seed, one.name) for one in runs]
    assert len(set(names)) == len(names)
    assert names[0] == ("math", 0, "wrong_results")
    assert [name for *_, name in names[1:6]] == list(laptop.FIRST)
    assert names[-2:] == [("math", 0, "trait_mined"), ("math", 0, "no_replay")]
    assert ("math", 0, "trait, stand-in teacher") in names and ("math", 2, "dsir") in names
    assert ("ads", 0, "trait") in names and ("ads", 1, "trait") not in names


def test_scrambled_passages_keep_their_form():
    row = {"id": "p", "text": "3 times 40 is 120. The answer is 120."}
    other = laptop.scrambled(row)["text"]
    shape = re.sub(r"\d", "9", row["text"])
    assert re.sub(r"\d", "9", other) == shape and other != row["text"]
    assert laptop.scrambled(row)["text"] == other


def test_the_control_stands_on_passages_without_sense(tmp_path):
    own, place, inside = tmp_path / "own", tmp_path / "place", Path("math/laptop/data/seed0")
    stage = own / inside / laptop.STAGE["02"]
    row = {"id": "p", "text": "3 times 40 is 120."}
    records.write_rows(stage / "passages.jsonl", [row])
    (place / inside).mkdir(parents=True)

    def finish():
        outputs = {"passages.jsonl": run.hash_file(stage / "passages.jsonl")}
        records.write_json(stage / "manifest.json", {"outputs": outputs, "results": {}})
        records.write_json(stage.with_suffix(".key.json"), {"manifest": "old"})
        stage.with_suffix(".ipynb").write_text("{}")

    finish()
    for text in ("3 times 40 is 120.", "5 and 50"):
        records.write_rows(stage / "passages.jsonl", [{**row, "text": text}])
        finish()
        for _ in range(2):
            laptop.without_sense(own, place, inside)
        made = place / inside / laptop.STAGE["02"]
        [found] = records.read_rows(made / "passages.jsonl")
        assert found == laptop.scrambled({**row, "text": text})
        manifest = records.read_json(made / "manifest.json")
        assert manifest["outputs"]["passages.jsonl"] == run.hash_file(made / "passages.jsonl")
        key = records.read_json(made.with_suffix(".key.json"))
        assert key["manifest"] == run.hash_file(made / "manifest.json")


def scores(folder, low, high):
    row = {"group": "choice", "unit": "accuracy", "n": 9, "difference": (low + high) / 2, "p": 0.5}
    row |= {"name": "result", "base": 0.5, "adapted": 0.5, "base_low": 0.4, "low": low}
    records.write_json(folder / "scores.json", {"rows": [{**row, "high": high}]})
    records.write_json(folder / "manifest.json", {"low": low})
    return folder


@pytest.mark.parametrize(("low", "gate"), [(-0.1, "passes"), (0.01, "form")])
def test_rows_are_replaced_and_marked_where_the_control_gained(tmp_path, low, gate):
    file = tmp_path / "results.csv"
    trait = laptop.Run("math", 0, "trait")
    control = laptop.Run("math", 0, "stage2_only", laptop.CONTROL)
    for _ in range(2):
        laptop.add(file, laptop.rows_of(control, 1e-4, scores(tmp_path, low, 0.2)))
        laptop.add(file, laptop.rows_of(trait, 2e-4, scores(tmp_path, 0.05, 0.2)))
    with open(file, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["arm"], row["rate"], row["n"], row["gate"]) for row in rows] == [
        ("wrong_results", "0.0001", "9", gate),
        ("trait", "0.0002", "9", gate),
    ]
    assert all(len(row["manifest"]) == 12 and row["low"] and row["high"] for row in rows)
