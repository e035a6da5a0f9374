import re
import time

import pytest

from trait_lib import records
from trait_lib.training import checkpoints, heldout, launch
from trait_lib.training import config as settings


def test_the_command_runs_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    path = tmp_path / "math" / "config.json"
    place = '"${TRAIT_RUNS:-runs}/math/config.json"'
    assert launch.show_command(path, 1) == (f"python -m trait_lib.training.train --config {place}")
    assert launch.show_command(path, 2) == (
        "python -m torch.distributed.run --standalone --nproc-per-node=2 "
        f"-m trait_lib.training.train --config {place}"
    )


def test_commands_for_several_machines(tmp_path):
    torchrun = launch.command(tmp_path, 8, nodes=2)
    assert "--nnodes=2" in torchrun
    assert "--standalone" not in torchrun
    deepspeed = launch.command(tmp_path, 8, nodes=2, hostfile="hosts")
    assert deepspeed[1:7] == [
        *["-m", "deepspeed.launcher.runner", "--hostfile=hosts"],
        *["--num_nodes=2", "--num_gpus=8", "--module"],
    ]


def test_bad_input_starts_nothing(runs, tmp_path, configuration):
    config = configuration()
    config["stages"][0]["sources"][0]["file"] = str(tmp_path / "gone.jsonl")
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        launch.run(tmp_path / "run", config, 1)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_finished_run_is_not_repeated(plain, configuration):
    before = (plain / "model" / "config.json").stat().st_mtime
    started = time.perf_counter()
    config = configuration(checkpoint_steps=2, keep_checkpoints=9)
    assert launch.run(plain, config, 1) == plain / "model"
    assert time.perf_counter() - started < 5
    assert (plain / "model" / "config.json").stat().st_mtime == before


def test_other_settings_are_another_run(plain, configuration):
    report = records.read_json(plain / "plan.json")
    config = launch.settings.check(configuration())
    measured = heldout.fingerprint(config)
    assert launch.finished(plain, checkpoints.identity(config, report["hash"], 1), measured)
    assert not launch.finished(plain, checkpoints.identity(config, report["hash"], 1), "other")
    other = {**config, "learning_rate": 1e-3}
    assert not launch.finished(plain, checkpoints.identity(other, report["hash"], 1), measured)
    assert not launch.finished(plain, checkpoints.identity(config, report["hash"], 2), measured)


@pytest.mark.slow
def test_the_error_of_the_child_is_shown(runs, tmp_path, configuration):
    (tmp_path / "empty").mkdir()
    config = configuration(model=str(tmp_path / "empty"), model_config=None)
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1; rank 0: .*empty.*train\.out"):
        launch.run(tmp_path / "run", config, 1)
    assert not (tmp_path / "run" / "model").exists()


def test_the_rank_that_failed_first_is_blamed(runs, tmp_path, configuration):
    (tmp_path / "train.out").write_text("")
    for rank, error, at in ((0, "RuntimeError: connection closed", 2), (1, "MemoryError: me", 1)):
        record = {"rank": rank, "error": error, "at": at}
        records.write_json(tmp_path / f"failure-{rank}.json", record)
    records.write_json(tmp_path / "config.json", settings.check(configuration()))
    assert "rank 1: MemoryError: me" in launch._explain(tmp_path, 1, 2)


def test_a_killed_child_gets_advice(runs, tmp_path, configuration, monkeypatch):
    (tmp_path / "train.out").write_text("...\nlast words\n")
    records.write_json(tmp_path / "config.json", settings.check(configuration()))
    monkeypatch.setattr(launch.engine, "machine_gib", lambda: 0.001)
    assert "last words" in launch._explain(tmp_path, -9, 1)
    told = launch._explain(tmp_path, -9, 1)
    assert re.search(r"8 rows a forward pass take 0\.00\d+ GiB a rank and it has 0\.001 GiB", told)
    assert re.search(r"Set micro_batch_rows: [124], which takes 0\.000\d+ GiB", told)
    assert "GiB" not in launch._explain(tmp_path, 1, 1)
