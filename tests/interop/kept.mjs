// Stock clients that pay again and again on the connections that they keep: `x402.test.mjs` some dozens of times, `long/` a thousand.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { run } from "./node.mjs";
import { python } from "./python.mjs";

// The public development wallet: account 4 of "test test … junk".
const KEY = "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a";

// Long enough for a call to take a second.
const PATIENCE = 1_200_000;

/// A boot takes no payment whose nonce could be of the boot before: waits as long as the node says.
export async function untilPaid({ node, rpc, chain, pem }) {
  const env = { API: node.api, RPC: rpc, ASSET: chain.test_usd, KEY, STREAM: "0" };
  const { status, retryAfter } = run("x402-fetch.mjs", pem, env);
  if (status !== 200) await new Promise((resolve) => setTimeout(resolve, (retryAfter + 1) * 1000));
}

/// Makes one test per client, each of so many calls. `world` gives the node of `startNode` once it runs.
export function paysOnKeptConnections(world, calls) {
  test(`@x402/fetch pays ${calls.npm} times on kept connections`, { timeout: PATIENCE }, () => {
    const { node, rpc, chain, pem } = world();
    const env = { API: node.api, RPC: rpc, ASSET: chain.test_usd, KEY, CALLS: String(calls.npm) };
    assert.deepEqual(run("keepalive.mjs", pem, env, PATIENCE).statuses, Array(calls.npm).fill(200));
  });
  for (const library of ["requests", "httpx"]) {
    test(`x402 for Python pays ${calls.python} times with ${library} on one kept connection`, { timeout: PATIENCE }, () => {
      const { node, chain, pem } = world();
      const env = { ...process.env, API: node.api, ASSET: chain.test_usd, KEY, PEM: pem, CALLS: String(calls.python), LIBRARY: library };
      const options = { env, encoding: "utf8", timeout: PATIENCE, maxBuffer: 1 << 26 };
      const out = execFileSync(python(), [join(import.meta.dirname, "x402_client.py")], options);
      const said = JSON.parse(out.trim().split("\n").at(-1));
      assert.deepEqual(said.statuses, Array(calls.python).fill(200));
      assert.deepEqual(said.again, [200, said.receipt], "the same payment again gives the same answer");
    });
  }
}
