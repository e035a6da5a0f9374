"""The job script for SLURM, as a cluster's user expects it; a job that runs: `test_train`."""

import os
import signal
import subprocess
import time

import pytest
import slurm_stand_ins as stand_ins

from trait_lib import params
from trait_lib.training import launch, slurm


@pytest.fixture
def folder(runs):
    """A run's folder of notebook 03, as a dry run leaves it."""
    made = runs / "math" / "trait" / "seed0" / "03"
    made.mkdir(parents=True, exist_ok=True)
    return made


def script(folder, hours=8.0, **settings):
    text = slurm.script(folder, {**stand_ins.SETTINGS, **settings}, hours)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    return text


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_is_bash_around_the_printed_command(folder, nodes, monkeypatch):
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    text = script(folder, nodes=nodes, processes=8)
    assert launch.show_command(folder / "config.json", 8, nodes) in text
    lines = text.splitlines()
    assert {f"#SBATCH --nodes={nodes}", "#SBATCH --gpus-per-node=8"} < set(lines)
    assert "srun --cpus-per-task=64 --kill-on-bad-exit=1 python -m" in text
    assert ("--rdzv-id=${SLURM_JOB_ID:-trait}" in text) == (nodes == 2)
    # SLURM reads its lines up to the first one that is a command
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])


@pytest.mark.parametrize(
    ("device_hours", "asked"),
    [(0.0, "0-00:30:00"), (16.0, "0-10:30:00"), (38.0, "1-00:00:00"), (1000.0, "1-00:00:00")],
)
def test_the_time_is_the_plans_and_a_half_hour_up_to_what_a_job_may_take(
    folder, device_hours, asked
):
    assert f"#SBATCH --time={asked}\n" in script(folder, device_hours, nodes=2)


def test_a_job_that_cannot_go_on_is_not_queued_again(folder):
    assert "#SBATCH --no-requeue" in script(folder, checkpoint_steps=0)
    with pytest.raises(params.ParameterError, match=r"job_hours.*50\.5 hours.*checkpoint_steps"):
        script(folder, 40.0, checkpoint_steps=0)


def test_the_environment_is_the_one_that_runs_or_as_told(folder, runs):
    text = script(folder, job_offline=False)
    assert f"export TRAIT_RUNS={runs}\n" in text
    assert "export PATH=" in text and "HF_HUB_OFFLINE" not in text
    told = script(folder, job_setup="module load python", job_offline=True)
    assert "\nmodule load python\n" in told and "export PATH=" not in told
    assert "export HF_HUB_OFFLINE=1" in told


def test_a_container_sees_the_repository_and_the_runs(folder, runs):
    for image, begin in (("trait.sif", "apptainer exec"), ("nvcr.io/x:1", "--container-image=")):
        text = script(folder, job_container=image)
        line = next(line for line in text.splitlines() if line.startswith("srun"))
        assert f"--kill-on-bad-exit=1 {begin}" in line
        assert image in line and str(runs) in line and str(slurm.ROOT) in line
        assert "export PATH=" not in text


def test_before_its_limit_a_job_asks_to_be_queued_again(folder, tmp_path):
    (tmp_path / "python").write_text("#!/bin/bash\necho running; sleep 60\n")
    (tmp_path / "python").chmod(0o755)
    job = stand_ins.Job(tmp_path, job_setup=f"export PATH={tmp_path}:$PATH")
    assert "#SBATCH --signal=B:USR1@120" in job.script.read_text()
    running = job.start()
    try:
        for _ in range(200):
            if b"running" in (job.stand_ins / "out").read_bytes():
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGUSR1)  # to the script's shell, as B: says
        assert running.wait(timeout=20) != 0
    finally:
        os.killpg(running.pid, signal.SIGKILL)
    assert job.said()[-1] == "scontrol requeue 4711"
