"""The regression scores as scikit-learn does, in any layout of the texts and any script."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from trait_lib.selection.models import lines, regression

ODD = [
    "İstanbul ΣΑΣ sum",
    "__label__in </s> sum fox",
    "été 数学 😀",
    "sum",
    "",
    " \n\x00",
    "unknown",
]


def learned(yes, no, form="words"):
    counted = regression.counts([*yes, *no], form)
    weigher = TfidfTransformer(sublinear_tf=True).fit(counted)
    features = weigher.transform(counted)
    model = regression.fit(features[: len(yes)], features[len(yes) :])
    return regression.as_numbers(model, weigher.idf_)


def scikit(vectorizer, yes, no):
    """The same by scikit-learn alone: lines, word pairs, TF-IDF, logistic regression."""
    weights = np.r_[np.full(len(yes), 1 / len(yes)), np.full(len(no), 1 / len(no))]
    weights *= (len(yes) + len(no)) / 2
    steps = vectorizer, TfidfTransformer(sublinear_tf=True), LogisticRegression()
    truth = np.arange(len(weights)) < len(yes)
    return make_pipeline(*steps).fit([*yes, *no], truth, logisticregression__sample_weight=weights)


@pytest.mark.parametrize("form", ["words", "raw"])
def test_every_document_gets_scikit_learns_own_score(sums, tales, form, monkeypatch):
    monkeypatch.setattr(regression, "BUCKETS", 2**19)  # of 140 grams two share one of 2**18
    yes, no = [*sums[:30], ODD[0]], [*tales[:40], ODD[2]]
    words = {"ngram_range": (1, 2), "tokenizer": str.split, "token_pattern": None}
    words["preprocessor"] = lambda text: lines.to_line(text, form)
    ours = learned(yes, no, form)
    # of a word that training did not see a vocabulary knows nothing: its documents are left out
    for vectorizer, texts in (
        (CountVectorizer(lowercase=False, **words), [*yes, *no]),
        (
            HashingVectorizer(lowercase=False, alternate_sign=False, norm=None, **words),
            [*yes, *no, *sums[30:50], *tales[40:60], *ODD[:1], *ODD[2:4]],
        ),
    ):
        expected = scikit(vectorizer, yes, no).decision_function(texts)
        found = regression.log_odds(ours, pa.array(texts), form)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_counts_are_those_of_words_and_pairs():
    found = regression.counts(["a b a b", "A, b", ""])
    assert found.sum(axis=1).ravel().tolist()[0] == [7, 5, 0]
    assert sorted(found[0].data) == [1, 2, 2, 2]  # b a; a, b, a b


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_any_layout_of_the_strings_gives_the_same(sums, tales, kind):
    model = learned(sums[:30], tales[:30])
    alone = [regression.log_odds(model, pa.array([text]))[0] for text in ODD]
    found = regression.log_odds(model, pa.array(["x", None, *ODD], kind)[1:])
    np.testing.assert_array_equal(found[1:], alone)
    assert found[0] == model.intercept[0] == alone[4]


def test_a_line_that_python_writes_counts_like_the_kernels():
    texts = ["ΣΑΣ fox", "sum fox", "İ"]
    written = [lines.to_line(text) for text in texts]
    assert (regression.counts(texts) != regression.counts(written, "plain")).nnz == 0


def test_a_published_model_is_named_by_its_content_and_scores_the_same(sums, tales, tmp_path):
    model = learned(sums[:30], tales[:30])
    maker = regression.publish(model, tmp_path, "words", "log_odds_regression")
    assert regression.publish(model, tmp_path, "words", "log_odds_regression") == maker
    texts = pa.array(["sum add", "fox river"])
    columns = regression.scorer(**maker["settings"])(texts)
    np.testing.assert_array_equal(columns["log_odds_regression"], regression.log_odds(model, texts))
