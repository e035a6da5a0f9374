"""Checkpoints that can be trusted: marked when complete, refused when they belong to another run.

Not stated in the paper; ours because a half-written checkpoint looks like a whole one to
`transformers.trainer_utils.get_last_checkpoint`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trait_lib import records, run

MARKER = "complete.json"
DECIDING = (
    "model_config sequence_length batch_tokens micro_batch_rows isolate_documents "
    "learning_rate schedule schedule_scope warmup_share decay_share final_lr_share "
    "optimizer weight_decay adam_beta1 adam_beta2 adam_epsilon clip precision "
    "gradient_checkpointing engine seed whole_documents loss_on compile_model"
).split()


class ResumeRefused(RuntimeError):
    """A checkpoint made by a different run; the message says what differs."""


def identity(config: Mapping[str, Any], plan_hash: str, processes: int) -> dict[str, Any]:
    """All that decides the weights: a run may continue from a checkpoint only if this is equal.

    The model that it starts from counts by its content, so that other weights in the same folder
    are another run.
    """
    tokenizer = Path(config["tokenizer"]) / "tokenizer.json"
    return {
        **{key: config[key] for key in DECIDING},
        "model": run.hash_path(config["model"]) if config["model"] else "",
        "tokenizer": run.hash_file(tokenizer) if tokenizer.exists() else config["tokenizer"],
        "plan": plan_hash,
        "processes": processes,
    }


def mark(folder: Path, step: int, who: Mapping[str, Any]) -> None:
    """Declare the checkpoint in `folder` complete, once all its files are on the disk itself."""
    for file in folder.rglob("*"):
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
    records.write_json(folder / MARKER, {"step": step, "identity": dict(who)})


def complete(root: Path) -> list[Path]:
    """Complete checkpoints below `root`, oldest step first; others are not counted."""
    marked = [path.parent for path in root.glob(f"checkpoint-*/{MARKER}")]
    return sorted(marked, key=lambda path: int(path.name.rpartition("-")[2]))


def latest(root: Path, who: Mapping[str, Any]) -> Path | None:
    """The newest complete checkpoint of this very run, or None when there is none.

    Raises:
        ResumeRefused: the newest one belongs to a run with other settings, data or layout.
    """
    whole = complete(root)
    if not whole:
        return None
    before = records.read_json(whole[-1] / MARKER)["identity"]
    changed = [
        f"{key} was {before.get(key)!r}, is {who.get(key)!r}"
        for key in sorted({*before, *who})
        if before.get(key) != who.get(key)
    ]
    if changed:
        raise ResumeRefused(
            f"{run.show(whole[-1])} cannot be continued: {'; '.join(changed)}. Restore the "
            f"settings, or delete {run.show(root)} to start again."
        )
    return whole[-1]


def prune(root: Path, keep: int) -> None:
    """Delete all but the `keep` newest complete checkpoints, and every older incomplete one."""
    kept = complete(root)[-keep:]
    newest = int(kept[-1].name.rpartition("-")[2]) if kept else -1
    for folder in root.glob("checkpoint-*"):
        if folder not in kept and int(folder.name.rpartition("-")[2]) <= newest:
            shutil.rmtree(folder)


def discard_incomplete(root: Path) -> list[str]:
    """Delete checkpoints whose writing was interrupted; return their names."""
    good = complete(root)
    broken = [folder for folder in root.glob("checkpoint-*") if folder not in good]
    for folder in broken:
        shutil.rmtree(folder)
    return sorted(folder.name for folder in broken)
