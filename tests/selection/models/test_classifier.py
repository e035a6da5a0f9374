import ctypes

import numpy as np
import pytest

from trait_lib import records
from trait_lib.selection.models import classifier, lines
from trait_lib.selection.models.fit import TrainingFailed

SETTINGS = {"dim": 8, "lr": 0.5, "epoch": 20, "wordNgrams": 2, "minCount": 1, "bucket": 2000}


@pytest.fixture(scope="module")
def model(sums, tales):
    return classifier.train(sums[:40], tales[:40], SETTINGS, seed=1)


def write(path, texts):
    records.write_rows(path, ({"id": str(i), "text": t} for i, t in enumerate(texts)))
    return path


def test_it_tells_unseen_documents_of_two_kinds_apart(model, sums, tales):
    found = classifier.validate(model, sums[40:], tales[40:])
    assert found["accuracy"] == 1.0
    assert found["auc"] == 1.0
    assert (found["positives"], found["negatives"]) == (20, 20)


def test_probabilities_stay_between_0_and_1_where_fasttext_exceeds_them(sums, tales):
    eager = classifier.train(sums, tales, SETTINGS | {"lr": 1.0, "epoch": 1500}, seed=1)
    reported = eager.predict([lines.to_line(text) for text in sums], k=1)[1]
    assert np.max(reported) > 1.0  # the trap: fastText adds 1e-5
    values = classifier.probability(classifier.log_odds(eager, [*sums, *tales, "", "zzz"]))
    assert ((values >= 0) & (values <= 1)).all()


def test_log_odds_are_the_mean_of_one_number_per_word_and_ngram(model):
    text = "rule count king add unknown"
    output = dict(zip(model.labels, model.get_output_matrix(), strict=True))
    direction = output[lines.IN_DOMAIN] - output[lines.GENERAL]
    # for one line fastText averages words, n-grams and the end mark into one vector
    rows, _ = model.get_line(text)
    assert rows == ["rule", "count", "king", "add", "unknown", "</s>"]
    mean = model.get_sentence_vector(text)
    expected = float(mean @ direction)
    assert classifier.log_odds(model, [text])[0] == pytest.approx(expected, abs=2e-3)


def test_scores_do_not_depend_on_the_batch(model, sums, tales, monkeypatch):
    texts = [*sums[:7], *tales[:6]]
    whole = classifier.log_odds(model, texts)
    monkeypatch.setattr(classifier, "BATCH", 4)
    np.testing.assert_array_equal(classifier.log_odds(model, texts), whole)
    assert classifier.log_odds(model, []).shape == (0,)


def test_the_heaviest_words_are_those_of_each_side(model):
    towards, away = classifier.heaviest_words(model, 5)
    assert {word for word, _ in towards} <= set("sum add number equals times rule count".split())
    assert {word for word, _ in away} <= set("fox river night king bread song road . </s>".split())
    assert towards[0][1] > 0 > away[0][1]


def test_the_same_seed_gives_the_same_bytes_whatever_the_memory_held(sums, tales, tmp_path):
    """With one thread fastText leaves nine tenths of its input matrix as memory happens to be."""
    files = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for file in files:
        litter = [ctypes.create_string_buffer(b"\xff" * 50_000) for _ in range(200)]
        del litter
        classifier.save(classifier.train(sums[:20], tales[:20], SETTINGS, seed=3), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    other = classifier.train(sums[:20], tales[:20], SETTINGS, seed=4)
    classifier.save(other, tmp_path / "c.bin")
    assert files[0].read_bytes() != (tmp_path / "c.bin").read_bytes()


def test_a_training_that_diverges_says_what_to_change(sums, tales):
    with pytest.raises(TrainingFailed, match=r"NaN.*Lower the learning rate"):
        classifier.train(sums, tales, SETTINGS | {"lr": 1e9}, seed=0)


def test_a_vocabulary_without_words_is_refused(sums, tales):
    with pytest.raises(TrainingFailed, match="no word occurs 100000 times"):
        classifier.train(sums, tales, SETTINGS | {"minCount": 100_000}, seed=0)


# --- examples ---------------------------------------------------------------------------------


def test_the_seed_corpus_is_divided_without_loss_or_overlap():
    train, held = classifier.split([str(i) for i in range(50)], 0.8, 1000, seed=5)
    assert len(train) == 40
    assert sorted([*train, *held], key=int) == [str(i) for i in range(50)]
    assert classifier.split([str(i) for i in range(50)], 0.8, 1000, seed=5) == (train, held)


def test_no_more_positives_than_the_maximum_and_one_document_is_always_held_out():
    assert len(classifier.split(list("abcdefgh"), 0.8, 3, seed=0)[0]) == 3
    assert len(classifier.split(list("ab"), 0.99, 100, seed=0)[1]) == 1
    with pytest.raises(classifier.EmptyCorpus, match="2 documents or more, it has 1"):
        classifier.split(["only"], 0.8, 100, seed=0)
