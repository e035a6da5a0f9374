"""The house: rooms, who may look into which, and how large a shelf may be."""

import ast

import pytest

from trait_lib import ROOT, code, params, run

LIBRARY = ROOT / "trait_lib"
FILES = sorted(LIBRARY.rglob("*.py"))
# a stage's room looks into shared rooms only; `repo` and the command line look into all, and so
# does `claims`, which is no stage but the experiment over them: it trains and asks all arms
ABOVE = {"repo", "claims"}
STAGES = {"corpora", "selection", "passages", "training", "evaluation", "replica"}


def name_of(file):
    """The dotted name of a file of the library."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file):
    """The modules of the library that a file imports, late imports included."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trait_lib"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if code.module_file(whole) else node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("trait_lib")}
    return names


GRAPH = {name_of(file): imported(file) for file in FILES}


def room(name):
    """The first room of a module: `trait_lib.selection.cut.budget` lies in `selection`."""
    return [*name.split("."), ""][1]


def test_no_circle_of_imports():
    order, open_ones = [], []

    def visit(name):
        assert name not in open_ones, f"a circle: {' -> '.join([*open_ones, name])}"
        if name not in order and name in GRAPH:
            open_ones.append(name)
            for other in sorted(GRAPH[name] - {name}):
                visit(other)
            open_ones.pop()
            order.append(name)

    for name in GRAPH:
        visit(name)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_looks_into_shared_rooms_only(stage):
    seen = {
        (name, other)
        for name, others in GRAPH.items()
        if room(name) == stage
        for other in others
        if room(other) in (STAGES | ABOVE) - {stage}
    }
    assert seen == set()


def test_a_shared_room_looks_into_no_stage():
    shared = {name for name in GRAPH if room(name) not in STAGES | ABOVE | {"__main__"}}
    assert {n for name in shared for n in GRAPH[name] if room(n) in STAGES | ABOVE} == set()


def test_a_shelf_holds_twelve_files_at_most():
    shelves = {
        folder: [f.name for f in folder.glob("*.py")] for folder in {f.parent for f in FILES}
    }
    sizes = {str(f.relative_to(ROOT)): len(set(n) - {"__init__.py"}) for f, n in shelves.items()}
    assert {name: size for name, size in sizes.items() if size > 12} == {}


def cells(stage, kind):
    found = params.cells_of(params.notebook_path(stage))
    return [cell["source"] for cell in found if cell["cell_type"] == kind]


def test_the_notebooks_stay_readable():
    code_cells = {stage: cells(stage, "code") for stage in run.STAGES}
    lines = sum(len(cell.splitlines()) for group in code_cells.values() for cell in group)
    # 150 lines and two cells of 01 more than the rule of old: methods shown in a few lines, beside
    # an assertion that the library gives the same
    assert lines <= 1_250
    assert len(code_cells["01_data_selection"]) <= 30


@pytest.mark.parametrize("stage", run.STAGES)
def test_a_cell_decides_on_one_parameter_at_most(stage):
    """Branches on parameters are plumbing: a reader should meet one at a time."""
    for cell in cells(stage, "code"):
        branches = [
            node.test for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.If | ast.IfExp)
        ]
        on_parameters = [test for test in branches if "P[" in ast.unparse(test)]
        assert len(on_parameters) <= 1, cell
