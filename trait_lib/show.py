"""Figures, each a PNG with the numbers that it plots and words that say what it shows; tables.

Not stated in the paper; ours because a figure must be checkable (the CSV), readable without
sight (the alt text), and the same bytes for the same numbers (so that `git diff` stays empty).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from trait_lib.records import atomic_path

# Okabe and Ito's palette, told apart with every common colour blindness; without its yellow,
# which is too faint for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DPI = 110


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
        }
    )


def save(
    fig: Figure,
    path: str | Path,
    data: Sequence[Mapping[str, Any]],
    alt: str,
) -> Path:
    """Write a figure, its data and its alt text; show it in the notebook; close it.

    Args:
        fig: the matplotlib figure.
        path: where the PNG goes; `name.csv` and `name.alt.txt` are written beside it.
        data: the plotted numbers, one dictionary a row; the columns are all their keys.
        alt: what the figure shows, in a sentence or two, for readers who cannot see it.

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
    with atomic_path(path) as temporary:
        fig.savefig(temporary, format="png", metadata={"Software": None})
    write_table(path.with_suffix(".csv"), data)
    with atomic_path(path.with_suffix(".alt.txt")) as temporary:
        temporary.write_text(alt + "\n", encoding="utf-8")
    plt.close(fig)  # else the notebook would show it a second time, without its alt text
    if get_ipython() is not None:
        display(
            {"image/png": path.read_bytes(), "text/plain": f"Figure: {alt}"},
            metadata={"image/png": {"alt": alt}},
            raw=True,
        )
    return path


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
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


style()
