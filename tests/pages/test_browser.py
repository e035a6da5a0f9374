"""Pages in a real browser: axe-core finds nothing, nothing pans, nothing is loaded, paper has all.

`make test-pages` installs what this needs and runs it; TRAIT_PAGES=FOLDER adds the pages of a run.
"""

import os
from pathlib import Path

import nbformat
import pytest
from pages.browser import AXE, CHROMIUM, Browser

from trait_lib import ROOT, run
from trait_lib.repo import pages

NEEDS = [
    *([] if CHROMIUM else ["no chromium on the PATH (Debian: apt-get install chromium)"]),
    *([] if AXE.exists() else ["no axe-core in tests/pages (make test-pages installs it)"]),
]
pytestmark = pytest.mark.skipif(bool(NEEDS), reason="; ".join(NEEDS))
MANIFEST = {
    "parameters": {"domain": "math", "tier": "replica", "seed": 0},
    "git": "0" * 40,
    "python": "3.11.2",
    "packages": {"torch": "2.13.0"},
    "wall_seconds": 1.5,
    "cpu_seconds": 2.5,
    "peak_memory_gib": 0.5,
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The pages of all committed notebooks, and the page of links to them."""
    folder = tmp_path_factory.mktemp("runs")
    old = os.environ.get("TRAIT_RUNS")
    os.environ["TRAIT_RUNS"] = str(folder)
    values = {"domain": "math", "tier": "replica", "seed": 0, "arm": "trait"}
    try:
        for stage in run.STAGES:
            page = run.stage_dir(stage, values).with_suffix(".html")
            page.parent.mkdir(parents=True, exist_ok=True)
            notebook = nbformat.read(ROOT / f"notebooks/{stage}.ipynb", as_version=4)
            nbformat.write(notebook, page.with_suffix(".ipynb"))
            facts = pages.facts_of(MANIFEST)
            page.write_text(pages.page(notebook, pages.links(values, page), facts, stage))
        pages.write_index(values)
    finally:
        os.environ.pop("TRAIT_RUNS")
        if old is not None:
            os.environ["TRAIT_RUNS"] = old
    more = Path(os.environ["TRAIT_PAGES"]) if "TRAIT_PAGES" in os.environ else None
    return sorted([*folder.rglob("*.html"), *(more.resolve().rglob("*.html") if more else [])])


def places(violations):
    return [
        f"{one['id']}: {node['html'][:150]} {node['any'][:1] and node['any'][0]['message']}"
        for one in violations
        for node in one["nodes"][:5]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_nothing_pans(tab, written, width, dark):
    axe = AXE.read_text(encoding="utf-8")
    for page in written:
        tab.open(page.as_uri(), width, dark)
        assert tab.run("document.documentElement.scrollWidth") <= width, page.name
        tab.run(f"{axe};0")
        found = tab.run("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
        assert places(found) == [], page.name


def test_a_page_asks_for_nothing_and_has_no_script(tab, written):
    for page in written:
        tab.open(page.as_uri())
        asked = [url for url in tab.requests() if not url.startswith("data:")]
        assert asked == [page.as_uri()]
        assert tab.run("document.scripts.length") == 0


def test_paper_shows_solutions_and_cuts_nothing_off(tab, written):
    unfolded = 0
    for page in written:
        tab.open(page.as_uri(), 720, printed=True)  # the text of a sheet of A4
        hidden = (
            "[...document.querySelectorAll('details > :not(summary)')].map(e => e.offsetHeight)"
        )
        heights = tab.run(hidden)
        assert all(heights), page.name
        unfolded += len(heights)
        wider = "[...document.querySelectorAll('pre, .table, figure, .formula')].filter(e => "
        wider += "e.scrollWidth > e.clientWidth + 1).map(e => e.innerText.slice(0, 80))"
        assert tab.run(wider) == [], page.name
    assert unfolded >= len(run.STAGES)


def test_every_link_to_a_place_in_the_page_leads_there(tab, written):
    lost = """[...document.querySelectorAll('a[href^="#"]')].map(a => decodeURIComponent(
        a.getAttribute('href').slice(1))).filter(name => !document.getElementById(name))"""
    for page in written:
        tab.open(page.as_uri())
        assert tab.run(lost) == [], page.name
