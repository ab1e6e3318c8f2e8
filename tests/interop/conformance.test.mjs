// The conformance contract between two programs that share no code: the product drives the second verifier over every vector that it has a
// part of, and what the product explains of a bundle is computed again here. It needs no node.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { NOT_JUDGED } from "./flat-vectors.mjs";
import { CANDOR } from "./node.mjs";
import { fromHex, hex } from "./verifier/bytes.mjs";
import { keccak256 } from "./verifier/hashes.mjs";
import { recover } from "./verifier/signatures.mjs";

const VECTORS = join(import.meta.dirname, "../../vectors");
const FRONT = join(import.meta.dirname, "verifier/conformance.mjs");
const MIB = 1_048_576;

const directory = mkdtempSync(join(tmpdir(), "candor-conformance-"));
after(() => rmSync(directory, { recursive: true }));

function ended(program, words, input) {
  const { status, stdout } = spawnSync(program, words, { encoding: "utf8", input });
  return { status, lines: stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
}
const front = (words, input) => ended(process.execPath, [FRONT, ...words], input);
const product = (words, input) => ended(CANDOR, ["conformance", ...words], input);

const idCase = (receiptId) => JSON.stringify({ kind: "receipt-id", case: { leafSalt: "0x" + "00".repeat(32), receiptId } });
const RIGHT = "0xc9ca50c69ce4da3df747b6b1cf811efc";

test("the second verifier speaks the contract: verdicts, exit codes, batches, errors", () => {
  assert.deepEqual(front([], idCase(RIGHT)), { status: 0, lines: [{ verdict: "accept", check: null }] });
  assert.deepEqual(front([], idCase("0x00")), { status: 10, lines: [{ verdict: "refuse", check: "receipt.id" }] });
  assert.equal(front([], "{").status, 30);
  assert.equal(front(["--no-such"], "").status, 30);
  const { status, lines } = front(["--batch"], [idCase(RIGHT), "{", '{"kind":"amount","case":{}}', idCase("0x00")].join("\n"));
  assert.equal(status, 30);
  assert.deepEqual(lines.map((line) => line.verdict ?? line.error.code), ["accept", "unfit_case", "unknown_kind", "refuse"]);
});

/** A request of kind `proof`, as a driver makes it of a case, with some of it changed. */
function proofCase(name, changed) {
  const { file, ...given } = JSON.parse(readFileSync(join(VECTORS, "proof/cases.json"), "utf8")).find((one) => one.name === name);
  return JSON.stringify({ kind: "proof", case: { ...given, bytes: hex(readFileSync(join(VECTORS, "proof", file))), ...changed } });
}

for (const [who, ask] of [["the second verifier", front], ["the product", product]]) {
  test(`${who} takes a proof with a copy or alone, and none without the evidence that it names`, () => {
    const whole = ask([], proofCase("proof_that_names_its_evidence"));
    assert.deepEqual([whole.status, whole.lines[0].verdict, whole.lines[0].grades.ran], [0, "accept", "REPLAYABLE"]);
    const alone = ask([], proofCase("proof_that_names_its_evidence", { copy: null }));
    assert.deepEqual([alone.status, alone.lines[0].verdict, alone.lines[0].grades.ran], [20, "cannot_tell", "LOCAL"]);
    const other = ask([], proofCase("evidence_that_it_does_not_name"));
    assert.deepEqual([other.status, other.lines[0].check, other.lines[0].grades], [10, "parse", null]);
    const unknown = ask([], proofCase("proof_that_names_its_evidence", { evidence: null }));
    assert.deepEqual([unknown.status, unknown.lines[0].error.code], [30, "unfit_case"]);
    const half = ask([], proofCase("proof_of_an_answer", { copy: { body: "0x" } }));
    assert.deepEqual([half.status, half.lines[0].error.code], [30, "unfit_case"]);
  });
}

test("the product drives the second verifier over every vector that it has a part of, and nothing differs", () => {
  const except = NOT_JUDGED.flatMap((kind) => ["--except", kind]);
  const words = ["--json", "conformance", "--all", VECTORS, "--batch", ...except, "--", process.execPath, FRONT];
  const { status, stdout } = spawnSync(CANDOR, words, { encoding: "utf8", maxBuffer: 64 * MIB });
  const report = JSON.parse(stdout);
  assert.deepEqual(report.kinds.filter(({ different }) => 0 < different.length), []);
  assert.equal(status, 0);
  assert.ok(800 < report.cases);
  assert.ok(report.kinds.some(({ kind, cases }) => kind === "proof" && 70 < cases));
  assert.deepEqual(report.except, NOT_JUDGED);
});

const HASHES = {
  sha256: (bytes) => createHash("sha256").update(bytes).digest(),
  sha384: (bytes) => createHash("sha384").update(bytes).digest(),
  keccak256: (bytes) => keccak256(bytes),
  "hmac-sha256": (bytes, key) => createHmac("sha256", key).update(bytes).digest(),
};

/** `verify --explain` of a bundle of the vectors; its verdict does not matter here. */
function explained(file) {
  const words = ["--json", "--state", directory, "verify", join(VECTORS, "bundle", file), "--explain"];
  const { stdout } = spawnSync(CANDOR, words, { encoding: "utf8", maxBuffer: 64 * MIB });
  return JSON.parse(stdout);
}

for (const file of ["honest_cosigned.candor", "answer_altered.candor"]) {
  test(`every hash and every signer that is explained of ${file} comes out again`, () => {
    const { explained: steps, checks } = explained(file);
    assert.deepEqual(steps.map(({ check }) => check), checks.map(({ step }) => step));
    const parts = steps.flatMap((step) => step.parts);
    const hashes = parts.filter(({ is }) => is === "hash");
    assert.ok(40 < hashes.length);
    for (const { name, function: of, key, preimage, digest, type, layout } of hashes) {
      const bytes = fromHex(preimage);
      assert.equal(hex(HASHES[of](bytes, key === null ? undefined : fromHex(key))), digest, name);
      if (type !== null) assert.equal(hex(keccak256(Buffer.from(type))), hex(bytes.subarray(0, 32)), name);
      if (0 < layout.length) assert.equal(layout.reduce((sum, piece) => sum + piece.bytes, 0), bytes.length, name);
    }
    const signatures = parts.filter(({ is, scheme }) => is === "signature" && scheme === "secp256k1");
    assert.ok(4 <= signatures.length);
    for (const { name, message, signature, got } of signatures) assert.equal(hex(recover(fromHex(message), fromHex(signature))), got, name);
  });
}

test("a file that is given instead of standard input is judged too", () => {
  const path = join(directory, "case.json");
  writeFileSync(path, idCase(RIGHT));
  const { status, stdout } = spawnSync(CANDOR, ["conformance", path], { encoding: "utf8" });
  assert.deepEqual([status, JSON.parse(stdout).verdict], [0, "accept"]);
});
