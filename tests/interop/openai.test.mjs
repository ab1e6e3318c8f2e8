// The openai SDKs (npm and PyPI), unchanged, through `candor proxy`: it verifies, pays within the policy, and keeps a bundle per answer.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { CANDOR, start, startNode } from "./node.mjs";
import { python } from "./python.mjs";

let world, proxy, client;

before(async () => {
  world = await startNode();
  proxy = await start(world.state, "proxy", "--rpc", world.rpc, "--listen", "127.0.0.1:0", "--keep", "full");
  client = new OpenAI({ baseURL: proxy.up.url, apiKey: "unused", maxRetries: 0 });
}, { timeout: 120_000 });
after(() => { proxy?.child.kill("SIGINT"); world?.close(); });

const messages = [{ role: "user", content: "Hi" }];

test("models are listed", async () => {
  const models = await client.models.list();
  assert.equal(models.data[0].id, "candor-mini");
});

test("a whole answer", async () => {
  const answer = await client.chat.completions.create({ model: "candor-mini", messages, max_tokens: 8, temperature: 0 });
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(answer.usage.completion_tokens > 0);
  // What only the proxy says, as an SDK gives it to its caller.
  assert.equal(answer.usage.cost, Number(answer.candor.charge.text.split(" ")[0]));
  assert.equal(answer.candor.verdict[0], "VERIFIED");
  assert.ok(existsSync(answer.candor.bundle));
});

test("a streamed answer with usage", async () => {
  const stream = await client.chat.completions.create({
    model: "candor-mini", messages, max_tokens: 8, temperature: 0, stream: true, stream_options: { include_usage: true },
  });
  let text = "", usage, candor;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
    candor = chunk.candor ?? candor;
  }
  assert.ok(text.length > 0);
  assert.ok(usage.completion_tokens > 0 && usage.cost > 0);
  assert.equal(candor.charge.decimals, 6);
});

test("an unknown model is a 404 in OpenAI's shape, and nothing is paid", async () => {
  await assert.rejects(client.chat.completions.create({ model: "no-such", messages }), (error) => {
    assert.equal(error.status, 404);
    assert.equal(error.code, "model_not_found");
    return true;
  });
});

test("openai for Python, unchanged", () => {
  const out = execFileSync(python(), [join(import.meta.dirname, "openai_client.py")], { env: { ...process.env, BASE_URL: proxy.up.url }, encoding: "utf8" });
  assert.match(out, /^ok whole\ncost 0\.\d*[1-9]\d* verdict VERIFIED\nok stream\n$/);
});

test("every answer left a bundle that verifies in a fresh process", () => {
  const dir = join(world.state, "bundles");
  assert.ok(existsSync(dir));
  const bundles = readdirSync(dir).filter((name) => name.endsWith(".candor"));
  assert.ok(bundles.length >= 4, bundles.join());
  for (const name of bundles) execFileSync(CANDOR, ["--state", world.state, "verify", join(dir, name)]);
});
