"""Run the experiment: `make claims`, with -sweep, -curve or -commit behind it.

For each seed, notebooks 00 to 02 run for every domain by the chain of the Makefile, then all arms'
plans are checked, then the arms are trained and asked, two side by side. Finished cells are found
again by their key, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from trait_lib import ROOT, params, records, run
from trait_lib.claims import results, settings, tasks, workers
from trait_lib.training import arms

RESULTS = "results.csv"
Rated = list[tuple[str, float]]


class Progress:
    """A line for each finished cell, with the time that is left by the mean of those so far."""

    def __init__(self, at_once: int) -> None:
        self.at_once, self.done, self.total = at_once, 0, 0
        self.seconds: list[float] = []
        self.seeds_left = 0

    def say(self, text: str) -> None:
        """Print a line at once."""
        print(text, flush=True)

    def finished(self, job: Any, record: dict[str, Any], seconds: float) -> None:
        """Say what a cell gave and how long the rest of its seed will take."""
        self.done += 1
        self.seconds.append(seconds)
        mean = next((r["value"] for r in record["rows"] if r["task"] == "mean of tasks"), None)
        left = (self.total - self.done) * sum(self.seconds) / len(self.seconds) / self.at_once
        shown = "" if mean is None else f", mean of tasks {mean:.3f}"
        more = f" and {self.seeds_left} more seeds" if self.seeds_left else ""
        about = timedelta(seconds=round(left))
        self.say(f"{self.done}/{self.total} {job}: {seconds:.0f} s{shown}; {about} left{more}")


def run_seed(
    pool: workers.Pool,
    args: argparse.Namespace,
    seed: int,
    rated: Rated,
    known: settings.Settings,
    file: Path,
    progress: Progress,
) -> None:
    """All cells of one seed: notebooks, plans, then arms."""
    folder = (ROOT / args.params).resolve()
    asked = args.domains
    needed = list(asked)
    if any(arm == "other_passages" for arm, _ in rated):
        needed += [known["other_domain"][one] for one in asked if one in known["other_domain"]]
    everything = [(one, args.tier, seed, folder) for one in dict.fromkeys(needed)]
    progress.say(f"seed {seed}: notebooks 00 to 02 of {', '.join(one[0] for one in everything)}")
    _all(pool, [(one[0], (tasks.prepare, one)) for one in everything])
    laying = [
        (one, (tasks.plan, (one, args.tier, seed, folder, rated, args.split))) for one in asked
    ]
    planned = [pair for _, pairs in _all(pool, laying) for pair in pairs]
    standing = [record for _, record in planned if record]
    _note(file, standing)
    waiting = [job for job, record in planned if not record]
    progress.total += len(waiting)
    progress.say(f"seed {seed}: {len(standing)} cells stand, {len(waiting)} to run; plans checked")
    _cells(pool, waiting, file, progress)


def _note(file: Path, standing: list[dict[str, Any]]) -> None:
    """Put finished cells into the file of results; learning curves of seed 0 into theirs."""
    results.add(file, [row for record in standing for row in results.rows_of(record)])
    curves = [row for one in standing if one["seed"] == 0 for row in results.curve_of(one)]
    if curves and file.name == RESULTS:
        results.add(file.with_name("curves.csv"), curves)


def _all(pool: workers.Pool, given: list[tuple[Any, workers.Task]]) -> list[tuple[Any, Any]]:
    """Run tasks, all workers busy; their names and results."""
    waiting, found = list(given), []
    while waiting or pool.busy:
        while waiting and pool.idle:
            pool.start(*waiting.pop(0))
        found.append(pool.finished())
    return found


def _cells(pool: workers.Pool, waiting: list[Any], file: Path, progress: Progress) -> None:
    """Run cells, each after those that it needs; every finished one goes into the file."""
    open_ones = {job.folder for job in waiting}
    waiting, begun = list(waiting), {}
    while waiting or pool.busy:
        ready = [job for job in waiting if not open_ones & set(job.after)]
        for job in ready[: len(pool.idle)]:
            waiting.remove(job)
            begun[job.folder] = time.monotonic()
            pool.start(job, (tasks.work, (job,)))
        job, record = pool.finished()
        open_ones.discard(job.folder)
        _note(file, [record])
        progress.finished(job, record, time.monotonic() - begun[job.folder])


def rated_of(args: argparse.Namespace, known: settings.Settings) -> Rated:
    """(arm, rate) of the cells that the command line asks for."""
    if args.mode == "run":
        return [(arm, settings.rate_of(arm, known)) for arm in args.arms or settings.ALL]
    grid = known[f"{args.mode}_rates"]
    named = args.arms or known[f"{args.mode}_arms"]
    return [(arm, float(rate)) for arm in named for rate in grid]


def check(args: argparse.Namespace, known: settings.Settings) -> None:
    """Refuse what no run could do, before anything starts.

    Raises:
        ParameterError: an unknown domain, arm or seed.
    """
    settings.check_arms(args.arms)
    there = sorted(f.parent.name for f in (ROOT / args.params).glob(f"*/{args.tier}"))
    if wrong := [one for one in args.domains if one not in there]:
        raise params.ParameterError(params.unknown(wrong[0], there, "domain"))
    if not args.seeds or not args.domains:
        raise params.ParameterError("SEEDS and DOMAINS must each name one at least")
    untrained = [a for a in args.arms if a in (arms.BASE, *arms.ANSWERERS)]
    if args.mode != "run" and untrained:
        raise params.ParameterError(f"{untrained[0]} is not trained and has no rate")


def commit(tier: str) -> list[Path]:
    """Put the rows of this machine's runs into the committed files; returns those."""
    written = []
    for own in sorted(results.own_folder(tier).glob("*.csv")):
        results.add(results.COMMITTED / own.name, results.read(own))
        written.append(results.COMMITTED / own.name)
    from trait_lib.claims import card
    from trait_lib.repo.numbers import refresh

    cells = results.own_folder(tier).glob("*/seed*/**/cell.json")
    rows = results.read(results.COMMITTED / RESULTS)
    card.note_commits(map(records.read_json, cells), rows, card.COMMITS)
    return [*written, card.COMMITS, *refresh.all_texts()]


def best_rates(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The development score of each arm and rate, mean over domains and seeds, with the best."""
    cells: dict[tuple[str, float], list[float]] = {}
    for row in rows:
        if row["task"] == "mean of tasks":
            cells.setdefault((row["arm"], row["rate"]), []).append(row["value"])
    scores = {cell: sum(values) / len(values) for cell, values in cells.items()}
    best = {arm: max((s, -r) for (a, r), s in scores.items() if a == arm) for arm, _ in scores}
    return [
        {"arm": arm, "rate": f"{rate:g}", "score": score, "cells": len(cells[arm, rate]),
         "best": "best" if best[arm] == (score, -rate) else ""}
        for (arm, rate), score in sorted(scores.items())
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m trait_lib.claims", description=__doc__)
    top.add_argument("mode", choices=["run", "sweep", "curve", "commit"])
    top.add_argument("--seeds", type=lambda text: [int(one) for one in text.split()], default=[])
    top.add_argument("--domains", type=str.split, default=[])
    top.add_argument("--arms", type=str.split, default=[], help="default: all of the mode")
    top.add_argument("--tier", default="replica")
    top.add_argument("--params", default="params")
    top.add_argument("--workers", type=int, default=2, help="cells side by side")
    args = top.parse_args(arguments)
    args.split = "dev" if args.mode == "sweep" else "test"
    try:
        if args.mode == "commit":
            print("written:", *map(run.on_this_machine, commit(args.tier)))
            return 0
        known = settings.read((ROOT / args.params).resolve())
        args.seeds = args.seeds or list(known["development_seeds"])
        check(args, known)
        name = "sweep.csv" if args.mode == "sweep" else RESULTS
        file, progress = results.own_folder(args.tier) / name, Progress(args.workers)
        with workers.pool(args.workers) as pool:
            for place, seed in enumerate(args.seeds):
                progress.seeds_left = len(args.seeds) - place - 1
                run_seed(pool, args, seed, rated_of(args, known), known, file, progress)
    except KeyboardInterrupt:
        print("\nstopped; finished cells stand, the same command goes on", file=sys.stderr)
        return 130
    except (tasks.Failed, workers.TaskFailed, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.mode == "sweep":
        from trait_lib.show import text_table

        print(text_table(best_rates(results.read(file))))
    print("results:", run.on_this_machine(file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
