"""What counts as correct: a table of cases for each rule, the time limit, the command line."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from trait_lib import ROOT, records
from trait_lib.grading import answers, expressions

CASES = list(records.read_rows(Path(__file__).with_name("policy_cases.jsonl")))
RULES = list(dict.fromkeys(case["rule"] for case in CASES))
DATA = Path(os.environ.get("TRAIT_SHARED_DATA") or ROOT.parent / "shared" / "data")
PRACTICE = DATA / "answer_pairs_practice.jsonl.gz"
PATIENCE = 60  # seconds; the promise is 10, and the machine may be shared with other tests
TOWER = "9^{9^{9^9}}"


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_of_the_answer_policy(rule):
    wrong = []
    cases = [case for case in CASES if case["rule"] == rule]
    for case in cases:
        verdict = answers.grade(case["gold"], case["text"], case["kind"])
        if verdict.correct != case["correct"]:
            wrong.append((case, verdict))
    assert not wrong
    assert {case["correct"] for case in cases} == {True, False} or rule.startswith("3")


@pytest.mark.skipif(not PRACTICE.exists(), reason=f"{PRACTICE.name} is not on this machine")
def test_a_sample_of_the_practice_pairs():
    with gzip.open(PRACTICE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][::10]
    answers.judge().ready()
    right, seconds = Counter(), 0.0
    for row in rows:
        verdict = answers.grade(row["gold"], row["prediction_text"])
        right[row["expected"]] += verdict.correct == row["expected"]
        seconds += verdict.seconds
    expected = Counter(row["expected"] for row in rows)
    assert right[True] >= 0.995 * expected[True]
    assert right[False] >= 0.998 * expected[False]
    assert seconds / len(rows) < 1  # 0.001 s on an idle machine


def test_a_numeric_gold_from_json():
    assert answers.grade(145.0, "The answer is 145.").correct
    assert answers.grade(7, "The answer is 7.", "number").correct
    assert not answers.grade(0, None, "number").correct
    assert not answers.grade(0.5, "The answer is 50%.").correct


def test_other_right_answers_count():
    verdict = answers.grade(
        "cheap tents", "The answer is low cost tents.", "text", ["low-cost tents"]
    )
    assert verdict.correct
    assert not answers.grade("cheap tents", "The answer is tents.", "text", ["a tent"]).correct


def test_the_verdict_says_what_was_found_and_why():
    verdict = answers.grade("5", "so \\boxed{6}", "number")
    assert (verdict.extracted, verdict.reason) == ("6", "box: a different number")
    assert answers.grade("5", "I give up", "number").extracted is None


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'words'; it must be one of number, math"):
        answers.grade("5", "5", "words")


@pytest.fixture
def hurried(monkeypatch):
    """A judge that gets one second."""
    judge = answers.judge()
    judge.ready()
    monkeypatch.setattr(judge, "seconds", 1.0)
    yield judge
    monkeypatch.undo()
    judge.ready()


@pytest.mark.parametrize(
    "formula", [TOWER, "(10^{10})!", "\\binom{10^{10}}{7^{11}}", "\\frac{1}{9^{9^{9}}}"]
)
def test_towers_and_giant_factorials_are_refused_without_working_them_out(monkeypatch, formula):
    monkeypatch.setattr(answers.judge(), "compare", lambda *pair: pytest.fail(str(pair)))
    assert not answers.grade("5", f"\\boxed{{{formula}}}", "math").correct
    assert not answers.grade(formula, f"\\boxed{{{formula} + 1}}", "math").correct
    assert answers.grade(formula, f"\\boxed{{ {{{formula}}} }}", "math").correct  # the same formula


def test_a_formula_that_hangs_is_stopped_and_the_next_is_judged(hurried, monkeypatch):
    monkeypatch.setattr(expressions, "too_large", lambda tree: False)
    started = time.monotonic()
    verdict = answers.grade("5", f"\\boxed{{{TOWER}}}", "math")
    assert (verdict.correct, verdict.reason) == (False, "box: math-verify: timeout")
    assert time.monotonic() - started < PATIENCE
    hurried.seconds = 8.0
    assert answers.grade("2\\sqrt{2}", "\\boxed{\\sqrt{8}}", "math").reason == (
        "box: math-verify: equal"
    )


@pytest.mark.parametrize("count", [2, 20])
def test_many_towers_share_one_time_limit(hurried, monkeypatch, count):
    monkeypatch.setattr(answers, "SECONDS", 1.5)
    monkeypatch.setattr(expressions, "too_large", lambda tree: False)
    many = ", ".join(f"{TOWER} + {n}" for n in range(count))
    fewer = ", ".join(f"{TOWER} - {n + 1}" for n in range(count))
    started = time.monotonic()
    assert not answers.grade(many, f"\\boxed{{{fewer}}}", "math").correct
    assert time.monotonic() - started < PATIENCE


LONG = {
    "braces": "{" * 100_000,
    "boxes": "\\boxed{" * 25_000,
    "closed boxes": "\\boxed{" * 25_000 + "}" * 25_000,
    "fractions": "\\frac{" * 30_000,
    "numbers": "1 " * 100_000,
    "letters": "a " * 100_000,
    "phrases": "the answer is " * 14_000,
    "endings": "final answer is " * 12_000 + "I hope",
    "dollars": "$" * 200_000,
    "marks": "#" * 200_000,
    "brackets": "(" * 50_000 + "5" + ")" * 50_000,
    "lines": "1\n" * 100_000,
    "empty lines": "\n" * 200_000,
    "spaces": " " * 200_000,
    "texts": "\\text{a} " * 25_000,
    "signs": "−½" * 100_000,
    "list": "1," * 100_000,
}


@pytest.mark.parametrize("name", LONG)
def test_two_hundred_kilobytes_get_a_verdict_in_time(name):
    for text in (LONG[name], f"\\boxed{{{LONG[name]}}}", f"The answer is {LONG[name]}"):
        started = time.monotonic()
        assert not answers.grade("12345", text, "number").correct
        assert time.monotonic() - started < PATIENCE


def test_numbers_of_twenty_thousand_digits():
    digits = "7" * 20_000
    assert answers.grade(digits, f"The answer is {digits}.", "number").correct
    assert not answers.grade(digits, f"The answer is {digits[:-1]}8.", "number").correct
    grouped = ",".join(["77", *["777"] * 6666])
    assert answers.grade(digits, f"The answer is {grouped}.", "number").correct


# --- the command line -------------------------------------------------------------------------


def run(*arguments):
    command = [sys.executable, "-m", "trait_lib.grading.answers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_command_writes_the_rows_back_with_verdicts(tmp_path):
    rows = [
        {"id": "a", "gold": "5", "prediction_text": "The answer is 5.", "kind": "number"},
        {"id": "b", "gold": "\\frac{1}{2}", "prediction_text": "\\boxed{\\sin 30^\\circ}"},
        {"id": "c", "gold": "B", "prediction_text": None, "kind": "choice"},
    ]
    records.write_rows(tmp_path / "pairs.jsonl", rows)
    done = run(tmp_path / "pairs.jsonl", "--out", tmp_path / "graded.jsonl.gz")
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 of 3 correct" in done.stderr
    graded = list(records.read_rows(tmp_path / "graded.jsonl.gz"))
    assert [row["correct"] for row in graded] == [True, True, False]
    assert all({"extracted", "reason", "seconds"} <= row.keys() for row in graded)
    assert [{k: row[k] for k in one} for row, one in zip(graded, rows, strict=True)] == rows
    printed = run(tmp_path / "pairs.jsonl").stdout.splitlines()
    assert [json.loads(line)["correct"] for line in printed] == [True, True, False]


def test_the_command_names_what_is_wrong_with_its_file(tmp_path):
    records.write_rows(
        tmp_path / "pairs.jsonl", [{"gold": "5", "prediction_text": "5"}, {"gold": "1"}]
    )
    done = run(tmp_path / "pairs.jsonl", "--out", tmp_path / "graded.jsonl")
    assert done.returncode == 2
    assert "pairs.jsonl:2 has no field 'prediction_text'" in done.stderr
    assert not (tmp_path / "graded.jsonl").exists()
    (tmp_path / "broken.jsonl").write_text('{"gold": "5", "prediction_text": "5"}\n{"gold"\n')
    assert "broken.jsonl:2: not JSON" in run(tmp_path / "broken.jsonl").stderr
    assert "no such file" in run(tmp_path / "absent.jsonl").stderr


def test_rows_without_a_kind_and_with_texts_that_are_none():
    rows = [
        {"gold": 5, "prediction_text": 5.0},
        {"gold": "B", "prediction_text": "option (b)", "kind": None},
        {"gold": "linear", "prediction_text": "Linear.", "kind": ""},
        {"gold": "3:30 P.M.", "prediction_text": "The answer is 3:30 p.m."},
        {"gold": "\\frac12", "prediction_text": "\\boxed{0.5}", "kind": "Math"},
        {"gold": "shortage", "prediction_text": "(A)", "options": ["shortage", "surplus"]},
    ]
    assert [row["correct"] for row in answers.grade_rows(rows)] == [True] * 6
    wrong = [{"gold": "0", "prediction_text": value} for value in (None, [], {}, True, "", "\x00")]
    assert [row["correct"] for row in answers.grade_rows(wrong)] == [False] * 6
    with pytest.raises(ValueError, match="row 1: unknown kind 'words'"):
        list(answers.grade_rows([{"gold": "5", "prediction_text": "5", "kind": "words"}]))


def test_grading_goes_on_where_it_was_killed(tmp_path):
    rows = [{"gold": str(n), "prediction_text": f"The answer is {n % 7}."} for n in range(3000)]
    records.write_rows(tmp_path / "pairs.jsonl", rows)
    whole, part = tmp_path / "whole.jsonl", tmp_path / ".graded.jsonl.gz.part"
    answers.grade_file(tmp_path / "pairs.jsonl", whole)
    command = [sys.executable, "-m", "trait_lib.grading.answers", tmp_path / "pairs.jsonl"]
    command += ["--out", tmp_path / "graded.jsonl.gz"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not (part.exists() and part.stat().st_size > 10_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert part.exists()
    assert not (tmp_path / "graded.jsonl.gz").exists()
    kept = part.read_bytes()
    count, right, old = answers.grade_file(tmp_path / "pairs.jsonl", tmp_path / "graded.jsonl.gz")
    assert (count, right) == (3000, 7)
    assert old == kept.count(b"\n") - 1 > 0
    assert not part.exists()
    seconds = {"seconds": 0}
    graded, expected = (
        [row | seconds for row in records.read_rows(path)]
        for path in (tmp_path / "graded.jsonl.gz", whole)
    )
    assert graded == expected


def test_old_verdicts_are_not_kept_for_other_rows_or_rules(tmp_path):
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "graded.jsonl"
    part = tmp_path / ".graded.jsonl.part"
    rows = [{"gold": "5", "prediction_text": "5"}, {"gold": "1"}]
    records.write_rows(pairs, rows)
    with pytest.raises(ValueError, match="no field 'prediction_text'"):
        answers.grade_file(pairs, out)
    assert part.read_text().count("\n") == 2
    records.write_rows(pairs, [{"gold": "5", "prediction_text": "6"}])
    with pytest.raises(ValueError, match="has changed since"):
        answers.grade_file(pairs, out)
    assert answers.grade_file(pairs, out, compat=True) == (1, 0, 0)  # other rules: from the start
    assert not part.exists()


def test_whatever_takes_too_long_in_this_process_is_stopped(monkeypatch):
    def endless(*_):
        while True:
            pass

    monkeypatch.setattr(answers, "SECONDS", -0.5)
    monkeypatch.setattr(answers, "extract", endless)
    verdict = answers.grade("5", "The answer is 5.", "number")
    assert (verdict.correct, verdict.reason) == (False, "cannot be read (OutOfTime)")
