import pytest

from trait_lib import hub, records
from trait_lib.corpora import load_documents
from trait_lib.hub import HubError

ROWS = [{"id": "a", "text": "eins", "lang": "de"}, {"id": "b", "text": "two", "lang": "en"}]


def test_an_address_holds_name_configuration_split_and_revision():
    name, options = hub.parse("hub://HuggingFaceFW/fineweb?name=sample-10BT&revision=v1")
    assert name == "HuggingFaceFW/fineweb"
    assert options == {"name": "sample-10BT", "revision": "v1", "split": "train"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub://?split=train", "is not hub://OWNER/NAME"),
        ("hub://a/b?splitt=train", "unknown option 'splitt'; known: name, split"),
    ],
)
def test_a_wrong_address_is_named_before_anything_is_read(source, message):
    with pytest.raises(ValueError, match=message):
        load_documents([source])


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_rows_come_through_the_datasets_package_as_from_the_file(tmp_path, kind):
    path = tmp_path / ("d.jsonl" if kind == "json" else "d.parquet")
    records.write_rows(path, ROWS)
    source = f"hub://{kind}?data_files={path}&split=train"
    rows = list(load_documents([source], where=["lang=en"], keep=["lang"]))
    direct = list(load_documents([path], where=["lang=en"], keep=["lang"]))
    assert [{**row, "source": ""} for row in rows] == [{**row, "source": ""} for row in direct]
    assert (rows[0]["source"], rows[0]["id"]) == (kind, "b")


def test_a_missing_split_is_a_clear_error(tmp_path):
    records.write_rows(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(HubError, match=r"cannot be read: .*validation"):
        list(load_documents([f"hub://json?data_files={tmp_path}/d.jsonl&split=validation"]))


def test_without_a_network_the_message_says_what_to_do(monkeypatch):
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"cannot be reached.*download the files.*tier local"):
        list(load_documents(["hub://HuggingFaceFW/fineweb?name=sample-10BT"]))
