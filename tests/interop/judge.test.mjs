// A contract acts on an answer: the escrow of examples/judge asks a question of its own on the chain, a node answers it publicly and is paid, and
// whoever holds the bundle brings the proof. Nothing between is ours but the program: the contract is compiled here, and viem deploys it.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { CANDOR, startNode } from "./node.mjs";

const root = join(import.meta.dirname, "../..");
// Accounts 4, 5 and 9 of "test test … junk": the payer of answers, who also deposits, the payee of the escrow, and the reporter.
const KEYS = {
  payer: "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
  payee: "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
  reporter: "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
};
const account = (who) => privateKeyToAccount(KEYS[who]);
const DEPOSIT = 1_000_000_000_000_000n;
let world, chain, judge;

/** Compiles the escrow with the compiler of contracts/; its imports are the sources there. */
function compiled() {
  const require = createRequire(join(root, "contracts/build.mjs"));
  const solc = require("solc");
  const file = (path) => (path.startsWith("candor/") ? join(root, "contracts/src", path.slice("candor/".length)) : join(root, path));
  const input = {
    language: "Solidity",
    sources: { "examples/judge/src/Judge.sol": { content: readFileSync(file("examples/judge/src/Judge.sol"), "utf8") } },
    settings: { viaIR: true, optimizer: { enabled: true, runs: 200 }, evmVersion: "osaka", outputSelection: { "*": { Judge: ["abi", "evm.bytecode.object"] } } },
  };
  const read = { import: (path) => ({ contents: readFileSync(file(path), "utf8") }) };
  const output = JSON.parse(solc.compile(JSON.stringify(input), read));
  assert.deepEqual((output.errors ?? []).filter((error) => error.severity === "error"), []);
  const { abi, evm } = output.contracts["examples/judge/src/Judge.sol"].Judge;
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}

const client = (who) =>
  createWalletClient({ account: account(who), chain: { id: 31337, name: "dev", nativeCurrency: { name: "e", symbol: "E", decimals: 18 }, rpcUrls: { default: { http: [world.rpc] } } }, transport: http(world.rpc) }).extend(publicActions);

const candor = (...args) => JSON.parse(execFileSync(CANDOR, ["--json", "--state", world.state, ...args], { encoding: "utf8" }));

/** A command that is refused: its exit code, and what it says. */
const refused = (...args) =>
  new Promise((resolve) => {
    execFile(CANDOR, ["--json", "--state", world.state, ...args], (error, stdout, stderr) => resolve({ code: error?.code ?? 0, said: stdout + stderr }));
  });

/** Asks, and gives the bundle's file. */
function ask(name, ...args) {
  const file = join(world.state, `${name}.candor`);
  const answer = candor("ask", "--rpc", world.rpc, "--bundle", file, ...args);
  assert.equal(answer.verdict.outcome, "verified", JSON.stringify(answer.verdict));
  return file;
}

before(async () => { world = await startNode(); chain = client("payer"); judge = compiled(); }, { timeout: 240_000 });
after(() => world?.close());

test("an escrow is settled by the answer to its own question, once, and by no other", { timeout: 240_000 }, async () => {
  // Any answer shows what the node runs: the policy that lists just that, and the digest of the weights.
  const plain = ask("plain", "Say something.", "--max-tokens", "4");
  const proven = candor("prove", plain, "--rpc", world.rpc, "--send");
  assert.equal(proven.inSequence, true);
  assert.equal(proven.answer, null);
  const modelId = candor("verify", plain).facts.receipt.work.modelId;

  const deploy = async () => {
    const deadline = BigInt(Math.floor(Date.now() / 1000) + 86_400);
    const args = [proven.registry, proven.policyId, modelId, account("payee").address, account("reporter").address, deadline];
    const hash = await chain.deployContract({ ...judge, args, value: DEPOSIT });
    return (await chain.waitForTransactionReceipt({ hash })).contractAddress;
  };
  const read = (address, functionName) => chain.readContract({ address, abi: judge.abi, functionName });
  const report = async (address) => {
    const text = "Three crates came and all were signed for.";
    const hash = await client("reporter").writeContract({ address, abi: judge.abi, functionName: "reportDelivery", args: [text] });
    await chain.waitForTransactionReceipt({ hash });
  };
  const [escrow, other] = [await deploy(), await deploy()];
  await report(escrow);
  await report(other);

  const question = join(world.state, "question.json");
  writeFileSync(question, await read(escrow, "body"));
  const file = ask("judged", "--body", question);
  const shown = candor("prove", file, "--rpc", world.rpc, "--task", await read(escrow, "task"));
  assert.equal(shown.task, await read(escrow, "task"));
  assert.equal(typeof shown.answer, "string");

  // An answer for one escrow is none for another, and a plain answer is none for either.
  for (const args of [["prove", file, "--to", other], ["prove", plain, "--to", escrow], ["prove", file, "--task", await read(other, "task")]]) {
    const { code, said } = await refused(...args, "--rpc", world.rpc);
    assert.equal(code, 1, said);
  }

  const before = await Promise.all(["payee", "payer"].map((who) => chain.getBalance({ address: account(who).address })));
  const settled = candor("prove", file, "--to", escrow, "--rpc", world.rpc, "--send");
  assert.match(settled.call.tx, /^0x[0-9a-f]{64}$/);
  assert.equal(await chain.getBalance({ address: escrow }), 0n);
  const paidTo = shown.answer === "YES" ? 0 : 1;
  const after = await Promise.all(["payee", "payer"].map((who) => chain.getBalance({ address: account(who).address })));
  // The payer also pays the gas of the call: its deposit came back, less that.
  const gained = after[paidTo] - before[paidTo];
  assert.ok(paidTo === 0 ? gained === DEPOSIT : gained > DEPOSIT / 2n, `${gained}`);

  const again = await refused("prove", file, "--to", escrow, "--rpc", world.rpc, "--send");
  assert.equal(again.code, 1);
  assert.match(again.said, /TaskAnswered/);
});

test("whoever holds a bundle keeps its time on chain, and nobody else is asked", { timeout: 120_000 }, () => {
  const file = ask("observed", "Say something else.", "--max-tokens", "4");
  const seen = candor("observe", file, "--rpc", world.rpc);
  assert.equal(seen.observedAt, null);
  assert.equal(seen.tx, null);
  const kept = candor("observe", file, "--rpc", world.rpc, "--send");
  assert.ok(kept.observedAt > 0 && kept.gas < 80_000, JSON.stringify(kept));
  // The first time stands, and costs nobody another transaction.
  const again = candor("observe", file, "--rpc", world.rpc, "--send");
  assert.deepEqual([again.observedAt, again.tx], [kept.observedAt, null]);
});

test("a key that its operator ends is paid by nobody", { timeout: 120_000 }, async () => {
  const [{ k_sig }] = candor("registry", "list", "--rpc", world.rpc);
  const ended = candor("registry", "retire", k_sig, "--rpc", world.rpc);
  assert.ok(ended.invalid_from > 0 && ended.revoked_at === null, JSON.stringify(ended));
  const { code, said } = await refused("ask", "Anybody there?", "--rpc", world.rpc);
  assert.notEqual(code, 0);
  assert.match(said, /ended, lapsed/);
});
