"""The claims card from no results, from development seeds, and from confirmation seeds."""

import html.parser
import json

import pytest

from trait_lib import ROOT
from trait_lib.claims import card, results, settings
from trait_lib.claims.claims import GENERAL, MEAN
from trait_lib.repo import pages

KNOWN = settings.read(ROOT / "params")
ARMS = {"base": 0.1, "random": 0.2, "dsir": 0.3, "trait": 0.6}


def made_up(seeds, domain="math", arms=ARMS, spread=0.01):
    """Rows of some arms: a level each, with a spread over seeds that differs by arm."""
    return [
        {"domain": domain, "seed": seed, "arm": arm, "rate": settings.rate_of(arm, KNOWN),
         "task": task, "metric": "accuracy", "value": level + spread * ((seed * (n + 2)) % 5),
         "n": 9, "manifest": f"{domain}{arm}{seed}"}
        for seed in seeds for n, (arm, level) in enumerate(arms.items())
        for task, level in ((MEAN, level), (GENERAL, 0.9))
    ]  # fmt: skip


def line(made, number, domain="math"):
    return next(x for x in made["lines"] if x["number"] == number and domain in x["domain"])


def test_without_results_each_claim_has_the_papers_number_and_has_not_run():
    made = card.made([])
    assert "No results are committed yet" in made["about"]
    assert [x["number"] for x in made["lines"]] == list(range(1, 10))
    assert all(x["here"] == [] and x["why"] == "not run" for x in made["lines"])
    assert line(made, 1)["paper"] == "math +7.5 points (P), ads +8.0 points (P)"
    assert "| 9 it carries over to a new domain | law |" in card.markdown(made)


def test_development_seeds_are_named_as_such_in_every_verdict():
    made = card.made(made_up(range(3)))
    assert (
        "development seeds 0, 1, 2 only" in made["about"] and "no verdict is final" in made["about"]
    )
    assert line(made, 1)["verdict"] == "holds (development seeds)"
    assert line(made, 1, "ads")["why"] == "not run"
    (own,) = [x for x in made["lines"] if x["number"] == 1 and x["domain"] == "math"]
    assert own["here"][0].startswith("over base +48.0 [") and own["here"][0].endswith("(3 seeds)")


def test_confirmation_seeds_decide_and_the_reason_is_told():
    rows = made_up((0, 1, 2), arms={**ARMS, "trait": 0.05}) + made_up(range(10, 15))
    made = card.made(rows, {"mathtrait10": "c" * 40})
    assert made["about"] == "Of the confirmation seeds 10, 11, 12, 13, 14."
    assert line(made, 1)["verdict"] == "holds" and "interval above 0" in line(made, 1)["why"]
    assert len(line(made, 2)["here"]) == 2
    assert "over DSIR: interval above 0" in line(made, 2)["why"]
    assert "interval above -5" in line(made, 8)["why"]
    assert made["commits"] == ["c" * 40, "not recorded"]
    few = card.made(made_up((10, 11)))
    assert line(few, 1)["verdict"] == "cannot be told here"
    assert "2 of at least 3 seeds" in line(few, 1)["why"]
    wide = card.made(made_up(range(10, 14), arms={**ARMS, "dsir": 0.6}, spread=0.2))
    assert line(wide, 2)["verdict"] == "cannot be told here"
    assert "over DSIR: interval holds 0 and " in line(wide, 2)["why"]


def test_the_commit_of_each_cell_is_kept_beside_the_results(tmp_path):
    rows, file = made_up((10,)), tmp_path / "commits.csv"
    card.note_commits([{"manifest": "mathtrait10", "git": "a"}, {"manifest": "old", "git": "b"}],
                      rows, file)  # fmt: skip
    card.note_commits([{"manifest": "mathbase10", "git": "c"}], rows, file)
    assert card.read_commits(file) == {"mathtrait10": "a", "mathbase10": "c"}
    results.write(tmp_path / "results.csv", rows)
    assert card.of_committed(tmp_path)["commits"] == ["a", "c", "not recorded"]


class Links(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [dict(attrs)["href"]] if tag == "a" else []


def test_the_first_page_of_a_run_shows_the_card_with_links_that_lead_somewhere(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    monkeypatch.setattr(pages, "CARD", tmp_path / "card.json")
    pages.CARD.write_text(json.dumps(card.made(made_up(range(10, 15)))))
    values = {"domain": "math", "tier": "smoke", "seed": 0}
    page = pages.write_index(values)
    text = page.read_text()
    assert "over base +48.0 [" in text and "<strong>holds</strong>" in text
    assert text.index("claims</h2>") < text.index("What has run here")
    links = [one for one in Links(text).found if "figures" in one or "params" in one]
    assert links and all((page.parent / one).resolve().exists() for one in links)
    pages.CARD.unlink()
    assert "claims</h2>" not in pages.write_index(values).read_text()


@pytest.mark.parametrize("place", [card.PLACE, *card.PLACES.values()])
def test_notebook_05_has_the_heading_and_the_figure_that_the_card_names(place):
    heading, figure = place
    text = (pages.ROOT / card.FILES["notebook"]).read_text(encoding="utf-8")
    assert f'"## {heading}' in text and f'stage, \\"{figure}\\"' in text
