import collections
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, SequentialSampler

from trait_lib.training.data import plan, shards
from trait_lib.training.loop import config as settings

KNOWN = [
    [0, 33],
    [1, 5],
    [0, 41],
    [0, 59],
    [0, 2],
    [1, 44],
    [0, 65],
    [0, 90],
    [0, 88],
    [1, 34],
    [0, 26],
    [0, 72],
    [0, 81],
    [1, 2],
    [0, 13],
    [0, 44],
]
KNOWN_HASH = "fa1a5c6870852500e710e685425ac0857cbba88a7b7f621ca8cbe319137c6629"
COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=4).filter(any)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.integers(1, 5000))
def test_counts_add_up_and_are_within_a_row_of_the_weights(weights, total):
    counts = plan.shares_to_counts(weights, total)
    assert sum(counts) == total
    exact = [weight / sum(weights) * total for weight in weights]
    assert all(abs(count - wanted) < 1 for count, wanted in zip(counts, exact, strict=True))


@given(st.integers(1, 40), st.integers(0, 100), st.integers(1, 100), st.integers(0, 9))
def test_no_row_comes_twice_within_an_epoch(available, first, count, seed):
    walk = plan.draw_rows(available, 0, first + count, seed, "s")
    for start in range(0, len(walk), available):
        epoch = walk[start : start + available]
        assert len(set(epoch.tolist())) == len(epoch)
    # a later stage goes on where the earlier one stopped
    assert plan.draw_rows(available, first, count, seed, "s").tolist() == walk[first:].tolist()


@given(COUNTS, st.integers(0, 9))
def test_interleaving_keeps_counts_and_spreads_them(counts, seed):
    order = plan.interleave(counts, seed, "stage")
    assert collections.Counter(order.tolist()) == {i: n for i, n in enumerate(counts) if n}
    for source, n in enumerate(counts):
        seen = np.cumsum(order == source)
        fair = n * np.arange(1, len(order) + 1) / len(order)
        # every prefix holds the source's share, up to one row of each source
        assert np.abs(seen - fair).max() <= len(counts) + 1


def test_scrambled_numbers_are_the_same_everywhere():
    assert plan.scramble(0, "", 2).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert plan.scramble(1, "", 2).tolist() != plan.scramble(0, "", 2).tolist()


@pytest.fixture
def laid_out(runs, checked):
    return plan.prepare(checked)


def test_stages_keep_their_order_and_their_shares(laid_out):
    assert [(s["name"], s["first_step"], s["steps"]) for s in laid_out.stages] == [
        ("stage 1", 0, 4),
        ("stage 2", 4, 4),
    ]
    first, second = laid_out.entries[:32, 0], laid_out.entries[32:, 0]
    assert collections.Counter(first.tolist()) == {0: 24, 1: 8}
    assert collections.Counter(second.tolist()) == {0: 16, 1: 16}
    assert [laid_out.stage_of(step) for step in (0, 3, 4, 7)] == ["stage 1"] * 2 + ["stage 2"] * 2


def test_no_row_is_used_twice_over_both_stages(laid_out):
    assert len({tuple(entry) for entry in laid_out.entries.tolist()}) == len(laid_out.entries)


def test_the_order_is_fixed_by_seed_and_content(laid_out, checked, runs):
    assert plan.prepare(checked).hash == laid_out.hash
    assert plan.prepare({**checked, "seed": 1}).hash != laid_out.hash
    stages = [{**stage, "tokens": stage["tokens"] * 2} for stage in checked["stages"]]
    assert plan.prepare({**checked, "stages": stages}).hash != laid_out.hash


def test_a_known_plan_keeps_its_order_and_hash():
    # a change here means that no earlier run can be continued or repeated: raise plan.FORMAT
    made = {}
    for name, tokens in (("one", 1000), ("two", 500)):
        meta = {"documents": 1, "empty": 0}
        zeros = np.zeros(tokens, dtype=np.uint16)
        made[name] = shards.Shard(Path(f"tokens-{name}"), zeros, np.zeros(1, dtype=int), meta)
    sources = [{"name": n, "file": n, "weight": w} for n, w in (("one", 0.75), ("two", 0.25))]
    stages = [{"name": "stage 1", "tokens": 160, "sources": sources}]
    config = {"stages": stages, "sequence_length": 10, "batch_tokens": 40, "seed": 5}
    laid_out = plan.build({**config, "max_epochs": 1.0}, made)
    assert laid_out.entries.tolist() == KNOWN
    assert laid_out.hash == KNOWN_HASH


@pytest.mark.parametrize(("processes", "micro"), [(1, 8), (2, 4), (2, 2), (4, 1)])
def test_a_step_has_the_same_rows_for_any_number_of_processes(laid_out, processes, micro):
    from accelerate.data_loader import BatchSamplerShard

    batches = BatchSampler(SequentialSampler(laid_out.entries), micro, drop_last=False)
    accumulated = laid_out.batch_rows // processes // micro
    ranks = [
        list(BatchSamplerShard(batches, num_processes=processes, process_index=rank))
        for rank in range(processes)
    ]
    for step in range(laid_out.steps):
        part = slice(step * accumulated, (step + 1) * accumulated)
        rows = sorted(row for rank in ranks for batch in rank[part] for row in batch)
        assert rows == list(range(step * laid_out.batch_rows, (step + 1) * laid_out.batch_rows))


def test_what_was_seen_at_a_step(laid_out, tokenizer):
    seen = plan.seen_at(laid_out, 5)
    assert len(seen) == laid_out.batch_rows
    row = seen[0]
    tokens, _ = plan.row_tokens(laid_out, row["source"], row["row"])
    number = row["documents"][-1].rpartition("-")[2]
    assert row["documents"][0].startswith(row["source"])
    assert f"Lesson {number}"[:3] in tokenizer.decode(tokens) or "fox" in tokenizer.decode(tokens)
    with pytest.raises(IndexError, match="steps 0 to 7"):
        plan.seen_at(laid_out, 8)


def test_a_saved_plan_is_read_back(laid_out, tmp_path):
    plan.save(laid_out, tmp_path)
    again = plan.read(tmp_path)
    assert (again.entries == laid_out.entries).all()
    assert again.hash == laid_out.hash
    assert again.sources == laid_out.sources
    assert [s.name for s in again.shards] == [s.name for s in laid_out.shards]


def test_the_tail_is_reported(laid_out):
    for name, source in laid_out.report["sources"].items():
        shard = shards.open_shard(laid_out.shards[laid_out.sources.index(name)])
        assert source["tail_tokens"] == len(shard.tokens) % 32
        assert source["tokens"] == len(shard.tokens)


def test_too_much_repetition_is_an_error_in_numbers(runs, configuration):
    config = settings.check(configuration(max_epochs=0.2))
    with pytest.raises(plan.PlanError, match=r"'lessons' .* epochs, and max_epochs is 0\.2"):
        plan.prepare(config)


def test_a_source_shorter_than_a_row_is_an_error(runs, configuration):
    config = settings.check(configuration(sequence_length=2**16, batch_tokens=2**16))
    with pytest.raises(plan.PlanError, match=r"less than one row of 65536"):
        plan.prepare(config)


def test_one_name_for_two_files_is_an_error(runs, configuration, files):
    config = settings.check(configuration())
    config["stages"][1]["sources"][0]["file"] = str(files["general"])
    with pytest.raises(plan.PlanError, match="'lessons' names two files"):
        plan.prepare(config)
