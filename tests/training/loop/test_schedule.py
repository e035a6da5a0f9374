import math

import pytest

from trait_lib.training.loop import schedule

WSD = {
    "schedule": "wsd",
    "schedule_scope": "run",
    "warmup_share": 0.03,
    "decay_share": 0.1,
    "final_lr_share": 0.1,
    "learning_rate": 2e-5,
}
STAGES = [
    {"name": "stage 1", "first_step": 0, "steps": 60},
    {"name": "stage 2", "first_step": 60, "steps": 40},
]


def test_wsd_has_the_values_of_the_formula():
    rates = schedule.rates(STAGES, WSD)
    assert len(rates) == 100
    assert rates[:4] == pytest.approx([2e-5 / 3, 4e-5 / 3, 2e-5, 2e-5])
    assert rates[89] == 2e-5
    # the decay is exponential: each of its ten steps divides by the tenth root of ten
    assert rates[90] == pytest.approx(2e-5 * 10**-0.1)
    assert rates[94] == pytest.approx(2e-5 * 10**-0.5)
    assert rates[99] == pytest.approx(2e-6)


def test_one_schedule_per_stage_starts_again():
    rates = schedule.rates(STAGES, {**WSD, "schedule_scope": "stage"})
    assert rates[59] == pytest.approx(2e-6)  # the end of stage 1
    assert rates[60] == pytest.approx(2e-5)  # one warm-up step of forty
    assert rates[99] == pytest.approx(2e-6)
    assert rates[57] < 2e-5 < rates[57] * 10


def test_cosine_rises_and_falls_to_its_floor():
    rates = schedule.rates(STAGES, {**WSD, "schedule": "cosine", "final_lr_share": 0.0})
    assert rates[:3] == pytest.approx([2e-5 / 3, 4e-5 / 3, 2e-5])
    assert rates[99] == pytest.approx(0.0, abs=1e-15)
    middle = 2e-5 * 0.5 * (1 + math.cos(math.pi * 48 / 97))
    assert rates[50] == pytest.approx(middle)


def test_no_warmup_and_no_decay_is_constant():
    flat = {**WSD, "warmup_share": 0.0, "decay_share": 0.0}
    assert set(schedule.rates(STAGES, flat)) == {2e-5}


def test_a_phase_of_a_short_run_has_at_least_one_step():
    short = [{"name": "a", "first_step": 0, "steps": 5}]
    assert schedule.rates(short, WSD) == pytest.approx([2e-5, 2e-5, 2e-5, 2e-5, 2e-6])
