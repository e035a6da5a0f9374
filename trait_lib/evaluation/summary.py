"""`summary.json`: the comparison in a small, flat shape.

    {"table":    [{"name", "unit", "n", "base", "base_se", "adapted", "adapted_se",
                   "difference", "low", "high", "p_holm"}, ...],
     "columns":  the keys of a row, in the order in which they are shown,
     "headline": {"mean_base", "mean_adapted", "ratio", ...} (see `comparison.headline`),
     "changes":  [{"task", "n", "right_both", "wrong_to_right", "right_to_wrong", "wrong_both"}],
     "notes":    [sentence, ...]}

`low` and `high` bound the difference (95 %, models paired), `*_se` are standard errors, `p_holm`
is of no difference, corrected for the number of rows in the group. Paper: reports averages; ours
adds n, errors and intervals. Nothing here needs a model, and nothing imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    *("name", "unit", "n", "base", "base_se", "adapted", "adapted_se"),
    *("difference", "low", "high", "p_holm"),
)


def build(
    rows: Sequence[Mapping[str, Any]],
    headline: Mapping[str, float | None],
    changes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The contents of `summary.json` from the rows of `comparison.table`."""
    return {
        "table": [{name: _rounded(row.get(name)) for name in COLUMNS} for row in rows],
        "columns": list(COLUMNS),
        "headline": {name: _rounded(value) for name, value in headline.items()},
        "changes": [dict(row) for row in changes],
        "notes": notes(rows, headline, changes),
    }


def _rounded(value: Any) -> Any:
    """Six digits after the point; NaN, which JSON does not know, becomes None."""
    if isinstance(value, float):
        return round(float(value), 6) if math.isfinite(value) else None
    return value


def notes(
    rows: Sequence[Mapping[str, Any]],
    headline: Mapping[str, float | None],
    changes: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The comparison in sentences."""
    said = ["low and high bound the difference (95 %, over items, both models paired)"]
    if headline.get("mean_base") is not None:
        times = headline.get("ratio")
        factor = f", {times:.1f} times" if times is not None else ""
        said.append(
            f"mean accuracy {headline['mean_base']:.3f} -> {headline['mean_adapted']:.3f}{factor}"
        )
    gained = sum(row["wrong_to_right"] for row in changes)
    lost = sum(row["right_to_wrong"] for row in changes)
    if changes:
        said.append(f"items: {gained} from wrong to right, {lost} from right to wrong")
    for name in ("domain", "general"):
        change = headline.get(f"{name}_text_change_percent")
        if change is not None:
            said.append(f"bits per byte of held-out {name} text: {change:+.1f} %")
    if headline.get("general_questions_base") is not None:
        before, after = headline["general_questions_base"], headline["general_questions_adapted"]
        said.append(f"general questions: {before:.3f} -> {after:.3f}")
    return said
