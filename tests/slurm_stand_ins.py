"""`srun` and `scontrol` in the place of SLURM's: every machine of the job is this one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from trait_lib.training import slurm

SETTINGS = {
    "processes": 1,
    "nodes": 1,
    "checkpoint_steps": 4,
    "job_hours": 24.0,
    "job_setup": "",
    "job_container": "",
    "job_offline": True,
}
SRUN = """#!/bin/bash
# the command once a machine; when one fails, the others are ended
echo "srun $*" >>"$STAND_INS/said"
while [[ $1 == --* ]]; do shift; done
for ((node = 0; node < SLURM_NNODES; node++)); do SLURM_NODEID=$node "$@" & started+=($!); done
for one in "${started[@]}"; do
  wait -n || { code=$?; kill "${started[@]}" 2>/dev/null; wait; exit $code; }
done
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >>"$STAND_INS/said"
if [ "$1" = show ]; then for ((node = 0; node < SLURM_NNODES; node++)); do echo 127.0.0.1; done; fi
"""


class Job:
    """The job script of a training's folder, submitted to the stand-ins."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = {**SETTINGS, **settings}
        self.script, self.stand_ins = folder / "launch.slurm", folder / "stand_ins"
        slurm.write(self.script, self.settings, device_hours=1.0)
        self.stand_ins.mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (self.stand_ins / name).write_text(text)
            (self.stand_ins / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self.stand_ins}:{os.environ['PATH']}",
            "STAND_INS": str(self.stand_ins),
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NODELIST": "here[0-1]",
            "SLURM_NNODES": str(self.settings["nodes"]),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """The script, as SLURM starts it on the first machine."""
        with open(self.stand_ins / "out", "ab") as out:
            words = ["bash", str(self.script)]
            return subprocess.Popen(
                words, stdout=out, stderr=out, env=self.environment, start_new_session=True
            )

    def run(self) -> int:
        """Its exit code."""
        return self.start().wait(timeout=300)

    def said(self) -> list[str]:
        """What the stand-ins were told."""
        return (self.stand_ins / "said").read_text().splitlines()
