// npm @x402/fetch pays our node directly: whole answers carry PAYMENT-RESPONSE with a settled transaction, streams start after the claim.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createPublicClient, http } from "viem";
import { run, startNode } from "./node.mjs";

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
