r"""Task files: what a downstream task is, as a file of parameters and not as code.

`params/<domain>/tasks/<task>.yaml`, one's own or the repository's, names the task's files, says
how a row becomes a question, a worked solution and an answer, where the data is from and under
which licence, and how notebook 04 asks the task. `ENTRIES` lists what it may say. Templates are
Jinja's, over the row's fields:

    files: {train: [a.jsonl.gz], test: [b.jsonl.gz]}
    fields:                        made from another field, by a table or by a pattern
      verdict: {from: label, values: {0: bad, 1: good}}
      final: {from: answer, pattern: '#### (.+)'}
      worked: {from: answer, remove: '#### .+'}
      parts: {from: options, split: ' , '}
    question: "{% if title %}{{ title }}: {% endif %}{{ question }}"
    solution: "{{ worked }}"       the answer sentence is added where it is missing
    answer: "{{ final }}"

A new domain is a folder of such files. The paper names tasks and no files; the format is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trait_lib import contamination, params
from trait_lib.corpora.documents import base, read_source
from trait_lib.corpora.parts import share
from trait_lib.form import TemplateError, fields, fill, with_answer
from trait_lib.params import REQUIRED, Parameter, ParameterError
from trait_lib.reading import shards
from trait_lib.reading.tables import EmptyCorpus, Report
from trait_lib.reading.where import as_text, matches, parse
from trait_lib.records import BadRow, Row

HUB = "@hub"
LETTERS = "ABCDEFGHIJ"
SPLITS = ("train", "dev", "test")
TEMPLATES = {
    "problem": ("question", "solution", "answer", "topic"),
    "relevance": (
        *("query", "document", "label", "grade", "prompt", "positive", "negative"),
        "topic",
    ),
}
RULES = ("values", "pattern", "remove", "split")
EXAMPLE = ("question", "solution", "answer", "options")


def _entries(*lines: tuple[str, str, Any, str, str]) -> dict[str, Parameter]:
    return {line[0]: Parameter(*line) for line in lines}


SHARED = _entries(
    ("form", "str", "problem", "{problem, relevance}", "what its rows are"),
    ("licence", "str", REQUIRED, "", "of the data"),
    ("origin", "str", REQUIRED, "", "of the data"),
    ("size", "str", "", "", "how many rows, for the reader"),
    ("topic", "str", "", "", 'a template; "": found from the words in notebook 02'),
    (
        *("metric", "str", "accuracy", "{accuracy, auc, win_rate, diversity and density}"),
        "how notebook 04 scores it",
    ),
    ("definition", "str", "", "", "of the metric, where the paper is silent"),
    ("shots", "int", 2, "[0, inf)", "worked examples in a prompt"),
)
READ = _entries(
    ("files", "dict", REQUIRED, "", "files or hub:// sources of each split; relative to data_dir"),
    ("where", "dict", {}, "", "conditions on the rows of each split"),
    ("fields", "dict", {}, "", "fields made from others"),
    ("hub", "dict", {}, "", f"replaces entries when the task is named with {HUB}: `gsm8k{HUB}`"),
)
WORLD = _entries(
    ("world", "str", REQUIRED, "{replica}", "its problems come from the generated world"),
)
ASKED = _entries(
    ("stop", "list", [], "", "texts that end an answer"),
    ("max_new_tokens", "int", 48, "[1, inf)", "of an answer"),
    ("examples", "list", [], "", "worked examples of ours, or their file in the folder `examples`"),
)
PROBLEM = _entries(
    ("kind", "str", REQUIRED, "{number, math, text, choice}", "how answers are compared"),
    ("question", "str", REQUIRED, "", "a template"),
    ("solution", "str", "", "", "a template"),
    ("answer", "str", REQUIRED, "", "a template"),
    ("options", "str", "", "", "the field that lists the options of a choice"),
    ("entities", "list", [], "", "templates: what a problem is about"),
    ("prompt", "str", "", "", "the text before the answer: a template of {{ question }}"),
)
RELEVANCE = _entries(
    *((name, "str", REQUIRED, "", "a template") for name in ("query", "document", "label")),
    *((name, "str", REQUIRED, "", "a template") for name in ("prompt", "positive", "negative")),
    ("grade", "str", "", "", "a template"),
)
ENTRIES = {
    "problem": SHARED | READ | ASKED | PROBLEM,
    "relevance": SHARED | READ | RELEVANCE,
    "world": SHARED | WORLD | ASKED,
}


@dataclass(frozen=True)
class Task:
    """One task file, read and checked. Make it with `load_task`."""

    name: str
    path: Path
    form: str
    settings: dict[str, Any]
    examples_file: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The files that say how the task is asked: its own, and that of its examples."""
        return [self.path, *([self.examples_file] if self.examples_file else [])]

    def sources(self, split: str) -> list[str]:
        """The files of a split; none when the task has no such split."""
        return self.settings.get("files", {}).get(split, [])

    @property
    def templates(self) -> dict[str, str]:
        """The templates of a row, by the name of what they make."""
        return {name: self.settings.get(name, "") for name in TEMPLATES[self.form]}


def task_files(domain: str) -> list[Path]:
    """The task files of a domain, one's own before the repository's of the same name, by name."""
    names = {f.name for top in params.folders() for f in (top / domain / "tasks").glob("*.yaml")}
    return [params.find(f"{domain}/tasks/{name}") for name in sorted(names)]


def load_task(path: str | Path, domain: str = "") -> Task:
    """Read a task file, given by its name in the domain's folder, or by a path ending in `.yaml`.

    A relative path starts as in `params.locate`. `@hub` behind it takes the entries
    under `hub` in place of the others.

    Raises:
        ParameterError: no such file (the message lists what there is), an unknown or missing
            entry, an unknown kind, form or split.
    """
    given = str(path)
    path = given.removesuffix(HUB)
    is_name = not path.endswith(".yaml")
    path = params.find(f"{domain}/tasks/{path}.yaml") if is_name else params.locate(path)
    if not path.is_file():
        there = task_files(domain) if is_name else sorted(path.parent.glob("*.yaml"))
        known = ", ".join(file.stem for file in there) or "none"
        raise ParameterError(f"no task file {path}; tasks there: {known}")
    settings = _settings(path)
    if given.endswith(HUB):
        if not settings.get("hub"):
            raise ParameterError(f"{path}: names no source on the Hub; leave {HUB!r} out")
        settings |= settings["hub"]
    file = None
    if isinstance(settings.get("examples"), str):
        name = f"examples/{settings['examples']}.yaml"
        beside = path.parent / name
        file = beside if beside.is_file() else params.find(f"{domain}/tasks/{name}")
        if not file.is_file():
            raise ParameterError(f"{path}: examples {settings['examples']!r}: no file {file}")
        settings["examples"] = yaml.safe_load(file.read_text(encoding="utf-8"))
    _check(path, settings)
    if "examples" in settings:
        settings["examples"] = _examples(path, settings)
    return Task(path.stem, path, settings.get("form", "problem"), settings, file)


def _settings(path: Path) -> dict[str, Any]:
    """What stands in a task file."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ParameterError(f"{path}: must be lines of `name: value`")
    return settings


def _check(path: Path, settings: dict[str, Any]) -> None:
    """Raise `ParameterError` for an entry that is unknown, missing or not allowed."""
    written = settings.get("form", "problem")
    kind = "world" if "world" in settings else written if written in TEMPLATES else "problem"
    params.completed(settings, ENTRIES[kind], str(path), "entry")
    if not all(isinstance(one, str) and one for one in settings.get("stop", [])):
        raise ParameterError(f"{path}: stop must be a list of texts")
    for name in ("files", "where"):
        if set(settings.get(name, {})) - set(SPLITS):
            raise ParameterError(f"{path}: {name} must map {', '.join(SPLITS)} to lists")
    for name, rule in settings.get("fields", {}).items():
        if not isinstance(rule, dict) or "from" not in rule or len({*RULES} & {*rule}) != 1:
            raise ParameterError(
                f"{path}: field {name!r} needs `from` and one of `{'`, `'.join(RULES)}`"
            )
    templates = {name: settings.get(name, "") for name in (*TEMPLATES[written], "prompt")}
    templates |= {f"entities {n}": text for n, text in enumerate(settings.get("entities", []))}
    for name, text in templates.items():
        try:
            used = fields(text)
        except TemplateError as error:
            raise ParameterError(f"{path}: {name}: {error}") from None
        if name == "prompt" and written == "problem" and text and used != {"question"}:
            raise ParameterError(f"{path}: prompt must hold {{{{ question }}}} and no other field")


def _examples(path: Path, settings: dict[str, Any]) -> list[Row]:
    """The worked examples of a task file, as rows with question, solution and answer.

    Raises:
        ParameterError: one that lacks what an example needs.
    """
    rows = []
    for number, one in enumerate(settings["examples"], start=1):
        if not isinstance(one, dict) or not {*EXAMPLE[:3]} <= {*one} <= {*EXAMPLE}:
            raise ParameterError(
                f"{path}: example {number} needs question, solution and answer (and may have "
                "options)"
            )
        question = with_options(str(one["question"]).strip(), one.get("options") or [])
        solution = with_answer(str(one["solution"]).strip(), str(one["answer"]))
        row = {"question": question, "solution": solution, "answer": str(one["answer"])}
        rows.append(row | _prompt(settings, question))
    return rows


def _prompt(settings: dict[str, Any], question: str) -> Row:
    """The field `prompt` of a problem whose task has a form of its own (see `trait_lib.form`)."""
    own = settings.get("prompt")
    return {"prompt": fill(own, {"question": question})} if own else {}


def load_problems(
    tasks: Sequence[str | Path | Task],
    split: str,
    *,
    domain: str = "",
    data_dir: str | Path = "",
    dev_share: float = 0.0,
    on_bad: str = "error",
    report: Report | None = None,
) -> Iterator[Row]:
    """Stream the problem rows of one split of several tasks (relevance tasks are passed over).

    A task without files for `dev` lends it the share `dev_share` of its training problems,
    chosen by the hash of the question, so that equal questions stay on one side.

    Raises:
        ParameterError: a task file is wrong.
        FileNotFoundError: a data file is not there (before anything is read).
        BadRow: a bad line, a template's missing field, an empty question or answer (by place).
        EmptyCorpus: a task has no problem in a split for which it names files.
    """
    for task in _of_form(tasks, "problem", domain):
        rows = _rows(task, split, data_dir, on_bad, report, _problem, lends=dev_share > 0)
        if task.sources("dev") or split == "test":
            yield from rows
            continue
        for row in rows:
            is_dev = share(" ".join(contamination.words(row["question"])), "dev") < dev_share
            if is_dev == (split == "dev"):
                yield row


def load_relevance(
    tasks: Sequence[str | Path | Task],
    split: str,
    *,
    domain: str = "",
    data_dir: str | Path = "",
    on_bad: str = "error",
    report: Report | None = None,
) -> Iterator[Row]:
    """Stream the relevance rows of one split of several tasks (problem tasks are passed over).

    Raises:
        as `load_problems`; and `BadRow` for a label that is not 0 or 1.
    """
    for task in _of_form(tasks, "relevance", domain):
        yield from _rows(task, split, data_dir, on_bad, report, _relevance)


def _of_form(tasks: Iterable[str | Path | Task], form: str, domain: str) -> list[Task]:
    loaded = [task if isinstance(task, Task) else load_task(task, domain) for task in tasks]
    return [task for task in loaded if task.form == form]


def _rows(
    task: Task,
    split: str,
    data_dir: str | Path,
    on_bad: str,
    report: Report | None,
    make: Any,
    lends: bool = False,
) -> Iterator[Row]:
    """The rows of one task and split, made by `make` from the fields of each line."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if "world" in task.settings:
        raise ParameterError(
            f"{task.path}: its problems are made with the generated world (corpus: world) and "
            "cannot be read from files"
        )
    report = Report() if report is None else report
    of = "train" if split == "dev" and lends and not task.sources("dev") else split
    conditions = parse(task.settings.get("where", {}).get(of, []))
    seen: set[str] = set()
    named = task.sources(of)
    sources = shards.places(named, f"{task.path.name}: files", base(data_dir)) if named else []
    for position, source in enumerate(sources):
        for number, given in read_source(source, on_bad, report):
            report.rows += 1
            place = f"{source}:{number}"
            if not matches(given, conditions):
                report.left_out += 1
                continue
            try:
                row = make(task, _derive(task, given), split)
                identifier = f"{task.name}/{given.get('id', f'{of}-{position}-{number}')}"
                if identifier in seen:
                    raise BadRow(f"id occurs twice ({identifier!r})")
            except BadRow as error:
                report.refuse(str(error), place, on_bad)
                continue
            seen.add(identifier)
            report.documents += 1
            yield {"id": identifier, "task": task.name, **row}
    if named and not seen:
        raise EmptyCorpus(f"{task.path.name}: no row left for the split {split!r}; {report}")


def _derive(task: Task, given: Row) -> Row:
    """The fields of a line with those that the task file makes from them; null becomes empty.

    Raises:
        BadRow: the field it is made from is absent, or its value is not in the table.
    """
    made = {name: "" if value is None else value for name, value in given.items()}
    for name, rule in task.settings.get("fields", {}).items():
        if rule["from"] not in made:
            raise BadRow(f"{task.path.name} needs a field {rule['from']!r} ({_names(given)})")
        value = as_text(made[rule["from"]])
        if "values" in rule:
            table = {as_text(key): word for key, word in rule["values"].items()}
            if value not in table:
                raise BadRow(f"{task.path.name}: field {name!r} has no entry for {value!r}")
            made[name] = table[value]
        elif "pattern" in rule:
            match = re.search(rule["pattern"], value, re.DOTALL)
            made[name] = match[1].strip() if match else ""
        elif "split" in rule:
            parts = re.split(rule["split"], value, flags=re.DOTALL)
            made[name] = [part.strip() for part in parts if part.strip()]
        else:
            made[name] = re.sub(rule["remove"], "", value, flags=re.DOTALL).strip()
    return made


def _render(task: Task, name: str, template: str, given: Row) -> str:
    """Fill one template.

    Raises:
        BadRow: the template names a field that the row lacks, or cannot be filled.
    """
    try:
        return fill(template, given).strip("\n")
    except TemplateError as error:
        where = f"{task.path.name}: template {name!r}"
        raise BadRow(f"{where} {error} ({_names(given)})") from None


def _names(given: Row) -> str:
    return f"fields of the row: {', '.join(sorted(given))}"


def _problem(task: Task, given: Row, split: str) -> Row:
    """A problem row of the run folder, without its id.

    Raises:
        BadRow: an empty question or answer.
    """
    row = {name: _render(task, name, text, given) for name, text in task.templates.items()}
    row = {name: value.strip() for name, value in row.items()}
    for name in ("question", "answer"):
        if not row[name]:
            raise BadRow(f"{task.path.name}: empty {name}")
    options = _options(task, given, row)
    question = with_options(row["question"], options)
    templates = task.settings.get("entities", [])
    return {
        "topic": row["topic"],
        "question": question,
        "solution": with_answer(row["solution"], row["answer"]),
        "answer": row["answer"],
        "kind": task.settings["kind"],
        "split": split,
        "entities": [_render(task, "entities", template, given) for template in templates],
        "documents_only": False,
        "alternatives": [],
        **({"options": options} if options else {}),
        **_prompt(task.settings, question),
    }


def _options(task: Task, given: Row, row: Row) -> list[str]:
    """The options of a problem, in the order of their letters; a choice's answer becomes a letter.

    Raises:
        BadRow: the field is no list, or the answer names no option.
    """
    if "options" not in task.settings:
        return []
    name = task.settings["options"]
    listed = given.get(name) or []
    if not isinstance(listed, list):
        raise BadRow(f"{task.path.name}: options: the field {name!r} is no list")
    options = [as_text(one).strip() for one in listed]
    if task.settings["kind"] == "choice":
        row["answer"] = row["answer"].upper()
        letters = LETTERS[: len(options)]
        if row["answer"] not in [*letters]:
            raise BadRow(f"{task.path.name}: the answer {row['answer']!r} names no option")
    return options


def with_options(question: str, options: Sequence[str]) -> str:
    """A question with its options in a line of their own: (A) ..., (B) ..."""
    if not options:
        return question
    listed = ", ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    return f"{question}\nAnswer choices: {listed}"


def _relevance(task: Task, given: Row, split: str) -> Row:
    """A relevance row of the run folder, without its id.

    Raises:
        BadRow: a label that is not 0 or 1, an empty query or document.
    """
    row: Row = {name: _render(task, name, text, given) for name, text in task.templates.items()}
    if row["label"] not in ("0", "1"):
        raise BadRow(f"{task.path.name}: label must be 0 or 1 (got {row['label']!r})")
    for name in ("query", "document", "prompt"):
        if not row[name].strip():
            raise BadRow(f"{task.path.name}: empty {name}")
    row["label"] = int(row["label"])
    row["grade"] = float(row["grade"] or row["label"])
    row["topic"] = row["topic"] or row["query"]
    return row
