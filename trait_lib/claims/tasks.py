"""What a worker is asked to do: run notebooks, lay out the cells of a seed, run one of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from trait_lib import ROOT, run
from trait_lib.claims import results, settings, workers

LAST_SHARED = run.SHARED_STAGES[-1]
Rated = list[tuple[str, float]]


class Failed(RuntimeError):
    """What stops the experiment; the message says what to do."""


def prepare(domain: str, tier: str, seed: int, folder: Path) -> str:
    """Run notebooks 00 to 02 where they are stale; returns what make said."""
    log = results.own_folder(tier) / domain / f"seed{seed}" / "notebooks.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = ["make", "--no-print-directory", LAST_SHARED, f"DOMAIN={domain}", f"TIER={tier}"]
    words += [f"SEED={seed}", f"PARAMS={folder}", f"PY={sys.executable}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    with open(log, "wb") as output:
        code = workers.command(words, output, cwd=ROOT, env=environment)
    said = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise Failed(f"notebooks of {domain}, seed {seed}:\n{said[-2000:]}\nLog: {run.show(log)}")
    return said


def plan(domain: str, tier: str, seed: int, folder: Path, rated: Rated, split: str) -> list[Any]:
    """(job, its record where it is finished) of every cell of a domain and seed."""
    from trait_lib.claims import cell, jobs

    where = jobs.Where(domain, tier, seed, folder)
    made = jobs.make(where, settings.read(folder), rated, split)
    return [(job, cell.done(job)) for job in made]


def work(job: Any) -> dict[str, Any]:
    """Train and ask one cell."""
    from trait_lib.claims import cell

    return cell.run_cell(job)
