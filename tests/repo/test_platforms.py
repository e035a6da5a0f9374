"""What pinned packages offer for other systems, and what those would stumble on."""

import re
import subprocess
from datetime import date

import pytest

from trait_lib import ROOT
from trait_lib.repo import platforms

DAY, ROWS = platforms.read()
REFERENCE = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_table_is_dated_and_of_the_present_lock():
    assert date.fromisoformat(DAY) >= date(2026, 11, 1)
    assert [f"{row['package']}=={row['version']}" for row in ROWS] == platforms.pins(), (
        "requirements.lock has changed since; renew the table: make platforms"
    )
    assert {row[name] for row in ROWS for name in platforms.PLATFORMS} <= {"any", "wheel", "none"}


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_readme_names_every_package_without_a_wheel(platform):
    lacking = [row["package"] for row in ROWS if row[platform] == "none"]
    assert [name for name in lacking if f"`{name}`" not in REFERENCE] == []


def test_the_system_wide_libraries_have_wheels_everywhere():
    for name in ("torch", "numpy", "pyarrow", "numba", "fasttext-community", "tokenizers"):
        (row,) = [row for row in ROWS if row["package"] == name]
        assert {row[platform] for platform in platforms.PLATFORMS} <= {"any", "wheel"}, name


def test_the_makefile_uses_nothing_that_make_3_81_lacks():
    newer = {
        r"^\.ONESHELL": "3.82",
        r"^\s*(override )?(undefine|private) ": "3.82",
        r"^\s*define \w+ *[:+?!]?=": "3.82",
        r"\$\((file|guile) ": "4.0",
        r"^\s*[\w.]+ *(!=|:::?=|::=)": "4.0",
        r"^[^\t#]*&:": "4.3",
        r"\$\((let|intcmp) ": "4.4",
        r"\.(EXTRA_PREREQS|NOTINTERMEDIATE|WAIT|SHELLSTATUS|RECIPEPREFIX)": "4.x",
        r"--(output-sync|shuffle|trace)": "4.x",
    }
    found = {
        v: re.findall(p, MAKEFILE, re.M) for p, v in newer.items() if re.search(p, MAKEFILE, re.M)
    }
    assert found == {}
    # until 4.3 a number sign in a function's argument began a comment
    lines = [line for line in MAKEFILE.splitlines() if not line.startswith(("#", "\t"))]
    assert [line for line in lines if re.search(r"\$\([a-z]+ [^)]*#", line)] == []


def test_no_recipe_uses_an_option_that_only_gnu_tools_have():
    gnu = [
        *(r"\bsed -(i|r)\b", r"\bgrep -P", r"\breadlink -f", r"\bcp --", r"\bxargs -(r|d)\b"),
        *(
            r"\bstat -c",
            r"\bdate -d",
            r"\bdu -b",
            r"\bfind [^|;]*-printf",
            r"\bsort -V",
            r"\bnproc\b",
        ),
        *(
            r"\btail --pid",
            r"\bmktemp --",
            r"\bln -[a-z]*r",
            r"\bhead -n -",
            r"\bsha256sum\b",
            r"\btac\b",
        ),
        *(r"\btimeout ", r"\brealpath\b", r"\bcp -a\b", r"\bls --", r"\bmkdir --", r"\brm --"),
    ]
    walk = re.search(r"```bash\n# 1\..*?```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    assert [p for p in gnu if re.search(p, MAKEFILE) or re.search(p, walk)] == []


def test_the_makefile_and_the_walk_through_are_read_by_bash_as_old_as_macos_ships():
    newer = [r"\bmapfile\b", r"\breadarray\b", r"declare -A", r"\$\{\w+[,^]{1,2}\}", r"\|&", r"&>>"]
    assert [p for p in newer if re.search(p, MAKEFILE)] == []


def test_the_devcontainer_makes_the_environment_that_make_makes():
    import json

    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["postCreateCommand"].startswith("make ")
    made = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert made.endswith("/.venv/bin/python")
    assert "3.11" in container["image"]
    tracked = subprocess.run(
        ["git", "check-ignore", ".devcontainer/devcontainer.json"], cwd=ROOT, check=False
    )
    assert tracked.returncode == 1
