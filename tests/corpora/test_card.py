import pytest

from trait_lib import ROOT, hub, records
from trait_lib.corpora import (
    composition,
    composition_figure,
    describe,
    load_task,
    record_inputs,
)
from trait_lib.params import ParameterError
from trait_lib.run import Stage, hash_path


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


def test_every_input_is_recorded_once_by_its_content(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "pieces", lambda source: (2, "the hash of its files"))
    files = ["c.jsonl", "math_eval/gsm8k_train.jsonl.gz", "math_eval/gsm8k_test.jsonl.gz"]
    for name in files:
        records.write_rows(tmp_path / name, [{"text": name}])
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "README.md").write_text("about")
    (tmp_path / "corpus" / "link.jsonl").symlink_to(tmp_path / "c.jsonl")
    params = {
        "domain": "math",
        "tasks": ["gsm8k", "math@hub"],
        "general_tasks": [],
        "data_dir": str(tmp_path),
        "pool_files": ["c.jsonl", "corpus", "hub://x/y"],
        "seed_files": ["c.jsonl"],
        "general_files": [],
    }
    stage = Stage("00_start_here", tmp_path / "stage", params)
    said = record_inputs(stage, params)
    tasks = [file for name in params["tasks"] for file in load_task(name, "math").files]
    paths = {str(file.relative_to(ROOT)): file for file in tasks}
    paths |= {str(tmp_path / name): tmp_path / name for name in files}
    hubs = {name: version for name, version in stage.inputs.items() if name.startswith("hub://")}
    assert stage.inputs == hubs | {name: hash_path(path) for name, path in paths.items()}
    assert hubs["hub://x/y"] == "the hash of its files"
    assert "reads c.jsonl" in said and "reads hub://x/y" in said
    assert "passed over 1 files: about the data, such as README.md" in said
    assert "passed over 1 files: the same file again, by a link or another name" in said
    with pytest.raises(ParameterError, match="no task file"):
        record_inputs(stage, params | {"tasks": ["nothing"]})


def test_the_figure_of_the_pool_says_its_shares():
    rows = [{"label": "general", "documents": 3, "share": 0.75}, {"label": "math", "share": 0.25}]
    fig, plotted, alt = composition_figure(rows)
    assert plotted == rows and alt.endswith("general 75.0%, math 25.0%.")
    assert [bar.get_width() for bar in fig.axes[0].patches] == [0.75, 0.25]
