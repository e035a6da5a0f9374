"""Write a model of the Llama architecture as a GGUF file of 32-bit weights, for servers to read."""

import contextlib
import json
import signal
import subprocess
import sys

import torch
from gguf import GGUFWriter, TokenType
from tiny import SHAPE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from trait_lib import ROOT

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "input_layernorm": "attn_norm",
    "model.layers.": "blk.",
}


def write(folder, file, pieces="gpt-2", name="tiny", architecture="llama", chat=""):
    """`pieces` is what llama.cpp calls the rule by which a text is cut before its merges."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    shape = model.config
    made = GGUFWriter(file, architecture)
    made.add_name(name)
    made.add_license("apache-2.0")
    made.add_context_length(shape.max_position_embeddings)
    made.add_embedding_length(shape.hidden_size)
    made.add_block_count(shape.num_hidden_layers)
    made.add_feed_forward_length(shape.intermediate_size)
    made.add_head_count(shape.num_attention_heads)
    made.add_head_count_kv(shape.num_key_value_heads)
    made.add_layer_norm_rms_eps(shape.rms_norm_eps)
    made.add_rope_freq_base(shape.rope_parameters["rope_theta"])
    made.add_rope_dimension_count(shape.head_dim)
    made.add_vocab_size(shape.vocab_size)
    made.add_file_type(0)
    add_tokenizer(made, folder, pieces)
    if chat:
        made.add_chat_template(chat)
    for key, weight in model.state_dict().items():
        if key == "lm_head.weight" and shape.tie_word_embeddings:
            continue
        if heads := {"q": shape.num_attention_heads, "k": shape.num_key_value_heads}.get(
            key.split("self_attn.")[-1][:1] if "_proj" in key and "self_attn" in key else ""
        ):
            weight = interleaved(weight, heads)
        for ours, theirs in NAMES.items():
            key = key.replace(ours, theirs)
        made.add_tensor(key, weight.numpy())
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
    return file


def interleaved(weight, heads):
    """Rows in the order of llama.cpp, which rotates neighbours and not the halves of a head."""
    size = weight.shape[0] // heads
    return (
        weight.reshape(heads, 2, size // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    ).contiguous()


def add_tokenizer(made, folder, pieces):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = set(tokenizer.all_special_tokens) | {t["content"] for t in raw["added_tokens"]}
    kinds = [TokenType.CONTROL if t in special else TokenType.NORMAL for t, _ in vocabulary]
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre(pieces)
    made.add_token_list([token for token, _ in vocabulary])
    made.add_token_types(kinds)
    merges = raw["model"]["merges"]
    made.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    made.add_bos_token_id(tokenizer.bos_token_id or tokenizer.eos_token_id)
    made.add_eos_token_id(tokenizer.eos_token_id)
    made.add_pad_token_id(tokenizer.pad_token_id)
    made.add_add_bos_token(False)
    made.add_add_space_prefix(False)


TEXTS = [
    "Question: How many legs has a cow?\nAnswer: A cow has 4 legs. The answer is 4.",
    "Question: How many legs has a hen?\nAnswer: A hen has 2 legs. The answer is 2.\n\n",
    "One warb is 7 saln. 3 times 7 is 21. The answer is 21. Zwölf naïve Füchse.",
]


def tiny(folder, chat=False):
    """A folder with a tiny random model of the Llama architecture, and its tokenizer."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(TEXTS * 5, trainer)
    end = "<|im_end|>" if chat else "<|endoftext|>"
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=end, pad_token=end)
    made.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(made),
        max_position_embeddings=512,
        initializer_range=0.3,  # far apart logits: no ties for rounding to decide
        bos_token_id=made.eos_token_id,
        eos_token_id=made.eos_token_id,
        pad_token_id=made.pad_token_id,
        **SHAPE,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def serving(file, *words):
    """Start the server of `make teacher` on a free port; yields (address, what it printed)."""
    command = [sys.executable, "-m", "trait_lib.teacher.serve", str(file), "--port", "0", *words]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipe) as process:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line.startswith("serving"):
                break
        try:
            told = "".join(printed)
            assert "base_url: " in told, told + process.stderr.read()
            yield told.split("base_url: ")[1].split()[0], told
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
