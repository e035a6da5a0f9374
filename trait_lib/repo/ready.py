"""Everything that a run will need, looked for before its first notebook starts.

Tasks with their examples and files, prompts, prices and a domain that the corpora know: what is
missing or wrong is told at once, and not after hours, when the notebook that needs it runs.
Nothing is downloaded and no server is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trait_lib import params, run

Values = Mapping[str, Any]
START, SELECTION, PASSAGES, _, EVALUATION = run.STAGES[:5]
ERRORS = (params.ParameterError, OSError, RuntimeError, ValueError)
# what a template of the judge may use
SHOWN = dict.fromkeys(("task", "question", "first", "second"), "")


def problems(values: Mapping[str, Values]) -> list[str]:
    """What a run with these parameters of each notebook lacks, a line each; of what it declares."""
    found: list[str] = []
    for stage, declares, check in (
        (START, "corpus", corpora),
        (SELECTION, "teacher_base_url", grader),
        (PASSAGES, "template", teacher),
        (EVALUATION, "judge_model", judge),
    ):
        if declares in values[stage]:
            found += [f"{stage}: {line}" for line in check(values)]
    return list(dict.fromkeys(found))


def _said(check: Callable[[], Any]) -> Iterator[str]:
    """What is wrong, if the check raises."""
    try:
        check()
    except ERRORS as error:
        yield str(error)


def corpora(values: Mapping[str, Values]) -> Iterator[str]:
    """The domain in the generated world; or the task files, and all files that are named."""
    asked = values[START]
    if asked["corpus"] == "world":
        from trait_lib.replica import world

        if asked["domain"] not in world.DOMAINS:
            yield (
                f"corpus: world has no domain {asked['domain']!r}, only {', '.join(world.DOMAINS)};"
                " say corpus: files in the file of parameters, and name your files"
            )
        return
    from trait_lib.corpora import assemble, tasks
    from trait_lib.corpora.documents import base
    from trait_lib.reading import shards

    if not asked["tasks"]:
        yield "tasks: name at least one task file (params/<domain>/tasks)"
    named = {f"{name}_files": asked[f"{name}_files"] for name in assemble.STREAMED}
    for name in [*asked["tasks"], *asked["general_tasks"]]:
        lines = list(_said(lambda name=name: tasks.load_task(name, asked["domain"])))
        yield from lines
        if not lines:
            task = tasks.load_task(name, asked["domain"])
            named[task.path.name] = [s for split in tasks.SPLITS for s in task.sources(split)]
    start = base(asked["data_dir"])
    hint = "" if asked["data_dir"] else "; or name the folder of your files: make ... DATA=path"
    for name, sources in named.items():
        for line in _said(lambda n=name, s=sources: s and shards.places(s, n, start)):
            yield line + hint
    for name in ("pool_files", "seed_files"):
        if not asked[name]:
            yield f"{name}: names no file"


def _price(asked: Values, model: str, base_url: str) -> Iterator[str]:
    from trait_lib.teacher import prices

    if asked["price_file"] and not params.locate(asked["price_file"]).is_file():
        yield f"price_file: no file {params.locate(asked['price_file'])}"
    else:
        yield from _said(lambda: prices.load_price(model, asked["price_file"], base_url))


def grader(values: Mapping[str, Values]) -> Iterator[str]:
    """The price of the model that grades, where it is at an address."""
    asked = values[SELECTION]
    if asked["quality_filter"] == "teacher" and asked["teacher_base_url"]:
        yield from _price(asked, asked["teacher_model"], asked["teacher_base_url"])


def teacher(values: Mapping[str, Values]) -> Iterator[str]:
    """The prompt of a passage, filled in once; the teacher's name and price."""
    from trait_lib.passages import prompts

    asked = values[PASSAGES]
    path = params.locate(asked["template"] or prompts.template_path(asked["domain"]))
    for line in _said(lambda: prompts.instructions(prompts.load_template(path), asked["k"])):
        yield line if str(path) in line else f"{path}: {line}"
    if asked["teacher"] == "server":
        if asked["model"]:
            yield from _price(asked, asked["model"], asked["base_url"])
        else:
            yield "teacher: server needs the server's name of the model, as the parameter model"


def judge(values: Mapping[str, Values]) -> Iterator[str]:
    """How each task is asked; the judge's prompt and price, where a task is scored by win rate."""
    start, asked = values[START], values[EVALUATION]
    if asked["examples_folder"] and not params.locate(asked["examples_folder"]).is_dir():
        yield f"examples_folder: no folder {params.locate(asked['examples_folder'])}"
    names = [*start["tasks"], *start["general_tasks"]]
    if not names:  # those of the generated world, which the replica's stand-in judges
        return
    from trait_lib.corpora import tasks
    from trait_lib.evaluation import fewshot

    try:
        loaded = [tasks.load_task(name, asked["domain"]) for name in names]
    except params.ParameterError:
        return  # notebook 00 says so
    settings = {task.name: task.settings for task in loaded}
    yield from _said(lambda: fewshot.forms_of(settings, asked))
    if not asked["judge_model"] or all(o.get("metric") != "win_rate" for o in settings.values()):
        return
    from trait_lib.evaluation import pairwise
    from trait_lib.teacher import templates

    path = pairwise.template_path(asked["domain"])
    yield from _said(lambda: templates.render(pairwise.load_template(path), SHOWN, f"{path}: the"))
    yield from _price(asked, asked["judge_model"], asked["judge_base_url"])
