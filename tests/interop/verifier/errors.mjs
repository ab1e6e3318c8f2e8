// The two ways in which a reader or a check says no. Everything else that is thrown is a fault of this verifier, and its callers treat it
// as a refusal, never as a pass.

/**
 * The bytes are not what they are said to be (bundle.md BNDL-1). The refusal of a whole bundle that does not parse is named
 * `bundle.form`.
 */
export class Malformed extends Error {}

/** A check refuses: `check` is its stable id (bundle.md §4, attestation.md §1). */
export class Refused extends Error {
  constructor(check, reason) {
    super(`${check}: ${reason}`);
    this.check = check;
    this.reason = reason;
  }
}

/** Refuses under `check` unless the condition holds. */
export function require(condition, check, reason) {
  if (condition !== true) throw new Refused(check, reason);
}
