"""The committed notebooks: their form, and how much of their output is really compared.

Running them again and comparing what they print is `make test-notebooks` (nbval, strict).
"""

import ast
import itertools
import re
import statistics

import nbformat
import pytest

from tests import nbval_tolerance
from trait_lib import ROOT, params, run

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# what nbval compares: text of any kind, and no picture
COMPARED = ("text/plain", "text/html", "text/markdown", "text/latex", "application/json")
MACHINE = re.compile(r"(?<![\w.])/(?:work|tmp|home|root|Users|mnt|farm|var|private)/\w")
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")

notebooks = pytest.mark.parametrize("path", PATHS, ids=lambda f: f.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def cells(path, kind):
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def test_the_notebooks_are_those_of_the_chain():
    assert [path.stem for path in PATHS][: len(run.STAGES)] == list(run.STAGES)


@notebooks
def test_it_is_valid_and_its_kernel_is_everyones(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}


@notebooks
def test_it_has_one_title_and_it_is_the_first_line(path):
    prose = re.sub(
        r"```.*?```", "", "\n".join(c.source for c in cells(path, "markdown")), flags=re.S
    )
    assert len(re.findall(r"^# ", prose, flags=re.M)) == 1
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")


@notebooks
def test_it_has_one_parameters_cell_with_one_parameter_a_line(path):
    tagged = [c for c in cells(path, "code") if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    lines = [line for line in tagged[0].source.splitlines() if line and line[0] != "#"]
    assert len(lines) == len(params.declared(path.stem))
    # no value is bound before it, so that papermill's cell comes first of all
    assert cells(path, "code")[0] is not None and cells(path, "code")[0].id == tagged[0].id


@notebooks
def test_it_opens_with_the_picture_the_result_and_the_time(path):
    made = read(path).cells
    before = [c.source for c in itertools.takewhile(lambda c: c.cell_type != "code", made)]
    assert before[1].startswith("![The method")
    told = "\n".join([before[0], *before[2:]])
    assert "?" in told and "**The result" in told and "**Time.**" in told


@notebooks
def test_it_ends_with_what_is_known_what_could_go_wrong_exercises_and_what_is_next(path):
    prose = "\n".join(c.source for c in cells(path, "markdown"))
    last = ["## What you now know", "## What could go wrong", "## Exercises", "## Next"]
    places = [prose.index(f"{heading}\n") for heading in last]
    assert places == sorted(places)
    assert re.findall(r"^## .*", prose, flags=re.M)[-4:] == last


@notebooks
def test_its_links_lead_to_notebooks_that_are_there(path):
    prose = "\n".join(c.source for c in cells(path, "markdown"))
    named = re.findall(r"\]\((\w+\.ipynb)\)", prose)
    assert named and {*named} <= {one.name for one in PATHS}


@notebooks
def test_it_opens_and_closes_its_stage(path):
    code = [c.source for c in cells(path, "code")]
    assert f'run.open_stage("{path.stem}", P' in code[1]
    assert f'params.check("{path.stem}", globals())' in code[1]
    assert "stage.close(" in code[-1]


@notebooks
def test_text_leads_and_code_cells_are_short(path):
    code = [c.source for c in cells(path, "code") if "parameters" not in c.metadata.get("tags", [])]
    assert len(cells(path, "markdown")) > len(cells(path, "code"))
    lengths = [len(source.splitlines()) for source in code]
    assert max(lengths) <= 30
    assert statistics.median(lengths) <= 8


def branches(source):
    """The tests of all `if` in a cell that look at a parameter."""
    tests = [
        node.test for node in ast.walk(ast.parse(source)) if isinstance(node, ast.If | ast.IfExp)
    ]
    return [test for test in tests if re.search(r"\bP\[", ast.unparse(test))]


def test_notebook_01_reads_like_the_paper():
    path = ROOT / "notebooks/01_data_selection.ipynb"
    code = [cell.source for cell in cells(path, "code")]
    assert len(code) <= 30  # two of them show a method by hand
    for source in code:
        assert len(branches(source)) <= 1, source
        nodes = ast.walk(ast.parse(source))
        calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) != "print"]
        packed = [a for call in calls for a in call.args if isinstance(a, ast.Starred)]
        assert not packed, source
    lengths = [len(source.splitlines()) for source in code[1:]]
    assert statistics.median(lengths) <= 6
    chapters = [
        line
        for cell in cells(path, "markdown")
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    steps = "classifier,scores,candidates,quality filter,Hygiene,budget,selected text,result".split(
        ","
    )
    steps.append("Beyond the paper")
    places = [next(i for i, line in enumerate(chapters) if step in line) for step in steps]
    assert places == sorted(places)


@notebooks
def test_intent_comes_before_every_code_cell(path):
    all_cells = read(path).cells
    bare = [
        cell.source[:60]
        for before, cell in itertools.pairwise(all_cells)
        if cell.cell_type == "code" and before.cell_type == "code"
    ]
    assert len(bare) <= 1, bare  # one pair at most: where two cells share a sentence


@notebooks
def test_exercises_come_with_folded_solutions(path):
    prose = "\n".join(c.source for c in cells(path, "markdown"))
    assert re.search(r"^## Exercises", prose, flags=re.M)
    exercises = prose[prose.index("## Exercises") :]
    assert exercises.count("<details>") == exercises.count("</details>") >= 1
    assert exercises.count("<summary>") == exercises.count("<details>")


@notebooks
def test_it_is_executed_in_order_without_errors(path):
    code = cells(path, "code")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert "error" not in kinds
    names = {o.get("name") for cell in code for o in cell.outputs if o.output_type == "stream"}
    assert "stderr" not in names


@notebooks
def test_nothing_of_the_machine_or_the_moment_stands_in_it(path):
    text = path.read_text(encoding="utf-8")
    assert MACHINE.findall(text) == []
    assert TIMES.findall(text) == []
    assert '"papermill"' not in text and "injected-parameters" not in text


@notebooks
def test_every_picture_has_words(path):
    for cell in cells(path, "code"):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata["image/png"]["alt"]
                assert len(alt.split()) >= 4
                assert output.data["text/plain"] == f"Figure: {alt}"


def ignored(cell):
    return "NBVAL_IGNORE_OUTPUT" in cell.source or "nbval-ignore-output" in cell.metadata.get(
        "tags", []
    )


def has_text(cell):
    """Whether nbval has something to compare in the cell's output."""
    return any(
        output.output_type == "stream" or any(kind in output.get("data", {}) for kind in COMPARED)
        for output in cell.outputs
    )


@notebooks
def test_at_least_seven_in_ten_outputs_are_really_compared(path):
    producing = [cell for cell in cells(path, "code") if cell.outputs]
    compared = [cell for cell in producing if has_text(cell) and not ignored(cell)]
    assert len(compared) >= 5
    assert len(compared) >= 0.7 * len(producing), [c.source[:50] for c in producing if ignored(c)]
    assert not any("NBVAL_SKIP" in cell.source for cell in producing)


@notebooks
def test_the_marks_for_nbval_are_the_first_line_of_their_cell(path):
    for cell in cells(path, "code"):
        if "NBVAL" in cell.source:
            assert cell.source.startswith("# NBVAL_IGNORE_OUTPUT\n")
        if "# equal within" in cell.source:
            assert 0 < nbval_tolerance.tolerance(cell.source) <= 0.3
