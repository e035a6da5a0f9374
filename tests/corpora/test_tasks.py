import os
from pathlib import Path

import pytest
import yaml

from trait_lib import ROOT, form, records
from trait_lib.corpora import (
    EmptyCorpus,
    Report,
    load_problems,
    load_relevance,
    load_task,
    task_files,
)
from trait_lib.evaluation import fewshot
from trait_lib.params import ParameterError
from trait_lib.training import finetune

TASK_FILES = [path for domain in ("math", "ads") for path in task_files(domain)]

PROBLEM = {
    "origin": "ours",
    "licence": "CC0",
    "kind": "number",
    "files": {"train": ["train.jsonl"], "test": ["test.jsonl"]},
    "question": "{{ q }}",
    "solution": "{{ s }}",
    "answer": "{{ a }}",
}
RELEVANCE = {
    "form": "relevance",
    "origin": "ours",
    "licence": "CC0",
    "files": {"test": ["test.jsonl"]},
    "query": "{{ query }}",
    "document": "{{ title }}",
    "label": "{{ label }}",
    "prompt": "{{ query }}: {{ title }} is",
    "positive": " good",
    "negative": " bad",
}
TRAIN = [
    {"id": n, "q": f"What is {n} plus 1?", "s": f"{n}+1={n + 1}.", "a": n + 1} for n in range(200)
]
TEST = [{"id": "t", "q": "What is 500 plus 1?", "s": "", "a": 501}]


def task(folder, name="sums", **changes):
    settings = {**PROBLEM, **changes}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in settings.items() if v is not None}))
    return path


@pytest.fixture
def folder(tmp_path):
    records.write_rows(tmp_path / "train.jsonl", TRAIN)
    records.write_rows(tmp_path / "test.jsonl", TEST)
    return tmp_path


def problems(path, split="test", **more):
    return list(load_problems([path], split, data_dir=path.parent, **more))


# --- the committed task files -----------------------------------------------------------------


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_committed_task_file_is_right_and_names_its_origin(path):
    loaded = load_task(path)
    assert loaded.name == path.stem
    assert loaded.sources("test") or loaded.settings["world"] == "replica"
    assert loaded.settings["shots"] and loaded.settings["metric"]
    assert loaded.settings["metric"] == "accuracy" or "Paper:" in loaded.settings["definition"]
    if "hub" in loaded.settings:
        on_hub = load_task(f"{path}@hub")
        assert on_hub.name == loaded.name
        assert all(source.startswith("hub://") for source in on_hub.sources("test"))
    for entry in ("origin", "licence", "size"):
        assert str(loaded.settings[entry]).strip()
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_both_domains_have_task_files():
    nine = "gsm8k math svamp asdiv mawps tabmwp mathqa mmlu_stem sat".split()
    assert {*nine, "mmlu", "two_step"} <= {path.stem for path in task_files("math")}
    assert {"relevance", "pair_relevance", "mmlu"} <= {path.stem for path in task_files("ads")}
    seven = [load_task(path) for path in task_files("ads") if "world" in path.read_text()]
    metrics = sorted(task.settings["metric"] for task in seven if task.name != "general_questions")
    assert metrics == ["auc"] * 2 + ["diversity and density"] + ["win_rate"] * 4


def test_the_shots_are_those_of_the_harness():
    shots = {path.stem: load_task(path).settings["shots"] for path in task_files("math")}
    for name in "gsm8k svamp asdiv mawps tabmwp".split():
        assert shots[name] == 8
    for name in "math mathqa mmlu_stem sat".split():
        assert shots[name] == 4


SHARED = Path(os.environ.get("TRAIT_SHARED_DATA", ROOT / ".." / "shared" / "data"))
ROWS = {
    **{"gsm8k": 1319, "math": 5000, "svamp": 1000, "asdiv": 2215, "mawps": 2065},
    **{"tabmwp": 1000, "mathqa": 1000, "mmlu_stem": 3018, "sat": 32},
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real data is not here")
@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_a_math_benchmark_is_read(name):
    rows = list(load_problems([name], "test", domain="math", data_dir=SHARED))
    assert len(rows) == ROWS[name]
    options = {"mathqa": 5, "mmlu_stem": 4, "sat": 4}.get(name)
    if options:
        assert {len(row["options"]) for row in rows} == {options}
        assert all(row["answer"] in "ABCDE"[:options] for row in rows)


def test_the_hub_form_of_gsm8k_reads_answers_and_drops_calculator_marks():
    from trait_lib.corpora.tasks import _derive, _problem

    loaded = load_task("gsm8k@hub", "math")
    row = {"question": "How many?", "answer": "He has 3*2=<<3*2=6>>6 eggs.\n#### 1,006"}
    made = _problem(loaded, _derive(loaded, row), "test")
    assert made["answer"] == "1,006"
    assert made["solution"] == "He has 3*2=6 eggs. The answer is 1,006."


def test_the_hub_form_of_math_finds_the_last_box_with_braces_in_it():
    from trait_lib.corpora.tasks import _derive, _problem

    loaded = load_task("math@hub", "math")
    worked = r"First \\boxed{7}, but then \\boxed{\\frac{\\sqrt{3}}{2}}."
    row = {"problem": "How long?", "solution": worked, "type": "Geometry"}
    made = _problem(loaded, _derive(loaded, row), "test")
    assert made["answer"] == r"\\frac{\\sqrt{3}}{2}"


# --- problems ---------------------------------------------------------------------------------


def test_rows_become_problems_with_the_answer_sentence(folder):
    path = task(folder, topic="sums", entities=["{{ a }}"])
    assert problems(path) == [
        {
            "id": "sums/t",
            "task": "sums",
            "topic": "sums",
            "question": "What is 500 plus 1?",
            "solution": "The answer is 501.",
            "answer": "501",
            "kind": "number",
            "split": "test",
            "entities": ["501"],
            "documents_only": False,
            "alternatives": [],
        }
    ]
    assert problems(path, "train")[3]["solution"] == "3+1=4. The answer is 4."


def test_a_task_without_dev_files_lends_part_of_its_training_problems(folder):
    path = task(folder)
    train = problems(path, "train", dev_share=0.2)
    dev = problems(path, "dev", dev_share=0.2)
    assert not {row["id"] for row in train} & {row["id"] for row in dev}
    assert len(train) + len(dev) == 200 and 20 < len(dev) < 60
    assert {row["split"] for row in dev} == {"dev"}
    assert len(problems(path, "train")) == 200 and problems(path, "dev") == []


def test_equal_questions_never_stand_on_both_sides(folder):
    rows = [{"id": n, "q": f"What is {n % 20}?", "s": "", "a": 1} for n in range(200)]
    records.write_rows(folder / "train.jsonl", rows)
    path = task(folder)
    sides = [
        {row["question"] for row in problems(path, s, dev_share=0.3)} for s in ("train", "dev")
    ]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_rows_without_ids_are_told_apart_over_several_files(folder):
    for name in ("x", "y"):
        records.write_rows(folder / f"{name}.jsonl", [{"q": f"What is {name}?", "s": "", "a": 1}])
    path = task(folder, files={"test": ["x.jsonl", "y.jsonl"]})
    assert [row["id"] for row in problems(path)] == ["sums/test-0-1", "sums/test-1-1"]


def test_conditions_fields_and_topics_come_from_the_file(folder):
    path = task(
        folder,
        where={"train": ["a!=1"]},
        fields={
            "size": {"from": "a", "values": {2: "small", 3: "big"}},
            "digits": {"from": "q", "pattern": r"(\d+) plus"},
            "bare": {"from": "q", "remove": r"[?]"},
        },
        question="{{ size }} {{ digits }} {{ bare }}",
        topic="{{ size }}",
    )
    records.write_rows(folder / "train.jsonl", TRAIN[:3])
    first, second = problems(path, "train")
    assert first["question"] == "small 1 What is 1 plus 1"
    assert (second["id"], second["topic"]) == ("sums/2", "big")


def test_relevance_rows_keep_the_space_before_the_label(folder):
    records.write_rows(
        folder / "test.jsonl", [{"id": "p", "query": "bag", "title": "A bag", "label": 1}]
    )
    (folder / "pairs.yaml").write_text(yaml.safe_dump(RELEVANCE))
    (row,) = load_relevance([folder / "pairs.yaml"], "test", data_dir=folder)
    assert row == {
        "id": "pairs/p",
        "task": "pairs",
        "query": "bag",
        "document": "A bag",
        "label": 1,
        "grade": 1.0,
        "prompt": "bag: A bag is",
        "positive": " good",
        "negative": " bad",
        "topic": "bag",
    }
    assert list(load_problems([folder / "pairs.yaml"], "test", data_dir=folder)) == []


def test_options_stand_in_the_question_and_the_answer_is_a_letter(folder):
    rows = [
        {"id": "x", "q": "Which?", "o": "a ) 12 , b ) 1,600", "s": "", "a": "b"},
        {"id": "y", "q": "How many?", "o": "", "s": "", "a": "a"},
    ]
    records.write_rows(folder / "test.jsonl", rows)
    split = {"parts": {"from": "o", "split": r"(?:^|,)\s*[a-e] \)"}}
    path = task(folder, kind="choice", fields=split, options="parts")
    with pytest.raises(records.BadRow, match=r"test\.jsonl:2.*the answer 'A' names no option"):
        problems(path)
    (row,) = problems(path, on_bad="skip")
    assert row["options"] == ["12", "1,600"] and row["answer"] == "B"
    assert row["question"] == "Which?\nAnswer choices: (A) 12, (B) 1,600"
    words = task(folder, kind="text", fields=split, options="parts")
    assert [("options" in row, row["answer"]) for row in problems(words)] == [
        (True, "b"),
        (False, "a"),
    ]
    with pytest.raises(records.BadRow, match="the field 'q' is no list"):
        problems(task(folder, kind="text", options="q"))


def test_a_template_may_ask_whether_a_field_is_filled(folder):
    path = task(folder, question="{% if s %}Table {{ s }}: {% endif %}{{ q }}")
    assert problems(path)[0]["question"] == "What is 500 plus 1?"
    assert problems(path, "train")[3]["question"] == "Table 3+1=4.: What is 3 plus 1?"


def test_own_examples_become_rows(folder):
    one = {"question": "Which?", "options": [2, 3], "solution": "1 + 1 = 2.", "answer": "A"}
    path = task(folder, examples=[one])
    assert load_task(path).settings["examples"] == [
        {
            "question": "Which?\nAnswer choices: (A) 2, (B) 3",
            "solution": "1 + 1 = 2. The answer is A.",
            "answer": "A",
        }
    ]


def test_a_task_with_a_prompt_of_its_own_is_asked_so_everywhere(folder):
    one = {"question": "Which?", "solution": "It is 2.", "answer": "2"}
    path = task(folder, prompt="Q: {{ question }}\nA:", examples=[one])
    train = problems(path, "train")[3]
    assert form.example(train) == "Q: What is 3 plus 1?\nA: 3+1=4. The answer is 4."
    [example] = load_task(path).settings["examples"]
    assert form.example(example) == "Q: Which?\nA: It is 2. The answer is 2."
    [row] = problems(path)
    made = fewshot.prompts([row], [train], {"sums": fewshot.Form(shots=1)}, seed=0)
    assert made[row["id"]] == f"{form.example(train)}\n\nQ: What is 500 plus 1?\nA:"
    [learned] = finetune.examples([train])
    assert learned["text"] == form.example(train)


def test_a_task_names_the_files_that_decide_how_it_is_asked():
    loaded = load_task("svamp", "math")
    assert [file.name for file in loaded.files] == ["svamp.yaml", "word_problems.yaml"]
    assert load_task("gsm8k", "math").files == [load_task("gsm8k", "math").path]


def test_entries_for_the_hub_replace_the_others(folder):
    path = task(folder, hub={"files": {"test": ["hub://a/b?split=test"]}, "answer": "{{ b }}"})
    assert load_task(path).sources("test") == ["test.jsonl"]
    assert load_task(f"{path}@hub").sources("test") == ["hub://a/b?split=test"]
    assert load_task(f"{path}@hub").settings["answer"] == "{{ b }}"
    with pytest.raises(ParameterError, match="names no source on the Hub; leave '@hub' out"):
        load_task(f"{task(folder)}@hub")


# --- mistakes ---------------------------------------------------------------------------------


def test_a_missing_field_is_named_with_the_fields_there_are(folder):
    with pytest.raises(records.BadRow) as error:
        problems(task(folder, question="{{ question }}"))
    message = str(error.value)
    assert "test.jsonl:1: sums.yaml: template 'question' needs the field 'question'" in message
    assert "fields of the row: a, id, q, s" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "{{ q.x.y }}"}, "template 'question' cannot be filled"),
        ({"question": " "}, "empty question"),
        ({"answer": "{{ s }}"}, "empty answer"),
        ({"fields": {"x": {"from": "z", "values": {}}}}, "needs a field 'z'"),
        ({"fields": {"x": {"from": "a", "values": {1: "b"}}}}, "no entry for '501'"),
    ],
)
def test_rows_that_do_not_fit_are_named(folder, changes, message):
    with pytest.raises(records.BadRow, match=rf"test\.jsonl:1: sums\.yaml.*{message}"):
        problems(task(folder, **changes))


def test_rows_that_do_not_fit_can_be_skipped_and_are_counted(folder):
    records.write_rows(folder / "test.jsonl", [*TEST, {"id": "u", "q": "?", "s": ""}, TEST[0]])
    report = Report()
    rows = problems(task(folder), on_bad="skip", report=report)
    assert len(rows) == 1 and report.documents == 1
    assert sum(report.skipped.values()) == 2


def test_missing_files_and_empty_splits_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        problems(task(folder, files={"test": ["gone.jsonl"]}))
    with pytest.raises(EmptyCorpus, match=r"sums\.yaml: no row left for the split 'test'"):
        problems(task(folder, where={"test": ["a=7"]}))
    with pytest.raises(ValueError, match="split must be one of"):
        problems(task(folder), "validation")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questoin": "{{ q }}"}, "unknown entry 'questoin'; did you mean 'question'"),
        ({"answer": None}, "entry 'answer' is missing"),
        ({"kind": "essay"}, "'kind' must lie in {number, math, text, choice}"),
        ({"form": "chat"}, "'form' must lie in {problem, relevance}"),
        ({"files": ["a.jsonl"]}, "'files' must be of type dict"),
        ({"files": {"val": []}}, "files must map train, dev, test to lists"),
        ({"fields": {"x": {"from": "a"}}}, "field 'x' needs `from` and one of"),
        ({"metric": "f1"}, "'metric' must lie in {accuracy, auc, win_rate"),
        ({"shots": -1}, r"'shots' must lie in \[0, inf\)"),
        ({"max_new_tokens": "9"}, "'max_new_tokens' must be of type int"),
        ({"stop": "Q:"}, "'stop' must be of type list"),
        ({"stop": [""]}, "stop must be a list of texts"),
        ({"prompt": "Q: "}, "prompt must hold {{ question }}"),
        ({"prompt": "{{ question }} {{ topic }}"}, "and no other field"),
        ({"question": "{q}"}, "templates are Jinja: write {{ q }} for {q}"),
        ({"question": "{{ q"}, "question: not a Jinja template"),
        ({"examples": "none"}, "examples 'none': no file"),
        ({"examples": [{"question": "?"}]}, "example 1 needs question, solution and answer"),
    ],
)
def test_a_wrong_task_file_is_named_with_what_is_wrong(folder, changes, message):
    with pytest.raises(ParameterError, match=message):
        load_task(task(folder, **changes))


def test_problems_of_the_generated_world_are_in_no_file(folder):
    with pytest.raises(ParameterError, match="made with the generated world"):
        list(load_problems(["two_step"], "test", domain="math", data_dir=folder))


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(ParameterError, match=r"no task file .*gsm9k.*gsm8k"):
        load_task("gsm9k", "math")


def test_a_task_file_is_given_by_name_or_by_a_path_from_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    by_path = load_task("params/math/tasks/gsm8k.yaml")
    assert by_path == load_task("gsm8k", "math") == load_task(by_path.path)


def test_labels_must_be_0_or_1(folder):
    records.write_rows(folder / "test.jsonl", [{"query": "b", "title": "c", "label": 3}])
    (folder / "pairs.yaml").write_text(yaml.safe_dump(RELEVANCE))
    with pytest.raises(records.BadRow, match=r"label must be 0 or 1 \(got '3'\)"):
        list(load_relevance([folder / "pairs.yaml"], "test", data_dir=folder))


def test_task_files_live_beside_the_parameters():
    assert all(path.is_relative_to(ROOT / "params") for path in TASK_FILES)
    assert isinstance(TASK_FILES[0], Path)
