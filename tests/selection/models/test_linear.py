import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trait_lib.selection.models import classifier, fit, kernels, linear, lines

SETTINGS = {"dim": 8, "lr": 0.5, "epoch": 25, "wordNgrams": 3, "minCount": 1, "bucket": 500}
# what the models have seen: case, marks, code points of one to four bytes, odd blanks
SEEN = ["Sum ADD été ß ελληνικά σας 数学 😀 a_b 3.5", "The fox\u00a0, (river) İstanbul ΣΑΣ & ½"]
# words that fastText itself reads as something else, and characters that are easy to get wrong
ODD = st.sampled_from(
    ["__label__in", "__LABEL__x", "x__label__", "__label__", "</s>", "a</s>b", "</S>", "<s>", "\n",
     "\x00", "\t", "\x0b", "\x1c", "\x85", "\u2028", "\u00a0", "Σ", "ΑΣ", "İ", "ǅ", "ß", "K",
     "\ufeff", "\u0301", "sum", "fox", "river", "unknown", "été", "😀"]
)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
DOCUMENT = st.lists(ODD | TEXT, max_size=12).map(" ".join) | st.lists(ODD, max_size=6).map("".join)


def train(sums, tales, form, **changes):
    return classifier.train([*sums[:30], SEEN[0]], [*tales[:30], SEEN[1]], SETTINGS | changes, 1,
                            form)  # fmt: skip


@pytest.fixture(scope="module", params=["words", "raw", "plain"])
def pair(request, sums, tales, tmp_path_factory):
    """fastText's own model and ours of the same file, with the form of their lines."""
    path = tmp_path_factory.mktemp("linear") / "m.bin"
    classifier.save(train(sums, tales, request.param), path)
    return fasttext.load_model(str(path)), linear.read_model(path), request.param


def reported(model, line):
    """p(in-domain) as fastText reports it: with its 1e-5."""
    names, values = model.predict(line, k=2)
    return dict(zip(names, values, strict=True))[lines.IN_DOMAIN]


@given(text=DOCUMENT)
@example(text="")
@example(text=" \n\t\x00 ")
@example(text="sum " * 3000 + "fox river " * 500)
@example(text="__label__in __label__new sum </s> fox")
@example(text="ΑΣ İ sum __LABEL__in fox")
def test_every_document_gets_fasttexts_own_probability(pair, text):
    model, ours, form = pair
    found = linear.log_odds(ours, pa.array([text, "sum", text]), form)
    expected = reported(model, lines.to_line(text, form))
    assert classifier.probability(found)[0] + 1e-5 == pytest.approx(expected, abs=2e-5)
    assert found[0] == found[2]


@given(texts=st.lists(st.none() | DOCUMENT, max_size=5), start=st.integers(0, 5))
def test_any_layout_of_the_strings_gives_the_same(pair, texts, start):
    _, ours, form = pair
    alone = [linear.log_odds(ours, pa.array([t or ""]), form)[0] for t in texts[start:]]
    for kind in (pa.string(), pa.large_string()):
        found = linear.log_odds(ours, pa.array(texts, kind)[start:], form)
        np.testing.assert_array_equal(found, alone)


def test_every_code_point_is_lowered_and_divided_as_python_does(pair):
    model, ours, form = pair
    # each code point inside a word, after a mark and alone
    step = range(0, 0x110000, 37)
    points = [chr(i) for i in step if not 0xD800 <= i < 0xE000]
    texts = [f"sum{c}fox ,{c} {c}" for c in points]
    found = classifier.probability(linear.log_odds(ours, pa.array(texts), form))
    batch = [lines.to_line(text, form) for text in texts]
    names, values = model.predict(batch, k=2)
    expected = [v[list(n).index(lines.IN_DOMAIN)] for n, v in zip(names, values, strict=True)]
    np.testing.assert_allclose(found + 1e-5, expected, atol=2e-5)


@pytest.mark.parametrize(
    "changes", [{"wordNgrams": 1}, {"wordNgrams": 5}, {"dim": 1}, {"bucket": 20_000}]
)
def test_other_settings(sums, tales, tmp_path, changes):
    model = train(sums, tales, "words", **changes)
    classifier.save(model, tmp_path / "m.bin")
    texts = [*sums[30:40], *tales[30:40], "fox sum unknown words in a row"]
    ours = linear.log_odds(linear.read_model(tmp_path / "m.bin"), pa.array(texts))
    np.testing.assert_allclose(ours, classifier.log_odds(model, texts), atol=2e-3)


def test_a_model_that_was_saved_is_the_same(pair, tmp_path):
    _, ours, form = pair
    linear.save(ours, tmp_path)
    texts = pa.array([*SEEN, "sum fox"])
    again = linear.log_odds(linear.load(tmp_path), texts, form)
    np.testing.assert_array_equal(again, linear.log_odds(ours, texts, form))


@given(value=st.integers(0, 2**64 - 1), divisor=st.integers(1, 2**31))
def test_the_fast_remainder_is_the_remainder(value, divisor):
    for number in (value, value // divisor * divisor, max(0, value // divisor * divisor - 1)):
        found = kernels._modulo(np.uint64(number), np.uint64(divisor), 1.0 / divisor)
        assert found == number % divisor


def test_a_published_model_is_named_by_its_content(sums, tales, tmp_path):
    classifier.save(train(sums, tales, "words"), tmp_path / "m.bin")
    maker = linear.publish(tmp_path / "m.bin", tmp_path, "words")
    assert linear.publish(tmp_path / "m.bin", tmp_path, "words") == maker
    columns = linear.scorer(**maker["settings"])(pa.array(["sum add", "fox river"]))
    assert columns["log_odds"][0] > columns["log_odds"][1]


# --- models that cannot be read ---------------------------------------------------------------


def other_model(tmp_path, text="__label__in a b c\n__label__out d e f\n", **settings):
    (tmp_path / "t.txt").write_text(text * 20)
    given = {"dim": 4, "minCount": 1, "bucket": 50, "thread": 1} | settings
    fit.in_new_process(tmp_path / "t.txt", tmp_path / "m.bin", given)
    return tmp_path / "m.bin"


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        ({"minn": 2, "maxn": 4}, None, r"character n-grams \(maxn 4\)"),
        ({"loss": "hs"}, None, "not a classifier with softmax"),
        ({}, "__label__in a\n__label__out b\n__label__third c\n", "has 3 labels"),
        ({}, "__label__yes a b\n__label__no c d\n", "no label '__label__in'; its labels"),
    ],
)
def test_a_model_that_is_not_linear_is_refused(tmp_path, settings, text, message):
    path = other_model(tmp_path, **({"text": text} if text else {}), **settings)
    with pytest.raises(linear.NotLinear, match=message):
        linear.read_model(path)


@pytest.mark.parametrize("cutoff", [0, 280])
def test_a_compressed_model_is_refused(tmp_path, cutoff):
    text = "".join(f"__label__{side} w{i} w{i + 1}\n" for i in range(300) for side in ("in", "out"))
    path = other_model(tmp_path, text=text)
    model = fasttext.load_model(str(path))
    model.quantize(input=str(tmp_path / "t.txt"), cutoff=cutoff)
    model.save_model(str(path))
    with pytest.raises(linear.NotLinear, match=r"quantize; use the \.bin model"):
        linear.read_model(path)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "m.bin"
    for content, message in ((b"", "empty"), (b"x" * 500, "not a fastText model of version 12")):
        path.write_bytes(content)
        with pytest.raises(linear.NotLinear, match=message):
            linear.read_model(path)
    whole = other_model(tmp_path).read_bytes()
    for size in (70, 150, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(linear.NotLinear, match="ends too early"):
            linear.read_model(path)
