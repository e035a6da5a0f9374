import os
import platform
import re
import signal
import subprocess
import sys
import time

import pytest

from trait_lib import records
from trait_lib.training import launch
from trait_lib.training.loop import checkpoints, engine, heldout, train
from trait_lib.training.loop import config as settings


def test_the_command_runs_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    path = tmp_path / "math" / "config.json"
    place = '"${TRAIT_RUNS:-runs}/math/config.json"'
    assert launch.show_command(path, 1) == (
        f"python -m trait_lib.training.loop.train --config {place}"
    )
    assert launch.show_command(path, 2) == (
        "python -m torch.distributed.run --standalone --nproc-per-node=2 "
        f"-m trait_lib.training.loop.train --config {place}"
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


def test_a_finished_run_is_not_repeated(plain, configuration, measured):
    before = (plain / "model" / "config.json").stat().st_mtime
    config = configuration(checkpoint_steps=2, keep_checkpoints=9, **measured)
    assert launch.run(plain, config, 1) == plain / "model"
    assert (plain / "model" / "config.json").stat().st_mtime == before


def test_other_settings_are_another_run(plain, configuration, measured):
    report = records.read_json(plain / "plan.json")
    config = launch.settings.check(configuration(**measured))
    measured = heldout.fingerprint(config)
    assert launch.finished(plain, checkpoints.identity(config, report["hash"], 1), measured)
    assert not launch.finished(plain, checkpoints.identity(config, report["hash"], 1), "other")
    other = {**config, "learning_rate": 1e-3}
    assert not launch.finished(plain, checkpoints.identity(other, report["hash"], 1), measured)
    assert not launch.finished(plain, checkpoints.identity(config, report["hash"], 2), measured)


@pytest.mark.slow
def test_the_error_of_the_child_is_shown(runs, tmp_path, configuration):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "mistral"}')  # no weights
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


def test_the_command_of_several_machines_finds_its_words_in_the_shell(runs):
    shown = launch.show_command(runs / "a folder" / "config.json", 8, 2)
    words = f'HEAD=first; PORT=7; for word in {shown}; do echo "$word"; done'
    said = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True)
    assert "--rdzv-endpoint=first:7" in said.stdout.splitlines()
    assert said.stdout.splitlines()[-1] == str(runs / "a folder" / "config.json")


def test_several_machines_are_left_to_slurm_and_found_when_done(
    runs, tmp_path, plain, configuration, measured
):
    config = configuration(checkpoint_steps=2, keep_checkpoints=9, **measured)
    with pytest.raises(launch.Elsewhere, match=r"takes 2 machines.*sbatch .*launch\.slurm"):
        launch.run(tmp_path, config, 1, nodes=2)
    assert not (tmp_path / "log.jsonl").exists()
    who = checkpoints.identity(
        settings.check(config), records.read_json(tmp_path / "plan.json")["hash"], 2
    )
    (tmp_path / "model").mkdir()
    texts = heldout.fingerprint(config)
    records.write_json(tmp_path / "finished.json", {"identity": who, "heldout": texts})
    assert launch.run(tmp_path, config, 1, nodes=2) == tmp_path / "model"


def test_a_missing_hostfile_is_named(runs, tmp_path, configuration):
    with pytest.raises(FileNotFoundError, match=r"hostfile: no such file: .*machines.*slots=8"):
        launch.run(tmp_path, configuration(), 8, nodes=2, hostfile="machines")
    assert list(tmp_path.iterdir()) == []


def test_the_live_line_tells_what_matters(plain):
    from trait_lib.training.loop import training_log

    steps, found = training_log.read(plain / "log.jsonl")
    recent = [{**line, "seconds": 2.0, "memory_gib": 1.26} for line in steps[:4]]
    line = launch.progress(recent, 8, {"general": {"bits_per_byte": 1.234}})
    assert line.startswith("stage 1, loss ")
    assert "held-out bits/byte general 1.23, 0.1k tokens/s, MFU -, 1.3 GiB" in line
    assert line.endswith("about 0:00:08 left")
    assert "MFU 41 %" in launch.progress([{**recent[0], "mfu": 0.412}], 8).replace("41%", "41 %")
    assert len(found) == 5


def test_only_whole_new_lines_are_read(tmp_path):
    log = tmp_path / "log.jsonl"
    assert launch._new_lines(log, 0) == (0, [])
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    place, lines = launch._new_lines(log, 0)
    assert (place, lines) == (24, [{"step": 1}, {"step": 2}])
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    assert launch._new_lines(log, place) == (36, [{"step": 3}])
    log.write_text('{"step": 1}\n')  # begun again
    assert launch._new_lines(log, 36) == (12, [{"step": 1}])


def test_tensorboard_without_its_package_is_told_before_the_training(
    runs, tmp_path, configuration, monkeypatch
):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="pip install tensorboard"):
        launch.write(tmp_path, configuration(tensorboard=True), 1)


def test_a_missing_held_out_text_is_named(runs, tmp_path, configuration):
    config = configuration(heldout=[{"name": "general", "file": str(tmp_path / "gone.jsonl")}])
    with pytest.raises(FileNotFoundError, match=r"held-out text general.*gone\.jsonl"):
        launch.write(tmp_path, config, 1)


LAUNCH = """
import json, sys
from pathlib import Path
from trait_lib.training import launch
launch.run(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), 1)
"""


@pytest.mark.slow
def test_a_training_ends_with_the_notebook_that_started_it(runs, tmp_path, configuration):
    config = configuration(max_epochs=1e6)
    for stage in config["stages"]:
        stage["tokens"] *= 10**4
    records.write_json(tmp_path / "given.json", config)
    words = [sys.executable, "-c", LAUNCH, str(tmp_path / "run"), str(tmp_path / "given.json")]
    notebook = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (tmp_path / "run" / "log.jsonl").exists())
        (child,) = children(notebook.pid)
        assert engine.is_running(child)
    finally:
        notebook.send_signal(signal.SIGKILL)
        notebook.wait()
    wait_for(lambda: not engine.is_running(child))
    with train.alone_in(tmp_path / "run"):  # the lock is free
        pass


def children(process):
    told = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True
    )
    return [int(word) for word in told.stdout.split()]


def wait_for(condition, seconds=120):
    for _ in range(seconds * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_process_that_has_ended_is_not_running():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    wait_for(lambda: not engine.is_running(ended.pid))  # a zombie: nobody has waited for it
    ended.wait()
    assert not engine.is_running(ended.pid)
    assert engine.is_running(os.getpid())


FAULTS = """
import resource
import torch
from trait_lib.training.loop import engine
engine.keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large = [torch.ones(2**21) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum([faults() for _ in range(16)][8:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back")
def test_what_a_step_frees_is_kept_for_the_next():
    # without it glibc gives memory back in most processes: 65,280 pages here
    said = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert int(said.stdout) < 100  # pages that the system had to clear in eight rounds of 32 MiB
