// Pays a node CALLS times in one process with npm @x402/fetch, unchanged: its pool keeps a connection or two, and a node must not lock out
// whoever pays on them. Prints one JSON line. Run by x402.test.mjs with the node's certificate trusted.
import { x402Client } from "@x402/core/client";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { wrapFetchWithPayment } from "@x402/fetch";
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { API, RPC, KEY, CALLS, ASSET } = process.env;
const signer = toClientEvmSigner(privateKeyToAccount(KEY), createPublicClient({ transport: http(RPC) }));
const client = x402Client.fromConfig({
  schemes: [{ network: "eip155:*", client: new ExactEvmScheme(signer, { rpcUrl: RPC }) }],
  spendControls: { allowedAssets: [{ network: "eip155:31337", asset: ASSET, maxAmountPerPayment: "10000" }] },
});
const pay = wrapFetchWithPayment(fetch, client);
const statuses = [];
for (let call = 0; call < Number(CALLS); call += 1) {
  const body = { model: "candor-mini", messages: [{ role: "user", content: `Hi ${call}` }], max_tokens: 4, temperature: 0 };
  const response = await pay(`${API}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  // Read to its end: only then is the connection free for the next call.
  await response.text();
  statuses.push(response.status);
}
console.log(JSON.stringify({ statuses }));
