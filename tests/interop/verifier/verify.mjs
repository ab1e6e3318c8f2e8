// The verdict over one bundle: every step of bundle.md §4 in its order. Time, policy and chain facts are parameters; nothing is read from
// a clock, a file or the network. policy.md §3 and §4 say what the outcomes mean.
import * as evidence from "./checks-evidence.mjs";
import * as log from "./checks-log.mjs";
import * as payment from "./checks-payment.mjs";
import * as work from "./checks-work.mjs";
import { readBundle } from "./bundle.mjs";
import { Malformed, Refused } from "./errors.mjs";
import { notReached } from "./outcome.mjs";
import { LEVELS } from "./policy.mjs";

/** The name of the refusal of a file that does not parse, and of a fault of this program. */
export const BUNDLE_FORM = "bundle.form", VERIFY_BUG = "verify.bug";
/** What a verdict names while anything refuses: no level of the log was reached. */
export const NOT_LOGGED = "NOT LOGGED";

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

/**
 * Judges a `.candor` file. Gives {outcome, refusedBy, level, checks}: the outcome is "verified", "refused" or "cannot tell"; refusedBy is
 * the id of the check that refused, or null; checks has every step, in order.
 */
export function verifyBundle(bytes, policy, facts) {
  let bundle;
  try {
    bundle = readBundle(bytes);
  } catch (error) {
    return unreadable(error);
  }
  const found = { document: null, witnessed: false, anchored: false, undecided: false };
  const { refusedBy, checks } = run(STEPS, { bundle, policy, facts, live: null, found });
  if (refusedBy !== null) return { outcome: "refused", refusedBy, level: NOT_LOGGED, checks };
  const level = found.anchored ? "ANCHORED" : found.witnessed ? "WITNESSED" : "SELF-LOGGED";
  const enough = LEVELS.indexOf(policy.require_level) <= LEVELS.indexOf(level);
  const outcome = enough && !found.undecided ? "verified" : "cannot tell"; // POL-4, BNDL-8, BNDL-9
  return { outcome, refusedBy, level, checks };
}

/** Judges the evidence inside a bundle as a client does that is about to connect: at `now`, with a challenge or null. attestation.md §3. */
export function verifyLive(bytes, policy, now, nonce) {
  let bundle;
  try {
    bundle = readBundle(bytes);
  } catch (error) {
    return unreadable(error);
  }
  const { refusedBy, checks } = run(LIVE_STEPS, { bundle, policy, facts: null, live: { now, nonce }, found: {} });
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
  return { outcome: "refused", refusedBy, level: NOT_LOGGED, checks };
}
