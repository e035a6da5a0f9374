"""All arms of the tier laptop, in their order: `make laptop-arms DATA=folder HOURS=1`.

Each arm is a run of the notebooks by make, so that it resumes, and what stands is not run again.
First the control that learnt the form alone: passages with every number replaced by another one of
as many digits. An arm's learning rate is the one, of `RATES`, after which the results in the
solutions of held-out training problems cost the fewest bits after 40k + 40k tokens; alike for all
arms. As each arm ends, its numbers go into `figures/laptop/results.csv`: a row a score, with
n, the interval of the difference to the base model and the hash of the manifest.
Not stated in the paper.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trait_lib import ROOT, records, run
from trait_lib.evaluation import likely

TIER = "laptop"
RESULTS = ROOT / "figures" / "laptop" / "results.csv"
RATES = (5e-5, 1e-4, 2e-4)
SWEEP = 40_960  # tokens of each stage, for each rate
CONTROL = "wrong_results"
FIRST = ("random", "dsir", "stage1_only", "stage2_only", "trait")
WHOLE = ("trait",)  # arms whose answers, and the base model's, are of all problems
STAGE = {name[:2]: name for name in run.STAGES}
COLUMNS = (
    *("domain", "seed", "arm", "rate", "score", "group", "unit", "n", "base", "value"),
    *("difference", "low", "high", "p", "gate", "manifest"),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """An arm to run; `variant` is another world of the same notebooks, "" for the tier's own."""

    domain: str
    seed: int
    arm: str
    variant: str = ""

    @property
    def name(self) -> str:
        """What the results call it."""
        return self.variant if self.variant == CONTROL else f"{self.arm}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f", {self.variant}" if self.variant else ""


def order(domains: Sequence[str], stand_in: bool) -> list[Run]:
    """All runs, the most telling first: of math, then further seeds, then the other domains."""
    first, *others = domains
    runs = [Run(first, 0, "stage2_only", CONTROL), *(Run(first, 0, arm) for arm in FIRST)]
    runs += [Run(first, 0, "one_mixed_stage"), Run(first, 0, "no_enlightenment")]
    runs += [Run(first, 0, "trait", "stand-in teacher")] if stand_in else []
    runs += [Run(first, seed, arm) for seed in (1, 2) for arm in ("random", "dsir", "trait")]
    for domain in others:
        runs += [Run(domain, 0, "stage2_only", CONTROL), *(Run(domain, 0, arm) for arm in FIRST)]
    return [*runs, Run(first, 0, "trait_mined"), Run(first, 0, "no_replay")]


class Laptop:
    """The runs of one set of options; `make` runs a stage, everything else is bookkeeping."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.folder = run.runs_dir() / f"{TIER}-arms"

    # --- parameters and worlds ----------------------------------------------------------------

    def params(self, one: Run, **training: Any) -> Path:
        """A folder of parameters for a run: the tier's, with what the command line changes."""
        given: dict[str, Row] = {
            "00": {"base_model": self.args.base_model} if self.args.base_model else {},
            "02": {} if one.variant == "stand-in teacher" else json.loads(self.args.teacher),
            "03": {"hours": self.args.hours, **training},
            "04": {"test_limit": 0} if one.arm in WHOLE and not one.variant else {},
        }
        name = hashlib.sha256(json.dumps([one.domain, given], sort_keys=True).encode()).hexdigest()
        place = self.folder / "params" / name[:12]
        for number, stage in STAGE.items():
            values = yaml.safe_load((self._source(one.domain) / f"{stage}.yaml").read_text())
            path = place / one.domain / TIER / f"{stage}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump({**values, **given.get(number, {})}))
        return place

    def _source(self, domain: str) -> Path:
        return (ROOT / self.args.params).resolve() / domain / TIER

    def world(self, name: str, one: Run, shared: Sequence[str]) -> Path:
        """A folder of runs that shares the cache and the stages `shared` with the tier's own."""
        place, own = self.folder / re.sub(r"\W+", "-", name), run.runs_dir()
        inside = Path(one.domain) / TIER / "data" / f"seed{one.seed}"
        (place / inside).mkdir(parents=True, exist_ok=True)
        (own / "cache").mkdir(parents=True, exist_ok=True)
        links = [Path("cache")]
        links += [f.relative_to(own) for stage in shared for f in (own / inside).glob(f"{stage}*")]
        for link in links:
            if not (place / link).is_symlink():
                (place / link).symlink_to(own / link)
        return place

    def make(self, stage: str, one: Run, params: Path, runs: Path) -> None:
        """Run the notebooks up to a stage, where they are stale.

        Raises:
            RuntimeError: a notebook failed; its own words stand above.
        """
        words = ["make", "--no-print-directory", stage, f"TIER={TIER}", f"DOMAIN={one.domain}"]
        words += [
            f"ARM={one.arm}",
            f"SEED={one.seed}",
            f"PARAMS={params}",
            f"DATA={self.args.data}",
        ]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            [*words, f"PY={sys.executable}"],
            cwd=ROOT,
            env={**clean, "TRAIT_RUNS": str(runs)},
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{one.name}, {one.domain}, seed {one.seed}: {' '.join(words)}")

    # --- one run ------------------------------------------------------------------------------

    def runs_of(self, one: Run) -> Path:
        """The folder of runs of this one, with everything before notebook 03 in place."""
        own = run.runs_dir()
        if one.variant == "stand-in teacher":
            self.make(STAGE["01"], one, self.params(one), own)
            place = self.world(one.variant, one, run.SHARED_STAGES[:2])
            self.make(STAGE["02"], one, self.params(one), place)
            return place
        self.make(STAGE["02"], one, self.params(one), own)
        if one.variant == CONTROL:
            place = self.world(CONTROL, one, run.SHARED_STAGES[:2])
            without_sense(own, place, Path(one.domain) / TIER / "data" / f"seed{one.seed}")
            return place
        return own

    def rate(self, one: Run, runs: Path) -> float:
        """The learning rate with the best score on held-out training problems."""
        if len(self.args.rates) == 1:
            return self.args.rates[0]
        scores = {rate: self.score(one, rate, runs) for rate in self.args.rates}
        print(f"{one.name}: bits per byte of held-out results by rate: {scores}", flush=True)
        return min(scores, key=lambda rate: scores[rate])

    def score(self, one: Run, rate: float, runs: Path) -> float:
        """Bits per byte of results (else of solutions) of development problems; kept."""
        file = self.folder / "rates.jsonl"
        key = [one.domain, one.seed, one.name, rate, self.args.base_model]
        with records.Journal(file) as journal:
            for row in journal.rows:
                if row["key"] == key:
                    return row["bits_per_byte"]
        place = self.world(f"{one.variant} rate {rate:g}", one, ())
        for stage in run.SHARED_STAGES:
            inside = Path(one.domain) / TIER / "data" / f"seed{one.seed}"
            for found in (runs / inside).glob(f"{stage}*"):
                if not (place / inside / found.name).is_symlink():
                    (place / inside / found.name).symlink_to(found)
        tokens = {"hours": 0.0, "tokens_stage1": SWEEP, "tokens_stage2": SWEEP}
        params = self.params(one, **tokens, learning_rate=rate)
        self.make(STAGE["03"], one, params, place)
        model = place / one.domain / TIER / one.arm / f"seed{one.seed}" / STAGE["03"] / "model"
        value = self._cost(one, model, place)
        with records.Journal(file) as journal:
            journal.add({"key": key, "bits_per_byte": value})
        shutil.rmtree(model.parent)  # half a gigabyte, and its optimizer's state
        return value

    def _cost(self, one: Run, model: Path, runs: Path) -> float:
        from trait_lib.evaluation.inference import checkpoint, likelihood

        data = runs / one.domain / TIER / "data" / f"seed{one.seed}" / STAGE["00"]
        items = likely.solutions(list(records.read_rows(data / "problems_dev.jsonl")), one.seed)
        found = likelihood.solutions(*checkpoint.load(model, threads=2), items).sum(axis=0)
        return float(found[2] / found[3] if found[3] else found[0] / found[1])

    def run(self, one: Run) -> None:
        """Choose the rate, run the arm, write its rows."""
        runs = self.runs_of(one)
        rate = self.rate(one, runs)
        self.make(STAGE["04"], one, self.params(one, learning_rate=rate), runs)
        folder = runs / one.domain / TIER / one.arm / f"seed{one.seed}" / STAGE["04"]
        add(
            RESULTS if self.args.commit else self.folder / "results.csv", rows_of(one, rate, folder)
        )


def without_sense(own: Path, place: Path, inside: Path) -> None:
    """Notebook 02's results with every number in its passages replaced: form without knowledge."""
    stage = STAGE["02"]
    target = place / inside / stage
    origin = run.hash_file(own / inside / stage / "manifest.json")
    old = target / "manifest.json"
    if old.exists() and records.read_json(old)["results"].get("scrambled_from") == origin:
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(own / inside / stage, target)
    manifest = records.read_json(target / "manifest.json")
    manifest["results"]["scrambled_from"] = origin
    (target / "manifest.json").unlink()
    for name in ("passages.jsonl", "passages_no_enlightenment.jsonl"):
        if (target / name).exists():
            rows = [scrambled(row) for row in records.read_rows(target / name)]
            records.write_rows(target / name, rows)
            manifest["outputs"][name] = run.hash_file(target / name)
    records.write_json(target / "manifest.json", manifest)
    for ending in (".ipynb", ".key.json"):
        shutil.copy(own / inside / f"{stage}{ending}", place / inside)
    path = place / inside / f"{stage}.key.json"
    hashed = run.hash_file(target / "manifest.json")
    records.write_json(path, {**records.read_json(path), "manifest": hashed})


def scrambled(row: Mapping[str, Any]) -> Row:
    """A passage whose numbers are others of as many digits; the same ones at each call."""

    def other(match: re.Match[str]) -> str:
        digits = hashlib.sha256(f"{row['id']}|{match.start()}".encode()).hexdigest()
        drawn = str(int(digits, 16))[-len(match[0]) :]
        return drawn if drawn[0] != "0" else f"7{drawn[1:]}"

    return {**row, "text": re.sub(r"\d+", other, row["text"])}


# --- results --------------------------------------------------------------------------------------


def rows_of(one: Run, rate: float, folder: Path) -> list[Row]:
    """The rows of a run, from what notebook 04 wrote."""
    scores = records.read_json(folder / "scores.json")["rows"]
    gate = {row["name"]: row["passes"] for row in likely.gates(scores)}
    same = ("group", "unit", "n", "base", "difference", "low", "high", "p")
    hashed = run.hash_file(folder / "manifest.json")[:12]
    return [
        {
            **{"domain": one.domain, "seed": one.seed, "arm": one.name, "rate": f"{rate:g}"},
            **{name: _short(row[name]) for name in same},
            **{"score": row["name"], "value": _short(row["adapted"]), "manifest": hashed},
            "gate": {True: "passes", False: "fails"}.get(gate.get(row["name"]), ""),
        }
        for row in scores
    ]


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def add(file: Path, new: Iterable[Row]) -> None:
    """Put a run's rows into a file, in place of older rows of the same run.

    A score on which the control gained is marked `form`, in the control's rows and all others'.
    """
    new = list(new)
    old = []
    if file.exists():
        with open(file, encoding="utf-8", newline="") as handle:
            old = list(csv.DictReader(handle))
    which = {(row["domain"], str(row["seed"]), row["arm"]) for row in new}
    rows = [row for row in old if (row["domain"], row["seed"], row["arm"]) not in which] + new
    learnt = {
        (row["domain"], row["score"])
        for row in rows
        if row["arm"] == CONTROL and row["group"] in ("choice", "solutions")
        if likely.style_only({**row, "low": float(row["low"]), "high": float(row["high"])})
    }
    for row in rows:
        if (row["domain"], row["score"]) in learnt:
            row["gate"] = "form"
    with (
        records.atomic_path(file) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as handle,
    ):
        out = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m trait_lib.repo.laptop", description=__doc__)
    top.add_argument("--data", required=True, help="folder of your files, as for TIER=laptop")
    top.add_argument("--hours", type=float, default=1.0, help="of one arm with its evaluation")
    top.add_argument("--domains", type=str.split, default=["math", "ads"])
    top.add_argument("--arms", type=str.split, default=[], help="of these only, by name")
    top.add_argument("--rates", type=lambda text: [float(x) for x in text.split()], default=RATES)
    top.add_argument("--base-model", default="", help="instead of the tier's")
    top.add_argument("--teacher", default="{}", help="JSON of notebook 02's parameters")
    top.add_argument("--params", default="params")
    top.add_argument("--commit", action="store_true", help="write figures/laptop/results.csv")
    args = top.parse_args(arguments)
    laptop = Laptop(args)
    for one in order(args.domains, stand_in=args.teacher != "{}"):
        if not args.arms or one.name in args.arms:
            print(f"=== {one.domain}, seed {one.seed}: {one.name}", flush=True)
            try:
                laptop.run(one)
            except RuntimeError as error:
                print(
                    f"error: {error}\nfinished arms stand; the same command goes on",
                    file=sys.stderr,
                )
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
