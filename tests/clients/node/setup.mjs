// What every Node client test uses: where to connect, how to script the fake upstream, what must not leak.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

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

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

// A gateway of the test's own in front of the fake upstream: what a fault does to breakers stays in it.
export async function freshGateway(t) {
  const folder = await mkdtemp(join(tmpdir(), "tollgate-node-"));
  const [port, admin] = [await freePort(), await freePort()];
  const gateway = spawn(process.env.TOLLGATE_BIN, ["serve", "-c", "conf/quickstart.yaml"], {
    stdio: "ignore",
    env: {
      ...process.env,
      LISTEN: `127.0.0.1:${port}`,
      ADMIN: `127.0.0.1:${admin}`,
      STATE_DIR: folder,
      TOLLGATE_KEY: KEY,
      UPSTREAM: process.env.FAKE_CONTROL,
    },
  });
  const ended = new Promise((resolve) => gateway.on("exit", resolve));
  t.after(async () => {
    gateway.kill();
    await ended;
    await rm(folder, { recursive: true, force: true });
  });
  for (let tries = 0; tries < 600; tries++) {
    const up = await fetch(`http://127.0.0.1:${port}/health`).then((answer) => answer.ok, () => false);
    if (up) return `http://127.0.0.1:${port}`;
    if (gateway.exitCode !== null) break;
    await sleep(100);
  }
  throw new Error("the gateway did not come up");
}
