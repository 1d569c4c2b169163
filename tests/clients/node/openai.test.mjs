// The openai package of npm.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { EMAIL, ENGINE, FAKE, GRAMMAR, KEY, MASKED, WRONG_KEY, collect, freshGateway, gatewayOnly, leaks, recorder, script } from "./setup.mjs";

const messages = [{ role: "user", content: "Say hello" }];
const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const client = (url, options = {}) => new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, ...options });

test("plain", async () => {
  const answer = await client(ENGINE).chat.completions.create({ model: "tiny", messages, max_tokens: 8 });
  assert.equal(typeof answer.choices[0].message.content, "string");
  assert.ok(answer.usage.total_tokens > 0);
});

test("streamed", async () => {
  const chunks = await collect(
    await client(ENGINE).chat.completions.create({ model: "tiny", messages, max_tokens: 8, stream: true }),
  );
  assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
  assert.match(chunks.at(-1).choices[0].finish_reason, /length|stop/);
});

test("streamed with usage exactly once", async () => {
  const stream_options = { include_usage: true };
  const chunks = await collect(
    await client(ENGINE).chat.completions.create({ model: "tiny", messages, max_tokens: 8, stream: true, stream_options }),
  );
  assert.equal(chunks.filter((chunk) => chunk.usage).length, 1);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test("embeddings", async () => {
  const answer = await client(ENGINE).embeddings.create({ model: "tiny", input: ["first", "second"] });
  assert.equal(answer.data.length, 2);
  assert.ok(answer.data[0].embedding.length > 0);
});

test("responses, streamed", async () => {
  const stream = await client(ENGINE).responses.create({ model: "tiny", input: "hi", max_output_tokens: 8, stream: true });
  const events = await collect(stream);
  assert.match(events.at(-1).type, /response\.(completed|incomplete)/);
});

test("tool calls, streamed and assembled by the SDK", async () => {
  const run = client(FAKE).chat.completions.stream({
    model: "m",
    messages: [{ role: "user", content: "How is the weather in Lisbon?" }],
    tools: [weather],
  });
  const call = (await run.finalChatCompletion()).choices[0].message.tool_calls[0];
  assert.equal(call.function.name, "weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Lisbon" });
});

test("an upstream's own refusal passes through", async () => {
  const error = { message: "too long", type: "invalid_request_error", param: "messages", code: "context_length_exceeded" };
  const model = await script({ json: { error } }, { status: 400 });
  await assert.rejects(client(FAKE).chat.completions.create({ model, messages }), (caught) => {
    assert.ok(caught instanceof OpenAI.BadRequestError);
    assert.equal(caught.code, "context_length_exceeded");
    return true;
  });
});

gatewayOnly("wrong key", async () => {
  const record = recorder();
  const api = client(FAKE, { apiKey: WRONG_KEY, fetch: record.fetch });
  await assert.rejects(api.chat.completions.create({ model: "m", messages }), (caught) => {
    assert.ok(caught instanceof OpenAI.AuthenticationError);
    assert.deepEqual([caught.status, caught.code, caught.type], [401, "INVALID_API_KEY", "invalid_request_error"]);
    assert.ok(caught.requestID);
    return true;
  });
  assert.equal(record.calls, 1);
});

gatewayOnly("personal data in a request is refused once", async () => {
  const record = recorder();
  const ask = { model: "m", messages: [{ role: "user", content: `Mail ${EMAIL} now` }] };
  await assert.rejects(client(FAKE, { fetch: record.fetch }).chat.completions.create(ask), (caught) => {
    assert.ok(caught instanceof OpenAI.BadRequestError);
    assert.equal(caught.code, "PII_DETECTED");
    assert.equal(caught.error.details[0].type, "email");
    return true;
  });
  assert.equal(record.calls, 1);
  assert.deepEqual(leaks(record.raw), []);
});

gatewayOnly("a long wait is not slept through", async (t) => {
  const model = await script({ error: "slow down" }, { status: 429, headers: [["retry-after", "3600"]] });
  const api = client(await freshGateway(t), { maxRetries: 0 });
  await assert.rejects(api.chat.completions.create({ model, messages }), (caught) => {
    assert.ok(caught instanceof OpenAI.RateLimitError);
    assert.ok(Number(caught.headers.get("retry-after") ?? 1) <= 60);
    return true;
  });
});

gatewayOnly("a broken stream throws", async (t) => {
  const model = await script({ steps: [{ text: "half an " }, { text: "answer " }, { fault: "close" }] });
  const api = client(await freshGateway(t));
  // Before the first content has left, the failure is an HTTP error; afterwards an error event. Both must throw.
  const whole = async () => collect(await api.chat.completions.create({ model, messages, stream: true }));
  await assert.rejects(whole(), (caught) => caught instanceof OpenAI.APIError);
});

gatewayOnly("a forced e-mail address is masked in a stream", async () => {
  const record = recorder();
  const stream = await client(ENGINE, { fetch: record.fetch }).chat.completions.create({
    model: "tiny", messages, max_tokens: 200, stream: true, grammar: GRAMMAR,
  });
  const chunks = await collect(stream);
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), MASKED);
  assert.deepEqual(leaks(record.raw), []);
});

gatewayOnly("a forced e-mail address is masked in responses", async () => {
  const record = recorder();
  const stream = await client(ENGINE, { fetch: record.fetch }).responses.create({
    model: "tiny", input: "hi", stream: true, grammar: GRAMMAR,
  });
  const events = await collect(stream);
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), MASKED);
  assert.deepEqual(leaks(record.raw), []);
});
