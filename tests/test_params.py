"""Parameters: declared once, checked always; every file in params/ fits its notebook."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trait_lib import ROOT, params, run

DECLARED = """
domain: str = 'math'  # {math, ads} what the model is adapted to
rate: float = 2e-3  # (0, 1] peak learning rate; paper: 2e-5
steps: int = 10  # [1, inf) how many
keep: bool = True  # whether to keep
files: list = []  # which files
sizes: list = [1, 2]  # {1, 2, 3} which sizes
"""
KNOWN = params.parse_declarations(DECLARED.strip())
FILES = sorted(f for f in (ROOT / "params").glob("*/*/*.yaml") if f.parent.name != "tasks")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def problem(name, value):
    return KNOWN[name].problem(value)


def test_a_declaration_is_read_whole():
    rate = KNOWN["rate"]
    assert (rate.type, rate.default, rate.allowed) == ("float", 2e-3, "(0, 1]")
    assert rate.help == "peak learning rate; paper: 2e-5"
    assert list(KNOWN) == ["domain", "rate", "steps", "keep", "files", "sizes"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 1.0),
        ("rate", 1),  # an integer is a number
        ("steps", 10**9),
        ("keep", False),
        ("files", ["a"]),
        ("sizes", [3, 1]),
        ("sizes", []),
        ("domain", "ads"),
    ],
)
def test_allowed_values_pass(name, value):
    assert problem(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rate", 0, "must lie in (0, 1]"),
        ("rate", 1.5, "must lie in (0, 1]"),
        ("rate", math.nan, "must lie in (0, 1]"),
        ("rate", "1e-4", "write 1.0e-4"),  # YAML 1.1 reads it as text
        ("rate", "0.5", "without quotes"),
        ("rate", True, "must be of type float"),
        ("steps", 0, "must lie in [1, inf)"),
        ("steps", 2.0, "must be of type int"),
        ("steps", True, "must be of type int"),
        ("keep", 1, "must be of type bool"),
        ("keep", "yes", "must be of type bool"),
        ("keep", "true", "takes True, with a capital"),
        ("files", "a", "must be of type list"),
        ("sizes", [1, 4], "must lie in {1, 2, 3}"),
        ("domain", "law", "must lie in {math, ads}"),
        ("domain", None, "must be of type str"),
    ],
)
def test_other_values_are_explained(name, value, words):
    assert words in problem(name, value)


@given(low=st.integers(-50, 50), width=st.integers(0, 50), value=st.integers(-120, 120))
def test_closed_and_open_ends(low, width, value):
    high = low + width
    for left, right in ("[]", "()", "[)", "(]"):
        one = params.Parameter("n", "int", 0, f"{left}{low}, {high}{right}", "")
        above = value >= low if left == "[" else value > low
        below = value <= high if right == "]" else value < high
        assert (one.problem(value) is None) == (above and below)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a = 1", "not a declaration: a = 1"),
        ("a: int", "type must be one of"),
        ("a: dict = {}", "type must be one of"),
        ("a: int | None = 1", "type must be one of"),
        ("a: int = 'x'", "default of a must be of type int"),
        ("a: int = 5  # [0, 3] few", "default of a must lie in"),
        ("print(1)", "not a declaration"),
    ],
)
def test_a_bad_declaration_is_refused(source, words):
    with pytest.raises(params.ParameterError, match=words.replace("(", r"\(")):
        params.parse_declarations(source)


def test_an_unknown_name_gets_a_suggestion_and_all_problems_are_named():
    with pytest.raises(params.ParameterError) as caught:
        params.validate({"ratee": 1, "steps": 0, "xyz": 1}, KNOWN, "file.yaml")
    message = str(caught.value)
    assert message.startswith("file.yaml: ")
    assert "unknown parameter 'ratee'; did you mean 'rate'?" in message
    assert "unknown parameter 'xyz'; known: domain, rate" in message
    assert "'steps' must lie in [1, inf), got 0" in message


def test_check_finds_what_papermill_injected_and_the_notebook_does_not_know(monkeypatch):
    monkeypatch.setattr(params, "declared", lambda name: KNOWN)
    namespace = {name: one.default for name, one in KNOWN.items()}
    assert params.check("nb", {**namespace, "rate": 1})["rate"] == 1.0
    cells = ["# Parameters\nstesp = 4\nrate = 0.5\n", "other = 3"]
    with pytest.raises(params.ParameterError, match="unknown parameter 'stesp'; did you mean"):
        params.check("nb", {**namespace, "In": cells, "stesp": 4})
    del namespace["steps"]
    with pytest.raises(params.ParameterError, match=r"missing: \['steps'\]"):
        params.check("nb", namespace)


@pytest.mark.parametrize(
    ("text", "value"),
    [("[x.jsonl, 'y z.gz']", ["x.jsonl", "y z.gz"]), ("one.jsonl", ["one.jsonl"]), ("", [])],
)
def test_a_list_may_come_as_text_from_the_command_line(text, value, monkeypatch):
    monkeypatch.setattr(params, "declared", lambda name: KNOWN)
    namespace = {name: one.default for name, one in KNOWN.items()}
    assert params.check("nb", {**namespace, "files": text})["files"] == value
    with pytest.raises(params.ParameterError, match="'sizes' must lie in"):
        params.check("nb", {**namespace, "sizes": "[4]"})


@pytest.mark.parametrize("text", ["a: {b: 1}", "- a", "just words", "a: [1"])
def test_a_file_must_be_flat_lines(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(params.ParameterError, match=r"a\.yaml"):
        params.read_file(tmp_path / "a.yaml")


def test_an_empty_file_has_no_parameters(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert params.read_file(tmp_path / "a.yaml") == {}


# --- one's own folder -------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_PARAMS", str(tmp_path))
    (tmp_path / "math/tasks").mkdir(parents=True)
    (tmp_path / "math/tasks/svamp.yaml").write_text("mine")
    return tmp_path


def test_ones_own_file_comes_before_the_repositorys(own):
    assert params.find("math/tasks/svamp.yaml") == own / "math/tasks/svamp.yaml"
    assert params.find("math/tasks/gsm8k.yaml") == ROOT / "params/math/tasks/gsm8k.yaml"
    assert params.find("math/tasks/none.yaml") == own / "math/tasks/none.yaml"


def test_a_relative_path_starts_in_ones_own_folder_or_else_in_the_repository(own):
    assert params.locate("math/tasks/svamp.yaml") == own / "math/tasks/svamp.yaml"
    assert params.locate("Makefile") == ROOT / "Makefile"
    assert params.start() == own


def test_a_manifest_names_a_file_of_parameters_by_what_finds_it(own):
    name = "params/math/tasks/svamp.yaml"
    mine, theirs = own / "math/tasks/svamp.yaml", ROOT / name
    assert params.title(mine) == name and params.titled(name) == mine
    assert params.title(theirs) == str(theirs)  # hidden by one's own
    mine.unlink()
    assert params.title(theirs) == name and params.titled(name) == theirs
    assert params.title(own.parent / "other") == str(own.parent / "other")


def test_without_a_folder_of_ones_own_all_is_as_in_the_repository(monkeypatch):
    monkeypatch.delenv("TRAIT_PARAMS", raising=False)
    assert params.folders() == [ROOT / "params"] and params.start() == ROOT


# --- the repository's own files and notebooks -------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda f: "/".join(f.parts[-3:]))
def test_every_parameters_file_fits_its_notebook(file: Path):
    known = params.declared(file.stem)
    values = params.read_file(file)
    params.validate(values, known, str(file.relative_to(ROOT)))
    assert values["domain"] == file.parts[-3]
    assert values["tier"] == file.parts[-2]
    assert "seed" not in values and "arm" not in values, "the command line gives these"


def test_every_notebook_has_a_file_for_every_domain_in_the_tiers_that_run_here():
    wanted = {
        f"params/{domain}/{tier}/{stage}.yaml"
        for domain in ("math", "ads")
        for tier in ("smoke", "replica", "local")
        for stage in run.STAGES
    }
    assert wanted <= {file.relative_to(ROOT).as_posix() for file in FILES}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda f: f.stem)
def test_every_parameter_has_help_and_every_notebook_the_common_ones(notebook):
    known = params.declared(notebook.stem)
    assert all(len(one.help.split()) >= 2 for one in known.values()), known
    assert {"domain", "tier", "seed"} <= set(known)
    assert ("arm" in known) == (notebook.stem not in run.SHARED_STAGES)
    assert known["domain"].default == "math" and known["tier"].default == "replica"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda f: f.stem)
def test_papermill_reads_the_same_declarations(notebook):
    from papermill import inspect_notebook

    seen = inspect_notebook(str(notebook))
    known = params.declared(notebook.stem)
    assert list(seen) == list(known)
    for name, one in known.items():
        assert yaml.safe_load(seen[name]["default"]) == one.default or seen[name][
            "default"
        ] == repr(one.default)
        assert one.help.split(";")[0][:20] in seen[name]["help"]
