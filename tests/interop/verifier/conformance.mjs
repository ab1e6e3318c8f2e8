// The verifier as one side of the conformance contract (spec/conformance.md):
//
//     node tests/interop/verifier/conformance.mjs [--batch]
//
// One request on standard input, {"kind": file of vectors/, "case": {…}}, and one answer on standard output, {"verdict": "accept" |
// "refuse" | "cannot_tell", "check": id or null, …}. Exit codes: 0 accept, 10 refuse, 20 cannot tell, 30 no case or wrong usage. With
// --batch a request per line and an answer per line, in order; 0 if each got a verdict, 30 if one was no case.
import { readFileSync } from "node:fs";
import { FLAT } from "../flat-vectors.mjs";
import { verifyDocument } from "./attestation.mjs";
import { fromHex } from "./bytes.mjs";
import { Refused } from "./errors.mjs";
import { parseJson, readBeside, readChainFacts, readCopy, readInteger, readPolicy, WrongUsage } from "./policy.mjs";
import { BUNDLE_FORM, verifyBundle, verifyLive, verifyProof } from "./verify.mjs";

const EXIT = { accept: 0, refuse: 10, cannot_tell: 20 };
const UNFIT = 30;

const accept = { verdict: "accept", check: null };
const refuse = (check) => ({ verdict: "refuse", check });

/** A verdict over a bundle, its evidence, or a proof. The contract says `parse` of bytes that are none, as the vectors do. */
function answerOf({ outcome, refusedBy, level, grades }) {
  const refused = () => refuse(refusedBy === BUNDLE_FORM ? "parse" : refusedBy);
  const answer = { verified: () => accept, refused, "cannot tell": () => ({ verdict: "cannot_tell", check: null }) }[outcome]();
  return level === undefined ? answer : { ...answer, log_level: level, grades };
}

/** The bytes of a document with its edits: each is at an offset of the bytes as they came. */
function edited(bytes, edits) {
  const parts = [];
  let at = 0;
  for (const edit of edits) {
    if (edit.at < at) throw new WrongUsage("edits must ascend and not overlap");
    parts.push(bytes.subarray(at, edit.at), fromHex("0x" + edit.insert));
    at = edit.at + edit.remove;
  }
  return Uint8Array.from(Buffer.concat([...parts, bytes.subarray(at)]));
}

function attestation(c) {
  const live = { live: () => ({ maxAge: BigInt(c.max_age_ms), skew: BigInt(c.skew_ms) }), historical: () => ({}) }[c.mode]();
  try {
    verifyDocument(edited(fromHex(c.bytes), c.edits), c.roots.map((root) => fromHex("0x" + root, 32)), { at: BigInt(c.at_ms), ...live });
  } catch (error) {
    if (error instanceof Refused) return refuse(error.check);
    throw error;
  }
  return accept;
}

const WHOLE = {
  bundle: (c) => answerOf(verifyBundle(fromHex(c.bytes), readPolicy(c.policy), readChainFacts(c.chain_facts))),
  live: (c) => answerOf(verifyLive(
    fromHex(c.bytes), readPolicy(c.policy), readInteger(c.now_ms), c.nonce === null ? null : fromHex(c.nonce, 32),
  )),
  proof: (c) => answerOf(verifyProof(
    fromHex(c.bytes), readBeside(c.evidence), readCopy(c.copy), readPolicy(c.policy), readChainFacts(c.chain_facts),
  )),
  attestation,
};

function flat(kind, c) {
  const check = FLAT.get(kind).judge(c);
  return check === null ? accept : refuse(check);
}

/** The answer to one request. Whatever cannot be judged is an error and no verdict. */
function answer(text) {
  const error = (code, message) => ({ error: { code, message } });
  try {
    const { kind, case: c } = parseJson(text);
    if (typeof kind !== "string" || c === null || typeof c !== "object") return error("unfit_case", "expected {\"kind\": text, \"case\": {…}}");
    if (Object.hasOwn(WHOLE, kind)) return WHOLE[kind](c);
    return FLAT.has(kind) ? flat(kind, c) : error("unknown_kind", `kind ${kind} is none of this verifier's`);
  } catch (fault) {
    return error("unfit_case", String(fault.message));
  }
}

const exitCode = (said) => (said.error === undefined ? EXIT[said.verdict] : UNFIT);

function main(words) {
  const batch = words.length === 1 && words[0] === "--batch";
  if (!batch && words.length !== 0) {
    console.error("usage: conformance.mjs [--batch], with requests on standard input");
    return UNFIT;
  }
  const input = readFileSync(0, "utf8");
  const answers = (batch ? input.split("\n").filter((line) => line.trim() !== "") : [input]).map(answer);
  process.stdout.write(answers.map((said) => JSON.stringify(said) + "\n").join(""));
  return batch ? (answers.some(({ error }) => error !== undefined) ? UNFIT : 0) : exitCode(answers[0]);
}

process.exitCode = main(process.argv.slice(2));
