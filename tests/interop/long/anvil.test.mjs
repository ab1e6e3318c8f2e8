// The same program on a second, independent chain with a block each second: anvil from npm. Contracts deployed, node registered, one paid answer, judged over RPC.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CANDOR, start } from "../node.mjs";

const ANVIL = join(import.meta.dirname, "../node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
const state = mkdtempSync(join(tmpdir(), "candor-anvil-"));
let anvil, node, rpc;

const candor = (...args) => execFileSync(CANDOR, ["--json", "--state", state, ...args], { encoding: "utf8", timeout: 120_000 });
const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

before(async () => {
  const port = await freePort();
  rpc = `http://127.0.0.1:${port}`;
  anvil = spawn(ANVIL, ["--port", String(port), "--hardfork", "osaka", "--block-time", "1", "--silent"], { stdio: "ignore" });
  for (let tries = 0; ; tries += 1) {
    try { await fetch(rpc, { method: "POST", body: "{}" }); break; } catch (error) { if (tries === 100) throw error; }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  candor("chain", "--deploy-to", rpc);
  node = await start(state, "serve", "--rpc", rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0");
}, { timeout: 120_000 });
after(() => { node?.child.kill("SIGINT"); anvil?.kill("SIGINT"); });

test("a node on anvil answers, is paid, anchors, and its bundle verifies over anvil's RPC", () => {
  const answer = JSON.parse(candor("ask", "Hi", "--rpc", rpc));
  assert.equal(answer.verdict.outcome, "verified");
  assert.equal(answer.verdict.log_level, "ANCHORED");
  const [bundle] = readdirSync(join(state, "bundles")).filter((name) => name.endsWith(".candor"));
  const judged = JSON.parse(candor("verify", join(state, "bundles", bundle), "--rpc", rpc));
  assert.equal(judged.outcome, "verified");
  assert.equal(judged.log_level, "ANCHORED");
});
