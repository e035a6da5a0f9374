"""Executed notebooks as pages that need no script and no network.

Formulas become MathML, figures keep their alt text, code is coloured by CSS, and a page of links
holds the notebooks of a run together. Not stated in the paper; ours because nbconvert's own
template loads scripts from the web and leaves the alt text out.
"""

from __future__ import annotations

import html
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bleach
import jinja2
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from trait_lib import ROOT, records, run
from trait_lib.repo import chain

MORE_TAGS = (
    "br caption col colgroup dd details div dl dt h1 h2 h3 h4 hr mark p pre s small span sub "
    "summary sup table tbody td tfoot th thead tr u"
).split()
TEMPLATES = ROOT / "trait_lib" / "repo" / "templates"
# what latex2mathml leaves in its output where it did not understand the input
NOT_UNDERSTOOD = re.compile(r"<m\w+[^>]*>\s*(\\\w+|&)\s*</m\w+>")
# an arrow with a label: browsers know neither the relative widths nor the style around it
FOR_BROWSERS = (
    (r'<mstyle scriptlevel="0"><mo>(&#x\w+;)</mo></mstyle>', r'<mo stretchy="true">\1</mo>'),
    (r'<mpadded width="\+[^>]*>(.*?)<mspace depth="[^>]*/></mpadded>', r"\1"),
)


class FormulaWarning(UserWarning):
    """A formula that cannot be shown as MathML, and is shown as its LaTeX source."""


def mathml(latex: str, display: str = "inline") -> str:
    r"""A LaTeX formula as MathML; `display` is "inline" or "block".

    A formula that is not understood, such as `\begin{aligned}`, is shown as its source, with a
    `FormulaWarning`: it must not cost the reader a finished run.
    """
    latex = latex.strip()
    try:
        found = convert(latex, display=display)
        unknown = NOT_UNDERSTOOD.search(found)
        problem = unknown[1] if unknown else ""
    except Exception as error:  # of many kinds
        problem = repr(error)
    if problem:
        warnings.warn(f"formula not understood ({problem}): {latex}", FormulaWarning, stacklevel=2)
        return f"<code>{html.escape(latex)}</code>"
    for old, new in FOR_BROWSERS:
        found = re.sub(old, new, found)
    # the LaTeX source, so that it can be copied out of the page
    note = f'<annotation encoding="application/x-tex">{html.escape(latex)}</annotation>'
    body = re.sub(r"^<math([^>]*)>", r"<math\1><semantics>", found)
    return body.removesuffix("</math>") + f"{note}</semantics></math>"


class MathRenderer(IPythonRenderer):
    """Markdown with formulas as MathML, and headings that can be linked to."""

    def inline_math(self, body: str) -> str:
        """A formula in a line of text."""
        return mathml(body)

    def block_math(self, body: str) -> str:
        """A formula on a line of its own."""
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        r"""A formula written as a `\begin{...}` environment."""
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


def markdown(source: str) -> str:
    """Markdown as HTML, formulas as MathML."""
    renderer = MathRenderer(escape=False, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(source)


def plain_html(source: str) -> str:
    """HTML of an output without scripts, forms or anything that is loaded from elsewhere."""
    source = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", source)
    return bleach.clean(
        source,
        tags=bleach.ALLOWED_TAGS | set(MORE_TAGS),
        attributes={"*": ["class", "style", "title", "colspan", "rowspan", "open"], "a": ["href"]},
        css_sanitizer=CSSSanitizer(),
        strip=True,
    )


# --- pages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """A line of a page's navigation."""

    href: str
    text: str
    here: bool = False


def css() -> str:
    """The style sheet of all pages."""
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    own = (TEMPLATES / "trait" / "page.css").read_text(encoding="utf-8")
    return f"{colours}\n.highlight {{ background: none; }}\n{own}"


def title_of(notebook: NotebookNode) -> str:
    """The notebook's H1."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line.removeprefix("# ").strip()
    return "Notebook"


def merge_streams(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Join pieces of one stream that follow each other: the kernel cuts them by the clock."""
    merged: list[NotebookNode] = []
    for output in map(deepcopy, outputs):
        last = merged[-1] if merged else {}
        if output.get("name") and output.get("name") == last.get("name"):
            last.text += output.text
        else:
            merged.append(output)
    return merged


def _level(cell: NotebookNode) -> int:
    """The level of the heading that a cell opens with, 0 without one."""
    mark = re.match(r"(#+) ", cell.source) if cell.cell_type == "markdown" else None
    return len(mark[1]) if mark else 0


def _skipped(cell: NotebookNode) -> bool:
    return "".join(o.get("text", "") for o in cell.outputs).rstrip().endswith(": skipped")


def without_skipped(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """The cells without chapters that the run's domain does not have.

    Such a chapter is one whose code cells all end with ": skipped"; it reaches from its heading
    to the next one of any level.
    """
    chapters: list[list[NotebookNode]] = [[]]
    for cell in cells:
        if _level(cell):
            chapters.append([])
        chapters[-1].append(cell)
    kept = []
    for chapter in chapters:
        asked = [_skipped(cell) for cell in chapter if cell.cell_type == "code"]
        kept += [] if asked and all(asked) else chapter
    return kept


def page(notebook: NotebookNode, links: Sequence[Link] = ()) -> str:
    """An executed notebook as one HTML page."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
    notebook.cells = without_skipped(notebook.cells)
    exporter = HTMLExporter(template_name="trait", extra_template_basedirs=[str(TEMPLATES)])
    exporter.register_filter("markdown2html", markdown)
    exporter.register_filter("plain_html", plain_html)
    resources = {"trait": {"title": title_of(notebook), "css": css(), "links": list(links)}}
    body, _ = exporter.from_notebook_node(notebook, resources)
    return body


def write_page(stage: str, values: Mapping[str, Any]) -> Path:
    """Render a stage's executed notebook beside it; return the page's path."""
    source = chain.notebook_of_run(stage, values)
    target = source.with_suffix(".html")
    _write(target, page(nbformat.read(source, as_version=4), links(values, target)))
    return target


def links(values: Mapping[str, Any], here: Path) -> list[Link]:
    """The navigation of a run's pages, as seen from page `here`."""
    stages = run.STAGES if "arm" in values else run.SHARED_STAGES
    pages = [chain.notebook_of_run(stage, values).with_suffix(".html") for stage in stages]
    named = [(index_path(values), "All runs"), *((path, path.stem) for path in pages)]
    return [Link(_href(path, here), text, path == here) for path, text in named]


def _href(path: Path, page: Path) -> str:
    return quote(os.path.relpath(path, page.parent))


def _write(path: Path, text: str) -> None:
    with records.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# --- the page of all runs ---------------------------------------------------------------------


def index_path(values: Mapping[str, Any]) -> Path:
    """The page that links all runs of a domain and tier."""
    return run.runs_dir() / values["domain"] / values["tier"] / "index.html"


def write_index(values: Mapping[str, Any]) -> Path:
    """Write the page of links to all runs of a domain and tier; return its path."""
    target = index_path(values)
    seeds = sorted(target.parent.glob("*/seed*"), key=lambda f: (f.parent.name != "data", str(f)))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    title = f"TRAIT: {values['domain']}, {values['tier']} tier"
    shown = [(_heading(folder), _finished(folder, target)) for folder in seeds]
    template = environment.get_template("runs.html.j2")
    _write(target, template.render(title=title, css=css(), runs=shown))
    return target


def _heading(folder: Path) -> str:
    arm = folder.parent.name
    return f"{'shared by all arms' if arm == 'data' else f'arm {arm}'}, seed {folder.name[4:]}"


def _finished(folder: Path, page: Path) -> list[dict[str, Any]]:
    """What stands of each notebook of a run: links, and what it cost."""
    rows = []
    for stage in run.STAGES:
        executed = folder / f"{stage}.ipynb"
        failed = executed.with_suffix(".failed.ipynb")
        if failed.exists():
            rows.append({"failed": True, "name": failed.name, "page": _href(failed, page)})
        elif executed.exists():
            manifest = folder / stage / "manifest.json"
            cost = records.read_json(manifest) if manifest.exists() else {}
            rows.append(
                {
                    "failed": False,
                    "name": stage,
                    "page": _href(executed.with_suffix(".html"), page),
                    "notebook": _href(executed, page),
                    "results": _href(folder / stage, page),
                    "seconds": cost.get("wall_seconds"),
                    "memory": cost.get("peak_memory_gib"),
                }
            )
    return rows
