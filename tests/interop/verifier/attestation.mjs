// An AWS Nitro attestation document, real or SIMULATED: COSE_Sign1, its fields, its chain, its signature. attestation.md §1, steps 1 to 15.
// What the document is about (user_data) and whether its measurements are welcome are other checks, in checks-evidence.mjs.
import { ascii, concat, equal, hex, isZero } from "./bytes.mjs";
import { NotDer } from "./der.mjs";
import { Refused, require } from "./errors.mjs";
import { HardwareReader, NotThere } from "./hardware-cbor.mjs";
import { sha256 } from "./hashes.mjs";
import { checkConstraints, checkLinks, checkSignatures, checkValidity, isSignature, readCertificate, verifyP384 } from "./x509.mjs";

const MAX_BYTES = 16_384, PCR_BYTES = 48, MAX_PCRS = 32;
const MAX_UNKNOWN_FIELDS = 16, MAX_FIELDS = 9 + MAX_UNKNOWN_FIELDS, MAX_NAME = 64;
const MAX_MODULE_ID = 128, MAX_CERTIFICATE = 1_024, MAX_CHAIN = 8, MAX_PUBLIC_KEY = 1_024, MAX_USER_DATA = 512, MAX_NONCE = 512;
/** A map of one pair: algorithm (1) is ES384 (-35). */
const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);

/** Runs a read; whatever it finds wrong is a refusal under this check. */
function under(check, read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof NotThere || error instanceof NotDer) throw new Refused(check, error.message);
    throw error;
  }
}

/**
 * Verifies a document under roots (SHA-256 fingerprints). `judged` is {at} in Unix milliseconds, or {at: null} for the document's own
 * time, or live {at, maxAge, skew}. Gives the document's time, root, user_data and measurements.
 */
export function verifyDocument(bytes, roots, judged) {
  require(0 < bytes.length && bytes.length <= MAX_BYTES, "attest.size", `a document of ${bytes.length} bytes`); // step 1
  const { payload, signature } = readSign1(bytes); // steps 2 to 4
  const document = readPayload(payload); // steps 5, 6
  const root = sha256(document.cabundle[0]); // step 7
  require(roots.some((known) => equal(known, root)), "attest.root", `the root ${hex(root)} is not in the policy`);
  const encoded = [...document.cabundle, document.certificate];
  const chain = encoded.map((certificate) => under("attest.cert.der", () => readCertificate(certificate))); // step 8
  checkLinks(chain);
  checkConstraints(chain); // step 9
  checkValidity(chain, judgedAt(judged, document.timestamp)); // step 10
  checkSignatures(chain); // step 11
  const leaf = chain[chain.length - 1];
  require(verifyP384(leaf.key, signedBytes(payload), signature), "attest.signature", "the leaf did not sign this document"); // step 12
  if (judged.maxAge !== undefined) checkFreshness(judged, document.timestamp); // step 14
  const measured = [0n, 1n, 2n].map((index) => document.pcrs.get(index));
  const sound = measured.every((pcr) => pcr !== undefined && !isZero(pcr));
  require(sound, "attest.debug", "PCR0 to PCR2 are not all there, or one is zero: an enclave in debug mode"); // step 15
  return { time: document.timestamp, root, userData: document.userData, measurements: concat(...measured) };
}

/** Steps 2 to 4: an array of four, untagged. */
function readSign1(bytes) {
  const r = new HardwareReader(bytes);
  require(under("attest.cose", () => r.array()) === 4n, "attest.cose", "not an array of four");
  const header = under("attest.protected", () => r.bytes());
  require(equal(header, PROTECTED), "attest.protected", "another protected header than ES384");
  require(under("attest.protected", () => r.map()) === 0n, "attest.protected", "the unprotected header is not empty");
  const payload = under("attest.payload", () => r.bytes());
  const signature = under("attest.signature", () => r.bytes());
  require(isSignature(signature), "attest.signature", "not two numbers of the group in 96 bytes");
  require(r.ended, "attest.cose", "bytes after the end");
  return { payload, signature };
}

/** What the leaf signed: COSE's Sig_structure, ["Signature1", protected header, no external data, payload]. */
function signedBytes(payload) {
  return concat(Uint8Array.of(0x84, 0x6a), ascii("Signature1"), byteString(PROTECTED), byteString(new Uint8Array()), byteString(payload));
}

/** A byte string of CBOR, its length in the shortest form; none here is longer than a document. */
function byteString(bytes) {
  const { length } = bytes;
  const head = length < 24 ? [0x40 | length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
  return concat(Uint8Array.from(head), bytes);
}

/** Steps 5 and 6: the payload map. */
function readPayload(payload) {
  const r = new HardwareReader(payload);
  const fields = new Map();
  let unknown = 0;
  under("attest.payload", () => {
    r.eachOfMap(MAX_FIELDS, () => {
      const name = r.text();
      require(Buffer.byteLength(name) <= MAX_NAME, "attest.payload", "a field with too long a name");
      const read = FIELDS[name];
      if (read === undefined) {
        unknown += 1;
        const passedOver = unknown <= MAX_UNKNOWN_FIELDS && !fields.has(name);
        require(passedOver, "attest.fields", "too many unknown fields, or one of them twice");
        r.skip();
      }
      const value = read === undefined ? null : under("attest.fields", () => read(r));
      require(!fields.has(name), "attest.fields", `${name} twice`);
      fields.set(name, value);
    });
  });
  require(r.ended, "attest.payload", "bytes after the payload's end");
  for (const name of REQUIRED) require(fields.has(name), "attest.fields", `no ${name}`);
  return {
    timestamp: fields.get("timestamp"), pcrs: fields.get("pcrs"), certificate: fields.get("certificate"), cabundle: fields.get("cabundle"),
    userData: fields.get("user_data") ?? null,
  };
}

const REQUIRED = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"];

const FIELDS = Object.freeze(Object.assign(Object.create(null), {
  module_id: (r) => sized(r.text(), MAX_MODULE_ID),
  digest: (r) => {
    const digest = r.text();
    if (digest !== "SHA384") throw new NotThere(`the digest is ${JSON.stringify(digest)}`);
    return digest;
  },
  timestamp: (r) => {
    const at = r.uint();
    if (at === 0n) throw new NotThere("the timestamp is zero");
    return at;
  },
  pcrs: readPcrs,
  certificate: (r) => sized(r.bytes(), MAX_CERTIFICATE),
  cabundle: (r) => {
    const chain = [];
    r.eachOfArray(MAX_CHAIN, () => chain.push(sized(r.bytes(), MAX_CERTIFICATE)));
    return sized(chain, MAX_CHAIN);
  },
  public_key: (r) => optionalBytes(r, 1, MAX_PUBLIC_KEY),
  user_data: (r) => optionalBytes(r, 0, MAX_USER_DATA),
  nonce: (r) => optionalBytes(r, 0, MAX_NONCE),
}));

function sized(value, atMost) {
  const length = typeof value === "string" ? Buffer.byteLength(value) : value.length;
  if (length === 0 || atMost < length) throw new NotThere(`a length of ${length}, at least 1 and at most ${atMost}`);
  return value;
}

/** A field that is null is as good as one that is not there. */
function optionalBytes(r, atLeast, atMost) {
  if (r.null()) return null;
  const bytes = r.bytes();
  const { length } = bytes;
  if (length < atLeast || atMost < length) throw new NotThere(`a length of ${length}, at least ${atLeast} and at most ${atMost}`);
  return bytes;
}

function readPcrs(r) {
  const pcrs = new Map();
  under("attest.pcrs", () => r.eachOfMap(MAX_PCRS, () => {
    const index = r.uint();
    require(index < BigInt(MAX_PCRS) && !pcrs.has(index), "attest.pcrs", `PCR ${index} is beyond 31, or twice`);
    const value = r.bytes();
    require(value.length === PCR_BYTES, "attest.pcrs", `a PCR of ${value.length} bytes`);
    pcrs.set(index, value);
  }));
  require(0 < pcrs.size, "attest.fields", "no PCR");
  return pcrs;
}

/**
 * Step 10, its time: the document's own where nothing else is given. Live it is now, and, while the document is ahead by no more than the
 * skew, its own.
 */
function judgedAt(judged, documentTime) {
  if (judged.at === null) return documentTime;
  const ahead = judged.at < documentTime;
  return ahead && judged.skew !== undefined && documentTime - judged.at <= judged.skew ? documentTime : judged.at;
}

/** Step 14, live only. */
function checkFreshness({ at, maxAge, skew }, documentTime) {
  require(at - documentTime <= maxAge, "attest.freshness", "the document is too old");
  require(documentTime - at <= skew, "attest.freshness", "the document is from the future");
}
