// Leaves, checkpoints, notes and cosignatures of a log. log.md §2 and §3; c2sp.org/signed-note, /tlog-checkpoint and /tlog-cosignature.
// Whether a log's published files are sound (log.md §6) is not judged here.
import { ascii, concat, equal, hex, utf8 } from "./bytes.mjs";
import { candorDigest } from "./eip712.mjs";
import { Malformed } from "./errors.mjs";
import { sha256, TAG } from "./hashes.mjs";
import { recover, verifyEd25519 } from "./signatures.mjs";

const ED25519_KEY = Uint8Array.of(1), NEW_LINE = Uint8Array.of(10);
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

/** A published `checkpoint` file of this log, as K_log signed it: its size and root (LOG-3). Lines of other keys are skipped. */
export function readNote(text, logId, kLog) {
  if (MAX_NOTE_BYTES < Buffer.byteLength(text)) throw new Malformed("a checkpoint of more than 16 KiB");
  const [body, signatures, ...more] = text.split("\n\n");
  if (signatures === undefined || 0 < more.length || !signatures.endsWith("\n")) throw new Malformed("no empty line before the signatures");
  const lines = body.split("\n");
  if (lines.length !== 3 || lines[0] !== origin(logId)) throw new Malformed("not three lines of this log");
  if (!/^(0|[1-9][0-9]{0,19})$/.test(lines[1])) throw new Malformed("the size is not in its shortest form");
  const root = Uint8Array.from(Buffer.from(lines[2], "base64"));
  if (root.length !== 32 || base64(root) !== lines[2]) throw new Malformed("the root is not 32 bytes in base64");
  const keyId = sha256(ascii(lines[0]), NEW_LINE, ED25519_KEY, kLog).subarray(0, 4);
  for (const line of signatures.slice(0, -1).split("\n")) {
    const signature = signatureOf(line, lines[0]);
    if (signature !== null && equal(signature.subarray(0, 4), keyId)) {
      if (!verifyEd25519(kLog, utf8(body + "\n"), signature.subarray(4))) throw new Malformed("K_log did not sign this text");
      return { size: BigInt(lines[1]), root };
    }
  }
  throw new Malformed("no line by K_log");
}

/** The bytes of one signature line under this name, or null if it has another. */
function signatureOf(line, name) {
  const match = /^— (\S+) (\S+)$/u.exec(line);
  if (match === null) throw new Malformed("not a signature line");
  const bytes = Uint8Array.from(Buffer.from(match[2], "base64"));
  if (base64(bytes) !== match[2] || bytes.length < 5) throw new Malformed("not a signature in base64");
  return match[1] === name ? bytes : null;
}

export const verifyCosignature = (witness, time, body, signature) => verifyEd25519(witness, cosignedBody(time, body), signature);
