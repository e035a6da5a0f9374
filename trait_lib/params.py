"""Parameters of a notebook: declared once, in its tagged cell, and checked before anything runs.

A declaration is one line: `name: type = default  # ALLOWED help text; paper: provenance`, where
ALLOWED, if present, is an interval such as `(0, 1]` or `[1, inf)`, or a choice such as `{a, b}`.
papermill reads the same lines for `--help-notebook`. Not stated in the paper; ours because
papermill itself accepts unknown names and wrong types without a word.

Files of parameters, tasks, examples, prompts and prices are looked for in one's own folder first,
which `PARAMS=` of Make or `$TRAIT_PARAMS` names, then in the repository's `params`.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trait_lib import ROOT

FLAT: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
TYPES: dict[str, type] = {**FLAT, "dict": dict}  # a notebook's parameters are flat
REQUIRED = object()
"""The default of a parameter that has none."""
INTERVAL = re.compile(r"^([\[(])\s*(-?[\w.+-]+)\s*,\s*(-?[\w.+-]+)\s*([\])])")
CHOICE = re.compile(r"^\{([^}]*)\}")


# --- where files of parameters are ------------------------------------------------------------

SHIPPED = ROOT / "params"


def folders() -> list[Path]:
    """One's own folder of parameters, if `$TRAIT_PARAMS` names one, then the repository's."""
    own = ROOT / Path(os.environ.get("TRAIT_PARAMS") or SHIPPED).expanduser()
    return list(dict.fromkeys([own.resolve(), SHIPPED]))


def find(name: str | Path) -> Path:
    """The file or folder `name` in the first of `folders` that has it, or where it would be."""
    places = [folder / name for folder in folders()]
    return next((place for place in places if place.exists()), places[0])


def start() -> Path:
    """Where relative names of data begin: one's own folder of parameters, else the repository."""
    own = folders()[0]
    return ROOT if own == SHIPPED else own


def locate(path: str | Path) -> Path:
    """The path that a parameter names: relative to `start`, or to the repository if not there."""
    path = Path(path).expanduser()
    own = start() / path
    return own if own.exists() else ROOT / path


def title(path: Path) -> str:
    """How a manifest names a file: `params/<name>` where `find` leads to it, else by its path."""
    for folder in folders():
        if path.is_relative_to(folder):
            name = path.relative_to(folder)
            if find(name).resolve() == path:
                return str(SHIPPED.name / name)
    return str(path)


def titled(name: str) -> Path:
    """The path of a file that a manifest names, as it is found now."""
    given = Path(name)
    return find(given.relative_to(SHIPPED.name)) if given.parts[0] == SHIPPED.name else given


# --- what a notebook declares -----------------------------------------------------------------


class ParameterError(ValueError):
    """A parameter that is unknown, missing, of the wrong type or out of range."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter."""

    name: str
    type: str
    default: Any
    allowed: str
    help: str

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, in words, or None."""
        expected = TYPES[self.type]
        if self.type == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, expected) or (isinstance(value, bool) and self.type != "bool"):
            return f"must be of type {self.type}, got {value!r} ({type(value).__name__})" + _hint(
                self.type, value
            )
        if not self._allows(value):
            return f"must lie in {self.allowed}, got {value!r}"
        return None

    def _allows(self, value: Any) -> bool:
        if choice := CHOICE.match(self.allowed):
            options = {option.strip() for option in choice[1].split(",")}
            return all(str(item) in options for item in _as_list(value))
        if interval := INTERVAL.match(self.allowed):
            left, low, high, right = interval.groups()
            above = value > float(low) or (left == "[" and value == float(low))
            below = value < float(high) or (right == "]" and value == float(high))
            return above and below  # NaN fails both
        return True


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _hint(wanted: str, value: Any) -> str:
    """Explain the best-known traps: 1e-4 is text in YAML 1.1, and -p name true is text, too."""
    if wanted in ("int", "float") and isinstance(value, str):
        if re.fullmatch(r"[+-]?\d+e[+-]?\d+", value.strip(), re.IGNORECASE):
            mantissa, exponent = value.strip().lower().split("e")
            return f"; YAML 1.1 reads that as text, write {mantissa}.0e{exponent}"
        return "; write the number without quotes"
    if wanted == "bool" and isinstance(value, str) and value.lower() in ("true", "false"):
        return f"; papermill's -p takes {value.capitalize()}, with a capital letter"
    return ""


def notebook_path(name: str) -> Path:
    """The path of notebook `name` (with or without folder and `.ipynb`)."""
    return ROOT / "notebooks" / f"{Path(name).stem}.ipynb"


def cells_of(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook's file, the source of each as one text.

    nbformat would check them, too, and takes longer to load than the rest of what Make asks.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def declared(name: str) -> dict[str, Parameter]:
    """The parameters declared in a notebook's cell tagged `parameters`, by name, in order."""
    path = notebook_path(name)
    for cell in cells_of(path):
        if "parameters" in cell["metadata"].get("tags", []):
            return parse_declarations(cell["source"], path.name)
    raise ParameterError(f"{path.name} has no cell tagged 'parameters'")


def parse_declarations(source: str, where: str = "parameters cell") -> dict[str, Parameter]:
    """Parse the source of a parameters cell.

    Raises:
        ParameterError: a line is not a declaration, or its default breaks its own rule.
    """
    lines = source.splitlines()
    parameters: dict[str, Parameter] = {}
    for node in ast.parse(source).body:
        line = lines[node.lineno - 1]
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            raise ParameterError(f"{where}: not a declaration: {line.strip()}")
        annotation = ast.unparse(node.annotation)
        if annotation not in FLAT or node.value is None:
            raise ParameterError(f"{where}: type must be one of {sorted(FLAT)}: {line.strip()}")
        # the comment follows the value on its last line
        comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].strip()
        rule = INTERVAL.match(comment) or CHOICE.match(comment)
        allowed = rule[0] if rule else ""
        text = comment[len(allowed) :].strip()
        default = ast.literal_eval(node.value)
        parameter = Parameter(node.target.id, annotation, default, allowed, text)
        if problem := parameter.problem(default):
            raise ParameterError(f"{where}: default of {parameter.name} {problem}")
        parameters[parameter.name] = parameter
    return parameters


def validate(
    values: Mapping[str, Any],
    known: Mapping[str, Parameter],
    where: str,
    what: str = "parameter",
) -> None:
    """Raise `ParameterError` naming every unknown, mistyped or out-of-range entry of `values`."""
    problems = []
    for name, value in values.items():
        if name not in known:
            problems.append(unknown(str(name), known, what))
        elif problem := known[name].problem(value):
            problems.append(f"{what} {name!r} {problem}. {known[name].help}")
    if problems:
        raise ParameterError(f"{where}: " + "; ".join(problems))


def unknown(name: str, known: Iterable[str], what: str = "parameter") -> str:
    """What to say of a name that is not known: the one that was perhaps meant, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}"


def completed(
    values: Mapping[str, Any], known: Mapping[str, Parameter], where: str, what: str = "parameter"
) -> dict[str, Any]:
    """Checked values with every default filled in; numbers as the declared type.

    Raises:
        ParameterError: as `validate`, and for each missing value whose default is `REQUIRED`.
    """
    missing = [n for n, one in known.items() if one.default is REQUIRED and n not in values]
    if missing:
        needed = "; ".join(f"{what} {name!r} is missing. {known[name].help}" for name in missing)
        raise ParameterError(f"{where}: {needed}")
    validate(values, known, where, what)
    full = {name: values.get(name, one.default) for name, one in known.items()}
    return {n: float(v) if known[n].type == "float" else v for n, v in full.items()}


def check(name: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked parameters of notebook `name`; call it as `check(name, globals())`.

    Names that papermill injected but the notebook does not declare are found in the cells that
    have run, since papermill's injected cell begins with `# Parameters`.

    Raises:
        ParameterError: names each offending parameter and what is allowed.
    """
    known = declared(name)
    injected = {
        target: namespace.get(target)
        for source in namespace.get("In", [])
        if source.startswith("# Parameters")
        for target in _assigned(source)
    }
    missing = [p for p in known if p not in namespace]
    if missing:
        raise ParameterError(f"{name}: run the parameters cell first; missing: {missing}")
    values = {p: _given(namespace[p], known[p].type) for p in known}
    validate({**injected, **values}, known, name)
    return completed(values, known, name)


def _given(value: Any, kind: str) -> Any:
    """The value, where a list came as text: papermill's -p gives that, its -y a list.

    A text that is no list is a list of one, such as a single file.
    """
    if kind != "list" or not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        return yaml.safe_load(value)
    return [value] if value else []


def _assigned(source: str) -> list[str]:
    nodes = (node for node in ast.parse(source).body if isinstance(node, ast.Assign))
    return [t.id for node in nodes for t in node.targets if isinstance(t, ast.Name)]


def read_file(path: str | Path) -> dict[str, Any]:
    """Read a parameters file as papermill does (YAML 1.1); an empty file is an empty dictionary.

    Raises:
        ParameterError: not a flat mapping; names the file.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not YAML: {error}") from None
    if not isinstance(values, dict) or any(isinstance(v, dict) for v in values.values()):
        raise ParameterError(f"{path}: must be flat lines of `name: value`")
    return values
