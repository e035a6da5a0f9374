from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trait_lib import contamination
from trait_lib.corpora import divide, drop_contaminated, sample, share

SETTINGS = {
    "group_field": "parent",
    "heldout_share": 0.1,
    "general_share": 0.3,
    "domain_where": ["label=math"],
    "general_where": ["label=other"],
}


def documents(count=6000):
    labels = ("math", "other", "other", "border")
    return [
        {"id": f"d{i}", "text": f"t{i}", "parent": f"p{i // 4}", "label": labels[i // 4 % 4]}
        for i in range(count)
    ]


def test_share_is_even_and_known():
    # the first 12 hexadecimal digits of `printf "\\0a" | sha256sum`
    assert share("a") == 0x022A6979E6DA / 2**48
    assert share("a") != share("a", "salt")
    counts = Counter(int(10 * share(str(n))) for n in range(10_000))
    assert min(counts.values()) > 900 and max(counts.values()) < 1100


@given(st.lists(st.text(max_size=5), unique=True), st.integers(0, 20))
def test_a_sample_keeps_order_and_is_stable_when_rows_are_added(names, count):
    rows = [{"id": name} for name in names]
    chosen = sample(rows, count)
    assert len(chosen) == (min(count, len(rows)) or len(rows) if count else len(rows))
    assert chosen == [row for row in rows if row in chosen]
    if count and rows:
        fewer = sample(rows[:-1], count)
        assert len([row for row in fewer if row not in chosen]) <= 1


def test_parts_have_the_asked_sizes_and_labels():
    parts = {}
    for part, row in divide(documents(), **SETTINGS):
        parts.setdefault(part, []).append(row)
    assert {row["label"] for row in parts["heldout_domain"]} == {"math"}
    assert {row["label"] for row in parts["heldout_general"]} == {"other"}
    assert {row["label"] for row in parts["general"]} == {"other"}
    assert {row["label"] for row in parts["left_out"]} == {"border"}
    assert {row["label"] for row in parts["pool"]} == {"math", "other", "border"}
    heldout = sum(len(parts[p]) for p in ("heldout_domain", "heldout_general", "left_out"))
    assert 0.07 < heldout / 6000 < 0.13
    assert 0.25 < len(parts["general"]) / 3000 < 0.35
    assert sum(map(len, parts.values())) == 6000


def test_no_held_out_document_has_a_sibling_elsewhere():
    held, other = set(), set()
    for part, row in divide(documents(), **SETTINGS):
        (other if part in ("pool", "general") else held).add(row["parent"])
    assert held and not held & other


def test_the_label_of_a_pool_document_moves_nothing_but_held_out_and_general_text():
    """Selection must not see labels: what is in the pool may depend on `general_where` alone."""
    relabelled = [row | {"label": "border"} for row in documents() if row["label"] == "math"]
    math = [row for row in documents() if row["label"] == "math"]
    ids = [
        [row["id"] for part, row in divide(rows, **SETTINGS) if part == "pool"]
        for rows in (math, relabelled)
    ]
    assert ids[0] == ids[1]


def test_pieces_of_one_document_stay_together():
    rows = [{"id": f"d~{n}", "whole": "d", "text": "t"} for n in range(50)]
    assert len({part for part, _ in divide(rows, **SETTINGS | {"general_where": []})}) == 1


def test_contaminated_documents_are_dropped_and_counted():
    question = "How many eggs does Ada sell when she has nine and eats two of them?"
    index = contamination.build_index({"q": question})
    rows = [{"id": "clean", "text": "eggs"}, {"id": "dirty", "text": f"Read: {question} Seven."}]
    found = Counter()
    assert [row["id"] for row in drop_contaminated(rows, index, found)] == ["clean"]
    assert found == {"dirty": 1}
    template = [{"id": "split", "a": question[:30], "b": question[30:]}]
    assert not list(drop_contaminated(template, index, found, "{a}{b}".format_map))
