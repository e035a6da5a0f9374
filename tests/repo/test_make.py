"""The Makefile: what runs, what does not run again, and what a user is told.

Most of it is told with the real Makefile on six tiny notebooks; the last test runs the real
notebooks in the smoke tier.
"""

import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from tiny import make, project, ran

from trait_lib import ROOT, run, show

ALL = ["00", "01", "02", "03", "04", "05"]
MODEL = "03_two_stage_training/model/weights.txt"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The tiny project and what two makes said that began in it at the same time.

    The first one makes a finished run; the tests below change it one after the other.
    """
    folder = project(tmp_path_factory.mktemp("a project"))  # a space in the path must not matter
    goals = ["reproduce"], ["03_two_stage_training", "ARM=random"]
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda words: make(folder, *words), goals))
    assert [done.returncode for done in said] == [0, 0], [done.stderr for done in said]
    return folder, *said


@pytest.fixture(scope="module")
def tiny(two):
    """The tiny project with its finished run."""
    return two[0]


def again(folder, *words):
    """The stages that run when all that a run's numbers hang on is asked for."""
    done = make(folder, "04_evaluation", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return ran(done)


def parameters(folder, stage, **values):
    lines = {"domain": "math", "tier": "replica", **values}
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in lines.items())
    (folder / f"params/math/replica/{stage}.yaml").write_text(text)


def seconds_of_children():
    """Seconds that children have computed: whatever runs beside the tests does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seed_folder(folder, arm="trait"):
    return folder / f"runs/math/replica/{arm}/seed0"


def test_makes_at_the_same_time_wait_for_each_other_and_arms_share_the_first_three_stages(two):
    folder, *both = two
    assert sorted(stage for done in both for stage in ran(done)) == sorted([*ALL, "03"])
    assert ran(both[1])[-1] == "03"
    assert any("another make is at it; waiting for its end" in done.stderr for done in both)
    for arm in ("trait", "random"):
        assert f"{arm} 0.5" in (seed_folder(folder, arm) / MODEL).read_text()


def test_the_end_shows_the_comparison_and_where_the_pages_are(two):
    tiny, first, _ = two
    shown = first.stdout
    assert "math, replica tier, arm trait, seed 0" in shown
    assert "\n".join(["task    base  adapted", "-" * 21, "size   0.250       34"]) in shown
    assert "a note" in shown and "cost: " in shown
    assert len(shown.splitlines()) < 25
    for name in ("trait/seed0/04_evaluation.html", "index.html"):
        assert f"runs/math/replica/{name}" in shown
        assert (tiny / "runs/math/replica" / name).exists()
    index = (tiny / "runs/math/replica/index.html").read_text()
    assert all(f"{stage}.html" in index for stage in run.STAGES)


def test_the_committed_notebooks_and_figures_come_from_one_command(tiny):
    before = seconds_of_children()
    done = make(tiny, "notebooks")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == []  # the second time does nothing, in seconds
    assert seconds_of_children() - before < 20
    path = tiny / "notebooks/02_passage_generation.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    picture, printed = code[2].outputs
    assert picture.metadata["image/png"]["alt"] == "A line that rises, nothing else."
    assert printed.text.endswith("in runs/math/replica/data/seed0/02_passage_generation\n")
    assert "papermill" not in path.read_text() and "injected" not in path.read_text()
    for suffix in (".png", ".svg", ".csv", ".alt.txt"):
        assert (tiny / f"figures/02_line{suffix}").exists()
    assert "02_line.png" in (tiny / "figures/README.md").read_text()


def test_touch_and_outputs_in_notebooks_rerun_nothing(tiny):
    before = {path: path.read_bytes() for path in (tiny / "notebooks").iterdir()}
    for folder, _, files in os.walk(tiny):
        for name in files:
            os.utime(os.path.join(folder, name))
    done = make(tiny, "notebooks")
    assert ran(done) == [] and "changed: no notebook" in done.stdout
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_of_ones_own_comes_first_and_its_run_is_not_published(tiny):
    own = tiny / "my own"
    (own / "math/desk").mkdir(parents=True)
    for stage in run.STAGES:
        (own / f"math/desk/{stage}.yaml").write_text("")
    (own / "math/replica").mkdir()
    (own / "math/replica/04_evaluation.yaml").write_text("shots: 7\n")
    before = (tiny / "notebooks/04_evaluation.ipynb").read_bytes()
    done = make(tiny, "notebooks", "PARAMS=my own")
    assert ran(done) == ["04"]
    made = json.loads((seed_folder(tiny) / "04_evaluation/manifest.json").read_text())
    assert made["parameters"]["shots"] == 7
    assert done.returncode != 0
    assert "04_evaluation: not run with the notebook's own shots" in done.stderr
    assert (tiny / "notebooks/04_evaluation.ipynb").read_bytes() == before
    assert make(tiny, "check", "PARAMS=my own", "TIER=desk").returncode == 0
    assert again(tiny) == ["04"]  # without it the repository's file counts again


def test_what_changed_reruns_exactly_what_depends_on_it(tiny):
    room = tiny / "trait_lib/room.py"
    parameters(tiny, "01_data_selection", keep=2)  # the default, now written down
    room.write_text("# a comment\n" + room.read_text())
    parameters(tiny, "03_two_stage_training", rate=0.25)
    assert again(tiny) == ["03", "04"]
    parameters(tiny, "04_evaluation", shots=3)
    room.write_text("def kept(rows, count):\n    return list(rows)[:count]\n")
    assert again(tiny) == ["01", "04"]  # the same rows come out of 01: 02 has nothing new to read


def test_a_failed_notebook_is_kept_and_named_and_its_error_shown(tiny):
    file = tiny / "params/math/replica/03_two_stage_training.yaml"
    before = file.read_text()
    parameters(tiny, "03_two_stage_training", rate=2.0)
    done = make(tiny, "04_evaluation")
    assert done.returncode != 0
    assert ran(done) == ["03"]
    kept = seed_folder(tiny) / "03_two_stage_training.failed.ipynb"
    assert kept.exists()
    assert not (seed_folder(tiny) / "03_two_stage_training/manifest.json").exists()
    assert "03_two_stage_training failed in cell [4]" in done.stderr
    assert "ValueError: rate 2.0 is more than\n    this model can bear" in done.stderr
    assert "runs/math/replica/trait/seed0/03_two_stage_training.failed.ipynb" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.splitlines()) < 12
    (tiny / "runs/memory_ran_out").touch()
    done = make(tiny, "04_evaluation")
    assert ran(done) == ["03"]  # it is not taken for done
    assert done.returncode != 0 and "Kernel died" in done.stderr
    assert "Kept, with every output up to the error" in done.stderr
    (tiny / "runs/memory_ran_out").unlink()
    file.write_text(before)
    assert again(tiny) == ["03"]  # the same model as before it failed: 04 stands
    assert not kept.exists()


def test_removed_or_foreign_results_are_made_again(tiny):
    (seed_folder(tiny, "data") / "02_passage_generation/passages.txt").unlink()
    manifest = seed_folder(tiny) / "04_evaluation/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")  # as after a run by hand in JupyterLab
    assert again(tiny) == ["02", "04"]


def test_a_dry_run_ends_well_and_leaves_what_was_finished(tiny):
    before = {f: f.read_bytes() for f in seed_folder(tiny, "data").rglob("*") if f.is_file()}
    written = (tiny / "params/math/replica/01_data_selection.yaml").read_text()
    parameters(tiny, "01_data_selection", dry_run=True)
    done = make(tiny, "reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == ["01"]
    assert "no comparison: 01_data_selection with dry_run: true" in done.stdout
    assert "03_two_stage_training: left out, since 01_data_selection is a dry run" in done.stderr
    shown = seed_folder(tiny, "data") / "01_data_selection.dry_run.ipynb"
    assert "Nothing was kept." in shown.read_text()
    logs = {f for f in before if f.suffix in (".log", ".lock")}
    assert all(f.read_bytes() == text for f, text in before.items() if f not in logs)
    done = make(tiny, "01_data_selection", "SEED=8")  # its notebook 00 is made first
    assert done.returncode == 0 and ran(done) == ["00", "01"]
    (tiny / "params/math/replica/01_data_selection.yaml").write_text(written)
    assert again(tiny) == []


def test_a_users_own_files_are_read_and_watched_by_content(tiny, tmp_path):
    own = tmp_path / "my data" / "own.jsonl"
    own.parent.mkdir()
    own.write_text('{"id": "a"}\n')
    words = ["00_start_here", "TIER=local", f"DATA={own.parent}"]
    assert ran(make(tiny, *words)) == ["00"]
    written = tiny / "runs/math/local/data/seed0/00_start_here/rows.jsonl"
    assert written.read_text() == '{"id": "a"}\n'
    os.utime(own)
    assert ran(make(tiny, *words)) == []
    own.write_text('{"id": "b"}\n')
    assert ran(make(tiny, *words)) == ["00"]
    assert written.read_text() == '{"id": "b"}\n'


def test_uncommitted_changes_stop_make_notebooks_before_anything_runs(tmp_path):
    folder = project(tmp_path)
    subprocess.run(["git", "init", "-q", folder], check=True)
    done = make(folder, "notebooks")
    assert done.returncode != 0 and ran(done) == []
    assert "error: uncommitted changes: " in done.stderr and "commit or stash" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["TIER=huge"], "no parameters in 'params/math/huge'; TIER is one of: local, replica"),
        (["DOMAIN=law"], "no parameters in 'params/law/replica'; DOMAIN is one of: math"),
        (["TIER=local", "DATA=nowhere"], "DATA: no such folder: nowhere"),
        (["ARM=other"], "'arm' must lie in {trait, random}, got 'other'"),
        (["SEED=x"], "'seed' must be of type int, got 'x'"),
        (["SEED=-1"], "'seed' must"),
        (["PARAMS=bad"], "did you mean 'keep'"),
    ],
)
def test_a_mistake_is_one_clear_line_before_anything_runs(tiny, words, message):
    bad = tiny / "bad/math/replica"
    if not bad.exists():
        bad.mkdir(parents=True)
        for stage in run.STAGES:
            (bad / f"{stage}.yaml").write_text("keeep: 1\n" if stage[1] == "1" else "")
    done = make(tiny, "reproduce", *words)
    assert done.returncode != 0
    assert ran(done) == []
    errors = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(errors) == 1 and errors[0].startswith("error: ")
    assert message in errors[0]


def test_make_alone_prints_help_with_every_target_and_its_cost(tiny):
    done = make(tiny)
    assert done.returncode == 0
    for target in "reproduce smoke test lab notebooks html lint env clean".split():
        (line,) = [li for li in done.stdout.splitlines() if li.startswith(f"  make {target} ")]
        assert any(unit in line for unit in ("min", "seconds", "GB", "remove")), line
    assert all(len(line) <= 110 for line in done.stdout.splitlines())


def test_an_unsupported_python_is_refused_in_one_line(tiny, tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.8.1' || exit 1\n")
    old.chmod(0o755)
    words = ["VENV=new", "PY=new/bin/python", "FIND_PYTHON=true", "check"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["make", *words], cwd=tiny, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and not (tiny / "new").exists()
    assert "error: Python 3.11 (from 3.11.5) or 3.12 is needed, found: Python 3.8.1" in done.stderr


def with_uv(folder, tmp_path, venv):
    """`make check` in a new environment, by a `uv` that takes a second and keeps what is asked."""
    asked = tmp_path / "asked"
    (tmp_path / "uv").write_text(f'#!/bin/sh\nsleep 1; echo "$UV_DEFAULT_INDEX: $*" >>"{asked}"\n')
    (tmp_path / "uv").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "HOME": str(tmp_path)}
    words = [f"VENV={venv}", f"PY={venv}/bin/python", f"PYTHON={sys.executable}", "check"]
    done = subprocess.run(
        ["make", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return done.stderr, asked.read_text().splitlines()


def test_uv_makes_the_environment_where_it_is_from_the_index_of_pip(tiny, tmp_path):
    _, (first, second) = with_uv(tiny, tmp_path, "new")
    with_pip = "http://127.0.0.1:9/simple: pip install -q --python new/bin/python"
    assert first == f"{with_pip} -r requirements.lock"
    assert second == f"{with_pip} --no-deps -e ."
    assert list((tiny / "new").glob(".ready-*"))  # the environment is ready, without pip


def test_two_makes_at_once_make_one_environment(tiny, tmp_path):
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: with_uv(tiny, tmp_path, "one"), range(2)))
    told = "another make installs packages in one; waiting for its end"
    assert sum(told in said for said, _ in both) == 1
    assert len((tmp_path / "asked").read_text().splitlines()) == 2


def test_the_text_table_aligns_numbers_and_words():
    rows = [{"a": "x", "b": 0.5}, {"a": "longer", "b": 12, "c": None}]
    assert show.text_table(rows).splitlines() == [
        "a           b  c",
        "----------------",
        "x       0.500",
        "longer     12",
    ]
    assert show.text_table(rows, ["b"]).splitlines()[0] == "    b"


# --- the real notebooks -----------------------------------------------------------------------


def real(runs, *words):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "TIER=smoke", *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**env, "TRAIT_RUNS": str(runs)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.slow
def test_the_smoke_tier_runs_through_and_then_stands(tmp_path):
    """In one domain: the committed notebooks are run in the other, and `make smoke` runs both."""
    done = real(tmp_path, "DOMAIN=ads", "reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == ALL
    assert "ads, smoke tier, arm trait, seed 0" in done.stdout
    done = real(tmp_path, "DOMAIN=ads", "reproduce")
    assert done.returncode == 0 and ran(done) == []
