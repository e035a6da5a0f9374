"""The measurement of growth: its exponents, and README's table, which is made from its results."""

import importlib.util

import pytest

from trait_lib import ROOT
from trait_lib.repo.numbers import refresh

SPEC = importlib.util.spec_from_file_location("bench_growth", ROOT / "tests/bench/growth.py")
growth = importlib.util.module_from_spec(SPEC)


@pytest.fixture(autouse=True, scope="module")
def _loaded():
    import sys

    before = list(sys.path)
    SPEC.loader.exec_module(growth)
    sys.path[:] = before


def row(what, size, seconds, memory=100):
    return {"what": what, "unit": "tokens", "size": size, "seconds": seconds, "memory_mb": memory}


def test_exponents_of_known_laws():
    sizes = [10, 40, 160]
    for power in (0, 0.5, 1, 2):
        assert growth.exponent(sizes, [3 * n**power for n in sizes]) == pytest.approx(power)


def test_the_table_shows_every_kind_with_its_exponents():
    rows = [row("a", n, n / 10) for n in (1000, 4000, 16000)]
    rows += [row("b", n, n**2 / 1e6, n) for n in (10, 40, 160)]
    found = {"rows": rows, "exponents": growth.exponents(rows), "command": "make bench-growth"}
    lines = refresh.growth_table({**found, "cores": 2, "date": "2026-01-01"}).splitlines()
    assert lines[2] == (
        "| a | 1,000 tokens: 100.0 s, 100 MB | 4,000 tokens: 400.0 s, 100 MB "
        "| 16,000 tokens: 1600.0 s, 100 MB | 1.00 | 0.00 |"
    )
    assert lines[3].endswith("| 2.00 | 1.00 |")
    assert lines[-1].startswith("`make bench-growth` on 2 CPU cores, 2026-01-01.")
