"""Figures of a training: they plot what their data says, and their words carry the values."""

import pytest

from trait_lib import show
from trait_lib.training import charts

STAGES = [
    {"name": "stage 1", "first_step": 0, "steps": 10},
    {"name": "stage 2", "first_step": 10, "steps": 10},
]


@pytest.fixture(autouse=True)
def closed():
    yield
    show.plt.close("all")


def measured(**texts):
    """Measurements at the steps 0, 5, ..., 20."""
    steps = range(0, 25, 5)
    return [
        {"step": step, "heldout": {name: {"bits_per_byte": v[i]} for name, v in texts.items()}}
        for i, step in enumerate(steps)
    ]


def test_the_held_out_figure_says_what_the_last_stage_undoes():
    lines = measured(domain=[2.0, 1.4, 1.0, 1.6, 1.5], general=[1.0, 1.0, 1.1, 1.0, 0.9])
    fig, rows, alt = charts.heldout(lines, STAGES)
    domain, general = [axis.get_title(loc="left") for axis in fig.axes]
    assert domain.splitlines() == [
        "domain",
        "stage 1: -50.0 %",
        "stage 2: +50.0 %",
        "of its gain undone: 50%",
    ]
    assert "undone" not in general  # nothing was gained that could be lost
    assert rows[2] == {"step": 10, "domain": 1.0, "general": 1.1}
    assert "domain 2.000 to 1.000 to 1.500, 50% of the gain undone" in alt
    assert "general 1.000 to 1.100 to 0.900." in alt


def test_a_training_of_one_stage_undoes_nothing():
    lines = measured(domain=[2.0, 1.4, 1.0, 1.6, 1.5])
    fig, _, alt = charts.heldout(lines, [{"name": "stage 1", "first_step": 0, "steps": 20}])
    assert "undone" not in fig.axes[0].get_title(loc="left") + alt
    assert "domain 2.000 to 1.500." in alt


def test_sources_keep_their_colours_from_figure_to_figure():
    log = [
        {"step": 1, "loss": 1.5, "loss_by_source": {"selected": 1.0, "replay": 2.0}},
        {"step": 2, "loss": 1.2, "loss_by_source": {"passages": 0.5, "replay": 1.5}},
    ]
    fig, rows, alt = charts.loss(log, STAGES)
    drawn = {line.get_label(): line.get_color() for line in fig.axes[0].get_lines()}
    assert rows[1] == {"step": 2, "all": 1.2, "passages": 0.5, "replay": 1.5}
    assert "selected 1.00 to 1.00, replay 2.00 to 1.50, passages 0.50 to 0.50" in alt
    sources = [{"name": "selected", "weight": 0.25}, {"name": "replay", "weight": 0.75}]
    fig, rows, alt = charts.mixture([{"name": "stage 1", "tokens": 4000, "sources": sources}])
    bars = [show.mpl.colors.to_hex(bar.get_facecolor()).upper() for bar in fig.axes[0].patches]
    assert bars == [drawn["selected"], drawn["replay"]] == [show.BLUE, show.BLACK]
    assert "stage 1: selected 1,000; stage 1: replay 3,000" in alt


def test_the_schedule_says_where_it_rises_and_falls():
    settings = {
        "schedule": "wsd",
        "schedule_scope": "run",
        "learning_rate": 0.01,
        "warmup_share": 0.1,
        "decay_share": 0.1,
        "final_lr_share": 0.1,
    }
    fig, rows, alt = charts.learning_rate(STAGES, settings)
    assert len(rows) == 20
    assert "20 steps, one over the run: it rises to 0.01 at step 2" in alt
    assert "until step 18 and ends at 0.001" in alt
    assert [text.get_text().split("\n")[0] for text in fig.axes[0].texts[:2]] == [
        "one for each stage",
        "one over the run",
    ]
