"""Task files: what a downstream task is, as a file of parameters and not as code.

`params/<domain>/tasks/<task>.yaml` names the task's files, says how a row becomes a question, a
worked solution and an answer, and where the data is from and under which licence. Templates are
those of `str.format` over the row's fields. A new domain is a folder of such files.

    form: problem                  `problem` (default) or `relevance`
    kind: number                   number, math, text or choice: how answers are compared
    files: {train: [a.jsonl.gz]}   files or hub:// sources of each split; relative to data_dir
    where: {train: [split=train]}  conditions on the rows of each split
    fields:                        fields made from another one, by a table or by a pattern
      verdict: {from: label, values: {0: bad, 1: good}}
      answer: {from: answer, pattern: '#### (.+)'}
      solution: {from: answer, remove: '#### .+'}
    question, solution, answer     templates; the answer sentence is added where it is missing
    topic, entities                a template ("": found from the words in 02), a list of templates
    licence, origin, size          for the reader

A relevance task has query, document, label, grade, prompt, positive, negative in place of
question, solution, answer. The paper names tasks and no files; the format is ours.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trait_lib import ROOT, contamination
from trait_lib.corpora.documents import EmptyCorpus, Report, check_sources, read_source, refuse
from trait_lib.corpora.parts import share
from trait_lib.corpora.where import as_text, matches, parse
from trait_lib.params import ParameterError
from trait_lib.records import BadRow, Row

KINDS = ("number", "math", "text", "choice")
SPLITS = ("train", "dev", "test")
TEMPLATES = {
    "problem": ("question", "solution", "answer"),
    "relevance": ("query", "document", "label", "grade", "prompt", "positive", "negative"),
}
SHARED_KEYS = ("form", "files", "where", "fields", "topic", "licence", "origin", "size")
OWN_KEYS = {"problem": ("kind", "entities"), "relevance": ()}


@dataclass(frozen=True)
class Task:
    """One task file, read and checked. Make it with `load_task`."""

    name: str
    path: Path
    form: str
    settings: dict[str, Any]

    def sources(self, split: str) -> list[str]:
        """The files of a split; none when the task has no such split."""
        return self.settings["files"].get(split, [])

    @property
    def templates(self) -> dict[str, str]:
        """The templates of a row, by the name of what they make."""
        wanted = (*TEMPLATES[self.form], "topic")
        return {name: str(self.settings.get(name, "")) for name in wanted}


def task_files(domain: str) -> list[Path]:
    """The task files of a domain, sorted by name."""
    return sorted((ROOT / "params" / domain / "tasks").glob("*.yaml"))


def load_task(path: str | Path, domain: str = "") -> Task:
    """Read a task file, given by its name in the domain's folder, or by a path ending in `.yaml`.

    A relative path starts at the repository's top folder.

    Raises:
        ParameterError: no such file (the message lists what there is), an unknown or missing
            entry, an unknown kind, form or split.
    """
    is_name = not str(path).endswith(".yaml")
    path = ROOT / "params" / domain / "tasks" / f"{path}.yaml" if is_name else ROOT / path
    if not path.is_file():
        known = ", ".join(file.stem for file in sorted(path.parent.glob("*.yaml"))) or "none"
        raise ParameterError(f"no task file {path}; tasks in that folder: {known}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ParameterError(f"{path}: must be lines of `name: value`")
    _check(path, settings)
    return Task(path.stem, path, settings.get("form", "problem"), settings)


def _check(path: Path, settings: dict[str, Any]) -> None:
    """Raise `ParameterError` for an entry that is unknown, missing or not allowed."""
    form = settings.get("form", "problem")
    if form not in TEMPLATES:
        raise ParameterError(f"{path}: form must be one of {', '.join(TEMPLATES)}, got {form!r}")
    needed = {"files", "licence", "origin", *TEMPLATES[form]} - {"solution", "grade"}
    needed |= {"kind"} if form == "problem" else set()
    known = [*SHARED_KEYS, *TEMPLATES[form], *OWN_KEYS[form]]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ParameterError(f"{path}: unknown entry {name!r}; {hint}")
    if missing := sorted(needed - settings.keys()):
        raise ParameterError(f"{path}: missing entry {missing[0]!r}")
    if form == "problem" and settings["kind"] not in KINDS:
        raise ParameterError(f"{path}: kind must be one of {', '.join(KINDS)}")
    for name in ("files", "where"):
        value = settings.get(name, {})
        if not isinstance(value, dict) or set(value) - set(SPLITS):
            raise ParameterError(f"{path}: {name} must map {', '.join(SPLITS)} to lists")
    for name, rule in settings.get("fields", {}).items():
        if not isinstance(rule, dict) or "from" not in rule or len(rule) != 2:
            raise ParameterError(
                f"{path}: field {name!r} needs `from` and one of `values`, `pattern`, `remove`"
            )


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
    report = Report() if report is None else report
    of = "train" if split == "dev" and lends and not task.sources("dev") else split
    conditions = parse(task.settings.get("where", {}).get(of, []))
    seen: set[str] = set()
    for position, source in enumerate(check_sources(task.sources(of), data_dir)):
        for number, fields in read_source(source, on_bad, report):
            report.rows += 1
            place = f"{source}:{number}"
            if not matches(fields, conditions):
                report.left_out += 1
                continue
            try:
                row = make(task, _derive(task, fields), split)
                identifier = f"{task.name}/{fields.get('id', f'{of}-{position}-{number}')}"
                if identifier in seen:
                    raise BadRow(f"id occurs twice ({identifier!r})")
            except BadRow as error:
                refuse(BadRow(f"{place}: {error}"), place, on_bad, report)
                continue
            seen.add(identifier)
            report.documents += 1
            yield {"id": identifier, "task": task.name, **row}
    if task.sources(of) and not seen:
        raise EmptyCorpus(f"{task.path.name}: no row left for the split {split!r}; {report}")


def _derive(task: Task, fields: Row) -> Row:
    """The fields of a line with those that the task file makes from them; null becomes empty.

    Raises:
        BadRow: the field it is made from is absent, or its value is not in the table.
    """
    made = {name: "" if value is None else value for name, value in fields.items()}
    for name, rule in task.settings.get("fields", {}).items():
        if rule["from"] not in fields:
            raise BadRow(f"{task.path.name} needs a field {rule['from']!r} ({_names(fields)})")
        value = as_text(fields[rule["from"]])
        if "values" in rule:
            table = {as_text(key): word for key, word in rule["values"].items()}
            if value not in table:
                raise BadRow(f"{task.path.name}: field {name!r} has no entry for {value!r}")
            made[name] = table[value]
        elif "pattern" in rule:
            match = re.search(rule["pattern"], value, re.DOTALL)
            made[name] = match[1].strip() if match else ""
        else:
            made[name] = re.sub(rule["remove"], "", value, flags=re.DOTALL).strip()
    return made


def _render(task: Task, name: str, template: str, fields: Row) -> str:
    """Fill one template.

    Raises:
        BadRow: the template names a field that the row lacks.
    """
    try:
        return template.format_map(fields).strip("\n")
    except KeyError as error:
        raise BadRow(
            f"{task.path.name}: template {name!r} needs the field {error} ({_names(fields)})"
        ) from None
    except (IndexError, AttributeError, ValueError, TypeError) as error:
        raise BadRow(f"{task.path.name}: template {name!r} cannot be filled ({error})") from None


def _names(fields: Row) -> str:
    return f"fields of the row: {', '.join(sorted(fields))}"


def _problem(task: Task, fields: Row, split: str) -> Row:
    """A problem row of the run folder, without its id.

    Raises:
        BadRow: an empty question or answer.
    """
    row = {name: _render(task, name, text, fields) for name, text in task.templates.items()}
    row = {name: value.strip() for name, value in row.items()}
    for name in ("question", "answer"):
        if not row[name]:
            raise BadRow(f"{task.path.name}: empty {name}")
    templates = task.settings.get("entities", [])
    return {
        "topic": row["topic"],
        "question": row["question"],
        "solution": with_answer(row["solution"], row["answer"]),
        "answer": row["answer"],
        "kind": task.settings["kind"],
        "split": split,
        "entities": [_render(task, "entities", template, fields) for template in templates],
        "documents_only": False,
        "alternatives": [],
    }


def with_answer(solution: str, answer: str) -> str:
    """The worked solution, ending with the sentence "The answer is X."."""
    sentence = f"The answer is {answer}" + ("" if answer.endswith(".") else ".")
    if solution.endswith(sentence):
        return solution
    return f"{solution}{chr(10) if chr(10) in solution else ' '}{sentence}".strip()


def _relevance(task: Task, fields: Row, split: str) -> Row:
    """A relevance row of the run folder, without its id.

    Raises:
        BadRow: a label that is not 0 or 1, an empty query or document.
    """
    row: Row = {name: _render(task, name, text, fields) for name, text in task.templates.items()}
    if row["label"] not in ("0", "1"):
        raise BadRow(f"{task.path.name}: label must be 0 or 1 (got {row['label']!r})")
    for name in ("query", "document", "prompt"):
        if not row[name].strip():
            raise BadRow(f"{task.path.name}: empty {name}")
    row["label"] = int(row["label"])
    row["grade"] = float(row["grade"] or row["label"])
    row["topic"] = row["topic"] or row["query"]
    return row
