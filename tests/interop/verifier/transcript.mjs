// Commitments to request, answer and question, and the cut that takes a delivery out of a final frame. transcript.md.
import { concat, u64, utf8, withLength } from "./bytes.mjs";
import { Malformed } from "./errors.mjs";
import { hmacSha256, keccak256, sha256, TAG } from "./hashes.mjs";
import { LEAF, root } from "./merkle.mjs";

const parts = (method, path, body) => concat(withLength(utf8(method)), withLength(utf8(path)), withLength(body));

/** TR-1 */
export const requestCommitment = (salt, method, path, body) => sha256(TAG.request, salt, parts(method, path, body));

/** How an enclave of Candor's makes a salt; nobody outside can check it. */
export const requestSalt = (bootSecret, bucket, method, path, body) =>
  hmacSha256(bootSecret, TAG.requestSalt, u64(bucket), parts(method, path, body));

export const frameLeaf = (seed, index, frame) => sha256(LEAF, hmacSha256(seed, u64(index)), frame);

/** TR-2 */
export const responseCommitment = (seed, frames) =>
  sha256(TAG.response, u64(frames.length), root(frames.map((frame, index) => frameLeaf(seed, index, frame))));

/** TR-4 */
export const questionHash = (method, path, body) => keccak256(TAG.question, parts(method, path, body));
export const answerHash = (text) => keccak256(utf8(text));

const MEMBER_START = ',"candor":{', FRAME_END = "}}";

/** TR-3: cuts text, and never parses and serialises again. */
export function unsplice(spliced) {
  const at = spliced.lastIndexOf(MEMBER_START);
  if (at < 0 || !spliced.endsWith(FRAME_END)) throw new Malformed("no member is spliced in at the end");
  const member = spliced.slice(at + MEMBER_START.length, -FRAME_END.length);
  if (spliced.length - FRAME_END.length < at + MEMBER_START.length) throw new Malformed("the member is not closed");
  return { frame: spliced.slice(0, at) + "}", member };
}

/** A last frame without the member that travelled in it, or null if it ends in none. Bytes are cut as Latin-1, which has each of them. */
export function cutMember(frame) {
  try {
    return Uint8Array.from(Buffer.from(unsplice(Buffer.from(frame).toString("latin1")).frame, "latin1"));
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}
