// Pays a node with npm @x402/fetch, unchanged, and saves what `candor bundles import` takes, byte for byte: the client is given a `fetch` that
// writes down what passes. Prints one JSON line. Run by x402.test.mjs with the node's certificate trusted.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { x402Client } from "@x402/core/client";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { wrapFetchWithPayment } from "@x402/fetch";
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { API, RPC, KEY, STREAM, ASSET, SAVE } = process.env;
const save = (name, bytes) => writeFileSync(join(SAVE, name), bytes);

/** As `fetch`; saves what was paid for, once it is. */
async function saving(input, init) {
  const request = new Request(input, init);
  const body = Buffer.from(await request.clone().arrayBuffer());
  const payment = request.headers.get("payment-signature");
  const response = await fetch(request);
  if (payment) {
    save("request", body);
    save("payment", payment);
    save("head", JSON.stringify({ status: response.status, headers: Object.fromEntries(response.headers) }));
    save("response", Buffer.from(await response.clone().arrayBuffer()));
  }
  return response;
}

const signer = toClientEvmSigner(privateKeyToAccount(KEY), createPublicClient({ transport: http(RPC) }));
const client = x402Client.fromConfig({
  schemes: [{ network: "eip155:*", client: new ExactEvmScheme(signer, { rpcUrl: RPC }) }],
  spendControls: { allowedAssets: [{ network: "eip155:31337", asset: ASSET, maxAmountPerPayment: "10000" }] },
});
const pay = wrapFetchWithPayment(saving, client);
const messages = [{ role: "user", content: `Save this, stream ${STREAM}` }];
const response = await pay(`${API}/v1/chat/completions`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "candor-mini", messages, max_tokens: 8, temperature: 0, stream: STREAM === "1" }),
});
await response.text();

// What mends a connection that broke after the payment had left: the same bytes with the same header, until they are answered. Nothing is paid
// for twice. (docs/send-again.md shows this.)
const paid = (name) => readFileSync(join(SAVE, name));
const headers = { "content-type": "application/json", "payment-signature": paid("payment").toString() };
let again;
do {
  again = await fetch(`${API}/v1/chat/completions`, { method: "POST", headers, body: paid("request") });
  if (again.status === 409) await new Promise((resolve) => setTimeout(resolve, 1000 * Number(again.headers.get("retry-after"))));
} while (again.status === 409);
await again.text();

const receipt = (response) => response.headers.get("x-receipt-id");
console.log(JSON.stringify({ status: response.status, receipt: receipt(response), again: [again.status, receipt(again)] }));
