// Compiles the contracts with the npm compiler and writes artifacts/<Name>.json and snapshots/; with --check, recompiles and compares
// with what is committed, and exits with 1 on any difference. cargo reads the artifacts and so never needs node. The settings are those of
// foundry.toml, so what is tested is what is committed. With --standard-json <Name>, prints what an explorer asks for.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

import { snapshots } from "./tools/snapshots.mjs";

const require = createRequire(import.meta.url);
const root = import.meta.dirname;

/// Name -> source file. Everything that is deployed; libraries are internal and compile into these.
const CONTRACTS = {
  CandorAgentVerifier: "src/erc8274/CandorAgentVerifier.sol",
  CandorProofVerifier: "src/erc8274/CandorProofVerifier.sol",
  AuthorizerFactory: "src/money/AuthorizerFactory.sol",
  CandorRegistry: "src/CandorRegistry.sol",
  DevExactProxy: "src/dev/DevExactProxy.sol",
  DevMulticall3: "src/dev/DevMulticall3.sol",
  DevPermit2: "src/dev/DevPermit2.sol",
  DevUptoProxy: "src/dev/DevUptoProxy.sol",
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

const read = (file) => fs.readFileSync(path.join(root, file), "utf8");

/// The compiler's input for these sources.
function standardInput(sources, outputs) {
  return {
    language: "Solidity",
    sources: Object.fromEntries(sources.map((file) => [file, { content: read(file) }])),
    settings: { ...SETTINGS, outputSelection: { "*": { "*": outputs } } },
  };
}

function compile() {
  const { solc, version } = loadCompiler();
  const input = standardInput(Object.values(CONTRACTS), ["abi", "evm.bytecode", "evm.deployedBytecode", "storageLayout"]);
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
    const { abi, evm, storageLayout } = output.contracts[file][name];
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
    const initCode = Buffer.from(evm.bytecode.object, "hex");
    return { name, runtimeBytes, text: `${JSON.stringify(artifact, null, 1)}\n`, abi, storageLayout, initCode };
  });
}

/// Folder -> file name -> text: everything that is committed of a build.
function folders(built) {
  return { artifacts: Object.fromEntries(built.map(({ name, text }) => [`${name}.json`, text])), snapshots: snapshots(built) };
}

function check(built) {
  let problems = 0;
  for (const [folder, files] of Object.entries(folders(built))) {
    const directory = path.join(root, folder);
    const found = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
    const stale = found.filter((file) => !(file in files));
    const different = Object.keys(files).filter((file) => !found.includes(file) || read(path.join(folder, file)) !== files[file]);
    for (const file of stale) console.error(`${folder}/${file} belongs to no contract`);
    for (const file of different) console.error(`${folder}/${file} is not what its source compiles to`);
    problems += stale.length + different.length;
  }
  if (problems !== 0) fail('run "npm run build" in contracts/ and commit artifacts and snapshots', 1);
  console.log(`${built.length} artifacts recompile byte for byte, and ABI, storage and init code are as in snapshots/`);
}

function write(built) {
  for (const [folder, files] of Object.entries(folders(built))) {
    const directory = path.join(root, folder);
    fs.rmSync(directory, { recursive: true, force: true });
    fs.mkdirSync(directory);
    for (const [file, text] of Object.entries(files)) fs.writeFileSync(path.join(directory, file), text);
  }
  for (const { name, runtimeBytes } of built) console.log(`${name}: ${runtimeBytes} bytes`);
}

/// Prints the input by which an explorer recompiles one contract: its source and what that imports, in full.
function printStandardJson(name) {
  if (!Object.hasOwn(CONTRACTS, name)) fail(`no contract ${name}; there are: ${Object.keys(CONTRACTS).join(", ")}`, 2);
  const sources = new Set([CONTRACTS[name]]);
  for (const file of sources) {
    for (const [, imported] of read(file).matchAll(/^import .*?from "(\.[^"]+)";/gms)) {
      sources.add(path.posix.join(path.posix.dirname(file), imported));
    }
  }
  const input = standardInput([...sources].sort(), ["abi", "evm.bytecode", "evm.deployedBytecode"]);
  console.log(JSON.stringify(input, null, 1));
}

function fail(message, code) {
  console.error(`build.mjs: ${message}`);
  process.exit(code);
}

const [option, ...rest] = process.argv.slice(2);
if (option === undefined) write(compile());
else if (option === "--check" && rest.length === 0) check(compile());
else if (option === "--standard-json" && rest.length === 1) printStandardJson(rest[0]);
else fail("usage: node build.mjs [--check | --standard-json NAME]", 2);
