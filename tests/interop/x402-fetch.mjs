// Pays a node with npm @x402/fetch, unchanged. Prints one JSON line. Run by x402.test.mjs with the node's certificate trusted.
import { x402Client } from "@x402/core/client";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment } from "@x402/fetch";
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { API, RPC, KEY, STREAM, ASSET } = process.env;
const transport = createPublicClient({ transport: http(RPC) });
const signer = toClientEvmSigner(privateKeyToAccount(KEY), transport);
const client = x402Client.fromConfig({
  schemes: [{ network: "eip155:*", client: new ExactEvmScheme(signer, { rpcUrl: RPC }) }],
  // The development chain's token is in nobody's default list; a payer must name it.
  spendControls: { allowedAssets: [{ network: "eip155:31337", asset: ASSET, maxAmountPerPayment: "10000" }] },
});
const pay = wrapFetchWithPayment(fetch, client);
const body = { model: "candor-mini", messages: [{ role: "user", content: "Hi" }], max_tokens: 8, temperature: 0, stream: STREAM === "1" };
const response = await pay(`${API}/v1/chat/completions`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});
const header = response.headers.get("payment-response");
console.log(JSON.stringify({
  status: response.status,
  text: await response.text(),
  receipt: response.headers.get("x-receipt-id"),
  payment: header && decodePaymentResponseHeader(header),
  retryAfter: Number(response.headers.get("retry-after") ?? 0),
  cache: response.headers.get("cache-control"),
}));
