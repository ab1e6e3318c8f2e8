// What verifier/ makes of one case of a flat vector file (the vectors' README says what the keys are). A judge gives null if the case is
// right in every key, "parse" if its bytes are not readable, or the id of the check that refuses. `keys` must all be there, so that no
// case passes by lacking one.
import { concat, equal, fromHex, hex, utf8 } from "./verifier/bytes.mjs";
import { readAll } from "./verifier/cbor.mjs";
import { candorDigest, contractDomain, digestOf, encodeFields, hashStruct } from "./verifier/eip712.mjs";
import { Malformed } from "./verifier/errors.mjs";
import { attestedBytes, freshnessTag, listedId, workloadId, workloadOf } from "./verifier/evidence.mjs";
import { keccak256, sha256, TAG } from "./verifier/hashes.mjs";
import * as log from "./verifier/log.mjs";
import { keysHash, logId, manifestHash, readManifest } from "./verifier/manifest.mjs";
import { consistent, includes, leafHash } from "./verifier/merkle.mjs";
import * as payments from "./verifier/payment.mjs";
import * as prices from "./verifier/price-list.mjs";
import * as receipts from "./verifier/receipt.mjs";
import { recover } from "./verifier/signatures.mjs";
import * as terms from "./verifier/terms.mjs";
import * as transcript from "./verifier/transcript.mjs";
import { addressWord, word } from "./verifier/words.mjs";

/** Whether these bytes are what the case says; a key that a reject leaves out says nothing. */
const says = (expected, bytes) => expected === undefined || expected === hex(bytes);
const all = (...conditions) => conditions.every((condition) => condition === true);
const unless = (right, check) => (right === true ? null : check);

/** Whether the key of this address signed. */
function signedBy(address, digest, signature) {
  const signer = recover(digest, fromHex(signature));
  return signer !== null && hex(signer) === address;
}

/** The struct of a case, in whose keys bytes are hex and numbers are as JSON has them. */
const struct = (c, bytesOf, numbersOf) => Object.fromEntries([
  ...bytesOf.map((name) => [name, fromHex(c[name])]), ...numbersOf.map((name) => [name, BigInt(c[name])]),
]);

/** Whether the verifierData of a case is its verdict and signatures of as many members as must sign, by ascending address. */
function isSaidByQuorum(c) {
  const words = struct(c, ["innerRoot", "innerMeasurements", "attestedHash"], ["innerKind", "documentTime"]);
  const verdict = { ...words, evidenceHash: keccak256(fromHex(c.evidence)) };
  const contract = { name: "Candor Attestor", version: "2", chainId: BigInt(c.chainId), verifyingContract: fromHex(c.verifier) };
  const digest = digestOf(contractDomain(contract), hashStruct("Verdict", verdict));
  const data = fromHex(c.verifierData), encoded = encodeFields("Verdict", verdict);
  const count = (data.length - encoded.length) / 65;
  const signatures = Array.from({ length: count }, (_, at) => data.subarray(encoded.length + 65 * at, encoded.length + 65 * (at + 1)));
  const signers = signatures.map((signature) => hex(recover(digest, signature)));
  const ascending = signers.every((signer, at) => c.members.includes(signer) && (at === 0 || signers[at - 1] < signer));
  return all(says(c.digest, digest), equal(data.subarray(0, encoded.length), encoded), c.threshold <= count, ascending);
}

const FILES = {
  receipt: {
    keys: ["encoded", "moneyHash", "workHash", "digest", "signature", "signer"],
    judge(c) {
      const receipt = receipts.readReceipt(fromHex(c.encoded));
      const digest = receipts.receiptDigest(receipt);
      const halves = all(says(c.moneyHash, receipts.moneyHash(receipt)), says(c.workHash, receipts.workHash(receipt)));
      const hashes = all(halves, says(c.digest, digest));
      return unless(hashes && signedBy(c.signer, digest, c.signature), "receipt.signature");
    },
  },
  offer: {
    keys: ["encoded", "digest"],
    judge: (c) => unless(says(c.digest, payments.offerDigest(payments.readOffer(fromHex(c.encoded)))), "offer.signature"),
  },
  checkpoint: {
    keys: ["logId", "size", "root", "timestamp", "digest", "signature", "signer"],
    judge(c) {
      const checkpoint = struct(c, ["logId", "root"], ["size", "timestamp"]);
      const signed = log.signedByEnclave(fromHex(c.signer), checkpoint, fromHex(c.signature));
      return unless(signed && says(c.digest, log.checkpointDigest(checkpoint)), "log.checkpoint");
    },
  },
  terms: {
    keys: ["words", "digest", "signature", "operator", "contractsHash", "modelSetRoot", "priceTableHash", "cbor"],
    judge(c) {
      const signed = terms.readTerms(fromHex(c.cbor));
      const digest = terms.termsDigest(signed);
      if (!signedBy(hex(signed.operator), digest, hex(signed.signature))) return "evidence.operator";
      if (terms.inconsistency(signed) !== null) return "evidence.manifest";
      return unless(all(
        says(c.words, terms.termsWords(signed)), says(c.digest, digest), says(c.operator, signed.operator),
        says(c.signature, signed.signature), says(c.contractsHash, terms.contractsHash(signed)),
        says(c.modelSetRoot, terms.modelSetRoot(signed)), says(c.priceTableHash, terms.priceTableHash(signed)),
      ), "evidence.terms");
    },
  },
  registration: {
    keys: ["kSig", "manifestHash", "verifier", "workloadId", "termsDataHash", "registry", "chainId", "deadline", "digest", "signature",
      "registrar"],
    judge(c) {
      const names = ["kSig", "manifestHash", "verifier", "workloadId", "termsDataHash", "registry"];
      const digest = candorDigest("Registration", struct(c, names, ["chainId", "deadline"]));
      return unless(says(c.digest, digest) && signedBy(c.registrar, digest, c.signature), "WrongRegistrar");
    },
  },
  boot: {
    keys: ["manifestHash", "kSig", "digest", "signature"],
    judge(c) {
      const digest = candorDigest("Boot", struct(c, ["manifestHash"], []));
      return unless(says(c.digest, digest) && signedBy(c.kSig, digest, c.signature), "WrongBootSigner");
    },
  },
  manifest: {
    keys: ["encoded", "hash", "logId"],
    judge(c) {
      const encoded = fromHex(c.encoded);
      const manifest = readManifest(encoded);
      return unless(all(says(c.hash, manifestHash(encoded)), says(c.logId, logId(manifest))), "evidence.binding");
    },
  },
  freshness: {
    keys: ["chainId", "blockNumber", "blockHash", "nonce", "tag", "kSig", "manifestHash", "attested"],
    judge(c) {
      const tag = freshnessTag(struct(c, ["blockHash", "nonce"], ["chainId", "blockNumber"]));
      const attested = attestedBytes(fromHex(c.kSig), fromHex(c.manifestHash), tag);
      return unless(all(says(c.tag, tag), says(c.attested, attested)), "evidence.binding");
    },
  },
  workload: {
    keys: ["kind", "rootFingerprint", "measurements", "workloadId", "verifier", "verifierCodehash", "listedId"],
    judge(c) {
      const workload = workloadId(c.kind, fromHex(c.rootFingerprint), fromHex(c.measurements));
      const listed = listedId(fromHex(c.verifier), fromHex(c.verifierCodehash), workload);
      return unless(all(says(c.workloadId, workload), says(c.listedId, listed)), "policy.workload");
    },
  },
  verdict: {
    keys: ["chainId", "verifier", "threshold", "members", "evidence", "innerKind", "innerRoot", "innerMeasurements", "attestedHash",
      "documentTime", "digest", "verifierData", "quorumRoot", "workloadId"],
    judge(c) {
      const inner = workloadOf(c.innerKind, fromHex(c.innerRoot), fromHex(c.innerMeasurements));
      const members = c.members.map((member) => addressWord(fromHex(member)));
      // abi.encode(uint256, address[]): the list lies behind the two words of the head.
      const root = keccak256(word(c.threshold), word(64), word(members.length), concat(...members));
      const named = all(says(c.quorumRoot, root), says(c.workloadId, workloadOf(0x51, root, inner)));
      return unless(named && isSaidByQuorum(c), "policy.workload");
    },
  },
  "further-keys": {
    keys: ["keys", "keysHash"],
    judge(c) {
      const keys = c.keys.map((key) => ({ purpose: BigInt(key.purpose), algorithm: BigInt(key.algorithm), bytes: fromHex(key.bytes) }));
      return unless(says(c.keysHash, keysHash(keys)), "evidence.manifest");
    },
  },
  "key-end": {
    keys: ["act", "kSig", "registry", "chainId", "digest", "signature", "operator"],
    judge(c) {
      const type = { retire: "Retire", revoke: "Revoke" }[c.act];
      const digest = candorDigest(type, struct(c, ["kSig", "registry"], ["chainId"]));
      return unless(says(c.digest, digest) && signedBy(c.operator, digest, c.signature), "signature");
    },
  },
  "price-list": {
    keys: ["terms", "cbor", "number", "from", "until", "pricesHash", "digest", "registrar"],
    judge(c) {
      const list = prices.readPriceList(fromHex(c.cbor));
      const signed = terms.readTerms(fromHex(c.terms));
      const numbers = all(BigInt(c.number) === list.number, BigInt(c.from) === list.from, BigInt(c.until) === list.until);
      const hashes = all(says(c.pricesHash, prices.pricesHash(list)), says(c.digest, prices.priceListDigest(list)));
      const problem = prices.priceListProblem(list, signed, terms.termsDigest(signed));
      return unless(all(numbers, hashes, says(c.registrar, signed.registrar), problem === null), "offer.price");
    },
  },
  source: {
    keys: ["cbor", "sourceHash"],
    judge: (c) => unless(says(c.sourceHash, receipts.sourceHash(readAll(fromHex(c.cbor), receipts.readSource))), "work.claim"),
  },
  refusal: {
    keys: ["encoded", "code", "codeHash", "digest", "signature", "signer"],
    judge(c) {
      const refusal = payments.readRefusal(fromHex(c.encoded));
      const digest = payments.refusalDigest(refusal);
      const code = equal(keccak256(utf8(c.code)), refusal.codeHash) && says(c.codeHash, refusal.codeHash);
      return unless(code && says(c.digest, digest) && signedBy(c.signer, digest, c.signature), "refusal.signature");
    },
  },
  "channel-authorization": {
    keys: ["chainId", "authorizer", "signed", "digest", "signature", "signer"],
    judge(c) {
      const digest = candorDigest("ChannelAuthorization", { ...struct(c, ["authorizer"], ["chainId"]), digest: fromHex(c.signed) });
      return unless(says(c.digest, digest) && signedBy(c.signer, digest, c.signature), "signature");
    },
  },
  payment: {
    keys: ["tokenName", "tokenVersion", "chainId", "asset", "keeper", "scheme", "contracts", "from", "to", "value", "validAfter", "validBefore", "nonce",
      "offerDigest", "clientSalt", "digest", "signature", "paymentId"],
    judge(c) {
      const payment = {
        scheme: BigInt(c.scheme), contracts: c.contracts.map((one) => fromHex(one)), ...struct(c, ["from", "to", "nonce"], ["value", "validAfter", "validBefore"]),
      };
      const asset = { name: c.tokenName, version: c.tokenVersion, ...struct(c, ["asset"], ["chainId"]) };
      if (!says(c.keeper, payments.keeperOf(payment.scheme, asset.asset))) return "receipt.payment";
      const digest = payments.authorizationDigest(payment, asset);
      if (!(says(c.digest, digest) && signedBy(c.from, digest, c.signature))) return "payment.signature";
      const bound = c.clientSalt === null || says(c.nonce, payments.bindingNonce(fromHex(c.offerDigest), fromHex(c.clientSalt)));
      if (!bound) return "payment.binding";
      return unless(says(c.paymentId, payments.paymentId(asset.chainId, asset.asset, payment)), "receipt.payment");
    },
  },
  settler: {
    keys: ["factory", "kSig", "creationCode", "settler"],
    judge(c) {
      const [factory, kSig] = [fromHex(c.factory), fromHex(c.kSig)];
      return unless(says(c.creationCode, payments.settlerCode(factory, kSig)) && says(c.settler, payments.settlerOf(factory, kSig)), "offer.terms");
    },
  },
  "payment-id": {
    keys: ["kind", "anchorChainId", "logId", "sequence", "paymentId"],
    judge(c) {
      const tag = { none: TAG.paymentNone, unsettled: TAG.paymentUnsettled }[c.kind];
      return unless(says(c.paymentId, receipts.unpaidId(tag, c.anchorChainId, fromHex(c.logId), c.sequence)), "receipt.payment");
    },
  },
  price: {
    keys: ["input", "output", "request", "promptTokens", "completionTokens", "amount"],
    judge(c) {
      const classes = struct(c, [], ["input", "output", "request"]);
      const amount = prices.amountOf(classes, BigInt(c.promptTokens), BigInt(c.completionTokens));
      return unless((amount === null ? null : String(amount)) === c.amount, "offer.price");
    },
  },
  decoding: {
    keys: ["engine", "seed", "seedSource", "temperatureE6", "topPE6", "topK", "maxTokens", "stops", "stopHash", "decodingHash"],
    judge(c) {
      const stopHash = receipts.stopHash(c.stops.map(utf8));
      const numbers = ["seedSource", "temperatureE6", "topPE6", "topK", "maxTokens"];
      const decoding = { ...struct(c, ["seed"], numbers), engine: c.engine, stopHash };
      return unless(all(says(c.stopHash, stopHash), says(c.decodingHash, receipts.decodingHash(decoding))), "work.decoding");
    },
  },
  seed: {
    keys: ["seed"],
    judge(c) {
      if (c.requestSeed !== undefined) return unless(String(receipts.requestSeed(fromHex(c.seed))) === c.requestSeed, "work.seed");
      const [share, nonce] = [fromHex(c.share), fromHex(c.nonce)];
      return unless(all(c.commitment === hex(receipts.seedCommitment(share)), c.seed === hex(receipts.seedOf(share, nonce))), "work.seed");
    },
  },
  "receipt-id": {
    keys: ["leafSalt", "receiptId"],
    judge: (c) => unless(says(c.receiptId, receipts.receiptId(fromHex(c.leafSalt))), "receipt.id"),
  },
  request: {
    keys: ["bootSecret", "bucket", "method", "path", "body", "salt", "commitment"],
    judge(c) {
      const parts = [c.method, c.path, fromHex(c.body)];
      const salt = transcript.requestSalt(fromHex(c.bootSecret), c.bucket, ...parts);
      const commitment = transcript.requestCommitment(fromHex(c.salt), ...parts);
      return unless(all(says(c.salt, salt), says(c.commitment, commitment)), "request.commitment");
    },
  },
  question: {
    keys: ["method", "path", "body", "questionHash", "answer", "answerHash"],
    judge(c) {
      const question = transcript.questionHash(c.method, c.path, fromHex(c.body));
      return says(c.questionHash, question) ? unless(says(c.answerHash, transcript.answerHash(c.answer)), "answer") : "question";
    },
  },
  response: {
    keys: ["seed", "frames", "leafHashes", "commitment"],
    judge(c) {
      const [seed, frames] = [fromHex(c.seed), c.frames.map((frame) => fromHex(frame))];
      const leaves = frames.map((frame, index) => hex(transcript.frameLeaf(seed, index, frame)));
      const right = leaves.join() === c.leafHashes.join() && says(c.commitment, transcript.responseCommitment(seed, frames));
      return unless(right, "response.commitment");
    },
  },
  splice: {
    keys: ["frame", "member", "spliced"],
    judge(c) {
      const { frame, member } = transcript.unsplice(c.spliced);
      return unless(frame === c.frame && member === c.member, "response.commitment");
    },
  },
  leaf: {
    keys: ["logSalt", "receiptDigest", "signature", "leafData", "leafHash"],
    judge(c) {
      const data = log.leafData(fromHex(c.logSalt), fromHex(c.receiptDigest), fromHex(c.signature));
      return unless(all(says(c.leafData, data), says(c.leafHash, leafHash(data))), "log.inclusion");
    },
  },
  inclusion: {
    keys: ["leafHash", "index", "size", "root", "proof", "valid"],
    judge(c) {
      const path = c.proof.map((hash) => fromHex(hash));
      const held = includes(fromHex(c.leafHash), BigInt(c.index), BigInt(c.size), path, fromHex(c.root));
      return unless(held === (c.valid ?? true), "log.inclusion");
    },
  },
  consistency: {
    keys: ["first", "firstRoot", "second", "secondRoot", "proof", "valid"],
    judge(c) {
      const path = c.proof.map((hash) => fromHex(hash));
      const held = consistent(BigInt(c.first), fromHex(c.firstRoot), BigInt(c.second), fromHex(c.secondRoot), path);
      return unless(held === (c.valid ?? true), "log.consistency");
    },
  },
  note: {
    keys: ["logId", "kLog", "size", "root", "body", "signature", "note", "witness", "time", "cosigned", "cosignature"],
    judge(c) {
      const [id, kLog] = [fromHex(c.logId), fromHex(c.kLog)];
      let note;
      try {
        note = log.readNote(c.note, id, kLog);
      } catch (error) {
        if (error instanceof Malformed) return "log.checkpoint"; // the file's reader is the check here
        throw error;
      }
      if (note.size !== BigInt(c.size) || hex(note.root) !== c.root) return "log.checkpoint";
      const body = log.noteBody(id, note.size, note.root);
      if (!equal(body, utf8(c.body)) || !equal(log.cosignedBody(c.time, body), utf8(c.cosigned))) return "log.checkpoint";
      if (!log.signedByLogKey(kLog, id, note.size, note.root, fromHex(c.signature))) return "log.checkpoint";
      return unless(log.verifyCosignature(fromHex(c.witness), c.time, body, fromHex(c.cosignature)), "log.witnesses");
    },
  },
  "domain-tags": {
    keys: ["tag", "sha256", "keccak256"],
    judge(c) {
      const tag = fromHex(c.tag);
      return unless(all(says(c.sha256, sha256(tag)), says(c.keccak256, keccak256(tag))), "tag");
    },
  },
};

/** Files of which the verifier has no part: amounts as text, and the kept answer of who lost the connection. */
export const NOT_JUDGED = ["amount", "recovery"];

/** name → {keys, judge}; the judge turns what a reader throws into "parse". */
export const FLAT = new Map(Object.entries(FILES).map(([name, { keys, judge }]) => [name, {
  keys,
  judge(c) {
    try {
      return judge(c);
    } catch (error) {
      if (error instanceof Malformed) return "parse";
      throw error;
    }
  },
}]));
