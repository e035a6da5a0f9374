"""A tiny project with the real Makefile and library and six notebooks of a few lines each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from trait_lib import ROOT, run

PARAMETERS = {
    "00_start_here": "rows: int = 3  # [0, 100] how many rows\ndata_dir: str = ''  # user's files",
    "01_data_selection": "keep: int = 2  # [1, inf) how many rows stay\ndry_run: bool = False",
    "02_passage_generation": "shout: bool = False  # in capitals",
    "03_two_stage_training": "arm: str = 'trait'  # {trait, random} which\nrate: float = 0.5",
    "04_evaluation": "arm: str = 'trait'  # {trait, random} which\nshots: int = 2",
    "05_claims": "arm: str = 'trait'  # {trait, random} which",
}
CODE = {
    "00_start_here": """
from trait_lib import records
if P["data_dir"]:
    rows = list(records.read_rows(stage.external(P["data_dir"] + "/own.jsonl")))
else:
    rows = [{"id": str(i)} for i in range(10)][: P["rows"]]
records.write_rows(stage.path("rows.jsonl"), rows)
""",
    "01_data_selection": """
from trait_lib import records
from trait_lib.room import kept
if P["dry_run"]:
    run.stop_here("Nothing was kept.")
rows = list(records.read_rows(stage.read("00_start_here", "rows.jsonl")))
records.write_rows(stage.path("kept.jsonl"), kept(rows, P["keep"]))
""",
    "02_passage_generation": """
text = stage.read("01_data_selection", "kept.jsonl").read_text()
stage.path("passages.txt").write_text(text.upper() if P["shout"] else text)
import matplotlib.pyplot as plt
from trait_lib import show
fig, ax = plt.subplots()
ax.plot([1, 2])
show.save(fig, stage.path("figures/line.png"), [{"x": 1}], "A line that rises, nothing else.")
print(len(text), "characters in", run.show(stage.folder));
""",
    "03_two_stage_training": """
text = stage.read("02_passage_generation", "passages.txt").read_text()
if run.runs_dir().joinpath("memory_ran_out").exists():
    import os
    os.kill(os.getpid(), 9)
if P["rate"] > 1:
    raise ValueError(f"rate {P['rate']} is more than\\nthis model can bear")
stage.path("model/weights.txt").write_text(f"{P['arm']} {P['rate']} {text}")
""",
    "04_evaluation": """
model = stage.read("03_two_stage_training", "model")
from trait_lib import records
size = len((model / "weights.txt").read_text())
table = [{"task": "size", "base": 0.25, "adapted": size}, {"task": "shots", "adapted": P["shots"]}]
summary = {"table": table, "columns": ["task", "base", "adapted"], "notes": ["a note"]}
records.write_json(stage.path("summary.json"), summary)
""",
    "05_claims": "print('reads the committed results, and nothing of this run')",
}

# of the smallest model that trains like a large one
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def write_notebook(path: Path, parameters: str, code: str) -> None:
    common = "domain: str = 'math'\ntier: str = 'replica'\nseed: int = 0  # [0, inf)\n"
    opening = (
        "from trait_lib import params, run\n"
        f"P = params.check({path.stem!r}, globals())\n"
        f"stage = run.open_stage({path.stem!r}, P)"
    )
    cells = [
        nbformat.v4.new_markdown_cell(f"# {path.stem}\n\nA formula $x^2$."),
        nbformat.v4.new_code_cell(common + parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(opening),
        nbformat.v4.new_code_cell(code.strip()),
        nbformat.v4.new_code_cell("stage.close();"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def project(folder: Path) -> Path:
    """Write the tiny project into `folder`."""
    (folder / "params").mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "params/claims.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "README.md").write_text("# Tiny\n")
    library = folder / "trait_lib"
    shutil.copytree(ROOT / "trait_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    (folder / "figures").mkdir()
    (library / "room.py").write_text("def kept(rows, count):\n    return rows[:count]\n")
    (folder / "notebooks").mkdir()
    for stage in run.STAGES:
        write_notebook(folder / f"notebooks/{stage}.ipynb", PARAMETERS[stage], CODE[stage])
        for tier in ("replica", "local"):
            file = folder / f"params/math/{tier}/{stage}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"domain: math\ntier: {tier}\n")
    return folder


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in the tiny project, with the environment that runs the tests."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "TRAIT_", "MFLAGS"))}
    return subprocess.run(
        ["make", f"PY={sys.executable}", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The numbers of the stages that a call of make ran, such as ["03", "04"]."""
    lines = done.stdout.splitlines()
    return [line[:2] for line in lines if "progress:" in line]
