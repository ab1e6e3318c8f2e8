// Runs forge from the npm package of this platform. npm blocks the package's install script here (.npmrc), and nothing is lost: the
// binary is in the platform package, and this finds it.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

import { buildPermit2 } from "./permit2.mjs";

const root = path.resolve(import.meta.dirname, "..");
const platform = { linux: "linux", darwin: "darwin", win32: "win32" }[process.platform] ?? process.platform;
const arch = { x64: "amd64", arm64: "arm64" }[process.arch] ?? process.arch;
const binary = process.platform === "win32" ? "forge.exe" : "forge";

let forge;
try {
  const require = createRequire(import.meta.url);
  const manifest = require.resolve(`@foundry-rs/forge-${platform}-${arch}/package.json`);
  forge = path.join(path.dirname(manifest), "bin", binary);
} catch {
  console.error(`forge for ${platform}-${arch} is not installed: run "npm ci --ignore-scripts" in contracts/`);
  process.exit(2);
}
if (["test", "snapshot"].includes(process.argv[2])) buildPermit2();
const { status, error } = spawnSync(forge, process.argv.slice(2), { cwd: root, stdio: "inherit" });
if (error) console.error(error.message);
process.exit(status ?? 1);
