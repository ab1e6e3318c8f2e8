#!/usr/bin/env node
// A native solc look-alike over the npm package "solc" (wasm), for forge, which cannot call the wasm build itself.
// Only what forge asks for: --version and --standard-json.
const fs = require("node:fs");
const path = require("node:path");
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

const args = process.argv.slice(2);
if (args.includes("--version")) {
  // forge refuses the ".Emscripten.clang" suffix of the wasm build.
  const version = solc.version().replace(/\.Emscripten\.clang$/, ".Linux.g++");
  writeAll(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (args.includes("--standard-json")) {
  const at = args.indexOf("--base-path");
  const base = at < 0 ? process.cwd() : args[at + 1];
  const load = (file) => {
    try {
      return { contents: fs.readFileSync(path.resolve(base, file), "utf8") };
    } catch {
      return { error: `File not found: ${file}` };
    }
  };
  writeAll(solc.compile(fs.readFileSync(0, "utf8"), { import: load }));
} else {
  console.error(`tools/solc: unsupported arguments: ${args.join(" ")}`);
  process.exitCode = 1;
}
