import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import SHAPE
from transformers import AutoModelForCausalLM, AutoTokenizer

from trait_lib import records
from trait_lib.training import base


def test_a_number_of_up_to_three_digits_can_be_one_token(runs, tmp_path):
    path = tmp_path / "numbers.jsonl"
    records.write_rows(path, [{"text": f"is {n % 50}. plus {n % 7} 1234 "} for n in range(500)])
    made = base.train_tokenizer([path], 600, tmp_path / "tokenizer")
    assert made.tokenize(" 42") == ["Ġ42"]
    assert "".join(made.tokenize(" 1234")) == "Ġ1234"
    assert len(made.tokenize(" 1234")[0]) <= 4  # a blank and three digits at most
    assert made.eos_token == "<|endoftext|>"
    assert made.pad_token_id not in (None, made.eos_token_id)


def test_the_saved_tokenizer_is_the_same(runs, tokenizer):
    again = AutoTokenizer.from_pretrained(runs / "tokenizer")
    text = "Lesson 12. One unit is 4 parts.\n\nQuestion: naïve 3.14?"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.decode(again(text)["input_ids"]) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(tokenizer, text):
    if base.END not in text and base.PAD not in text:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_vocabulary_without_room_is_refused(runs, files, tmp_path):
    with pytest.raises(ValueError, match="at least 258"):
        base.train_tokenizer([files["general"]], 100, tmp_path)


@pytest.mark.slow
def test_the_base_model_is_made_once(runs, files):
    training = {
        "tokens": 2048,
        "sequence_length": 32,
        "batch_tokens": 256,
        "learning_rate": 1e-2,
        "engine": "plain",
        "device": "cpu",
    }
    folder = base.pretrain_base(files["general"], {"vocab_size": 300}, SHAPE, training, seed=3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.hidden_size == 32
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(folder))
    log = list(records.read_rows(folder / "log.jsonl"))
    assert len(log) == 8
    assert log[-1]["loss"] < log[0]["loss"]
    made = (folder / "model.safetensors").stat().st_mtime
    again = base.pretrain_base(files["general"], {"vocab_size": 300}, SHAPE, training, seed=3)
    assert again == folder
    assert (folder / "model.safetensors").stat().st_mtime == made
