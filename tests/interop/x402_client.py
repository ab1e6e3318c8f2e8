"""The x402 package from PyPI, unchanged, pays a node CALLS times through one client of LIBRARY: requests or httpx. Prints one JSON line."""

import asyncio
import json
import os
import ssl

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
    return [session.post(URL, json=body(call), timeout=60).status_code for call in range(CALLS)]


async def with_httpx():
    # A client with a transport of its own ignores `verify`; the transport below it does not.
    below = httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=PEM))
    transport = x402_httpx_transport(x402Client.from_config(config), below)
    async with httpx.AsyncClient(transport=transport, timeout=60, trust_env=False) as client:
        return [(await client.post(URL, json=body(call))).status_code for call in range(CALLS)]


statuses = with_requests() if os.environ["LIBRARY"] == "requests" else asyncio.run(with_httpx())
print(json.dumps({"statuses": statuses}))
