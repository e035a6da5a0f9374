"""What each stage will take, from its parameters and a list of named assumptions.

No formula stands here that a stage has: the notebooks' own functions are asked, with assumed sizes
where nothing has been measured. A dry run puts its measured plan in that place (`keep`).
Not stated in the paper; ours because a reader must see the price before anything is spent.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trait_lib import ROOT, params, records, run
from trait_lib.repo import chain

START, SELECTION, PASSAGES, TRAINING, EVALUATION = run.STAGES[:5]
FILE = "plan.yaml"
Values = Mapping[str, Any]
All = Mapping[str, Values]


@dataclass(frozen=True)
class Item:
    """One line of the bill: wall hours, GiB on the disk, GiB of one process or device, money."""

    what: str
    tokens: float = 0.0
    hours: float = 0.0
    disk_gib: float = 0.0
    memory_gib: float = 0.0
    money: float = 0.0


# --- what is assumed --------------------------------------------------------------------------


def assumed(tier: str, folder: Path = ROOT / "params") -> dict[str, Any]:
    """The assumptions for a tier, a `plan.yaml` in `folder` before the repository's.

    Raises:
        ValueError: a file holds a name that is unknown, or is no such list.
    """
    files = [ROOT / "params" / FILE, folder / FILE]
    found: dict[str, Any] = {}
    for file in dict.fromkeys(file.resolve() for file in files if file.exists()):
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
        tiers = given.pop("tiers", {})
        given |= tiers.get(tier) or {}
        if unknown := [name for name in given if found and name not in found]:
            raise ValueError(f"{file}: unknown {', '.join(unknown)}; known: {', '.join(found)}")
        for name in ("sources", "problems"):
            given[name] = {**given.get(name, {}), **found.get(name, {}), **given.get(name, {})}
        found |= given
    return found


def documents(files: list[str], limit: int, assumptions: Values) -> tuple[float, float]:
    """Documents in some sources of notebook 00, and tokens of each."""
    number = size = 0.0
    for file in files:
        known = next(
            (v for k, v in assumptions["sources"].items() if fnmatch.fnmatch(file, k)),
            (assumptions["unknown_documents"], assumptions["document_tokens"]),
        )
        number, size = number + known[0], size + known[0] * known[1]
    each = size / number if number else 0.0
    return min(number, limit or number), each


def problems(task: str, limits: Values, assumptions: Values) -> tuple[int, int]:
    """Training and test problems of a task (0 as a limit takes all)."""
    known = assumptions["problems"].get(task.removesuffix("@hub"), assumptions["task_problems"])
    given = limits["train_per_task"], limits["test_per_task"]
    return tuple(min(have, limit or have) for have, limit in zip(known, given, strict=True))


# --- how much text there will be ---------------------------------------------------------------


def corpora(values: All, assumptions: Values) -> dict[str, float]:
    """Tokens of the pool, the seed and the general text of notebook 00; the pool's documents."""
    asked = values[START]
    if asked["corpus"] == "world":
        each = assumptions["world_document_tokens"]
        sizes = {name: asked[f"{name}_documents"] * each for name in ("pool", "seed", "general")}
        return {**sizes, "documents": asked["pool_documents"]}
    number, each = documents(asked["pool_files"], asked["pool_limit"], assumptions)
    seeds, seed_each = documents(asked["seed_files"], asked["seed_limit"], assumptions)
    general, general_each = documents(asked["general_files"], asked["general_limit"], assumptions)
    taken = 0.0
    if not asked["general_files"]:
        general, general_each, taken = number * asked["general_share"], each, asked["general_share"]
    number *= 1 - taken
    sizes = {"pool": number * each, "seed": seeds * seed_each, "general": general * general_each}
    return {**sizes, "documents": number}


def passage_tokens(values: All, assumptions: Values) -> float:
    """Tokens of one passage: the reply, and the problem statements where they stand in it."""
    asked = values[PASSAGES]
    own = asked["k"] * assumptions["question_tokens"] if asked["include_questions"] else 0
    return asked["reply_tokens"] + own


def accepted(values: All, assumptions: Values) -> float:
    """The share of groups whose passage is accepted at one of the attempts."""
    return 1 - (1 - assumptions["accepted_share"]) ** values[PASSAGES]["attempts"]


def supply(values: All, assumptions: Values) -> dict[str, float]:
    """Tokens that each source of the arm will hold, by the name of the source."""
    from trait_lib.training import arms

    text = corpora(values, assumptions)
    picked = values[SELECTION]
    tokens = picked["selection_tokens"]
    kept = min(tokens, picked["oversample"] * tokens * assumptions["quality_kept"])
    share = accepted(values, assumptions) * (1 - values[TRAINING]["heldout_passages_share"])
    passages = values[PASSAGES]["passages"] * share * passage_tokens(values, assumptions)
    tasks = values[TRAINING]["finetune_epoch_tokens"]
    known = {"seed": text["seed"], "replay": text["general"], "tasks": tasks}
    known |= dict.fromkeys(("random", "dsir", "unfiltered"), tokens)
    return {
        source: known.get(source, passages if source.startswith("passages") else kept)
        for source in arms.sources(values[TRAINING]["arm"])
    }


def stages_of(values: All) -> tuple[Values, list[dict[str, Any]]]:
    """The settings and stages of the training, as notebook 03 makes them in a dry run."""
    from trait_lib.training import arms, inputs

    files = {name: name for name in arms.FILES}
    asked = inputs.settings({**values[TRAINING], "dry_run": True}, files, {})
    return asked, arms.stages(asked["arm"], asked, files)


# --- the stages -------------------------------------------------------------------------------


def start(values: All, assumptions: Values, measured: Values) -> list[Item]:
    """Notebook 00: reading, the search for test questions, the base model."""
    from trait_lib.contamination import files as search

    asked, text = values[START], corpora(values, assumptions)
    tokens = text["pool"] + text["seed"] + text["general"]
    size = tokens * assumptions["bytes_per_token"]
    read = size / assumptions["read_bytes_per_second"] / 3600
    if any("hub://" in str(f) for f in (*asked["pool_files"], *asked["seed_files"])):
        read += size / assumptions["network_bytes_per_second"] / 3600
    rent = assumptions["dollars_per_core_hour"]
    disk = size * assumptions["compressed"] / 2**30
    rate = assumptions["search_bytes_per_second"]
    searched = search.hours(2 * size, 1, rate)  # while it is written, and once more at the end
    items = [
        Item("read and write the corpora", tokens, read, disk, 1.0, read * rent),
        Item("look for test questions in them", tokens, searched, money=searched * rent),
    ]
    shape = model_shape(values)
    if asked["base_model"]:
        gib = 2 * shape.parameters / 2**30
        hours = gib * 2**30 / assumptions["network_bytes_per_second"] / 3600
        return [*items, Item(f"fetch {asked['base_model']}", hours=hours, disk_gib=gib)]
    own = {name: asked[name] for name in ("processes", "sequence_length")}
    own |= {"batch_tokens": asked["base_batch_tokens"], "precision": "fp32"}
    own |= {"gradient_checkpointing": False}
    parts = [{"tokens": asked["base_tokens"]}]
    return [*items, trained("train the base model", shape, parts, {**values[TRAINING], **own})]


def selection(values: All, assumptions: Values, measured: Values) -> list[Item]:
    """Notebook 01. `measured` may hold `scan`, the forecast of its sample."""
    from trait_lib.contamination import files as search
    from trait_lib.selection.cut.budget import Budget
    from trait_lib.selection.scan import estimate

    asked, each = values[SELECTION], assumptions["bytes_per_token"]
    if asked["corpus_files"]:
        number, long = documents(asked["corpus_files"], 0, assumptions)
    else:
        text = corpora(values, assumptions)
        number, long = text["documents"], text["pool"] / text["documents"]
    size = number * long * each
    scores = number * assumptions["score_bytes"]
    rate = assumptions["scan_bytes_per_second"]
    scan = measured.get("scan") or estimate.Forecast(1, 0, number, size, rate, scores)
    budget = Budget(asked["selection_tokens"], asked["selection_documents"], each)
    rankings = len({asked["rank_by"], "classifier", *asked["compare"]}) + 2  # DSIR, random
    looked_at = estimate.looked_at(scan, budget, asked["oversample"], rankings)
    workers, rent = asked["workers"], assumptions["dollars_per_core_hour"]
    found = looked_at / (scan.text_bytes / scan.documents)  # candidates

    def item(what: str, hours: float, **more: float) -> Item:
        return Item(what, hours=hours, money=hours * workers * rent, **more)

    search_rate = assumptions["search_bytes_per_second"]
    packed, memory = assumptions["compressed"] / 2**30, assumptions["scan_gib"] * workers
    items = [
        item("score all documents", scan.hours(workers), tokens=scan.text_bytes / each,
             disk_gib=scan.part_bytes / 2**30, memory_gib=memory),
        item("read the candidates again", scan.hours(workers), tokens=looked_at / each,
             disk_gib=looked_at * packed, memory_gib=memory),
        item("look for test questions in them", search.hours(looked_at, workers, search_rate)),
    ]  # fmt: skip
    if asked["quality_filter"] == "hub":
        hours = found / assumptions["quality_documents_per_second"] / 3600
        money = hours * values[TRAINING]["dollars_per_device_hour"]
        items.append(Item("grade the candidates", looked_at / each, hours, money=money))
    if asked["quality_filter"] == "teacher":
        items.append(grades(asked, long * each, assumptions))
    return items


def grades(asked: Values, document_bytes: float, assumptions: Values) -> Item:
    """The grades that a teacher gives a sample of the candidates."""
    from trait_lib.selection.cut import quality

    chat = quality.rubric_prompt("x" * int(document_bytes))
    model = asked["teacher_model"] or "reference-solution"
    limits = {"concurrency": asked["teacher_workers"], "budget": asked["teacher_budget"]}
    price = priced(asked, model, asked["teacher_base_url"])
    given = (price, asked["teacher_max_tokens"], limits, quality.REPLY_TOKENS, 1.0)
    plan = asked_of(asked["quality_sample"], [{"role": "user", "content": chat}], *given)
    return paid(f"grades by {model}", plan)


def passages(values: All, assumptions: Values, measured: Values) -> list[Item]:
    """Notebook 02. `measured` may hold `plan`, that of the real prompts."""
    from trait_lib.passages import prompts, sampling

    asked = values[PASSAGES]
    model = asked["model"] if asked["teacher"] == "server" else "reference-solution"
    plan = measured.get("plan")
    if plan is None:
        words = {"question": "question_tokens", "solution": "solution_tokens"}
        row = {k: "x" * (4 * assumptions[v]) for k, v in words.items()} | {"id": "", "task": "t"}
        file = params.locate(asked["template"] or prompts.template_path(asked["domain"]))
        template = prompts.load_template(file)
        group = sampling.Group("topic", (row,) * asked["k"])
        chat = prompts.render(template, group, asked["enlightenment"], asked["show_solution"])
        names = ("concurrency", "requests_per_minute", "tokens_per_minute", "budget")
        limits = {name: asked[name] for name in names}
        given = (asked["reply_tokens"], asked["seconds_per_reply"])
        price = priced(asked, model, asked["base_url"])
        plan = asked_of(asked["passages"], chat, price, asked["max_tokens"], limits, *given)
    again = accepted(values, assumptions) / assumptions["accepted_share"]
    return [paid(f"passages by {model}, with second attempts", plan, again, asked["route"])]


def priced(asked: Values, model: str, base_url: str) -> Any:
    """The price of a model as the parameters of its notebook find it."""
    from trait_lib.teacher import prices

    return prices.load_price(model, asked["price_file"], base_url)


def asked_of(
    number: int, chat: Any, price: Any, most: int, limits: Values, reply: int, seconds: float
) -> Any:
    """The plan of the client for so many requests of this size."""
    from trait_lib.teacher import client, prices
    from trait_lib.teacher.ledger import Request

    sizes = prices.estimate_tokens(Request(chat)), prices.most_tokens(Request(chat))
    total = (number * size for size in sizes)
    how = (client.Settings(price.model, most), client.Limits(**limits), price)
    return client.plan_of(number, 0, *total, *how, reply, seconds)


def paid(what: str, plan: Any, times: float = 1.0, route: str = "direct") -> Item:
    """A line for requests to a teacher, each sent so many times on average."""
    by_batch = route == "batch"
    money = plan.money_batch if by_batch else plan.money
    hours = 24.0 if by_batch else plan.minutes / 60
    return Item(what, times * (plan.prompt_tokens + plan.completion_tokens), times * hours,
                money=times * money)  # fmt: skip


def model_shape(values: All) -> Any:
    """The size of the base model, from its name or the settings of notebook 00."""
    asked = values[START]
    name = values[TRAINING]["base_model"] or asked["base_model"]
    given = {
        "hidden_size": asked["hidden_size"],
        "num_hidden_layers": asked["layers"],
        "intermediate_size": asked["ffn_size"],
        "num_attention_heads": asked["heads"],
        "num_key_value_heads": asked["kv_heads"],
        "tie_word_embeddings": True,
        "vocab_size": asked["vocab_size"],
    }
    return _shape(name, tuple(given.items()), asked["base_revision"])


@cache
def _shape(name: str, given: tuple[tuple[str, Any], ...], revision: str) -> Any:
    from trait_lib.training.checks import preflight

    return preflight.shape(preflight.model_config(name, dict(given), revision))


def trained(what: str, shape: Any, parts: Any, settings: Values, checkpoints: int = 0) -> Item:
    """A line for a training, as the preflight of notebook 03 estimates it."""
    from trait_lib.training.checks import preflight
    from trait_lib.training.loop import engine

    world = settings["processes"] * settings["nodes"]
    micro = engine.micro_batch_rows(settings, world)
    needs = preflight.estimate(shape, parts, settings, run.runs_dir(), micro)
    return Item(
        what,
        needs.tokens,
        needs.device_hours / world,
        needs.checkpoint_gib * (checkpoints + 1),
        needs.gib_per_device + needs.activations_gib,
        needs.dollars,
    )


def training(values: All, assumptions: Values, measured: Values) -> list[Item]:
    """Notebook 03: tokens on the disk, the last search for test questions, the training.

    `measured` may hold `size`, of the model that it starts from.
    """
    from trait_lib.contamination import files as search

    asked, parts = stages_of(values)
    shape = measured.get("size") or model_shape(values)
    tokens = sum(supply(values, assumptions).values())
    cores, rent = assumptions["cores"], assumptions["dollars_per_core_hour"]
    hours = tokens / assumptions["tokenise_tokens_per_second"] / 3600
    rate = assumptions["search_bytes_per_second"]
    looked = search.hours(assumptions["bytes_per_token"] * tokens, cores, rate)
    width = 2 if shape.vocabulary <= 2**16 else 4
    kept = asked["keep_checkpoints"] * (asked["checkpoint_steps"] > 0)
    rented = (hours + looked) * cores * rent
    return [
        Item("tokenise and search the texts", tokens, hours + looked, width * tokens / 2**30,
             money=rented),
        trained(f"train arm {asked['arm']}", shape, parts, asked, kept),
    ]  # fmt: skip


def evaluation(values: All, assumptions: Values, measured: Values) -> list[Item]:
    """Notebook 04: answers of both models, and the judge of the win rates.

    `measured` may hold `problems`, those of each task.
    """
    from trait_lib.corpora.tasks import load_task, task_files
    from trait_lib.evaluation import fewshot, pairwise

    asked, first = values[EVALUATION], values[START]
    names = [*first["tasks"], *first["general_tasks"]]
    named = [load_task(name, asked["domain"]) for name in names or task_files(asked["domain"])]
    if not names:
        named = [one for one in named if "the generated world" in one.settings.get("origin", "")]
    forms = fewshot.forms_of({one.name: one.settings for one in named}, asked)
    pair = assumptions["question_tokens"] + assumptions["solution_tokens"]
    tokens = steps = judged = 0.0
    for name, form in forms.items():
        number = problems(name, first, assumptions)[1]
        number = min(number, asked["test_limit"] or number)
        if "problems" in measured:
            number = len(measured["problems"].get(name, ()))
        answer = min(form.max_new_tokens, assumptions["answer_tokens"])
        prompt = form.shots * pair + assumptions["question_tokens"]
        tokens += 2 * number * (prompt + answer)
        steps += 2 * number * answer / asked["batch_size"]
        judged += number if form.metric == "win_rate" else 0
    hours = steps * assumptions["seconds_per_new_token"] / 3600
    rent = values[TRAINING]["dollars_per_device_hour"]
    items = [Item("answers of both models", tokens, hours, money=hours * rent)]
    if judged and asked["judge_model"]:
        text = "x" * (4 * assumptions["answer_tokens"])
        two = pairwise.Pair("", "task", "x" * (4 * assumptions["question_tokens"]), text, text)
        template = pairwise.load_template(pairwise.template_path(asked["domain"]))
        chat = pairwise.messages(template, two, False)
        limits = {"concurrency": 8, "budget": asked["judge_budget"]}
        price = priced(asked, asked["judge_model"], asked["judge_base_url"])
        given = (price, 256, limits, pairwise.REPLY_TOKENS, 2.0)
        plan = asked_of(round(2 * judged), chat, *given)
        items.append(paid(f"verdicts by {asked['judge_model']}", plan))
    return items


ITEMS = dict(zip(run.STAGES[:5], (start, selection, passages, training, evaluation), strict=True))


# --- what a dry run has measured --------------------------------------------------------------


def keep(stage: run.Stage, items: list[Item]) -> None:
    """Leave the plan of a dry run where `measured` finds it."""
    kept = {"parameters": stage.params, "items": [asdict(item) for item in items]}
    records.write_json(stage.path(FILE).with_suffix(".json"), kept)


def measured(stage: str, values: Values) -> list[Item] | None:
    """The plan of the stage's last dry run, if it had these parameters."""
    file = (run.folder_of(stage, {**values, "dry_run": True}) / FILE).with_suffix(".json")
    if not file.exists():
        return None
    kept = records.read_json(file)
    if chain.changes(kept["parameters"], {**values, "dry_run": True}):
        return None
    return [Item(**item) for item in kept["items"]]
