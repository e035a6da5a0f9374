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
      parts: {from: options, split: ' , '}
      heading: {from: title, frame: "Table: {}"}
    question, solution, answer     templates; the answer sentence is added where it is missing
    options                        the field that lists the options of a choice; they are added to
                                   the question as (A), (B), ...
    topic, entities                a template ("": found from the words in 02), a list of templates
    hub                            entries that replace those above when the task is named with
                                   `@hub`, as in `gsm8k@hub`: read from the Hub, not from files
    world                          `replica`: the problems come from the generated world, and no
                                   file or template is named
    licence, origin, size          for the reader

and how notebook 04 asks it:

    metric: accuracy               accuracy, auc, win_rate or diversity and density
    definition                     of the metric, where the paper is silent
    shots, stop, max_new_tokens    examples in a prompt, what ends an answer, tokens at most
    prompt                         the text before an answer, a template of {question}
    examples                       worked examples that we wrote: rows with question, solution,
                                   answer and perhaps options, or the name of a file in the
                                   folder `examples` beside the task file; without them examples
                                   are drawn from the training or development problems

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

METRICS = ("accuracy", "auc", "win_rate", "diversity and density")
HUB = "@hub"
LETTERS = "ABCDEFGHIJ"
KINDS = ("number", "math", "text", "choice")
SPLITS = ("train", "dev", "test")
TEMPLATES = {
    "problem": ("question", "solution", "answer"),
    "relevance": ("query", "document", "label", "grade", "prompt", "positive", "negative"),
}
SHARED_KEYS = (
    *("form", "files", "where", "fields", "topic", "hub", "world", "licence", "origin", "size"),
    *("metric", "definition", "shots"),
)
OWN_KEYS = {
    "problem": ("kind", "entities", "options", "prompt", "stop", "max_new_tokens", "examples"),
    "relevance": (),
}
RULES = ("values", "pattern", "remove", "split", "frame")
EXAMPLE = ("question", "solution", "answer", "options")


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
        wanted = (*TEMPLATES[self.form], "topic")
        return {name: str(self.settings.get(name, "")) for name in wanted}


def task_files(domain: str) -> list[Path]:
    """The task files of a domain, sorted by name."""
    return sorted((ROOT / "params" / domain / "tasks").glob("*.yaml"))


def load_task(path: str | Path, domain: str = "") -> Task:
    """Read a task file, given by its name in the domain's folder, or by a path ending in `.yaml`.

    A relative path starts at the repository's top folder. `@hub` behind it takes the entries
    under `hub` in place of the others.

    Raises:
        ParameterError: no such file (the message lists what there is), an unknown or missing
            entry, an unknown kind, form or split.
    """
    given = str(path)
    path = given.removesuffix(HUB)
    is_name = not path.endswith(".yaml")
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
    on_hub = settings.get("hub", {})
    if given.endswith(HUB):
        if not on_hub:
            raise ParameterError(f"{path}: names no source on the Hub; leave {HUB!r} out")
        settings = {**settings, **on_hub}
    _check(path, settings)
    file = None
    if "examples" in settings:
        named = settings["examples"]
        file = path.parent / "examples" / f"{named}.yaml" if isinstance(named, str) else None
        settings["examples"] = _examples(path, named, file)
    return Task(path.stem, path, settings.get("form", "problem"), settings, file)


def _check(path: Path, settings: dict[str, Any]) -> None:
    """Raise `ParameterError` for an entry that is unknown, missing or not allowed."""
    form = settings.get("form", "problem")
    if form not in TEMPLATES:
        raise ParameterError(f"{path}: form must be one of {', '.join(TEMPLATES)}, got {form!r}")
    needed = {"files", "licence", "origin", *TEMPLATES[form]} - {"solution", "grade"}
    needed |= {"kind"} if form == "problem" else set()
    if "world" in settings:
        needed = {"licence", "origin", "metric"}
    known = [*SHARED_KEYS, *TEMPLATES[form], *OWN_KEYS[form]]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ParameterError(f"{path}: unknown entry {name!r}; {hint}")
    if missing := sorted(needed - settings.keys()):
        raise ParameterError(f"{path}: missing entry {missing[0]!r}")
    for name, allowed in (("kind", KINDS), ("metric", METRICS), ("world", ("replica",))):
        if name in settings and settings[name] not in allowed:
            raise ParameterError(f"{path}: {name} must be one of {', '.join(allowed)}")
    for name, least in (("shots", 0), ("max_new_tokens", 1)):
        value = settings.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{path}: {name} must be a whole number from {least} on")
    stop = settings.get("stop", [])
    if not isinstance(stop, list) or not all(isinstance(one, str) and one for one in stop):
        raise ParameterError(f"{path}: stop must be a list of texts")
    if form == "problem" and "{question}" not in settings.get("prompt", "{question}"):
        raise ParameterError(f"{path}: prompt must hold {{question}}")
    for name in ("files", "where"):
        value = settings.get(name, {})
        if not isinstance(value, dict) or set(value) - set(SPLITS):
            raise ParameterError(f"{path}: {name} must map {', '.join(SPLITS)} to lists")
    for name, rule in settings.get("fields", {}).items():
        if not isinstance(rule, dict) or "from" not in rule or len({*RULES} & {*rule}) != 1:
            raise ParameterError(
                f"{path}: field {name!r} needs `from` and one of `{'`, `'.join(RULES)}`"
            )


def _examples(path: Path, given: Any, file: Path | None) -> list[Row]:
    """The worked examples of a task file, as rows with question, solution and answer.

    Raises:
        ParameterError: no such file of examples, or one that lacks what an example needs.
    """
    if file is not None:
        if not file.is_file():
            raise ParameterError(f"{path}: examples {given!r}: no file {file}")
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(given, list) or not given:
        raise ParameterError(f"{path}: examples must be a list of rows, or the name of a file")
    rows = []
    for number, one in enumerate(given, start=1):
        if not isinstance(one, dict) or not {*EXAMPLE[:3]} <= {*one} <= {*EXAMPLE}:
            raise ParameterError(
                f"{path}: example {number} needs question, solution and answer (and may have "
                "options)"
            )
        rows.append(
            {
                "question": with_options(str(one["question"]).strip(), one.get("options") or []),
                "solution": with_answer(str(one["solution"]).strip(), str(one["answer"])),
                "answer": str(one["answer"]),
            }
        )
    return rows


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
        if rule["from"] not in made:
            raise BadRow(f"{task.path.name} needs a field {rule['from']!r} ({_names(fields)})")
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
        elif "frame" in rule:
            made[name] = rule["frame"].format(value) if value else ""
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
    options = _options(task, fields, row)
    templates = task.settings.get("entities", [])
    return {
        "topic": row["topic"],
        "question": with_options(row["question"], options),
        "solution": with_answer(row["solution"], row["answer"]),
        "answer": row["answer"],
        "kind": task.settings["kind"],
        "split": split,
        "entities": [_render(task, "entities", template, fields) for template in templates],
        "documents_only": False,
        "alternatives": [],
        **({"options": options} if options else {}),
    }


def _options(task: Task, fields: Row, row: Row) -> list[str]:
    """The options of a problem, in the order of their letters; a choice's answer becomes a letter.

    Raises:
        BadRow: the field is no list, or the answer names no option.
    """
    if "options" not in task.settings:
        return []
    name = task.settings["options"]
    found = fields.get(name) or []
    if not isinstance(found, list):
        raise BadRow(f"{task.path.name}: options: the field {name!r} is no list")
    options = [as_text(one).strip() for one in found]
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
