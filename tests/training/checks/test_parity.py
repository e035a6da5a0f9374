import pytest

from trait_lib import records
from trait_lib.training.checks import isolation, parity, preflight

RIGHT = {"precision": "bf16", "ranks": 2, "accumulated": 4, "norm": 0.4472, "true_norm": 0.4471}
RIGHT |= {"norm_error": 2e-4, "gradient_error": 3e-3}


@pytest.mark.slow
def test_two_ranks_give_the_gradients_of_one_process(runs):
    cases = parity.check()
    assert [(c["precision"], c["ranks"], c["accumulated"]) for c in cases] == [
        *[("fp32", 2, 1), ("fp32", 2, 4), ("bf16", 2, 1), ("bf16", 2, 4)]
    ]
    for case in cases:
        assert parity.error_of(case) <= {"fp32": 1e-6, "bf16": 1e-3}[case["precision"]]
        assert case["gradient_error"] < 1e-2
        assert case["norm"] > 0.1
    # kept for these packages: a second call reads it
    (kept,) = (runs / "cache").glob("gradients-*")
    before = (kept / "cases.json").stat().st_mtime_ns
    assert parity.check() == cases
    assert (kept / "cases.json").stat().st_mtime_ns == before


def test_the_known_bug_would_be_refused_in_numbers():
    # what deepspeed 0.18.6 gave: 0.628 where 0.447 is right
    wrong = {**RIGHT, "norm": 0.628, "true_norm": 0.447, "norm_error": 0.405}
    parity.refuse_wrong([RIGHT])
    with pytest.raises(parity.WrongGradients, match=r"bf16, 2 ranks, 4 passes.*0\.628 .* 0\.447"):
        parity.refuse_wrong([RIGHT, wrong])
    with pytest.raises(parity.WrongGradients):
        parity.refuse_wrong([{**RIGHT, "norm_error": float("nan")}])
    # right norm, wrong direction: seen in fp32
    turned = {**RIGHT, "precision": "fp32", "norm_error": 0.0, "gradient_error": 1.4}
    with pytest.raises(parity.WrongGradients):
        parity.refuse_wrong([turned])


def test_the_rows_are_the_same_on_every_rank(tmp_path):
    one, two = (parity.write_rows(tmp_path / rank / "rows") for rank in ("rank-0", "rank-1"))
    assert (one.entries == two.entries).all() and one.hash == two.hash
    assert one.steps == 1
    bytes_of = [(tmp_path / r / "rows" / "tokens.bin").read_bytes() for r in ("rank-0", "rank-1")]
    assert bytes_of[0] == bytes_of[1]
    assert records.read_json(tmp_path / "rank-0" / "rows" / "meta.json")["tokens"] == 256


@pytest.mark.parametrize("name", preflight.KNOWN)
def test_documents_of_a_row_are_apart_only_where_positions_restart(name):
    described = preflight.model_config(name)
    for batch in (1, 2):
        assert isolation.largest_leak(described, True, batch) < isolation.LIMIT
        assert isolation.largest_leak(described, False, batch) > 10 * isolation.LIMIT
    isolation.require(described)


def test_a_class_that_leaks_is_refused(monkeypatch):
    described = preflight.model_config("mistralai/Mistral-7B-v0.1")
    class_of = type(isolation.small_model(described))
    forward = class_of.forward

    def without_positions(self, **given):
        return forward(self, **{**given, "position_ids": None})

    monkeypatch.setattr(class_of, "forward", without_positions)
    with pytest.raises(isolation.DocumentsLeak, match="isolate_documents: false"):
        isolation.require(described)
