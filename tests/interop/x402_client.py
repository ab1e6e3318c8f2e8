"""The x402 package from PyPI, unchanged, pays a node CALLS times through one client of LIBRARY: requests or httpx, and sends the last paid
request once more as it was. Prints one JSON line."""

import asyncio
import json
import os
import ssl
import time

import httpx
import requests
from eth_account import Account
from x402 import SchemeRegistration, x402Client, x402ClientConfig
from x402.http.clients import wrapRequestsWithPaymentFromConfig, x402_httpx_transport
from x402.mechanisms.evm.exact import ExactEvmScheme

URL = os.environ["API"] + "/v1/chat/completions"
PEM = os.environ["PEM"]
CALLS = int(os.environ["CALLS"])

config = x402ClientConfig(
    schemes=[SchemeRegistration(network="eip155:*", client=ExactEvmScheme(signer=Account.from_key(os.environ["KEY"])))],
    # The development chain's token is in nobody's default list; a payer must name it.
    spend_controls={
        "allowed_assets": [{"network": "eip155:31337", "asset": os.environ["ASSET"], "max_amount_per_payment": "10000"}]
    },
)


def body(call):
    return {"model": "candor-mini", "messages": [{"role": "user", "content": f"Hi {call}"}], "max_tokens": 4, "temperature": 0}


def with_requests():
    session = wrapRequestsWithPaymentFromConfig(requests.Session(), config)
    # REQUESTS_CA_BUNDLE in the environment would win over `verify`.
    session.trust_env = False
    session.verify = PEM
    answers = [session.post(URL, json=body(call), timeout=60) for call in range(CALLS)]
    return answers, answers[-1].request


class Remembering(httpx.AsyncHTTPTransport):
    """Keeps the last request that carried a payment."""

    paid = None

    async def handle_async_request(self, request):
        if "payment-signature" in request.headers:
            self.paid = request
        return await super().handle_async_request(request)


def send_again(request):
    """What mends a connection that broke after the payment had left: the same bytes with the same header, until they are answered. Nothing is
    paid for twice. (docs/send-again.md shows this.)"""
    content = request.body if hasattr(request, "body") else request.content
    headers = {"content-type": "application/json", "payment-signature": request.headers["payment-signature"]}
    with httpx.Client(verify=ssl.create_default_context(cafile=PEM), trust_env=False) as client:
        while (answer := client.post(URL, content=content, headers=headers, timeout=60)).status_code == 409:
            time.sleep(int(answer.headers["retry-after"]))
    return answer


async def with_httpx():
    # A client with a transport of its own ignores `verify`; the transport below it does not.
    below = Remembering(verify=ssl.create_default_context(cafile=PEM))
    transport = x402_httpx_transport(x402Client.from_config(config), below)
    async with httpx.AsyncClient(transport=transport, timeout=60, trust_env=False) as client:
        answers = [await client.post(URL, json=body(call)) for call in range(CALLS)]
    return answers, below.paid


answers, paid = with_requests() if os.environ["LIBRARY"] == "requests" else asyncio.run(with_httpx())
again = send_again(paid)
print(json.dumps({
    "statuses": [answer.status_code for answer in answers],
    "receipt": answers[-1].headers["x-receipt-id"],
    "again": [again.status_code, again.headers["x-receipt-id"]],
}))
