"""Train fastText in a process of its own: `python -m trait_lib.selection.models.fit job.json`.

With fewer than ten threads fastText fills only that many tenths of its input matrix with random
numbers and leaves the rest as the memory happened to be: in a process that has worked before, the
same data and seed then give another model each time, or "Encountered NaN". A fresh process whose
allocator hands out zeros (`MALLOC_PERTURB_=255` in glibc) makes the rest zero, always.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ZEROED_MEMORY = {"MALLOC_PERTURB_": "255"}


class TrainingFailed(RuntimeError):
    """fastText stopped; the message says why and what to change."""


def in_new_process(lines: Path, model: Path, settings: Mapping[str, Any]) -> None:
    """Train on a file of labelled lines and write the model to `model`.

    Args:
        lines: fastText's training file.
        model: where the model goes.
        settings: arguments of `fasttext.train_supervised`.

    Raises:
        TrainingFailed: fastText refused or diverged.
    """
    job = lines.with_suffix(".json")
    job.write_text(json.dumps({"input": str(lines), "model": str(model), **settings}))
    command = [sys.executable, "-m", "trait_lib.selection.models.fit", str(job)]
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | ZEROED_MEMORY | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        hint = " Lower the learning rate." if "NaN" in reason[0] else ""
        raise TrainingFailed(f"fastText did not train ({reason[0]}).{hint}")


def main(job: str) -> None:
    """Run the job that a file describes."""
    import fasttext

    settings = json.loads(Path(job).read_text())
    model = settings.pop("model")
    fasttext.train_supervised(**{"loss": "softmax", "verbose": 0, **settings}).save_model(model)


if __name__ == "__main__":
    main(sys.argv[1])
