// npm @x402/fetch and PyPI x402 pay our node directly: whole answers carry PAYMENT-RESPONSE with a settled transaction, streams start after the claim,
// and what was paid for becomes a bundle that verifies.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createPublicClient, http } from "viem";
import { CANDOR, run, startNode } from "./node.mjs";
import { paysOnKeptConnections } from "./kept.mjs";

// The public development wallet: account 4 of "test test … junk".
const KEY = "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a";
let world;

before(async () => { world = await startNode(); }, { timeout: 120_000 });
after(() => world?.close());

const fetchPaid = (stream) =>
  run("x402-fetch.mjs", world.pem, { API: world.node.api, RPC: world.rpc, ASSET: world.chain.test_usd, KEY, STREAM: stream });

test("a stock payment right after a boot is refused with a typed error that says how long to wait", async () => {
  // Its nonce names no boot, so it could have been signed for the one before (payment.md, boot epoch).
  const got = fetchPaid("0");
  assert.equal(got.status, 402);
  assert.equal(JSON.parse(got.text).error.code, "candor_not_this_boot");
  assert.ok(got.retryAfter > 0 && got.retryAfter <= 60, got.retryAfter);
  await new Promise((resolve) => setTimeout(resolve, (got.retryAfter + 1) * 1000));
});

test("a whole answer is paid, settled on chain before the body, and carries PAYMENT-RESPONSE", async () => {
  const got = fetchPaid("0");
  assert.equal(got.status, 200, got.text);
  const answer = JSON.parse(got.text);
  assert.equal(answer.object, "chat.completion");
  assert.match(got.receipt, /^[0-9a-f]{32}$/);
  assert.equal(got.payment.success, true);
  assert.match(got.cache, /private/);
  const chain = createPublicClient({ transport: http(world.rpc) });
  const receipt = await chain.getTransactionReceipt({ hash: got.payment.transaction });
  assert.equal(receipt.status, "success");
  assert.ok(answer.candor.delivery.length > 1000);
});

test("a stream is paid and ends with its receipt and [DONE]", () => {
  const got = fetchPaid("1");
  assert.equal(got.status, 200, got.text);
  const frames = got.text.split("\n\n").filter((event) => event.startsWith("data: "));
  assert.equal(frames.at(-1), "data: [DONE]");
  assert.ok(frames.at(-2).includes('"candor":{"receipt_id":'), frames.at(-2));
  // The same once more in a comment line, for SDKs that drop members they do not know.
  const comment = got.text.split("\n\n").find((event) => event.startsWith(": candor "));
  assert.deepEqual(JSON.parse(comment.slice(": candor ".length)), JSON.parse(frames.at(-2).slice("data: ".length)).candor);
});

test("what @x402/fetch paid for is imported and verified, as an equal price only", () => {
  const policy = join(world.state, "stock.toml");
  const own = readFileSync(join(world.state, "policy.toml"), "utf8");
  writeFileSync(policy, own.replace("require_offer_binding = true", "require_offer_binding = false"));
  for (const stream of ["0", "1"]) {
    const folder = mkdtempSync(join(tmpdir(), "candor-saved-"));
    const env = { API: world.node.api, RPC: world.rpc, ASSET: world.chain.test_usd, KEY, STREAM: stream, SAVE: folder };
    const paid = run("x402-save.mjs", world.pem, env);
    assert.equal(paid.status, 200);
    assert.deepEqual(paid.again, [200, paid.receipt], "the same payment again gives the same answer");
    const file = (name) => [`--${name}`, join(folder, name)];
    const saved = ["request", "head", "response", "payment"].flatMap(file);
    const args = ["--json", "--state", world.state, "bundles", "import", ...saved, "--node", world.node.api, "--policy", policy];
    const verdict = JSON.parse(execFileSync(CANDOR, args, { encoding: "utf8" }));
    assert.deepEqual([verdict.outcome, verdict.payment_binding], ["verified", "equal price only"]);
    assert.equal(verdict.facts.receiptId, paid.receipt);
  }
});

// @x402/fetch keeps two connections: more calls than twice the quotes that a connection gets without paying.
paysOnKeptConnections(() => world, { npm: 130, python: 65 });
