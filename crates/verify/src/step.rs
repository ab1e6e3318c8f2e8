//! The steps of a verdict: one row each, in the order in which they are made.
//!
//! A step is a value: what has no row here cannot be recorded, and a verdict says VERIFIED only if every row of its table was made
//! (`verdict::Recorder`). The rows are the table of bundle.md §4; a test compares the two. Not here: making any of them.

use crate::verdict::Question;

/// One step of a verdict.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Step {
    /// The document is a genuine attestation under a root of the policy.
    AttestDocument,
    /// The attested 64 bytes name K_sig, the manifest and a recent block.
    EvidenceBinding,
    /// The manifest names exactly these operator terms.
    EvidenceTerms,
    /// The terms are signed by the operator they name.
    EvidenceOperator,
    /// Manifest and terms say the same.
    EvidenceManifest,
    /// The measured workload is one the policy accepts.
    PolicyWorkload,
    /// The operator is one the policy accepts.
    PolicyOperator,
    /// The registry is one the policy accepts.
    PolicyRegistry,
    /// The block that dates the evidence exists.
    EvidenceBlock,
    /// The registry lists this key and manifest for that time.
    RegistryListed,
    /// The receipt is signed by the attested K_sig.
    ReceiptSignature,
    /// The receipt names this boot's manifest and log.
    ReceiptBoot,
    /// The receipt fits the time of its evidence.
    ReceiptTime,
    /// The recent block in the receipt exists.
    ReceiptBlock,
    /// The request is the one committed to.
    RequestCommitment,
    /// The answer is the one committed to, frame for frame.
    ResponseCommitment,
    /// The model is one the terms list and the policy accepts.
    WorkModel,
    /// What the receipt claims about the work is well formed.
    WorkClaim,
    /// The decoding record is the one the receipt names.
    WorkDecoding,
    /// Neither side alone chose the seed, or the request named it.
    WorkSeed,
    /// The request was sealed to a key that exists only in the enclave.
    PrivacyChannel,
    /// The offer is signed by the attested K_sig.
    OfferSignature,
    /// The offer names this boot, request, model and payee.
    OfferTerms,
    /// The price is the one in force by what the operator signed.
    OfferPrice,
    /// The authorization is signed by its payer.
    PaymentSignature,
    /// The payer signed exactly the offered amount to the attested payee.
    PaymentTerms,
    /// The payer's nonce commits to this offer.
    PaymentBinding,
    /// The receipt is for this payment and this offer.
    ReceiptPayment,
    /// The charge is what the scheme allows and no more.
    ReceiptCharge,
    /// The chain saw exactly this transfer.
    PaymentTransfer,
    /// The receipt's leaf is in the checkpoint's tree, at its sequence.
    LogInclusion,
    /// The checkpoint is signed by K_log and K_sig.
    LogCheckpoint,
    /// Witnesses of the policy cosigned it.
    LogWitnesses,
    /// The log only grew between the anchored trees and this one.
    LogConsistency,
    /// A tree that holds the receipt is anchored on chain.
    LogAnchored,
}

/// What is said of a step.
struct Row {
    id: &'static str,
    question: Question,
    title: &'static str,
    spec: &'static str,
}

const fn step(id: &'static str, question: Question, title: &'static str, spec: &'static str) -> Row {
    Row { id, question, title, spec }
}

impl Step {
    /// Every step of a bundle, in order.
    pub const BUNDLE: &[Self] = &[
        Self::AttestDocument,
        Self::EvidenceBinding,
        Self::EvidenceTerms,
        Self::EvidenceOperator,
        Self::EvidenceManifest,
        Self::PolicyWorkload,
        Self::PolicyOperator,
        Self::PolicyRegistry,
        Self::EvidenceBlock,
        Self::RegistryListed,
        Self::ReceiptSignature,
        Self::ReceiptBoot,
        Self::ReceiptTime,
        Self::ReceiptBlock,
        Self::RequestCommitment,
        Self::ResponseCommitment,
        Self::WorkModel,
        Self::WorkClaim,
        Self::WorkDecoding,
        Self::WorkSeed,
        Self::PrivacyChannel,
        Self::OfferSignature,
        Self::OfferTerms,
        Self::OfferPrice,
        Self::PaymentSignature,
        Self::PaymentTerms,
        Self::PaymentBinding,
        Self::ReceiptPayment,
        Self::ReceiptCharge,
        Self::PaymentTransfer,
        Self::LogInclusion,
        Self::LogCheckpoint,
        Self::LogWitnesses,
        Self::LogConsistency,
        Self::LogAnchored,
    ];

    /// The steps of evidence alone: those a bundle begins with.
    pub const EVIDENCE: &[Self] = Self::BUNDLE.split_at(8).0;

    /// The steps of an offer alone, before it is paid.
    pub const OFFER: &[Self] = &[Self::OfferSignature, Self::OfferTerms, Self::OfferPrice];

    const fn row(self) -> Row {
        use Question::{Logged, Paid, Private, Ran};
        match self {
            Self::AttestDocument => {
                step("attest.document", Ran, "the document is a genuine attestation under a root of the policy", "attestation.md §1")
            }
            Self::EvidenceBinding => {
                step("evidence.binding", Ran, "the attested 64 bytes name K_sig, the manifest and a recent block", "attestation.md §2")
            }
            Self::EvidenceTerms => {
                step("evidence.terms", Ran, "the manifest names exactly these operator terms", "terms-and-manifest.md §1")
            }
            Self::EvidenceOperator => {
                step("evidence.operator", Ran, "the terms are signed by the operator they name", "terms-and-manifest.md §1")
            }
            Self::EvidenceManifest => step("evidence.manifest", Ran, "manifest and terms say the same", "terms-and-manifest.md §3"),
            Self::PolicyWorkload => step("policy.workload", Ran, "the measured workload is one the policy accepts", "policy.md §2"),
            Self::PolicyOperator => step("policy.operator", Ran, "the operator is one the policy accepts", "policy.md §2"),
            Self::PolicyRegistry => step("policy.registry", Ran, "the registry is one the policy accepts", "policy.md §2"),
            Self::EvidenceBlock => step("evidence.block", Ran, "the block that dates the evidence exists", "attestation.md §3"),
            Self::RegistryListed => step("registry.listed", Ran, "the registry lists this key and manifest for that time", "bundle.md §4"),
            Self::ReceiptSignature => step("receipt.signature", Ran, "the receipt is signed by the attested K_sig", "receipt.md §1"),
            Self::ReceiptBoot => step("receipt.boot", Ran, "the receipt names this boot's manifest and log", "receipt.md §2"),
            Self::ReceiptTime => step("receipt.time", Ran, "the receipt fits the time of its evidence", "receipt.md §4"),
            Self::ReceiptBlock => step("receipt.block", Ran, "the recent block in the receipt exists", "receipt.md §4"),
            Self::RequestCommitment => step("request.commitment", Ran, "the request is the one committed to", "transcript.md §1"),
            Self::ResponseCommitment => {
                step("response.commitment", Ran, "the answer is the one committed to, frame for frame", "transcript.md §2")
            }
            Self::WorkModel => step("work.model", Ran, "the model is one the terms list and the policy accepts", "receipt.md §4"),
            Self::WorkClaim => step("work.claim", Ran, "what the receipt claims about the work is well formed", "receipt.md §4"),
            Self::WorkDecoding => step("work.decoding", Ran, "the decoding record is the one the receipt names", "receipt.md §5"),
            Self::WorkSeed => step("work.seed", Ran, "neither side alone chose the seed, or the request named it", "receipt.md §5"),
            Self::PrivacyChannel => {
                step("privacy.channel", Private, "the request was sealed to a key that exists only in the enclave", "receipt.md §4")
            }
            Self::OfferSignature => step("offer.signature", Paid, "the offer is signed by the attested K_sig", "payment.md §3"),
            Self::OfferTerms => step("offer.terms", Paid, "the offer names this boot, request, model and payee", "payment.md §3"),
            Self::OfferPrice => step("offer.price", Paid, "the price is the one in force by what the operator signed", "payment.md §3"),
            Self::PaymentSignature => step("payment.signature", Paid, "the authorization is signed by its payer", "payment.md §2"),
            Self::PaymentTerms => {
                step("payment.terms", Paid, "the payer signed exactly the offered amount to the attested payee", "payment.md §2")
            }
            Self::PaymentBinding => step("payment.binding", Paid, "the payer's nonce commits to this offer", "payment.md §4"),
            Self::ReceiptPayment => step("receipt.payment", Paid, "the receipt is for this payment and this offer", "receipt.md §3"),
            Self::ReceiptCharge => step("receipt.charge", Paid, "the charge is what the scheme allows and no more", "receipt.md §3"),
            Self::PaymentTransfer => step("payment.transfer", Paid, "the chain saw exactly this transfer", "payment.md §6"),
            Self::LogInclusion => {
                step("log.inclusion", Logged, "the receipt's leaf is in the checkpoint's tree, at its sequence", "log.md §2")
            }
            Self::LogCheckpoint => step("log.checkpoint", Logged, "the checkpoint is signed by K_log and K_sig", "log.md §3"),
            Self::LogWitnesses => step("log.witnesses", Logged, "witnesses of the policy cosigned it", "bundle.md §5"),
            Self::LogConsistency => {
                step("log.consistency", Logged, "the log only grew between the anchored trees and this one", "log.md §1")
            }
            Self::LogAnchored => step("log.anchored", Logged, "a tree that holds the receipt is anchored on chain", "bundle.md §5"),
        }
    }

    /// Stable dotted id, for machines.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.row().id
    }

    /// Which question it helps to answer.
    #[must_use]
    pub const fn question(self) -> Question {
        self.row().question
    }

    /// One line for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Where the rule is written.
    #[must_use]
    pub const fn spec(self) -> &'static str {
        self.row().spec
    }

    /// Whether it can only be made with facts that a caller read from a chain.
    #[must_use]
    pub const fn needs_chain(self) -> bool {
        matches!(self, Self::EvidenceBlock | Self::RegistryListed | Self::ReceiptBlock | Self::PaymentTransfer | Self::LogAnchored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_step_once_in_the_order_of_the_enum() {
        assert!(Step::BUNDLE.is_sorted() && Step::BUNDLE.windows(2).all(|pair| pair[0] != pair[1]));
        // The last of the enum is the last of the table, so with the above no step is missing.
        assert_eq!(Step::BUNDLE.len(), Step::LogAnchored as usize + 1);
        assert_eq!(Step::EVIDENCE.last(), Some(&Step::PolicyRegistry));
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: alloc::vec::Vec<&str> = Step::BUNDLE.iter().map(|step| step.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Step::BUNDLE.len());
    }
}
