"""The training as a job of SLURM: the script `launch.slurm` in the folder of notebook 03.

Not stated in the paper; ours because a training of several machines is started by a scheduler.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trait_lib import ROOT, params, records, run
from trait_lib.training import launch
from trait_lib.training.loop import engine

TEMPLATE = Path(__file__).with_name("launch.slurm")
CPUS_PER_RANK = 8
NOTICE_SECONDS = 120  # before the limit, in which a job asks to be queued again
REQUEUE = f"""\
# Queued again when a machine fails or {NOTICE_SECONDS} s before the limit, it goes on from its
# newest complete checkpoint.
#SBATCH --requeue
#SBATCH --signal=B:USR1@{NOTICE_SECONDS}
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
"""
OFFLINE = "export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1\n"


def write(file: Path, settings: Mapping[str, Any], device_hours: float) -> None:
    """Write the job script of the training in `file`'s folder, or of that which it is a dry run of.

    See `script`.
    """
    folder = file.parent.with_name(file.parent.name.removesuffix(".dry_run"))
    with records.atomic_path(file) as temporary:
        temporary.write_text(script(folder, settings, device_hours), encoding="utf-8")


def script(folder: Path, settings: Mapping[str, Any], device_hours: float) -> str:
    """A job script around the very command that `launch.show_command` prints.

    Args:
        folder: where the training's config.json is or will be.
        settings: `processes` on each of `nodes` machines, `checkpoint_steps`, and of the job:
            `job_hours` (longest job that the cluster takes), `job_setup` (shell lines that bring
            Python; empty: the one that runs now), `job_container` (a .sif file for Apptainer, or
            an image for Pyxis; empty: none), `job_offline`.
        device_hours: of the plan, on all devices together. The job asks for a quarter and half an
            hour more, or for `job_hours`, and is then queued again.

    Raises:
        params.ParameterError: it takes longer than a job may, and writes no checkpoints.
    """
    ranks, nodes = settings["processes"], settings["nodes"]
    planned = device_hours / (ranks * nodes) * 1.25 + 0.5
    if planned > settings["job_hours"] and not settings["checkpoint_steps"]:
        raise params.ParameterError(
            f"'job_hours': the training takes {planned:.1f} hours and a job "
            f"{settings['job_hours']:g}; set checkpoint_steps, so that it can be queued again"
        )
    return TEMPLATE.read_text(encoding="utf-8").format(
        script=shlex.quote(run.on_this_machine(folder / "launch.slurm")),
        name=folder.parent.parent.name,
        nodes=nodes,
        gpus="" if engine.on_cpu() else f"#SBATCH --gpus-per-node={ranks}\n",
        cpus=CPUS_PER_RANK * ranks,
        time=limit(min(planned, settings["job_hours"])),
        log=folder / "slurm-%j.out",
        requeue=REQUEUE if settings["checkpoint_steps"] else "#SBATCH --no-requeue\n",
        root=shlex.quote(str(ROOT)),
        runs=shlex.quote(str(run.runs_dir())),
        setup=setup(settings),
        inside=container(settings["job_container"]),
        command=launch.show_command(folder / "config.json", ranks, nodes),
    )


def limit(hours: float) -> str:
    """Hours as SLURM's days-hours:minutes:seconds, rounded up to minutes."""
    minutes = math.ceil(hours * 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"


def setup(settings: Mapping[str, Any]) -> str:
    """The lines that bring Python, and that keep a machine without network from trying."""
    own = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    lines = settings["job_setup"] or ("" if settings["job_container"] else own)
    return (OFFLINE if settings["job_offline"] else "") + (f"{lines}\n" if lines else "")


def container(image: str) -> str:
    """What stands before the command, so that it runs in an image and sees repository and runs."""
    if not image:
        return ""
    places = [shlex.quote(str(place)) for place in (ROOT, run.runs_dir())]
    image = shlex.quote(image)
    if image.endswith(".sif"):
        return f"apptainer exec --nv {' '.join(f'--bind {place}' for place in places)} {image} "
    mounts = ",".join(f"{place}:{place}" for place in places)
    return f"--container-image={image} --container-mounts={mounts} --container-workdir={places[0]} "
