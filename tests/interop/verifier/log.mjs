// Leaves, checkpoints, notes and cosignatures of a log. log.md §2 and §3; c2sp.org/signed-note, /tlog-checkpoint and /tlog-cosignature.
// Whether a log's published files are sound (log.md §6) is not judged here.
import { ascii, concat, equal, hex, toInteger, utf8 } from "./bytes.mjs";
import { candorDigest } from "./eip712.mjs";
import { Malformed } from "./errors.mjs";
import { sha256, TAG } from "./hashes.mjs";
import { recover, verifyEd25519 } from "./signatures.mjs";

const ED25519_KEY = Uint8Array.of(1), OTHER_KEY = Uint8Array.of(0xff), NEW_LINE = Uint8Array.of(10);
const KEY_ID_BYTES = 4, TIMESTAMP_BYTES = 8;
const MAX_NOTE_BYTES = 16_384;

/** LOG-2 */
export const leafData = (salt, receiptDigest, signature) => sha256(TAG.leaf, salt, receiptDigest, signature);

/** LOG-4: what K_sig signs of a tree. */
export const checkpointDigest = (checkpoint) => candorDigest("Checkpoint", checkpoint);

const origin = (logId) => `candor/log/${hex(logId).slice(2)}`;
const base64 = (bytes) => Buffer.from(bytes).toString("base64");

/** LOG-3: the text that K_log signs. */
export const noteBody = (logId, size, root) => utf8(`${origin(logId)}\n${size}\n${base64(root)}\n`);

/** What a witness signs of the same text, with the time in Unix seconds. */
export const cosignedBody = (time, body) => concat(utf8(`cosignature/v1\ntime ${time}\n`), body);

export const signedByLogKey = (kLog, logId, size, root, signature) => verifyEd25519(kLog, noteBody(logId, size, root), signature);

/** Whether K_sig signed this tree as a Checkpoint, with low s. */
export function signedByEnclave(kSig, checkpoint, signature) {
  const signer = recover(checkpointDigest(checkpoint), signature);
  return signer !== null && equal(signer, kSig);
}

/**
 * A published `checkpoint` file of this log, signed by K_log (LOG-3): its size and root, and the lines in the log's name. Lines in other
 * names are skipped.
 */
export function readNote(text, logId, kLog) {
  if (MAX_NOTE_BYTES < Buffer.byteLength(text)) throw new Malformed("a checkpoint of more than 16 KiB");
  const [body, signatures, ...more] = text.split("\n\n");
  if (signatures === undefined || 0 < more.length || !signatures.endsWith("\n")) throw new Malformed("no empty line before the signatures");
  const lines = body.split("\n");
  if (lines.length !== 3 || lines[0] !== origin(logId)) throw new Malformed("not three lines of this log");
  if (!/^(0|[1-9][0-9]{0,19})$/.test(lines[1])) throw new Malformed("the size is not in its shortest form");
  const root = Uint8Array.from(Buffer.from(lines[2], "base64"));
  if (root.length !== 32 || base64(root) !== lines[2]) throw new Malformed("the root is not 32 bytes in base64");
  const own = signatures.slice(0, -1).split("\n").map((line) => signatureOf(line, lines[0])).filter((signature) => signature !== null);
  const signature = theLineOf(own, keyId(lines[0], ED25519_KEY, kLog));
  if (!verifyEd25519(kLog, utf8(body + "\n"), signature)) throw new Malformed("K_log did not sign this text");
  return { size: BigInt(lines[1]), root, own };
}

/** The same file with the line by K_sig, which signs the tree as a Checkpoint with its time (LOG-4, LOG-5). */
export function readCheckpointFile(text, logId, kLog, kSig) {
  const { size, root, own } = readNote(text, logId, kLog);
  const line = theLineOf(own, keyId(origin(logId), OTHER_KEY, TAG.checkpointKey, kSig));
  const [timestamp, signature] = [toInteger(line.subarray(0, TIMESTAMP_BYTES)), line.subarray(TIMESTAMP_BYTES)];
  if (!signedByEnclave(kSig, { logId, size, root, timestamp }, signature)) throw new Malformed("K_sig did not sign this tree");
  return { size, root, timestamp };
}

const keyId = (name, ...key) => sha256(ascii(name), NEW_LINE, ...key).subarray(0, KEY_ID_BYTES);

/** What the one line by this key holds after the key id. */
function theLineOf(signatures, id) {
  const [found, ...more] = signatures.filter((signature) => equal(signature.subarray(0, KEY_ID_BYTES), id));
  if (found === undefined || 0 < more.length) throw new Malformed("not exactly one line by the key");
  return found.subarray(KEY_ID_BYTES);
}

/** The bytes of one signature line under this name, or null if it has another. */
function signatureOf(line, name) {
  const match = /^— (\S+) (\S+)$/u.exec(line);
  if (match === null) throw new Malformed("not a signature line");
  const bytes = Uint8Array.from(Buffer.from(match[2], "base64"));
  if (base64(bytes) !== match[2] || bytes.length <= KEY_ID_BYTES) throw new Malformed("not a signature in base64");
  return match[1] === name ? bytes : null;
}

export const verifyCosignature = (witness, time, body, signature) => verifyEd25519(witness, cosignedBody(time, body), signature);
