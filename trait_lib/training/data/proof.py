"""The proof, before training, that no test or development problem stands in a training text.

Paper: not stated; ours because a gain on problems that were trained on means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trait_lib import contamination, records

Text = tuple[str, str]  # id and text of a document


class Contaminated(RuntimeError):
    """A test or development problem stands in a training text; the message names both."""


def prove_clean(
    sources: Mapping[str, str | Path],
    problem_files: Sequence[str | Path],
    known: str | Path | None = None,
) -> dict[str, int]:
    """Search every document of every source for every held-out problem; return documents searched.

    Args:
        sources: the file of document rows of each source.
        problem_files: files of problem rows with `id` and `question`.
        known: file of what notebook 00 knows, see `contamination.write_known`.

    Raises:
        Contaminated: names problems and the documents that hold them.
    """
    index = _index(problem_files, known)
    searched = dict.fromkeys(sources, 0)
    holding: dict[str, list[str]] = {}
    for name, file in sources.items():
        texts = _counted(_texts(file), name, searched)
        holding.update({f"{name}/{k}": v for k, v in contamination.report(texts, index).items()})
    if holding:
        some = "; ".join(f"{', '.join(v)} in {k}" for k, v in list(holding.items())[:10])
        raise Contaminated(
            f"{len(holding)} training documents hold held-out problems: {some}. Remove them from "
            "these sources (notebooks 00 to 02) and run again."
        )
    return searched


def without_held_out(
    rows: Iterable[Mapping[str, Any]],
    problem_files: Sequence[str | Path],
    known: str | Path | None = None,
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Rows whose `text` holds no held-out problem, and the ids of those left out.

    Training problems of real benchmarks repeat test problems; fine-tuning must not read them.
    """
    rows = list(rows)
    texts = ((str(row["id"]), row["text"]) for row in rows)
    holding = contamination.report(texts, _index(problem_files, known))
    return [row for row in rows if str(row["id"]) not in holding], sorted(holding)


def _index(problem_files: Sequence[str | Path], known: str | Path | None) -> contamination.Index:
    rows = [row for file in problem_files for row in records.read_rows(file)]
    given = contamination.read_known(known) if known else {}
    return contamination.build_index({row["id"]: row["question"] for row in rows}, **given)


def _counted(texts: Iterable[Text], name: str, counts: dict[str, int]) -> Iterator[Text]:
    for text in texts:
        counts[name] += 1
        yield text


def _texts(file: str | Path) -> Iterator[Text]:
    for number, row in enumerate(records.read_rows(file), start=1):
        yield str(row.get("id", number)), row["text"]
