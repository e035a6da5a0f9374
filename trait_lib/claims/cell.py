"""One cell of the experiment: an arm of a domain and seed is trained, asked everything, recorded.

A cell is a `Job`: plain values that name what it reads. `key` is the hash of these values, of the
contents of all files and of the code that trains, asks and grades, so a finished cell is not run
again unless something that decides its numbers has changed. Which jobs there are is decided in
`trait_lib.claims.jobs`, which this module must not import. Not stated in the paper.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import code, corpora, form, records, run
from trait_lib.evaluation import comparison, fewshot, measure, pairwise
from trait_lib.evaluation.inference import generation
from trait_lib.replica import facts, world
from trait_lib.replica.stand_ins import judge as stand_in
from trait_lib.training import arms, launch
from trait_lib.training.data import plan
from trait_lib.training.loop import checkpoints, schedule, train, training_log

Row = dict[str, Any]
OPEN_BOOK, CONSTANT, COPIED = "open_book", "constant_answer", "copied_answer"
FILES = {  # what is asked, by the parameter of `Asked`
    "test": ("problems_test", "relevance_test", "general_questions"),
    "dev": ("problems_dev", "", ""),
}


@dataclass(frozen=True)
class Asked:
    """What every model of a domain and seed is asked.

    `data` is the folder of notebook 00; `split` test, or dev, which asks development problems and
    nothing else; `parameters` are those of notebook 04, `tasks` the names of the task files, and
    `files` the hash of every file that is read.
    """

    data: str
    domain: str
    split: str
    parameters: Mapping[str, Any]
    tasks: tuple[str, ...]
    judged: bool
    files: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A cell to run.

    `config`: of the training, {} where nothing is trained; `answerer`: CONSTANT, COPIED or "";
    `base`: folder and hash of the base model; `sources`: hash of every file of `config`;
    `start`: key of the cell whose model this one goes on from. `after` names the folders of cells
    that must be finished before; `shared` says that other cells have the same first stage; `keep`
    that others go on from this model. These three change no number.
    """

    domain: str
    seed: int
    arm: str
    rate: float
    folder: str
    base: tuple[str, str]
    asked: Asked
    config: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    answerer: str = ""
    start: str = ""
    after: tuple[str, ...] = ()
    shared: bool = False
    keep: bool = False

    def __str__(self) -> str:
        """What progress and errors call it."""
        return f"{self.domain} {self.seed} {self.arm} {self.rate:g}"

    @property
    def key(self) -> str:
        """SHA-256 of all that decides the cell's numbers."""
        places = {"data": "", "parameters": {k: self.asked.parameters[k] for k in DECIDING}}
        return run.hash_value(
            {
                "code": code.hash_of(__name__),
                "base": self.base[1],
                "asked": asdict(self.asked) | places,
                "config": _without_places(self.config),
                "sources": dict(self.sources),
                "answerer": self.answerer,
                "start": self.start,
            }
        )


DECIDING = (
    "seed shots shots_by_task examples_for test_limit max_new_tokens stop precision "
    "relevance_score relevance_shots context_with context_without pairs_limit window"
).split()


def _without_places(config: Mapping[str, Any]) -> Row:
    """A configuration without the names of files and folders; their contents count elsewhere."""
    stages = [
        stage | {"sources": [{**source, "file": ""} for source in stage["sources"]]}
        for stage in config.get("stages", [])
    ]
    texts = [one["name"] for one in config.get("heldout", [])]
    return {**config, "model": "", "tokenizer": "", "stages": stages, "heldout": texts}


def done(job: Job) -> Row | None:
    """The record of a finished cell; None when it has to run."""
    path = Path(job.folder) / "cell.json"
    found = records.read_json(path) if path.exists() else {}
    return found if found.get("key") == job.key else None


def run_cell(job: Job) -> Row:
    """Train and ask; returns the record that is also written to `cell.json`, last of all."""
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cell.json").unlink(missing_ok=True)
    started = time.perf_counter()
    model = train_model(job, folder) if job.config else None
    trained = time.perf_counter()
    table = ask(job, model)
    seconds = {"training": trained - started, "evaluation": time.perf_counter() - trained}
    rows = [
        {"task": row["name"], "metric": row["unit"], "value": row["adapted"], "n": row["n"]}
        for row in table
    ]
    rows += world_rows(job) if job.arm == arms.BASE else []
    rows += [
        {"task": name, "metric": "seconds", "value": value, "n": 1}
        for name, value in seconds.items()
    ]
    record = {
        **{name: getattr(job, name) for name in ("domain", "seed", "arm", "rate", "key")},
        "split": job.asked.split,
        "rows": rows,
        "curve": curve(folder) if model else [],
        "tokens": sum(stage["tokens"] for stage in job.config.get("stages", [])),
        "git": run.git_commit(),
    }
    record["manifest"] = run.hash_value(record)[:12]
    if model and not job.keep:
        shutil.rmtree(model)
    records.write_json(folder / "cell.json", record)
    return record


def world_rows(job: Job) -> list[Row]:
    """What the gates ask of the world itself: precision of the selections, and where facts stand.

    The facts of documents-only entities are looked for in every text of notebook 00 and in the
    passages; counted are those texts, beside pool, seed and held-out documents, that hold one.
    """
    folder = Path(job.asked.data)
    report = records.read_json(folder.parent / "01_data_selection" / "report.json")
    rows = [
        {"task": f"{one['selection']} selection", "metric": "precision", "value": one["precision"],
         "n": one["documents"]}
        for one in report["selections"]
        if one.get("precision") is not None
    ]  # fmt: skip
    if job.domain in world.DOMAINS:
        told = world.documents_only_facts(facts.build(job.seed), job.domain)
        files = world.texts_that_tell(folder, told) - {"pool", "seed", "heldout_domain"}
        passages = folder.parent / "02_passage_generation" / "passages.jsonl"
        found = world.holds_one(passages, told)
        rows.append({"task": "documents-only facts", "metric": "texts that tell one elsewhere",
                     "value": len(files) + found, "n": len(told)})  # fmt: skip
    return rows


# --- training ---------------------------------------------------------------------------------


def train_model(job: Job, folder: Path) -> Path:
    """Train in this process, by the library's own entry point; returns the model's folder.

    Cells with the same first stage at the same rates train it once: the checkpoint at its end is
    kept under the hash of all that decides it, and the others go on from there, to the bit.
    """
    config = dict(job.config)
    laid_out = launch.write(folder, config, 1)
    first, place = laid_out.stages[0], None
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    if job.shared and len(laid_out.stages) > 1:
        place = run.runs_dir() / "cache" / f"stage1-{first_stage(config, laid_out)[:16]}"
        if not place.exists():
            config |= {"checkpoint_steps": first["steps"], "keep_checkpoints": 2}
            launch.write(folder, config, 1)
        else:
            _take_over(folder, place, laid_out, first["steps"])
    (folder / "finished.json").unlink(missing_ok=True)
    train.train(folder / "config.json")
    if place and not place.exists():
        _keep(folder, place, first["steps"])
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return folder / "model"


def first_stage(config: Mapping[str, Any], laid_out: plan.Plan) -> str:
    """The hash of all that decides the weights at the end of the first stage."""
    full = train.settings.resolve(train.settings.check(config))
    who = checkpoints.identity(full, "", 1)
    steps = laid_out.stages[0]["steps"]
    entries = laid_out.entries[: steps * laid_out.batch_rows]
    used = [str(laid_out.shards[source].name) for source in np.unique(entries[:, 0])]
    rates = schedule.rates(laid_out.stages, full)[:steps]
    measured = [config["heldout_tokens"], config["heldout_steps"]]
    return run.hash_value([who, entries.tolist(), used, rates, measured])


def _take_over(folder: Path, place: Path, laid_out: plan.Plan, steps: int) -> None:
    """Begin with the first stage that another cell has trained."""
    full = records.read_json(folder / "config.json")
    target = folder / "checkpoints" / f"checkpoint-{steps}"
    shutil.copytree(place / target.name, target)
    shutil.copy(place / "log.jsonl", folder)
    checkpoints.mark(target, steps, checkpoints.identity(full, laid_out.hash, 1))


def _keep(folder: Path, place: Path, steps: int) -> None:
    """Publish the end of the first stage for the other cells."""
    name = f"checkpoint-{steps}"
    partial = place.with_name(f"{place.name}.{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder / "checkpoints" / name, partial / name)
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= steps]
    (partial / "log.jsonl").write_text("".join(kept), encoding="utf-8")
    if place.exists():
        shutil.rmtree(partial)
    else:
        partial.rename(place)


def curve(folder: Path) -> list[Row]:
    """Held-out bits per byte while it trained: a row for each text and measured step."""
    _, measured = training_log.read(folder / "log.jsonl")
    return [
        {"step": line["step"], "text": name, "bits_per_byte": score["bits_per_byte"]}
        for line in measured
        for name, score in line["heldout"].items()
    ]


# --- evaluation -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """What is asked, with the prompts ready, and what scoring needs beside it."""

    questions: measure.Questions
    settings: generation.Settings
    scoring: measure.Scoring
    forms: Mapping[str, fewshot.Form]
    examples: Mapping[str, Sequence[Row]]
    keywords: Sequence[Row]
    references: Mapping[str, str]


def prepared(asked: Asked, open_book: bool = False) -> Ready:
    """The prompts of a domain and seed, as notebook 04 makes them; made once a process."""
    return _prepared(json.dumps(asdict(asked), sort_keys=True), open_book)


@lru_cache(maxsize=4)
def _prepared(described: str, open_book: bool) -> Ready:
    given = json.loads(described)
    values, seed = given["parameters"], given["parameters"]["seed"]

    def rows(name: str) -> list[Row]:
        found = records.read_rows(Path(given["data"]) / f"{name}.jsonl") if name else []
        return [form.open_book(row) if open_book else row for row in found]

    tests, pairs, general = map(rows, FILES[given["split"]])
    if given["split"] == "dev":  # those of a held-out task are the examples of its test problems
        tests = [row for row in tests if not row.get("held_out_task")]
    tests = measure.limited(tests, values["test_limit"], seed)
    pairs = measure.limited(pairs, values["pairs_limit"], seed, by="topic")
    names = given["tasks"] or list(fewshot.by_task([*tests, *pairs, *general]))
    tasks = [corpora.load_task(name, given["domain"]) for name in names]
    forms = fewshot.forms_of({task.name: task.settings for task in tasks}, values)
    wanted = {name: one.shots for name, one in forms.items() if not one.examples}
    reserved, general = fewshot.reserve(general, wanted, seed) if general else ([], [])
    train_rows = [*rows("problems_train"), *reserved]
    with_train = fewshot.by_task(train_rows)
    train_rows += [row for row in rows("problems_dev") if row["task"] not in with_train]
    problems = [*tests, *general]
    prompts = fewshot.prompts(problems, train_rows, forms, seed, values["examples_for"])
    texts = {}
    if given["split"] == "test":
        texts = {n: [row["text"] for row in rows(f"heldout_{n}")] for n in ("domain", "general")}
    pair_prompts = fewshot.pair_prompts(pairs, rows("relevance_train"), forms, seed)
    return Ready(
        measure.Questions(
            problems, prompts, pairs, pair_prompts, texts, tuple(fewshot.by_task(general))
        ),
        generation.Settings(
            task_stops={name: one.stop for name, one in forms.items()},
            task_tokens={name: one.max_new_tokens for name, one in forms.items()},
            batch_size=values["batch_size"],
            precision=values["precision"],
        ),
        measure.Scoring(
            values["relevance_score"],
            values["context_with"],
            values["context_without"],
            values["window"],
        ),
        forms,
        fewshot.by_task(train_rows),
        rows("keywords"),
        {row["question"].strip(): str(row["answer"]) for row in tests},
    )


def ask(job: Job, model: Path | None) -> list[Row]:
    """All scores of the cell beside the base model's; see `comparison.table`."""
    ready = prepared(job.asked)
    how = ready.questions, ready.settings, ready.scoring
    base = comparison.read_evaluated(measure.evaluate(job.base[0], job.base[1], *how))
    questions, adapted = ready.questions, base
    if model:
        place = measure.evaluate(str(model), run.hash_path(model), *how)
        adapted = comparison.read_evaluated(place)
        shutil.rmtree(place)  # the answers are kept in the cell, without the prompts
    elif job.answerer == OPEN_BOOK:
        how = prepared(job.asked, open_book=True).questions, ready.settings, ready.scoring
        adapted = comparison.read_evaluated(measure.evaluate(job.base[0], job.base[1], *how))
    elif job.answerer:
        questions = replace(questions, pairs=[], texts={})
        base = replace(base, scores={})
        adapted = comparison.Evaluated(answered(job.answerer, ready), {})
    rows = [{k: v for k, v in row.items() if k != "prompt"} for row in adapted.answers.values()]
    records.write_rows(Path(job.folder) / "answers.jsonl", rows)
    judged = judge(job, ready, base, adapted) if job.asked.judged else []
    return comparison.table(questions, base, adapted, ready.keywords, judged)


def answered(how: str, ready: Ready) -> dict[str, Row]:
    """Answers without a model, graded as the others: the controls CONSTANT and COPIED."""
    often = {
        task: Counter(str(row["answer"]) for row in rows if "answer" in row).most_common(1)
        for task, rows in ready.examples.items()
    }

    def answer(problem: Row) -> str:
        if how == CONSTANT:
            return next((text for text, _ in often.get(problem["task"], [])), "")
        before = ready.questions.prompts[problem["id"]].split(form.SEPARATOR)[:-1]
        return form.parted(before[-1])[1] if before else ""

    said = {row["id"]: " " + form.with_answer("", answer(row)) for row in ready.questions.problems}
    outputs = {one: {"output": text, "tokens": 0, "seconds": 0.0} for one, text in said.items()}
    return {row["id"]: row for row in measure.graded(ready.questions, outputs)}


def judge(
    job: Job, ready: Ready, base: comparison.Evaluated, adapted: comparison.Evaluated
) -> list[pairwise.Judged]:
    """Both models' answers to the tasks with a win rate, judged by the replica's own rules."""
    won = [
        row["id"]
        for row in ready.questions.problems
        if ready.forms[row["task"]].metric == "win_rate"
    ]
    if not won:
        return []
    rules = stand_in.Judge(ready.references)
    template = pairwise.load_template(pairwise.template_path(job.domain))
    return pairwise.judge(
        pairwise.duels(won, base.answers, adapted.answers),
        template,
        lambda chats: [
            pairwise.verdict(stand_in.reply(rules, chat[-1]["content"])) for chat in chats
        ],
    )
