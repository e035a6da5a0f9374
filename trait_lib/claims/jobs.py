"""Which cells there are: for each arm of a domain and seed, the job that trains and asks it.

Notebooks 00 to 02 must have run. Every plan is laid out and every source is searched for held-out
questions here, before the first arm trains; each file once. Not stated in the paper.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trait_lib import code, corpora, records, run
from trait_lib.claims import cell, controls
from trait_lib.claims import settings as claims_settings
from trait_lib.repo import chain
from trait_lib.training import arms, inputs
from trait_lib.training.data import plan, proof
from trait_lib.training.loop import config as configuration
from trait_lib.training.loop import heldout

TRAINING, EVALUATION, DATA = "03_two_stage_training", "04_evaluation", "00_start_here"
ASKED_FILES = (
    "problems_test problems_dev problems_train relevance_test relevance_train general_questions "
    "heldout_domain heldout_general keywords"
).split()


class PlansRefused(plan.PlanError):
    """Arms whose sources hold too little text; the message names arm, source and tokens."""


@dataclass(frozen=True)
class Where:
    """A domain and seed of a tier, and the folder of parameters that its notebooks take."""

    domain: str
    tier: str
    seed: int
    params: Path

    def values(self, stage: str, domain: str = "") -> dict[str, Any]:
        """The parameters of a notebook, here or in another domain of the same seed."""
        given = {"domain": domain or self.domain, "tier": self.tier, "seed": self.seed}
        file = self.params / given["domain"] / self.tier / f"{stage}.yaml"
        return chain.resolve(stage, file, {**given, "arm": "trait"})

    @property
    def folder(self) -> Path:
        """Where its cells are."""
        return run.runs_dir() / "claims" / self.tier / self.domain / f"seed{self.seed}"


def make(
    where: Where,
    settings: claims_settings.Settings,
    rated: Sequence[tuple[str, float]],
    split: str = "test",
) -> list[cell.Job]:
    """The jobs of a domain and seed, all plans checked.

    Args:
        where: the domain and seed; notebooks 00 to 02 have run.
        settings: of the experiment.
        rated: (arm, peak rate) of each.
        split: `test`, or `dev` for a sweep.

    Raises:
        PlansRefused: names every arm that has too little text.
        proof.Contaminated: a held-out question stands in a training text.
        run.StageMissing: a notebook has not run.
    """
    values = where.values(TRAINING)
    stage = run.Stage(TRAINING, where.folder / "sources", values)
    stage.folder.mkdir(parents=True, exist_ok=True)
    base = records.read_json(stage.read(DATA, "base_model.json"))
    asked = _asked(where, stage, split)
    made: dict[tuple[str, float], cell.Job] = {}
    short: list[str] = []
    prefixes = defaultdict(list)
    for arm, rate in _with_starts(rated, settings):
        folder = str(where.folder / (split if split != "test" else "") / arm / f"{rate:g}")
        job = cell.Job(
            *(where.domain, where.seed, arm, rate, folder),
            *((base["name_or_path"], base["hash"]), asked),
            answerer=arm if arm in arms.ANSWERERS else "",
        )
        if rate:
            try:
                job, laid_out = _training(where, settings, stage, base, job, made)
            except plan.PlanError as error:
                short.append(f"{where.domain}, seed {where.seed}, arm {arm}: {error}")
                continue
            if len(laid_out.stages) > 1:
                prefixes[cell.first_stage(job.config, laid_out)].append((arm, rate))
        made[arm, rate] = job
    if short:
        raise PlansRefused("\n".join(short))
    for first, *others in prefixes.values():
        for other in others:
            after = (*made[other].after, made[first].folder)
            made[other] = replace(made[other], shared=True, after=after)
        made[first] = replace(made[first], shared=bool(others))
    return list(made.values())


def _with_starts(
    rated: Sequence[tuple[str, float]], settings: claims_settings.Settings
) -> list[tuple[str, float]]:
    """The arms, those that others go on from before them, each once."""
    full: dict[tuple[str, float], None] = {}
    for arm, rate in rated:
        before = arms.find(arm).finetunes if rate else ""
        if before and before != arms.BASE:
            full[before, claims_settings.rate_of(before, settings)] = None
        full[arm, rate] = None
    return sorted(full, key=lambda one: bool(one[1] and arms.find(one[0]).finetunes))


def _training(
    where: Where,
    settings: claims_settings.Settings,
    stage: run.Stage,
    base: Mapping[str, str],
    job: cell.Job,
    made: Mapping[tuple[str, float], cell.Job],
) -> tuple[cell.Job, plan.Plan]:
    """The job with the configuration of its training, and the plan."""
    arm = arms.find(job.arm)
    values = {**stage.params, "arm": job.arm}
    with contextlib.redirect_stdout(io.StringIO()):
        files = _files(where, settings, stage, values)
        texts = inputs.watched(stage, values)
    given = {**inputs.settings(values, files, base)}
    given |= {"learning_rate": job.rate, "engine": "plain", "device": "cpu", "checkpoint_steps": 0}
    if not arm.finetunes:
        given["max_epochs"] = settings["max_epochs"]
    start, before = base["name_or_path"], None
    if arm.finetunes not in ("", arms.BASE):
        before = made[arm.finetunes, claims_settings.rate_of(arm.finetunes, settings)]
        start = str(Path(before.folder) / "model")
    stages = arms.stages(job.arm, given, files)
    steps = sum(one["steps"] for one in plan.stage_steps(stages, given["batch_tokens"]))
    given |= {"heldout": texts if settings["heldout_tokens"] else []}
    given |= {"heldout_tokens": settings["heldout_tokens"], "stages": stages}
    given |= {"heldout_steps": max(1, steps // settings["heldout_moments"])}
    given |= {"model": start, "tokenizer": base["name_or_path"], "end_mark": base["end_mark"]}
    config = configuration.check({k: given[k] for k in configuration.SETTINGS if k in given})
    laid_out = plan.prepare(config)
    used = {source["name"]: source["file"] for one in stages for source in one["sources"]}
    _prove_clean(stage, used)
    job = replace(
        job,
        config=config,
        sources={name: run.hash_file(file) for name, file in used.items()},
        start=before.key if before else "",
        after=(before.folder,) if before else (),
        keep=job.arm in {one.finetunes for one in arms.ARMS.values()},
    )
    return job, laid_out


def _files(
    where: Where, settings: claims_settings.Settings, stage: run.Stage, values: Mapping[str, Any]
) -> dict[str, str]:
    """The file of each source of an arm or control."""
    own = [name for name in arms.sources(values["arm"]) if arms.FILES[name][0] == "claims"]
    files = inputs.gather(stage, {**values, "arm": "trait"} if own else values)
    for name in own:
        target = stage.path(arms.FILES[name][1])
        if name == "passages_other":
            other = settings["other_domain"].get(where.domain, "")
            folder = run.stage_dir("02_passage_generation", {**values, "domain": other})
            run.require("02_passage_generation", folder)
            share = values["heldout_passages_share"]
            heldout.split(folder / "passages.jsonl", share, target, stage.scratch("unused.jsonl"))
        else:
            problems = records.read_rows(stage.read(DATA, "problems_train.jsonl"))
            passages = records.read_rows(files["passages"])
            held = [
                row["question"]
                for split in ("test", "dev")
                for row in records.read_rows(stage.read(DATA, f"problems_{split}.jsonl"))
            ]
            rows = controls.permuted(passages, list(problems), where.seed, held)
            records.write_rows(target, rows)
        files[name] = str(target)
    return files


def _prove_clean(stage: run.Stage, files: Mapping[str, str]) -> None:
    """Search each file once for the held-out questions of this domain and seed."""
    held = [stage.read(DATA, f"problems_{split}.jsonl") for split in ("test", "dev")]
    known = stage.read(DATA, "contamination.json")
    key = {
        "questions": [run.hash_file(file) for file in (*held, known)],
        "code": code.hash_of(proof.__name__),
    }
    for name, file in files.items():
        run.cached(
            "clean",
            {**key, "file": run.hash_file(file)},
            lambda folder, name=name, file=file: records.write_json(
                folder / "searched.json", proof.prove_clean({name: file}, held, known)
            ),
        )


def _asked(where: Where, stage: run.Stage, split: str) -> cell.Asked:
    """What the models of a domain and seed are asked."""
    folder = run.stage_dir(DATA, stage.params)
    manifest = run.require(DATA, folder)
    described = manifest["parameters"]
    names = (*described["tasks"], *described["general_tasks"])
    hashes = {name: manifest["outputs"][f"{name}.jsonl"] for name in ASKED_FILES}
    for name in names or _tasks_in(folder):
        for file in corpora.load_task(name, where.domain).files:
            hashes[f"tasks/{file.name}"] = run.hash_file(file)
    judged = split == "test" and described["corpus"] == "world"
    values = where.values(EVALUATION)
    return cell.Asked(str(folder), where.domain, split, values, names, judged, hashes)


def _tasks_in(folder: Path) -> list[str]:
    files = [folder / f"{name}.jsonl" for name in cell.FILES["test"]]
    return list(dict.fromkeys(row["task"] for file in files for row in records.read_rows(file)))
