// Steps 11 to 21 of bundle.md §4: the receipt, what it commits to, and what it claims about the work. One function per step, in order.
import { equal, isZero, ZERO_32 } from "./bytes.mjs";
import { Refused, require } from "./errors.mjs";
import { logId } from "./manifest.mjs";
import { blockOutcome, notChecked, passed } from "./outcome.mjs";
import { ANY } from "./policy.mjs";
import { publicWords } from "./public.mjs";
import * as receipts from "./receipt.mjs";
import { recover } from "./signatures.mjs";
import * as terms from "./terms.mjs";
import { afterBoot, seconds } from "./time-rule.mjs";
import { requestCommitment as commitRequest, responseCommitment as commitResponse } from "./transcript.mjs";

/** 11. receipt.md §1 (RCPT-1) */
export function receiptSignature({ bundle, found }) {
  const { receipt, signature } = bundle.delivery;
  found.receiptDigest = receipts.receiptDigest(receipt);
  const signer = recover(found.receiptDigest, signature);
  const attested = signer !== null && equal(signer, bundle.evidence.manifest.kSig);
  require(attested, "receipt.signature", "the receipt is not signed by the attested key");
  return passed();
}

/** 12. receipt.md §2 (RCPT-3) */
export function receiptBoot({ bundle, found }) {
  const { receipt } = bundle.delivery;
  const { manifest } = bundle.evidence;
  found.logId = logId(manifest);
  require(equal(receipt.manifestHash, manifest.hash), "receipt.boot", "the receipt is of another boot");
  require(equal(receipt.logId, found.logId), "receipt.boot", "the receipt is of another log");
  return passed();
}

/** 13. receipt.md §4 (RCPT-7), with line 1 of the time rule */
export function receiptTime({ bundle, policy, found }) {
  const check = "receipt.time";
  const { startedAt, finishedAt } = bundle.delivery.receipt.work;
  const { time } = found.document;
  const { manifest, terms: signed } = bundle.evidence;
  require(startedAt <= finishedAt, check, "finished before it started");
  require(time <= startedAt + policy.skew_ms, check, "the work is older than its evidence");
  require(finishedAt <= time + policy.max_age_ms + policy.skew_ms, check, "the evidence is too old for the receipt");
  require(finishedAt <= signed.notAfter, check, "the terms had ended");
  require(afterBoot(seconds(finishedAt), manifest.bootedAt), check, "the work is older than the boot");
  return passed();
}

/** 14. receipt.md §4; bundle.md §4 (BNDL-9) */
export const receiptBlock = ({ facts, found }) => blockOutcome(facts.receipt_block_known, found);

/** What a proof alone cannot be held against. bundle.md §8 (BNDL-12) */
const needsCopy = (what) => notChecked(`your copy of ${what}`);

/** 15. transcript.md §1 (TR-1). The salt travels in the delivery if and only if nobody paid (bundle.md §2). */
export function requestCommitment({ bundle, isAlone }) {
  const check = "request.commitment";
  const { request, delivery, sale } = bundle;
  if (sale === null) {
    const told = delivery.requestSalt !== null && equal(delivery.requestSalt, request.salt);
    require(told, check, "nobody paid, and the delivery does not have the request's salt");
  } else {
    require(delivery.requestSalt === null, check, "a salt in the delivery of a paid answer");
  }
  if (isAlone) return needsCopy("the request's body");
  const commitment = commitRequest(request.salt, request.method, request.path, request.body);
  require(equal(commitment, delivery.receipt.work.requestCommitment), check, "another request");
  return passed();
}

/** 16. transcript.md §2 (TR-2) */
export function responseCommitment({ bundle, isAlone }) {
  if (isAlone) return needsCopy("the answer");
  const { answer, delivery } = bundle;
  const commitment = commitResponse(answer.seed, answer.frames);
  require(equal(commitment, delivery.receipt.work.responseCommitment), "response.commitment", "another answer");
  return passed();
}

/** 17. receipt.md §4 (RCPT-8) */
export function workModel({ bundle, policy, found }) {
  const { modelId } = bundle.delivery.receipt.work;
  found.model = terms.findModel(bundle.evidence.terms, modelId);
  require(found.model !== undefined, "work.model", "the terms do not list this model");
  const accepted = policy.models === ANY || policy.models.some((one) => equal(one, modelId));
  require(accepted, "work.model", "the policy does not list this model");
  return passed();
}

/** 18. receipt.md §4 (RCPT-6, RCPT-13) and §6 (RCPT-14) */
export function workClaim({ bundle, found, isAlone }) {
  const check = "work.claim";
  const { work } = bundle.delivery.receipt;
  // What a guard refused was judged in the enclave, whatever model it stood before.
  const isLocal = found.model.source === terms.LOCAL || work.outcome === receipts.OUTCOME_REFUSED_BY_GUARD;
  const kinds = isLocal ? [receipts.KIND_LOCAL, receipts.KIND_LOCAL | receipts.KIND_REEXEC] : [receipts.KIND_PROXY];
  require(kinds.includes(work.kinds), check, "another kind of work than the terms say of the model");
  checkTokens(bundle, check);
  checkGuard(work, bundle.evidence.terms.guard, check);
  if (isLocal) {
    require(work.usageSource === receipts.COUNTED, check, "LOCAL work that was not counted by the enclave");
    require(work.outcome !== receipts.OUTCOME_UPSTREAM_ERROR, check, "LOCAL work that ended in an upstream error");
    require(isZero(work.sourceHash) && bundle.delivery.source === null, check, "LOCAL work with a source");
  } else {
    const problem = sourceProblem(bundle, found.model);
    if (problem !== null) throw new Refused(check, problem);
  }
  if (isAlone) return needsCopy("request and answer, for whether it is public as asked");
  const words = Object.entries(publicWords(bundle.request, bundle.answer.frames));
  require(words.every(([name, word]) => equal(word, work[name])), check, "other words of a public answer than request and frames give");
  return passed();
}

function checkTokens({ sale, delivery }, check) {
  const { promptTokens, completionTokens, outcome } = delivery.receipt.work;
  const most = sale === null ? delivery.decoding.maxTokens : sale.offer.maxTokens;
  require(sale === null || promptTokens === sale.offer.promptTokens, check, "another count of prompt tokens than offered");
  require(completionTokens <= most, check, "more tokens than offered");
  require(outcome !== receipts.OUTCOME_LENGTH || completionTokens === most, check, "ended by a length that was not reached");
}

/** RCPT-6: what a guard refused no model answered. */
function checkGuard({ outcome, completionTokens, kinds }, guard, check) {
  if (outcome !== receipts.OUTCOME_REFUSED_BY_GUARD) return;
  require(guard.model !== "" || guard.upstream !== "", check, "refused by a guard that the terms do not have");
  require(completionTokens === 0n, check, "refused by a guard after tokens of an answer");
  require((kinds & receipts.KIND_REEXEC) === 0n, check, "refused by a guard, and promised to be run again");
}

/** RCPT-14: what of a source record the terms do not allow, or null. */
function sourceProblem({ delivery, evidence }, model) {
  const { source, receipt } = delivery;
  if (source === null) return "the source of PROXY work does not travel";
  if (!equal(receipts.sourceHash(source), receipt.work.sourceHash)) return "another source than the receipt names";
  if (terms.textsOf(source).some(terms.hasControl)) return "a text of the source has a control";
  const route = model.routes.findIndex((one, index) =>
    one.upstream === source.upstream && one.model === source.modelAsked && triedBefore(model.routes.slice(0, index), source.tried));
  if (route < 0) return "no route of the model with what was asked for and tried before";
  const upstream = terms.findUpstream(evidence.terms, source.upstream);
  if (upstream.host !== source.host || upstream.port !== source.port) return "another host or port than the upstream's";
  const hasAccount = upstream.account !== "";
  if (source.account === receipts.ACCOUNT_OPERATOR && !hasAccount) return "an account of the operator that the terms do not have";
  const takesKeys = (upstream.flags & terms.TAKES_BUYERS_KEYS) !== 0n;
  if (source.account === receipts.ACCOUNT_BUYER && !takesKeys) return "a buyer's key, which the upstream does not take";
  return channelProblem(source, upstream, receipt.work.outcome);
}

/** The routes before, each at most once and in their order; one may have been passed over. */
function triedBefore(before, tried) {
  let at = 0;
  for (const name of tried) {
    while (at < before.length && before[at].upstream !== name) at += 1;
    if (at === before.length) return false;
    at += 1;
  }
  return true;
}

function channelProblem({ spkiHash }, upstream, outcome) {
  if (upstream.trust === terms.TRUST_PLAINTEXT) return isZero(spkiHash) ? null : "a key in plaintext";
  if (isZero(spkiHash)) return outcome === receipts.OUTCOME_UPSTREAM_ERROR ? null : "no key of an upstream that was reached";
  const pinned = upstream.trust === terms.TRUST_KEY;
  return !pinned || equal(spkiHash, upstream.trustAnchor) ? null : "another key than the terms trust";
}

/** 19. receipt.md §5 (RCPT-10); that maxTokens is the offer's is step 23's. */
export function workDecoding({ bundle }) {
  const { decoding, receipt } = bundle.delivery;
  const same = equal(receipts.decodingHash(decoding), receipt.work.decodingHash);
  require(same, "work.decoding", "another decoding record than the receipt names");
  return passed();
}

/** 20. receipt.md §5 (RCPT-11) */
export function workSeed({ bundle }) {
  const check = "work.seed";
  const { sale, delivery } = bundle;
  const { decoding: { seed, seedSource }, seedShare } = delivery;
  if (seedSource === receipts.SEED_OF_REQUEST) {
    require(seedShare === null, check, "a share beside a seed that the request named");
    require(sale === null || isZero(sale.offer.seedCommitment), check, "the offer commits to a share beside the request's seed");
    require(receipts.requestSeed(seed) !== null, check, "the seed is no integer of 64 bits");
    return passed();
  }
  const ofBoth = seedSource === receipts.SEED_OF_BOTH;
  const misplaced = ofBoth ? "a seed of a payment, and nobody paid" : "a seed of the server alone under a payment";
  require(ofBoth === (sale !== null), check, misplaced);
  require(seedShare !== null, check, "the share does not travel");
  const committed = !ofBoth || equal(receipts.seedCommitment(seedShare), sale.offer.seedCommitment);
  require(committed, check, "another share than the offer commits to");
  const nonce = ofBoth ? sale.payment.nonce : ZERO_32;
  require(equal(receipts.seedOf(seedShare, nonce), seed), check, "the share does not give the seed");
  return passed();
}

/** 21. receipt.md §4 (RCPT-9) */
export function privacyChannel({ bundle }) {
  const { channel, startedAt } = bundle.delivery.receipt.work;
  if (channel === receipts.TLS) return notChecked("TLS: only a client that pinned the attested key when it connected knows");
  const { manifest, terms: signed } = bundle.evidence;
  require(!isZero(manifest.kHpke), "privacy.channel", "SEALED by a boot that has no key for it");
  const taken = signed.sealed.some(({ notAfter }) => startedAt <= notAfter);
  require(taken, "privacy.channel", "SEALED under terms that took no form of sealed requests then");
  return passed();
}
