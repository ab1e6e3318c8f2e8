// What the tests deployed is what artifacts/ has, byte for byte: forge and build.mjs compile the same sources by settings written down twice.
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

const root = path.resolve(import.meta.dirname, "..");
const json = (...parts) => JSON.parse(fs.readFileSync(path.join(root, ...parts), "utf8"));

const names = fs.readdirSync(path.join(root, "artifacts")).map((file) => path.basename(file, ".json"));
const differing = names.filter((name) => {
  const { sourceName, bytecode } = json("artifacts", `${name}.json`);
  return json("out", path.basename(sourceName), `${name}.json`).bytecode.object !== bytecode;
});
if (names.length === 0 || differing.length !== 0) {
  console.error(`what the tests deploy is not what artifacts/ has: ${differing.join(", ") || "no artifacts"}; npm run build`);
  process.exit(1);
}
console.log(`${names.length} contracts: what was tested is what is committed`);
