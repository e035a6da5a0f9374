"""The README names what exists: links, files, make targets, tiers and domains."""

import re

import yaml

from trait_lib import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert len(links) >= 7
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_exists():
    targets = set(re.findall(r"\bmake ([a-z][\w-]*)", TEXT))
    there = {t for line in re.findall(r"^([a-z][\w -]*):", MAKEFILE, re.M) for t in line.split()}
    rooms = re.search(r"^ROOMS := (.*)$", MAKEFILE, flags=re.M)[1].split()
    there |= {f"bench-{room}" for room in rooms}
    assert {"reproduce", "test", "lab", "notebooks", "env"} <= targets
    assert targets - there == set()


def test_every_parameters_file_that_is_named_exists():
    text = TEXT.replace("params/cooking/", "")  # the reader's own, in the walk-through
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
