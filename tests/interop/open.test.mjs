// Evidence without money: the openai SDKs (npm and PyPI), unchanged and without any wallet, against a node that answers anybody and one that
// answers who has a key; and the second verifier on what such an answer leaves.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CANDOR, run, startNode } from "./node.mjs";
import { python } from "./python.mjs";

const VECTORS = join(import.meta.dirname, "../../vectors");

const candor = (state, ...args) => JSON.parse(execFileSync(CANDOR, ["--json", "--state", state, ...args], { encoding: "utf8" }));

test("an open node answers a stock client, and its answer is paid by nobody to both verifiers", { timeout: 120_000 }, async () => {
  const world = await startNode("--open");
  try {
    const said = run("open-client.mjs", world.pem, { NODE_URL: world.node.api, API_KEY: "unused" });
    assert.equal(said.refused, undefined);
    assert.ok(said.whole.length > 0 && said.streamed === said.whole);
    const env = { ...process.env, BASE_URL: `${world.node.api}/v1`, SSL_CERT_FILE: world.pem };
    assert.match(execFileSync(python(), [join(import.meta.dirname, "openai_client.py")], { env, encoding: "utf8" }), /^ok whole\ncost - verdict -\nok stream\n$/);

    const asked = candor(world.state, "ask", "Who pays?", "--rpc", world.rpc, "--max-tokens", "8");
    assert.equal(asked.verdict.grades.paid, "NOBODY PAID");
    assert.equal(candor(world.state, "verify", asked.bundle).outcome, "verified");
    // The second verifier, by the same roots and workloads.
    const toml = readFileSync(join(world.state, "policy.toml"), "utf8");
    const listed = (name) => toml.match(new RegExp(`^${name} = \\[([^\\]]*)\\]`, "m"))[1].match(/0x[0-9a-f]{64}/g);
    const { policy, chain_facts } = JSON.parse(readFileSync(join(VECTORS, "bundle/cases.json"), "utf8")).find(({ name }) => name === "honest");
    const mine = { ...policy, roots: listed("roots"), workloads: listed("workloads"), operators: "any", registries: "any", models: "any" };
    const file = join(world.state, "policy.json");
    writeFileSync(file, JSON.stringify({ policy: mine, chain_facts }));
    const printed = execFileSync(process.execPath, [join(import.meta.dirname, "verifier/main.mjs"), asked.bundle, "--policy", file], { encoding: "utf8" });
    assert.match(printed, /"outcome":"verified"/);
  } finally {
    world.close();
  }
});

test("a key opens a node to a stock client, and a wrong one is refused as a key", { timeout: 120_000 }, async () => {
  const { key, hash } = JSON.parse(execFileSync(CANDOR, ["--json", "access", "new"], { encoding: "utf8" }));
  const world = await startNode("--access-key-hash", hash);
  try {
    const ask = (API_KEY) => run("open-client.mjs", world.pem, { NODE_URL: world.node.api, API_KEY });
    assert.ok(ask(key).streamed.length > 0);
    assert.deepEqual(ask(`${key.slice(0, -1)}!`).refused, { status: 401, code: "invalid_api_key" });
  } finally {
    world.close();
  }
});
