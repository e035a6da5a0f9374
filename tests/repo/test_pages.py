"""Pages: no script, formulas that a browser lays out itself, figures with their alt text."""

import html.parser
import warnings

import nbformat
import pytest

from trait_lib import ROOT, run
from trait_lib.repo import pages

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"  # not looked at, only carried through
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def code(*outputs, source="x = 1"):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def output(data, metadata=None):
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata or {})


def test_formulas_become_mathml_and_keep_their_source():
    text = pages.markdown("Inline $a < b$ and\n\n$$\\frac{a}{b} = \\sum_{i=1}^n x_i$$\n")
    tags = Tags(text)
    assert [math["display"] for math in tags.all("math")] == ["inline", "block"]
    assert tags.all("mfrac") and tags.all("munderover")
    assert "a &lt; b</annotation>" in text
    assert "$" not in text


@pytest.mark.parametrize("latex", [r"\unknowncommand{x}", r"\begin{aligned} a &= b \end{aligned}"])
def test_a_formula_that_is_not_understood_is_shown_as_source_with_a_warning(latex):
    with pytest.warns(pages.FormulaWarning, match="not understood"):
        shown = pages.mathml(latex)
    assert shown.startswith("<code>") and "<math" not in shown


def test_a_figure_keeps_its_alt_text_and_names_its_source():
    alt = 'Bars: "TRAIT" above base, 3 < 4.'
    about = {"alt": alt, "file": "figures/bars.png"}
    figure = code(output({"image/png": PIXEL}, {"image/png": about}))
    page = pages.page(notebook(code(), figure), folder="04_evaluation")
    (image,) = Tags(page).all("img")
    assert 'Source: <a href="#cell-2">cell [2]</a>' in page and 'id="cell-2"' in page
    assert 'href="04_evaluation/figures/bars.csv">bars.csv</a>' in page
    assert 'href="04_evaluation/figures/bars.svg">bars.svg</a>' in page
    assert image["alt"] == alt
    assert image["src"].startswith("data:image/png;base64,")


def test_a_page_has_no_script_and_loads_nothing():
    cells = [
        nbformat.v4.new_markdown_cell("# Title & more\n\nSee [x](https://example.org)."),
        code(
            output({"text/html": "<table><tr><td>1</td></tr></table><script>alert(1)</script>"}),
            output({"application/javascript": "alert(1)"}),
            nbformat.v4.new_output("stream", name="stderr", text="warned <b>"),
            nbformat.v4.new_output(
                "error", ename="E", evalue="v", traceback=["\x1b[31mred\x1b[0m"]
            ),
        ),
    ]
    page = pages.page(notebook(*cells))
    tags = Tags(page)
    assert tags.all("script") == [] and tags.all("link") == []
    assert "alert(1)</script>" not in page
    assert "warned &lt;b&gt;" in page
    assert "<title>Title &amp; more</title>" in page
    assert tags.all("td") == [{}]
    assert "ansi-red-fg" in page


def test_pieces_of_a_stream_are_joined():
    def out(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    pieces = [out("a\n"), out("b"), out("!", "stderr"), output({"text/plain": "x"}), out("c")]
    merged = pages.merge_streams(pieces)
    assert [piece.get("text") for piece in merged] == ["a\nb", "!", None, "c"]
    assert pieces[0].text == "a\n"  # those given stay as they are
    assert Tags(pages.page(notebook(code(out("a\n"), out("b"))))).all("pre")[1:] == [{}]


def test_chapters_that_a_domain_lacks_do_not_show():
    def said(text):
        return code(nbformat.v4.new_output("stream", name="stdout", text=text))

    def words(text):
        return nbformat.v4.new_markdown_cell(text)

    cells = [
        *(words("# Scores"), said("all")),
        *(words("## Pairs"), said("no pairs in this domain: skipped\n"), words("AUC is this.")),
        *(words("## Figures"), said("no figure: skipped"), said("a table")),
    ]
    body = pages.page(notebook(*cells))
    assert "Pairs" not in body and "AUC is this." not in body
    assert "Scores" in body and "Figures" in body and "a table" in body
    assert "no figure" not in body


def test_html_outputs_keep_their_look_and_lose_what_acts_or_loads():
    cell = '<table><tbody><tr><td colspan="2">1</td></tr></tbody></table>'
    kept = f'<b style="color: red;">a</b><br>{cell}'
    assert pages.plain_html(kept) == kept
    acting = (
        '<style>b{}</style><script>x()</script><img src="http://x/a.png"><b onclick="x()">a</b>'
    )
    assert pages.plain_html(acting) == "<b>a</b>"
    shade = '<div style="background:#D6EAF8;color:#111">a</div>'
    assert "background-color: #D6EAF8" in pages.plain_html(shade)
    assert "<th>p_<wbr>holm</th>" in pages.plain_html(
        "<table><tr><th>p_<wbr>holm</th></tr></table>"
    )
    assert pages.plain_html('<a href="javascript:x()">a</a>') == "<a>a</a>"


def test_braces_of_a_stated_size_show_without_their_backslash():
    text = pages.mathml(r"\min\Big\{ k \Big\}")
    assert "\\" not in text.partition("<annotation")[0]
    assert ">{</mo>" in text and ">}</mo>" in text


def test_headings_have_ids_as_in_jupyterlab_and_stand_in_the_contents():
    text = "# T\n\n## The plan: $k$?\n\n### Deep\n\n## Deep\n\n#### Deeper"
    page = pages.page(notebook(nbformat.v4.new_markdown_cell(text)))
    tags = Tags(page)
    ids = [a["id"] for level in "1234" for a in tags.all(f"h{level}")]
    assert ids == ["T", "The-plan:-k?", "Deep-2", "Deep", "Deeper"]
    listed = [a["href"] for a in tags.all("a") if a["href"] != "#main"]
    assert listed == ["#The-plan:-k?", "#Deep", "#Deep-2"]


def test_what_may_be_wide_can_be_reached_by_the_keyboard():
    text = "| a |\n|---|\n| 1 |\n\n$$x^2$$"
    cells = [nbformat.v4.new_markdown_cell(text), code(output({"text/html": "<table></table>"}))]
    page = pages.page(notebook(*cells))
    assert page.count('tabindex="0"') == 3


def test_a_picture_attached_to_a_cell_is_in_the_page():
    cell = nbformat.v4.new_markdown_cell("![Two words](attachment:a.png)")
    cell.attachments = {"a.png": {"image/png": PIXEL}}
    (image,) = Tags(pages.page(notebook(cell))).all("img")
    assert image == {"src": f"data:image/png;base64,{PIXEL}", "alt": "Two words"}


def test_a_page_leads_on_and_says_from_which_run_it_is():
    names = ["All runs", "00_start_here", "01_data_selection"]
    links = [pages.Link(f"x/{name[:2]}.html", name, name[:2] == "00") for name in names]
    manifest = {
        "parameters": {"domain": "ads", "tier": "smoke", "seed": 3, "rows": 1},
        "git": "abc",
        "python": "3.11.2",
        "packages": {"torch": "2.13.0"},
        "machine": "Linux",
        "wall_seconds": 1.6,
        "cpu_seconds": 2.0,
        "peak_memory_gib": 0.5,
    }
    text = nbformat.v4.new_markdown_cell("See [it](01_data_selection.ipynb#Scores).")
    page = pages.page(notebook(text), links, pages.facts_of(manifest))
    assert '<a href="x/01.html#Scores">it</a>' in page
    assert 'rel="prev" href="x/Al.html"' in page and 'rel="next" href="x/01.html"' in page
    foot = page.partition("<footer>")[2]
    hashed = run.hash_value(manifest["parameters"])[:16]
    for words in ("ads, smoke, seed 3", "abc", hashed, "2 (CPU 2)", "Linux", "torch 2.13.0"):
        assert words in foot


def test_links_lead_from_page_to_page(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    values = {"domain": "ads", "tier": "smoke", "seed": 1, "arm": "trait"}
    here = tmp_path / "ads/smoke/trait/seed1/03_two_stage_training.html"
    found = {link.text: link for link in pages.links(values, here)}
    assert found["All runs"].href == "../../index.html"
    assert found["00_start_here"].href == "../../data/seed1/00_start_here.html"
    assert found["04_evaluation"].href == "04_evaluation.html"
    assert [link.text for link in found.values() if link.here] == ["03_two_stage_training"]


def test_a_page_that_all_arms_share_leads_to_one_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    values = {"domain": "ads", "tier": "smoke", "seed": 1}
    here = tmp_path / "ads/smoke/data/seed1/00_start_here.html"

    def last():
        return next(x.href for x in pages.links(values, here) if x.text[:2] == "04")

    assert last() == "../../trait/seed1/04_evaluation.html"
    (tmp_path / "ads/smoke/random/seed1").mkdir(parents=True)
    assert last() == "../../random/seed1/04_evaluation.html"
    (tmp_path / "ads/smoke/trait/seed1").mkdir(parents=True)
    assert last() == "../../trait/seed1/04_evaluation.html"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda f: f.stem)
def test_every_notebook_renders_with_all_its_formulas_and_alt_texts(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pages.FormulaWarning)
        page = pages.page(nbformat.read(path, as_version=4))
    tags = Tags(page)
    assert tags.all("script") == []
    assert len(tags.all("h1")) == 1
    assert all(len(image["alt"].split()) > 3 for image in tags.all("img"))
