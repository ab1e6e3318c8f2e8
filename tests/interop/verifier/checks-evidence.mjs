// Steps 1 to 10 of bundle.md §4: the evidence, what the policy accepts of it, and what a chain says of it. One function per step, in order.
// A check returns an outcome or throws Refused. What it found out for later steps it writes into `found`.
import { verifyDocument } from "./attestation.mjs";
import { equal } from "./bytes.mjs";
import { Refused, require } from "./errors.mjs";
import { attestedBytes, freshnessTag, NITRO, workloadId } from "./evidence.mjs";
import { disagreement, keysHash } from "./manifest.mjs";
import { ANY } from "./policy.mjs";
import { blockOutcome, passed, notChecked } from "./outcome.mjs";
import { recover } from "./signatures.mjs";
import { inconsistency, termsDigest } from "./terms.mjs";
import { couldBeSeenBefore, seconds, seenInTime, sightings, validUntil } from "./time-rule.mjs";

/**
 * 1. attestation.md §1, and ATT-6: one document, of Nitro's format, without collateral. In a bundle it is judged at its own time. Live it
 * answers the caller's challenge, where there is one (§3, ATT-3).
 */
export function attestDocument({ bundle, policy, live, found }) {
  const { documents } = bundle.evidence;
  require(documents.length === 1, "attest.kind", `${documents.length} documents where one is judged`);
  const { kind, document, collateral } = documents[0];
  require(kind === NITRO, "attest.kind", `a document of the unknown kind ${kind}`);
  require(collateral.length === 0, "attest.kind", "collateral beside a document that has none");
  const judged = live === null ? { at: null } : { at: live.now, maxAge: policy.max_age_ms, skew: policy.skew_ms };
  found.document = verifyDocument(document, policy.roots, judged);
  const challenge = live?.nonce ?? null;
  require(challenge === null || equal(bundle.evidence.preimage.nonce, challenge), "attest.nonce", "another challenge than the caller's");
  return passed();
}

/** 2. attestation.md §2 (ATT-2) */
export function evidenceBinding({ bundle, found }) {
  const { manifest, preimage } = bundle.evidence;
  const due = attestedBytes(manifest.kSig, manifest.hash, freshnessTag(preimage));
  const { userData } = found.document;
  require(userData !== null && equal(userData, due), "evidence.binding", "user_data does not name this key, manifest and block");
  return passed();
}

/** 3. terms-and-manifest.md §1 (TERMS-1) */
export function evidenceTerms({ bundle, found }) {
  found.termsHash = termsDigest(bundle.evidence.terms);
  require(equal(found.termsHash, bundle.evidence.manifest.termsHash), "evidence.terms", "the manifest names other terms");
  return passed();
}

/** 4. terms-and-manifest.md §1 (TERMS-1) */
export function evidenceOperator({ bundle, found }) {
  const { terms } = bundle.evidence;
  const signer = recover(found.termsHash, terms.signature);
  require(signer !== null && equal(signer, terms.operator), "evidence.operator", "the terms are not signed by their operator");
  return passed();
}

/** 5. terms-and-manifest.md §1 (TERMS-3) and §3 (MAN-2); attestation.md §2 (ATT-6) */
export function evidenceManifest({ bundle, policy, found }) {
  const { manifest, terms, keys, preimage } = bundle.evidence;
  const check = "evidence.manifest";
  const difference = disagreement(manifest, terms);
  if (difference !== null) throw new Refused(check, difference);
  require(equal(keysHash(keys), manifest.keysHash), check, "other further keys than the manifest's");
  require(keys.length === 0, "evidence.keys", "further keys, which this verifier does not judge");
  const problem = inconsistency(terms);
  if (problem !== null) throw new Refused(check, problem);
  require(preimage.chainId === manifest.anchorChainId, check, "the freshness block is of another chain");
  const { time } = found.document;
  require(time <= terms.notAfter, check, "the terms had ended when the document was made");
  require(manifest.bootedAt * 1000n <= time + policy.skew_ms, check, "the boot is after its document");
  return passed();
}

/** 6. policy.md §2 */
export function policyWorkload({ policy, found }) {
  const { root, measurements } = found.document;
  found.workload = workloadId(NITRO, root, measurements);
  const listed = policy.workloads === ANY || policy.workloads.some((one) => equal(one, found.workload));
  require(listed, "policy.workload", "the policy does not list this workload");
  return passed(policy.workloads === ANY ? "dangerous: any workload" : undefined);
}

/** 7. policy.md §2 */
export function policyOperator({ bundle, policy }) {
  const { operator } = bundle.evidence.terms;
  const listed = policy.operators === ANY || policy.operators.some((one) => equal(one, operator));
  require(listed, "policy.operator", "the policy does not list this operator");
  return passed();
}

/** 8. policy.md §2: one contract on one chain */
export function policyRegistry({ bundle, policy }) {
  const { registry, anchorChainId } = bundle.evidence.terms;
  const isListed = (one) => one.chain_id === anchorChainId && equal(one.registry, registry);
  require(policy.registries === ANY || policy.registries.some(isListed), "policy.registry", "the policy does not list this registry");
  return passed();
}

/** 9. attestation.md §3 (ATT-4); bundle.md §4 (BNDL-9) */
export const evidenceBlock = ({ facts, found }) => blockOutcome(facts.evidence_block_known, found);

/** 10. bundle.md §4 (BNDL-3), lines 2 and 5 of the time rule (§6) */
export function registryListed({ bundle, facts, found }) {
  const check = "registry.listed";
  const { registry } = facts;
  if (registry === null) return notChecked("no chain was asked");
  const { manifest, terms } = bundle.evidence;
  require(equal(registry.k_sig, manifest.kSig), check, "the registry lists another key");
  require(equal(registry.manifest_hash, manifest.hash), check, "the registry lists another manifest");
  const finished = seconds(bundle.delivery.receipt.work.finishedAt);
  const end = validUntil(registry.valid_until, found.document.time, terms.notAfter);
  require(finished <= end, check, "the registration had lapsed");
  require(registry.invalid_from === null || finished <= registry.invalid_from, check, "the key was retired before");
  const told = toldOf(registry, manifest);
  if (registry.revoked_at === null) return passed(told);
  const { seenAt } = sightings(bundle, bundle.delivery.receipt.logId, facts);
  if (seenAt !== null && seenAt < registry.revoked_at && seenInTime(finished, seenAt)) return passed(told);
  require(couldBeSeenBefore(finished, registry.revoked_at), check, "the key was revoked before the work was finished");
  found.undecided = true;
  return notChecked("the key was revoked, and the caller knows of no tree that holds the receipt and was seen in time before");
}

/** BNDL-3: what the registry says of the key besides, which refuses nothing. */
function toldOf({ is_forked, has_gap, predecessor_anchored: anchored }, { predecessorSize }) {
  const said = [
    is_forked && "forked: the key signed two trees of one size",
    has_gap && "a gap: the log is not linked to the one before",
    anchored !== null && predecessorSize < anchored && "more of the log before is anchored than this one continues",
  ];
  return said.filter(Boolean).join("; ") || undefined;
}
