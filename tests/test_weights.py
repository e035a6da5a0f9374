"""A base model in a GGUF file: found by its name, expanded once, the same model as before."""

import sys

import pytest
import torch

pytest.importorskip("gguf", reason="make laptop installs it")

import gguf_file
from transformers import AutoModelForCausalLM

from trait_lib import pretrained, run, weights


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a tiny model `hf`, and the same as `tiny-Instruct.gguf`."""
    place = tmp_path_factory.mktemp("gguf")
    gguf_file.tiny(place / "hf", chat=True)
    gguf_file.write(place / "hf", place / "tiny-Instruct.gguf", chat="{{ messages }}")
    return place


@pytest.fixture(autouse=True)
def runs(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path_factory.getbasetemp() / "gguf_runs"))


def test_the_folder_holds_the_same_weights_and_the_same_tokenizer(made):
    place = pretrained.folder(made / "tiny-Instruct.gguf")
    one, two = (AutoModelForCausalLM.from_pretrained(p).state_dict() for p in (made / "hf", place))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    first, second = pretrained.tokenizer(made / "hf"), pretrained.tokenizer(place)
    for text in [*gguf_file.TEXTS, "12 34  x\n\n y ﬁ <|im_end|>"]:
        assert first(text)["input_ids"] == second(text)["input_ids"]
        assert pretrained.losses(second, text) == []
    assert second.eos_token == "<|endoftext|>"  # not the mark of a turn, which the file names


def test_it_is_made_once_for_a_content_wherever_the_file_lies(made, tmp_path):
    place = pretrained.folder(made / "tiny-Instruct.gguf")
    copy = tmp_path / "other.gguf"
    copy.write_bytes((made / "tiny-Instruct.gguf").read_bytes())
    before = run.hash_path(place)
    assert pretrained.folder(copy) == place and run.hash_path(place) == before
    assert pretrained.folder(place) == place


def test_the_card_says_what_it_was(made):
    told = pretrained.describe(pretrained.folder(made / "tiny-Instruct.gguf"))
    assert "tiny-Instruct.gguf (sha256 " in told["made from"] and "apache-2.0" in told["made from"]
    assert told["says it is"] == "tiny; instruct-tuned (it brings a chat template)"
    assert told["weights"].startswith("100% of 32 bits (F32)")
    assert weights.describe(made / "hf") == {}


def package(folder, name, **files):
    """An installed package, as pip leaves it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file, content in files.items():
        (folder / file.replace("__", ".")).write_bytes(content)
    (info / "RECORD").write_text("".join(f"{file.replace('__', '.')},,\n" for file in files))


def test_a_file_of_an_installed_package_whole_or_in_parts(made, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    whole = (made / "tiny-Instruct.gguf").read_bytes()
    package(tmp_path, "some-weights", tiny__gguf=whole)
    for number in range(12):  # more than ten: by number, not by letter
        size = len(whole) // 12 + 1
        part = whole[number * size : (number + 1) * size]
        package(tmp_path, f"in-parts-{number + 1}", **{f"part{number + 1}__bin": part})
    assert weights.file("package://some-weights/*.gguf") == tmp_path / "tiny.gguf"
    assert weights.file("package://in-parts-*/*.bin").read_bytes() == whole
    place = pretrained.folder(made / "tiny-Instruct.gguf")
    assert pretrained.folder("package://in-parts-*/*.bin") == place


def test_a_file_of_the_hub_is_the_cached_one(made, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "1" * 40
    kept = tmp_path / "models--org--tiny-GGUF" / "snapshots" / commit / "tiny.gguf"
    kept.parent.mkdir(parents=True)
    kept.write_bytes((made / "tiny-Instruct.gguf").read_bytes())
    monkeypatch.setattr(weights, "ROOT", tmp_path)
    assert weights.file("org/tiny-GGUF/tiny.gguf", commit) == kept
    with pytest.raises(FileNotFoundError, match=r"org/tiny-GGUF/other\.gguf .*the Hub gives none"):
        weights.file("org/tiny-GGUF/other.gguf", commit)


def test_what_cannot_be_read_is_named(made, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"model nowhere\.gguf: no such file"):
        pretrained.folder("nowhere.gguf")
    with pytest.raises(FileNotFoundError, match=r"no installed package 'absent'.*make laptop"):
        pretrained.folder("package://absent/*.gguf")
    (tmp_path / "text.gguf").write_text("no weights")
    with pytest.raises(pretrained.ModelError, match=r"text\.gguf is no GGUF file"):
        pretrained.folder(tmp_path / "text.gguf")
    other = gguf_file.write(made / "hf", tmp_path / "other.gguf", architecture="quux")
    with pytest.raises(pretrained.ModelError, match=r"transformers cannot read it: .*quux"):
        pretrained.folder(other)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pretrained.ModelError, match="needs the package gguf; `make laptop`"):
        pretrained.folder(other)
