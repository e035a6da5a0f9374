"""Pages: no script, formulas that a browser lays out itself, figures with their alt text."""

import html.parser
import warnings

import nbformat
import pytest

from trait_lib import ROOT
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


def test_a_figure_keeps_its_alt_text():
    alt = 'Bars: "TRAIT" above base, 3 < 4.'
    page = pages.page(notebook(code(output({"image/png": PIXEL}, {"image/png": {"alt": alt}}))))
    (image,) = Tags(page).all("img")
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


def test_html_outputs_keep_their_look_and_lose_what_acts_or_loads():
    cell = '<table><tbody><tr><td colspan="2">1</td></tr></tbody></table>'
    kept = f'<b style="color: red;">a</b><br>{cell}'
    assert pages.plain_html(kept) == kept
    acting = (
        '<style>b{}</style><script>x()</script><img src="http://x/a.png"><b onclick="x()">a</b>'
    )
    assert pages.plain_html(acting) == "<b>a</b>"
    assert pages.plain_html('<a href="javascript:x()">a</a>') == "<a>a</a>"


def test_links_lead_from_page_to_page(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    values = {"domain": "ads", "tier": "smoke", "seed": 1, "arm": "trait"}
    here = tmp_path / "ads/smoke/trait/seed1/03_two_stage_training.html"
    found = {link.text: link for link in pages.links(values, here)}
    assert found["All runs"].href == "../../index.html"
    assert found["00_start_here"].href == "../../data/seed1/00_start_here.html"
    assert found["04_evaluation"].href == "04_evaluation.html"
    assert [link.text for link in found.values() if link.here] == ["03_two_stage_training"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda f: f.stem)
def test_every_notebook_renders_with_all_its_formulas_and_alt_texts(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pages.FormulaWarning)
        page = pages.page(nbformat.read(path, as_version=4))
    tags = Tags(page)
    assert tags.all("script") == []
    assert len(tags.all("h1")) == 1
    assert all(len(image["alt"].split()) > 3 for image in tags.all("img"))
