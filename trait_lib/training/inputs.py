"""What notebook 03 reads: the model that an arm starts from, and the files that it trains on.

Every file is recorded as an input of the stage. Passages are parted for good into those that are
trained on and a few that are only measured, the same ones in every arm. Not stated in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trait_lib import pretrained, records, run, weights
from trait_lib.training import arms, finetune
from trait_lib.training.data import proof, shards
from trait_lib.training.loop import heldout

BASE = "00_start_here"
Values = Mapping[str, Any]


def starting_model(stage: run.Stage, values: Values) -> dict[str, str]:
    """The model that the arm in `values` starts from: see `pretrained.record`.

    Raises:
        run.StageMissing: the arm goes on from one that has not been trained, or the files of the
            base model are no longer those that notebook 00 recorded.
    """
    if values["dry_run"] and values["base_model"]:
        asked = values["base_model"]
        place = str(pretrained.folder(asked)) if weights.is_gguf(asked) else asked
        return {"name_or_path": place, "asked": asked, "end_mark": ""}
    base = records.read_json(stage.read(BASE, "base_model.json"))
    before = arms.find(values["arm"]).finetunes
    if values["dry_run"] or before in ("", arms.BASE):
        place = stage.external(base["name_or_path"])
        if stage.inputs[str(place)] != base["hash"]:
            raise run.StageMissing(f"{place} has changed since notebook 00 read it; run 00 again")
        return base
    folder = run.stage_dir(stage.name, {**values, "arm": before})
    if not (folder / "manifest.json").exists():
        raise run.StageMissing(f"run this notebook with arm {before} first: {run.show(folder)}")
    model = str(stage.external(folder / "model"))
    return {**base, "name_or_path": model, "asked": f"the model of arm {before}"}


def gather(stage: run.Stage, values: Values) -> dict[str, str]:
    """The file of each source of the arm, by the name of the source; bare names in a dry run."""
    sources = arms.sources(values["arm"])
    if counted := arms.find(values["arm"]).as_often_as:
        sources.append(counted)
    if values["dry_run"]:
        return {source: arms.FILES[source][1] for source in sources}
    return {source: str(_file_of(stage, source, values)) for source in sources}


def _file_of(stage: run.Stage, source: str, values: Values) -> Path:
    writer, name = arms.FILES[source]
    if source == "tasks":
        return _problems_as_text(stage, stage.path(name))
    path = stage.read(writer, name)
    if not source.startswith("passages"):
        return path
    kept, held = stage.path(f"train_{name}"), stage.path(f"heldout_{name}")
    counts = heldout.split(path, values["heldout_passages_share"], kept, held)
    print(f"{source}: {counts[0]:,} to train on, {counts[1]} held out")
    return kept


def _problems_as_text(stage: run.Stage, path: Path) -> Path:
    """Write the training problems as they are asked in notebook 04, without held-out ones."""
    names = ("problems_train.jsonl", "relevance_train.jsonl")
    rows = [records.read_rows(stage.read(BASE, name)) for name in names]
    kept, left_out = proof.without_held_out(
        finetune.examples(*rows), _held_out_problems(stage), _known(stage)
    )
    print(f"{len(kept):,} training problems; {len(left_out)} left out that hold a test question")
    records.write_rows(path, kept)
    return path


def settings(values: Values, files: Mapping[str, str], model: Mapping[str, str]) -> Values:
    """The settings of the arm's training: the notebook's own, or with those of fine-tuning.

    Fine-tuning also gets `finetune_tokens`, the tokens of all its epochs; in a dry run, which has
    no file to count in, by the guess `finetune_epoch_tokens`. An arm that reads its passages as
    often as others gets `passages_share`, 1 in a dry run; see `arms.stages`.
    """
    arm, tokenizer = arms.find(values["arm"]), None
    if not values["dry_run"]:
        tokenizer = pretrained.tokenizer(model["name_or_path"], model["end_mark"])
    if arm.as_often_as:
        read = [files[name] for name in (arm.passages, arm.as_often_as)] if tokenizer else []
        own, whole = [shards.tokenise(file, tokenizer).tokens.size for file in read] or (1, 1)
        return {**values, "passages_share": own / whole}
    if not arm.finetunes:
        return values
    one = values["finetune_epoch_tokens"]
    if tokenizer:
        length, learned = values["sequence_length"], values["finetune_loss"]
        one = finetune.epoch_tokens(files["tasks"], tokenizer, length, learned)
    return {**finetune.settings(values), "finetune_tokens": one * values["finetune_epochs"]}


def prove_clean(stage: run.Stage, files: Mapping[str, str]) -> dict[str, int]:
    """Search all files that are trained on for held-out problems; see `proof.prove_clean`.

    Relevance pairs and general questions are looked for too and only reported, in `proof.json`.
    """
    also = [stage.read(BASE, f"{name}.jsonl") for name in ("relevance_test", "general_questions")]
    asked = _held_out_problems(stage), _known(stage), also
    return proof.prove_clean(files, *asked, stage.path("proof.json"))


def _held_out_problems(stage: run.Stage) -> list[Path]:
    """The files of the problems that are asked in notebook 04."""
    return [stage.read(BASE, f"problems_{split}.jsonl") for split in ("test", "dev")]


def _known(stage: run.Stage) -> Path:
    """What notebook 00 knows of them: words that many share do not count."""
    return stage.read(BASE, "contamination.json")


def watched(stage: run.Stage, values: Values) -> list[dict[str, str]]:
    """The texts that are measured and never trained on, for the configuration's `heldout`.

    In-domain documents, passages (where a share of them is held out) and general text.
    """
    texts = {"domain": stage.read(BASE, "heldout_domain.jsonl")}
    if values["heldout_passages_share"]:
        texts["passages"] = stage.path("heldout_passages.jsonl")
        if "passages" not in arms.sources(values["arm"]):
            _file_of(stage, "passages", values)  # the same passages in every arm
    texts["general"] = stage.read(BASE, "heldout_general.jsonl")
    return [{"name": name, "file": str(file)} for name, file in texts.items()]
