"""The two transports of the openai package: either will do."""

import openai
import pytest

OK = {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}


def absent(**_):
    raise RuntimeError("To use the aiohttp client you must have installed the extra")


@pytest.mark.parametrize("installed", [True, False], ids=["as installed", "without aiohttp"])
def test_faults_and_replies_are_the_same_over_either(serve, ask, monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(openai, "DefaultAioHttpClient", absent)
    faults = [{"drop": True, "body": "{}  "}, {"status": 503}, {"delay": 1.0}, {"body": "{"}]
    server = serve(lambda number, body: faults[number] if number < len(faults) else OK)
    (reply,) = ask(server, ["a"], timeout_seconds=0.4)
    assert (reply.text, reply.error) == ("fine", "")
    assert sum(server.received.values()) == 5


@pytest.mark.parametrize("installed", [True, False], ids=["as installed", "without aiohttp"])
def test_a_proxy_in_the_environment_is_passed_by_on_loopback(serve, ask, monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(openai, "DefaultAioHttpClient", absent)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (reply,) = ask(serve(lambda number, body: OK), ["a"])
    assert reply.text == "fine"


def test_a_server_that_is_not_there_is_reported_with_what_it_was(ask):
    class Nowhere:
        url = "http://127.0.0.1:9/v1"

    (reply,) = ask(Nowhere, ["a"], tries=2)
    assert "onnect" in reply.error
