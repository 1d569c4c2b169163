"""A real engine is forced to say one value of each kind, a character per delta, on every surface that it speaks; the bytes that a
client gets are read in every way it could read them."""

import json

import httpx
import pytest

from conftest import BARE_ENGINE, BARE_KINDS, ENGINE, KEY, KINDS, KINDS_URL, gateway_only, leaks, sentence

pytestmark = gateway_only


def stream(url, path, body):
    """The raw bytes of a streamed answer."""
    with httpx.stream("POST", url + path, json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=120) as answer:
        raw = answer.read()
        assert answer.status_code == 200, raw
    return raw


def views(raw):
    """The bytes as they stand, and each text of the events, joined over the events by its path."""
    text = raw.decode()
    lanes = {}

    def join(value, path):
        if isinstance(value, dict):
            for name, field in value.items():
                join(field, f"{path}/{name}")
        elif isinstance(value, list):
            for item in value:
                join(item, path)
        elif isinstance(value, str):
            lanes[path] = lanes.get(path, "") + value

    events = [line[6:] for line in text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
    for event in events:
        join(json.loads(event), "")
    return [text, *lanes.values()], len(events)


def check(bare, raw, kinds):
    """`bare` is what the engine said to nobody in between."""
    said, pieces = views(bare)
    seen, events = views(raw)
    for kind in kinds:
        value = KINDS[kind]
        assert any(value in view for view in said[1:]), f"the engine said no {kind}: {said}"
        for view in seen:
            assert not leaks(view, value), f"{kind} in {view}"
        assert any(f"[{kind.upper()}_1]" in view for view in seen), f"{kind} was said and masked: {seen}"
    assert pieces >= sum(len(KINDS[kind]) for kind in kinds), f"not a character per delta: {bare}"
    # What is no part of a value comes in pieces: nothing waited for the whole answer.
    assert events > 4, raw


@pytest.mark.parametrize("kind", KINDS)
def test_chat(kind):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "go"}], "max_tokens": 200, "stream": True}
    body |= {"grammar": f'root ::= "{sentence(kind)}"'}
    path = "/v1/chat/completions"
    check(stream(BARE_ENGINE, path, body), stream(ENGINE, path, body), [kind])


@pytest.mark.parametrize("kind", KINDS)
def test_responses(kind):
    body = {"model": "tiny", "input": "go", "stream": True, "grammar": f'root ::= "{sentence(kind)}"'}
    check(stream(BARE_ENGINE, "/v1/responses", body), stream(ENGINE, "/v1/responses", body), [kind])


def test_messages():
    """This surface takes no grammar of its own: the engine says all kinds in one answer."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "go"}], "max_tokens": 1000, "stream": True}
    check(stream(BARE_KINDS, "/v1/messages", body), stream(KINDS_URL, "/v1/messages", body), KINDS)
