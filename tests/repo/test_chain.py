"""Chain: what a result depends on, found without importing it."""

import sys

import pytest
from tiny import project, write_notebook

from trait_lib import ROOT, params, records, run
from trait_lib.repo import chain

VALUES = {"domain": "math", "tier": "smoke", "seed": 0, "arm": "trait"}


def test_the_question_imports_nothing_heavy():
    import subprocess

    code = "import sys, trait_lib.repo.chain, trait_lib.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"torch", "transformers", "sklearn", "matplotlib", "nbconvert", "datasets"}
    assert heavy & set(done.stdout.split()) == set()


def test_pins_cover_every_package_that_a_manifest_records():
    assert all(chain.pins().values()), chain.pins()


def test_parameters_come_from_defaults_file_and_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(params, "notebook_path", lambda name: tmp_path / f"{name}.ipynb")
    write_notebook(tmp_path / "04_evaluation.ipynb", "shots: int = 2  # [0, 9]\nn: int = 1", "")
    file = tmp_path / "math/smoke/04_evaluation.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("tier: smoke\nshots: 3\n")
    values = chain.resolve("04_evaluation", file, {"seed": 7, "arm": "x"})
    assert values == {"domain": "math", "tier": "smoke", "seed": 7, "shots": 3, "n": 1}
    with pytest.raises(params.ParameterError, match="'seed' must be of type int, got 'x'"):
        chain.resolve("04_evaluation", file, {"seed": "x"})
    file.write_text("shot: 3\n")
    with pytest.raises(params.ParameterError, match="did you mean 'shots'"):
        chain.resolve("04_evaluation", file, {})
    absent = tmp_path / "math/paper/04_evaluation.yaml"
    with pytest.raises(params.ParameterError, match="no such file; a tier needs one"):
        chain.resolve("04_evaluation", absent, {})


def test_an_input_is_looked_up_where_it_is_now(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    stage = run.open_stage(run.STAGES[0], VALUES)
    stage.path("rows.jsonl").write_text("rows")
    stage.path("base/sub/weights").write_text("w")
    stage.path("base/config").write_text("c")
    stage.close()
    for name in ("rows.jsonl", "base"):
        now = chain.current_input(f"{run.STAGES[0]}/{name}", VALUES, {})
        assert now == run.hash_path(stage.path(name))
    assert chain.current_input(f"{run.STAGES[0]}/gone", VALUES, {}) is None
    assert chain.current_input(f"{run.STAGES[1]}/rows.jsonl", VALUES, {}) is None
    assert chain.current_input(str(tmp_path / "gone"), VALUES, {}) is None


def test_a_users_file_is_hashed_again_only_when_it_looks_different(tmp_path, monkeypatch):
    own = tmp_path / "own.jsonl"
    own.write_text("one")
    old = {"fingerprints": {str(own): chain.fingerprint(own)}, "inputs": {str(own): "known"}}
    assert chain.current_input(str(own), VALUES, old) == "known"
    own.write_text("other")
    assert chain.current_input(str(own), VALUES, old) == run.hash_file(own)


def test_a_notebook_without_manifest_has_not_finished(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"end it with stage\.close"):
        chain.finish("00_start_here", VALUES)


def test_where_a_notebook_failed_is_told_in_a_few_lines(tmp_path):
    import nbformat

    path = tmp_path / "a.ipynb"
    write_notebook(path, "n: int = 1", "raise ValueError('no')")
    notebook = nbformat.read(path, as_version=4)
    long = "\n".join(f"line {i}" for i in range(99))
    error = nbformat.v4.new_output("error", ename="ValueError", evalue=long, traceback=["x"] * 999)
    notebook.cells[3].outputs = [error]
    notebook.cells[3].execution_count = 4
    nbformat.write(notebook, path)
    where, what = chain.error_of(path)
    assert where == " in cell [4] (raise ValueError('no'))"
    assert what.startswith("ValueError: line 0") and what.endswith("line 24")


def test_the_tiny_project_declares_what_its_files_give(tmp_path):
    project(tmp_path)  # it stands in for the real one in test_make.py
    assert sorted(f.stem for f in (tmp_path / "notebooks").iterdir()) == list(run.STAGES)
    assert records.read_json(tmp_path / "notebooks/04_evaluation.ipynb")["nbformat"] == 4
