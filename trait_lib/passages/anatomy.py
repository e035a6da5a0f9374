"""Passages for the eye: one in colour as the paper's figures do, and the distributions."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trait_lib import show
from trait_lib.contamination import words
from trait_lib.records import Row
from trait_lib.show import plt

Drawn = tuple[Figure, list[dict[str, Any]], str]  # the figure, its numbers, its words

# pale shades of Okabe and Ito's palette; dark text on them keeps a contrast above 10
SHADES = ("#D6EAF8", "#FDE3CF", "#D5F0E6", "#F3DDE9", "#FBEBC8", "#E4E4E4")
ENLIGHTENMENT_SHADE = "#FFF7B2"


def as_html(row: Row, questions: Sequence[str]) -> str:
    """A passage as HTML: each paragraph on its own shade, headed by what it is."""
    parts = [
        _block(SHADES[i % len(SHADES)], f"problem {i + 1}: {task}", paragraph, question)
        for i, (task, question, paragraph) in enumerate(
            zip(row["tasks"], questions, row["paragraphs"], strict=True)
        )
    ]
    if row["enlightenment"]:
        parts.append(_block(ENLIGHTENMENT_SHADE, "enlightenment", row["enlightenment"]))
    return "\n".join(parts)


def _block(shade: str, name: str, text: str, question: str = "") -> str:
    style = f"background-color:{shade};color:#111;padding:0.5em 0.8em;margin:0.3em 0"
    asked = f"<i>{_escaped(question)}</i><br>" if question else ""
    return f'<div style="{style}"><b>{_escaped(name)}</b><br>{asked}{_escaped(text)}</div>'


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def word_counts(rows: Sequence[Row]) -> dict[str, list[int]]:
    """The words of every paragraph, every enlightenment paragraph and every whole text."""
    return {
        "paragraph": [len(words(p)) for row in rows for p in row["paragraphs"]],
        "enlightenment": [len(words(row["enlightenment"])) for row in rows if row["enlightenment"]],
        "whole text": [len(words(row["text"])) for row in rows],
    }


def length_summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Minimum, median, mean and maximum of the words of each part."""
    return [
        {
            "part": part,
            "min": min(counts),
            "median": float(np.median(counts)),
            "mean": round(float(np.mean(counts)), 1),
            "max": max(counts),
        }
        for part, counts in word_counts(rows).items()
        if counts
    ]


def lengths_figure(rows: Sequence[Row], bins: int = 30) -> Drawn:
    """A histogram of words for each part."""
    counts = {part: values for part, values in word_counts(rows).items() if values}
    edges = np.histogram_bin_edges(np.concatenate(list(counts.values())), bins=bins)
    figure, axes = plt.subplots()
    data = []
    for part, values in counts.items():
        heights, _ = np.histogram(values, bins=edges)
        axes.stairs(heights, edges, color=show.look(part)["color"], linewidth=1.8)
        highest = int(np.argmax(heights))
        peak = ((edges[highest] + edges[highest + 1]) / 2, heights[highest])
        axes.annotate(part, peak, (0, 4), textcoords="offset points", ha="center", fontsize=9)
        data += [
            {"part": part, "words_from": round(float(a), 3), "count": int(h)}
            for a, h in zip(edges, heights, strict=False)
        ]
    axes.set(xlabel="words", ylabel="number", title="Words of each part of a passage")
    axes.margins(y=0.12)
    said = [f"{row['part']} {row['min']} to {row['max']}" for row in length_summary(rows)]
    medians = [f"{row['median']:g}" for row in length_summary(rows)]
    told = ", ".join(f"{one}, median {m}" for one, m in zip(said, medians, strict=True))
    return figure, data, f"Histograms of words: {told}."


def pairs_figure(rows: Sequence[Row]) -> Drawn:
    """How often two tasks stand in one passage: a matrix."""
    tasks = sorted({task for row in rows for task in row["tasks"]})
    place = {task: i for i, task in enumerate(tasks)}
    matrix = np.zeros((len(tasks), len(tasks)), dtype=int)  # (tasks, tasks), symmetric
    for row in rows:
        names = row["tasks"]
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                matrix[place[first], place[second]] += 1
                if first != second:
                    matrix[place[second], place[first]] += 1
    size = 2.5 + 0.45 * len(tasks)
    figure, axes = plt.subplots(figsize=(size + 1.5, size))
    axes.imshow(matrix, cmap="Blues")
    axes.grid(visible=False)
    axes.set_xticks(range(len(tasks)), tasks, rotation=40, ha="right")
    axes.set_yticks(range(len(tasks)), tasks)
    for i, j in np.ndindex(matrix.shape):
        colour = "white" if matrix[i, j] > matrix.max() / 2 else "black"
        axes.text(j, i, matrix[i, j], ha="center", va="center", color=colour, fontsize=8)
    axes.set_title("Passages that join two tasks")
    data = [
        {"task": a, "with": b, "passages": int(matrix[i, j])}
        for i, a in enumerate(tasks)
        for j, b in enumerate(tasks)
    ]
    said = [
        f"{row['task']} with {row['with']} {row['passages']}"
        for row in sorted(data, key=lambda row: -row["passages"])
        if row["passages"] and row["task"] <= row["with"]
    ]
    return figure, data, f"Passages that join two tasks: {', '.join(said)}."


def topics_figure(rows: Sequence[Row], most: int = 20) -> Drawn:
    """Bars of the most frequent topics or entities."""
    counts = sorted(Counter(row["topic"] for row in rows).items(), key=lambda x: (-x[1], x[0]))
    shown = counts[:most][::-1]
    figure, axes = plt.subplots(figsize=(6.4, 1.2 + 0.24 * len(shown)))
    bars = axes.barh([topic for topic, _ in shown], [n for _, n in shown], color=show.BLUE)
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.set(xlabel="passages", title=f"The {len(shown)} most frequent of {len(counts)} topics")
    said = ", ".join(f"{topic} {n}" for topic, n in shown[::-1])
    data = [{"topic": topic, "passages": n} for topic, n in counts]
    return figure, data, f"Passages of the most frequent topics: {said}."
