import pytest
from transformers import MistralConfig, MistralForCausalLM

from trait_lib.training.checks import preflight

MISTRAL = "mistralai/Mistral-7B-v0.1"
PAPER = {
    "batch_tokens": 2**20,
    "sequence_length": 4096,
    "processes": 8,
    "precision": "bf16",
    "gradient_checkpointing": True,
    "device_peak_tflops": 989.0,
    "expected_mfu": 0.4,
    "dollars_per_device_hour": 2.0,
}


@pytest.fixture(scope="module")
def mistral():
    return preflight.shape(preflight.model_config(MISTRAL))


def test_mistral_7b_has_its_known_size(mistral):
    assert mistral.parameters == 7_241_732_096
    assert mistral.multiplying == 7_110_660_096
    assert preflight.flops_per_token(mistral, 4096) == pytest.approx(4.91e10, rel=1e-3)


def test_memory_and_checkpoint_of_mistral_7b(mistral):
    gib = 7_241_732_096 / 2**30
    assert preflight.zero1_gib(mistral, 8) == pytest.approx((2 + 4 + 2 + 1.5) * gib)
    assert preflight.zero1_gib(mistral, 1, "fp32") == pytest.approx(20 * gib)
    assert preflight.checkpoint_gib(mistral) * 2**30 == pytest.approx(116e9, rel=0.01)


def test_math_stage_1_takes_about_190_hours_of_an_h100(mistral, tmp_path):
    stages = [{"tokens": 5_500_000_000}]
    result = preflight.estimate(mistral, stages, PAPER, tmp_path / "not" / "yet", 1)
    assert result.device_hours == pytest.approx(190, rel=0.01)
    assert result.steps == round(5.5e9 / 2**20)
    assert result.dollars == pytest.approx(2 * result.device_hours)


def test_a_tied_embedding_multiplies():
    config = preflight.model_config("HuggingFaceTB/SmolLM2-135M")
    size = preflight.shape(config)
    assert size.parameters == size.multiplying == 134_515_008


def test_the_count_is_that_of_the_real_model(configuration):
    from tiny import SHAPE

    config = MistralConfig(vocab_size=100, **SHAPE)
    real = sum(p.numel() for p in MistralForCausalLM(config).parameters())
    assert preflight.shape(config).parameters == real


def test_a_full_disk_is_told_before_the_run(mistral, tmp_path):
    result = preflight.estimate(mistral, [{"tokens": 1}], PAPER, tmp_path, 1)
    preflight.check_disk(preflight.Estimate(**{**vars(result), "free_disk_gib": 1e6}), 1)
    with pytest.raises(OSError, match=r"215\.\d GiB are needed .* 7\.0 GiB are free"):
        preflight.check_disk(preflight.Estimate(**{**vars(result), "free_disk_gib": 7.0}), 1)


def test_advice_names_the_rows_that_fit(mistral):
    config = {**PAPER, "engine": "deepspeed"}
    # 64.1 GiB of weights, gradients and optimizer on 8; a row of 4096 tokens: 1 GiB of
    # activations when recomputed, 17 GiB when not, and 1.5 GiB of logits
    advice = preflight.memory_advice(mistral, config, 8, 8, 80.0)
    assert "8 rows a forward pass take 83.8 GiB a rank and it has 80 GiB" in advice
    assert advice.endswith("Set micro_batch_rows: 2, which takes 69 GiB.")
    kept = {**config, "gradient_checkpointing": False}
    advice = preflight.memory_advice(mistral, kept, 8, 1, 80.0)
    assert advice.endswith("1 with gradient_checkpointing: true, which takes 66.5 GiB.")
    advice = preflight.memory_advice(mistral, config, 8, 1, 40.0)
    assert "No smaller pass fits" in advice and "64.1 GiB a rank on 8 and 59 GiB on 16" in advice
