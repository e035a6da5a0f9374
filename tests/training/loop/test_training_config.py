import pytest

from trait_lib import params
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import engine


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequence_lenght": 32}, ["sequence_lenght", "did you mean 'sequence_length'"]),
        ({"sequence_length": 0}, ["sequence_length", "must lie in"]),
        ({"sequence_length": True}, ["sequence_length", "type int"]),
        ({"batch_tokens": 100}, ["batch_tokens", "multiple", "32"]),
        ({"learning_rate": "1e-4"}, ["learning_rate", "type float", "'1e-4'"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "must lie in"]),
        ({"precision": "fp16"}, ["precision", "fp32, bf16"]),
        ({"model": "somewhere"}, ["exactly one of 'model' and 'model_config'"]),
        ({"tokenizer": ""}, ["tokenizer", "missing"]),
        ({"final_lr_share": 0.0}, ["final_lr_share", "above 0"]),
        ({"stages": []}, ["stages", "empty"]),
        ({"stages": [{"name": "a", "tokens": 9}]}, ["stage 1", "sources"]),
        ({"stages": [{"name": "a", "tokens": 0, "sources": []}]}, ["tokens", "sources"]),
        (
            {
                "stages": [
                    {
                        "name": "a",
                        "tokens": 9,
                        "sources": [{"name": "x", "file": "f", "weight": 0}],
                    }
                ]
            },
            ["weight", "x", "above 0"],
        ),
    ],
)
def test_a_bad_setting_is_named(configuration, change, words):
    with pytest.raises(params.ParameterError) as error:
        settings.check(configuration(**change))
    assert all(word in str(error.value) for word in words)


def test_a_missing_setting_is_named(configuration):
    given = configuration()
    del given["learning_rate"]
    with pytest.raises(params.ParameterError, match=r"'learning_rate' is missing.*paper: 2e-5"):
        settings.check(given)


def test_all_problems_are_told_at_once(configuration):
    with pytest.raises(params.ParameterError, match=r"(?s)clip.*seed"):
        settings.check(configuration(clip=-1.0, seed="one"))


def test_rows_are_shared_evenly_or_refused(checked):
    assert engine.micro_batch_rows({**checked, "batch_tokens": 12 * 32}, 2) == 6
    assert engine.micro_batch_rows({**checked, "micro_batch_rows": 4}, 2) == 4
    with pytest.raises(params.ParameterError, match=r"8 rows.*3 processes"):
        engine.micro_batch_rows(checked, 3)
    with pytest.raises(params.ParameterError, match=r"micro_batch_rows.*4 rows"):
        engine.micro_batch_rows({**checked, "micro_batch_rows": 3}, 2)


def test_deepspeed_configuration_is_zero_1_with_fp32_accumulation(checked):
    made = engine.deepspeed_config({**checked, "precision": "bf16", "micro_batch_rows": 2}, 2)
    assert made["zero_optimization"]["stage"] == 1
    assert made["bf16"] == {"enabled": True}
    assert made["data_types"] == {"grad_accum_dtype": "fp32"}
    assert made["gradient_accumulation_steps"] == 2


@pytest.mark.parametrize("version", ["0.18.6", "0.18.9", "0.19.3"])
def test_versions_with_wrong_gradients_are_refused(version):
    with pytest.raises(RuntimeError, match="wrong gradients"):
        engine.refuse_bad_deepspeed(version)


@pytest.mark.parametrize("version", ["0.19.4", "0.19.8", "0.20.0", "0.19.8+cpu", "1.0"])
def test_later_versions_are_accepted(version):
    engine.refuse_bad_deepspeed(version)
