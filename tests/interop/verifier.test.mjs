// The specification suffices for a stranger: verifier/ was written from spec/ and vectors/ alone, in another language than the product's,
// and gives for every vector the same result by the same check. It needs no node. A vector on which the two differ is a fault of one of
// them, or of the text.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FLAT, NOT_JUDGED } from "./flat-vectors.mjs";
import { verifyDocument } from "./verifier/attestation.mjs";
import { fromHex } from "./verifier/bytes.mjs";
import { Malformed, Refused } from "./verifier/errors.mjs";
import { readCheckpointFile } from "./verifier/log.mjs";
import {
  parseJson, readBeside, readChainFacts, readCopy, readFields, readInteger, readPolicy, WrongUsage,
} from "./verifier/policy.mjs";
import { BUNDLE_FORM, STEPS, verifyBundle, verifyLive, verifyProof } from "./verifier/verify.mjs";

const ROOT = join(import.meta.dirname, "../..");
const VECTORS = join(ROOT, "vectors");
const json = (...path) => parseJson(readFileSync(join(VECTORS, ...path), "utf8"));
const fileOf = (folder) => (file) => Uint8Array.from(readFileSync(join(VECTORS, folder, file)));
const bundle = fileOf("bundle"), proof = fileOf("proof");
const asIs = (value) => value;

/** The cases of a list, each with exactly these fields: one that a reader does not know could change what the case says. */
function casesOf(list, fields) {
  assert.ok(0 < list.length, "there are cases");
  const names = list.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length, "each case has a name of its own");
  return list.map((one) => ({ ...readFields(one, fields), name: one.name }));
}

const BUNDLE_CASE = {
  name: asIs, file: asIs, policy: readPolicy, chain_facts: readChainFacts, expect: asIs, log_level: asIs, grades: asIs,
};
const bundleCases = () => casesOf(json("bundle", "cases.json"), BUNDLE_CASE);

/** A verdict in the words of the vectors. */
function said({ outcome, refusedBy }) {
  if (outcome !== "refused") return outcome;
  return refusedBy === BUNDLE_FORM ? "parse" : refusedBy;
}

test("every bundle has the result, the check, the level of the log and the grades that its case names", () => {
  for (const { name, file, policy, chain_facts: facts, expect, log_level: level, grades } of bundleCases()) {
    const verdict = verifyBundle(bundle(file), policy, facts);
    assert.deepEqual({ name, said: said(verdict), level: verdict.level, grades: verdict.grades }, { name, said: expect, level, grades });
  }
});

test("a case with an unknown or a missing field is an error", () => {
  const [one] = json("bundle", "cases.json");
  const { level_of_log: _, ...without } = { ...one, level_of_log: 1 };
  assert.throws(() => readFields({ ...one, level_of_log: 1 }, BUNDLE_CASE), /unknown field level_of_log/);
  assert.throws(() => readFields({ ...without, policy: { ...one.policy, root: [] } }, BUNDLE_CASE), /unknown field root/);
  assert.throws(() => readFields({ ...without, chain_facts: { ...one.chain_facts, x: 1 } }, BUNDLE_CASE), /unknown field x/);
  const { models: gone, ...policy } = one.policy;
  assert.equal(gone, "any");
  assert.throws(() => readFields({ ...without, policy }, BUNDLE_CASE), /no field models/);
});

const PROOF_CASE = { ...BUNDLE_CASE, evidence: readBeside, copy: readCopy };
const proofCases = () => casesOf(json("proof", "cases.json"), PROOF_CASE);
const judgeProof = (bytes, { evidence, copy, policy, chain_facts: facts }) => verifyProof(bytes, evidence, copy, policy, facts);

test("every proof has, with its copy or alone, the result, the check, the level of the log and the grades that its case names", () => {
  for (const one of proofCases()) {
    const { name, file, expect, log_level: level, grades } = one;
    const verdict = judgeProof(proof(file), one);
    assert.deepEqual({ name, said: said(verdict), level: verdict.level, grades: verdict.grades }, { name, said: expect, level, grades });
    assert.ok(one.copy !== null || verdict.outcome !== "verified", name);
  }
});

test("a proof alone says in three checks that it needs the caller's copy, and without the evidence that it names it is not judged", () => {
  const alone = proofCases().find(({ name }) => name === "alone_and_names_its_evidence");
  const { checks } = judgeProof(proof(alone.file), alone);
  const needing = checks.filter(({ outcome, note }) => outcome === "not checked" && note.startsWith("your copy"));
  assert.deepEqual(needing.map(({ check }) => check), ["request.commitment", "response.commitment", "work.claim"]);
  assert.throws(() => judgeProof(proof(alone.file), { ...alone, evidence: null }), WrongUsage);
});

test("the evidence inside a bundle has, at each moment, the result that its case names", () => {
  const nonceOrNull = (value) => (value === null ? null : fromHex(value, 32));
  const fields = { name: asIs, file: asIs, policy: readPolicy, now_ms: readInteger, nonce: nonceOrNull, expect: asIs };
  for (const { name, file, policy, now_ms: now, nonce, expect } of casesOf(json("bundle", "live.json"), fields)) {
    assert.deepEqual({ name, said: said(verifyLive(bundle(file), policy, now, nonce)) }, { name, said: expect });
  }
});

/** A file with the edits of its case made to it. */
function edited(file, edits) {
  const bytes = readFileSync(join(VECTORS, "attestation", file));
  const parts = [];
  let at = 0;
  for (const edit of edits) {
    assert.ok(at <= edit.at, "edits ascend and do not overlap");
    parts.push(bytes.subarray(at, edit.at), Buffer.from(fromHex("0x" + edit.insert)));
    at = edit.at + edit.remove;
  }
  return Uint8Array.from(Buffer.concat([...parts, bytes.subarray(at)]));
}

test("every attestation document is accepted, or refused by the check that its case names", () => {
  const list = json("attestation", "cases.json");
  assert.ok(0 < list.length);
  const known = ["name", "file", "edits", "roots", "at_ms", "mode", "max_age_ms", "skew_ms", "expect"];
  for (const one of list) {
    assert.deepEqual(Object.keys(one).filter((name) => !known.includes(name)), [], one.name);
    assert.ok(["live", "historical"].includes(one.mode), one.name);
    const live = one.mode === "live" ? { maxAge: BigInt(one.max_age_ms), skew: BigInt(one.skew_ms) } : {};
    let got = "accept";
    try {
      verifyDocument(edited(one.file, one.edits), one.roots.map((root) => fromHex("0x" + root, 32)), { at: BigInt(one.at_ms), ...live });
    } catch (error) {
      assert.ok(error instanceof Refused, `${one.name}: ${error.stack}`);
      got = error.check;
    }
    assert.deepEqual({ name: one.name, got }, { name: one.name, got: one.expect });
  }
});

test("every flat vector file is judged, but for those of which the verifier has no part", () => {
  const files = readdirSync(VECTORS).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
  assert.deepEqual([...FLAT.keys(), ...NOT_JUDGED].sort(), files.sort());
});

for (const [file, { keys, judge }] of FLAT) {
  test(`${file}.json: each case is right in every key, and each reject is refused by the check that it names`, () => {
    const { cases, rejects = [], ...more } = json(`${file}.json`);
    assert.deepEqual(Object.keys(more), []);
    assert.ok(0 < cases.length);
    for (const one of cases) {
      assert.deepEqual(keys.filter((key) => !Object.hasOwn(one, key)), [], `${file}: ${one.name} lacks keys`);
      assert.deepEqual({ name: one.name, refusedBy: judge(one) }, { name: one.name, refusedBy: null });
    }
    for (const one of rejects) {
      assert.deepEqual({ name: one.name, refusedBy: judge(one) }, { name: one.name, refusedBy: one.refusedBy });
    }
  });
}

test("the published checkpoint that spec/log.md shows is signed by both keys of its log", () => {
  const text = readFileSync(join(ROOT, "spec/log.md"), "utf8");
  const file = /^candor\/log\/[^]*?\n(?=```)/m.exec(text)[0];
  const named = (name) => fromHex(new RegExp(`^${name} +(0x[0-9a-f]+)`, "m").exec(text)[1]);
  const [logId, kLog, kSig] = [named("log id"), named("K_log"), named("K_sig")];
  const checkpoint = readCheckpointFile(file, logId, kLog, kSig);
  assert.deepEqual([checkpoint.size, checkpoint.root, checkpoint.timestamp], [3n, named("root"), 1_700_000_000_000n]);
  assert.throws(() => readCheckpointFile(file, logId, kLog, kSig.map((byte) => byte ^ 1)), Malformed);
  assert.throws(() => readCheckpointFile(file.replace("\n3\n", "\n4\n"), logId, kLog, kSig), Malformed);
});

test("the steps are those of the specification's table, in its order", () => {
  const table = readFileSync(join(ROOT, "spec/bundle.md"), "utf8").matchAll(/^\| (\d+) \| `([a-z.]+)` \|/gm);
  assert.deepEqual([...table].map(([, number, id]) => [Number(number), id]), STEPS.map(([id], index) => [index + 1, id]));
});

/** The verdicts on a file under a flip here and there. Every byte would take minutes; a step that is a prime meets each part at another place. */
function flips(bytes, judge) {
  const STRIDE = 41;
  const places = Array.from({ length: Math.ceil(bytes.length / STRIDE) }, (_, index) => index * STRIDE);
  return places.map((at) => {
    const flipped = Uint8Array.from(bytes);
    flipped[at] ^= 1 << (at % 8);
    return { at, verdict: judge(flipped) };
  });
}

function assertRefused({ at, verdict: { outcome, refusedBy } }) {
  assert.equal(outcome, "refused", `byte ${at}`);
  assert.ok(refusedBy === BUNDLE_FORM || STEPS.some(([id]) => id === refusedBy) || refusedBy.startsWith("attest."), `byte ${at}: ${refusedBy}`);
}

test("a bundle with a flipped byte is refused by a named check, wherever the byte is", () => {
  const { policy, chain_facts: facts } = bundleCases().find(({ name }) => name === "honest_cosigned");
  flips(bundle("honest_cosigned.candor"), (bytes) => verifyBundle(bytes, policy, facts)).forEach(assertRefused);
});

test("a proof with a flipped byte is refused by a named check, wherever the byte is", () => {
  const one = proofCases().find(({ name }) => name === "proof_that_names_its_evidence");
  flips(proof(one.file), (bytes) => judgeProof(bytes, one)).forEach(assertRefused);
});

test("a proof with a flipped byte is refused alone, too, but where salt, method, path and seed are", () => {
  const one = proofCases().find(({ name }) => name === "alone_and_names_its_evidence");
  const bytes = proof(one.file);
  // The four stand together, before the sale: bundle.md §8.
  const path = "/v1/chat/completions";
  const from = Buffer.from(bytes).indexOf("POST") - 33, to = Buffer.from(bytes).indexOf(path) + path.length + 34;
  const judged = flips(bytes, (flipped) => judgeProof(flipped, one));
  judged.filter(({ at }) => at < from || to <= at).forEach(assertRefused);
  const unheld = judged.filter(({ verdict }) => verdict.outcome !== "refused");
  assert.ok(0 < unheld.length);
  assert.deepEqual([...new Set(unheld.map(({ verdict }) => verdict.outcome))], ["cannot tell"]);
});

const directory = mkdtempSync(join(tmpdir(), "candor-verifier-"));
after(() => rmSync(directory, { recursive: true }));

/** Runs the command with all that a case of this folder says but its end. */
function command(folder, name, ...words) {
  const { file, policy, chain_facts, evidence, copy } = json(folder, "cases.json").find((one) => one.name === name);
  const path = join(directory, "policy.json");
  writeFileSync(path, JSON.stringify({ policy, chain_facts, evidence, copy })); // A bundle has neither of the last two.
  const main = join(import.meta.dirname, "verifier/main.mjs");
  const given = [main, join(VECTORS, folder, file), "--policy", path, ...words];
  const { status, stdout } = spawnSync(process.execPath, given, { encoding: "utf8" });
  return { status, lines: stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
}

test("as a command it prints each check and exits with 0 for verified, 1 for refused, 2 for cannot tell and wrong usage", () => {
  const honest = command("bundle", "honest");
  assert.equal(honest.status, 0);
  assert.deepEqual(honest.lines.slice(0, -1).map(({ check }) => check), STEPS.map(([id]) => id));
  const count = (outcome) => honest.lines.filter((line) => line.outcome === outcome).length;
  assert.deepEqual([count("passed"), count("not checked"), count("not asked")], [28, 6, 1], "as the example of spec/bundle.md says");
  const refused = command("bundle", "answer_altered");
  assert.equal(refused.status, 1);
  assert.deepEqual(refused.lines.at(-1), { outcome: "refused", refused_by: "response.commitment", log_level: "NOT LOGGED" });
  assert.equal(refused.lines.at(-2).outcome, "not reached");
  assert.equal(command("bundle", "malformed_empty").status, 1);
  assert.equal(command("bundle", "offline_where_an_anchor_is_required").status, 2);
  assert.equal(command("bundle", "honest", "one word too many").status, 2);
  assert.equal(command("proof", "proof_that_names_its_evidence").status, 0);
  assert.equal(command("proof", "copy_of_another_answer").status, 1);
  assert.equal(command("proof", "alone").status, 2);
});
