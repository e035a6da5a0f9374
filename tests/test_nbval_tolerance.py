"""What `make test-notebooks` takes for equal: numbers within the tolerance of their cell."""

import subprocess
import sys

import nbformat
import pytest

from tests import nbval_tolerance
from trait_lib import ROOT


@pytest.mark.parametrize(
    ("text", "reference", "equal"),
    [
        ("accuracy 0.91, 1,010 items", "accuracy 0.95, 1,000 items", True),
        ("accuracy 0.80", "accuracy 0.95", False),
        ("accuracy 0.95", "recall 0.95", False),
        ("1 2", "1 2 3", False),
        ("step 12: -0.05", "step 12: +0.04", True),
        ("a   9.5\n------", "a  10.4\n-------", True),
        ("cache/base-1a2b", "cache/base-9a2b", False),  # a hash is no number
        ("nan", "0.5", False),
    ],
)
def test_numbers_may_differ_within_the_tolerance_and_words_may_not(text, reference, equal):
    assert (nbval_tolerance.settled(text, reference, 0.1) == reference) is equal


def test_a_cell_says_its_tolerance_in_its_first_line():
    assert nbval_tolerance.tolerance("# equal within 0.25\nprint(1)") == 0.25
    assert nbval_tolerance.tolerance("print(1)\n# equal within 0.25\n") is None


def test_nbval_compares_with_it(tmp_path):
    cells = []
    for number, mark in enumerate(("# equal within 0.1\n", "# equal within 0.1\n", "")):
        cell = nbformat.v4.new_code_cell(f"{mark}print('loss', {(1.05, 1.5, 1.05)[number]})")
        cell.execution_count = number + 1
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="loss 1.0\n")]
        cells.append(cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, tmp_path / "made.ipynb")
    command = f"{sys.executable} -m pytest -o addopts= -q -p no:cacheprovider -p".split()
    command += ["tests.nbval_tolerance", "--nbval", "--nbval-current-env"]
    done = subprocess.run(
        [*command, str(tmp_path / "made.ipynb")], cwd=ROOT, capture_output=True, text=True
    )
    assert "1 passed" in done.stdout and "2 failed" in done.stdout, done.stdout
