// What every Node client test uses: where to connect, how to script the fake upstream, what must not leak.
import { test } from "node:test";

export const KEY = process.env.CLIENT_KEY;
export const ENGINE = process.env.ENGINE_URL;
export const FAKE = process.env.FAKE_URL;
export const FORCED = process.env.FORCED_URL;
export const EMAIL = "jane.doe@corp.com";
export const MASKED = process.env.FORCED_TEXT.replace(EMAIL, "[EMAIL_1]");
export const GRAMMAR = `root ::= "${process.env.FORCED_TEXT}"`;
export const WRONG_KEY = "tg_dev_" + "0".repeat(64);

// Only a gateway does what these tests want.
export const gatewayOnly = (name, body) => test(name, { skip: process.env.DIRECT !== undefined }, body);

let number = 0;

// Registers a script with the fake upstream and gives the model name that asks for it.
export async function script(content, more = {}) {
  const key = `script:node-${process.pid}-${number++}`;
  const answer = await fetch(`${process.env.FAKE_CONTROL}/script`, {
    method: "POST",
    body: JSON.stringify({ key, script: { content, ...more } }),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return key;
}

// Pieces of a value, 6 characters or longer, that stand in the raw answer.
export function leaks(raw, value = EMAIL, length = 6) {
  const found = [];
  for (let at = 0; at + length <= value.length; at++) {
    if (raw.includes(value.slice(at, at + length))) found.push(value.slice(at, at + length));
  }
  return found;
}

// A fetch that keeps the raw text of every answer and counts the calls.
export function recorder() {
  const record = { raw: "", calls: 0 };
  record.fetch = async (...request) => {
    record.calls++;
    const answer = await fetch(...request);
    if (!answer.body) return answer;
    const decoder = new TextDecoder();
    const tap = new TransformStream({
      transform(piece, controller) {
        record.raw += decoder.decode(piece, { stream: true });
        controller.enqueue(piece);
      },
    });
    return new Response(answer.body.pipeThrough(tap), { status: answer.status, headers: answer.headers });
  };
  return record;
}

export async function collect(iterable) {
  const all = [];
  for await (const item of iterable) all.push(item);
  return all;
}
