"""Two kinds of small documents that any classifier can tell apart."""

import random

import pytest
from hypothesis import settings

# on a shared machine the first example can take long; the number of examples bounds the time
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

SUMS = "sum add number equals times rule count".split()
TALES = "fox river night king bread song road".split()


def documents(words, number, seed):
    draw = random.Random(f"{seed}{words[0]}")
    return [" ".join(draw.choices(words, k=12)) + "." for _ in range(number)]


@pytest.fixture(scope="session")
def sums():
    return documents(SUMS, 60, 1)


@pytest.fixture(scope="session")
def tales():
    return documents(TALES, 60, 2)
