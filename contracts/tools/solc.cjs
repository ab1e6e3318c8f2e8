#!/usr/bin/env node
// A native solc look-alike over the npm package "solc" (wasm), for forge, which cannot call the wasm build itself.
// Only what forge asks for: --version and --standard-json. Each processor compiles some of the files that are asked for: the code of one
// contract does not depend on which others are asked for beside it, so the outputs together are that of one run.
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");
const solc = require(require.resolve("solc", { paths: [__dirname] }));

// Writes until every byte is out: process.exit() after process.stdout.write() cuts a pipe at 131072 bytes.
function writeAll(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function compile(input, base) {
  const load = (file) => {
    try {
      return { contents: fs.readFileSync(path.resolve(base, file), "utf8") };
    } catch {
      return { error: `File not found: ${file}` };
    }
  };
  return JSON.parse(solc.compile(JSON.stringify(input), { import: load }));
}

// The same question for some of its files each: the longest source goes to whoever has least.
function shares(input, count) {
  const asked = input.settings?.outputSelection ?? {};
  const files = Object.keys(input.sources).map((file) => [file, asked[file] ?? asked["*"], input.sources[file].content?.length ?? 0]);
  const selected = files.filter(([, outputs]) => outputs && Object.keys(outputs).length !== 0).sort((a, b) => b[2] - a[2]);
  const shares = Array.from({ length: Math.max(1, Math.min(count, selected.length)) }, () => ({ size: 0, outputSelection: {} }));
  for (const [file, outputs, size] of selected) {
    const share = shares.reduce((least, share) => (share.size < least.size ? share : least));
    share.outputSelection[file] = outputs;
    share.size += size;
  }
  return shares.map(({ outputSelection }) => ({ ...input, settings: { ...input.settings, outputSelection } }));
}

// Every run reads all sources and finds the same faults in them; what it says of code it says of its own share.
function together(outputs) {
  const whole = { contracts: {}, sources: {}, errors: [] };
  const told = new Set();
  for (const { contracts = {}, sources = {}, errors = [] } of outputs) {
    Object.assign(whole.contracts, contracts);
    for (const [file, source] of Object.entries(sources)) whole.sources[file] = { ...whole.sources[file], ...source };
    for (const error of errors) {
      const text = JSON.stringify(error);
      if (!told.has(text)) whole.errors.push(error);
      told.add(text);
    }
  }
  return whole;
}

async function main(args) {
  if (args.includes("--version")) {
    // forge refuses the ".Emscripten.clang" suffix of the wasm build.
    const version = solc.version().replace(/\.Emscripten\.clang$/, ".Linux.g++");
    writeAll(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
  } else if (args.includes("--standard-json")) {
    const at = args.indexOf("--base-path");
    const base = at < 0 ? process.cwd() : args[at + 1];
    const runs = shares(JSON.parse(fs.readFileSync(0, "utf8")), os.availableParallelism()).map(
      (input) =>
        new Promise((resolve, reject) => {
          const worker = new Worker(__filename, { workerData: { input, base } });
          worker.once("message", resolve).once("error", reject).once("exit", (code) => reject(new Error(`a worker ended with ${code} and no answer`)));
        }),
    );
    writeAll(JSON.stringify(together(await Promise.all(runs))));
  } else {
    console.error(`tools/solc: unsupported arguments: ${args.join(" ")}`);
    process.exitCode = 1;
  }
}

if (isMainThread) main(process.argv.slice(2));
else parentPort.postMessage(compile(workerData.input, workerData.base));
