"""The run folder: one way from stage to stage, and a manifest that proves each."""

import json
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib import ROOT, records, run

PARAMS = {"domain": "math", "tier": "smoke", "seed": 3, "arm": "trait"}
FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH = run.STAGES


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def finished(name, files):
    stage = run.open_stage(name, PARAMS)
    for file, text in files.items():
        stage.path(file).write_text(text)
    stage.close({"rows": 1})
    return stage


def test_the_first_stages_are_shared_by_all_arms(runs):
    places = [run.stage_dir(name, PARAMS).relative_to(runs).as_posix() for name in run.STAGES]
    assert places[0] == "math/smoke/data/seed3/00_start_here"
    assert places[4] == "math/smoke/trait/seed3/04_evaluation"
    assert run.stage_dir(FIRST, PARAMS) == run.stage_dir(FIRST, {**PARAMS, "arm": "random"})
    assert run.stage_dir(FOURTH, PARAMS) != run.stage_dir(FOURTH, {**PARAMS, "arm": "random"})


def test_a_relative_runs_folder_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert run.runs_dir() == ROOT / "elsewhere"


def test_paths_are_shown_without_the_machine(runs):
    assert run.show(runs / "math/a.json") == "runs/math/a.json"
    assert run.show(ROOT / "params/a.yaml") == "params/a.yaml"
    assert run.show("/elsewhere/a") == "/elsewhere/a"


def test_a_stage_needs_the_one_before_it_finished():
    with pytest.raises(run.StageMissing, match=rf"Run notebooks/{FIRST}\.ipynb first"):
        run.open_stage(SECOND, PARAMS)
    run.open_stage(FIRST, PARAMS)  # begun, not finished
    with pytest.raises(run.StageMissing, match="make reproduce"):
        run.open_stage(SECOND, PARAMS)


def test_what_a_stage_reads_is_recorded_and_must_exist(tmp_path):
    first = finished(FIRST, {"rows.jsonl": "x", "base/model.bin": "y"})
    stage = run.open_stage(SECOND, PARAMS)
    assert stage.read(FIRST, "rows.jsonl") == first.folder / "rows.jsonl"
    stage.read(FIRST, "base")
    own = tmp_path / "own.txt"
    own.write_text("mine")
    stage.external(own)
    assert stage.inputs == {
        f"{FIRST}/rows.jsonl": run.hash_file(first.folder / "rows.jsonl"),
        f"{FIRST}/base": run.hash_path(first.folder / "base"),
        str(own): run.hash_file(own),
    }
    assert stage.external("Makefile") == ROOT / "Makefile"  # whatever the working directory is
    with pytest.raises(run.StageMissing, match=f"holds no other.jsonl; run notebook {FIRST} again"):
        stage.read(FIRST, "other.jsonl")
    with pytest.raises(FileNotFoundError, match="no such file"):
        stage.external(tmp_path / "absent")


def test_the_manifest_tells_what_when_and_with_what():
    stage = finished(FIRST, {"sub/a.txt": "hello", ".hidden": "no"})
    manifest = records.read_json(stage.folder / "manifest.json")
    assert manifest["stage"] == FIRST
    assert manifest["parameters"] == PARAMS
    assert manifest["results"] == {"rows": 1}
    assert manifest["outputs"] == {  # the SHA-256 of "hello"
        "sub/a.txt": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    }
    assert manifest["packages"]["torch"].startswith("2.13.0")
    assert manifest["wall_seconds"] >= 0 and manifest["peak_memory_gib"] > 0
    assert manifest["git"]


def test_opening_a_stage_again_withdraws_its_manifest_and_keeps_its_files():
    stage = finished(FIRST, {"part.txt": "half"})
    again = run.open_stage(FIRST, PARAMS)
    assert not (stage.folder / "manifest.json").exists()
    assert (again.folder / "part.txt").read_text() == "half"


def test_a_stage_that_another_process_writes_is_not_opened():
    code = f"from trait_lib import run; run.open_stage({FIRST!r}, {PARAMS!r}); input()"
    other = subprocess.Popen([sys.executable, "-c", f"print(1, flush=True); {code}"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    other.stdout.readline()
    lock = run.stage_dir(FIRST, PARAMS) / "scratch/writing"
    while not (lock.exists() and lock.read_text()):
        time.sleep(0.01)
    with pytest.raises(run.StageBusy, match=rf"process {other.pid} on .* is writing to runs/math"):
        run.open_stage(FIRST, PARAMS)
    run.open_stage(FIRST, {**PARAMS, "seed": 4})  # another run
    other.kill()
    other.wait()
    stage = run.open_stage(FIRST, PARAMS)  # the lock ends with its process
    stage.close()
    run.open_stage(FIRST, {**PARAMS, "dry_run": True})


def test_hash_of_a_folder_is_of_names_and_contents(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/a").write_text("a")
    assert run.hash_path(tmp_path / "one") == run.hash_path(tmp_path / "two")
    (tmp_path / "two/.hidden").write_text("x")
    assert run.hash_path(tmp_path / "one") == run.hash_path(tmp_path / "two")
    (tmp_path / "two/sub/a").rename(tmp_path / "two/sub/b")
    assert run.hash_path(tmp_path / "one") != run.hash_path(tmp_path / "two")


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=5))
def test_hash_of_a_value_does_not_depend_on_the_order_of_keys(value):
    turned = dict(reversed(value.items()))
    assert run.hash_value(value) == run.hash_value(turned)
    assert run.hash_value(value) != run.hash_value({**value, "one more": 1})


def test_a_cached_folder_is_built_once_by_key(runs):
    built = []

    def build(folder):
        built.append(folder)
        (folder / "model").write_text("m")

    first = run.cached("base", {"size": 1, "text": "abc"}, build)
    assert run.cached("base", {"text": "abc", "size": 1}, build) == first
    other = run.cached("base", {"size": 2, "text": "abc"}, build)
    assert len(built) == 2 and other != first
    assert json.loads((first / "key.json").read_text()) == {"size": 1, "text": "abc"}
    assert first.parent == runs / "cache"


def test_a_cached_folder_that_fails_to_build_is_not_there(runs):
    def build(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        run.cached("base", {"size": 1}, build)
    assert not list(runs.glob("cache/base-*[0-9a-f]"))
    assert (run.cached("base", {"size": 1}, lambda folder: None) / "half").exists()  # resumed


def test_two_who_want_the_same_cached_folder_build_it_once():
    built, barrier = [], threading.Barrier(2)

    def want():
        barrier.wait()
        run.cached("base", {"size": 1}, lambda folder: built.append(folder))

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_scratch_is_no_result():
    stage = run.open_stage(FIRST, PARAMS)
    stage.path("rows.jsonl").write_text("x")
    before = run.hash_path(stage.folder)
    stage.scratch("parts/a.parquet").write_text("y")
    assert stage.scratch("parts/a.parquet").read_text() == "y"
    assert run.hash_path(stage.folder) == before
    manifest = records.read_json(stage.close())
    assert list(manifest["outputs"]) == ["rows.jsonl"]
