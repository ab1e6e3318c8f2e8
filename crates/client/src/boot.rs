//! The boot that a connection is to, and that it is over: a node says on every response under which manifest it runs. Spec: http.md §3.
//!
//! A pinned TLS key belongs to one boot, so another value should never be seen on its connection. If one is, whoever answers is not what was
//! verified: nothing more is sent there, on this connection or on another, before somebody has verified it anew.
//! The header proves nothing: it can end what was believed, and begin nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use candor_verify::Hash32;
use candor_verify::text::one_line;
use hyper::header::HeaderMap;

use crate::error::ClientError;

/// Header with the hash of the boot's manifest.
pub(crate) const MANIFEST: &str = "x-candor-manifest";

/// A boot that was verified. Shared by all connections to it, so that all of them end together.
#[derive(Debug)]
pub(crate) struct VerifiedBoot {
    manifest: Hash32,
    is_over: AtomicBool,
}

impl VerifiedBoot {
    /// The boot with this manifest.
    pub(crate) fn new(manifest: Hash32) -> Self {
        Self { manifest, is_over: AtomicBool::new(false) }
    }

    /// Whether it may still be sent anything.
    ///
    /// # Errors
    /// `AnotherBoot`, once another one answered in its place.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        match self.is_over.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(self.another("another boot, as an earlier response said")),
        }
    }

    /// Whether a response is this boot's. What is answered below the API has no such header, and says nothing.
    ///
    /// # Errors
    /// `AnotherBoot`: from then on for every connection.
    pub(crate) fn check_response(&self, headers: &HeaderMap) -> Result<(), ClientError> {
        let said = headers.get_all(MANIFEST).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let other = said.into_iter().find(|said| Hash32::from_hex(said) != Some(self.manifest));
        let Some(other) = other else { return Ok(()) };
        self.is_over.store(true, Ordering::Release);
        let short: String = other.chars().take(SHOWN).collect();
        Err(self.another(&format!("manifest {}", one_line(&short))))
    }

    /// It said that another boot of its node sells now: from then on nothing is sent to it by anybody who shares this.
    pub(crate) fn has_handed_over(&self) -> ClientError {
        self.is_over.store(true, Ordering::Release);
        self.another("its word that another boot of its node sells now")
    }

    fn another(&self, got: &str) -> ClientError {
        ClientError::AnotherBoot { expected: self.manifest, got: got.to_owned() }
    }
}

/// Characters of a foreign value that are shown: a hash.
const SHOWN: usize = 66;

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (hyper::header::HeaderName::from_static(MANIFEST), HeaderValue::from_static(value))).collect()
    }

    const OWN: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";

    #[test]
    fn a_boot_that_has_handed_over_is_over_for_every_connection() {
        let boot = VerifiedBoot::new(Hash32([1; 32]));
        assert!(matches!(boot.has_handed_over(), ClientError::AnotherBoot { .. }));
        assert!(boot.check().is_err());
    }

    #[test]
    fn its_own_manifest_or_none_says_nothing_and_any_other_ends_it_for_good() {
        let boot = VerifiedBoot::new(Hash32([1; 32]));
        for good in [headers(&[]), headers(&[OWN])] {
            assert!(boot.check_response(&good).is_ok() && boot.check().is_ok());
        }
        for bad in [headers(&["0x02"]), headers(&[""]), headers(&[OWN, "0x02"])] {
            let boot = VerifiedBoot::new(Hash32([1; 32]));
            assert!(matches!(boot.check_response(&bad), Err(ClientError::AnotherBoot { .. })), "{bad:?}");
            assert!(boot.check().is_err() && boot.check_response(&headers(&[OWN])).is_ok(), "it stays over");
            assert!(boot.check().is_err());
        }
    }
}
