"""The model card of a trained model: what it was made from, in words and numbers of its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = (
    "sequence_length batch_tokens learning_rate schedule schedule_scope warmup_share decay_share "
    "final_lr_share weight_decay adam_beta1 adam_beta2 clip precision isolate_documents engine seed"
).split()


def write_card(
    config: Mapping[str, Any], plan: Mapping[str, Any], log: Sequence[Mapping[str, Any]]
) -> str:
    """Return the card's text from the configuration, the plan's report and the log's lines.

    No path of the machine stands in it: sources and the base model are named by their last part.
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
    return "\n".join([*head, *mixture, *settings]) + "\n"
