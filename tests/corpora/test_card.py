import pytest

from trait_lib import records
from trait_lib.corpora import composition, describe, input_files, load_task
from trait_lib.params import ParameterError


def test_the_card_counts_rows_and_characters_of_every_file(tmp_path):
    records.write_rows(
        tmp_path / "pool.jsonl.zst", [{"id": "a", "text": "four"}, {"text": "sixsix"}]
    )
    records.write_rows(tmp_path / "problems_test.jsonl", [{"question": "abc", "solution": "de"}])
    records.write_rows(tmp_path / "empty.jsonl", [])
    (tmp_path / "manifest.json").write_text("{}")
    assert describe(tmp_path) == [
        {"file": "empty.jsonl", "rows": 0, "characters": 0, "mean": 0.0},
        {"file": "pool.jsonl.zst", "rows": 2, "characters": 10, "mean": 5.0},
        {"file": "problems_test.jsonl", "rows": 1, "characters": 5, "mean": 5.0},
    ]


def test_the_composition_lists_labels_by_frequency(tmp_path):
    rows = [{"label": label} for label in ("other", "math", "other", "ads")]
    records.write_rows(tmp_path / "labels.jsonl", rows)
    found = composition(tmp_path / "labels.jsonl")
    assert [row["label"] for row in found] == ["other", "ads", "math"]
    assert found[0] == {"label": "other", "documents": 2, "share": 0.5}
    records.write_rows(tmp_path / "labels.jsonl", [])
    assert composition(tmp_path / "labels.jsonl") == []


def test_the_inputs_are_every_local_file_once_and_no_hub_data_set(tmp_path):
    params = {
        "domain": "math",
        "tasks": ["gsm8k", "math@hub"],
        "general_tasks": [],
        "data_dir": str(tmp_path),
        "pool_files": ["c.jsonl", "hub://x/y"],
        "seed_files": ["c.jsonl"],
        "general_files": [],
    }
    found = input_files(params)
    paths = [load_task(name, "math").path for name in params["tasks"]]
    names = ["c.jsonl", "math_eval/gsm8k_train.jsonl.gz", "math_eval/gsm8k_test.jsonl.gz"]
    assert sorted(found) == sorted([*paths, *(tmp_path / name for name in names)])
    with pytest.raises(ParameterError, match="no task file"):
        input_files(params | {"tasks": ["nothing"]})
