"""Numbers in texts, bound to keys of files by marks that do not show: `make refresh`.

    <!-- key:FILE:PATH as FORMAT -->0.69<!-- / -->

FILE is relative to the repository, PATH what `value` takes, FORMAT one of Python's for numbers,
with a factor before it if need be (`100*.1f`). Larger pieces, tables that a function makes, stand
between `<!-- made:NAME -->` and `<!-- made: end -->`. Not stated in the paper; ours because text
and results drift apart.
"""

from __future__ import annotations

import ast
import csv
import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import yaml

from trait_lib import ROOT, records

KEY = re.compile(r"(<!-- key:([^:]+):(.+?) as (?:([\d.e-]+)\*)?(\S+) -->)(.*?)(<!-- / -->)", re.S)
MADE = re.compile(r"(<!-- made:(\w+) -->\n)(.*?)(<!-- made: end -->)", re.S)
# Markdown takes a line that begins with a comment for HTML, and shows it as it is
AT_BEGIN = re.compile(r"(?m)^[ \t]*(?:[-*] |\d+\. )?<!-- (?:key|numbers):.*")
NOT_YET = "not measured yet"


class BadKey(RuntimeError):
    """A mark that leads to no value; the message names it."""


def texts() -> list[Path]:
    """README and the notebooks."""
    return [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def value(file: str, path: str, root: Path = ROOT) -> Any:
    """What stands in a file: in JSON and YAML under names joined by `/`, in lists and CSV in the
    row where `name=text` holds, in Python the constant of that name, in a notebook's code and
    outputs the first group of a regular expression after `~`.

    Raises:
        BadKey: there is no such file or entry.
    """
    try:
        found = _loaded(root / file)
        if path.startswith("~"):
            match = re.search(path[1:], found)
            return float(match[1].replace(",", "")) if match else _missing(file, path)
        for step in path.split("/"):
            if isinstance(found, list) and "=" in step:
                name, _, text = step.partition("=")
                found = [row for row in found if str(row.get(name)) == text]
                found = found[0] if len(found) == 1 else found
            elif isinstance(found, list):
                found = found[int(step)]
            else:
                found = found[step]
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BadKey(f"key:{file}:{path}: no such value ({error!r})") from None
    return float(found) if isinstance(found, str) and _number(found) else found


def _missing(file: str, path: str) -> None:
    raise BadKey(f"key:{file}:{path}: stands in no code and no output")


def _number(text: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text) is not None


@functools.lru_cache
def _loaded(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return json.loads(text)
    if file.suffix == ".yaml":
        return yaml.safe_load(text)
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if file.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    if file.suffix == ".py":
        named = [n for n in ast.parse(text).body if isinstance(n, ast.Assign | ast.AnnAssign)]
        return dict(pair for one in named for pair in _constants(one))
    if file.suffix == ".ipynb":
        cells = [cell for cell in nbformat.reads(text, 4).cells if cell.cell_type == "code"]
        outputs = [o for cell in cells for o in cell.outputs]
        said = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
        return "\n".join([*(cell.source for cell in cells), *said])
    raise ValueError(f"numbers are read from json, yaml, csv, py and ipynb, not {file.suffix}")


def _constants(node: ast.Assign | ast.AnnAssign) -> list[tuple[str, Any]]:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    try:
        made = ast.literal_eval(node.value) if node.value else None
    except ValueError:
        return []
    many = isinstance(target, ast.Tuple)
    names = [one.id for one in (target.elts if many else [target]) if isinstance(one, ast.Name)]
    return list(zip(names, made if many else [made], strict=False))


def shown(found: Any, factor: str | None, form: str) -> str:
    """A value in its format; a percent sign stands after a blank."""
    if found is None:
        return NOT_YET
    number = float(found) * float(factor or 1)
    return format(int(number) if form.endswith("d") else number, form).replace("%", " %")


def refreshed(
    text: str, pieces: Mapping[str, Callable[[], str]] | None = None, root: Path = ROOT
) -> str:
    """A text with the values that its marks name now.

    Raises:
        BadKey: a mark leads nowhere, or begins a line; all of the text's are named.
    """
    wrong = [f"{one}: a mark must not begin a line" for one in AT_BEGIN.findall(text)]

    def of_key(match: re.Match[str]) -> str:
        begin, file, path, factor, form, _, end = match.groups()
        try:
            return f"{begin}{shown(value(file, path, root), factor, form)}{end}"
        except (BadKey, ValueError, TypeError) as error:
            wrong.append(f"{begin} {error}")
            return match[0]

    def of_piece(match: re.Match[str]) -> str:
        make = (pieces or {}).get(match[2])
        if make is None:
            wrong.append(f"{match[1].strip()}: no such piece")
            return match[0]
        return f"{match[1]}{make()}\n{match[4]}"

    made = MADE.sub(of_piece, KEY.sub(of_key, text))
    if wrong:
        raise BadKey("\n".join(wrong))
    return made


def refresh(
    path: Path, pieces: Mapping[str, Callable[[], str]] | None = None, write: bool = True
) -> bool:
    """Bring the marks of a Markdown file or a notebook up to date; were any not?

    Raises:
        BadKey: a mark leads nowhere.
    """
    _loaded.cache_clear()
    old = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        notebook = nbformat.reads(old, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
        new = [refreshed(cell.source, pieces) for cell in cells]
        if not (changed := new != [cell.source for cell in cells]):
            return False
        for cell, source in zip(cells, new, strict=True):
            cell.source = source
        text = nbformat.writes(notebook) + "\n"
    else:
        text = refreshed(old, pieces)
        changed = text != old
    if changed and write:
        with records.atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return changed
