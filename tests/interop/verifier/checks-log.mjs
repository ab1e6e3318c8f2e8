// Steps 31 to 35 of bundle.md §4: the receipt's place in the log, who signed the tree, who else saw it, and that the log only grew.
import { equal, hex } from "./bytes.mjs";
import { Refused, require } from "./errors.mjs";
import { leafData, noteBody, signedByEnclave, signedByLogKey, verifyCosignature } from "./log.mjs";
import { consistent, includes, leafHash } from "./merkle.mjs";
import { notAsked, notChecked, passed } from "./outcome.mjs";
import { allTrees, notSeenBefore, seconds, seenInTime, sightings } from "./time-rule.mjs";

/** 31. log.md §2; BNDL-4 */
export function logInclusion({ bundle, found }) {
  const { leafSalt, receipt, signature, checkpoint, inclusion } = bundle.delivery;
  const leaf = leafHash(leafData(leafSalt, found.receiptDigest, signature));
  const held = includes(leaf, receipt.sequence, checkpoint.size, inclusion, checkpoint.root);
  require(held, "log.inclusion", "the receipt's leaf is not in the tree at its sequence");
  return passed();
}

/** 32. log.md §3; BNDL-4 */
export function logCheckpoint({ bundle, found }) {
  const check = "log.checkpoint";
  const { checkpoint } = bundle.delivery;
  const { kLog, kSig } = bundle.evidence.manifest;
  require(equal(checkpoint.logId, found.logId), check, "a checkpoint of another log");
  const { size, root, noteSignature, signature } = checkpoint;
  require(signedByLogKey(kLog, found.logId, size, root, noteSignature), check, "not signed by K_log");
  require(signedByEnclave(kSig, checkpoint, signature), check, "not signed by K_sig");
  return passed();
}

/**
 * 33. bundle.md §5 (BNDL-6); POL-3. Each cosignature is checked, also where none is asked for: bytes that nobody checks could be flipped.
 */
export function logWitnesses({ bundle, policy, found }) {
  const check = "log.witnesses";
  const { checkpoint } = bundle.delivery;
  const body = noteBody(found.logId, checkpoint.size, checkpoint.root);
  const seen = new Set();
  for (const { witness, time, signature } of checkpoint.cosignatures) {
    require(policy.witnesses.some((one) => equal(one, witness)), check, "a cosignature by a key that the policy does not list");
    require(!seen.has(hex(witness)), check, "a cosignature twice");
    seen.add(hex(witness));
    require(verifyCosignature(witness, time, body, signature), check, "a cosignature that is wrong");
  }
  if (policy.witness_threshold === 0n) return notAsked("the policy asks for no witness");
  found.witnessed = policy.witness_threshold <= BigInt(seen.size);
  return found.witnessed ? passed() : notChecked(`${seen.size} of ${policy.witness_threshold} witnesses cosigned`);
}

/** 34. log.md §1; bundle.md §4 (BNDL-5) */
export function logConsistency({ bundle, facts, found }) {
  const check = "log.consistency";
  const { checkpoint, earlierAnchor } = bundle.delivery;
  if (earlierAnchor !== null) {
    const { size, root, proof } = earlierAnchor;
    require(consistent(size, root, checkpoint.size, checkpoint.root, proof), check, "the earlier anchor is not the tree's beginning");
  }
  for (const { size, root, timestamp, signature, proof } of bundle.laterTrees) {
    require(consistent(checkpoint.size, checkpoint.root, size, root, proof), check, "the tree is not the beginning of a later one");
    const signed = signedByEnclave(bundle.evidence.manifest.kSig, { logId: found.logId, size, root, timestamp }, signature);
    require(signed, check, "a later tree that is not signed by K_sig");
  }
  const known = [...facts.anchors, ...facts.observations].filter(({ log_id }) => equal(log_id, found.logId));
  for (const tree of allTrees(bundle)) {
    const forked = known.some(({ size, root }) => size === tree.size && !equal(root, tree.root));
    require(!forked, check, `a fork: a chain saw another root at size ${tree.size}`);
  }
  return passed();
}

/** 35. bundle.md §5 (BNDL-7) and §6 (lines 3 and 4; BNDL-8) */
export function logAnchored({ bundle, facts, found }) {
  const finished = seconds(bundle.delivery.receipt.work.finishedAt);
  const { anchored, seenAt } = sightings(bundle, found.logId, facts);
  if (seenAt === null) return notChecked("the caller knows of no anchor of these trees");
  if (!notSeenBefore(finished, seenAt)) throw new Refused("log.anchored", "a chain saw the tree before the work was finished");
  if (!seenInTime(finished, seenAt)) {
    found.undecided = true;
    return notChecked("a chain saw the tree more than 7 days after the work was finished");
  }
  if (!anchored) return notChecked("observed in time, and not anchored");
  found.anchored = true;
  return passed();
}
