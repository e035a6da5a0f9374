"""The whole bill of a run before anything is spent: `make plan`, and a section of notebook 00.

Not stated in the paper; ours because the price of a large tier must be seen first, and because a
plan that its own rejections would break must end before the teacher is paid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trait_lib import ROOT, params, run
from trait_lib.repo import chain, costs
from trait_lib.repo.costs import EVALUATION, PASSAGES, SELECTION, START, TRAINING, All, Item
from trait_lib.training import budget as budgets

COLUMNS = ("", "tokens", "hours", "disk GiB", "memory GiB", "money")
SCALED = ((SELECTION, "selection_tokens"), (PASSAGES, "passages"), (TRAINING, "tokens_stage1"),
          (TRAINING, "tokens_stage2"))  # fmt: skip


def values_of(
    domain: str, tier: str, folder: Path = ROOT / "params", **given: Any
) -> dict[str, Any]:
    """The parameters of all stages of a run, from its files, where it has some, and those given."""
    given = {"domain": domain, "tier": tier, "seed": 0, "arm": "trait", **given}
    values = {}
    for stage in run.STAGES:
        places = [top / domain / tier / f"{stage}.yaml" for top in (folder, params.SHIPPED)]
        file = next((place for place in places if place.exists()), None)
        values[stage] = chain.resolve(stage, file, given)
    return {**values, TRAINING: budgets.assumed(values[TRAINING])}


def items(values: All, assumptions: Mapping[str, Any]) -> dict[str, list[Item]]:
    """The lines of the bill, by stage: as its last dry run measured them, or as assumed."""
    values = {**values, TRAINING: budgets.assumed(values[TRAINING])}
    return {
        stage: costs.measured(stage, values[stage]) or make(values, assumptions, {})
        for stage, make in costs.ITEMS.items()
    }


def total(lines: Sequence[Item]) -> Item:
    """The sum; of the memory the largest."""
    sums = {name: sum(getattr(line, name) for line in lines)
            for name in ("tokens", "hours", "disk_gib", "money")}  # fmt: skip
    return Item("total", memory_gib=max(line.memory_gib for line in lines), **sums)


def of(stage: run.Stage, **measured: Any) -> str:
    """The lines of one stage for its notebook, with what it has measured; kept in a dry run.

    Raises:
        ParameterError: see `refuse`; asked before the passages are paid for.
    """
    values, folder = _values_around(stage)
    lines = costs.ITEMS[stage.name](values, costs.assumed(stage.params["tier"], folder), measured)
    if stage.params.get("dry_run"):
        costs.keep(stage, lines)
    elif stage.name == PASSAGES:
        refuse(values, folder)
    return table({stage.name: lines})


def tell(stage: run.Stage, **measured: Any) -> None:
    """Print the lines of a stage, in notebook 00 the whole bill; a dry run ends here."""
    if plan := measured.get("plan"):
        print(plan.text())
    print(of_run(stage) if stage.name == START else of(stage, **measured))
    if stage.params.get("dry_run"):
        run.stop_here("Dry run: this was the plan.")


def of_run(stage: run.Stage) -> str:
    """The bill of the run that a notebook belongs to, as `make plan` prints it, but shorter."""
    of(stage)
    return text(*_values_around(stage), whole=False)


def _values_around(stage: run.Stage) -> tuple[dict[str, Any], Path]:
    """The parameters of all stages, those of one as they are in its notebook, and their folder."""
    own, folder = stage.params, params.folders()[0]
    given = {name: own[name] for name in ("seed", "arm") if name in own}
    values = values_of(own["domain"], own["tier"], folder, **given) | {stage.name: own}
    return {**values, TRAINING: budgets.assumed(values[TRAINING])}, folder


# --- what cannot go well ----------------------------------------------------------------------


def epochs(values: All, assumptions: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """How often each source of the arm is read, and how many tokens it is expected to hold."""
    needed: dict[str, float] = {}
    for part in costs.stages_of(values)[1]:
        for source in part["sources"]:
            more = source["weight"] * part["tokens"]
            needed[source["name"]] = needed.get(source["name"], 0.0) + more
    held = costs.supply(values, assumptions)
    return {n: (tokens / max(1.0, held[n]), held[n]) for n, tokens in needed.items()}


def refusals(values: All, assumptions: Mapping[str, Any]) -> list[str]:
    """What would end the run after money was spent, each in a sentence that says what to change."""
    most = values[TRAINING]["max_epochs"]
    said = [
        f"{TRAINING}: source {name} would be read {often:.2f} times and max_epochs is {most:g}: "
        f"about {held:,.0f} tokens are expected of it and {often * held:,.0f} asked for; "
        f"{_way_out(name)}"
        for name, (often, held) in epochs(values, assumptions).items()
        if often > most
    ]
    for stage, name in ((SELECTION, "teacher_budget"), (PASSAGES, "budget"),
                        (EVALUATION, "judge_budget")):  # fmt: skip
        lines = costs.ITEMS[stage](values, assumptions, {})
        asked = [line for line in lines if " by " in line.what]
        money = sum(line.money for line in asked)
        if money > values[stage][name]:
            said.append(
                f"{stage}: about {money:.2f} for {asked[0].what}, and {name} is "
                f"{values[stage][name]:g}: raise it, or ask for less"
            )
    return said


def _way_out(source: str) -> str:
    if source.startswith("passages"):
        return "raise passages (02), or lower tokens_stage2"
    if source == "seed":
        return "lower seed_share, or give more seed text (00)"
    if source == "replay":
        return "give more general text (general_share or general_files of 00), or lower replay"
    return "raise selection_tokens or oversample (01), or lower tokens_stage1"


def refuse(values: All, folder: Path = ROOT / "params") -> None:
    """Stop a run that pays a teacher and that its plan says cannot go well.

    Raises:
        ParameterError: names each reason.
    """
    asked = values[PASSAGES]
    if asked.get("teacher") != "server" or asked["replay"]:
        return
    from trait_lib.teacher import prices

    price = prices.load_price(asked["model"], asked["price_file"], asked["base_url"])
    if not price.output:  # a server of one's own
        return
    if said := refusals(values, costs.assumed(values[START]["tier"], folder)):
        raise params.ParameterError("; ".join(said) + "; `make plan` shows the whole bill")


# --- what smaller budgets buy -----------------------------------------------------------------


def scaled(values: All, share: float) -> dict[str, Any]:
    """The same run with this share of its selection, passages and training tokens."""
    made = {stage: dict(one) for stage, one in values.items()}
    for stage, name in SCALED:
        made[stage][name] = max(1, round(share * made[stage][name]))
    return made


def share_for(values: All, assumptions: Mapping[str, Any], budget: float) -> float:
    """About the largest share of a run, at most all of it, that costs no more than the budget."""
    whole, half = (_money(scaled(values, share), assumptions) for share in (1.0, 0.5))
    if whole <= budget or whole == half:
        return 1.0
    share = max(0.0, 1 - (whole - budget) / (2 * (whole - half)))  # the bill grows in proportion
    while share and _money(scaled(values, share), assumptions) > budget:
        share = share * 0.995 if share > 0.001 else 0.0
    return share


def ladder(domain: str, folder: Path = ROOT / "params") -> list[dict[str, Any]]:
    """A row per budget: the largest tier that it buys a fair share of, and how much of it."""
    tiers = []
    for tier in ("small", "paper"):
        if any((top / domain / tier).is_dir() for top in (folder, params.SHIPPED)):
            values, assumptions = values_of(domain, tier, folder), costs.assumed(tier, folder)
            tiers.append((tier, values, assumptions, _money(values, assumptions)))
    rows = []
    for budget in [*(costs.assumed("paper", folder)["ladder"] if tiers else []), None]:
        for tier, values, assumptions, whole in reversed(tiers):
            given = whole if budget is None else budget
            share = share_for(values, assumptions, given)
            if share >= assumptions["ladder_least"] or tier == tiers[0][0]:
                rows.append(_rung(given, tier, scaled(values, share), assumptions, share))
                break
    return rows


def _money(values: All, assumptions: Mapping[str, Any]) -> float:
    return total([line for lines in items(values, assumptions).values() for line in lines]).money


def _rung(
    budget: float, tier: str, values: All, assumptions: Mapping[str, Any], share: float
) -> dict[str, Any]:
    whole = total([line for lines in items(values, assumptions).values() for line in lines])
    return {
        "budget": f"{budget:,.0f}",
        "buys of tier": f"{share:.0%} of {tier}",
        "base model": (values[TRAINING]["base_model"] or "own").rsplit("/", 1)[-1],
        "passages": f"{values[PASSAGES]['passages']:,}",
        "stage 1": short(values[TRAINING]["tokens_stage1"]),
        "stage 2": short(values[TRAINING]["tokens_stage2"]),
        "hours": f"{whole.hours:,.1f}",
        "money": f"{whole.money:,.2f}",
    }


# --- words ------------------------------------------------------------------------------------


def short(number: float) -> str:
    """5500000000 as 5.5B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}" if number else ""


def table(lines: Mapping[str, Sequence[Item]]) -> str:
    """The lines of some stages as aligned text, with their total."""
    from trait_lib.show import aligned

    rows = [(stage[:2], one) for stage, some in lines.items() for one in some]
    rows.append(("", total([one for _, one in rows])))
    shown = [
        (
            f"{stage} {one.what}".strip(),
            short(one.tokens),
            f"{one.hours:,.2f}",
            f"{one.disk_gib:,.1f}" if one.disk_gib else "",
            f"{one.memory_gib:,.1f}" if one.memory_gib else "",
            f"{one.money:,.2f}",
        )
        for stage, one in rows
    ]
    return aligned([COLUMNS, *shown])


def assumptions_text(assumptions: Mapping[str, Any]) -> str:
    """Every assumption with its value and its comment in the file."""
    lines = (ROOT / "params" / costs.FILE).read_text(encoding="utf-8").splitlines()
    comments = dict(re.findall(r"(?m)^(\w+):[^#\n]*#\s*(.*)$", "\n".join(lines)))
    rows = [f"  {n} = {v}  # {comments.get(n, '')}" for n, v in assumptions.items()
            if not isinstance(v, dict)]  # fmt: skip
    for name in ("sources", "problems"):
        rows += [f"  {name}: {key} = {value}" for key, value in assumptions[name].items()]
    return "\n".join(rows)


def text(values: All, folder: Path = ROOT / "params", whole: bool = True) -> str:
    """The bill for a reader; `whole` adds the list of all assumptions."""
    from trait_lib.show import aligned

    domain, tier = (values[START][name] for name in ("domain", "tier"))
    assumptions = costs.assumed(tier, folder)
    values = {**values, TRAINING: budgets.assumed(values[TRAINING])}
    lines = items(values, assumptions)
    used = [stage for stage in costs.ITEMS if costs.measured(stage, values[stage])]
    often = ", ".join(f"{n} {one:.2f}" for n, (one, _) in epochs(values, assumptions).items())
    rungs = ladder(domain, folder)
    word = "REFUSED" if values[PASSAGES]["teacher"] == "server" else "to watch"
    parts = [
        f"The bill of {domain}, tier {tier}, arm {values[TRAINING]['arm']}; nothing is spent yet. "
        "Hours on this tier's machine.",
        table(lines),
        f"measured by dry runs: {', '.join(used) or 'nothing'}; assumed: the rest",
        f"epochs: {often}; at most {values[TRAINING]['max_epochs']:g}",
        *(f"{word}: {said}" for said in refusals(values, assumptions)),
        "What a budget buys:\n" + aligned([tuple(rungs[0]), *(tuple(r.values()) for r in rungs)])
        if rungs
        else "",
    ]
    if whole:
        parts.append(f"Assumed, from params/{costs.FILE}:\n{assumptions_text(assumptions)}")
    else:
        parts.append(f"What is assumed stands in params/{costs.FILE}; `make plan` lists it.")
    return "\n\n".join(part for part in parts if part)
