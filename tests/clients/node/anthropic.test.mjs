// The @anthropic-ai/sdk package.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { EMAIL, ENGINE, FAKE, FORCED, KEY, MASKED, WRONG_KEY, freshGateway, gatewayOnly, leaks, recorder, script } from "./setup.mjs";

const messages = [{ role: "user", content: "Say hello" }];
const client = (url, options = {}) => new Anthropic({ baseURL: url, apiKey: KEY, ...options });
const weather = {
  name: "weather",
  description: "The weather in a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

test("plain", async () => {
  const answer = await client(ENGINE).messages.create({ model: "tiny", max_tokens: 8, messages });
  assert.match(answer.stop_reason, /max_tokens|end_turn/);
  assert.ok(answer.usage.output_tokens > 0);
});

test("streamed", async () => {
  const final = await client(ENGINE).messages.stream({ model: "tiny", max_tokens: 8, messages }).finalMessage();
  assert.match(final.stop_reason, /max_tokens|end_turn/);
});

test("tool use, streamed", async () => {
  const ask = { model: "m", max_tokens: 50, tools: [weather], messages: [{ role: "user", content: "Weather in Lisbon?" }] };
  const final = await client(FAKE).messages.stream(ask).finalMessage();
  assert.equal(final.stop_reason, "tool_use");
  assert.deepEqual(final.content.find((block) => block.type === "tool_use").input, { city: "Lisbon" });
});

gatewayOnly("errors", async () => {
  const wrong = client(FAKE, { apiKey: WRONG_KEY }).messages.create({ model: "m", max_tokens: 8, messages });
  await assert.rejects(wrong, (caught) => caught instanceof Anthropic.AuthenticationError);
  const ask = { model: "m", max_tokens: 8, messages: [{ role: "user", content: `Mail ${EMAIL} now` }] };
  await assert.rejects(client(FAKE).messages.create(ask), (caught) => {
    assert.ok(caught instanceof Anthropic.BadRequestError);
    assert.equal(caught.error.error.code, "PII_DETECTED");
    return true;
  });
});

gatewayOnly("a broken stream throws", async (t) => {
  const model = await script({ steps: [{ text: "half an " }, { text: "answer " }, { fault: "close" }] });
  const run = client(await freshGateway(t)).messages.stream({ model, max_tokens: 50, messages });
  await assert.rejects(run.finalMessage(), (caught) => caught instanceof Anthropic.AnthropicError);
});

gatewayOnly("a forced e-mail address is masked in a stream", async () => {
  const record = recorder();
  const run = client(FORCED, { fetch: record.fetch }).messages.stream({ model: "tiny", max_tokens: 200, messages });
  assert.equal(await run.finalText(), MASKED);
  assert.deepEqual(leaks(record.raw), []);
});
