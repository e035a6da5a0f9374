"""What the tiers ask of the Hub, against the recorded cards; no network."""

import re
from dataclasses import replace

import pytest

from trait_lib.repo import hub_cards

NEEDS = hub_cards.needs()
CARDS = hub_cards.recorded()


def test_every_data_set_that_a_tier_names_has_its_configuration_split_and_columns():
    assert len(NEEDS) >= 40
    assert hub_cards.problems(NEEDS, CARDS) == []


def test_every_card_says_when_and_from_where_and_is_asked_for():
    assert {need.name for need in NEEDS} == set(CARDS)
    for name, card in CARDS.items():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", str(card["recorded"])), name
        assert len(card["from"]) > 5 and card["gated"] in (False, "auto", "manual"), name


def test_conditions_ids_and_groups_count_as_columns():
    asked = {}
    for need in NEEDS:
        asked.setdefault((need.name, need.split), set()).update(need.columns)
    wanted = {"product_description", "product_id", "product_locale", "small_version", "esci_label"}
    assert wanted <= asked["tasksource/esci", "train"]
    assert {"text", "url"} <= asked["HuggingFaceFW/fineweb", "train"]
    assert "letter" not in asked["cais/mmlu", "test"]  # made from the column `answer`


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "nobody/knows"}, "nobody/knows is not recorded; make check-hub"),
        ({"config": "mian"}, "has no configuration 'mian', but main"),
        ({"split": "dev"}, "has no split 'dev', but train, test"),
        ({"columns": frozenset({"query"})}, "has no column query, but question, answer"),
    ],
)
def test_what_a_data_set_lacks_is_named_with_the_file_that_asks(change, words):
    one = next(need for need in NEEDS if need.name == "openai/gsm8k")
    (line,) = hub_cards.problems([replace(one, **change)], CARDS)
    assert line.startswith("params/math/tasks/gsm8k.yaml: ") and words in line
