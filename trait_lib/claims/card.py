"""The claims card: what the paper reports of each claim, what was found here, and where from.

`figures/claims/card.json` is made from the results beside it (`make refresh`), so that README and
the first page of a run show the same without reading them again. Not stated in the paper.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trait_lib import ROOT, records
from trait_lib.claims import report, results, verdicts
from trait_lib.claims.claims import CLAIMS, NEW_DOMAIN, PAPER

Row = dict[str, Any]
FILE, COMMITS = results.COMMITTED / "card.json", results.COMMITTED / "commits.csv"
FILES = {"numbers": "figures/claims/results.csv", "parameters": "params/claims.yaml",
         "notebook": "notebooks/05_claims.ipynb"}  # fmt: skip
DOMAINS = ("math", "ads")
# where notebook 05 shows a claim: its heading, and the figure there
PLACES = {4: ("Where the gain comes from", "knowledge"), 8: ("What was forgotten", "forgetting"),
          6: ("Two stages or one, by learning rate", "rates")}  # fmt: skip
PLACE = ("The claims", "forest")


def made(rows: Sequence[Row], commits: Mapping[str, str] | None = None) -> Row:
    """The card of some results.

    Args:
        rows: as `results.read` gives them.
        commits: of the code that made them, by the hash in `manifest`.

    Returns:
        `about` (which seeds), `files`, `commits`, and `lines`, one a claim and domain, or one for
        all domains that have not run: number and words of the claim, its place in notebook 05, the
        paper's number, each comparison found, the verdict and why.
    """
    table = report.claims_table(report.scores(rows))
    told = verdicts.by_claim(table)
    final = bool(report.confirmation(rows))
    seeds = report.confirmation(rows) or sorted({row["seed"] for row in rows})
    if not rows:
        about = "No results are committed yet: `make claims`, then `make claims-commit`."
    elif final:
        about = f"Of the confirmation seeds {', '.join(map(str, seeds))}."
    else:
        about = (
            f"Of the development seeds {', '.join(map(str, seeds))} only: settings were chosen on "
            "them, so no verdict is final."
        )
    known = {(commits or {}).get(row["manifest"], "not recorded") for row in rows}
    more = sorted({row["domain"] for row in table} - set(DOMAINS))
    lines = []
    for number, words in CLAIMS.items():
        heading, figure = PLACES.get(number, PLACE)
        domains = [NEW_DOMAIN] if number == 9 else [*DOMAINS, *more]
        shown = _together([_line(number, domain, table, told, final) for domain in domains])
        shared = {"number": number, "heading": heading, "figure": f"figures/05_{figure}.png"}
        lines += [{**shared, "claim": "" if place else words, **line}
                  for place, line in enumerate(shown)]  # fmt: skip
    return {"about": about, "files": FILES, "commits": sorted(known), "lines": lines}


def _line(number: int, domain: str, table: Sequence[Row], told: Mapping, final: bool) -> Row:
    of_claim = (1, 2) if number == 9 else (number,)
    rows = [row for row in table if row["domain"] == domain and row["claim"] in of_claim]
    verdict = told.get((number, domain), verdicts.UNTOLD)
    deciding = [row for row in rows if row["verdict"] == verdict]
    why = "; ".join(f"{row['comparison']}: {row['why']}" for row in deciding) or "not run"
    said = verdict + (" here" if verdict == verdicts.UNTOLD else "")
    return {
        "domain": domain,
        "paper": PAPER.get((number, domain), "no number found"),
        "here": [_here(row) for row in rows],
        "verdict": said if final or not rows else f"{said} (development seeds)",
        "why": why,
    }


def _here(row: Mapping[str, Any]) -> str:
    """A comparison in points: mean over seeds, and its interval."""
    mean = f"{row['comparison']} {100 * row['difference']:+.1f}"
    if row["low"] is None:
        return f"{mean} ({row['seeds']} seed{'s' if row['seeds'] > 1 else ''})"
    return f"{mean} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] ({row['seeds']} seeds)"


def _together(lines: Sequence[Row]) -> list[Row]:
    """Domains of which nothing was found in one line."""
    run = [line for line in lines if line["here"]]
    rest = [line for line in lines if not line["here"]]
    if not rest:
        return run
    papers = {line["paper"] for line in rest}
    paper = papers.pop() if len(papers) == 1 else ", ".join(
        f"{line['domain']} {line['paper']}" for line in rest
    )  # fmt: skip
    return [*run, {**rest[0], "domain": ", ".join(x["domain"] for x in rest), "paper": paper}]


def markdown(card: Mapping[str, Any]) -> str:
    """The card as README shows it."""
    rows = ["| claim | domain | the paper reports | here, in points [95 % interval] | verdict |",
            "|---|---|---|---|---|"]  # fmt: skip
    for line in card["lines"]:
        words = f"{line['number']} {line['claim']}".strip()
        here = "<br>".join(line["here"]) or "not run"
        verdict = f"**{line['verdict']}**: {line['why']}" if line["here"] else line["verdict"]
        rows.append(f"| {words} | {line['domain']} | {line['paper']} | {here} | {verdict} |")
    drawn = dict.fromkeys(x["figure"] for x in card["lines"] if (ROOT / x["figure"]).exists())
    links = card["files"] | {f"figure {Path(name).stem[3:]}": name for name in drawn}
    said = ", ".join(f"[{name}]({place})" for name, place in links.items())
    commits = (
        f"; commit {', '.join(one[:12] for one in card['commits'])}" if card["commits"] else ""
    )
    return "\n".join([card["about"], "", *rows, "", f"From: {said}{commits}."])


# --- files ------------------------------------------------------------------------------------


def note_commits(cells: Iterable[Mapping[str, Any]], rows: Sequence[Row], file: Path) -> None:
    """Keep by which commit each cell of the results was made, beside what is known already."""
    known = read_commits(file) | {one["manifest"]: one["git"] for one in cells}
    named = sorted({row["manifest"] for row in rows} & known.keys())
    with records.atomic_path(file) as temporary:
        lines = ["manifest,commit", *(f"{name},{known[name]}" for name in named)]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_commits(file: Path = COMMITS) -> dict[str, str]:
    """The commit of each cell; none where there is no file."""
    if not file.exists():
        return {}
    with open(file, encoding="utf-8", newline="") as handle:
        return {row["manifest"]: row["commit"] for row in csv.DictReader(handle)}


def of_committed(folder: Path = results.COMMITTED) -> Row:
    """The card of the committed results."""
    return made(results.read(folder / "results.csv"), read_commits(folder / COMMITS.name))
