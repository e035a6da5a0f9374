"""Executed notebooks as pages that need no script and no network.

Formulas become MathML, figures keep their alt text, code is coloured by CSS, and a page of links
holds the notebooks of a run together. Not stated in the paper; ours because nbconvert's own
template loads scripts from the web and leaves the alt text out.
"""

from __future__ import annotations

import html
import itertools
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
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from trait_lib import ROOT, records, run
from trait_lib.repo import chain

MORE_TAGS = (
    "br caption col colgroup dd details div dl dt h1 h2 h3 h4 hr mark p pre s small span sub "
    "summary sup table tbody td tfoot th thead tr u wbr"
).split()
TEMPLATES = ROOT / "trait_lib" / "repo" / "templates"
CARD = ROOT / "figures" / "claims" / "card.json"
# what may be wider than a phone can be reached by the keyboard and pans by itself
SCROLLS = 'tabindex="0" role="group" aria-label'
# what latex2mathml leaves in its output where it did not understand the input
NOT_UNDERSTOOD = re.compile(r"<m\w+[^>]*>\s*(\\\w+|&)\s*</m\w+>")
FOR_BROWSERS = (
    # a brace of a stated size, as in \Big\{, comes with its backslash
    (r"<mo([^>]*)>\\([{}|])</mo>", r"<mo\1>\2</mo>"),
    # an arrow with a label: browsers know neither the relative widths nor the style around it
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
        shown = mathml(body, "block")
        return f'<span class="formula" {SCROLLS}="Formula">{shown}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        r"""A formula written as a `\begin{...}` environment."""
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def markdown(source: str, attachments: Mapping[str, Any] | None = None) -> str:
    """Markdown as HTML: formulas as MathML, the cell's attached pictures in the page."""
    renderer = MathRenderer(
        escape=False, exclude_anchor_links=True, attachments=dict(attachments or {})
    )
    text = MarkdownWithMath(renderer=renderer).render(source)
    text = text.replace("<table>", f'<div class="table" {SCROLLS}="Table"><table>')
    return text.replace("</table>", "</table></div>")


def plain_html(source: str) -> str:
    """HTML of an output without scripts, forms or anything that is loaded from elsewhere."""
    source = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", source)
    # the sanitiser knows the long name only
    source = re.sub(r"\bbackground:\s*(#\w+|[a-z]+)", r"background-color: \1", source)
    return bleach.clean(
        source,
        tags=bleach.ALLOWED_TAGS | set(MORE_TAGS),
        attributes={
            "*": ["class", "style", "title", "colspan", "rowspan", "scope", "open"],
            "a": ["href"],
        },
        css_sanitizer=CSSSanitizer([*ALLOWED_CSS_PROPERTIES, "padding", "margin"]),
        strip=True,
    )


# --- pages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """A line of a page's navigation."""

    href: str
    text: str
    here: bool = False


@dataclass(frozen=True)
class Heading:
    """A line of a page's contents; `text` is HTML."""

    level: int
    id: str
    text: str


def frame(template: str, **values: Any) -> str:
    """A page from one of the templates that extend `frame.html.j2`, or from that itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / "trait"), autoescape=True
    )
    css = (TEMPLATES / "trait" / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(css=css, **values)


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


def _says_only_that(cell: NotebookNode) -> bool:
    return _skipped(cell) and "".join(o.get("text", "") for o in cell.outputs).count("\n") <= 1


def without_skipped(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """The cells without those that the run's domain does not have.

    Such a chapter is one whose code cells all end with ": skipped"; it reaches from its heading
    to the next one of any level. In other chapters a cell that prints this alone is left out.
    """
    chapters: list[list[NotebookNode]] = [[]]
    for cell in cells:
        if _level(cell):
            chapters.append([])
        chapters[-1].append(cell)
    kept = []
    for chapter in chapters:
        asked = [_skipped(cell) for cell in chapter if cell.cell_type == "code"]
        if not asked or not all(asked):
            kept += [c for c in chapter if c.cell_type != "code" or not _says_only_that(c)]
    return kept


def _numbered(notebook: NotebookNode, folder: str) -> NotebookNode:
    """The notebook with its code cells numbered as the committed ones, each figure with its source.

    `folder` is the address of the stage's folder as seen from the page, "" where there is none.
    """
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = merge_streams(cell.outputs)
        number += "injected-parameters" not in cell.metadata.get("tags", [])
        cell.metadata["number"] = number
        for output in cell.outputs:
            about = output.get("metadata", {}).get("image/png", {})
            if "file" in about:
                about["source"] = _source_line(number, about["file"], folder)
    return notebook


def _source_line(number: int, file: str, folder: str) -> str:
    names = [str(Path(file).with_suffix(suffix)) for suffix in (".csv", ".svg")]
    shown = [
        f'<a href="{quote(f"{folder}/{name}")}">{html.escape(Path(name).name)}</a>'
        if folder
        else html.escape(Path(name).name)
        for name in names
    ]
    where = f'<a href="#cell-{number}">cell [{number}]</a>'
    return f"Source: {where}; numbers: {shown[0]}; drawing: {shown[1]}"


def with_ids(body: str) -> tuple[str, list[Heading]]:
    """A page's HTML with an id for each heading, and its headings of the levels 2 and 3.

    Ids are those of JupyterLab, `The-schedule`, so that a link to a heading works there and here.
    """
    found: list[Heading] = []
    used: set[str] = set()

    def named(match: re.Match[str]) -> str:
        level, text = int(match[1]), match[2]
        words = html.unescape(re.sub(r"<annotation.*?</annotation>|<[^>]+>", "", text)).strip()
        name = base = re.sub(r"\s+", "-", words)
        for count in itertools.count(2):
            if name not in used:
                break
            name = f"{base}-{count}"
        used.add(name)
        if level in (2, 3):
            found.append(Heading(level, name, re.sub(r"</?a\b[^>]*>", "", text)))
        return f'<h{level} id="{html.escape(name)}">{text}</h{level}>'

    return re.sub(r"(?s)<h([1-6])>(.*?)</h\1>", named, body), found


def page(
    notebook: NotebookNode,
    links: Sequence[Link] = (),
    facts: Mapping[str, str] | None = None,
    folder: str = "",
) -> str:
    """An executed notebook as one HTML page.

    Args:
        notebook: executed; it stays as it is.
        links: the navigation; links to `NAME.ipynb` in the text go to the page of that name.
        facts: what the page's foot says of the run.
        folder: address of the stage's folder as seen from the page.
    """
    notebook = _numbered(deepcopy(notebook), folder)
    notebook.cells = without_skipped(notebook.cells)
    exporter = HTMLExporter(template_name="trait", extra_template_basedirs=[str(TEMPLATES)])
    exporter.register_filter("markdown2html", markdown)
    exporter.register_filter("plain_html", plain_html)
    body, _ = exporter.from_notebook_node(notebook)
    for link in links:
        body = body.replace(f'href="{link.text}.ipynb', f'href="{html.escape(link.href)}')
    body, contents = with_ids(body)
    here = next((i for i, link in enumerate(links) if link.here), None)
    around = [None, *links, None][here : here + 3] if here is not None else [None] * 3
    return frame(
        "frame.html.j2",
        title=title_of(notebook),
        body=body,
        links=links,
        contents=contents,
        before=around[0],
        after=around[2],
        facts=facts,
    )


def write_page(stage: str, values: Mapping[str, Any]) -> Path:
    """Render a stage's executed notebook beside it; return the page's path."""
    source = chain.notebook_of_run(stage, values)
    target = source.with_suffix(".html")
    manifest = run.stage_dir(stage, values) / "manifest.json"
    facts = facts_of(records.read_json(manifest)) if manifest.exists() else None
    notebook = nbformat.read(source, as_version=4)
    _write(target, page(notebook, links(values, target), facts, quote(stage)))
    return target


def facts_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a page's foot says of the run, from its manifest."""
    given = manifest["parameters"]
    named = [given.get(name) for name in ("domain", "tier", "arm")]
    return {
        "Run": ", ".join([*filter(None, named), f"seed {given.get('seed')}"]),
        "Commit": manifest["git"],
        "Parameters": f"SHA-256 {run.hash_value(given)[:16]}",
        "Seconds": f"{manifest['wall_seconds']:.0f} (CPU {manifest['cpu_seconds']:.0f})",
        "Peak memory": f"{manifest['peak_memory_gib']:.2f} GiB",
        "Machine": manifest.get("machine", "not recorded"),
        "Versions": ", ".join(
            [f"Python {manifest['python']}", *(f"{n} {v}" for n, v in manifest["packages"].items())]
        ),
    }


def links(values: Mapping[str, Any], here: Path) -> list[Link]:
    """The navigation of a run's pages, as seen from page `here`."""
    values = {"arm": _an_arm(values), **values}
    pages = [chain.notebook_of_run(stage, values).with_suffix(".html") for stage in run.STAGES]
    named = [(index_path(values), "All runs"), *((path, path.stem) for path in pages)]
    return [Link(_href(path, here), text, path == here) for path, text in named]


def _an_arm(values: Mapping[str, Any]) -> str:
    """The arm that pages of all arms lead to: the method's own, or else one that has been run."""
    folders = index_path(values).parent.glob(f"*/seed{values['seed']}")
    arms = sorted({folder.parent.name for folder in folders} - {"data"})
    return arms[0] if arms and "trait" not in arms else "trait"


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
    title = f"TRAIT: {values['domain']}, {values['tier']} tier"
    shown = [(_heading(folder), _finished(folder, target)) for folder in seeds]
    arm = {"arm": _an_arm(values), **values}
    notebook = chain.notebook_of_run(run.STAGES[-1], arm).with_suffix(".html")
    given = {"title": title, "links": links(values, target), "runs": shown}
    _write(target, frame("runs.html.j2", **given, card=claims(target, notebook)))
    return target


def claims(page: Path, notebook: Path) -> dict[str, Any]:
    """The committed claims card with links as seen from the page; {} where there is none.

    `notebook` is the run's page of notebook 05; before there is one, links lead to the committed
    notebook.
    """
    if not CARD.exists():
        return {}
    card = records.read_json(CARD)
    places = {name: ROOT / place for name, place in card["files"].items()}
    shown = notebook if notebook.exists() else places["notebook"]
    links = {name: _href(places[name], page) for name in ("numbers", "parameters")}
    for line in card["lines"]:
        line["links"] = {"cell": f"{_href(shown, page)}#{quote(line['heading'].replace(' ', '-'))}"}
        if (figure := ROOT / line["figure"]).exists():
            line["links"]["figure"] = _href(figure, page)
        line["links"] |= links
    return card


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
