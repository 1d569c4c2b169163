// The Vercel AI SDK with its OpenAI provider.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { EMAIL, ENGINE, FAKE, KEY, MASKED, WRONG_KEY, collect, freshGateway, gatewayOnly, leaks, recorder, script } from "./setup.mjs";

const provider = (url, options = {}) => createOpenAI({ baseURL: `${url}/v1`, apiKey: KEY, ...options });
const weather = () =>
  tool({
    description: "The weather in a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  });

test("plain", async () => {
  const answer = await generateText({ model: provider(ENGINE).chat("tiny"), prompt: "Say hello", maxOutputTokens: 8 });
  assert.equal(typeof answer.text, "string");
  assert.ok(answer.usage.outputTokens > 0);
});

test("streamed", async () => {
  const run = streamText({ model: provider(ENGINE).chat("tiny"), prompt: "Say hello", maxOutputTokens: 8 });
  const pieces = await collect(run.textStream);
  assert.equal(pieces.join(""), await run.text);
  assert.match(await run.finishReason, /length|stop/);
  assert.ok((await run.usage).outputTokens > 0);
});

test("responses, which is this SDK's default", async () => {
  const answer = await generateText({ model: provider(FAKE)("m"), prompt: "one two" });
  assert.equal(answer.text, "You said: one two");
});

test("embeddings", async () => {
  const { embeddings } = await embedMany({ model: provider(ENGINE).embedding("tiny"), values: ["first", "second"] });
  assert.equal(embeddings.length, 2);
});

for (const surface of ["chat", "responses"]) {
  test(`tools there and back over ${surface}`, async () => {
    const run = streamText({
      model: provider(FAKE)[surface]("m"),
      prompt: "How is the weather in Lisbon?",
      tools: { weather: weather() },
      stopWhen: isStepCount(2),
    });
    const called = [];
    for await (const part of run.fullStream) {
      assert.notEqual(part.type, "error", String(part.error));
      if (part.type === "tool-call") called.push(part.input);
    }
    assert.deepEqual(called, [{ city: "Lisbon" }]);
    assert.match(await run.text, /The tool said: .*sunny in Lisbon/);
  });
}

gatewayOnly("errors keep status and body", async () => {
  const wrong = generateText({ model: provider(FAKE, { apiKey: WRONG_KEY }).chat("m"), prompt: "hello" });
  await assert.rejects(wrong, (caught) => APICallError.isInstance(caught) && caught.statusCode === 401);
  const refused = generateText({ model: provider(FAKE).chat("m"), prompt: `Mail ${EMAIL} now` });
  await assert.rejects(refused, (caught) => {
    assert.ok(APICallError.isInstance(caught));
    assert.equal(caught.data.error.code, "PII_DETECTED");
    assert.equal(caught.isRetryable, false);
    return true;
  });
});

gatewayOnly("a broken stream is an error part", async (t) => {
  const model = await script({ steps: [{ text: "half an " }, { text: "answer " }, { fault: "close" }] });
  const run = streamText({ model: provider(await freshGateway(t)).chat(model), prompt: "hello", onError: () => {} });
  const parts = await collect(run.fullStream);
  assert.ok(parts.some((part) => part.type === "error"));
});

gatewayOnly("an e-mail address cut over deltas is masked", async () => {
  const record = recorder();
  const pieces = [..."My email is jane.doe@corp.com, write soon"];
  const model = await script({ steps: pieces.map((text) => ({ text })) });
  const run = streamText({ model: provider(FAKE, { fetch: record.fetch }).chat(model), prompt: "hello" });
  assert.equal(await run.text, MASKED);
  assert.deepEqual(leaks(record.raw), []);
});
