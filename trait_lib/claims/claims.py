"""The paper's claims as data: which arms, on what score, in which direction; and its own numbers.

Marks of the paper's numbers: P, read in the paper's own words or figures; S, read in a text about
the paper. A claim may rest on several comparisons: it holds where all of them do. Claim 9 rests on
claims 1 and 2 in `NEW_DOMAIN`.
"""

from __future__ import annotations

from dataclasses import dataclass

MEAN, PASSAGES, DOCUMENTS, HELD_OUT, GENERAL = (
    "mean of tasks",
    "entities in passages",
    "entities in documents only",
    "held-out task",
    "general questions",
)
NEW_DOMAIN = "law"
MARGIN = 0.05  # share of general questions whose loss still counts as kept; ours


@dataclass(frozen=True)
class Comparison:
    """`arm` against `against` on the score `task`, larger is better; see `verdicts.verdict`.

    `margin`: by how much it may be worse, for what is only to be kept.
    """

    claim: int
    name: str
    arm: str
    against: str
    task: str = MEAN
    metric: str = "accuracy"
    margin: float = 0.0


CLAIMS: dict[int, str] = {
    1: "TRAIT is better than the base model",
    2: "and than continual pre-training on random or DSIR-selected text",
    3: "selected documents are better than random ones, stage 1 alone",
    4: "passages help beyond stage 1, and stage 1 beyond passages where knowledge is needed",
    5: "the enlightenment paragraph helps",
    6: "two stages are better than one mixed stage",
    7: "the quality filter helps",
    8: "general ability is kept",
    9: "it carries over to a new domain",
}
COMPARISONS: tuple[Comparison, ...] = (
    Comparison(1, "over base", "trait", "base"),
    Comparison(2, "over random", "trait", "random"),
    Comparison(2, "over DSIR", "trait", "dsir"),
    Comparison(3, "selected over random", "stage1_only", "random"),
    Comparison(4, "passages beyond stage 1", "trait", "stage1_only"),
    Comparison(4, "stage 1 beyond passages", "trait", "stage2_only", DOCUMENTS),
    Comparison(5, "at equal tokens", "trait", "no_enlightenment"),
    Comparison(5, "at equal passages", "trait", "no_enlightenment_equal_passages"),
    Comparison(5, "on a held-out task", "trait", "no_enlightenment", HELD_OUT),
    Comparison(6, "two over one", "trait", "one_mixed_stage"),
    Comparison(7, "with over without", "trait", "no_quality_filter"),
    Comparison(8, "general questions", "trait", "base", GENERAL, margin=MARGIN),
)
# Ads as the paper scores them. A win rate is against the base model's answers.
AS_THE_PAPER_SCORES: tuple[tuple[str, str], ...] = (
    ("query_landing_page_relevance (likelihood)", "AUC"),
    ("query_ad_copy_relevance (likelihood)", "AUC"),
    ("query_landing_page_relevance (label)", "AUC"),
    ("query_ad_copy_relevance (label)", "AUC"),
    ("mean at equal lengths (judge)", "win rate"),
    ("rewrites: diversity", "share"),
    ("rewrites: density", "share"),
)
PAPER: dict[tuple[int, str], str] = {
    (1, "math"): "+7.5 points (P)",
    (1, "ads"): "+8.0 points (P)",
    (2, "math"): "+5.5 points (S)",
    (2, "ads"): "+6.5 points (S)",
    (5, "math"): "helps, most here (S)",
    (5, "ads"): "helps (S)",
    (6, "math"): "two are better (S)",
    (6, "ads"): "two are better (S)",
    (8, "math"): "kept (S)",
    (8, "ads"): "kept (S)",
    (9, NEW_DOMAIN): "named in the abstract, no number (S)",
}
