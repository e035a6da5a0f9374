import pytest
import yaml

from trait_lib import contamination, records
from trait_lib.corpora import (
    Built,
    EmptyCorpus,
    training_texts,
    write_documents,
    write_known,
    write_problems,
)

NAMES = (
    "general.jsonl.zst pool.jsonl.zst seed.jsonl.zst pool_labels.jsonl heldout_domain.jsonl "
    "heldout_general.jsonl problems_train.jsonl problems_dev.jsonl problems_test.jsonl "
    "general_questions.jsonl relevance_train.jsonl relevance_test.jsonl keywords.jsonl"
).split()
TEST_QUESTION = "A farmer has twelve grey sheep and buys thirty more, how many has she now?"


def corpus():
    labels = ("math", "other", "other", "other")
    for n in range(600):
        split = "seed" if n % 5 == 0 else "pool"
        label = "math" if split == "seed" else labels[n % 4]
        text = f"Document {n} about {label}." + (f" {TEST_QUESTION}" if n % 50 == 0 else "")
        yield {"id": f"d{n}", "text": text, "parent": f"p{n // 2}", "label": label, "split": split}


@pytest.fixture
def params(tmp_path):
    records.write_rows(tmp_path / "corpus.jsonl.gz", corpus())
    train = [{"id": n, "q": f"What is {n} plus one?", "a": n + 1} for n in range(100)]
    train.append({"id": "copy", "q": TEST_QUESTION, "a": 42})
    records.write_rows(tmp_path / "train.jsonl", train)
    records.write_rows(tmp_path / "test.jsonl", [{"id": "t", "q": TEST_QUESTION, "a": 42}])
    task = {
        "origin": "ours",
        "licence": "CC0",
        "kind": "number",
        "files": {"train": ["train.jsonl"], "test": ["test.jsonl"]},
        "question": "{{ q }}",
        "answer": "{{ a }}",
    }
    (tmp_path / "sums.yaml").write_text(yaml.safe_dump(task))
    files = {f"{name}_files": ["corpus.jsonl.gz"] for name in ("pool", "seed")}
    return {
        **files,
        "domain": "",
        "tasks": [str(tmp_path / "sums.yaml")],
        "general_tasks": [],
        "data_dir": str(tmp_path),
        "on_bad": "error",
        "dev_share": 0.1,
        "train_per_task": 50,
        "dev_per_task": 0,
        "test_per_task": 0,
        "pairs_per_task": 0,
        "seed_text_field": "",
        "seed_id_field": "",
        "pool_where": ["split=pool"],
        "seed_where": ["split=seed"],
        "general_files": [],
        "general_where": ["label=other"],
        "domain_where": ["label=math"],
        "text_field": "text",
        "id_field": "id",
        "group_field": "parent",
        "label_field": "label",
        "genre_field": "genre",
        "max_characters": 0,
        "pool_limit": 0,
        "seed_limit": 0,
        "general_limit": 0,
        "heldout_share": 0.1,
        "general_share": 0.3,
        "heldout_documents": 10,
    }


def build(folder, params):
    built = Built()
    write_documents(folder, params, write_problems(folder, params, built), built)
    return built


def rows(folder, name):
    return list(records.read_rows(folder / name))


def test_every_file_of_the_stage_is_written_with_the_contract_s_fields(tmp_path, params):
    built = build(tmp_path / "out", params)
    for name in NAMES:
        assert len(rows(tmp_path / "out", name)) == built.written[name]
    for name in ("general", "pool", "seed"):
        assert all(
            set(r) == {"id", "text", "source"} for r in rows(tmp_path / "out", f"{name}.jsonl.zst")
        )
    assert len(rows(tmp_path / "out", "problems_train.jsonl")) == 50
    assert len(rows(tmp_path / "out", "heldout_general.jsonl")) == 10
    assert built.reports["pool"].rows == 600


def test_the_labels_of_the_pool_are_kept_apart(tmp_path, params):
    build(tmp_path / "out", params)
    pool, labels = (rows(tmp_path / "out", n) for n in ("pool.jsonl.zst", "pool_labels.jsonl"))
    assert [row["id"] for row in pool] == [row["id"] for row in labels]
    assert {row["label"] for row in labels} == {"math", "other"}
    assert set(labels[0]) == {"id", "label", "genre", "quality"}


def test_no_test_question_stands_in_a_training_text_and_the_dropped_are_counted(tmp_path, params):
    built = build(tmp_path / "out", params)
    index = contamination.build_index({"t": TEST_QUESTION})
    assert contamination.report(training_texts(tmp_path / "out"), index) == {}
    assert list(built.contaminated["train problems"]) == ["sums/copy"]
    assert len(built.contaminated["seed"]) + len(built.contaminated["general"]) > 5


def test_no_document_stands_in_two_files_and_no_held_out_group_in_training(tmp_path, params):
    build(tmp_path / "out", params)
    parent = {row["id"]: row["parent"] for row in corpus()}
    ids = {n: [r["id"] for r in rows(tmp_path / "out", n)] for n in NAMES[:3] + NAMES[4:6]}
    everything = [identifier for some in ids.values() for identifier in some]
    assert len(everything) == len(set(everything))
    trained = {parent[i] for n in NAMES[:3] for i in ids[n]}
    assert not trained & {parent[i] for n in NAMES[4:6] for i in ids[n]}


def test_later_stages_know_every_document_of_a_held_out_group(tmp_path, params):
    built = build(tmp_path / "out", params)
    write_known(tmp_path / "out", built)
    known = contamination.read_known(tmp_path / "out" / "contamination.json")
    index = contamination.build_index({}, **known)
    used = {row["id"] for n in NAMES[:3] for row in rows(tmp_path / "out", n)}
    dropped = {i for n in ("general", "seed") for i in built.contaminated[n]}
    for row in corpus():
        if row["id"] not in dropped:
            assert contamination.is_held_out(row["text"], index) == (row["id"] not in used)


def test_a_held_out_document_with_a_copy_in_a_training_text_is_not_measured(tmp_path, params):
    def copied():
        for row in corpus():
            yield row | {"text": "The same words."} if row["id"][-1] in "12" else row

    records.write_rows(tmp_path / "corpus.jsonl.gz", copied())
    built = build(tmp_path / "out", params | {"heldout_documents": 0})
    assert contamination.fingerprint("The same words.") not in built.held_out
    for name in ("domain", "general"):
        found = rows(tmp_path / "out", f"heldout_{name}.jsonl")
        assert found and all(row["text"] != "The same words." for row in found)


def test_a_fixed_instruction_drops_no_training_problem(tmp_path, params):
    rule = "Think with care about each of the facts below, then write the answer as a number:"
    train = [{"id": n, "q": f"{rule} What is {n} plus one?", "a": n + 1} for n in range(24)]
    test = [{"id": n, "q": f"{rule} What is {n} times two?", "a": 2 * n} for n in range(30, 38)]
    records.write_rows(tmp_path / "train.jsonl", [*train, {**test[3], "id": "copy"}])
    records.write_rows(tmp_path / "test.jsonl", test)
    built = build(tmp_path / "out", params | {"dev_share": 0.0, "test_per_task": 2})
    assert list(built.contaminated["train problems"]) == ["sums/copy"]
    index = write_known(tmp_path / "out", built)
    assert "think with care about each of the facts below" in index.said()[0]
    # two of the eight questions are asked, and their words alone would say nothing
    some = {r["id"]: r["question"] for r in rows(tmp_path / "out", "problems_test.jsonl")}
    known = contamination.read_known(tmp_path / "out" / "contamination.json")
    later = contamination.build_index(some, **known)
    assert len(some) == 2
    assert contamination.report(training_texts(tmp_path / "out"), later) == {}


def test_a_general_corpus_of_its_own_and_a_pool_without_labels(tmp_path, params):
    texts = [{"id": f"g{n}", "text": f"General text {n}."} for n in range(200)]
    records.write_rows(tmp_path / "general.jsonl", texts)
    records.write_rows(tmp_path / "pool.jsonl", [{**t, "id": f"w{t['id']}"} for t in texts])
    changes = {
        "general_files": ["general.jsonl"],
        "pool_files": ["pool.jsonl"],
        "pool_where": [],
        "general_where": [],
        "domain_where": [],
    }
    build(tmp_path / "out", params | changes)
    out = {n: rows(tmp_path / "out", n) for n in NAMES[:6]}
    assert {row["id"][0] for row in out["general.jsonl.zst"]} == {"g"}
    assert {row["id"][0] for row in out["pool.jsonl.zst"]} == {"w"}
    assert {row["id"][0] for row in out["heldout_domain.jsonl"]} == {"d"}
    assert out["pool_labels.jsonl"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general_share": 0.0}, r"no document is left for general\.jsonl\.zst"),
        ({"heldout_share": 0.0}, "left for heldout_domain, heldout_general"),
        ({"seed_where": ["split=none"]}, "no document left"),
    ],
)
def test_an_empty_part_is_an_error_and_no_corpus_is_written(tmp_path, params, changes, message):
    with pytest.raises(EmptyCorpus, match=message):
        build(tmp_path / "out", params | changes)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        n for n in NAMES if "problems" in n
    } | {
        "general_questions.jsonl",
        "relevance_train.jsonl",
        "relevance_test.jsonl",
        "keywords.jsonl",
    }


def test_a_task_without_test_problems_is_an_error(tmp_path, params):
    with pytest.raises(EmptyCorpus, match="hold no test problem"):
        build(tmp_path / "out", params | {"tasks": []})
