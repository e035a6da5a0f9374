"""The solutions of the notebooks' exercises, run: what each one says is measured on small inputs.

Named `test_NOTEBOOK_NUMBER`. Not run here: solutions that need a trained model's answers (03.1,
03.5, 04.1, 04.3, 05.1) or another teacher (02.2), and arguments (03.2). 02.4 to 02.6 are run by
the tests of the teacher's ledger, 03.3 by those of the checkpoints.
"""

import itertools
import random

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trait_lib import contamination, params, records
from trait_lib.evaluation import statistics
from trait_lib.grading import grade
from trait_lib.passages import sampling
from trait_lib.replica import facts, world
from trait_lib.selection.models import classifier, dsir, linear
from trait_lib.training.checks import preflight

SUMS = "sum add number equals times rule count".split()
TALES = "fox river night king bread song road".split()
SETTINGS = {"dim": 16, "lr": 0.5, "epoch": 25, "wordNgrams": 2, "minCount": 1, "bucket": 100_000}


def documents(words, number, seed=0):
    draw = random.Random(f"{seed}{words[0]}")
    return [" ".join(draw.choices(words, k=12)) + "." for _ in range(number)]


@pytest.fixture(scope="module")
def model():
    return classifier.train(documents(SUMS, 50), documents(TALES, 50), SETTINGS, 0)


@pytest.fixture(scope="module")
def problems():
    sizes = world.Sizes(train_per_task=40)
    return world.problems(facts.build(0), "math", 0, sizes)["train"]


def test_00_1_the_budget_holds_more_than_the_domain():
    names = ("00_start_here", "01_data_selection")
    given = {k: {n: p.default for n, p in params.declared(k).items()} for k in names}
    budget = given["01_data_selection"]["selection_tokens"]
    pool = given["00_start_here"]["pool_documents"]
    lessons = world.documents(facts.build(0), 0, "x", 200, {"math": 1.0}, world.Sizes())
    tokens = np.mean([len(row["text"]) for row in lessons]) / 3.4  # characters a token
    assert 0.01 * pool * tokens < budget < given["00_start_here"]["domain_share"] * pool * tokens


def test_00_2_a_comma_does_not_hide_a_question():
    question = "how many small red boats sail over the lake in one hour"
    index = contamination.build_index({"q": question})
    assert contamination.hits(
        "They ask how many small, red boats sail over the lake in one hour.", index
    )


def test_00_3_longer_rows_cost_twice_as_much():
    size = preflight.Shape(7_240_000_000, 7_110_000_000, 32, 4096, 32_000)
    operations = preflight.flops_per_token(size, 32_768)
    assert operations == pytest.approx(9.4e10, rel=0.01)
    assert 5.5e9 * operations / (0.4 * 989e12) / 3600 == pytest.approx(360, rel=0.02)


def test_01_1_a_mean_and_a_sum(model):
    short = documents(SUMS, 1, "new")[0]
    long = " ".join([short, *documents(TALES, 10, "new")])
    mild = " ".join([short, *documents([*SUMS, *SUMS, *TALES], 10, "new")])
    one, many, some = classifier.log_odds(model, [short, long, mild])
    assert one > some > many
    hasher = dsir.Hasher()
    counts = [dsir.count(documents(words, 50), hasher) for words in (SUMS, TALES)]
    ratio = dsir.log_ratio(*counts)
    one, many, some = hasher.weigh(dsir.as_arrow([short, long, mild]), ratio)[0]
    assert some > one > many


def test_01_2_fasttext_reports_more_than_one():
    longer = {**SETTINGS, "epoch": 3000}
    model = classifier.train(documents(SUMS, 50), documents(TALES, 50), longer, 0)
    assert model.predict(documents(SUMS, 1)[0])[1][0] > 1
    assert len({*classifier.log_odds(model, documents(SUMS, 5))}) == 5


def test_01_3_wrong_negatives_move_probabilities_and_no_ranking(model):
    wrong = [*documents(TALES, 45), *documents(SUMS, 5, "wrong")]
    other = classifier.train(documents(SUMS, 50), wrong, SETTINGS, 0)
    texts = [*documents(SUMS, 30, "held"), *documents(TALES, 30, "held")]
    truth = np.arange(60) < 30
    odds = [classifier.log_odds(one, texts) for one in (model, other)]
    assert [roc_auc_score(truth, one) for one in odds] == [1.0, 1.0]
    clean, mixed = (classifier.probability(one)[:30].mean() for one in odds)
    assert mixed < clean - 0.001


def test_01_4_more_negatives_find_a_little_more():
    true, sizes = facts.build(0), world.Sizes()

    def rows(stream, count, shares):
        return [*world.documents(true, 0, stream, count, shares, sizes)]

    seed = [row["text"] for row in rows("seed", 320, {"math": 1.0})]
    general = [row["text"] for row in rows("general", 1600, {})]
    pool = rows("pool", 2000, dict.fromkeys(world.DOMAINS, sizes.domain_share))
    precision = []
    for count in (320, 1600):
        found = classifier.train(seed, general[:count], SETTINGS, 0)
        odds = classifier.log_odds(found, [row["text"] for row in pool])
        best = [pool[i] for i in np.argsort(-odds)[:80]]
        precision.append(np.mean([row["label"] == "math" for row in best]))
    assert 0 <= precision[1] - precision[0] < 0.1


def test_01_5_no_part_is_half_a_file(tmp_path):
    with pytest.raises(RuntimeError), records.atomic_path(tmp_path / "part") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert not (tmp_path / "part").exists()


def test_01_6_one_number_replaces_a_vector(model, tmp_path):
    classifier.save(model, tmp_path / "model.bin")
    matrix = model.get_input_matrix()
    assert matrix.nbytes == 64 * (100_000 + len(model.words))
    assert linear.read_model(tmp_path / "model.bin").numbers.nbytes == 400_000


def test_02_1_one_problem_shares_nothing(problems):
    groups = sampling.sample_groups(problems, 20, 1, 0)
    assert {len(group.tasks) for group in groups} == {1}


def test_02_3_entities_share_a_fact_and_topics_allow_more_pairs(problems):
    pairs = [*itertools.combinations([row for row in problems if row.get("entities")], 2)]
    topic = sum(a["topic"] == b["topic"] for a, b in pairs)
    entity = sum(bool({*a["entities"]} & {*b["entities"]}) for a, b in pairs)
    assert topic > 2 * entity > 0


def test_03_4_memory_of_mistral_on_eight():
    size = preflight.Shape(7_240_000_000, 7_110_000_000, 32, 4096, 32_000)
    assert preflight.zero1_gib(size, 8) == pytest.approx(64, rel=0.01)


def test_04_2_the_same_forty_and_other_forty():
    first = np.arange(60) < 40
    for second, reach in ((first, 0.032), (np.arange(60) >= 20, 0.21)):
        low, high = statistics.compare([(first, second)]).difference_interval
        assert (high - low) / 2 == pytest.approx(reach, abs=0.005)


def test_04_4_one_answer_for_all():
    golds = ["1", "3", "1", "5"]
    assert [grade(gold, "The answer is 1.", "number").correct for gold in golds] == [
        gold == "1" for gold in golds
    ]


def test_05_2_questions_as_units_would_be_surer():
    low, high = statistics.wilson(0.5, 300)
    assert (high - low) / 2 == pytest.approx(0.06, abs=0.005)
