// Compiles Uniswap's Permit2 from its npm package for the tests, once, into cache/permit2.json: the payer's signature is judged by the
// contract that judges it on every chain, not by a likeness of ours. Compiled here and never committed: Permit2 is MIT, two files that
// it imports from solmate are AGPL-3.0-only. forge.mjs runs this before tests.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

const root = path.resolve(import.meta.dirname, "..");
const require = createRequire(import.meta.url);

/// The compiler and the settings of the deployment at 0x000000000022D473030F116dDEE9F6B43aC78BA3, whose code is 9,152 bytes long too.
const COMPILER = "solc-0.8.17";
const RUNTIME_BYTES = 9_152;
const SETTINGS = {
  viaIR: true,
  optimizer: { enabled: true, runs: 1_000_000 },
  metadata: { bytecodeHash: "none" },
  outputSelection: { "src/Permit2.sol": { Permit2: ["evm.deployedBytecode.object"] } },
};

export function buildPermit2() {
  const file = path.join(root, "cache", "permit2.json");
  const manifest = require.resolve("@uniswap/v4-periphery/package.json");
  const { version } = require(manifest);
  if (fs.existsSync(file) && JSON.parse(fs.readFileSync(file, "utf8")).version === version) return;

  const permit2 = path.join(path.dirname(manifest), "lib", "permit2");
  const load = (name) => {
    const relative = name.startsWith("solmate/") ? path.join("lib", name) : name;
    try {
      return { contents: fs.readFileSync(path.join(permit2, relative), "utf8") };
    } catch (error) {
      return { error: error.message };
    }
  };
  const input = {
    language: "Solidity",
    sources: { "src/Permit2.sol": { content: load("src/Permit2.sol").contents } },
    settings: SETTINGS,
  };
  const output = JSON.parse(require(COMPILER).compile(JSON.stringify(input), { import: load }));
  const errors = (output.errors ?? []).filter(({ severity }) => severity === "error");
  for (const { formattedMessage } of errors) console.error(formattedMessage);
  if (errors.length !== 0) process.exit(1);

  // Its two immutables, chain id and domain separator as the constructor saw them, stay zero: then it works them out at each call.
  const runtime = output.contracts["src/Permit2.sol"].Permit2.evm.deployedBytecode.object;
  if (runtime.length / 2 !== RUNTIME_BYTES) {
    console.error(`permit2.mjs: ${runtime.length / 2} bytes, expected ${RUNTIME_BYTES}`);
    process.exit(1);
  }
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `${JSON.stringify({ version, runtime: `0x${runtime}` })}\n`);
}
