// Pays a node with npm @x402/fetch, unchanged. Prints one JSON line. Run by x402.test.mjs with the node's certificate trusted. By hand, against
// `candor chain` and `candor serve`, with the development wallet (the test has its KEY) and after `candor inspect URL --pem node.pem`:
//   npm ci && API=https://127.0.0.1:8443 RPC=http://127.0.0.1:8545 ASSET=0x5FbDB2315678afecb367f032d93F642f64180aa3 STREAM=0 \
//     KEY=0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a NODE_EXTRA_CA_CERTS=node.pem node x402-fetch.mjs
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
