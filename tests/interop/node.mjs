// A chain and a node of the built program, for the tests of this folder. Everything on loopback, ports chosen free, ended at the end.
import { spawn } from "node:child_process";
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const CANDOR = process.env.CANDOR ?? join(import.meta.dirname, "../../target/release/candor");

/** Starts the program and resolves with its first JSON line. */
export function start(state, ...args) {
  const child = spawn(CANDOR, ["--json", "--state", state, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`candor ${args[0]} ended with ${code}`)));
    createInterface({ input: child.stdout }).once("line", (line) => resolve({ child, up: JSON.parse(line) }));
  });
}

/** A chain and a registered node, with further arguments for `serve`; `close` ends both. */
export async function startNode(...serve) {
  const state = mkdtempSync(join(tmpdir(), "candor-interop-"));
  const chain = await start(state, "chain", "--port", "0");
  const node = await start(state, "serve", "--rpc", chain.up.url, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0", ...serve);
  const pem = join(state, "node.pem");
  execFileSync(CANDOR, ["--state", state, "inspect", node.up.api, "--pem", pem]);
  const close = () => [node, chain].forEach(({ child }) => child.kill("SIGINT"));
  return { state, rpc: chain.up.url, chain: chain.up, node: node.up, pem, close };
}

/** Runs one of our scripts with the node's certificate trusted; Node reads that variable at start only. */
export function run(script, pem, env, timeout = 60_000) {
  const options = { env: { ...process.env, NODE_EXTRA_CA_CERTS: pem, ...env }, encoding: "utf8", timeout };
  return JSON.parse(execFileSync(process.execPath, [join(import.meta.dirname, script)], options));
}
