"""The arms: which files feed which stage of training, as data; every arm trains on equally many
tokens, so that what differs is the text.

Paper: the two-stage method, the comparison with continual pre-training on random and on
DSIR-selected text, with passages that lack the enlightenment paragraph, and with one mixed stage;
and, as a second setting, fine-tuning on the downstream tasks. Ours: the arm that selects by mining
in rounds, the arms that leave out a stage, the replay or the quality filter, passages after other
documents, the controls, and the equal token budget (of all arms but those that fine-tune, and
`no_enlightenment_equal_passages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Stage = dict[str, Any]

# The files of an arm by the name of their source: (notebook that wrote it, file name).
FILES: dict[str, tuple[str, str]] = {
    "selected": ("01_data_selection", "selected.jsonl.zst"),
    "mined": ("01_data_selection", "mined.jsonl.zst"),  # where notebook 01's `compare` names it
    "random": ("01_data_selection", "random.jsonl.zst"),
    "dsir": ("01_data_selection", "dsir.jsonl.zst"),
    "unfiltered": ("01_data_selection", "unfiltered.jsonl.zst"),
    "shuffled": ("01_data_selection", "shuffled.jsonl.zst"),  # where `compare` names it
    "seed": ("00_start_here", "seed.jsonl.zst"),
    "replay": ("00_start_here", "general.jsonl.zst"),
    "passages": ("02_passage_generation", "passages.jsonl"),
    "passages_no_enlightenment": ("02_passage_generation", "passages_no_enlightenment.jsonl"),
    "tasks": ("03_two_stage_training", "examples.jsonl"),  # training problems, as they are asked
    "passages_other": ("claims", "passages_other.jsonl"),  # another domain's
    "passages_permuted": ("claims", "passages_permuted.jsonl"),  # see `trait_lib.claims.controls`
}
BASE = "base"


@dataclass(frozen=True)
class Arm:
    """One row of the comparison.

    `documents`: the text of stage 1 ("" for none), `seed`: with the original in-domain corpus
    beside it, `passages`: the text of stage 2 ("" for none), `replay`: general text in each stage,
    `mixed`: everything in one stage. `as_often_as`: read each passage as often as those of this
    source would be read, and not more often because they are shorter. `finetunes`: instead of all
    that, fine-tune the model of this arm, or `BASE`, on the training problems.
    """

    meaning: str
    documents: str = "selected"
    seed: bool = True
    passages: str = "passages"
    replay: bool = True
    mixed: bool = False
    as_often_as: str = ""
    finetunes: str = ""


ARMS: dict[str, Arm] = {
    "trait": Arm("the method: stage 1 on selected and seed text, stage 2 on passages"),
    "trait_mined": Arm(
        "the method on documents ranked by mining in rounds, which is ours", documents="mined"
    ),
    "stage1_only": Arm("no passages: all tokens on selected and seed text", passages=""),
    "stage2_only": Arm("no documents: all tokens on passages", documents="", seed=False),
    "random": Arm(
        "continual pre-training on random general text", documents="random", seed=False, passages=""
    ),
    "dsir": Arm(
        "continual pre-training on DSIR-selected and seed text", documents="dsir", passages=""
    ),
    "random_passages": Arm(
        "passages after random general text: does selection matter then?",
        documents="random",
        seed=False,
    ),
    "dsir_passages": Arm("passages after DSIR-selected and seed text", documents="dsir"),
    "no_quality_filter": Arm(
        "documents by the classifier alone, without the filter", documents="unfiltered"
    ),
    "no_enlightenment": Arm(
        "passages without the enlightenment paragraph", passages="passages_no_enlightenment"
    ),
    "no_enlightenment_equal_passages": Arm(
        "the same, each passage read as often as in trait, so fewer tokens",
        passages="passages_no_enlightenment",
        as_often_as="passages",
    ),
    "one_mixed_stage": Arm("the tokens of both stages in one mixture", mixed=True),
    "no_replay": Arm("both stages without general text", replay=False),
    "base_finetuned": Arm("the base model, fine-tuned on the training problems", finetunes=BASE),
    "trait_finetuned": Arm("the model of arm trait, fine-tuned on the same", finetunes="trait"),
}

# Controls: each lacks what the method claims to work by, so that what is left of the gain under
# it is no merit of the method. Notebook 03 does not offer them; `make claims` trains them.
CONTROLS: dict[str, Arm] = {
    "shuffled_labels": Arm(
        "as trait, on documents of a classifier that learned shuffled labels", documents="shuffled"
    ),
    "other_passages": Arm("as trait, on passages of another domain", passages="passages_other"),
    "permuted_answers": Arm(
        "as trait, on passages whose facts are another entity's: form without knowledge",
        passages="passages_permuted",
    ),
}
# What is asked without a training: the base model with an open book, and answers without a model.
ANSWERERS: dict[str, str] = {
    "open_book": "the base model, told before each question the facts that it turns on",
    "constant_answer": "every question of a task gets the most frequent answer of its examples",
    "copied_answer": "every question gets the answer of the last example in its prompt",
}


def find(name: str) -> Arm:
    """The arm, or the control that is trained, called `name`.

    Raises:
        ValueError: there is none; names all arms.
    """
    if name not in ARMS | CONTROLS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)}, got {name!r}")
    return (ARMS | CONTROLS)[name]


def sources(name: str) -> list[str]:
    """The sources (keys of `FILES`) that an arm trains on, in order of first use."""
    arm = find(name)
    if arm.finetunes:
        return ["tasks"]
    used = [arm.documents, "seed" if arm.seed else "", arm.passages, "replay" if arm.replay else ""]
    return [source for source in used if source]


def stages(name: str, settings: Mapping[str, Any], files: Mapping[str, str | Path]) -> list[Stage]:
    """The `stages` list of the training configuration for an arm.

    Args:
        name: a key of `ARMS`.
        settings: `tokens_stage1`, `tokens_stage2`; `replay_stage1`, `replay_stage2`: share of
            general text in each stage; `seed_share`: share of the original in-domain corpus in the
            in-domain text of stage 1.
            An arm that fine-tunes needs `finetune_tokens` and nothing else; one with `as_often_as`
            also `passages_share`, the tokens of its passages over those of that source: stage 2 is
            shortened to this share, its replay in proportion.
        files: the path of each of `sources(name)`.

    An arm with one part only gives it the tokens of both stages. Sources of weight 0 are left out.

    Raises:
        ValueError: no such arm, or `files` lacks one of its sources.
    """
    arm = find(name)
    if missing := [source for source in sources(name) if source not in files]:
        raise ValueError(f"arm {name!r} needs the files of {missing}")
    if arm.finetunes:
        return [_stage("fine-tuning", settings["finetune_tokens"], {"tasks": 1.0}, files)]
    first, second = settings["tokens_stage1"], settings["tokens_stage2"]
    if arm.as_often_as:
        second = round(second * settings["passages_share"])
    keep = settings if arm.replay else {**settings, "replay_stage1": 0.0, "replay_stage2": 0.0}
    one = _documents(arm, keep)
    two = _with_replay({arm.passages: 1.0}, keep["replay_stage2"])
    if arm.mixed:
        both = {s: first * one.get(s, 0.0) + second * two.get(s, 0.0) for s in {**one, **two}}
        total = first + second
        return [_stage("mixed", total, {s: w / total for s, w in both.items()}, files)]
    if not arm.passages:
        return [_stage("stage 1", first + second, one, files)]
    if not arm.documents:
        return [_stage("stage 2", first + second, two, files)]
    return [_stage("stage 1", first, one, files), _stage("stage 2", second, two, files)]


def _documents(arm: Arm, settings: Mapping[str, Any]) -> dict[str, float]:
    seed = settings["seed_share"] if arm.seed else 0.0
    return _with_replay({arm.documents: 1 - seed, "seed": seed}, settings["replay_stage1"])


def _with_replay(domain: Mapping[str, float], replay: float) -> dict[str, float]:
    """Scale the in-domain weights to 1 - replay and add the replay."""
    return {**{name: weight * (1 - replay) for name, weight in domain.items()}, "replay": replay}


def _stage(
    name: str, tokens: int, weights: Mapping[str, float], files: Mapping[str, str | Path]
) -> Stage:
    used = [
        {"name": source, "file": str(files[source]), "weight": round(weight, 6)}
        for source, weight in weights.items()
        if weight > 0
    ]
    return {"name": name, "tokens": tokens, "sources": used}
