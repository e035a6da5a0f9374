"""The generated world: what its files promise to the stages that read them."""

import itertools
import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import contamination, records
from trait_lib.corpora import Built, training_texts, write_known
from trait_lib.replica import ads, facts, general, maths, world

TINY = world.Sizes(
    general_documents=2000,
    pool_documents=4000,
    seed_documents=60,
    heldout_documents=20,
    train_per_task=80,
    dev_per_task=10,
    test_per_task=20,
)
CORPORA = (
    "general.jsonl.zst",
    "pool.jsonl.zst",
    "seed.jsonl.zst",
    "heldout_domain.jsonl",
    "heldout_general.jsonl",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for domain in world.DOMAINS:
        made[domain] = tmp_path_factory.mktemp(domain)
        world.write_world(made[domain], domain, 0, TINY)
    return made


def rows(folder, name):
    return list(records.read_rows(folder / name))


def test_the_shares_of_genres_sum_to_one():
    assert sum(share for share, _ in general.GENRES.values()) == pytest.approx(1)


def test_a_document_depends_on_its_seed_stream_and_place_alone():
    def stream(seed, name, count):
        built = facts.build(seed)
        return list(world.documents(built, seed, name, count, {"math": 0.1}, TINY))

    assert stream(0, "pool", 300)[:100] == stream(0, "pool", 100)
    assert stream(0, "pool", 50) != stream(1, "pool", 50)
    assert stream(0, "pool", 50) != stream(0, "general", 50)


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_the_domain_is_a_minority_of_the_pool_and_each_quality_occurs_in_it(folders, domain):
    labels = rows(folders[domain], "pool_labels.jsonl")
    assert [row["id"] for row in labels] == [
        row["id"] for row in rows(folders[domain], "pool.jsonl.zst")
    ]
    share = sum(row["label"] == domain for row in labels) / len(labels)
    assert 0.04 < share < 0.06  # 5 % of 4,000: two standard deviations are 0.5 points
    found = {row["quality"] for row in labels if row["label"] == domain}
    assert found == set(world.QUALITIES)
    genres = {row["genre"] for row in labels}
    copies = {f"{what} {one}" for what in ("copy of", "collection of") for one in world.DOMAINS}
    assert {*general.GENRES, *world.DOMAINS} <= genres <= {*general.GENRES, *world.DOMAINS, *copies}


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_labels_stand_in_no_corpus(folders, domain):
    for name in CORPORA:
        for row in rows(folders[domain], name):
            assert set(row) == {"id", "text", "source"}


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_no_test_or_dev_problem_stands_in_a_text_or_a_training_problem(folders, domain):
    folder = folders[domain]
    asked = [
        *rows(folder, "problems_test.jsonl"),
        *rows(folder, "problems_dev.jsonl"),
        *rows(folder, "relevance_test.jsonl"),
    ]
    index = contamination.build_index({row["id"]: row["question"] for row in asked})
    texts = [(row["id"], row["text"]) for name in CORPORA for row in rows(folder, name)]
    problems = rows(folder, "problems_train.jsonl")
    texts += [(row["id"], f"{row['question']}\n{row['solution']}") for row in problems]
    assert contamination.report(texts, index) == {}


def test_general_questions_are_answered_in_the_corpus_and_asked_there_in_other_words(folders):
    folder = folders["math"]
    questions = rows(folder, "general_questions.jsonl")
    assert len(questions) >= 200
    assert len({row["topic"] for row in questions}) >= 5
    index = contamination.build_index({row["id"]: row["question"] for row in questions})
    corpus = rows(folder, "general.jsonl.zst")
    assert contamination.report(((row["id"], row["text"]) for row in corpus), index) == {}
    text = " ".join(row["text"] for row in corpus)
    told = [row["solution"].split(". ")[0] in text for row in questions]
    assert sum(told) > 0.8 * len(told)  # so small a corpus may miss some


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_facts_of_documents_only_entities_stand_in_domain_documents_and_nowhere_else(
    folders, domain
):
    facts_told = world.documents_only_facts(facts.build(0), domain)
    assert len(facts_told) >= 12
    assert world.texts_that_tell(folders[domain], facts_told) == {"pool", "seed", "heldout_domain"}


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_no_constant_answer_is_right_for_a_quarter_of_a_task(domain):
    module = world.DOMAINS[domain]
    by_task = {}
    for row in module.problems(facts.build(0)):
        by_task.setdefault(row["task"], Counter())[row["answer"]] += 1
    for task, answers in by_task.items():
        assert max(answers.values()) <= 0.25 * answers.total(), task


def test_a_total_does_not_give_the_answer_of_a_change_of_unit_away():
    answers = {}
    for row in maths.problems(facts.build(0)):
        if row["task"] == "unit_change":
            total = row["question"].split()[1]
            answers.setdefault(total, Counter())[row["answer"]] += 1
    right = sum(max(counts.values()) for counts in answers.values())
    assert right / sum(counts.total() for counts in answers.values()) <= 0.25


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_the_held_out_task_is_tested_and_has_no_training_problem(folders, domain):
    held_out = world.DOMAINS[domain].HELD_OUT_TASK
    tasks = {name: rows(folders[domain], f"problems_{name}.jsonl") for name in ("train", "test")}
    assert held_out not in {row["task"] for row in tasks["train"]}
    assert {row["task"] for row in tasks["test"] if row["held_out_task"]} == {held_out}


@settings(deadline=None)  # the time is that of a busy machine
@given(st.integers(0, 50))
def test_solutions_of_math_are_true(seed):
    operations = {
        "times": lambda a, b: a * b,
        "plus": lambda a, b: a + b,
        "minus": lambda a, b: a - b,
        "divided by": lambda a, b: a / b,
    }
    pattern = re.compile(r"(\d+) (times|plus|minus|divided by) (\d+) is (\d+)")
    for row in itertools.islice(maths.problems(facts.build(seed)), 0, None, 37):
        steps = pattern.findall(row["solution"])
        assert steps
        for a, word, b, result in steps:
            assert operations[word](int(a), int(b)) == int(result)
        assert steps[-1][-1] == row["answer"]
        assert row["solution"].endswith(f"The answer is {row['answer']}.")


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_no_training_text_counts_as_held_out(folders, domain):
    write_known(folders[domain], built := Built())
    known = contamination.read_known(folders[domain] / "contamination.json")
    index = contamination.build_index({}, **known)
    assert len(built.held_out) > 20
    for _, text in training_texts(folders[domain]):
        assert not contamination.is_held_out(text, index)


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_entities_in_documents_only_are_tested_and_never_trained_on(folders, domain):
    train = rows(folders[domain], "problems_train.jsonl")
    test = rows(folders[domain], "problems_test.jsonl")
    assert not any(row["documents_only"] for row in train)
    hidden = [row for row in test if row["documents_only"]]
    assert len(hidden) >= 10
    trained = {entity for row in train for entity in row.get("entities", [])}
    for row in hidden:
        # a comparison has two units, and one of them may be known from passages
        assert set(row["entities"]) - trained
    documents = world.documents(facts.build(0), 0, "pool", 1500, {domain: 1.0}, TINY)
    text = " ".join(row["text"] for row in documents)
    assert all(row["solution"].split(". ")[0] in text for row in hidden)


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_ids_and_questions_are_unique_and_every_task_is_in_every_split(folders, domain):
    module = world.DOMAINS[domain]
    for split in ("train", "dev", "test"):
        tasks = set(module.TASKS) - ({module.HELD_OUT_TASK} if split == "train" else set())
        problems = rows(folders[domain], f"problems_{split}.jsonl")
        assert len({row["id"] for row in problems}) == len(problems)
        assert tasks <= {row["task"] for row in problems}
        counts = Counter(row["question"] for row in problems if row["task"] in tasks)
        assert max(counts.values()) == 1


def test_relevance_follows_the_grades():
    built = facts.build(0)
    brands = {brand.name: brand for brand in built.brands}
    grades = Counter()
    for row in ads.relevance(built):
        brand = brands[row["document"]]
        feature, product = row["query"].split()
        same = product == brand.product
        fits = feature in (brand.feature, built.synonyms[brand.feature])
        assert row["label"] == int(same and fits) == int(row["grade"] >= ads.RELEVANT_GRADE)
        grades[row["grade"]] += 1
    assert len(set(grades.values())) == 1  # as many of each grade


def test_the_keyword_set_holds_every_right_rewrite_that_a_brand_bids_on():
    built = facts.build(0)
    keywords = set(ads.keywords(built))
    for brand in built.brands:
        assert f"{brand.feature} {brand.product}" in keywords
        assert f"{built.synonyms[brand.feature]} {brand.product}" in keywords


def test_files_that_do_not_apply_are_written_empty(folders):
    for name in ("relevance_train.jsonl", "relevance_test.jsonl", "keywords.jsonl"):
        assert rows(folders["math"], name) == []
        assert rows(folders["ads"], name)


def test_near_duplicates_are_asked_for_and_made():
    built = facts.build(0)
    none = world.Sizes(duplicate_share=0.0, poor_share=0.0)
    many = world.Sizes(duplicate_share=0.5, poor_share=0.0)

    def repeated(sizes):
        texts = [row["text"] for row in world.documents(built, 0, "pool", 2000, {}, sizes)]
        bags = Counter(" ".join(sorted(re.findall(r"\w+", text))) for text in texts)
        return sum(count - 1 for count in bags.values()) / len(texts)

    assert repeated(none) < 0.05
    assert repeated(many) > 0.3


def test_an_unknown_domain_is_named(tmp_path):
    with pytest.raises(ValueError, match="one of \\['ads', 'law', 'math'\\], got 'art'"):
        world.write_world(tmp_path, "art", 0, TINY)
    assert list(tmp_path.iterdir()) == []


def test_the_command_streams_labelled_documents(capsys):
    world.main(["math", "--documents", "3", "--seed", "1"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in lines] == ["math"] * 3
    with pytest.raises(SystemExit):
        world.main(["pool", "--documents", "-1"])
    assert "--documents must be 0 or more" in capsys.readouterr().err
