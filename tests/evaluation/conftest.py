"""A tiny model with its tokenizer, and a server that completes prompts with it."""

import json
import os

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from trait_lib.evaluation.inference import generation

TEXTS = [
    "Question: How many legs has a cow?\nAnswer: A cow has 4 legs. The answer is 4.",
    "Question: How many legs has a hen?\nAnswer: A hen has 2 legs. The answer is 2.\n\n",
    "One warb is 7 saln. 3 times 7 is 21. The answer is 21.",
]


@pytest.fixture(autouse=True)
def forget_the_model():
    torch.set_num_threads(1)
    yield
    generation.unload()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<|endoftext|>", "<|pad|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(TEXTS * 5, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        sliding_window=None,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=1,
        initializer_range=0.3,  # far apart logits: no ties for rounding to decide
    )
    MistralForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded(model_folder):
    from trait_lib.evaluation.inference import checkpoint

    return checkpoint.load(model_folder)


class Model:
    """What vLLM answers: completions of a text, and log-probabilities of echoed tokens."""

    def __init__(self, loaded):
        self.model, self.tokenizer = loaded
        self.failures, self.silent = [], False

    def __call__(self, number, asked):
        if self.failures:
            status = self.failures.pop(0)
            error = {"error": {"message": "not now", "code": status}}
            return {"status": status, "body": json.dumps(error)}
        if asked["model"] != "tiny":
            error = {"error": {"message": "unknown model", "code": 404}}
            return {"status": 404, "body": json.dumps(error)}
        if asked.get("echo"):
            choice = {"text": "", "logprobs": self.echoed(asked["prompt"])}
            count = 1
        elif "logit_bias" in asked:  # told nothing of a token that it is made to write
            choice, count = {"text": "x", "logprobs": None}, 1
        else:
            text, count = self.completed(asked)
            choice = {"text": text, "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": 1 + count}
        return {"choices": [choice | {"index": 0, "finish_reason": "stop"}], "usage": usage}

    def completed(self, asked):
        """One prompt, alone, with `generate` of transformers."""
        ids = self.tokenizer(asked["prompt"], return_tensors="pt")
        stops = {"stop_strings": asked["stop"], "tokenizer": self.tokenizer}
        with torch.no_grad():
            made = self.model.generate(
                **ids,
                max_new_tokens=asked["max_tokens"],
                do_sample=False,
                **(stops if asked["stop"] else {}),
            )
        new = made[0, ids["input_ids"].shape[1] :].tolist()
        text = self.tokenizer.decode(new, skip_special_tokens=True)
        return generation.cut(text, asked["stop"] or ()), len(new)

    def echoed(self, tokens):
        if self.silent:
            return None
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([tokens])).logits[0].float()
        logged = torch.log_softmax(logits, -1)
        found = [None, *(logged[n, one].item() for n, one in enumerate(tokens[1:]))]
        found.append(logged[-1].max().item())
        return {"tokens": self.tokenizer.convert_ids_to_tokens(tokens), "token_logprobs": found}


@pytest.fixture
def server(loaded, serve):
    """The tiny model behind the server of all tests; `server.behaviour` is the `Model`."""
    return serve(Model(loaded))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
    assert os.environ["TRAIT_RUNS"]
    return tmp_path / "runs"
