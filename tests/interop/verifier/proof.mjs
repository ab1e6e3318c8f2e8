// A proof, read and not believed: a bundle without what was asked and what was answered; and the bundle that it makes. bundle.md §8.
import { equal } from "./bytes.mjs";
import { readAll } from "./cbor.mjs";
import { checkSize, MAX, readTail } from "./bundle.mjs";
import { Malformed } from "./errors.mjs";
import { readEvidence } from "./evidence.mjs";
import { sha256, TAG } from "./hashes.mjs";
import { WrongUsage } from "./policy.mjs";
import { cutMember, responseCommitment } from "./transcript.mjs";

const WORD = "proof";
const NAMED = 0n, HELD = 1n;

/**
 * The proof with its evidence: its own, or `beside`, the encoding of the one that it names (null if nobody brings it). Without evidence
 * there is nothing to judge, and that is no fault of the proof (BNDL-10).
 */
export function readProof(bytes, beside) {
  checkSize(bytes);
  const { evidence, ...proof } = readAll(bytes, (r) => {
    r.versioned(8);
    const word = r.text(WORD.length);
    if (word !== WORD) throw new Malformed(`${word} where ${WORD} is due`);
    r.array(2);
    const held = r.code([NAMED, HELD]) === HELD ? r.bytes(MAX.bundle) : null;
    const name = held === null ? r.hash() : evidenceHash(held);
    // What byte strings hold is read with the file (§1).
    const own = held === null ? null : readEvidence(held);
    r.array(3);
    const request = { salt: r.hash(), method: r.text(MAX.method), path: r.text(MAX.path) };
    return { evidence: { name, own }, request, seed: r.hash(), ...readTail(r) };
  });
  if (beside === null && evidence.own === null) throw new WrongUsage("the proof names its evidence, and nobody brings it");
  if (beside !== null && !equal(evidenceHash(beside), evidence.name)) throw new Malformed("evidence beside the proof that is not its own");
  return { ...proof, evidence: evidence.own ?? readEvidence(beside) };
}

const evidenceHash = (encoded) => sha256(TAG.evidence, encoded);

/** The bundle of a proof and a copy of both texts; without a copy one whose texts are left empty. BNDL-11 */
export function bundleOf({ request, seed, ...parts }, copy) {
  const { body, frames } = copy ?? { body: new Uint8Array(), frames: [] };
  const committed = parts.delivery.receipt.work.responseCommitment;
  return { ...parts, request: { ...request, body }, answer: { seed, frames: asCommitted(frames, seed, committed) } };
}

/** Frames as they travelled, or as they are: the commitment says. */
function asCommitted(frames, seed, committed) {
  const last = frames.length === 0 ? null : cutMember(frames.at(-1));
  const cut = last === null ? frames : [...frames.slice(0, -1), last];
  return equal(responseCommitment(seed, cut), committed) ? cut : frames;
}
