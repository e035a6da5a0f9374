"""Precision of the rankings of notebook 01 on many mixtures of open text: `make bench-mixture`.

    make bench-mixture DATA=FOLDER

FOLDER holds `corpus/corpus_open.jsonl.gz` (documents with id, text, source, genre, parent, title),
`math_eval/gsm8k_train.jsonl.gz`, `math_eval/math_test.jsonl.gz` and
`ads/chorus_query_product_relevance.jsonl.gz`. A case is a seed and a pool of about 10,000
documents that holds a known number of the domain. Every ranking selects as many; reported is the
share of them that is in the domain (where the budget is too large, of the domain that is found).
Settings were chosen on the targets of `DEVELOPMENT`, and what is claimed is what the targets of
`REPORT` show, which no setting was chosen by.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import multiprocessing
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse

from trait_lib import records, show
from trait_lib.selection.models import classifier, dsir, linear, mining, regression

RESULTS = Path(__file__).parent / "results" / "mixture.json"
BACKGROUND = 10_000  # documents of a pool that are not of the domain
SEED = 300  # documents of a seed, unless the case says otherwise
USUAL = 0.03  # share of the pool that is in the domain, unless the case says otherwise
SHARES = (0.05, 0.03, 0.01, 0.003, 0.001)
SIZES = (30, 100)
NOISE = 0.2  # share of general documents in a seed with noise
# as in notebook 01, tier local
FASTTEXT = {"dim": 16, "lr": 0.5, "epoch": 25, "wordNgrams": 2, "minCount": 1, "bucket": 200_000}

# target -> its sources: names of the corpus's `source`, or of a `genre` of the source masc
DEVELOPMENT = {
    "math": ["napkin", "openstax_prealgebra"],
    "ads": ["icecat_products", "openstax_marketing", "product_reviews"],
    "speeches": ["inaugural", "state_union", "debate-transcript"],
    "anatomy": ["openstax_anatomy"],
}
REPORT = {
    "law": ["openstax_business_law", "court-transcript"],
    "business": ["openstax_business", "openstax_marketing"],
    "reviews": ["movie_reviews", "product_reviews"],
    "fiction": ["novels", "fiction", "ficlets"],
    "humanities": ["openstax_philosophy", "essays", "non-fiction"],
    "government": ["digitalgov_news", "digitalgov_resources", "digitalgov_guides"],
    "events": ["digitalgov_events"],
    "software": ["ml_docs"],
    "encyclopedia": ["wikitext2"],
}
# documents of which nobody can say whether they are in the domain
UNCLEAR = {
    "math": ["borderline_math"],
    "ads": ["borderline_ads"],
    "business": ["borderline_ads"],
    "law": ["openstax_business"],
    "government": ["digitalgov_events", "digitalgov_communities", "digitalgov_services"],
    "events": ["digitalgov_communities", "digitalgov_services"],
    "speeches": ["govt-docs"],
    "fiction": ["movie-script"],
    "anatomy": ["technical"],
}


@dataclass(frozen=True)
class Case:
    """A seed, a pool, and which documents of the pool are in the domain."""

    target: str
    kind: str
    name: str
    seed: list[str]
    pool: np.ndarray  # rows of the corpus
    right: np.ndarray  # bool, of the pool
    wanted: int  # documents to select


# --- the corpus -------------------------------------------------------------------------------


def rows(path: Path) -> list[dict]:
    """The JSON rows of a compressed file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def chance(text: str) -> float:
    """A number in [0, 1) that depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


@cache
def corpus(folder: Path) -> list[dict]:
    """The documents, in an order that says nothing."""
    found = rows(folder / "corpus/corpus_open.jsonl.gz")
    return sorted(found, key=lambda document: chance(document["id"]))


def group(document: dict) -> str:
    """The source of a document; a genre where the source is a collection of genres."""
    return document["genre"] if document["source"] == "masc" else document["source"]


def is_seed(document: dict) -> bool:
    """Whether a document is for seeds: a third of all, parts of one work together."""
    few = group(document) in ("court-transcript", "debate-transcript")  # of two works
    return chance("seed " + document["id" if few else "parent"]) < 1 / 3


def foreign(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Seeds from elsewhere, by target and kind of text."""
    problems = rows(folder / "math_eval/gsm8k_train.jsonl.gz")[:1000]
    contest = rows(folder / "math_eval/math_test.jsonl.gz")[:1000]
    pairs = rows(folder / "ads/chorus_query_product_relevance.jsonl.gz")
    return {
        "math": {
            "word problems": [p["question"] for p in problems],
            "dialogues": [f"Q: {p['question']}\nA: {p['solution']}" for p in problems],
            "contest problems": [p["problem"] for p in contest],
        },
        "ads": {
            "search queries": list(dict.fromkeys(p["query"] for p in pairs)),
            "shop entries": list(dict.fromkeys(f"{p['title']}: {p['attributes']}" for p in pairs)),
        },
    }


# --- the cases --------------------------------------------------------------------------------


def cases(folder: Path, target: str, sources: list[str]) -> Iterator[Case]:
    """All cases of one target."""
    documents = corpus(folder)
    inside = np.array([group(d) in sources for d in documents])
    for_seed = np.array([is_seed(d) for d in documents])
    unclear = UNCLEAR.get(target, [])
    doubt = np.array([d["label"] in unclear or group(d) in unclear for d in documents])
    inside &= ~doubt
    of = {s: np.array([group(d) == s for d in documents]) & inside for s in sources}
    background = np.flatnonzero(~inside & ~doubt)[:BACKGROUND]
    general = np.flatnonzero(~inside & ~doubt)[BACKGROUND:]

    def even(chosen: list[str], number: int, mask: np.ndarray) -> list[int]:
        """Rows of some sources, as many of each as there are, in turns."""
        lists = [np.flatnonzero(of[s] & mask).tolist() for s in chosen]
        turns = [row for i in range(max(map(len, lists))) for x in lists for row in x[i : i + 1]]
        return turns[:number]

    def seed(chosen: list[str], number: int = SEED) -> list[str]:
        return [documents[i]["text"] for i in even(chosen, number, for_seed)]

    def case(
        kind: str, name: str, texts: list[str], chosen: list[str], share: float, times: int = 1
    ) -> Case:
        inner = even(chosen, round(share * BACKGROUND), ~for_seed)
        pool = np.sort(np.concatenate([inner, background]).astype(int))
        return Case(target, kind, name, texts, pool, inside[pool], times * len(inner))

    for share in SHARES:
        yield case(f"share {share:.1%}", "", seed(sources), sources, share)
    for size in SIZES:
        yield case(f"seed of {size}", "", seed(sources, size), sources, USUAL)
    yield case("budget three times too large", "", seed(sources), sources, 0.01, times=3)
    own = seed(sources, round((1 - NOISE) * SEED))
    noise = [documents[i]["text"] for i in general[: round(len(own) * NOISE / (1 - NOISE))]]
    yield case("noise in the seed", "", own + noise, sources, USUAL)
    for left in sources if len(sources) > 1 else []:
        others = [s for s in sources if s != left]
        yield case("source not in the seed", left, seed(others), sources, USUAL)
        yield case("source not in the pool", left, seed(sources), others, USUAL)
        yield case("another style", f"from {left} alone", seed([left]), others, USUAL)
    titles = [documents[i]["title"] for i in even(sources, 3 * SEED, for_seed)]
    titles = list(dict.fromkeys(title for title in titles if len(title) > 3))[:SEED]
    if len(titles) >= SIZES[0]:
        yield case("another style", "titles", titles, sources, USUAL)
    first = [re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0][:300] for text in seed(sources)]
    yield case("another style", "first sentences", first, sources, USUAL)
    for name, texts in foreign(folder).get(target, {}).items():
        yield case("another style", name, texts[:SEED], sources, USUAL)


# --- the rankings -----------------------------------------------------------------------------


@cache
def counts(folder: Path) -> sparse.csr_matrix:
    """Hashed words and pairs of every document of the corpus."""
    return regression.counts([document["text"] for document in corpus(folder)])


@cache
def strings(folder: Path) -> pa.Array:
    """The corpus's texts in Arrow's layout."""
    return dsir.as_arrow([document["text"] for document in corpus(folder)])


def trained(case: Case, texts: pa.Array) -> tuple[np.ndarray, float]:
    """The paper's classifier: scores of the pool, and the reach of its selection."""
    positives, held = classifier.split(case.seed, 0.8, 500_000, 0)
    rest = np.random.default_rng(0).permutation(len(texts))[: len(positives)]
    model = classifier.train(positives, texts.take(pa.array(rest)).to_pylist(), FASTTEXT, 0)
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(model, Path(folder) / "model.bin")
        fast = linear.read_model(Path(folder) / "model.bin")
    scores = linear.log_odds(fast, texts)
    chosen = scores[mining.best(scores, case.wanted)]
    return scores, mining.reach(linear.log_odds(fast, dsir.as_arrow(held)), chosen)


def importance(case: Case, texts: pa.Array) -> np.ndarray:
    """DSIR's noised log weights."""
    hasher = dsir.shared_hasher()
    ratio = dsir.log_ratio(dsir.count(case.seed, hasher), dsir.count(texts, hasher))
    return dsir.noised(hasher.weigh(texts, ratio)[0], np.random.default_rng(0))


def measure(folder: Path, case: Case) -> dict:
    """The precision of each ranking, and what is said of the seed before and after."""
    texts = strings(folder).take(pa.array(case.pool))
    number, most = case.wanted, min(case.wanted, int(case.right.sum()))
    seed = regression.counts(classifier.split(case.seed, 0.8, 500_000, 0)[0])
    found = mining.mine(seed, counts(folder)[case.pool], number, 0)
    by_classifier, after = trained(case, texts)
    scores = {"classifier": by_classifier, "DSIR": importance(case, texts)}
    scores["regression"] = regression.log_odds(found.start, texts)
    scores["mined"] = (
        regression.log_odds(found.model, texts) if found.rounds else scores["regression"]
    )
    standard = {name: (s - s.mean()) / s.std() for name, s in scores.items()}
    scores["averaged"] = standard["classifier"] + standard["regression"]
    precision = {
        name: round(float(case.right[mining.best(s, number)].sum() / most), 4)
        for name, s in scores.items()
    }
    about = {"target": case.target, "kind": case.kind, "seed": case.name, "wanted": number}
    return about | precision | {"reach": round(found.reach, 3), "after": round(after, 3)}


# --- the summary ------------------------------------------------------------------------------

RANKINGS = ("classifier", "DSIR", "regression", "mined", "averaged")


def interval(values: np.ndarray) -> list[float]:
    """Of the mean over cases, 95 %: the cases drawn again, as many, ten thousand times."""
    draws = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    return [round(float(end), 3) for end in np.quantile(draws, (0.025, 0.975))]


def summarise(measured: list[dict]) -> list[dict]:
    """For each kind of case: means with intervals, wins and losses against the classifier.

    `least`: of a ranking's precision less that of the better of classifier and regression, the
    least over the cases. `warned`: cases with a warning before the pool is scored or after it;
    `silent`: cases in which `mined` is below 0.3 and nothing warned.
    """
    found = []
    for kind in dict.fromkeys(row["kind"] for row in measured):
        of = [row for row in measured if row["kind"] == kind]
        values = {name: np.array([row[name] for row in of]) for name in RANKINGS}
        warned = np.array([min(row["reach"], row["after"]) < mining.GAP for row in of])
        less = {name: array - values["classifier"] for name, array in values.items()}
        reference = np.maximum(values["classifier"], values["regression"])
        found.append(
            {"kind": kind, "cases": len(of)}
            | {name: round(float(array.mean()), 3) for name, array in values.items()}
            | {"warned": int(warned.sum())}
            | {"silent": int(np.sum((values["mined"] < 0.3) & ~warned))}
            | {"intervals": {name: interval(array) for name, array in values.items()}}
            | {"wins": {name: int((array > 0).sum()) for name, array in less.items()}}
            | {"losses": {name: int((array < 0).sum()) for name, array in less.items()}}
            | {"least": {n: round(float((a - reference).min()), 3) for n, a in values.items()}}
        )
    return found


def all_of(job: tuple[Path, str, list[str]]) -> list[dict]:
    """All cases of one target, measured."""
    folder, target, sources = job
    found = []
    for case in cases(folder, target, sources):
        found.append(measure(folder, case))
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the text, see above")
    parser.add_argument("--only", action="append", help="a target; nothing is written")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    names = given.only or [*DEVELOPMENT, *REPORT]
    jobs = [(given.folder, name, (DEVELOPMENT | REPORT)[name]) for name in names]
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        measured = [row for rows_of in pool.imap(all_of, jobs, chunksize=1) for row in rows_of]
    parts = {
        "chosen on": [row for row in measured if row["target"] in DEVELOPMENT],
        "reported": [row for row in measured if row["target"] in REPORT],
    }
    result: dict = {name: summarise(part) for name, part in parts.items()}
    for name, kinds in result.items():
        print(f"\n{name}: mean precision by kind of case")
        print(show.text_table(kinds, ["kind", "cases", *RANKINGS, "warned", "silent"]))
    if given.only:
        return
    result |= {"command": "make bench-mixture DATA=FOLDER", "date": str(date.today())}
    result |= {"python": platform.python_version()}
    result["minutes"] = round((time.monotonic() - started) / 60, 1)
    records.write_json(RESULTS, result)
    records.write_rows(RESULTS.with_name("mixture_cases.jsonl"), measured)


if __name__ == "__main__":
    main()
