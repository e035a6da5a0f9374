"""The one picture of the method: `python -m trait_lib picture`.

An SVG for the README, and the same as a picture attached to the second cell of each notebook, with
the notebook's own box marked: attached, because that is what JupyterLab, the pages of a forge and
a copy that papermill made all show. Not stated in the paper; ours, after its section 2.
"""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from trait_lib import ROOT, records, show

FILE = ROOT / "figures" / "method.svg"
NAME = "method.png"
WIDTH, HEIGHT = 384, 470  # CSS pixels: as wide as a phone, so that the text keeps its size there
LEFT, RIGHT, HALF, FULL = 6, 202, 176, 372
# name of the box: its notebook, left and top edge, width, height, title, text
BOXES = {
    "corpora": (
        "00",
        LEFT,
        6,
        FULL,
        74,
        "corpora and base model",
        "general corpus, seed of the domain,\nproblems of its tasks, base model",
    ),
    "selection": (
        "01",
        LEFT,
        106,
        HALF,
        92,
        "selection",
        "classifier, quality\nfilter, budget: the\ndomain's documents",
    ),
    "passages": (
        "02",
        RIGHT,
        106,
        HALF,
        92,
        "passages",
        "a teacher explains\nproblems, then what\nthey share",
    ),
    "stage 1": (
        "03",
        LEFT,
        224,
        HALF,
        74,
        "stage 1",
        "seed and selected text:\nlearn the knowledge",
    ),
    "stage 2": ("03", RIGHT, 224, HALF, 74, "stage 2", "passages:\nlearn to use it"),
    "evaluation": (
        "04",
        LEFT,
        324,
        FULL,
        56,
        "evaluation",
        "base against adapted model, item by item",
    ),
    "claims": ("05", LEFT, 406, FULL, 56, "claims", "all arms and seeds: which claims hold?"),
}
# from the middle of an edge to the middle of the next box's
ARROWS = (
    (94, 80, 94, 106),
    (290, 80, 290, 106),
    (94, 198, 94, 224),
    (290, 198, 290, 224),
    (182, 261, 202, 261),
    (290, 298, 290, 324),
    (192, 380, 192, 406),
)
ALT = (
    "The method, from top to bottom. 00 corpora and base model lead to two branches. Left: 01 "
    "selection (classifier, quality filter, budget) gives documents of the domain for 03 stage 1, "
    "which learns the knowledge. Right: 02 passages, which a teacher writes: it explains some "
    "problems, then what they share; they are for 03 stage 2, which goes on from stage 1 and "
    "learns to use the knowledge. Then 04 evaluation, base against adapted model, and 05 claims, "
    "over all arms and seeds."
)


def draw(notebook: str = "") -> Figure:
    """The picture; `notebook` is the number of the one whose boxes are marked, such as "03"."""
    fig = plt.figure(figsize=(WIDTH / 96, HEIGHT / 96), layout="none")
    axes = fig.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.axis("off")
    for x0, y0, x1, y1 in ARROWS:
        style = {"arrowstyle": "-|>", "color": show.BLACK, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=style)
    for number, left, top, width, height, title, text in BOXES.values():
        mine = number == notebook
        face = "#FFF7B2" if mine else "#EAF2F8" if left == LEFT and width == HALF else "#F4F4F4"
        face = "#FBEBC8" if not mine and left == RIGHT else face
        box = FancyBboxPatch(
            (left, top),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=face,
            edgecolor=show.VERMILLION if mine else show.GREY,
            linewidth=2.6 if mine else 0.9,
        )
        axes.add_patch(box)
        head = f"{number} {title}" + (" (this notebook)" if mine and width == FULL else "")
        head += " ◂ here" if mine and width == HALF else ""
        words = {"va": "top", "color": show.BLACK, "linespacing": 1.3}
        axes.text(left + 9, top + 8, head, fontsize=10.5, fontweight="bold", **words)
        axes.text(left + 9, top + 29, text, fontsize=9.5, **words)
    return fig


def svg() -> str:
    """The picture without a mark, with its title and its words for those who cannot see it."""
    fig, out = draw(), io.StringIO()
    fig.savefig(out, format="svg", metadata={"Creator": None, "Date": None})
    plt.close(fig)
    said = f'<title id="t">The method in one picture</title><desc id="d">{html.escape(ALT)}</desc>'
    named = rf'\1 role="img" aria-labelledby="t d">\n {said}'
    return re.sub(r"(<svg\b[^>]*)>", named, out.getvalue(), count=1)


def png(notebook: str) -> str:
    """The picture with a notebook's boxes marked, as a PNG in base64."""
    fig, out = draw(notebook), io.BytesIO()
    small = {"optimize": True}
    fig.savefig(out, format="png", dpi=120, metadata={"Software": None}, pil_kwargs=small)
    plt.close(fig)
    return base64.b64encode(out.getvalue()).decode("ascii")


def attach(path: Path) -> None:
    """Give a notebook its picture as the second cell, or renew the one that it has."""
    notebook = nbformat.read(path, as_version=4)
    number = path.stem[:2]
    own = ", ".join(name for name, box in BOXES.items() if box[0] == number)
    source = f"![{ALT} This notebook: {own}.](attachment:{NAME})"
    cell = notebook.cells[1]
    if NAME not in cell.get("attachments", {}):
        cell = nbformat.v4.new_markdown_cell(id=f"method-{number}")
        notebook.cells.insert(1, cell)
    cell.source = source
    cell.attachments = nbformat.from_dict({NAME: {"image/png": png(number)}})
    with records.atomic_path(path) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def write() -> list[Path]:
    """Write the SVG and attach the picture to all notebooks; return the files."""
    with records.atomic_path(FILE) as temporary:
        temporary.write_text(svg(), encoding="utf-8")
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for path in notebooks:
        attach(path)
    return [FILE, *notebooks]
