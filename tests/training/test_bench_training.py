"""The benchmark is run by `make bench-training`; here only that its parts fit together."""

import importlib.util

import pytest

from trait_lib import ROOT
from trait_lib.training.checks import preflight
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import engine


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench", ROOT / "tests/bench/training.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("words", ["", "--quick", "--gpu", "--gpu --tiny", "--gpu --isolate"])
def test_each_way_to_run_it_is_a_configuration(bench, monkeypatch, tmp_path, words):
    monkeypatch.setattr("sys.argv", ["training.py", *words.split()])
    config = settings.check(bench.configuration(bench.arguments(), tmp_path))
    assert engine.micro_batch_rows(config, 1) == config["micro_batch_rows"]
    assert config["stages"][0]["tokens"] > bench.SKIPPED * config["batch_tokens"]


def test_the_large_model_has_about_a_billion_parameters(bench):
    size = preflight.shape(preflight.model_config("", bench.LARGE))
    assert size.multiplying == pytest.approx(1.16e9, rel=0.01)


def test_a_ratio_above_one_is_faster_than_the_loop(bench):
    def run(seconds):
        return {
            "seconds": [9.0] * 5 + [seconds] * 8,
            "losses": [2.0] * 3,
            "startup": 1,
            "gib": 1,
            "cpu": seconds,
        }

    found = {"plain loop": run(0.5), "ours": run(0.4)}
    config = {"batch_tokens": 1000, "device_peak_tflops": 0.01}
    loop, ours = bench.rows_of(found, config, 2 * 10**6)
    assert (loop["ratio"], ours["ratio"]) == (1.0, 1.25)
    assert (loop["tokens_per_second"], ours["tokens_per_second"]) == (2000, 2500)
    assert (loop["cpu_ratio"], ours["cpu_ratio"]) == (1.0, 1.25)
    assert bench.cpu_of_a_step([(3.0, 1), (5.0, 5), (6.0, 9), (7.0, 15)]) == 0.2
    assert bench.cpu_of_a_step([(3.0, 1), (5.0, 5)]) is None
    assert (loop["mfu"], ours["mfu"]) == (0.4, 0.5)
