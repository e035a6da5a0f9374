"""What stands in the files of stage 00: the numbers for the card of the data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from trait_lib import records, show
from trait_lib.records import Row

TEXTS = ("text", "question", "solution", "query", "document", "keyword")


def describe(folder: Path) -> list[dict[str, Any]]:
    """Rows, characters of text and mean characters of every row file in `folder`, by name."""
    card = []
    for path in sorted(folder.glob("*.jsonl*")):
        lengths = [_characters(row) for row in records.read_rows(path)]
        total = sum(lengths)
        mean = total / len(lengths) if lengths else 0.0
        card.append({"file": path.name, "rows": len(lengths), "characters": total, "mean": mean})
    return card


def _characters(row: Row) -> int:
    return sum(len(row[name]) for name in TEXTS if isinstance(row.get(name), str))


def composition(labels_file: Path) -> list[dict[str, Any]]:
    """Documents and share of each label in a labels file, the most frequent first."""
    counts = Counter(str(row["label"]) for row in records.read_rows(labels_file))
    total = counts.total()
    return [
        {"label": label, "documents": count, "share": count / total}
        for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def composition_figure(rows: list[dict[str, Any]]) -> tuple[Figure, list[dict[str, Any]], str]:
    """Bars of the shares from `composition`; the figure, its numbers and its words."""
    fig, ax = show.plt.subplots(figsize=(6.4, 0.9 + 0.28 * len(rows)))
    bars = ax.barh([row["label"] for row in rows], [row["share"] for row in rows], color=show.BLUE)
    ax.bar_label(bars, fmt="{:.1%}", padding=3)
    ax.set(xlabel="share of the pool's documents", xlim=(0, 1.1), title="What the pool is made of")
    told = ", ".join(f"{row['label']} {row['share']:.1%}" for row in rows)
    return fig, rows, f"Bars: share of each label in the pool: {told}."
