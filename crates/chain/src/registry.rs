//! Part one of `CandorRegistry`: who is registered, their evidence from the events, and the calls that register and renew.
//!
//! Everything read here is as the endpoint says; evidence is believed only after `candor-verify` has verified it. Anybody may register
//! through a verifier contract of their own: registered means that *this* verifier accepted, and a policy says which of them counts.

use alloy::primitives::{B256, Bytes};
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::{SolCall, SolEvent};
use candor_verify::check::MAX_ANCHOR_DELAY_SECONDS;
use candor_verify::manifest::{Freshness, Manifest, listed_id};
use candor_verify::terms::SignedTerms;
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Hash32, Signature65};

use crate::bindings::{self, CandorRegistry};
use crate::client::ChainClient;
use crate::convert::{address, b256, evm_address, freshness, from_words, hash, manifest, registry_freshness, signature_bytes};
use crate::error::ChainError;

/// Everything about a registered key that never changes; the contract keeps its hash, and every call brings it. Times in Unix seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: the contract's Record")]
pub struct Record {
    /// The key.
    pub k_sig: Address,
    /// Its log.
    pub log_id: Hash32,
    /// Manifest hash.
    pub manifest_hash: Hash32,
    /// The contract that judged its evidence.
    pub verifier: Address,
    /// Hash of that contract's code when it did.
    pub verifier_codehash: Hash32,
    /// What runs: kind, root and measurements in one hash.
    pub workload_id: Hash32,
    /// Operator.
    pub operator: Address,
    /// Payee.
    pub payee: Address,
    /// When it booted.
    pub valid_from: UnixSeconds,
    /// End of its terms.
    pub terms_until: UnixSeconds,
}

impl Record {
    /// What policies on the chain list.
    #[must_use]
    pub fn listed_id(&self) -> Hash32 {
        listed_id(&self.verifier, &self.verifier_codehash, &self.workload_id)
    }
}

impl From<&bindings::Record> for Record {
    fn from(r: &bindings::Record) -> Self {
        Self {
            k_sig: address(r.kSig),
            log_id: hash(r.logId),
            manifest_hash: hash(r.manifestHash),
            verifier: address(r.verifier),
            verifier_codehash: hash(r.verifierCodehash),
            workload_id: hash(r.workloadId),
            operator: address(r.operator),
            payee: address(r.payee),
            valid_from: UnixSeconds(r.validFrom),
            terms_until: UnixSeconds(r.termsUntil),
        }
    }
}

impl From<&Record> for bindings::Record {
    fn from(r: &Record) -> Self {
        Self {
            kSig: evm_address(&r.k_sig),
            logId: b256(&r.log_id),
            manifestHash: b256(&r.manifest_hash),
            verifier: evm_address(&r.verifier),
            verifierCodehash: b256(&r.verifier_codehash),
            workloadId: b256(&r.workload_id),
            operator: evm_address(&r.operator),
            payee: evm_address(&r.payee),
            validFrom: r.valid_from.0,
            termsUntil: r.terms_until.0,
        }
    }
}

/// Everything about a registered key that changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyStatus {
    /// End of its validity by the newest document that the registry was shown.
    pub valid_until: UnixSeconds,
    /// From when its operator retired it, with notice.
    pub invalid_from: Option<UnixSeconds>,
    /// When its operator revoked it.
    pub revoked_at: Option<UnixSeconds>,
    /// Whether somebody showed the registry two trees of one size under its signatures.
    pub is_forked: bool,
    /// Leaves of its last anchor; zero for none.
    pub last_size: u64,
    /// Block of its registration; the event is there.
    pub registered_block: u64,
    /// Block of its newest renewal, or of its registration.
    pub renewed_block: u64,
    /// Block of its last anchor; zero for none.
    pub anchored_block: u64,
}

/// Where a registered key stands for whoever is about to pay it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: what KeyStatus can say")]
pub enum Standing {
    /// Good.
    Valid,
    /// Its newest document on chain is so old that a client could not rely on showing a newer one in time, or its terms are over.
    Lapsed,
    /// Its operator retired it; answers until `invalid_from` count.
    Retired,
    /// Its operator revoked it.
    Revoked,
    /// It signed two trees of one size.
    Forked,
}

impl Standing {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Lapsed => "lapsed",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
            Self::Forked => "forked",
        }
    }
}

/// How far the end on chain may lie back for whoever is about to pay, in seconds: half of the week for which the registry takes a document.
/// Nodes renew once a day; how fresh an enclave is, its live document says.
pub const STALE_SECONDS: u64 = MAX_ANCHOR_DELAY_SECONDS / 2;

impl KeyStatus {
    /// Where the key stands now: the worst that is known. A key that its operator ended is no good whatever our clock says, which may be
    /// behind.
    #[must_use]
    pub fn standing(&self, now: UnixSeconds) -> Standing {
        match self {
            _ if self.is_forked => Standing::Forked,
            _ if self.revoked_at.is_some() => Standing::Revoked,
            _ if self.invalid_from.is_some() => Standing::Retired,
            _ if self.valid_until.saturating_add(STALE_SECONDS) < now => Standing::Lapsed,
            _ => Standing::Valid,
        }
    }
}

/// A registration as its event shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Registered {
    /// What the registry holds of the key.
    pub record: Record,
    /// What a client needs to judge the boot by itself; `Err` if it cannot be read, which is the fault of whoever registered.
    pub boot: Result<Boot, ChainError>,
    /// Block of the event.
    pub block_number: u64,
    previous: bindings::Previous,
}

/// The part of a registration that a client judges.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Boot {
    /// Keys and promises.
    pub manifest: Manifest,
    /// The attestation document.
    pub document: Vec<u8>,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
    /// The terms' CBOR, as the submitter sent it: believe it only if its digest is the manifest's terms hash.
    pub terms_data: Vec<u8>,
    /// By the operator over the terms.
    pub operator_signature: Vec<u8>,
}

/// Newer evidence of a registered key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Renewal {
    /// The attestation document.
    pub document: Vec<u8>,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
}

/// A list of registrations that the registry links, newest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the lists of the contract")]
pub enum RegistrationList {
    /// Every key ever.
    All,
    /// Those of an operator.
    Operator(Address),
    /// Those under a listed id.
    Listed(Hash32),
}

impl RegistrationList {
    fn key(&self) -> B256 {
        match self {
            Self::All => B256::ZERO,
            Self::Operator(operator) => evm_address(operator).into_word(),
            Self::Listed(listed) => b256(listed),
        }
    }

    fn filter(&self, filter: Filter) -> Filter {
        match self {
            Self::All => filter,
            Self::Operator(_) => filter.topic2(self.key()),
            Self::Listed(_) => filter.topic3(self.key()),
        }
    }

    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::Operator(operator) => record.operator == *operator,
            Self::Listed(listed) => record.listed_id() == *listed,
        }
    }

    fn before(&self, registered: &Registered) -> u64 {
        match self {
            Self::All => registered.previous.ofAll,
            Self::Operator(_) => registered.previous.ofOperator,
            Self::Listed(_) => registered.previous.ofListed,
        }
    }
}

/// Everything that a registration needs.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what `register` takes")]
pub struct Submission {
    /// The contract that judges the evidence.
    pub verifier: Address,
    /// The attestation document.
    pub document: Vec<u8>,
    /// For the verifier, for example [`crate::Verdict::verifier_data`].
    pub verifier_data: Vec<u8>,
    /// Keys and promises.
    pub manifest: Manifest,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
    /// The terms and the operator's signature.
    pub terms: SignedTerms,
    /// By K_sig over `Boot`.
    pub boot_signature: Signature65,
    /// Until when the registrar's signature is good.
    pub deadline: UnixSeconds,
    /// By the registrar over `Registration`.
    pub registrar_signature: Signature65,
    /// The record of the predecessor, and when the manifest's size of it was anchored; `None` if the registry does not hold it.
    pub predecessor: Option<(Record, UnixSeconds)>,
}

impl Submission {
    /// Calldata of `register`.
    ///
    /// # Errors
    /// `Misuse` only: our own encodings do not fit the contract's, which tests exclude.
    pub fn calldata(&self) -> Result<Vec<u8>, ChainError> {
        let none = bindings::Record::from(&NOBODY);
        let (predecessor, predecessor_anchored_at) =
            self.predecessor.as_ref().map_or((none, 0), |(record, time)| (bindings::Record::from(record), time.0));
        let submission = bindings::Submission {
            verifier: evm_address(&self.verifier),
            evidence: Bytes::copy_from_slice(&self.document),
            verifierData: Bytes::copy_from_slice(&self.verifier_data),
            manifest: from_words::<bindings::Manifest>("manifest", &self.manifest.encode())?,
            freshness: registry_freshness(&self.freshness),
            terms: from_words::<bindings::Terms>("terms", self.terms.terms.words().as_slice())?,
            operatorSignature: signature_bytes(&self.terms.signature),
            bootSignature: signature_bytes(&self.boot_signature),
            deadline: self.deadline.0,
            registrarSignature: signature_bytes(&self.registrar_signature),
            termsData: self.terms.encode().into(),
            predecessor,
            predecessorAnchoredAt: predecessor_anchored_at,
        };
        Ok(CandorRegistry::registerCall { submission }.abi_encode())
    }
}

const NOBODY: Record = Record {
    k_sig: Address::ZERO,
    log_id: Hash32::ZERO,
    manifest_hash: Hash32::ZERO,
    verifier: Address::ZERO,
    verifier_codehash: Hash32::ZERO,
    workload_id: Hash32::ZERO,
    operator: Address::ZERO,
    payee: Address::ZERO,
    valid_from: UnixSeconds(0),
    terms_until: UnixSeconds(0),
};

/// Calldata of `renew`.
#[must_use]
pub fn renew_calldata(record: &Record, document: &[u8], verifier_data: &[u8], freshness: &Freshness) -> Vec<u8> {
    CandorRegistry::renewCall {
        record: record.into(),
        evidence: Bytes::copy_from_slice(document),
        verifierData: Bytes::copy_from_slice(verifier_data),
        freshness: registry_freshness(freshness),
    }
    .abi_encode()
}

/// Calldata of `link`, which makes the edge to a predecessor that a registration could not make. Anyone may send it.
///
/// # Errors
/// Only what the ABI's reader says; a manifest's own words do not fail.
pub fn link_calldata(record: &Record, manifest: &Manifest, predecessor: &Record, anchored_at: UnixSeconds) -> Result<Vec<u8>, ChainError> {
    let call = CandorRegistry::linkCall {
        record: record.into(),
        manifest: from_words::<bindings::Manifest>("manifest", &manifest.encode())?,
        predecessor: predecessor.into(),
        predecessorAnchoredAt: anchored_at.0,
    };
    Ok(call.abi_encode())
}

/// Calldata of `retire`, for the operator's own account.
#[must_use]
pub fn retire_calldata(record: &Record) -> Vec<u8> {
    CandorRegistry::retireCall { record: record.into() }.abi_encode()
}

/// Calldata of `revoke`, for the operator's own account.
#[must_use]
pub fn revoke_calldata(record: &Record) -> Vec<u8> {
    CandorRegistry::revokeCall { record: record.into() }.abi_encode()
}

impl ChainClient {
    /// Where a key stands; `None` if it is not registered.
    ///
    /// # Errors
    /// As the transport.
    pub async fn key_status(&self, registry: &Address, k_sig: &Address) -> Result<Option<KeyStatus>, ChainError> {
        let s = self.view(registry, &CandorRegistry::stateOfCall { kSig: evm_address(k_sig) }).await?;
        let some = |time: u64| (time != 0).then_some(UnixSeconds(time));
        Ok((s.registeredBlock != 0).then(|| KeyStatus {
            valid_until: UnixSeconds(s.validUntil),
            invalid_from: some(s.invalidFrom),
            revoked_at: some(s.revokedAt),
            is_forked: s.forked,
            last_size: s.lastSize,
            registered_block: s.registeredBlock,
            renewed_block: s.renewedBlock,
            anchored_block: s.anchoredBlock,
        }))
    }

    /// The registration of a key, from the event in the block that the registry remembers.
    ///
    /// # Errors
    /// `Malformed` if the event is not there.
    pub async fn registered(&self, registry: &Address, k_sig: &Address, status: &KeyStatus) -> Result<Registered, ChainError> {
        let block = status.registered_block;
        let filter = key_filter(registry, CandorRegistry::Registered::SIGNATURE_HASH, k_sig).from_block(block).to_block(block);
        let mut found = self.registrations(registry, &filter, block).await?;
        found.retain(|registered| registered.record.k_sig == *k_sig);
        found.pop().ok_or(ChainError::Malformed { what: "Registered event", detail: format!("none in block {block}") })
    }

    /// Block of the newest registration in a list; `None` if it is empty.
    ///
    /// # Errors
    /// As the transport.
    pub async fn newest_registration(&self, registry: &Address, list: &RegistrationList) -> Result<Option<u64>, ChainError> {
        let block = self.view(registry, &CandorRegistry::newestCall { list: list.key() }).await?;
        Ok((block != 0).then_some(block))
    }

    /// The registrations of a list in one of its blocks, newest first, and the block of those before; `None` if there are none before.
    ///
    /// # Errors
    /// `Malformed` if the block has none, or the list does not go back in time.
    pub async fn registrations_in(
        &self,
        registry: &Address,
        list: &RegistrationList,
        block: u64,
    ) -> Result<(Vec<Registered>, Option<u64>), ChainError> {
        let filter = Filter::new().address(evm_address(registry)).event_signature(CandorRegistry::Registered::SIGNATURE_HASH);
        let mut found = self.registrations(registry, &list.filter(filter).from_block(block).to_block(block), block).await?;
        found.retain(|registered| list.holds(&registered.record));
        let malformed = |detail| ChainError::Malformed { what: "Registered event", detail };
        let oldest = found.first().ok_or_else(|| malformed(format!("none in block {block}")))?;
        let before = list.before(oldest);
        if block <= before {
            return Err(malformed(format!("the one before that of block {block} is said to be in block {before}")));
        }
        found.reverse();
        Ok((found, (before != 0).then_some(before)))
    }

    /// The newest renewal of a key; `None` if it was never renewed.
    ///
    /// # Errors
    /// `Malformed` if the registry names a block without one.
    pub async fn newest_renewal(&self, registry: &Address, k_sig: &Address, status: &KeyStatus) -> Result<Option<Renewal>, ChainError> {
        let block = status.renewed_block;
        let filter = key_filter(registry, CandorRegistry::Renewed::SIGNATURE_HASH, k_sig).from_block(block).to_block(block);
        let logs = self.logs(&filter).await?;
        let newest =
            logs.iter().rev().find_map(|log| decode::<CandorRegistry::Renewed>(registry, log).filter(|e| e.kSig == evm_address(k_sig)));
        match newest {
            Some(event) => Ok(Some(Renewal { document: event.evidence.to_vec(), freshness: freshness(&event.freshness)? })),
            None if block == status.registered_block => Ok(None),
            None => Err(ChainError::Malformed { what: "Renewed event", detail: format!("none in block {block}") }),
        }
    }

    /// The key whose log this is; `None` if it is of nobody here.
    ///
    /// # Errors
    /// As the transport.
    pub async fn key_of(&self, registry: &Address, log_id: &Hash32) -> Result<Option<Address>, ChainError> {
        let k_sig = self.view(registry, &CandorRegistry::keyOfCall { logId: b256(log_id) }).await.map(address)?;
        Ok((!k_sig.is_zero()).then_some(k_sig))
    }

    /// What a registration has to bring of a predecessor: its record, and when this size of it was anchored. `None` if the registry does
    /// not hold it, which makes a gap and hinders no registration.
    ///
    /// # Errors
    /// As the transport.
    pub async fn predecessor(&self, registry: &Address, log_id: &Hash32, size: u64) -> Result<Option<(Record, UnixSeconds)>, ChainError> {
        let Some(k_sig) = self.key_of(registry, log_id).await? else { return Ok(None) };
        let Some(status) = self.key_status(registry, &k_sig).await? else { return Ok(None) };
        let record = self.registered(registry, &k_sig, &status).await?.record;
        let anchors = self.anchors_at(registry, &k_sig, &status, &[size]).await?;
        Ok(Some((record, anchors.first().map_or(UnixSeconds(0), |anchor| anchor.anchored_at))))
    }

    /// The log that continues this one; `None` if none does.
    ///
    /// # Errors
    /// As the transport.
    pub async fn successor_of(&self, registry: &Address, log_id: &Hash32) -> Result<Option<Hash32>, ChainError> {
        let successor = self.view(registry, &CandorRegistry::successorOfCall { logId: b256(log_id) }).await.map(hash)?;
        Ok((!successor.is_zero()).then_some(successor))
    }

    /// The events that a filter finds in one block, in their order.
    async fn registrations(&self, registry: &Address, filter: &Filter, block: u64) -> Result<Vec<Registered>, ChainError> {
        let logs = self.logs(filter).await?;
        let registered = |log: &Log| {
            let event = decode::<CandorRegistry::Registered>(registry, log)?;
            Some(Registered { record: (&event.record).into(), boot: boot(&event.boot), block_number: block, previous: event.previous })
        };
        Ok(logs.iter().filter_map(registered).collect())
    }
}

fn boot(boot: &bindings::Boot) -> Result<Boot, ChainError> {
    Ok(Boot {
        manifest: manifest(&boot.manifest)?,
        document: boot.evidence.to_vec(),
        freshness: freshness(&boot.freshness)?,
        terms_data: boot.termsData.to_vec(),
        operator_signature: boot.operatorSignature.to_vec(),
    })
}

pub(crate) fn key_filter(registry: &Address, event: B256, k_sig: &Address) -> Filter {
    Filter::new().address(evm_address(registry)).event_signature(event).topic1(evm_address(k_sig))
}

/// An event of this registry; a node that ignores the filter must not slip in another's.
pub(crate) fn decode<E: SolEvent>(registry: &Address, log: &Log) -> Option<E> {
    (log.address() == evm_address(registry)).then(|| E::decode_log_data_validate(log.data()).ok()).flatten()
}
