"""The proof, before training, that no test or development problem stands in a training text.

Paper: not stated; ours because a gain on problems that were trained on means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trait_lib import contamination, records
from trait_lib.contamination import files


class Contaminated(RuntimeError):
    """A test or development problem stands in a training text; the message names both."""


def prove_clean(
    sources: Mapping[str, str | Path],
    problem_files: Sequence[str | Path],
    known: str | Path | None = None,
    also: Sequence[str | Path] = (),
    record: str | Path | None = None,
) -> dict[str, int]:
    """Search every document of every source for every held-out problem; return documents searched.

    Args:
        sources: the file of document rows of each source.
        problem_files: files of problem rows with `id` and `question`.
        known: file of what notebook 00 knows, see `contamination.write_known`. The held-out
            documents that it names may stand in no source either.
        also: more such files, or of relevance rows, that are looked for and reported only.
        record: file for what was found, which notebook 04 reads.

    Raises:
        Contaminated: names problems and the documents that hold them.
    """
    held_out, given = _questions(problem_files), contamination.read_known(known) if known else {}
    asked = held_out | _questions(also)
    searched = {name: files.search(file, asked, given) for name, file in sources.items()}
    texts = {name: found["documents"] for name, found in searched.items()}
    proof: dict[str, Any] = {"questions": sorted(asked), "texts": texts, "exact": {}, "grams": {}}
    wrong: list[str] = []
    for name, found in searched.items():
        wrong += [f"{place} of {name} is held out" for place in found["held_out"]]
        for kind in ("exact", "grams"):
            for one, places in found[kind].items():
                proof[kind].setdefault(one, []).extend(f"{name}/{place}" for place in places)
                wrong += [f"{one} in {name}/{place}" for place in places if one in held_out]
    if record:
        records.write_json(record, proof)
    if wrong:
        raise Contaminated(
            f"held-out problems or documents stand in training texts: {'; '.join(wrong[:10])}. "
            "Remove them from these sources (notebooks 00 to 02) and run again."
        )
    return texts


def _questions(paths: Iterable[str | Path]) -> dict[str, str]:
    rows = [row for path in paths for row in records.read_rows(path)]
    return {row["id"]: row.get("question") or row["prompt"] for row in rows}


def without_held_out(
    rows: Iterable[Mapping[str, Any]],
    problem_files: Sequence[str | Path],
    known: str | Path | None = None,
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Rows whose `text` holds no held-out problem, and the ids of those left out.

    Training problems of real benchmarks repeat test problems; fine-tuning must not read them.
    """
    rows = list(rows)
    texts = [(str(row["id"]), row["text"]) for row in rows]
    given = contamination.read_known(known) if known else {}
    index = contamination.build_index(_questions(problem_files), **given)
    found = contamination.report(texts, index)
    return [row for row in rows if str(row["id"]) not in found], sorted(found)
