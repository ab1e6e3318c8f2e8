// The verifier as a command:
//
//     node tests/interop/verifier/main.mjs FILE --policy POLICY.json
//
// FILE is a `.candor` bundle, or a proof. POLICY.json has the form of a case of the vectors' bundle/cases.json without what is expected:
// {"policy": {every field of policy.md §1}, "chain_facts": {what was read from a chain; nulls and empty lists if none was asked}}. With a
// proof it has "evidence" and "copy" too, as proof/cases.json has them; with these FILE is judged as a proof, without them as a bundle.
// Prints each check as a line of JSON and then the verdict. Exit codes (policy.md §3): 0 verified, 1 refused, 2 cannot tell or wrong usage.
import { closeSync, openSync, readSync } from "node:fs";
import { MAX_BUNDLE_BYTES } from "./bundle.mjs";
import { parseJson, readBeside, readChainFacts, readCopy, readFields, readPolicy } from "./policy.mjs";
import { verifyBundle, verifyProof } from "./verify.mjs";

const VERIFIED = 0, REFUSED = 1, CANNOT_TELL = 2;
const MAX_POLICY_BYTES = 67_108_864; // With a proof it holds the copy, in hex.

/** At most so many bytes of a file, and one more: what is longer than its limit is not read to its end, and is refused by who parses it. */
function read(path, limit) {
  const buffer = Buffer.alloc(limit + 1);
  const file = openSync(path, "r");
  try {
    let length = 0;
    for (let more = 1; 0 < more && length < buffer.length; length += more) more = readSync(file, buffer, length, buffer.length - length, null);
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

const JUDGED_BY = { policy: readPolicy, chain_facts: readChainFacts };
const BESIDE_A_PROOF = { evidence: readBeside, copy: readCopy };

function judge(bytes, json) {
  const isProof = Object.keys(BESIDE_A_PROOF).some((name) => Object.hasOwn(json, name));
  const { policy, chain_facts: facts, evidence, copy } = readFields(json, { ...JUDGED_BY, ...(isProof ? BESIDE_A_PROOF : {}) });
  return isProof ? verifyProof(bytes, evidence, copy, policy, facts) : verifyBundle(bytes, policy, facts);
}

function main(words) {
  const at = words.indexOf("--policy");
  const [file, ...more] = words.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
  const complete = 0 <= at && words[at + 1] !== undefined && file !== undefined && more.length === 0;
  if (!complete) throw new Error("usage: main.mjs FILE --policy POLICY.json");
  const bytes = read(words[at + 1], MAX_POLICY_BYTES);
  if (MAX_POLICY_BYTES < bytes.length) throw new Error(`a policy of more than ${MAX_POLICY_BYTES} bytes`);
  const json = parseJson(bytes.toString("utf8"));
  const { outcome, refusedBy, level, checks } = judge(Uint8Array.from(read(file, MAX_BUNDLE_BYTES)), json);
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
