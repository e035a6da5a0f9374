"""Mining finds a subject in texts of another style than the seed's, and says what it did."""

import string

import numpy as np
import pytest

from trait_lib.selection.models import mining

TOPICS = 8
LETTERS = string.ascii_lowercase  # digits all count as 0


def document(draw, topic, style, length=40):
    """Words of a topic, words of a style, and words that all texts share."""
    kinds = draw.choice(3, size=length, p=[0.3, 0.4, 0.3])
    ranks = np.minimum(draw.zipf(1.3, size=length), 30)
    names = ("topic" + LETTERS[topic], "style" + LETTERS[style], "common")
    return " ".join(names[k] + LETTERS[rank % 26] * 2 for k, rank in zip(kinds, ranks, strict=True))


def corpus(draw, number, styles):
    topics = draw.integers(TOPICS, size=number)
    return [document(draw, t, draw.choice(styles)) for t in topics], topics


def share_of_topic(found, topics, topic=0):
    return float(np.mean(topics[found.rows] == topic))


def test_documents_of_the_seeds_subject_and_style_are_found():
    draw = np.random.default_rng(1)
    sample, topics = corpus(draw, 800, styles=[0, 1])
    seed = [document(draw, 0, 0) for _ in range(60)]
    wanted = int(np.sum(topics == 0))
    found = mining.mine(seed, sample, wanted, 0)
    assert not found.gap
    assert len(set(found.rows.tolist())) == wanted
    assert share_of_topic(found, topics) > 0.8
    assert found.rounds[-1] == wanted and found.rounds == sorted(found.rounds)


def test_the_subject_is_found_in_styles_that_the_seed_does_not_have():
    draw = np.random.default_rng(2)
    sample, topics = corpus(draw, 800, styles=[1, 2, 3])
    seed = [document(draw, 0, 0) for _ in range(60)]
    wanted = int(np.sum(topics == 0))
    found = mining.mine(seed, sample, wanted, 0)
    assert found.gap and found.alike < 6
    assert share_of_topic(found, topics) > 0.9


def test_the_same_input_gives_the_same_rows():
    draw = np.random.default_rng(3)
    sample, _ = corpus(draw, 300, styles=[0, 1])
    seed = [document(draw, 0, 0) for _ in range(30)]
    first, again = (mining.mine(seed, sample, 40, 5) for _ in range(2))
    assert np.array_equal(first.rows, again.rows) and first.alike == again.alike


def test_contrast_ignores_the_style_that_seed_and_neighbours_share():
    draw = np.random.default_rng(4)
    seed = mining.count_words([document(draw, 0, 0) for _ in range(60)], 1)
    others = mining.count_words([document(draw, 1 + i % 7, 0) for i in range(200)], 1)
    same_subject = mining.count_words([document(draw, 0, 3) for _ in range(50)], 1)
    same_style = mining.count_words([document(draw, 5, 0) for _ in range(50)], 1)
    subject = mining.contrast(seed, others, same_subject)
    style = mining.contrast(seed, others, same_style)
    assert subject.min() > style.max()


@pytest.mark.parametrize(
    ("seeds", "number", "advice"),
    [(5, 30, "5 seed documents"), (30, 5, "5 to be found"), (30, 80, "more than half")],
)
def test_too_little_to_search_with_is_an_error_that_says_so(seeds, number, advice):
    with pytest.raises(mining.TooFew, match=advice):
        mining.mine(["a b"] * seeds, ["c d"] * 100, number, 0)


def test_examples_are_balanced_and_leave_the_seed_out_after_a_gap():
    sample = [f"text {i}" for i in range(10)]
    rows = np.array([3, 1])
    with_seed = mining.Mined(rows, alike=2.0, gap=False, rounds=[2])
    positives, negatives = mining.examples(with_seed, ["seed"], sample)
    assert set(positives) == {"text 3", "text 1", "seed"}
    assert negatives == [f"text {i}" for i in range(10) if i not in (1, 3)]
    assert len(positives) == len(negatives)
    without = mining.Mined(rows, alike=0.0, gap=True, rounds=[2])
    assert set(mining.examples(without, ["seed"], sample)[0]) == {"text 3", "text 1"}


def test_digits_count_as_one_shape():
    same = mining.count_words(["costs 12 at 7.50"], 2) != mining.count_words(
        ["costs 95 at 1.25"], 2
    )
    assert same.nnz == 0
