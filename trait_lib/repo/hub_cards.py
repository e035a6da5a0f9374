"""The data sets of the Hub that the tiers name, checked against what is recorded of them.

`python -m trait_lib.repo.hub_cards` (make check-hub) asks the Hub itself whether each still has the
configuration, the split and the columns that the files of parameters and the task files use;
`--record` writes what it says into the recorded cards, which a test compares without a network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from trait_lib import ROOT, hub, params, records, run
from trait_lib.corpora import tasks
from trait_lib.form import fields
from trait_lib.reading.where import parse

CARDS = ROOT / "tests" / "recorded" / "hub_cards.yaml"
GROUP = "group_field"
DEFAULT = "default"  # the configuration of an address that names none
Card = Mapping[str, Any]


@dataclass(frozen=True)
class Need:
    """What a file asks of a data set: a configuration ("" for the default one), split, columns."""

    file: str
    name: str
    config: str
    split: str
    columns: frozenset[str]


def needs() -> list[Need]:
    """All that the files of all tiers and tasks ask of the Hub."""
    found: list[Need] = []
    for folder in params.folders():
        for file in sorted(folder.glob("*/*/0[01]_*.yaml")):
            found += _of_tier(file)
    for domain in dict.fromkeys(f.parents[1].name for f in _task_files()):
        for file in tasks.task_files(domain):
            found += _of_task(file, domain)
    return list(dict.fromkeys(found))


def _task_files() -> Iterator[Path]:
    for folder in params.folders():
        yield from sorted(folder.glob("*/tasks/*.yaml"))


def _of_tier(file: Path) -> Iterator[Need]:
    known = {name: one.default for name, one in params.declared(file.stem).items()}
    asked = known | params.read_file(file)
    for key in (name for name in known if name.endswith("_files")):
        corpus = key.removesuffix("_files")
        columns = {asked.get(f"{corpus}_text_field") or asked["text_field"]}
        columns |= {c.field for c in parse(asked.get(f"{corpus}_where", []))}
        if own := asked.get(f"{corpus}_id_field"):
            columns.add(own)
        if corpus == "pool" and known[GROUP] != asked[GROUP]:  # a default need not be there
            columns.add(asked[GROUP])
        yield from _asked(file, asked[key], columns)


def _of_task(file: Path, domain: str) -> Iterator[Need]:
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in [str(file), *([f"{file}{tasks.HUB}"] if "hub" in given else [])]:
        task = tasks.load_task(name, domain)
        if "world" in task.settings:
            continue
        made = task.settings.get("fields", {})
        columns = {rule["from"] for rule in made.values()}
        texts = [*task.templates.values(), *task.settings.get("entities", [])]
        columns |= {field for text in texts for field in fields(text)}
        if options := task.settings.get("options"):
            columns.add(options)
        for split in tasks.SPLITS:
            where = {c.field for c in parse(task.settings.get("where", {}).get(split, []))}
            yield from _asked(file, task.sources(split), (columns | where) - set(made))


def _asked(file: Path, sources: Sequence[str], columns: set[str]) -> Iterator[Need]:
    for source in sources:
        if source.startswith(hub.PREFIX):
            name, options = hub.parse(source)
            split = options["split"].partition("[")[0]
            shown = run.show(file)
            yield Need(shown, name, options.get("name", ""), split, frozenset(columns))


def problems(wanted: Sequence[Need], cards: Mapping[str, Card]) -> list[str]:
    """What data sets lack of what is asked of them, a line each."""
    found = []
    for need in wanted:
        config = need.config or DEFAULT
        card = cards.get(need.name)
        if card is None:
            found.append(f"{need.file}: {need.name} is not recorded; make check-hub HUB=--record")
        elif config not in card["configurations"]:
            known = ", ".join(card["configurations"])
            found.append(f"{need.file}: {need.name} has no configuration {config!r}, but {known}")
        elif need.split not in card["configurations"][config]:
            known = ", ".join(card["configurations"][config])
            found.append(f"{need.file}: {need.name} has no split {need.split!r}, but {known}")
        elif lost := sorted(need.columns - set(card["columns"])):
            known = ", ".join(card["columns"])
            found.append(f"{need.file}: {need.name} has no column {', '.join(lost)}, but {known}")
    return list(dict.fromkeys(found))


def recorded() -> dict[str, Card]:
    """The recorded cards, by the name of the data set."""
    return yaml.safe_load(CARDS.read_text(encoding="utf-8"))


def live(name: str, configs: Sequence[str]) -> Card:
    """What the Hub says of a data set now; only of the configurations named ("" for the default).

    Raises:
        hub.HubError: no network, a renamed, gated or missing data set; says what to do.
    """
    import datasets

    with hub.errors(f"{hub.PREFIX}{name}"):
        about = hub.about(name)
        if about.id != name:
            raise hub.HubError(f"{name} is called {about.id} now: write that name into its files")
        known = set(datasets.get_dataset_config_names(name))
        splits, columns = {}, {}
        for config in configs:
            if config and config not in known:
                continue
            named = [config] if config else []
            splits[config or DEFAULT] = datasets.get_dataset_split_names(name, *named)
            options = f"&name={config}" if config else ""
            source = f"{hub.PREFIX}{name}?split={splits[config or DEFAULT][0]}{options}"
            columns |= dict.fromkeys(hub.first_row(source))
    told = {"recorded": str(date.today()), "from": "the Hub itself", "commit": about.sha}
    return told | {"gated": about.gated, "configurations": splits, "columns": list(columns)}


def main() -> None:
    """Ask the Hub for all data sets; exit with an error when one lacks something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the cards that the test reads")
    given = parser.parse_args()
    wanted, cards, wrong = needs(), {}, []
    for name in dict.fromkeys(need.name for need in wanted):
        try:
            configs = dict.fromkeys(need.config for need in wanted if need.name == name)
            cards[name] = live(name, list(configs))
            lacks = problems([need for need in wanted if need.name == name], cards)
        except hub.HubError as error:
            lacks = [str(error)]
        wrong += lacks
        print(f"{name}: {'; '.join(lacks) or 'as the files say'}")
    if given.record:
        text = yaml.safe_dump({**recorded(), **cards}, sort_keys=True, width=100)
        with records.atomic_path(CARDS) as path:
            path.write_text(f"# Data sets of the Hub; make check-hub HUB=--record\n{text}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
