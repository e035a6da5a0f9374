"""The model card of a trained model: what it was made from, in words and numbers of its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

PACKAGES = "torch transformers accelerate deepspeed tokenizers".split()
SHOWN = (
    "sequence_length batch_tokens learning_rate schedule schedule_scope warmup_share decay_share "
    "final_lr_share weight_decay adam_beta1 adam_beta2 clip precision isolate_documents "
    "whole_documents loss_on engine seed"
).split()


def write_card(
    config: Mapping[str, Any],
    plan: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    measured: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the card's text from what the stage's manifest rests on.

    That is the configuration, the plan's report, the log's lines of steps and of held-out
    measurements, and the packages. The commit stands in the manifest only: a model's folder is the
    same bytes whenever its training was. No path of the machine stands in it: sources and the base
    model are named by their last part.
    """
    base = config["model"].rstrip("/").rpartition("/")[2] or "none (new weights)"
    head = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "---",
        "# Model trained by the TRAIT recipe",
        "",
        "Made by an independent implementation of *Task Oriented In-Domain Data Augmentation*",
        "(arXiv 2406.16694). Not reviewed for any use beyond the study of that method.",
        "",
        f"- Starting point: {base}",
        f"- Steps: {plan['steps']}; tokens: {plan['tokens']}",
        f"- Plan of the data (SHA-256): `{plan['hash']}`",
        f"- Loss at the last step: {log[-1]['loss']:.4f} nats a token" if log else "- No log",
        f"- Packages: {', '.join(f'{name} {metadata.version(name)}' for name in PACKAGES)}",
        "",
        "| stage | source | share | tokens | epochs |",
        "|---|---|---|---|---|",
    ]
    mixture = [
        f"| {stage['name']} | {s['name']} | {s['share']:.3f} | {s['tokens']} | {s['epochs']:.2f} |"
        for stage in plan["stages"]
        for s in stage["sources"]
    ]
    settings = ["", "| setting | value |", "|---|---|", *(f"| {k} | {config[k]} |" for k in SHOWN)]
    return "\n".join([*head, *mixture, *_texts(measured), *settings]) + "\n"


def _texts(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of held-out texts, before the training and after it."""
    if not measured:
        return []
    first, last = measured[0]["heldout"], measured[-1]["heldout"]
    rows = [
        f"| {name} | {first[name]['bits_per_byte']:.4f} | {last[name]['bits_per_byte']:.4f} |"
        for name in last
    ]
    return ["", "| held-out text | bits per byte before | after |", "|---|---|---|", *rows]
