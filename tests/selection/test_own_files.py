"""Notebook 01 by itself, on files that a user names, as papermill runs it."""

import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from trait_lib import ROOT, records


@pytest.mark.slow
def test_it_selects_from_own_files_without_notebook_00(tmp_path, sums, tales):
    rows = [{"key": i, "body": text} for i, text in enumerate([*sums[20:], *tales] * 2)]
    records.write_rows(tmp_path / "corpus/a.jsonl.gz", rows[:90])
    records.write_rows(tmp_path / "corpus/b.parquet", rows[90:])
    records.write_rows(tmp_path / "seed.jsonl", [{"body": text} for text in sums[:20]])
    asked = [{"id": "q", "question": sums[25]}]
    records.write_rows(tmp_path / "questions.jsonl", asked)
    given = ["-p", "seed_files", f"[{tmp_path}/seed.jsonl]", "-p", "text_field", "body"]
    given += ["-y", f"corpus_files: ['{tmp_path}/corpus']", "-p", "id_field", "key"]
    given += ["-p", "question_files", f"{tmp_path}/questions.jsonl", "-p", "quality_filter", "none"]
    given += ["-p", "selection_documents", "30", "-p", "oversample", "10.0", "-p", "dim", "4"]
    given += ["-p", "tier", "local", "-p", "buckets", "1000", "-p", "rank_by", "classifier"]
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks/01_data_selection.ipynb")]
    environment = {
        "TRAIT_RUNS": str(tmp_path / "runs"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [*command, str(tmp_path / "out.ipynb"), "--no-progress-bar", *given],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stage = tmp_path / "runs/math/local/data/seed0/01_data_selection"
    table = pq.read_table(stage / "scores.parquet").to_pylist()
    assert len(table) == 200
    kept = [row for row in table if row["kept"]]
    taken = list(records.read_rows(stage / "selected.jsonl.zst"))
    assert len(taken) == len(kept) == 30
    assert sum(row["text"] in sums for row in taken) >= 28
    assert {row["id"] for row in taken} == {row["id"] for row in kept}
    (hit, again) = records.read_rows(stage / "contaminated.jsonl")
    assert hit["question"] == again["question"] == "questions/q"
    assert sums[25] not in {row["text"] for row in taken}
    assert {row["reason"] for row in table} >= {"selected", "contaminated", "duplicate"}
    inputs = records.read_json(stage / "manifest.json")["inputs"]
    assert any(name.endswith("seed.jsonl") for name in inputs)
