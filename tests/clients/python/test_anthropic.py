"""The anthropic package against the messages surface."""

import json

import anthropic
import pytest

from conftest import EMAIL, ENGINE, FAKE, FORCED, KEY, MASKED, gateway_only, leaks

HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def client(url, key=KEY, **options):
    return anthropic.Anthropic(base_url=url, api_key=key, **options)


def test_plain():
    answer = client(ENGINE).messages.create(model="tiny", max_tokens=8, messages=HELLO)
    assert answer.type == "message" and answer.stop_reason in ("max_tokens", "end_turn")
    assert answer.usage.output_tokens > 0


def test_bearer_token_is_a_key_too():
    api = anthropic.Anthropic(base_url=ENGINE, auth_token=KEY, api_key=None)
    assert api.messages.create(model="tiny", max_tokens=4, messages=HELLO).type == "message"


def test_streamed():
    with client(ENGINE).messages.stream(model="tiny", max_tokens=8, messages=HELLO) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(block.text for block in final.content if block.type == "text") == said
    assert final.stop_reason in ("max_tokens", "end_turn") and final.usage.output_tokens > 0


def test_count_tokens():
    assert client(ENGINE).messages.count_tokens(model="tiny", messages=HELLO).input_tokens > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_use(streamed):
    ask = {"model": "m", "max_tokens": 100, "tools": [WEATHER]}
    messages = [{"role": "user", "content": "How is the weather in Lisbon?"}]
    if streamed:
        with client(FAKE).messages.stream(messages=messages, **ask) as stream:
            answer = stream.get_final_message()
    else:
        answer = client(FAKE).messages.create(messages=messages, **ask)
    assert answer.stop_reason == "tool_use", "anything else stops a coding agent without a message"
    use = next(block for block in answer.content if block.type == "tool_use")
    assert (use.name, use.input) == ("weather", {"city": "Lisbon"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert client(FAKE).messages.create(messages=messages, **ask).content[0].text == "The tool said: sunny"


def test_thinking_keeps_its_signature(fake):
    model = fake.script(content={"steps": [{"reasoning": "let me "}, {"reasoning": "see"}, {"text": "done"}]})
    with client(FAKE).messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
        thinking, text = stream.get_final_message().content
    assert (thinking.thinking, bool(thinking.signature), text.text) == ("let me see", True, "done")


@gateway_only
def test_wrong_key():
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client(FAKE, key="tg_dev_" + "0" * 64).messages.create(model="m", max_tokens=8, messages=HELLO)
    body = caught.value.body
    assert (body["type"], body["error"]["type"], body["error"]["code"]) == ("error", "authentication_error", "INVALID_API_KEY")
    assert caught.value.request_id


@gateway_only
def test_personal_data_in_a_request():
    messages = [{"role": "user", "content": [{"type": "text", "text": f"Mail {EMAIL} now"}]}]
    with pytest.raises(anthropic.BadRequestError) as caught:
        client(FAKE).messages.create(model="m", max_tokens=8, messages=messages)
    error = caught.value.body["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "PII_DETECTED")
    assert error["details"][0]["location"] == "messages[0].content[0].text"


@gateway_only
def test_a_broken_stream_raises(fake, fresh_gateway):
    model = fake.script(content={"steps": [{"text": "half an "}, {"text": "answer "}, {"fault": "close"}]})
    with pytest.raises(anthropic.APIError), client(fresh_gateway).messages.stream(model=model, max_tokens=9, messages=HELLO) as stream:
        list(stream)


@gateway_only
def test_forced_email_is_masked_in_a_stream():
    raw = ""
    with client(FORCED).messages.stream(model="tiny", max_tokens=200, messages=HELLO) as stream:
        for event in stream:
            raw += event.to_json()
        said = stream.get_final_text()
    assert said == MASKED and not leaks(raw)


@gateway_only
def test_tool_input_is_masked(fake):
    steps = [{"tool": {"id": "toolu_1", "name": "mail"}}]
    steps += [{"tool": {"arguments": piece}} for piece in ['{"to": "jane', ".doe@co", 'rp.com"}']]
    model = fake.script(content={"steps": steps})
    with client(FAKE).messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
        raw = "".join(json.dumps(event.to_dict(), default=str) for event in stream)
        use = stream.get_final_message().content[0]
    assert use.input == {"to": "email-1@masked.invalid"} and not leaks(raw)
