// Compiles the contracts with the npm compiler and writes artifacts/<Name>.json; with --check, recompiles and compares the bytes with
// what is committed, and exits with 1 on any difference. cargo reads the artifacts and so never needs node. The settings are those of
// foundry.toml, so what is tested is what is committed.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

const require = createRequire(import.meta.url);
const root = import.meta.dirname;
const artifacts = path.join(root, "artifacts");

/// Name -> source file. Everything that is deployed; libraries are internal and compile into these.
const CONTRACTS = {
  CandorAgentVerifier: "src/erc8274/CandorAgentVerifier.sol",
  CandorProofVerifier: "src/erc8274/CandorProofVerifier.sol",
  AuthorizerFactory: "src/money/AuthorizerFactory.sol",
  CandorRegistry: "src/CandorRegistry.sol",
  EnclaveAuthorizer: "src/money/EnclaveAuthorizer.sol",
  ForwarderFactory: "src/money/ForwarderFactory.sol",
  PayeeForwarder: "src/money/PayeeForwarder.sol",
  QuorumVerifier: "src/QuorumVerifier.sol",
  ReceiptSettler: "src/money/ReceiptSettler.sol",
  SettlerFactory: "src/money/SettlerFactory.sol",
  TestUSD: "src/dev/TestUSD.sol",
  WorkloadPolicy: "src/WorkloadPolicy.sol",
};

const SOLC_VERSION = "0.8.37";

/// EIP-170. EIP-3860 doubles it for init code.
const MAX_RUNTIME_BYTES = 24_576;

const SETTINGS = {
  evmVersion: "osaka",
  optimizer: { enabled: true, runs: 200 },
  // The registry is one contract of three parts, which the older generator does not fit into EIP-170 (ADR 0012).
  viaIR: true,
  // No hash of the sources and no CBOR tail: the same code gives the same bytes, whatever its comments and paths.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

function loadCompiler() {
  let solc;
  try {
    solc = require("solc");
  } catch {
    fail('solc is not installed: run "npm ci --ignore-scripts" in contracts/', 2);
  }
  const version = solc.version();
  if (!version.startsWith(`${SOLC_VERSION}+`)) fail(`solc: expected ${SOLC_VERSION}, got ${version}`, 2);
  return { solc, version: version.replace(/\.Emscripten\.clang$/, "") };
}

function compile() {
  const { solc, version } = loadCompiler();
  const read = (file) => fs.readFileSync(path.join(root, file), "utf8");
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(Object.values(CONTRACTS).map((file) => [file, { content: read(file) }])),
    settings: {
      ...SETTINGS,
      outputSelection: { "*": { "*": ["abi", "evm.bytecode", "evm.deployedBytecode"] } },
    },
  };
  const load = (file) => {
    try {
      return { contents: read(file) };
    } catch (error) {
      return { error: error.message };
    }
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: load }));
  const problems = output.errors ?? [];
  for (const problem of problems) console.error(problem.formattedMessage);
  if (problems.length !== 0) fail("the compiler has errors or warnings", 1);

  return Object.entries(CONTRACTS).map(([name, file]) => {
    const { abi, evm } = output.contracts[file][name];
    for (const code of [evm.bytecode, evm.deployedBytecode]) {
      if (Object.keys(code.linkReferences).length !== 0) fail(`${name} needs a library to be linked`, 1);
    }
    const runtimeBytes = evm.deployedBytecode.object.length / 2;
    if (runtimeBytes > MAX_RUNTIME_BYTES) fail(`${name}: ${runtimeBytes} bytes, at most ${MAX_RUNTIME_BYTES} (EIP-170)`, 1);
    const artifact = {
      contractName: name,
      sourceName: file,
      solc: version,
      settings: SETTINGS,
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
    };
    return { name, runtimeBytes, text: `${JSON.stringify(artifact, null, 1)}\n` };
  });
}

function check(built) {
  const expected = built.map(({ name }) => `${name}.json`);
  const stale = fs.existsSync(artifacts) ? fs.readdirSync(artifacts).filter((file) => !expected.includes(file)) : [];
  const different = built.filter(({ name, text }) => {
    const file = path.join(artifacts, `${name}.json`);
    return !fs.existsSync(file) || fs.readFileSync(file, "utf8") !== text;
  });
  for (const file of stale) console.error(`artifacts/${file} belongs to no contract`);
  for (const { name } of different) console.error(`artifacts/${name}.json is not what its source compiles to`);
  if (stale.length + different.length !== 0) fail('run "npm run build" in contracts/ and commit the artifacts', 1);
  console.log(`${built.length} artifacts recompile byte for byte`);
}

function write(built) {
  fs.rmSync(artifacts, { recursive: true, force: true });
  fs.mkdirSync(artifacts);
  for (const { name, runtimeBytes, text } of built) {
    fs.writeFileSync(path.join(artifacts, `${name}.json`), text);
    console.log(`${name}: ${runtimeBytes} bytes`);
  }
}

function fail(message, code) {
  console.error(`build.mjs: ${message}`);
  process.exit(code);
}

const args = process.argv.slice(2);
if (args.length > 1 || (args.length === 1 && args[0] !== "--check")) fail("usage: node build.mjs [--check]", 2);
const built = compile();
if (args.length === 1) check(built);
else write(built);
