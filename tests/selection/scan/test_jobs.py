"""A corpus scored by one process, several, killed ones, a job array and Ray: always the same."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from threading import Thread

import numpy as np
import prepared
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trait_lib import contamination, records
from trait_lib.reading import shards, tables
from trait_lib.selection import scores
from trait_lib.selection.cut import budget, candidates, quality, ranking
from trait_lib.selection.models import classifier, dsir, linear
from trait_lib.selection.scan import corpus, estimate, jobs, passes, worker
from trait_lib.selection.scan import engine as engines

prepared.load("trait_lib.selection.scan.corpus")
FIELDS = {"text_field": "text", "id_field": "id"}
LOCAL = jobs.Engine(max_bad=0.5)
SETTINGS = {"dim": 4, "lr": 0.5, "epoch": 5, "wordNgrams": 2, "minCount": 1, "bucket": 200}


@pytest.fixture(scope="module")
def pool(tmp_path_factory, sums, tales):
    """Five shards of all kinds, the third of them cut off."""
    folder = tmp_path_factory.mktemp("pool")
    texts = [
        f"{a} {b} number {i}" for i, (a, b) in enumerate(zip(sums * 4, tales * 4, strict=True))
    ]
    rows = [{"id": f"d{i}", "text": t if i % 3 else t[:30]} for i, t in enumerate(texts)]
    for i, kind in enumerate(("jsonl", "jsonl.gz", "jsonl.zst", "parquet", "jsonl.gz")):
        records.write_rows(folder / f"{i}.{kind}", rows[i::5])
    whole = (folder / "2.jsonl.zst").read_bytes()
    (folder / "2.jsonl.zst").write_bytes(whole[: len(whole) // 2])
    return shards.find([folder])


@pytest.fixture(scope="module")
def model(tmp_path_factory, sums, tales):
    path = tmp_path_factory.mktemp("model") / "m.bin"
    classifier.save(classifier.train(sums[:30], tales[:30], SETTINGS, 1), path)
    return path


def select(folder, pool, model, engine, chunk_words=0):
    """The whole way from files to files; returns what each file holds."""
    parts = folder / "scratch"
    target = dsir.count(["sum number equals"], dsir.Hasher())
    raw = corpus.count_grams(folder, pool, engine, FIELDS)
    methods = [
        linear.publish(model, parts, "words"),
        dsir.publish(dsir.log_ratio(target, raw), parts, chunk_words),
    ]
    done = corpus.scan(folder, pool, methods, engine, FIELDS)
    front = ranking.front(ranking.by_score(done.parts, "log_odds"), 2000)
    chunks = ranking.front(ranking.by_dsir(done.parts, dsir.by_length(False), 0, 0), 300)
    questions = corpus.save_questions(folder, {"q": "sum fox nobody asks this"})
    rules = {"tokenizer": "", "questions": questions, "min_words": 5, "shingle_words": 2}
    found = candidates.examine(parts, "candidates", done, [front], rules, engine, 0, FIELDS)
    seen = candidates.examine(parts, "dsir", done, [chunks], rules, engine, chunk_words, FIELDS)
    scorer = {"name": "length", "settings": {}}
    here = replace(engine, name="local", workers=1)
    assert candidates.add_quality(parts, {"a": found, "same": found}, scorer, here) == 1.0
    chosen = budget.select(front, found, budget.Budget(300), 0.8)
    drawn = budget.select(chunks, seen, budget.Budget(100), 0.8)
    candidates.write_kept(folder / "selected.jsonl.zst", found, chosen.kept)
    candidates.write_kept(folder / "dsir.jsonl", seen, drawn.kept)
    more = {"kept": scores.true_for(chosen.documents)}
    scores.write(folder / "scores.parquet", done.parts, more)
    return {f.name: f.read_bytes() for f in sorted(folder.glob("*")) if f.is_file()}


@pytest.fixture(scope="module", autouse=True)
def scorer_by_length():
    """A quality scorer for these tests: the length of a text."""
    passes.SCORERS["length"] = lambda: lambda texts: np.array([float(len(t)) for t in texts])
    yield
    del passes.SCORERS["length"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory, pool, model):
    return select(tmp_path_factory.mktemp("one"), pool, model, LOCAL)


def test_scores_are_those_of_fasttext_and_damage_is_reported(expected, pool, model):
    import fasttext

    names = {"selected.jsonl.zst", "dsir.jsonl", "scores.parquet", "set_aside.jsonl"}
    assert set(expected) == names
    (bad,) = [json.loads(line) for line in expected["set_aside.jsonl"].splitlines()]
    assert bad["shard"].endswith("2.jsonl.zst") and "cut off" in bad["reason"]
    found = pq.read_table(pa.BufferReader(expected["scores.parquet"])).to_pydict()
    good = [shard for shard in pool if "2.jsonl" not in shard.name]
    rows = [r for s in good for _, t in tables.read(s) for r in t.to_pylist()]
    assert found["id"] == [row["id"] for row in rows]
    odds = classifier.log_odds(fasttext.load_model(str(model)), [row["text"] for row in rows])
    np.testing.assert_allclose(found["log_odds"], odds, atol=2e-3)
    assert sum(found["kept"]) > 5


def test_several_processes_give_the_same_bytes(tmp_path, pool, model, expected):
    assert select(tmp_path, pool, model, LOCAL) == expected
    # two of the passes, since each starts its processes; Ray's processes make all of them below
    for name in ("score", "candidates"):
        made = list((tmp_path / "scratch").glob(f"{name}-*.parquet"))
        assert len(made) > 1
        for part in made:
            part.unlink()
    assert select(tmp_path, pool, model, replace(LOCAL, workers=2)) == expected


def test_finished_parts_are_not_made_again(tmp_path, pool, model, expected, monkeypatch):
    assert select(tmp_path, pool, model, LOCAL) == expected
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "scratch").glob("*.parquet")}
    tried = []
    real = worker.Worker.do

    def do(self, number, *rest):
        tried.append(self.job.items[number]["label"])
        return real(self, number, *rest)

    monkeypatch.setattr(worker.Worker, "do", do)
    assert select(tmp_path, pool, model, LOCAL) == expected
    assert {label.rpartition("/")[2] for label in tried} == {"2.jsonl.zst"}  # it may be whole now
    after = {f: f.stat().st_mtime_ns for f in (tmp_path / "scratch").glob("*.parquet")}
    assert after == before


def test_chunks_of_documents_are_found_again(tmp_path, pool, model):
    found = select(tmp_path, pool, model, LOCAL, chunk_words=6)
    rows = [json.loads(line) for line in found["dsir.jsonl"].splitlines()]
    texts = {r["id"]: r["text"] for s in pool[:2] for _, t in tables.read(s) for r in t.to_pylist()}
    checked = 0
    for row in rows:
        identifier, _, number = row["id"].partition("#")
        assert 3 <= len(row["text"].split()) <= 6
        if identifier in texts:
            start = 6 * int(number)
            assert row["text"].split() == texts[identifier].split()[start : start + 6]
            checked += 1
    assert checked > 3


# --- killed at any moment ---------------------------------------------------------------------

SLOW = """
import sys, time
from pathlib import Path
from trait_lib.reading import shards
from trait_lib.selection.scan import corpus, jobs, passes

real = passes.read
def slow(*arguments, **more):
    for item in real(*arguments, **more):
        time.sleep(0.15)
        yield item
passes.read = slow
folder, pool, job = sys.argv[1:]
engine = jobs.Engine(max_bad=0.5)
corpus.scan(Path(folder), shards.find([pool]), __import__("json").loads(job), engine,
            {"text_field": "text", "id_field": "id"})
"""


def test_killed_and_run_again_it_goes_on_where_it_was(tmp_path, pool, model, expected):
    one = tmp_path / "killed"
    methods = [linear.publish(model, tmp_path, "words")]
    source = str(os.path.dirname(pool[0].name))
    standing: set = set()
    for rounds in range(1, 9):  # noqa: B007  each round gets a little further, and is killed
        process = prepared.start(SLOW, one, source, json.dumps(methods))
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            now = set((one / "scratch").glob("score-*.parquet"))
            if len(now) > len(standing):
                break
            time.sleep(0.01)
        process.kill()
        process.join()
        now = {f: f.read_bytes() for f in (one / "scratch").glob("score-*.parquet")}
        for content in now.values():
            pq.read_table(pa.BufferReader(content))  # whole, whenever it appears
        assert standing <= set(now)
        standing = set(now)
        if len(standing) == 4:
            break
    assert rounds > 1 and standing
    done = corpus.scan(one, pool, methods, LOCAL, FIELDS)
    clean = corpus.scan(tmp_path / "clean", pool, methods, LOCAL, FIELDS)
    assert [f.read_bytes() for f in done.parts] == [f.read_bytes() for f in clean.parts]


def test_workers_end_with_the_one_that_started_them(tmp_path, pool, model):
    methods = [linear.publish(model, tmp_path, "words")]
    job = jobs.write_job(tmp_path, "job", "score",
                          {"methods": methods, "fields": FIELDS}, passes.items(pool))  # fmt: skip
    command = [sys.executable, "-m", "trait_lib.selection.scan.worker", str(job.file), "--serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"0\n")
    process.stdin.flush()
    lines = iter(process.stdout.readline, b"")
    answer = next(a for a in map(json.loads, lines) if "number" in a)
    assert answer == {"number": 0, "reason": ""}
    process.stdin.close()  # what the operating system does when the parent dies
    assert process.wait(timeout=30) == 0
    process.stdout.close()


def test_a_worker_that_dies_is_an_error_and_keeps_the_parts(tmp_path, pool):
    methods = [{"name": "linear", "settings": {"folder": "nowhere", "form": "words"}}]
    with pytest.raises(RuntimeError, match=r"ended with status 1.*run again"):
        corpus.scan(tmp_path, pool, methods, replace(LOCAL, workers=2), FIELDS)
    assert not list((tmp_path / "scratch").glob("score-*.parquet"))


# --- other ways to work -----------------------------------------------------------------------


def test_a_job_array_leaves_the_same_parts(tmp_path, pool, model):
    methods = [linear.publish(model, tmp_path, "words")]
    clean = corpus.scan(tmp_path / "a", pool, methods, LOCAL, FIELDS)
    done = corpus.scan(tmp_path / "b", pool, methods, LOCAL, FIELDS)
    whole = {f.name: f.read_bytes() for f in done.parts}
    for file in done.parts:
        file.unlink()
    for which in range(3):
        worker.main([str(done.job.file), "--worker", f"{which}/3"])
        mine = [file for file, number in zip(done.parts, done.numbers, strict=True)
                if number % 3 <= which]  # fmt: skip
        assert [file for file in done.parts if file.exists()] == mine
    assert {f.name: f.read_bytes() for f in done.parts} == whole
    assert [f.name for f in clean.parts] == list(whole)  # a part's name does not name its folder


@pytest.mark.parametrize("share", ["3/3", "x", "1", "-1/2"])
def test_an_impossible_share_of_the_work_is_refused(share, capsys):
    with pytest.raises(SystemExit):
        worker.main(["job.json", f"--worker={share}"])
    assert "I/N with 0 <= I < N" in capsys.readouterr().err


def kill_a_ray_worker(killed):
    """End the first one of this process's own Ray that is at work, as a machine in need would."""
    while not killed:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.name().startswith("ray::Worker"):
                    process.kill()
                    killed.append(process.pid)
                    return
        time.sleep(0.01)


@pytest.fixture(scope="module")
def on_ray():
    """The engine's module. The first test that works with it starts Ray, the others join it."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from trait_lib.selection.scan import on_ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else whatever runs beside starves the workers
        yield on_ray
        ray.shutdown()


@pytest.mark.slow
def test_ray_gives_the_same_bytes_though_a_worker_is_killed(
    tmp_path, pool, model, expected, sums, tales, on_ray
):
    engine = replace(LOCAL, name="ray", workers=2)
    killed = []
    Thread(target=kill_a_ray_worker, args=(killed,), daemon=True).start()
    assert select(tmp_path, pool, model, engine) == expected
    assert len(killed) == 1
    # the pool for the quality scorer: Ray Data over paths
    items = [{"key": i, "part": str(f)} for i, f in enumerate(
        sorted((tmp_path / "scratch").glob("candidates-*.parquet")))]  # fmt: skip
    graded = quality.fit(sums + tales, np.repeat([4.0, 1.0], len(sums)))
    settings = {"scorer": quality.publish(graded, tmp_path), "gpu": True}
    job = jobs.write_job(tmp_path / "scratch", "pool", "quality", settings, items)
    done = engines.run(job, engine)
    grade = quality.regression_scorer(graded)
    for file, item in zip(done.parts, items, strict=True):
        texts = pq.read_table(item["part"])["text"].to_pylist()
        np.testing.assert_allclose(pq.read_table(file)["quality"].to_numpy(), grade(texts))


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [2, 4])
def test_another_pool_follows_one_that_ray_data_gives_up(
    tmp_path, deaths, sums, tales, on_ray, monkeypatch
):
    diary = tmp_path / "deaths"
    diary.touch()

    class Mortal(on_ray._PoolWorker):  # dies at the first item, so many times
        def __call__(self, batch):
            if 0 in batch["item"] and diary.stat().st_size < deaths:
                diary.write_text(diary.read_text() + "x")
                os._exit(1)
            return super().__call__(batch)

    monkeypatch.setattr(on_ray, "_PoolWorker", Mortal)
    monkeypatch.setattr(on_ray, "MOST_DEATHS", 2)  # of a pool's workers at an item, and of pools
    job = graded_job(tmp_path, [sums[:20], tales[:20]], sums, tales)
    if deaths == 2:
        done = engines.run(job, replace(LOCAL, name="ray"))
        assert [part.exists() for part in done.parts] == [True, True]
    else:
        with pytest.raises(RuntimeError, match=r"2 pools of workers were lost.*Run again"):
            engines.run(job, replace(LOCAL, name="ray"))
    assert diary.stat().st_size == deaths


def graded_job(folder, texts, high, low):
    """A job of the quality scorer's pass: an item for each list of texts."""
    items = []
    for number, some in enumerate(texts):
        file = folder / f"texts-{number}.parquet"
        pq.write_table(pa.table({"text": some}), file)
        items.append({"key": number, "part": str(file)})
    scorer = quality.publish(quality.fit(high + low, np.repeat([4.0, 1.0], len(high))), folder)
    return jobs.write_job(folder, "pool", "quality", {"scorer": scorer, "gpu": True}, items)


# --- what is refused, what is estimated -------------------------------------------------------


def test_too_many_damaged_shards_stop_the_run(tmp_path, pool, model):
    methods = [linear.publish(model, tmp_path, "words")]
    with pytest.raises(jobs.TooManyBad, match=r"1 of 5 shards.*share 0\.1.*2\.jsonl\.zst"):
        corpus.scan(tmp_path, pool, methods, replace(LOCAL, max_bad=0.1), FIELDS)


def test_a_corpus_without_documents_is_an_error(tmp_path, model):
    (tmp_path / "a.jsonl").write_text("\n")
    methods = [linear.publish(model, tmp_path, "words")]
    with pytest.raises(classifier.EmptyCorpus, match=r"a\.jsonl: holds no document"):
        corpus.scan(tmp_path, shards.find([tmp_path / "a.jsonl"]), methods, LOCAL, FIELDS)


def test_a_corpus_that_changes_between_the_passes_is_noticed(tmp_path, model, sums):
    path = tmp_path / "a.jsonl"
    records.write_rows(path, [{"text": text} for text in sums])
    pool = shards.find([path])
    done = corpus.scan(tmp_path, pool, [linear.publish(model, tmp_path, "words")], LOCAL, FIELDS)
    rows = ranking.front(ranking.by_score(done.parts, "log_odds"), 1e9)
    records.write_rows(path, [{"text": text} for text in sums[:10]])
    rules = {"tokenizer": "", "questions": corpus.save_questions(tmp_path, {}), "min_words": 1,
             "shingle_words": 0}  # fmt: skip
    with pytest.raises(candidates.CorpusChanged, match="10 of 60"):
        candidates.examine(tmp_path / "scratch", "c", done, [rows], rules, LOCAL, 0, FIELDS)


def test_a_row_that_is_another_document_the_second_time_is_named(tmp_path, model, sums):
    path = tmp_path / "a.jsonl"
    rows = [{"id": f"d{i}", "text": text} for i, text in enumerate(sums)]
    records.write_rows(path, rows)
    pool = shards.find([path])
    done = corpus.scan(tmp_path, pool, [linear.publish(model, tmp_path, "words")], LOCAL, FIELDS)
    front = ranking.front(ranking.by_score(done.parts, "log_odds"), 1e9)
    rules = {"tokenizer": "", "questions": corpus.save_questions(tmp_path, {}), "min_words": 1,
             "shingle_words": 0}  # fmt: skip
    for name, changed in (
        ("moved", [rows[0], rows[2], rows[1], *rows[3:]]),
        ("longer", [rows[0], rows[1] | {"text": "another text"}, *rows[2:]]),
    ):
        records.write_rows(path, changed)
        with pytest.raises(candidates.CorpusChanged, match=r"a\.jsonl: row 2 is 'd.'.*saw 'd1'"):
            candidates.examine(tmp_path / "scratch", name, done, [front], rules, LOCAL, 0, FIELDS)


def test_every_candidate_has_its_own_text_whatever_lines_are_glued_bad_or_blank(
    tmp_path, model, sums
):
    lines = [json.dumps({"id": f"d{i}", "text": f"{text} number {i}"}) for i, text in
             enumerate(sums)]  # fmt: skip
    odd = [lines[0] + lines[1], "", *lines[2:20], '{"id": "n", "text": null}', *lines[20:40],
           "not JSON", "\r", *lines[40:]]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(odd))
    fields = FIELDS | {"on_bad": "skip"}
    methods = [linear.publish(model, tmp_path, "words")]
    done = corpus.scan(tmp_path, shards.find([tmp_path / "a.jsonl"]), methods, LOCAL, fields)
    read = corpus.was_read(done)
    assert (read.rows, read.documents) == (61, 58)
    assert read.skipped == {"not JSON": 2, "no text field 'text'": 1}
    front = ranking.front(ranking.by_score(done.parts, "log_odds"), 1500)
    taken = candidates.read_again(
        tmp_path / "scratch", "t", done, front.pick(np.argsort(front.document)), None, LOCAL, 0,
        fields,
    )  # fmt: skip
    found = pq.read_table(taken.parts[0]).to_pylist()
    assert 10 < len(found) < 58
    for row in found:
        number = int(row["id"][1:])
        assert row["text"] == f"{sums[number]} number {number}"
    with pytest.raises(records.BadRow, match=r"a\.jsonl:1: not JSON"):
        corpus.scan(tmp_path / "strict", shards.find([tmp_path / "a.jsonl"]), methods,
                    replace(LOCAL, workers=2), FIELDS)  # fmt: skip


@pytest.mark.parametrize("limit", [1, 2000, 10**6])
def test_the_fit_over_shards_stops_where_the_fit_over_all_texts_does(tmp_path, pool, limit):
    good = [shard for shard in pool if "2.jsonl" not in shard.name]
    texts = corpus.texts(good, FIELDS)
    whole = dsir.count(texts, dsir.Hasher(), limit)
    for workers in (1, 3):
        engine = replace(LOCAL, workers=1)
        folder = tmp_path / str(workers)
        found = corpus.count_grams(folder, pool, engine, FIELDS, limit=limit)
        np.testing.assert_array_equal(found, whole)


def test_the_plan_is_near_what_there_is(tmp_path, pool, model, sums):
    methods = [linear.publish(model, tmp_path, "words")]
    good = [shard for shard in pool if "2.jsonl" not in shard.name]
    made = estimate.make(good, methods, FIELDS)
    assert made.documents == pytest.approx(192, rel=0.01)
    assert made.text_bytes == pytest.approx(
        sum(len(t) for t in corpus.texts(good, FIELDS)), rel=0.01
    )
    assert made.hours(2) == made.hours(1) / 2
    assert len(made.lines(2)) == 4
    with pytest.raises(records.Damaged, match=r"2\.jsonl\.zst: .*cut off"):
        estimate.make([pool[2]], methods, FIELDS)


def test_negatives_are_drawn_from_all_of_a_corpus(pool):
    found = corpus.sample(pool, 50, 3, FIELDS)
    assert len(found) == 50
    assert found == corpus.sample(pool, 50, 3, FIELDS)
    every = [set(corpus.texts([s], FIELDS)) for s in pool if "2.jsonl" not in s.name]
    assert all(set(found) & texts for texts in every)


# --- a user's files ---------------------------------------------------------------------------


def test_questions_of_several_forms_and_a_row_without_one(tmp_path):
    rows = [{"id": "1", "question": "How many?"}, {"prompt": "Which?"}, {"problem": "Why?"}]
    records.write_rows(tmp_path / "q.jsonl.gz", rows)
    found = corpus.questions([tmp_path / "q.jsonl.gz"])
    assert found == {"q/1": "How many?", "q/2": "Which?", "q/3": "Why?"}
    records.write_rows(tmp_path / "q.jsonl", [{"text": "x"}])
    with pytest.raises(records.BadRow, match=r"q\.jsonl: row 1 has none of the fields"):
        corpus.questions([tmp_path / "q.jsonl"])


def test_contaminated_candidates_are_listed(tmp_path, model):
    asked = "what is the sum of the first seven numbers after twelve if we count"
    records.write_rows(
        tmp_path / "a.jsonl", [{"id": "bad", "text": asked}, {"text": "sum fox king"}]
    )
    pool = shards.find([tmp_path / "a.jsonl"])
    done = corpus.scan(tmp_path, pool, [linear.publish(model, tmp_path, "words")], LOCAL, FIELDS)
    rows = ranking.front(ranking.by_score(done.parts, "log_odds"), 1e9)
    questions = corpus.save_questions(tmp_path, {"gsm/1": f"Tell me: {asked} them?"})
    rules = {"tokenizer": "", "questions": questions, "min_words": 1, "shingle_words": 0}
    found = candidates.examine(tmp_path / "scratch", "c", done, [rows], rules, LOCAL, 0, FIELDS)
    assert candidates.write_contaminated(tmp_path / "out.jsonl", found) == 1
    shared = " ".join(contamination.words(asked)[:13])
    assert list(records.read_rows(tmp_path / "out.jsonl")) == [
        {"id": "bad", "question": "gsm/1", "kind": "13-gram", "shared": shared}
    ]
    assert found.reason.tolist() == ["contaminated", ""]
    assert found.texts(np.array([1])) == {1: "sum fox king"}
    digest = hashlib.sha256((tmp_path / "out.jsonl").read_bytes()).hexdigest()
    candidates.write_contaminated(tmp_path / "again.jsonl", found)
    assert hashlib.sha256((tmp_path / "again.jsonl").read_bytes()).hexdigest() == digest
