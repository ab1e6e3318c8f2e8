// The verdict over one bundle, or over one proof: every step of bundle.md §4 in its order. Time, policy and chain facts are parameters;
// nothing is read from a clock, a file or the network. policy.md §3 and §4 say what the outcomes mean.
import * as evidence from "./checks-evidence.mjs";
import * as log from "./checks-log.mjs";
import * as payment from "./checks-payment.mjs";
import * as work from "./checks-work.mjs";
import { readBundle } from "./bundle.mjs";
import { Malformed, Refused } from "./errors.mjs";
import { notReached } from "./outcome.mjs";
import { LEVELS, WrongUsage } from "./policy.mjs";
import { bundleOf, readProof } from "./proof.mjs";
import { KIND_LOCAL, KIND_REEXEC } from "./receipt.mjs";

/** The name of the refusal of a file that does not parse, and of a fault of this program. */
export const BUNDLE_FORM = "bundle.form", VERIFY_BUG = "verify.bug";
/** What a verdict names while anything refuses: no level of the log was reached. */
export const NOT_LOGGED = "NOT LOGGED";

/** Engines whose answers can be run again. policy.md §3 */
const REPLAYED_ENGINES = ["det/1"];

/** [id, check], in the order of the table. */
export const STEPS = Object.freeze([
  ["attest.document", evidence.attestDocument],
  ["evidence.binding", evidence.evidenceBinding],
  ["evidence.terms", evidence.evidenceTerms],
  ["evidence.operator", evidence.evidenceOperator],
  ["evidence.manifest", evidence.evidenceManifest],
  ["policy.workload", evidence.policyWorkload],
  ["policy.operator", evidence.policyOperator],
  ["policy.registry", evidence.policyRegistry],
  ["evidence.block", evidence.evidenceBlock],
  ["registry.listed", evidence.registryListed],
  ["receipt.signature", work.receiptSignature],
  ["receipt.boot", work.receiptBoot],
  ["receipt.time", work.receiptTime],
  ["receipt.block", work.receiptBlock],
  ["request.commitment", work.requestCommitment],
  ["response.commitment", work.responseCommitment],
  ["work.model", work.workModel],
  ["work.claim", work.workClaim],
  ["work.decoding", work.workDecoding],
  ["work.seed", work.workSeed],
  ["privacy.channel", work.privacyChannel],
  ["offer.signature", payment.offerSignature],
  ["offer.terms", payment.offerTerms],
  ["offer.price", payment.offerPrice],
  ["payment.signature", payment.paymentSignature],
  ["payment.terms", payment.paymentTerms],
  ["payment.binding", payment.paymentBinding],
  ["receipt.payment", payment.receiptPayment],
  ["receipt.charge", payment.receiptCharge],
  ["payment.transfer", payment.paymentTransfer],
  ["log.inclusion", log.logInclusion],
  ["log.checkpoint", log.logCheckpoint],
  ["log.witnesses", log.logWitnesses],
  ["log.consistency", log.logConsistency],
  ["log.anchored", log.logAnchored],
]);

/** Steps 1 to 8, which concern the evidence alone. */
const LIVE_STEPS = STEPS.slice(0, 8);

/** The question of each step, by where in the table it stands. bundle.md §4 */
const QUESTIONS = Object.freeze({ ran: STEPS.slice(0, 20), private: STEPS.slice(20, 21), paid: STEPS.slice(21, 30), logged: STEPS.slice(30) });

/** The grade of each question. policy.md §3 (POL-5) */
function gradesOf(bundle, checks, level) {
  const outcomeOf = new Map(checks.map(({ check, outcome }) => [check, outcome]));
  const best = {
    ran: () => workGrade(bundle),
    private: () => (outcomeOf.get("privacy.channel") === "passed" ? "SEALED" : "NOT PROVEN HERE"),
    paid: () => (bundle.sale === null ? "NOBODY PAID" : outcomeOf.get("payment.transfer") === "passed" ? "SETTLED" : "SIGNED"),
    logged: () => level,
  };
  return Object.fromEntries(Object.entries(QUESTIONS).map(([question, steps]) => {
    const outcomes = steps.map(([id]) => outcomeOf.get(id));
    if (outcomes.includes("refused")) return [question, "REFUSED"];
    if (outcomes.includes("not reached")) return [question, "NOT REACHED"];
    return [question, best[question]()];
  }));
}

function workGrade({ delivery: { receipt, decoding }, answer }) {
  if ((receipt.work.kinds & KIND_LOCAL) === 0n) return "RELAYED";
  const replayable = (receipt.work.kinds & KIND_REEXEC) !== 0n && REPLAYED_ENGINES.includes(decoding.engine) && 0 < answer.frames.length;
  return replayable ? "REPLAYABLE" : "LOCAL";
}

/**
 * Judges a `.candor` file. Gives {outcome, refusedBy, level, grades, checks}: the outcome is "verified", "refused" or "cannot tell"; refusedBy is
 * the id of the check that refused, or null; checks has every step, in order.
 */
export function verifyBundle(bytes, policy, facts) {
  let bundle;
  try {
    bundle = readBundle(bytes);
  } catch (error) {
    return unreadable(error);
  }
  return judge(bundle, false, policy, facts);
}

/**
 * Judges a proof in the same way: with a copy {body, frames} as the bundle that it then is, and alone if the copy is null. `beside` is the
 * encoding of the evidence that lies beside it, or null. Throws WrongUsage if the proof names evidence that is not there. bundle.md §8.
 */
export function verifyProof(bytes, beside, copy, policy, facts) {
  let bundle;
  try {
    bundle = bundleOf(readProof(bytes, beside), copy);
  } catch (error) {
    if (error instanceof WrongUsage) throw error;
    return unreadable(error);
  }
  return judge(bundle, copy === null, policy, facts);
}

function judge(bundle, isAlone, policy, facts) {
  const found = { document: null, witnessed: false, anchored: false, undecided: false };
  const { refusedBy, checks } = run(STEPS, { bundle, isAlone, policy, facts, live: null, found });
  if (refusedBy !== null) return { outcome: "refused", refusedBy, level: NOT_LOGGED, grades: gradesOf(bundle, checks, NOT_LOGGED), checks };
  const level = found.anchored ? "ANCHORED" : found.witnessed ? "WITNESSED" : "SELF-LOGGED";
  const enough = LEVELS.indexOf(policy.require_level) <= LEVELS.indexOf(level);
  const outcome = enough && !found.undecided && !isAlone ? "verified" : "cannot tell"; // POL-4, BNDL-8, BNDL-9, BNDL-12
  return { outcome, refusedBy, level, grades: gradesOf(bundle, checks, level), checks };
}

/** Judges the evidence inside a bundle as a client does that is about to connect: at `now`, with a challenge or null. attestation.md §3. */
export function verifyLive(bytes, policy, now, nonce) {
  let bundle;
  try {
    bundle = readBundle(bytes);
  } catch (error) {
    return unreadable(error);
  }
  const { refusedBy, checks } = run(LIVE_STEPS, { bundle, isAlone: false, policy, facts: null, live: { now, nonce }, found: {} });
  return { outcome: refusedBy === null ? "verified" : "refused", refusedBy, checks };
}

/** Makes the steps in order; the first refusal ends it. */
function run(steps, given) {
  const checks = [];
  let refusedBy = null;
  for (const [id, check] of steps) {
    if (refusedBy !== null) {
      checks.push({ check: id, ...notReached() });
      continue;
    }
    try {
      checks.push({ check: id, ...check(given) });
    } catch (error) {
      refusedBy = error instanceof Refused ? error.check : VERIFY_BUG;
      checks.push({ check: id, outcome: "refused", by: refusedBy, note: error.reason ?? String(error) });
    }
  }
  return { refusedBy, checks };
}

function unreadable(error) {
  const refusedBy = error instanceof Malformed ? BUNDLE_FORM : VERIFY_BUG;
  const checks = [{ check: BUNDLE_FORM, outcome: "refused", by: refusedBy, note: error.message }];
  return { outcome: "refused", refusedBy, level: NOT_LOGGED, grades: null, checks };
}
