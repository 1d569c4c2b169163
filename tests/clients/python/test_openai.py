"""The openai package, as applications use it: only base_url and api_key are set."""

import asyncio
import json
import time

import httpx
import openai
import pytest

from conftest import EMAIL, ENGINE, FAKE, GRAMMAR, KEY, MASKED, gateway_only, leaks

HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def client(url, key=KEY, **options):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, **options)


class Recorder(httpx.BaseTransport):
    """Keeps the raw bytes of every answer beside what the SDK makes of them."""

    def __init__(self):
        self.inner, self.raw, self.calls = httpx.HTTPTransport(), bytearray(), 0

    def handle_request(self, request):
        self.calls += 1
        answer = self.inner.handle_request(request)

        def recorded():
            for piece in answer.stream:
                self.raw += piece
                yield piece

        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Pieces(recorded(), answer))


class _Pieces(httpx.SyncByteStream):
    def __init__(self, pieces, answer):
        self.pieces, self.answer = pieces, answer

    def __iter__(self):
        return self.pieces

    def close(self):
        self.answer.close()


def recording(url, **options):
    transport = Recorder()
    return client(url, http_client=httpx.Client(transport=transport), **options), transport


def text_of(stream):
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_plain():
    answer = client(ENGINE).chat.completions.create(model="tiny", messages=HELLO, max_tokens=8)
    assert isinstance(answer.choices[0].message.content, str)
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_streamed_without_usage():
    stream = client(ENGINE).chat.completions.create(model="tiny", messages=HELLO, max_tokens=8, stream=True)
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks), "applications index choices[0]"
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


def test_streamed_with_usage_exactly_once():
    asked = {"include_usage": True}
    stream = client(ENGINE).chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=8, stream=True, stream_options=asked
    )
    chunks = list(stream)
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-1].choices == []


def test_async_streams_side_by_side():
    async def one(api):
        stream = await api.chat.completions.create(model="tiny", messages=HELLO, max_tokens=6, stream=True)
        return [chunk async for chunk in stream]

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{ENGINE}/v1", api_key=KEY) as api:
            return await asyncio.gather(*(one(api) for _ in range(4)))

    assert all(chunks[-1].choices[0].finish_reason for chunks in asyncio.run(all_of_them()))


def test_completions():
    answer = client(ENGINE).completions.create(model="tiny", prompt="Once", max_tokens=5)
    assert answer.usage.completion_tokens > 0


def test_embeddings():
    texts = ["first text", "second text"]
    answer = client(ENGINE).embeddings.create(model="tiny", input=texts)
    vectors = [row.embedding for row in answer.data]
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 0
    # The SDK asks for base64 unless told otherwise; both spellings are the same numbers.
    plain = client(ENGINE).embeddings.create(model="tiny", input=texts, encoding_format="float")
    assert vectors[1] == pytest.approx(plain.data[1].embedding, abs=1e-3)


def test_responses():
    answer = client(ENGINE).responses.create(model="tiny", input="Say hello", max_output_tokens=8)
    assert isinstance(answer.output_text, str) and answer.usage.output_tokens > 0


def test_responses_streamed():
    stream = client(ENGINE).responses.create(model="tiny", input="Say hello", max_output_tokens=8, stream=True)
    events = list(stream)
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == events[-1].response.output_text


def test_models():
    # quickstart.yaml passes any name on, so which names there are is the upstream's business; a gateway asks it in the background.
    deadline = time.monotonic() + 30
    while not (models := list(client(FAKE).models.list())):
        assert time.monotonic() < deadline, "the upstream's models are not listed"
        time.sleep(0.1)
    assert all(model.object == "model" for model in models)


def test_choices_interleave(fake):
    steps = [{"text": "a1"}, {"choice": 1}, {"text": "b1"}, {"choice": 0}, {"text": "a2"}, {"choice": 1}, {"text": "b2"}]
    model = fake.script(content={"steps": steps})
    said = {0: "", 1: ""}
    for chunk in client(FAKE).chat.completions.create(model=model, messages=HELLO, stream=True, n=2):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == {0: "a1a2", 1: "b1b2"}


def test_tool_call_and_its_result():
    api = client(FAKE)
    messages = [{"role": "user", "content": "How is the weather in Lisbon?"}]
    answer = api.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Lisbon"})
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = api.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "The tool said: sunny"


def test_tool_call_streamed():
    messages = [{"role": "user", "content": "How is the weather in Lisbon?"}]
    with client(FAKE).chat.completions.stream(model="m", messages=messages, tools=[WEATHER]) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Lisbon"}


def test_upstream_refusal_passes_through(fake):
    error = {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}
    model = fake.script(status=400, content={"json": {"error": error}})
    with pytest.raises(openai.BadRequestError) as caught:
        client(FAKE).chat.completions.create(model=model, messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("fault", ["close", "end"])
@gateway_only
def test_a_broken_stream_raises(fake, fresh_gateway, fault):
    model = fake.script(content={"steps": [{"text": "half an "}, {"text": "answer "}, {"fault": fault}]})
    with pytest.raises(openai.APIError) as caught:
        list(client(fresh_gateway).chat.completions.create(model=model, messages=HELLO, stream=True))
    assert caught.value.code == "UPSTREAM_ERROR"


@gateway_only
def test_wrong_key():
    api, transport = recording(FAKE, key="tg_dev_" + "0" * 64)
    with pytest.raises(openai.AuthenticationError) as caught:
        api.chat.completions.create(model="m", messages=HELLO)
    error = caught.value
    assert (error.status_code, error.code, error.type) == (401, "INVALID_API_KEY", "invalid_request_error")
    assert isinstance(error.body["message"], str) and error.request_id
    assert transport.calls == 1


@gateway_only
def test_personal_data_in_a_request_is_refused_once(fake):
    model = fake.says("never said")
    api, transport = recording(FAKE)
    with pytest.raises(openai.BadRequestError) as caught:
        api.chat.completions.create(model=model, messages=[{"role": "user", "content": f"Mail {EMAIL} now"}])
    error = caught.value
    assert (error.status_code, error.code, error.type) == (400, "PII_DETECTED", "invalid_request_error")
    detail = error.body["details"][0]
    assert (detail["type"], detail["location"]) == ("email", "messages[0].content")
    assert not leaks(bytes(transport.raw)) and transport.calls == 1
    assert fake.requests(model) == []


@gateway_only
def test_secrets_in_a_request_are_refused():
    key = "sk-" + "proj-" + "a1B2c3D4" * 6 + "T3BlbkFJ" + "e5F6g7H8" * 6
    with pytest.raises(openai.BadRequestError) as caught:
        client(FAKE).chat.completions.create(model="m", messages=[{"role": "user", "content": f"my key: {key}"}])
    assert caught.value.code == "SECRET_DETECTED"


@gateway_only
def test_malformed_requests():
    for body, code in [
        (b'{"model": "m", "messages": [', "INVALID_JSON"),
        (b'{"model": "m", "model": "n", "messages": []}', "INVALID_JSON"),
        (b'{"model": 7, "messages": []}', "INVALID_REQUEST"),
    ]:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        answer = httpx.post(f"{FAKE}/v1/chat/completions", content=body, headers=headers)
        error = answer.json()["error"]
        assert answer.status_code == 400 and isinstance(error["message"], str)
        assert error["code"] == code
        assert answer.headers["x-should-retry"] == "false"


@gateway_only
def test_unknown_path():
    with pytest.raises(openai.NotFoundError) as caught:
        client(FAKE).get("/nothing/here", cast_to=object)
    assert caught.value.code == "NOT_FOUND"


@gateway_only
def test_our_dead_credential_is_not_the_callers(fake, fresh_gateway):
    model = fake.script(status=401, content={"error": "Incorrect API key provided"})
    with pytest.raises(openai.InternalServerError) as caught:
        client(fresh_gateway, max_retries=0).chat.completions.create(model=model, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (502, "UPSTREAM_ERROR")


@gateway_only
def test_an_upstream_out_of_quota(fake, fresh_gateway):
    model = fake.script(status=429, content={"error": "slow down"}, headers=[["retry-after", "3600"]])
    with pytest.raises(openai.RateLimitError) as caught:
        client(fresh_gateway, max_retries=0).chat.completions.create(model=model, messages=HELLO)
    assert caught.value.code == "RATE_LIMIT_EXCEEDED"
    assert int(caught.value.response.headers.get("retry-after", "1")) <= 60, "SDKs sleep for whatever it says"


@gateway_only
def test_headers_of_an_answer():
    raw = client(ENGINE).chat.completions.with_raw_response.create(model="tiny", messages=HELLO, max_tokens=4)
    assert raw.headers["x-request-id"] and raw.parse().choices
    headers = {"x-request-id": "from-the-client-1"}
    raw = client(ENGINE).chat.completions.with_raw_response.create(
        model="tiny", messages=HELLO, max_tokens=4, extra_headers=headers
    )
    assert raw.headers["x-request-id"] == "from-the-client-1"


@gateway_only
def test_forced_email_is_masked_in_a_stream():
    api, transport = recording(ENGINE)
    stream = api.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=200, stream=True, extra_body={"grammar": GRAMMAR}
    )
    assert text_of(stream) == MASKED
    assert not leaks(bytes(transport.raw))
    assert b"[DONE]" in transport.raw


@gateway_only
def test_forced_email_is_masked_in_a_plain_answer():
    api, transport = recording(ENGINE)
    answer = api.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=200, extra_body={"grammar": GRAMMAR}
    )
    assert answer.choices[0].message.content == MASKED
    assert not leaks(bytes(transport.raw))


@gateway_only
def test_forced_email_is_masked_in_responses():
    api, transport = recording(ENGINE)
    events = list(api.responses.create(model="tiny", input="hi", stream=True, extra_body={"grammar": GRAMMAR}))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == MASKED
    assert events[-1].response.output_text == MASKED
    assert not leaks(bytes(transport.raw)), "the same text stands in delta, done and completed events"


@gateway_only
def test_tool_arguments_are_masked(fake):
    steps = [{"tool": {"id": "call_1", "name": "mail"}}]
    steps += [{"tool": {"arguments": piece}} for piece in ['{"to": "jane', ".doe@co", 'rp.com", ', '"n": 1}']]
    model = fake.script(content={"steps": steps})
    api, transport = recording(FAKE)
    with api.chat.completions.stream(model=model, messages=HELLO) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"to": "email-1@masked.invalid", "n": 1}
    assert not leaks(bytes(transport.raw))
