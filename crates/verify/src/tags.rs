//! Every domain tag, in one place. A hash made for one purpose can never be read as another.
//!
//! Spec: domain-tags.md lists the same strings with one vector each; `xtask tidy` compares the two lists.
//! EIP-712 types need no tag: their type hash is one.

/// Salted commitment to method, path and body of a request.
pub const REQUEST: &[u8] = b"candor/request/1";
/// Salt of a request commitment, from the boot secret.
pub const REQUEST_SALT: &[u8] = b"candor/request-salt/1";
/// Commitment to the transcript of an answer.
pub const RESPONSE: &[u8] = b"candor/response/1";
/// Seed of the transcript's blinding, from the boot secret.
pub const TRANSCRIPT_SEED: &[u8] = b"candor/transcript-seed/1";
/// Log leaf: salted digest of one signed receipt.
pub const LEAF: &[u8] = b"candor/leaf/1";
/// Salt of a leaf, from the boot secret.
pub const LEAF_SALT: &[u8] = b"candor/leaf-salt/1";
/// Log id, from the two keys that sign its checkpoints.
pub const LOG: &[u8] = b"candor/log/1";
/// Freshness tag in the attested 64 bytes.
pub const FRESH: &[u8] = b"candor/fresh/1";
/// Client nonce of a payment that commits to an offer.
pub const NONCE: &[u8] = b"candor/nonce/1";
/// Sampling seed from the server's share and the payment.
pub const SEED: &[u8] = b"candor/seed/1";
/// Commitment to the server's share of the sampling seed.
pub const SEED_SHARE: &[u8] = b"candor/seed-share/1";
/// Workload id: kind, root fingerprint, measurements.
pub const WORKLOAD: &[u8] = b"candor/workload/1";
/// Payment id of an EIP-3009 authorization.
pub const PAYMENT_EIP3009: &[u8] = b"candor/payment/eip3009/1";
/// Payment id of a Permit2 permit.
pub const PAYMENT_PERMIT2: &[u8] = b"candor/payment/permit2/1";
/// Payment id of work that nobody paid for.
pub const PAYMENT_NONE: &[u8] = b"candor/payment/none/1";
/// Payment id in a receipt of a signed payment of which nothing is charged.
pub const PAYMENT_UNSETTLED: &[u8] = b"candor/payment/unsettled/1";
/// Question of a public answer: method, path, body.
pub const QUESTION: &[u8] = b"candor/question/1";
/// Listed id: verifier contract, its code, workload.
pub const LISTED: &[u8] = b"candor/listed/1";
/// Stop sequences inside the decoding hash.
pub const STOP: &[u8] = b"candor/stop/1";

/// Unguessable id of a receipt, from its leaf salt.
pub const RECEIPT_ID: &[u8] = b"candor/receipt-id/1";

/// Name of the evidence that a proof does not hold.
pub const EVIDENCE: &[u8] = b"candor/evidence/1";

/// Id under which a kept answer lies, expanded from the salt and what the payer signed.
pub const ANSWER_ID: &[u8] = b"candor/answer-id/1";
/// Key of a kept answer.
pub const ANSWER_KEY: &[u8] = b"candor/answer-key/1";
/// The request that a kept answer is bound to.
pub const ANSWER_AAD: &[u8] = b"candor/answer-aad/1";

/// All of them, for the test that no two are equal and none is a prefix of another.
pub const ALL: &[&[u8]] = &[
    REQUEST,
    REQUEST_SALT,
    RESPONSE,
    TRANSCRIPT_SEED,
    LEAF,
    LEAF_SALT,
    LOG,
    FRESH,
    NONCE,
    SEED,
    SEED_SHARE,
    WORKLOAD,
    PAYMENT_EIP3009,
    PAYMENT_NONE,
    PAYMENT_UNSETTLED,
    PAYMENT_PERMIT2,
    QUESTION,
    LISTED,
    STOP,
    RECEIPT_ID,
    EVIDENCE,
    ANSWER_ID,
    ANSWER_KEY,
    ANSWER_AAD,
];

#[cfg(test)]
mod tests {
    #[test]
    fn no_tag_is_a_prefix_of_another() {
        for (i, a) in super::ALL.iter().enumerate() {
            for (j, b) in super::ALL.iter().enumerate() {
                assert!(i == j || !b.starts_with(a), "{a:?} is a prefix of {b:?}");
            }
        }
    }
}
