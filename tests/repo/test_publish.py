"""Publishing: outputs of a run in the notebook as it stands, and nothing of the machine."""

import subprocess

import nbformat
import pytest

from trait_lib import ROOT, records, run
from trait_lib.repo import publish

V4 = nbformat.v4


def stream(text, name="stdout"):
    return V4.new_output("stream", name=name, text=text)


def code(source, *outputs, tags=(), count=9):
    metadata = {"tags": list(tags), "papermill": {"duration": 1.5}}
    return V4.new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def test_text_and_code_are_the_current_ones_and_outputs_are_of_the_run():
    source = V4.new_notebook(
        cells=[V4.new_markdown_cell("new text"), code("x = 1  # why"), code("x")]
    )
    result = V4.new_output("execute_result", data={"text/plain": "1"}, execution_count=7)
    executed = V4.new_notebook(
        cells=[
            V4.new_markdown_cell("old text"),
            code("x=1"),
            code("# Parameters\nseed = 0", tags=["injected-parameters"]),
            code("x", result),
        ],
        metadata={"papermill": {"start_time": "2030-01-01T00:00"}, "mine": 1},
    )
    merged = publish.with_outputs(source, executed)
    assert [c.source for c in merged.cells] == ["new text", "x = 1  # why", "x"]
    assert [c.execution_count for c in merged.cells[1:]] == [1, 2]
    assert merged.cells[2].outputs[0].execution_count == 2
    assert merged.cells[2].outputs[0].data["text/plain"] == "1"
    assert all(cell.metadata == {} for cell in merged.cells)
    assert merged.metadata.kernelspec.name == "python3" and set(merged.metadata) == {
        "kernelspec",
        "language_info",
    }
    nbformat.validate(merged)
    assert source.cells[1].execution_count == 9  # the one given stays as it is


def test_runs_of_other_code_do_not_fit():
    source = V4.new_notebook(cells=[code("a"), code("b")])
    with pytest.raises(ValueError, match="shorter"):
        publish.with_outputs(source, V4.new_notebook(cells=[code("a")]))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (stream(f"wrote {ROOT}/runs/a"), str(ROOT)),
        (stream("log in /tmp/x"), "/tmp/"),
        (stream("at 2031-02-03T10:11:12"), "2031-02-03T10:11"),
        (stream("careful", name="stderr"), "output on stderr: careful"),
        (V4.new_output("display_data", data={"text/html": f"<b>{ROOT}</b>"}), str(ROOT)),
    ],
)
def test_marks_of_the_machine_and_the_moment_are_found(output, words):
    notebook = V4.new_notebook(cells=[code("x", output, count=3)])
    assert f"cell [3]: {words}" in publish.machine_marks(notebook)


def test_clean_outputs_have_no_marks():
    notebook = V4.new_notebook(cells=[code("x", stream("runs/math/replica 12:30, 3 files"))])
    assert publish.machine_marks(notebook) == []


def test_a_changed_tree_is_refused_and_its_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "ROOT", tmp_path)

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("runs/\n")
    git("add", "-A")
    git("commit", "-m", "a")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/log").write_text("ignored files do not count")
    publish.refuse_changes()
    (tmp_path / "code.py").write_text("x = 2\n")
    (tmp_path / "new.py").write_text("")
    with pytest.raises(publish.NotPublishable, match=r"code\.py, new\.py.*commit or stash"):
        publish.refuse_changes()


def test_results_of_a_changed_tree_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    values = {"domain": "math", "tier": "replica", "seed": 0}
    manifest = run.stage_dir("00_start_here", values) / "manifest.json"
    records.write_json(manifest, {"git": "0" * 40 + run.CHANGED})
    with pytest.raises(publish.NotPublishable, match="uncommitted changes; remove the file"):
        publish.notebook_from_run("00_start_here", values)
