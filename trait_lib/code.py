"""What code does, as one hash: the modules that decide a result, found by their imports.

Comments, layout and docstrings do not count, so that better words throw away no result. Not stated
in the paper; ours because a cached result must end with the code that made it, and because a list
of modules that is kept by hand forgets one.

Nothing is imported here to be hashed: the question costs a fraction of a second.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from trait_lib import ROOT, run

SHOWS_ONLY = ROOT / "trait_lib" / "repo"  # what Make asks and the bill: they decide no result
BODIES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def hash_of(*modules: str) -> str:
    """SHA-256 of what the named modules do, with all of `trait_lib` that they import.

    Args:
        modules: dotted names, such as `trait_lib.grading.answers`.

    Raises:
        ModuleNotFoundError: there is no such module in this library.
    """
    if unknown := [name for name in modules if module_file(name) is None]:
        raise ModuleNotFoundError(f"no module of this library: {', '.join(unknown)}")
    files = source_files(f"import {name}" for name in modules)
    return run.hash_value({str(file.relative_to(ROOT)): hash_file(file) for file in files})


def hash_file(file: Path) -> str:
    """The hash of a file: of what it does when it is Python, of its bytes otherwise."""
    if file.suffix == ".py":
        return hash_source(file.read_text(encoding="utf-8"))
    return run.hash_file(file)


def hash_source(source: str) -> str:
    """SHA-256 of what Python source does; a cell with IPython magic counts as it is written."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return run.hash_value(source)
    for node in ast.walk(tree):
        if isinstance(node, BODIES) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return run.hash_value(ast.dump(tree))


def source_files(sources: Iterable[str]) -> list[Path]:
    """The files of `trait_lib` that code reaches by imports, and the data files beside them."""
    reached: set[Path] = {ROOT / "trait_lib" / "__init__.py"}
    waiting = list(sources)
    while waiting:
        for name in modules_named(waiting.pop()):
            # importing a.b.c runs a and a.b too
            parents = [name.rsplit(".", n)[0] for n in range(name.count(".") + 1)]
            for file in filter(None, map(module_file, parents)):
                if file not in reached and file.parent != SHOWS_ONLY:
                    reached.add(file)
                    waiting.append(file.read_text(encoding="utf-8"))
    folders = {file.parent for file in reached} - {ROOT / "trait_lib"}
    data = {file for folder in folders for file in folder.iterdir() if _is_data(file)}
    return sorted(reached | data)


def modules_named(source: str) -> Iterator[str]:
    """The `trait_lib` modules that code imports, or names in a string (to start them with -m)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # relative imports are banned by ruff's settings
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(node.value)
    yield from (name for name in names if name.startswith("trait_lib."))


def module_file(name: str) -> Path | None:
    """The file of module `trait_lib...`, or None when there is no such module of ours."""
    parts = name.split(".")
    if parts[0] != "trait_lib" or not all(part.isidentifier() for part in parts):
        return None
    path = ROOT.joinpath(*parts)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _is_data(file: Path) -> bool:
    return file.is_file() and file.suffix not in (".py", ".pyc") and not file.name.startswith(".")
