"""One's own domain, tier, prompts and prices from a folder outside of the repository."""

import os
import random
import re
import subprocess
import sys

import pytest
from tiny import ran

from trait_lib import ROOT, params, records
from trait_lib.repo import commands

(WALK,) = re.findall(r"```bash\n(# 1\. .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
DISHES = "soup bread cake stew pie salad omelette risotto curry dumplings".split()
PLACES = "harbour bridge tower market museum station garden castle theatre library".split()


ENDINGS = (
    "",
    " The crust is thin, because the oven is hot. That is why the dough rests first.",
    " Click here to subscribe to our newsletter.",
)


def recipe(number):
    """Of one of three qualities, as grades go."""
    chance = random.Random(number)
    dish, cups, people = chance.choice(DISHES), chance.randint(2, 9), chance.randint(2, 9)
    return (
        f"For the {dish} of page {number}, stir {cups} cups of flour with salt, water and butter, "
        f"knead the dough, and bake it until the crust is brown. It serves {people} guests at home."
        f"{ENDINGS[number % 3]}"
    )


def report(number):
    chance = random.Random(-1 - number)
    place, year, visitors = chance.choice(PLACES), chance.randint(1700, 2020), chance.randint(9, 99)
    return (
        f"The {place} of district {number} was built in {year} by the council of the town, which "
        f"still owns it. About {visitors} visitors come each day, most of them by train or on foot."
    )


def problem(number):
    chance = random.Random(7 * number)
    dish, cups = chance.choice(DISHES), chance.randint(2, 9)
    times = chance.randint(2, 9)
    return {
        "question": f"One {dish} of page {number} takes {cups} cups of flour. How many cups do "
        f"{times} of them take?",
        "solution": f"{times} times {cups} cups are {times * cups} cups.",
        "answer": times * cups,
    }


@pytest.fixture
def home(tmp_path):
    """A folder with the texts and problems of step 1."""
    data = tmp_path / "cooking/data"
    corpus = [report(n) if n % 5 else recipe(1000 + n) for n in range(6000)]
    for name, texts in (("corpus", corpus), ("seed", [recipe(n) for n in range(150)])):
        rows = ({"id": f"{name}-{n}", "text": text} for n, text in enumerate(texts))
        records.write_rows(data / f"{name}.jsonl", rows)
    records.write_rows(data / "train.jsonl", map(problem, range(150)))
    records.write_rows(data / "test.jsonl", map(problem, range(150, 170)))
    return tmp_path


def walk(home, target, script=WALK):
    """Run README's lines, or changed ones, with another last target."""
    text = script.replace(" reproduce ", f" {target} ")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "TRAIT_"))}
    return subprocess.run(
        ["bash", "-euc", text],
        cwd=home,
        env={**kept, "TRAIT": str(ROOT), "PY": sys.executable},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_walk_through_of_readme_is_ready_to_run(home):
    assert "reproduce" in WALK
    done = walk(home, "check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "stage", "words"),
    [
        ("rm params/cooking/prompts/passage.txt", "02", "passage.txt: no such template"),
        ("echo '{{ x' >params/cooking/prompts/passage.txt", "02", "passage.txt:1: unexpected"),
        ("rm params/cooking/tasks/recipes.yaml", "00", "no task file"),
        (
            "sed -i.old s/answer:/answr:/ params/cooking/tasks/recipes.yaml",
            "00",
            "'answer' is missing",
        ),
        ("rm data/test.jsonl", "00", "recipes.yaml: 'test.jsonl' is no file"),
        ("set 00 'corpus: world'", "00", "corpus: world has no domain 'cooking'"),
        ("set 02 'teacher: server'", "02", "needs the server's name of the model"),
        ("set 02 'teacher: server' 'model: new' 'base_url: https://a.org'", "02", "no price for"),
        ("set 02 'teacher: server' 'model: new' 'base_url: http://10.0.0.1'", "", ""),
        ("set 01 'teacher_base_url: https://a.org' 'teacher_model: new'", "01", "no price for"),
        ("set 04 'price_file: none.yaml'", "", ""),  # nobody is paid
        ("set 04 'shots_by_task: [recipes]'", "04", "recipes"),
        ("set 04 'judge_model: new'; echo 'metric: win_rate' >>$TASK", "04", "no such template"),
    ],
)
def test_what_a_later_notebook_would_miss_is_told_before_the_first_starts(
    home, change, stage, words, monkeypatch
):
    helper = """
TASK=params/cooking/tasks/recipes.yaml
set() { file=$(echo params/cooking/kitchen/$1*.yaml); shift; printf '%s\\n' "$@" >>$file; }
"""
    steps, _ = WALK.split("# 5. the run\n")
    done = walk(home, "check", script=f"{helper}{steps}\n{change}\n")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("TRAIT_PARAMS", str(home / "cooking/params"))
    words_of_make = ["check", "--domain", "cooking", "--tier", "kitchen"]
    args = commands.parser().parse_args([*words_of_make, "--data", str(home / "cooking/data")])
    if stage:
        with pytest.raises(params.ParameterError) as caught:
            commands.check(args)
        assert str(caught.value).startswith(f"{stage}_") and words in str(caught.value)
    else:
        commands.check(args)
    assert not (home / "cooking/runs").exists()


@pytest.mark.commanded
def test_the_walk_through_of_readme_runs_to_its_end(home):
    done = walk(home, "reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == ["00", "01", "02", "03", "04", "05"]
    assert "cooking, kitchen tier, arm trait, seed 0" in done.stdout
    again = walk(home, "reproduce")
    assert again.returncode == 0 and ran(again) == []
    inputs = records.read_json(
        home / "cooking/runs/cooking/kitchen/data/seed0/02_passage_generation/manifest.json"
    )["inputs"]
    assert "params/cooking/prompts/passage.txt" in inputs
