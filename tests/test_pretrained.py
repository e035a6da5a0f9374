"""The door of models: whatever a tokenizer's file keeps, a text gives all of its own tokens."""

import shutil

import pytest
from tiny import SHAPE
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, GPT2Config, MistralConfig, PreTrainedTokenizerFast

from trait_lib import ROOT, params, pretrained, run

END, TURN, BEGIN = "<|endoftext|>", "<|im_end|>", "<s>"
TEXT = "Ann has 12 tiles,\n\nand Bo has 30.  The answer is 42. Zwölf naïve Füchse; ﬁnal café."


def save(folder, change=None, normalizer=None, eos=END, special=(END, TURN, BEGIN), **named):
    """A byte-level tokenizer and a model's configuration in a folder."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    if normalizer:
        raw.normalizer = normalizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=list(special),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    if change:
        change(raw)
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=eos, **named).save_pretrained(folder)
    MistralConfig(vocab_size=320, max_position_embeddings=64, **SHAPE).save_pretrained(folder)
    return folder


def padded(raw):
    raw.enable_truncation(8)
    raw.enable_padding(length=64, pad_token=END)


def ended(raw):
    ids = [(token, raw.token_to_id(token)) for token in (BEGIN, END)]
    raw.post_processor = TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=ids)


def random_merges(raw):
    raw.model.dropout = 0.9


@pytest.mark.parametrize("change", [padded, ended, random_merges])
def test_what_a_tokenizer_keeps_of_its_use_decides_no_id(tmp_path, change):
    clean = pretrained.tokenizer(save(tmp_path / "clean"))
    used = pretrained.tokenizer(save(tmp_path / "used", change))
    wanted = clean(TEXT)["input_ids"]
    before = used.convert_tokens_to_ids([BEGIN]) if change is ended else []
    assert used(TEXT)["input_ids"] == before + wanted
    assert used.backend_tokenizer.encode(TEXT).ids == before + wanted
    bare = pretrained.backend(tmp_path / "used").encode(TEXT, add_special_tokens=False)
    assert bare.ids == wanted
    used.save_pretrained(tmp_path / "again")
    assert Tokenizer.from_file(str(tmp_path / "again/tokenizer.json")).encode(TEXT).ids == (
        before + wanted
    )


def test_a_mark_in_a_text_is_text(tmp_path):
    made = pretrained.tokenizer(save(tmp_path))
    ids = made(f"{END} is a mark")["input_ids"]
    assert made.eos_token_id not in ids and made.decode(ids) == f"{END} is a mark"


@pytest.mark.parametrize(
    ("normalizer", "lost"),
    [
        (None, []),
        (normalizers.NFC(), []),
        (normalizers.NFD(), []),
        (normalizers.Lowercase(), ["letter case"]),
        (normalizers.NFKC(), ["compatibility forms"]),
        (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), ["accents"]),
        (normalizers.Replace("\n", " "), ["white space"]),
        (normalizers.Replace("12", ""), ["characters"]),
        (normalizers.BertNormalizer(), ["white space", "letter case", "accents"]),
    ],
)
def test_what_does_not_come_back_from_tokens_is_named(tmp_path, normalizer, lost):
    made = pretrained.tokenizer(save(tmp_path, normalizer=normalizer))
    assert pretrained.losses(made, TEXT) == lost
    if not lost:
        pretrained.check_round_trip(made, [TEXT], "a.jsonl")
    elif lost[0] in pretrained.REFUSED:
        with pytest.raises(pretrained.NothingComesBack, match=rf"a\.jsonl: .* loses {lost[0]}"):
            pretrained.check_round_trip(made, ["fine", TEXT], "a.jsonl")
    else:
        with pytest.warns(UserWarning, match=rf"a\.jsonl: .* loses {lost[0]}.* comes back as"):
            pretrained.check_round_trip(made, ["fine", TEXT], "a.jsonl")


def test_documents_do_not_end_with_the_mark_of_a_turn(tmp_path):
    assert pretrained.tokenizer(save(tmp_path / "base")).eos_token == END
    chat = save(tmp_path / "chat", eos=TURN)
    assert pretrained.tokenizer(chat).eos_token == END
    assert (
        f"'{END}', since the tokenizer's end token '{TURN}'"
        in (pretrained.describe(chat)["documents end with"])
    )
    assert pretrained.tokenizer(chat, TURN).eos_token == TURN
    assert pretrained.record(chat, end_mark=TURN)["end_mark"] == TURN
    only = save(tmp_path / "only", eos=TURN, special=(TURN,))
    assert pretrained.tokenizer(only).eos_token == TURN
    with pytest.raises(pretrained.ModelError, match="has no token '<stop>'"):
        pretrained.tokenizer(chat, "<stop>")
    with pytest.raises(pretrained.ModelError, match=r"no end-of-text token .*name one .*end_mark"):
        pretrained.tokenizer(save(tmp_path / "none", eos=None, special=(BEGIN,)))


def test_a_length_beyond_the_positions_is_refused_by_number():
    for config in (MistralConfig(max_position_embeddings=64), GPT2Config(n_positions=64)):
        pretrained.check_length(64, config, "a row")
        with pytest.raises(pretrained.ModelError, match=r"a row has 65 tokens.* 64 positions"):
            pretrained.check_length(65, config, "a row")
    scaled = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
    llama = AutoConfig.for_model("llama", max_position_embeddings=64, rope_parameters=scaled)
    assert pretrained.positions(llama) == 256
    pretrained.check_length(10**6, AutoConfig.for_model("bloom"), "a model without positions")


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path):
    made = pretrained.tokenizer(save(tmp_path))
    with pytest.raises(pretrained.ModelError, match=r"has \d+ tokens, the model 100; they do not"):
        pretrained.check_belongs(made, MistralConfig(vocab_size=100))
    pretrained.check_belongs(made, MistralConfig(vocab_size=320, eos_token_id=made.eos_token_id))
    with pytest.warns(UserWarning, match=r"token 70 ends a text .* is it the tokenizer of this"):
        pretrained.check_belongs(made, MistralConfig(vocab_size=320, eos_token_id=[0, 70]))


def test_a_folder_is_found_from_the_repository_and_named_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(params, "ROOT", tmp_path)
    save(tmp_path / "models/mine")
    monkeypatch.chdir(ROOT)
    for name in ("models/mine", "./models/mine", str(tmp_path / "models/mine")):
        assert pretrained.folder(name) == tmp_path / "models/mine"
    with pytest.raises(FileNotFoundError, match=r"models/yours.*check base_model"):
        pretrained.folder("./models/yours")
    (tmp_path / "empty").mkdir()
    with pytest.raises(pretrained.ModelError, match=r"holds no config\.json"):
        pretrained.folder("empty")


def test_the_commit_of_a_hub_model_is_the_folder_that_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cached = tmp_path / "models--org--tiny"
    first, second = "1" * 40, "2" * 40
    for commit in (first, second):
        save(cached / "snapshots" / commit)
        (cached / "snapshots" / commit / "model.safetensors").write_text(commit)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(second)
    (cached / "refs/v1").write_text(first)
    for revision, commit in (("main", second), ("v1", first), (first, first)):
        place = pretrained.folder("org/tiny", revision)
        kept = pretrained.record(place, "org/tiny")
        assert kept["commit"] == commit and kept["name_or_path"].endswith(commit)
    with pytest.raises(FileNotFoundError, match=r"'org/tiny' .revision 'v2'.: no such folder in"):
        pretrained.folder("org/tiny", "v2")


def test_other_weights_in_the_same_folder_are_another_model(tmp_path):
    (save(tmp_path) / "model.safetensors").write_bytes(b"one")
    before = pretrained.record(tmp_path)["hash"]
    assert before == run.hash_path(shutil.copytree(tmp_path, tmp_path.parent / "copy"))
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert pretrained.record(tmp_path)["hash"] != before
