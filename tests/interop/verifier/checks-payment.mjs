// Steps 22 to 30 of bundle.md §4: offer, payment, and what the receipt says of the money. One function per step, in order.
// Where nobody paid there is no sale: the checks of offer and payment are not asked, and the receipt's own words are judged by RCPT-12.
import { equal, isZero } from "./bytes.mjs";
import { Refused, require } from "./errors.mjs";
import { TAG } from "./hashes.mjs";
import { notAsked, notChecked, passed } from "./outcome.mjs";
import * as payments from "./payment.mjs";
import { amountOf, priceListDigest, priceListProblem } from "./price-list.mjs";
import { OUTCOME_REFUSED_BY_GUARD, SCHEME_EXACT, SCHEME_NONE, SCHEME_UPTO, unpaidId } from "./receipt.mjs";
import { recover } from "./signatures.mjs";
import { CLASSES, findAsset, findPrice, WAY_ANYBODY, WAY_KEY, WAY_PAY } from "./terms.mjs";
import { seconds } from "./time-rule.mjs";

const NOBODY_PAID = "nobody paid";

/** 22. payment.md §3 (PAY-4) */
export function offerSignature({ bundle, found }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  found.offerDigest = payments.offerDigest(bundle.sale.offer);
  const signer = recover(found.offerDigest, bundle.sale.offerSignature);
  const attested = signer !== null && equal(signer, bundle.evidence.manifest.kSig);
  require(attested, "offer.signature", "the offer is not signed by the attested key");
  return passed();
}

/** 23. payment.md §3 (PAY-5) */
export function offerTerms({ bundle }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  const check = "offer.terms";
  const { offer } = bundle.sale;
  const { manifest, terms } = bundle.evidence;
  const { receipt, decoding } = bundle.delivery;
  require(equal(offer.manifestHash, manifest.hash), check, "the offer is of another boot");
  require(equal(offer.requestCommitment, receipt.work.requestCommitment), check, "the offer is for another request");
  require(equal(offer.modelId, receipt.work.modelId), check, "the offer is for another model");
  require(offer.maxTokens === decoding.maxTokens, check, "the offer is for another number of tokens than the decoding record");
  require(equal(offer.payee, manifest.payee), check, "the offer is to another payee");
  const settler = settlerFor(offer, bundle.evidence);
  require(settler !== null && equal(offer.settler, settler), check, "the offer is by a scheme that the terms do not offer, or with another settler");
  require((terms.access.ways & WAY_PAY) !== 0n, check, "an offer under terms by which nobody may pay");
  return passed();
}

/** PAY-5, PAY-11: who alone may submit: nobody in particular under `exact`, the settler of the key under `upto`; null for any other scheme. */
function settlerFor({ scheme, chainId }, { manifest, terms }) {
  if (scheme === SCHEME_EXACT) return new Uint8Array(20);
  const chain = terms.chains.find((entry) => entry.chainId === chainId);
  const offers = chain !== undefined && equal(chain.settlerFactory, payments.SETTLER_FACTORY) && equal(chain.uptoProxy, payments.UPTO_PROXY);
  return scheme === SCHEME_UPTO && offers ? payments.settlerOf(chain.settlerFactory, manifest.kSig) : null;
}

/** 24. payment.md §3 (PAY-6, PAY-9) */
export function offerPrice({ bundle, found }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  const check = "offer.price";
  const { offer, priceList } = bundle.sale;
  const { terms } = bundle.evidence;
  require(offer.amount !== 0n, check, "an offer for nothing");
  const price = findPrice(terms, offer.modelId, offer.chainId, offer.asset);
  require(price !== undefined, check, "the terms have no price for this model in this asset");
  const amount = (classes) => amountOf(classes, offer.promptTokens, offer.maxTokens);
  if (isZero(offer.priceListHash)) {
    require(offer.priceListNumber === 0n && priceList === null, check, "a price list, or its number, that the offer does not name");
    require(offer.amount === amount(price.ceiling), check, "another amount than the ceiling gives");
    return passed();
  }
  if (priceList === null) return unshownListPrice(offer, amount(price.floor), amount(price.ceiling), check);
  const named = equal(priceListDigest(priceList), offer.priceListHash) && priceList.number === offer.priceListNumber;
  require(named, check, "the price list is not the one that the offer names");
  const problem = priceListProblem(priceList, terms, found.termsHash);
  if (problem !== null) throw new Refused(check, problem);
  require(priceList.from <= bundle.delivery.receipt.work.startedAt, check, "the price list was not in force yet");
  require(offer.validUntil <= priceList.until, check, "the offer outlives its price list");
  const listed = findPrice({ prices: priceList.prices }, offer.modelId, offer.chainId, offer.asset);
  require(offer.amount === amount(listed.classes), check, "another amount than the price list gives");
  return passed();
}

/** The price of a list that does not travel is bounded by the terms and not known. */
function unshownListPrice(offer, least, most, check) {
  require(offer.priceListNumber !== 0n, check, "a price list without a number");
  require(most !== null && offer.amount <= most, check, "above the ceiling");
  require(least !== null && least <= offer.amount, check, "below the floor");
  return notChecked("the price list does not travel: not above the ceiling");
}

/** 25. payment.md §2 (PAY-2) */
export function paymentSignature({ bundle }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  const { offer, payment } = bundle.sale;
  const asset = findAsset(bundle.evidence.terms, offer.chainId, offer.asset);
  require(asset !== undefined, "payment.signature", "the terms do not list this asset");
  const signer = recover(payments.authorizationDigest(payment, asset), payment.signature);
  require(signer !== null && equal(signer, payment.from), "payment.signature", "the authorization is not signed by its payer");
  return passed();
}

/** 26. payment.md §2 (PAY-3) */
export function paymentTerms({ bundle }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  const check = "payment.terms";
  const { offer, payment } = bundle.sale;
  const { startedAt, finishedAt } = bundle.delivery.receipt.work;
  require(payment.scheme === offer.scheme, check, "a payment by another scheme than offered");
  if (payment.scheme === SCHEME_UPTO) {
    const [spender, facilitator] = payment.contracts;
    const chain = bundle.evidence.terms.chains.find((entry) => entry.chainId === offer.chainId);
    require(equal(spender, chain.uptoProxy) && equal(facilitator, offer.settler), check, "a permit through another proxy, or for another settler");
  }
  require(equal(payment.to, offer.payee), check, "a payment to another payee");
  require(payment.value === offer.amount, check, "another amount than offered");
  require(payment.validAfter <= seconds(startedAt), check, "a payment that was not valid yet");
  require(seconds(finishedAt) < payment.validBefore, check, "a payment that had expired");
  const longest = seconds(startedAt) + payments.LONGEST_OPEN_S + payments.CLOCK_SKEW_S;
  require(payment.validBefore <= longest, check, "a payment that is open for too long");
  return passed();
}

/** 27. payment.md §4 (PAY-7) */
export function paymentBinding({ bundle, policy, found }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  const { nonce, clientSalt } = bundle.sale.payment;
  if (clientSalt === null) {
    require(!policy.require_offer_binding, "payment.binding", "the nonce commits to no offer, and the policy asks for it");
    return notChecked("equal price only");
  }
  require(equal(nonce, payments.bindingNonce(found.offerDigest, clientSalt)), "payment.binding", "the nonce commits to another offer");
  return passed("offer");
}

/** 28. receipt.md §3 (RCPT-4; where nobody paid the words of RCPT-12) */
export function receiptPayment({ bundle, found }) {
  const check = "receipt.payment";
  const { receipt } = bundle.delivery;
  const { money } = receipt;
  if (bundle.sale === null) {
    checkUnpaidMoney(receipt, bundle.evidence.manifest, check);
    return passed();
  }
  const { offer, payment } = bundle.sale;
  require(money.scheme === payment.scheme, check, "the receipt is by another scheme");
  require(equal(money.offerDigest, found.offerDigest), check, "the receipt is for another offer");
  require(equal(money.settler, offer.settler), check, "the receipt is by another settler");
  require(equal(money.payer, payment.from), check, "the receipt is for another payer");
  require(equal(money.asset, offer.asset) && money.chainId === offer.chainId, check, "the receipt is in another asset or on another chain");
  const { anchorChainId } = bundle.evidence.manifest;
  const id = money.charged === 0n
    ? unpaidId(TAG.paymentUnsettled, anchorChainId, receipt.logId, receipt.sequence)
    : payments.paymentId(offer.chainId, offer.asset, payment);
  require(equal(money.paymentId, id), check, "the receipt is for another payment");
  return passed();
}

function checkUnpaidMoney({ logId, sequence, money }, manifest, check) {
  require(money.scheme === SCHEME_NONE, check, "a scheme, and nobody paid");
  require(equal(money.paymentId, unpaidId(TAG.paymentNone, manifest.anchorChainId, logId, sequence)), check, "another payment id");
  require(equal(money.payee, manifest.payee) && money.chainId === manifest.anchorChainId, check, "another payee or chain than the boot's");
  const words = [money.payer, money.asset, money.settler, money.offerDigest];
  const amounts = [money.maxAmount, money.charged, money.cumulativeBefore, money.cumulativeAfter];
  require(words.every(isZero) && amounts.every((amount) => amount === 0n), check, "money, and nobody paid");
}

/** 29. receipt.md §3 (RCPT-5; where nobody paid, that the terms give the work away, or a guard refused it, RCPT-12) */
export function receiptCharge({ bundle }) {
  const check = "receipt.charge";
  const { money, work } = bundle.delivery.receipt;
  const { manifest, terms } = bundle.evidence;
  const byGuard = work.outcome === OUTCOME_REFUSED_BY_GUARD;
  if (bundle.sale === null) {
    if (byGuard) return passed("a guard refused it");
    if ((terms.access.ways & (WAY_ANYBODY | WAY_KEY)) !== 0n) return passed("the terms give it away");
    const free = terms.prices.some((price) => equal(price.model, work.modelId) && CLASSES.every((name) => price.floor[name] === 0n));
    require(free, check, "the terms do not give this work away");
    return passed("a price list may say so, and is not shown");
  }
  const { value } = bundle.sale.payment;
  require(!byGuard, check, "charged for what a guard refused");
  require(money.maxAmount === value, check, "another maximum than was signed");
  require(equal(money.payee, manifest.payee), check, "charged to another payee");
  require(money.cumulativeBefore === 0n && money.cumulativeAfter === 0n, check, "fields of a channel");
  return chargedAsMetered(bundle, value, check);
}

/** RCPT-5: `exact` charges all that was signed; `upto` what the receipt meters by the prices of the offer, and never more than was signed. */
function chargedAsMetered({ sale: { offer, priceList }, evidence: { terms }, delivery: { receipt: { money, work } } }, value, check) {
  if (money.scheme === SCHEME_EXACT) {
    require(money.charged === value, check, "another amount than was signed");
    return passed();
  }
  const of = [offer.modelId, offer.chainId, offer.asset];
  if (!isZero(offer.priceListHash) && priceList === null) {
    require(money.charged <= value, check, "more than was signed");
    return notChecked("the price list is not shown");
  }
  const classes = isZero(offer.priceListHash) ? findPrice(terms, ...of).ceiling : findPrice({ prices: priceList.prices }, ...of).classes;
  const metered = amountOf(classes, work.promptTokens, work.completionTokens);
  require(metered !== null && money.charged === (metered < value ? metered : value), check, "another amount than is metered");
  return passed();
}

/** 30. payment.md §6 (PAY-8) */
export function paymentTransfer({ bundle, facts }) {
  if (bundle.sale === null) return notAsked(NOBODY_PAID);
  if (bundle.delivery.receipt.money.charged === 0n) return notAsked("nothing was charged");
  if (facts.transfer === null) return notChecked("no chain was asked");
  if (facts.transfer === "not_yet") return notChecked("the nonce is unused: nothing was charged so far");
  require(facts.transfer === "seen", "payment.transfer", "the nonce was cancelled, or used for something else");
  return passed();
}
