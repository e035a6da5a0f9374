"""The README names what exists: links, files, make targets, tiers and domains."""

import re
import subprocess
import sys

import pytest
import yaml

from trait_lib import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARY = sorted((ROOT / "trait_lib").rglob("*.py"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert len(links) >= 7
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_every_make_target_exists():
    targets = set(re.findall(r"\bmake (?!is\b)([a-z][\w-]*)", TEXT))
    there = {t for line in re.findall(r"^([a-z][\w -]*):", MAKEFILE, re.M) for t in line.split()}
    rooms = re.search(r"^ROOMS := (.*)$", MAKEFILE, flags=re.M)[1].split()
    there |= {f"bench-{room}" for room in rooms}
    assert {"reproduce", "test", "lab", "refresh"} <= targets
    assert targets - there == set()


def test_every_parameters_file_that_is_named_exists():
    text = TEXT + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = text.replace("params/cooking/", "")  # the reader's own, in the walk-through
    named = re.findall(r"\bparams/\w+/\w+/\w+\.yaml", text)
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def test_the_tiers_are_the_folders_of_the_parameters():
    rows = re.findall(r"^\| `(\w+)`", TEXT, flags=re.M)
    there = {f.parent.name for f in (ROOT / "params/math").glob("*/00_start_here.yaml")}
    assert sorted(rows) == sorted(there)


def test_the_citation_is_well_formed_and_names_the_licence_of_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence and "Version 2.0, January 2004" in licence
    assert "CC BY 4.0" in licence


def commands(text):
    """The make commands of a text, without comments; alternatives in them become the first."""
    fenced = re.findall(
        r"(?m)^(?:\$ )?(make [a-z][^#\n]*)", "\n".join(re.findall(r"(?s)```.*?```", text))
    )
    inline = re.findall(r"`(make [a-z][^`]*)`", text)
    plain = [re.sub(r"\|[\w|]+", "", " ".join(one.split())) for one in [*fenced, *inline]]
    return sorted({one.replace("TIER=...", "TIER=smoke").strip() for one in plain})


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_is_one_that_make_would_run(name):
    """A dry run of each; the walk-through's has test_own_domain.py, laptop-arms test_laptop.py,
    since its line would run in a dry run, too."""
    text = (ROOT / name).read_text(encoding="utf-8")
    given = [one for one in commands(text) if not re.search(r"\.\.\.|laptop-arms", one)]
    assert len(given) > 5
    script = "\n".join(
        f"make -n PY={sys.executable} {c[5:]} >/dev/null || echo 'fails: {c}'" for c in given
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_what_troubleshooting_quotes_is_what_is_said():
    part = TEXT.partition("## Troubleshooting")[2].partition("\n## ")[0]
    quoted = re.findall(r"(?m)^\| `([^`]+)`", part)
    said = MAKEFILE + "".join(f.read_text(encoding="utf-8") for f in LIBRARY)
    parts = [piece for one in quoted for piece in one.split(" ... ")]
    assert len(quoted) >= 5
    assert [p for p in parts if p.removeprefix("error: ").removeprefix("about ") not in said] == []


def test_readme_prints_what_the_commands_print():
    """The lines in its listings, without their numbers, stand in the code that prints them."""
    said = MAKEFILE + "".join(f.read_text(encoding="utf-8") for f in LIBRARY)
    words = ["not run yet", "; progress: tail -f ", "s, peak memory", "this comparison: "]
    for one in [*words, "all notebooks, rendered: ", "unit tests and smoke tier, and beside them"]:
        assert one in TEXT and one in said
