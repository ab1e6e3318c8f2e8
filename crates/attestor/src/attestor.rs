//! One member of a quorum: judges, looks at a chain of its own, signs.
//!
//! **Trust:** the endpoint decides two things: whether a key is registered, and whether a block is of the chain. A false answer makes the
//! member refuse, or take as a renewal what is a first document; the registry asks for the block of a first one all the same.

use candor_chain::{ChainClient, Signer, Verdict};
use candor_verify::bytes::{Address, Signature65};
use candor_verify::evidence::Evidence;
use candor_verify::policy::Policy;
use candor_verify::time::UnixSeconds;

use crate::judge::{BlockSeen, Judged, NotAttested, Quorum, Seen, judge};

/// One member of a quorum.
#[derive(Debug)]
pub struct Attestor {
    key: Signer,
    policy: Policy,
    quorum: Quorum,
    chain: ChainClient,
}

/// A member's signature, and what it is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: who, over what, and the signature")]
pub struct SignedVerdict {
    /// The member.
    pub attestor: Address,
    /// What it found.
    pub verdict: Verdict,
    /// Over the verdict, for the quorum's contract.
    pub signature: Signature65,
}

impl Attestor {
    /// A member that judges by `policy` and looks at `chain`.
    #[must_use]
    pub fn new(key: Signer, policy: Policy, quorum: Quorum, chain: ChainClient) -> Self {
        Self { key, policy, quorum, chain }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The quorum that it signs for.
    #[must_use]
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// Judges evidence and signs what it found.
    ///
    /// # Errors
    /// [`NotAttested`].
    pub async fn attest(&self, evidence: &Evidence, now: UnixSeconds) -> Result<SignedVerdict, NotAttested> {
        self.sign(self.judge(evidence, now)?, now).await
    }

    /// The part without a chain, which costs a few signatures' time.
    ///
    /// # Errors
    /// [`NotAttested`].
    pub fn judge(&self, evidence: &Evidence, now: UnixSeconds) -> Result<Judged, NotAttested> {
        judge(evidence, &self.policy, &self.quorum, now)
    }

    /// The part with one.
    pub(crate) async fn sign(&self, judged: Judged, now: UnixSeconds) -> Result<SignedVerdict, NotAttested> {
        let seen = self.look(&judged).await?;
        let signable = judged.seen(seen, &self.quorum, now)?;
        let signature = signable.sign(&self.key, &self.quorum).map_err(NotAttested::Signing)?;
        Ok(SignedVerdict { attestor: self.key.address(), verdict: *signable.verdict(), signature })
    }

    async fn look(&self, judged: &Judged) -> Result<Seen, NotAttested> {
        if self.chain.key_status(&self.quorum.registry, judged.k_sig()).await.map_err(NotAttested::Chain)?.is_some() {
            return Ok(Seen::Registered);
        }
        let block = self.chain.block_by_number(judged.block_number()).await.map_err(NotAttested::Chain)?;
        let newest = match block {
            Some(block) => block.number,
            None => self.chain.head().await.map_err(NotAttested::Chain)?.number,
        };
        Ok(Seen::New(BlockSeen { hash: block.map(|block| block.hash), newest }))
    }
}
