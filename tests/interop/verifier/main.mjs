// The verifier as a command:
//
//     node tests/interop/verifier/main.mjs FILE --policy POLICY.json
//
// FILE is a `.candor` bundle. POLICY.json has the form of a case of the vectors' bundle/cases.json without what is expected: {"policy":
// {every field of policy.md §1}, "chain_facts": {what was read from a chain; nulls and empty lists if none was asked}}. Prints each check
// as a line of JSON and then the verdict. Exit codes (policy.md §3): 0 verified, 1 refused, 2 cannot tell or wrong usage.
import { readFileSync, statSync } from "node:fs";
import { MAX_BUNDLE_BYTES } from "./bundle.mjs";
import { parseJson, readChainFacts, readFields, readPolicy } from "./policy.mjs";
import { verifyBundle } from "./verify.mjs";

const VERIFIED = 0, REFUSED = 1, CANNOT_TELL = 2;
const MAX_POLICY_BYTES = 1_048_576;

/** Nothing larger than its limit is read. One byte more than a bundle may have is enough to have it refused as one. */
function read(path, atMost) {
  const { size } = statSync(path);
  if (atMost < size) throw new Error(`${path}: ${size} bytes, at most ${atMost}`);
  return readFileSync(path);
}

function main(words) {
  const at = words.indexOf("--policy");
  const [file, ...more] = words.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
  const complete = 0 <= at && words[at + 1] !== undefined && file !== undefined && more.length === 0;
  if (!complete) throw new Error("usage: main.mjs FILE --policy POLICY.json");
  const json = parseJson(read(words[at + 1], MAX_POLICY_BYTES).toString("utf8"));
  const { policy, chain_facts: facts } = readFields(json, { policy: readPolicy, chain_facts: readChainFacts });
  const { outcome, refusedBy, level, checks } = verifyBundle(Uint8Array.from(read(file, MAX_BUNDLE_BYTES + 1)), policy, facts);
  for (const check of checks) console.log(JSON.stringify(check));
  console.log(JSON.stringify({ outcome, refused_by: refusedBy, log_level: level }));
  return { verified: VERIFIED, refused: REFUSED }[outcome] ?? CANNOT_TELL;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = CANNOT_TELL;
}
