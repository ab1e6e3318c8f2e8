//! The software hypervisor: a root, and documents signed under it. SIMULATED.
//!
//! For each document it makes the four keys below the root anew (regional, zonal, instance, leaf),
//! issues their certificates with the lifetimes AWS uses, around the time given, and forgets the keys.

use std::fmt;
use std::path::Path;

use candor_verify::attest::TrustRoot;
use p384::ecdsa::SigningKey;
use sha2::{Digest as _, Sha256};

use crate::certificate::{Extension, Issuer, Part, Plan, issue, key_id, name};
use crate::document::{Payload, sign};
use crate::error::DevteeError;
use crate::measurements::{Measurements, extend_zero};
use crate::state::{hex, load_or_create, random, random_key};

/// A SIMULATED hypervisor with a root of its own.
///
/// # Security
///
/// Its documents are worth what the state directory's file permissions are worth. It measures nothing:
/// it signs the measurements it is given.
///
/// # Examples
///
/// ```
/// use candor_devtee::{Hypervisor, Measurements, Request};
/// use candor_verify::attest::{Freshness, TrustRoot, parse_document, verify_document};
///
/// # let dir = std::env::temp_dir().join(format!("candor-devtee-doc-{}", std::process::id()));
/// let hypervisor = Hypervisor::open_or_create(&dir)?;
/// let now_ms = 1_795_000_000_000;
/// let bytes = hypervisor.attest(&Measurements::of_image(b"program"), &Request::default(), now_ms)?;
///
/// let document = parse_document(&bytes)?;
/// let verified = verify_document(&document, &[hypervisor.trust_root()], now_ms, Freshness::Historical)?;
/// assert!(!verified.is_hardware_root());
///
/// let refused = verify_document(&document, &[TrustRoot::AWS_NITRO_G1], now_ms, Freshness::Historical);
/// assert_eq!(refused.unwrap_err().check(), "attest.root");
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hypervisor {
    root_key: SigningKey,
    root_name: Vec<u8>,
    root_der: Vec<u8>,
    /// `i-` and 17 hex digits, from the root: a machine keeps its name.
    instance_id: String,
    /// Eight bytes, new each time the machine starts.
    enclave_id: [u8; 8],
}

impl Hypervisor {
    /// The hypervisor whose root is kept in `dir`; makes directory and root at the first run.
    ///
    /// # Errors
    ///
    /// [`DevteeError::State`], [`DevteeError::StateMalformed`], [`DevteeError::StateReadable`] or
    /// [`DevteeError::Randomness`].
    pub fn open_or_create(dir: &Path) -> Result<Self, DevteeError> {
        Self::with_key(load_or_create(dir)?)
    }

    /// The root's certificate.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// SHA-256 of the root's certificate.
    #[must_use]
    pub fn root_fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.root_der).into()
    }

    /// The root as a policy names it. SIMULATED: never a hardware root.
    #[must_use]
    pub fn trust_root(&self) -> TrustRoot {
        TrustRoot { fingerprint: self.root_fingerprint() }
    }

    /// The name its documents give the enclave.
    #[must_use]
    pub fn module_id(&self) -> String {
        format!("{}-enc{}", self.instance_id, hex(&self.enclave_id))
    }

    /// A SIMULATED attestation document, made at `now_ms` (Unix milliseconds) and valid for three hours.
    ///
    /// # Errors
    ///
    /// [`DevteeError::TooLong`], [`DevteeError::EmptyPublicKey`], [`DevteeError::Time`] or
    /// [`DevteeError::Randomness`].
    pub fn attest(&self, measurements: &Measurements, request: &Request<'_>, now_ms: u64) -> Result<Vec<u8>, DevteeError> {
        check_request(request)?;
        check_time(now_ms)?;
        self.sign(&self.plan(measurements, request, now_ms)?)
    }

    fn with_key(root_key: SigningKey) -> Result<Self, DevteeError> {
        let id = key_id(root_key.verifying_key());
        let plan = Plan {
            serial: id.iter().copied().take(16).collect(),
            subject: name(&[
                (Part::Country, COUNTRY),
                (Part::Organization, ORGANIZATION),
                (Part::Unit, UNIT),
                (Part::CommonName, "simulated.nitro-enclaves"),
            ]),
            not_before_s: ROOT_NOT_BEFORE_S,
            not_after_s: ROOT_NOT_AFTER_S,
            extensions: vec![Extension::BasicConstraints { ca: true, path_len: None }, Extension::SubjectKeyId, ISSUER_KEY_USAGE],
        };
        let root_der = issue(&plan, root_key.verifying_key(), &Issuer { name: &plan.subject, key: &root_key });
        let instance_id = format!("i-{}", &hex(&id)[..17]);
        Ok(Self { root_key, root_name: plan.subject, root_der, instance_id, enclave_id: random()? })
    }

    /// What a document made now will say, before anything is signed.
    fn plan(&self, measurements: &Measurements, request: &Request<'_>, now_ms: u64) -> Result<DocumentPlan, DevteeError> {
        let now_s = now_ms / 1000;
        let fields = |order: &[Part], common_name: &str| {
            let text = |part| match part {
                Part::CommonName => common_name,
                Part::Country => COUNTRY,
                Part::Locality => "Nowhere",
                Part::State => "Simulation",
                Part::Organization => ORGANIZATION,
                Part::Unit => UNIT,
            };
            name(&order.iter().map(|part| (*part, text(*part))).collect::<Vec<_>>())
        };
        let issuer = |path_len| Extension::BasicConstraints { ca: true, path_len: Some(path_len) };
        let crl = |id: &str| Extension::CrlDistributionPoint(format!("http://crl.{REGION}.{SUFFIX}.invalid/crl/{id}.crl"));
        let (regional_id, zonal_id) = (hex(&random::<8>()?), hex(&random::<8>()?));

        let regional = Plan {
            serial: random::<16>()?.to_vec(),
            subject: fields(&SHORT_ORDER, &format!("{regional_id}.{REGION}.{SUFFIX}")),
            not_before_s: now_s - 4 * DAY_S,
            not_after_s: now_s + 16 * DAY_S + HOUR_S,
            extensions: vec![issuer(2), Extension::AuthorityKeyId, Extension::SubjectKeyId, ISSUER_KEY_USAGE, crl(&regional_id)],
        };
        let zonal = Plan {
            serial: random::<16>()?.to_vec(),
            subject: fields(&ZONAL_ORDER, &format!("{zonal_id}.zonal.{REGION}.{SUFFIX}")),
            not_before_s: now_s - 12 * HOUR_S,
            not_after_s: now_s + 132 * HOUR_S,
            extensions: vec![issuer(1), Extension::AuthorityKeyId, Extension::SubjectKeyId, ISSUER_KEY_USAGE, crl(&zonal_id)],
        };
        let instance = Plan {
            serial: random::<20>()?.to_vec(),
            subject: fields(&LONG_ORDER, &format!("{}.{REGION}.{SUFFIX}", self.instance_id)),
            not_before_s: now_s - HOUR_S,
            not_after_s: now_s + 23 * HOUR_S,
            extensions: vec![issuer(0), INSTANCE_KEY_USAGE, Extension::SubjectKeyId, Extension::AuthorityKeyId],
        };
        let module_id = self.module_id();
        let leaf = Plan {
            // As AWS: the enclave's id, then the seconds of the start of its life.
            serial: [self.enclave_id, (now_s - 1).to_be_bytes()].concat(),
            subject: fields(&LONG_ORDER, &format!("{module_id}.{REGION}.simulated")),
            not_before_s: now_s - 3,
            not_after_s: now_s + 3 * HOUR_S,
            extensions: vec![Extension::BasicConstraints { ca: false, path_len: None }, LEAF_KEY_USAGE],
        };
        Ok(DocumentPlan {
            issuers: vec![regional, zonal, instance],
            leaf,
            payload: Payload {
                module_id,
                timestamp_ms: now_ms,
                pcrs: (0..16).map(|index| (index, self.pcr(index, measurements))).collect(),
                public_key: request.public_key.map(<[u8]>::to_vec),
                user_data: request.user_data.map(<[u8]>::to_vec),
                nonce: request.nonce.map(<[u8]>::to_vec),
            },
        })
    }

    fn pcr(&self, index: u8, measurements: &Measurements) -> [u8; 48] {
        match index {
            0 => measurements.pcr0,
            1 => measurements.pcr1,
            2 => measurements.pcr2,
            4 => extend_zero(self.instance_id.as_bytes()),
            _ => [0; 48],
        }
    }

    fn sign(&self, plan: &DocumentPlan) -> Result<Vec<u8>, DevteeError> {
        let mut cabundle = vec![self.root_der.clone()];
        let (mut issuer_name, mut issuer_key) = (&self.root_name, self.root_key.clone());
        for issuer in &plan.issuers {
            let key = random_key()?;
            cabundle.push(issue(issuer, key.verifying_key(), &Issuer { name: issuer_name, key: &issuer_key }));
            (issuer_name, issuer_key) = (&issuer.subject, key);
        }
        let leaf_key = random_key()?;
        let leaf = issue(&plan.leaf, leaf_key.verifying_key(), &Issuer { name: issuer_name, key: &issuer_key });
        Ok(sign(&plan.payload.to_cbor(&cabundle, &leaf), &leaf_key))
    }
}

impl fmt::Debug for Hypervisor {
    /// The root and the name, never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hypervisor").field("root", &self.trust_root()).field("module_id", &self.module_id()).finish_non_exhaustive()
    }
}

/// What an enclave asks to have signed beside its measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a document has these three")]
pub struct Request<'a> {
    /// At most 512 bytes.
    pub user_data: Option<&'a [u8]>,
    /// At most 512 bytes.
    pub nonce: Option<&'a [u8]>,
    /// 1 to 1,024 bytes.
    pub public_key: Option<&'a [u8]>,
}

#[derive(Clone, Debug)]
struct DocumentPlan {
    /// Below the root, from the top.
    issuers: Vec<Plan>,
    leaf: Plan,
    payload: Payload,
}

fn check_request(request: &Request<'_>) -> Result<(), DevteeError> {
    let fields = [("user_data", request.user_data, 512), ("nonce", request.nonce, 512), ("public_key", request.public_key, 1024)];
    for (field, value, limit) in fields {
        match value {
            Some(value) if limit < value.len() => return Err(DevteeError::TooLong { field, limit, got: value.len() }),
            _ => {}
        }
    }
    match request.public_key {
        Some([]) => Err(DevteeError::EmptyPublicKey),
        _ => Ok(()),
    }
}

/// The whole chain's life must lie within the root's.
fn check_time(now_ms: u64) -> Result<(), DevteeError> {
    let first_ms = (ROOT_NOT_BEFORE_S + 5 * DAY_S) * 1000;
    let last_ms = (ROOT_NOT_AFTER_S - 20 * DAY_S) * 1000;
    if now_ms < first_ms || last_ms < now_ms {
        return Err(DevteeError::Time { first_ms, last_ms, got_ms: now_ms });
    }
    Ok(())
}

const COUNTRY: &str = "US";
const ORGANIZATION: &str = "not-Amazon";
const UNIT: &str = "SIMULATED";
const REGION: &str = "sim-1";
const SUFFIX: &str = "simulated.nitro-enclaves";
const SHORT_ORDER: [Part; 4] = [Part::Country, Part::Organization, Part::Unit, Part::CommonName];
const ZONAL_ORDER: [Part; 6] = [Part::CommonName, Part::Unit, Part::Organization, Part::Country, Part::State, Part::Locality];
const LONG_ORDER: [Part; 6] = [Part::Country, Part::State, Part::Locality, Part::Organization, Part::Unit, Part::CommonName];

/// digitalSignature, keyCertSign, cRLSign.
const ISSUER_KEY_USAGE: Extension = Extension::KeyUsage { critical: true, unused_bits: 1, bits: 0x86 };
/// keyCertSign.
const INSTANCE_KEY_USAGE: Extension = Extension::KeyUsage { critical: true, unused_bits: 2, bits: 0x04 };
/// digitalSignature, contentCommitment.
const LEAF_KEY_USAGE: Extension = Extension::KeyUsage { critical: false, unused_bits: 6, bits: 0xc0 };

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 86_400;
/// As AWS's root: 2019-10-28T13:28:05Z to 2049-10-28T14:28:05Z. Fixed, so that the root follows from its
/// key and tests may set any clock.
const ROOT_NOT_BEFORE_S: u64 = 1_572_269_285;
const ROOT_NOT_AFTER_S: u64 = 2_519_044_085;

#[cfg(test)]
#[path = "hypervisor_tests.rs"]
mod tests;
