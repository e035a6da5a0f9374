"""How much a reader can learn from a document: one number, 0 to 5, from one function.

Paper: a filter keeps the documents whose educational value is above a threshold; neither the
model nor the threshold is stated. Ours follows FineWeb-Edu (arXiv 2406.17557): a teacher grades a
sample with an additive rubric, a regression learns the grades, and documents with 3 or more stay.
`ask_labels` and `fit` make such a scorer, `from_hub` loads a ready one; either is a function from
texts to numbers.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from trait_lib import records
from trait_lib.records import valid_text
from trait_lib.run import Stage
from trait_lib.teacher import prices, templates
from trait_lib.teacher.prices import Price
from trait_lib.teacher.settings import Limits, Server, Settings
from trait_lib.teacher.survey import Survey

RUBRIC_FILE = Path(__file__).with_name("rubric.txt")
REPLY = re.compile(r"[Ss]core\D{0,5}([0-5])(?![\d.]*\d)")
ALONE = re.compile(r"\s*([0-5])(?:\.0)?\s*(?:/\s*5)?\.?\s*")
REPLY_TOKENS = 8  # expected of a grade; for the plan only
MOST_CHARACTERS = 4000  # of a document that a teacher grades
FEATURE_CHARACTERS = 2000  # about the 512 tokens that FineWeb-Edu's own scorer reads
Scorer = Callable[[Sequence[str]], np.ndarray]


def bar(threshold: int) -> float:
    """The lowest score that rounds to grade `threshold`: FineWeb-Edu rounds, then compares."""
    return threshold - 0.5


# --- labels from a teacher --------------------------------------------------------------------


def rubric_prompt(text: str) -> str:
    """The request that asks a teacher to grade one document."""
    template = templates.load_template(RUBRIC_FILE, "grades need their rubric")
    return _graded_by(template, text)[0]["content"]


def _graded_by(template: jinja2.Template, text: str) -> templates.Messages:
    """The chat that asks for the grade of one document, cut to its first characters."""
    document = valid_text(text)[:MOST_CHARACTERS].replace("</document>", "< /document>")
    return templates.render(template, {"document": document}, "the rubric's")


def parse_grade(reply: str | None) -> float:
    """The grade in a teacher's reply; NaN when there is none or it is not one of 0 to 5."""
    found = REPLY.search(reply or "") or ALONE.fullmatch(reply or "")
    return float(found[1]) if found else float("nan")


def grade(
    stage: Stage,
    texts: Sequence[str],
    stand_in: Callable[[], AbstractContextManager[str]],
    its_name: str,
) -> np.ndarray:
    """The grades of some documents by the teacher that the parameters name; see `ask_labels`.

    Args:
        stage: the ledger `grades.sqlite` is written there.
        texts: n documents.
        stand_in: starts a server and gives its URL, where the parameters name none.
        its_name: the model that it is.
    """
    asked, model, key = stage.params, stage.params["teacher_model"], None
    serving = nullcontext(asked["teacher_base_url"])
    if not asked["teacher_base_url"]:
        serving, model, key = stand_in(), its_name, "none needed"
    with serving as base_url:
        return ask_labels(
            texts,
            base_url,
            model,
            stage.path("grades.sqlite"),
            key,
            asked["teacher_workers"],
            asked["teacher_max_tokens"],
            prices.of(stage, model, base_url),
            asked["teacher_budget"],
        )


def ask_labels(
    texts: Sequence[str],
    base_url: str,
    model: str,
    ledger: str | Path,
    api_key: str | None = None,
    workers: int = 8,
    max_tokens: int = 16,
    price: Price | None = None,
    budget: float = 10.0,
) -> np.ndarray:
    """Ask an OpenAI-compatible server to grade documents.

    Every reply is entered in `ledger` as it comes; a document that it already holds for this
    model and rubric is not asked for again, so an interrupted run is not paid for twice. The plan
    with its cost is printed before the first call.

    Args:
        texts: documents.
        base_url: of the server, such as `https://api.openai.com/v1`.
        model: the teacher's name there.
        ledger: a file; see `trait_lib.teacher.ledger`.
        api_key: None reads OPENAI_API_KEY; any text says that the server needs none.
        workers: requests at the same time.
        max_tokens: of a reply; a teacher that thinks first needs some thousand.
        price: of the model; None: the server costs nothing.
        budget: money for all replies in the ledger.

    Returns:
        Grades 0 to 5, float64, shape (n,); NaN where the reply holds no grade.

    Raises:
        RuntimeError: the server cannot be reached or refuses, or the budget is reached; says so.
    """
    template = templates.load_template(RUBRIC_FILE, "grades need their rubric")
    teacher = Survey(
        Settings(model, max_tokens, temperature=0.0),
        Server(base_url, needs_key=api_key is None),
        price or Price(model, "", "", 0.0, 0.0),
        Path(ledger),
        Limits(workers, budget=budget),
    )

    def read(reply: str) -> float | None:
        return None if np.isnan(grade := parse_grade(reply)) else grade

    chats = [_graded_by(template, text) for text in texts]
    found = teacher.ask(chats, read, REPLY_TOKENS, "grades")
    return np.array([np.nan if grade is None else grade for grade in found])


# --- a regression on the labels ---------------------------------------------------------------


def _head(texts: Sequence[str]) -> list[str]:
    return [text[:FEATURE_CHARACTERS] for text in texts]


def fit(texts: Sequence[str], grades: np.ndarray) -> Pipeline:
    """Learn grades from texts: ridge regression on words, word pairs and character runs.

    Only the first `FEATURE_CHARACTERS` of a text are read.

    Raises:
        ValueError: fewer than 20 graded documents, or all have the same grade.
    """
    graded = np.isfinite(grades)
    if graded.sum() < 20 or len(set(grades[graded])) < 2:
        raise ValueError(
            f"{int(graded.sum())} graded documents with {len(set(grades[graded]))} different "
            "grades are too few to learn from: raise quality_sample, check the teacher, or go "
            "without a filter (quality_filter: none)"
        )
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=200_000),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), min_df=2, max_features=100_000),
    )
    model = make_pipeline(features, RidgeCV(alphas=np.logspace(-2, 2, 9)))
    learned = [text for text, known in zip(texts, graded, strict=True) if known]
    return model.fit(_head(learned), grades[graded])


def regression_scorer(model: Pipeline) -> Scorer:
    """A scorer from a fitted regression; numbers are clipped to 0 to 5."""
    return lambda texts: np.clip(model.predict(_head(texts)), 0.0, 5.0)


def publish(model: Pipeline, folder: str | Path) -> dict[str, Any]:
    """Write a fitted regression below `folder`, named by its hash, for workers to load.

    Returns:
        What `candidates.add_quality` needs to make the scorer.
    """
    data = pickle.dumps(model)
    path = Path(folder) / f"quality-{hashlib.sha256(data).hexdigest()[:16]}.pickle"
    with records.atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return {"name": "regression", "settings": {"path": str(path)}}


def from_file(path: str) -> Scorer:
    """The scorer of a regression that `publish` wrote in this run."""
    return regression_scorer(pickle.loads(Path(path).read_bytes()))


def agreement(predicted: np.ndarray, grades: np.ndarray, threshold: int) -> dict[str, float]:
    """How well predicted grades agree with held-out ones; NaN grades are left out.

    Returns:
        `spearman` (rank correlation), `mean_error` (absolute, in grades), and `f1`, `precision`,
        `recall` of "the grade is at least `threshold`"; `documents`, `share_kept`.
    """
    graded = np.isfinite(grades)
    predicted, grades = predicted[graded], grades[graded]
    truth, kept = grades >= threshold, predicted >= bar(threshold)
    return {
        "documents": len(grades),
        "spearman": float(spearmanr(predicted, grades).statistic),
        "mean_error": float(np.mean(np.abs(predicted - grades))),
        "f1": float(f1_score(truth, kept, zero_division=0)),
        "precision": float(precision_score(truth, kept, zero_division=0)),
        "recall": float(recall_score(truth, kept, zero_division=0)),
        "share_kept": float(np.mean(kept)),
    }


# --- a ready scorer ---------------------------------------------------------------------------


def from_hub(name: str, batch: int = 64, max_tokens: int = 512) -> Scorer:
    """A scorer from a sequence-classification model with one output, on the GPU when there is one.

    Args:
        name: on the Hub, such as `HuggingFaceFW/fineweb-edu-classifier`, or a folder.
        batch: documents at a time.
        max_tokens: a document is cut there; that scorer was trained with 512.
    """
    import torch
    from transformers import pipeline

    on_gpu = torch.cuda.is_available()
    model = pipeline(
        "text-classification",
        model=name,
        device=0 if on_gpu else "cpu",
        dtype=torch.bfloat16 if on_gpu else torch.float32,
    )
    if (outputs := model.model.config.num_labels) != 1:
        raise ValueError(f"{name} has {outputs} outputs; a scorer has one")
    settings = {"function_to_apply": "none", "truncation": True, "max_length": max_tokens}

    def score(texts: Sequence[str]) -> np.ndarray:
        # texts of similar length share a batch, so little is spent on padding
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        scores = np.empty(len(texts))
        clean = [valid_text(texts[i]) for i in order]
        scores[order] = [one["score"] for one in model(clean, batch_size=batch, **settings)]
        return scores

    return score


# --- the filter of a run ----------------------------------------------------------------------


@dataclass(frozen=True)
class Filter:
    """What decides whether a document teaches enough; without a scorer it keeps all."""

    scorer: Scorer | None = None
    maker: Mapping[str, Any] | None = None  # with which a worker makes the scorer
    bar: float | None = None  # the lowest score that is kept
    grades: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of held-out documents
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(0))  # the same, by the scorer
    agreement: Mapping[str, float] = field(default_factory=dict)  # of the two, see `agreement`

    def share_kept(self, texts: Sequence[str]) -> float | None:
        """The share of some texts that it would keep; None where it keeps all."""
        return float(np.mean(self.scorer(texts) >= self.bar)) if self.scorer else None


def make_filter(
    asked: Mapping[str, Any], folder: Path, texts: Sequence[str], grades: np.ndarray
) -> Filter:
    """The filter that the parameter `quality_filter` names.

    Args:
        asked: the notebook's parameters.
        folder: where workers find the scorer.
        texts: the sample that the teacher graded, n of them; none for a ready scorer.
        grades: shape (n,), NaN where the reply held none.
    """
    if asked["quality_filter"] == "none":
        return Filter()
    threshold, lowest = asked["quality_threshold"], bar(asked["quality_threshold"])
    if asked["quality_filter"] == "hub":
        name = asked["quality_model"]
        maker = {"name": "hub", "settings": {"name": name}}
        return Filter(from_hub(name), maker, lowest)
    held = np.random.default_rng(asked["seed"]).random(len(texts)) < asked["quality_heldout"]
    every = np.array(texts, dtype=object)
    regression = fit(every[~held], grades[~held])
    scorer = regression_scorer(regression)
    predicted = scorer(every[held])
    told = agreement(predicted, grades[held], threshold)
    return Filter(scorer, publish(regression, folder), lowest, grades[held], predicted, told)
