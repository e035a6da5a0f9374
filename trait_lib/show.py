"""Figures, each with the numbers that it plots and words that say what it shows; tables; looks.

Not stated in the paper; ours because a figure must be checkable (the CSV), readable without
sight (the alt text), and the same bytes for the same numbers (so that `git diff` stays empty).
"""

from __future__ import annotations

import csv
import html
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from trait_lib.records import atomic_path

# Okabe and Ito's palette, told apart with every common colour blindness; without its yellow,
# which is too faint for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS
GREY = "#777777"  # of lines that are no data
DPI = 110
# One look for one method in every figure: its colour, and a marker for eyes and printers without
# colours. Blue is TRAIT's own way; a text, its selection and the arm that trains on it share one.
LOOKS = {
    **dict.fromkeys(("classifier", "selected", "domain", "trait", "adapted"), (BLUE, "o")),
    **dict.fromkeys(("in domain", "trait_finetuned"), (BLUE, "*")),
    **dict.fromkeys(("DSIR", "dsir"), (VERMILLION, "s")),
    **dict.fromkeys(("mined", "trait_mined"), (PURPLE, "D")),
    **dict.fromkeys(("random", "replay", "general", "other"), (BLACK, "x")),
    **dict.fromkeys(("base", "base_finetuned"), (BLACK, "d")),
    **dict.fromkeys(("regression", "seed"), (GREEN, "^")),
    **dict.fromkeys(("unfiltered", "no_quality_filter"), (SKY, "v")),
    **dict.fromkeys(("stage1_only", "borderline"), (SKY, "^")),
    **dict.fromkeys(("passages", "stage2_only", "enlightenment"), (ORANGE, "P")),
    **dict.fromkeys(("no_enlightenment", "passages_no_enlightenment", "paragraph"), (GREEN, "X")),
    "no_enlightenment_equal_passages": (GREEN, ">"),
    "random_passages": (BLACK, "P"),
    "dsir_passages": (VERMILLION, "P"),
    **dict.fromkeys(("no_replay", "tasks"), (VERMILLION, "<")),
    **dict.fromkeys(("one_mixed_stage", "whole text"), (PURPLE, "h")),
    **dict.fromkeys(("shuffled", "shuffled_labels"), (VERMILLION, "X")),
    **dict.fromkeys(("passages_other", "other_passages"), (ORANGE, "X")),
    **dict.fromkeys(("passages_permuted", "permuted_answers"), (PURPLE, "X")),
}


def style() -> None:
    """Set the project's matplotlib style; called when this module is imported."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": DPI,
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
            "font.size": 10,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "savefig.dpi": DPI,
            "savefig.facecolor": "white",
            "svg.hashsalt": "trait",  # else an SVG's ids are drawn anew each time
        }
    )


def look(name: str) -> dict[str, str]:
    """Colour and marker of a method, text or arm, for matplotlib: the same in every figure."""
    colour, marker = LOOKS.get(name, (GREY, "."))
    return {"color": colour, "marker": marker}


def label_lines(ax: Axes, gap: float = 0.075) -> None:
    """Name each labelled line of `ax` at its right end, in place of a legend.

    `gap` is the least distance of two names, as a share of the height of the axes.
    """
    lines = [line for line in ax.get_lines() if line.get_label()[0] != "_"]
    ax.get_ylim()  # settles the limits, which decide where an end lies
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = [tuple(line.get_xydata()[-1]) for line in lines]
    heights = [float(to_axes.transform(end)[1]) for end in ends]
    placed = _apart(heights, gap)
    for line, end, height in zip(lines, ends, placed, strict=True):
        ax.annotate(
            line.get_label(),
            end,
            (1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "shrinkA": 1, "shrinkB": 3},
            annotation_clip=False,
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """The heights, moved as little as a simple rule can so that any two are `gap` apart."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for before, i in itertools.pairwise(order):
        placed[i] = max(placed[i], placed[before] + gap)
    top = max([1.0, *heights])
    for i in reversed(order):
        placed[i] = min(placed[i], top)
        top = placed[i] - gap
    return placed


def thousands(axis: Any) -> None:
    """Write the numbers of a matplotlib axis as 50,000."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def save(
    fig: Figure,
    path: str | Path,
    data: Sequence[Mapping[str, Any]],
    alt: str,
) -> None:
    """Write a figure, its data and its alt text; show it in the notebook; close it.

    Args:
        fig: the matplotlib figure.
        path: where the PNG goes; `name.svg`, `name.csv`, `name.alt.txt` are written beside it.
        data: the plotted numbers, one dictionary a row; the columns are all their keys.
        alt: what the figure shows, with its values, for readers who cannot see it.

    Raises:
        ValueError: the path is not a PNG, the data is empty, or the alt text has fewer than
            four words.
    """
    path = Path(path)
    alt = " ".join(alt.split())
    if path.suffix != ".png":
        raise ValueError(f"{path.name}: a figure is saved as .png")
    if len(alt.split()) < 4:
        raise ValueError(f"{path.name}: alt text must say what the figure shows, got {alt!r}")
    if not data:
        raise ValueError(f"{path.name}: no data; give the rows that the figure plots")
    # no software name, no date: the same figure gives the same bytes
    none = {"Creator": None, "Date": None}
    for file, kind, about in (
        (path, "png", {"Software": None}),
        (path.with_suffix(".svg"), "svg", none),
    ):
        with atomic_path(file) as temporary:
            fig.savefig(temporary, format=kind, metadata=about)
    write_table(path.with_suffix(".csv"), data)
    with atomic_path(path.with_suffix(".alt.txt")) as temporary:
        temporary.write_text(alt + "\n", encoding="utf-8")
    plt.close(fig)  # else the notebook would show it a second time, without its alt text
    if get_ipython() is not None:
        display(
            {"image/png": path.read_bytes(), "text/plain": f"Figure: {alt}"},
            metadata={"image/png": {"alt": alt, "file": f"{path.parent.name}/{path.name}"}},
            raw=True,
        )


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV with a header; a missing value is empty. Returns the path."""
    path = Path(path)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return path


def text_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as aligned text: words to the left, numbers to the right, a missing value empty.

    `columns` says which keys are shown and in what order; without it, all in order of appearance.
    """
    columns = list(columns or dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    return aligned(cells, numeric)


def aligned(cells: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """Rows of text as columns under the first row; `right`: which; without it all but the first."""
    numeric = right or [i > 0 for i in range(len(cells[0]))]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def html_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """The same as an HTML table; each row is headed by its first cell."""
    columns = list(columns or dict.fromkeys(key for row in rows for key in row))
    right = [
        ' style="text-align: right"' if all(_is_number(row.get(column)) for row in rows) else ""
        for column in columns
    ]
    head = "".join(
        f'<th scope="col"{side}>{html.escape(column).replace("_", "_<wbr>")}</th>'
        for column, side in zip(columns, right, strict=True)
    )
    lines = []
    for row in rows:
        cells = [html.escape(_cell(row.get(column))) for column in columns]
        first = f'<th scope="row"{right[0]}>{cells[0]}</th>'
        rest = zip(cells[1:], right[1:], strict=True)
        lines.append(f"<tr>{first}{''.join(f'<td{side}>{cell}</td>' for cell, side in rest)}</tr>")
    body = "\n".join(lines)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Show rows as a table: in a notebook as HTML, with the aligned text beside it; else as text.

    `columns` as in `text_table`.
    """
    text = text_table(rows, columns) if rows else "no rows"
    if get_ipython() is None or not rows:
        print(text)
    else:
        display({"text/html": html_table(rows, columns), "text/plain": text}, raw=True)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


style()
