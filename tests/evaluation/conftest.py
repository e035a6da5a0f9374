"""A tiny model with its tokenizer, and a server that completes prompts with it."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Completions(BaseHTTPRequestHandler):
    """What vLLM answers: completions of a text, and log-probabilities of echoed tokens."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(asked)
            self.server.keys.append(self.headers.get("Authorization"))
            if self.server.failures:
                status = self.server.failures.pop(0)
                return self.reply(status, {"error": {"message": "not now", "code": status}})
            if asked["model"] != "tiny":
                return self.reply(404, {"error": {"message": "unknown model", "code": 404}})
            if asked.get("echo"):
                choice = {"text": "", "logprobs": self.echoed(asked["prompt"])}
                count = 1
            else:
                text, count = self.completed(asked)
                choice = {"text": text, "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": 1 + count}
        choice |= {"index": 0, "finish_reason": "stop"}
        reply = {"id": "1", "object": "text_completion", "created": 0, "model": asked["model"]}
        self.reply(200, {**reply, "choices": [choice], "usage": usage})

    def completed(self, asked):
        """One prompt, alone, with `generate` of transformers."""
        model, tokenizer = self.server.loaded
        ids = tokenizer(asked["prompt"], return_tensors="pt")
        stops = {"stop_strings": asked["stop"], "tokenizer": tokenizer} if asked["stop"] else {}
        with torch.no_grad():
            made = model.generate(
                **ids, max_new_tokens=asked["max_tokens"], do_sample=False, **stops
            )
        new = made[0, ids["input_ids"].shape[1] :].tolist()
        text = tokenizer.decode(new, skip_special_tokens=True)
        return generation.cut(text, asked["stop"] or ()), len(new)

    def echoed(self, tokens):
        if self.server.silent:
            return None
        model, tokenizer = self.server.loaded
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0].float()
        logged = torch.log_softmax(logits, -1)
        found = [None, *(logged[n, one].item() for n, one in enumerate(tokens[1:]))]
        found.append(logged[-1].max().item())
        return {"tokens": tokenizer.convert_ids_to_tokens(tokens), "token_logprobs": found}

    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(loaded):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Completions)
    httpd.loaded, httpd.lock = loaded, threading.Lock()
    httpd.asked, httpd.keys, httpd.failures, httpd.silent = [], [], [], False
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    yield httpd
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path / "runs"))
    assert os.environ["TRAIT_RUNS"]
    return tmp_path / "runs"
