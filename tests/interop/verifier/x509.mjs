// Certificates of an attestation document's chain: reading (attestation.md §1, step 8), and the rules of a chain (steps 8 to 11). Only
// what a genuine chain needs is known: version 3, P-384, ECDSA with SHA-384.
import { createPublicKey, verify } from "node:crypto";
import { equal, hex, toInteger, unsigned } from "./bytes.mjs";
import { contextPrimitive, contextTag, NotDer, readDer, TAG } from "./der.mjs";
import { require } from "./errors.mjs";

const OID = Object.freeze({
  ecdsaWithSha384: "2a8648ce3d040303", ecPublicKey: "2a8648ce3d0201", p384: "2b81040022", basicConstraints: "551d13", keyUsage: "551d0f",
  subjectKeyId: "551d0e", authorityKeyId: "551d23",
});
/**
 * Extensions that narrow what a certificate is good for: name constraints, policy mappings, policy constraints, extended key usage, inhibit
 * anyPolicy. No genuine chain has one, and a reader that passed over one would believe more than was said.
 */
const NARROWING = new Set(["551d1e", "551d21", "551d24", "551d25", "551d36"]);
const DIGITAL_SIGNATURE = 0, KEY_CERT_SIGN = 5;
const MAX_SERIAL_BYTES = 20, MAX_NAME_PARTS = 16, MAX_EXTENSIONS = 16, MAX_PATH_LENGTH = 255n;
export const P384_ORDER = BigInt("0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973");
const POINT_BYTES = 97, SCALAR_BYTES = 48;
const VERSION_3 = 2n;

const oid = (der) => hex(der.contents(TAG.oid)).slice(2);

/** ecdsa-with-SHA384, which has no parameters. */
function readAlgorithm(der) {
  der.inside(TAG.sequence, (inner) => {
    if (oid(inner) !== OID.ecdsaWithSha384) throw new NotDer("another signature algorithm than ecdsa-with-SHA384");
  });
}

/** A name is compared as its bytes: no folding of letters or spaces. */
function readName(der) {
  const { whole, contents } = der.element(TAG.sequence);
  readDer(contents, (parts) => {
    let count = 0;
    for (; !parts.ended; count += 1) parts.inside(TAG.set, (set) => set.inside(TAG.sequence, readNamePart));
    if (count === 0 || MAX_NAME_PARTS < count) throw new NotDer(`a name of ${count} parts`);
  });
  return whole;
}

function readNamePart(der) {
  oid(der);
  if (der.tag !== TAG.utf8String && der.tag !== TAG.printableString) throw new NotDer("a name in another kind of text");
  der.contents(der.tag);
}

/** Unix seconds. RFC 5280 §4.1.2.5: UTCTime up to 2049, GeneralizedTime from 2050 on, both with seconds and in Z. */
function readTime(der) {
  const short = der.tag === TAG.utcTime;
  const text = Buffer.from(der.contents(short ? TAG.utcTime : TAG.generalizedTime)).toString("latin1");
  const match = (short ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(text);
  if (match === null) throw new NotDer("a time in another form");
  const [written, month, day, hour, minute, second] = match.slice(1).map(Number);
  const year = short ? written + (written < 50 ? 2000 : 1900) : written;
  if (year < 1970 || (!short && year < 2050)) throw new NotDer("a time before 1970, or in the long form before 2050");
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  // What does not exist (30 February, hour 24) comes back as another time.
  const back = [date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  if (back.join() !== [month, day, hour, minute, second].join()) throw new NotDer("a time that does not exist");
  return BigInt(date.getTime() / 1000);
}

/** A point of P-384, uncompressed and on the curve. */
function readKey(der) {
  const { whole, contents } = der.element(TAG.sequence);
  readDer(contents, (inner) => {
    inner.inside(TAG.sequence, (algorithm) => {
      if (oid(algorithm) !== OID.ecPublicKey || oid(algorithm) !== OID.p384) throw new NotDer("a key that is not of P-384");
    });
    const point = inner.bitString();
    if (point.length !== POINT_BYTES || point[0] !== 4) throw new NotDer("a point that is not uncompressed");
  });
  try {
    return createPublicKey({ key: Buffer.from(whole), format: "der", type: "spki" });
  } catch {
    throw new NotDer("a point that is not on the curve");
  }
}

/** r ‖ s, each from 1 to below the order. */
function readSignature(bytes) {
  return readDer(bytes, (der) => der.inside(TAG.sequence, (inner) => {
    const [r, s] = [inner.unsigned(), inner.unsigned()];
    if (!isScalar(r) || !isScalar(s)) throw new NotDer("a signature with a number that is none of the group's");
    return Buffer.concat([unsigned(r, SCALAR_BYTES), unsigned(s, SCALAR_BYTES)]);
  }));
}

const isScalar = (value) => 0n < value && value < P384_ORDER;

/** Whether raw r ‖ s has the form of a signature. */
export const isSignature = (bytes) => bytes.length === 2 * SCALAR_BYTES && isScalar(toInteger(bytes.subarray(0, SCALAR_BYTES))) &&
  isScalar(toInteger(bytes.subarray(SCALAR_BYTES)));

/** ECDSA with SHA-384 over P-384; either half of s, since the hardware writes both. */
export const verifyP384 = (key, message, signature) => verify("sha384", message, { key, dsaEncoding: "ieee-p1363" }, signature);

function readExtensions(der) {
  const found = new Map();
  der.inside(contextTag(3), (outer) => outer.inside(TAG.sequence, (list) => {
    while (!list.ended) {
      list.inside(TAG.sequence, (one) => {
        const id = oid(one);
        if (found.has(id)) throw new NotDer("an extension twice");
        found.set(id, { critical: one.optionalTrue(), value: readExtension(id, one.contents(TAG.octetString)) });
      });
      if (MAX_EXTENSIONS < found.size) throw new NotDer("too many extensions");
    }
  }));
  return found;
}

/** The value of an extension that is known here; null of another. */
function readExtension(id, bytes) {
  switch (id) {
    case OID.basicConstraints:
      return readDer(bytes, (der) => der.inside(TAG.sequence, (inner) => {
        const ca = inner.optionalTrue();
        const pathLength = inner.ended ? null : inner.unsigned();
        if (pathLength !== null && MAX_PATH_LENGTH < pathLength) throw new NotDer("a path length of more than a byte");
        return { ca, pathLength };
      }));
    case OID.keyUsage:
      return readDer(bytes, (der) => der.namedBits());
    case OID.subjectKeyId:
      return readDer(bytes, (der) => der.contents(TAG.octetString));
    case OID.authorityKeyId:
      return readDer(bytes, (der) => der.inside(TAG.sequence, (inner) => inner.contents(contextPrimitive(0))));
    default:
      return null;
  }
}

/** Step 8: strict DER. Throws NotDer. */
export function readCertificate(bytes) {
  return readDer(bytes, (der) => der.inside(TAG.sequence, (certificate) => {
    const { whole: signed, contents } = certificate.element(TAG.sequence);
    readAlgorithm(certificate);
    const signature = readSignature(certificate.bitString());
    const fields = readDer(contents, (tbs) => {
      tbs.inside(contextTag(0), (version) => {
        if (version.unsigned() !== VERSION_3) throw new NotDer("another version than 3");
      });
      const serial = tbs.unsigned();
      const sized = serial !== 0n && serial >> BigInt(8 * MAX_SERIAL_BYTES) === 0n;
      if (!sized) throw new NotDer("a serial number of zero or of more than 20 bytes");
      readAlgorithm(tbs);
      const issuer = readName(tbs);
      const [notBefore, notAfter] = tbs.inside(TAG.sequence, (validity) => [readTime(validity), readTime(validity)]);
      const subject = readName(tbs);
      return { issuer, notBefore, notAfter, subject, key: readKey(tbs), extensions: readExtensions(tbs) };
    });
    return { ...fields, signed, signature };
  }));
}

const valueOf = (certificate, id) => certificate.extensions.get(id)?.value ?? null;

/** Step 8: each certificate names the one above as its issuer, by name, and by key identifier where both have one. */
export function checkLinks(chain) {
  chain.slice(1).forEach((certificate, above) => {
    require(equal(certificate.issuer, chain[above].subject), "attest.cert.chain", "an issuer that is not the certificate above");
    const [named, has] = [valueOf(certificate, OID.authorityKeyId), valueOf(chain[above], OID.subjectKeyId)];
    require(named === null || has === null || equal(named, has), "attest.cert.chain", "a key identifier that is not that of the one above");
  });
}

/** Step 9: who may sign certificates, and how many below; nothing critical that is not understood, and nothing that narrows. */
export function checkConstraints(chain) {
  const check = "attest.cert.constraints";
  chain.forEach((certificate, index) => {
    for (const [id, { critical }] of certificate.extensions) {
      const known = id === OID.basicConstraints || id === OID.keyUsage;
      require(!critical || known, check, "a critical extension that is not understood");
      require(!NARROWING.has(id), check, "an extension that narrows what the certificate is good for");
    }
    const constraints = certificate.extensions.get(OID.basicConstraints);
    const isLeaf = index === chain.length - 1;
    require(constraints !== undefined && (isLeaf || constraints.critical), check, "no basic constraints, or an issuer's are not critical");
    const usage = valueOf(certificate, OID.keyUsage);
    require(usage !== null, check, "no key usage");
    const { ca, pathLength } = constraints.value;
    require(ca === !isLeaf, check, isLeaf ? "a leaf that may issue" : "an issuer that may not issue");
    require(usage.has(KEY_CERT_SIGN) === !isLeaf, check, "a key usage that does not fit the place in the chain");
    if (isLeaf) {
      require(usage.has(DIGITAL_SIGNATURE) && pathLength === null, check, "a leaf that may not sign, or with a path length");
    } else {
      const issuersBelow = BigInt(chain.length - 2 - index);
      require(pathLength === null || issuersBelow <= pathLength, check, "more issuers below than the path length allows");
    }
  });
}

/** Step 10, at a time in Unix milliseconds; the first and the last second count. */
export function checkValidity(chain, at) {
  for (const { notBefore, notAfter } of chain) {
    require(notBefore * 1000n <= at && at <= notAfter * 1000n, "attest.cert.validity", "a certificate that is not valid at that time");
  }
}

/** Step 11. The first certificate is believed for its fingerprint, not for its own signature. */
export function checkSignatures(chain) {
  chain.slice(1).forEach((certificate, above) => {
    const signed = verifyP384(chain[above].key, certificate.signed, certificate.signature);
    require(signed, "attest.cert.signature", "a certificate that is not signed by the one above");
  });
}
