//! The source record: which provider made an answer, and what it says it used. The receipt carries its hash; LOCAL work has none.
//!
//! What is in it is declared by the provider and passed on by the enclave, but for host, key, and what was asked and tried, which the
//! enclave itself saw. Spec: receipt.md §6. Not proven: that the provider ran the model that it names.

use alloc::string::String;
use alloc::vec::Vec;

use crate::abi::Words;
use crate::bytes::Hash32;
use crate::cbor::{CborError, Reader, Writer};
use crate::eip712::{self, TypedStruct};

/// Upstreams that one record names as tried, at most.
pub const TRIED_MAX: usize = 64;

/// Bytes of a text in a record, at most.
pub const TEXT_MAX: usize = 256;

codes! {
    /// Whose account at the provider paid for the work.
    Account {
        /// None: the provider asked for none.
        Nobody = 0 "nobody's",
        /// The operator's, by a secret of the terms.
        Operator = 1 "the operator's",
        /// The buyer's, by a key in the request.
        Buyer = 2 "the buyer's",
    }
}

/// Usage by class, as declared. Zero also where the provider says nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct DeclaredUsage {
    /// Prompt tokens read anew.
    pub input: u64,
    /// Prompt tokens from a cache.
    pub cache_read: u64,
    /// Prompt tokens put into a cache.
    pub cache_write: u64,
    /// Completion tokens.
    pub output: u64,
    /// Completion tokens that are not shown.
    pub reasoning: u64,
    /// Images.
    pub images: u64,
}

/// Where PROXY work came from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SourceRecord {
    /// Name of the upstream in the terms.
    pub upstream: String,
    /// Its host, as connected to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// SHA-256 of the SubjectPublicKeyInfo that the TLS connection ended at; zero in plaintext, and if no connection came about.
    pub spki_hash: Hash32,
    /// Whose account.
    pub account: Account,
    /// Model that was asked for there.
    pub model_asked: String,
    /// Model that it says it served.
    pub model_served: String,
    /// Its id of the request.
    pub request_id: String,
    /// What it says was used.
    pub usage: DeclaredUsage,
    /// Names of upstreams that were tried before, in order.
    pub tried: Vec<String>,
}

const USAGE_TYPE: &str = "Usage(uint64 input,uint64 cacheRead,uint64 cacheWrite,uint64 output,uint64 reasoning,uint64 images)";
const SOURCE_TYPE: &str = "Source(string upstream,string host,uint16 port,bytes32 spkiHash,uint8 account,string modelAsked,string modelServed,string requestId,Usage usage,string[] tried)";

impl DeclaredUsage {
    /// The usage as it is hashed.
    #[must_use]
    pub fn to_struct(&self) -> TypedStruct {
        TypedStruct::new(USAGE_TYPE, self.all().into_iter().fold(Words::new(), Words::u64))
    }

    fn all(&self) -> [u64; 6] {
        [self.input, self.cache_read, self.cache_write, self.output, self.reasoning, self.images]
    }
}

impl SourceRecord {
    /// hashStruct, which the receipt carries as `sourceHash`.
    #[must_use]
    pub fn struct_hash(&self) -> Hash32 {
        self.to_struct().hash()
    }

    /// The record as it is hashed.
    #[must_use]
    pub fn to_struct(&self) -> TypedStruct {
        let usage = self.usage.to_struct().hash();
        let data = Words::new()
            .hash(&eip712::string(&self.upstream))
            .hash(&eip712::string(&self.host))
            .u64(self.port.into())
            .hash(&self.spki_hash)
            .u64(self.account.code().into())
            .hash(&eip712::string(&self.model_asked))
            .hash(&eip712::string(&self.model_served))
            .hash(&eip712::string(&self.request_id))
            .hash(&usage)
            .hash(&eip712::array(self.tried.iter().map(|name| eip712::string(name))));
        TypedStruct::new([SOURCE_TYPE, USAGE_TYPE].concat(), data)
    }

    /// Every text in it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = [&self.upstream, &self.host, &self.model_asked, &self.model_served, &self.request_id];
        texts.into_iter().chain(&self.tried).map(String::as_str)
    }

    /// Writes the record as it travels beside its receipt.
    pub fn write(&self, w: &mut Writer) {
        w.array(10).text(&self.upstream).text(&self.host).u64(self.port.into()).bytes(&self.spki_hash.0);
        w.u64(self.account.code().into()).text(&self.model_asked).text(&self.model_served).text(&self.request_id);
        w.array(6);
        for count in self.usage.all() {
            w.u64(count);
        }
        w.array(self.tried.len());
        for name in &self.tried {
            w.text(name);
        }
    }

    /// Reads what [`Self::write`] writes. Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not a source record.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        fn text(r: &mut Reader<'_>) -> Result<String, CborError> {
            Ok(r.text(TEXT_MAX)?.into())
        }
        r.array_of(10)?;
        Ok(Self {
            upstream: text(r)?,
            host: text(r)?,
            port: r.u16()?,
            spki_hash: r.hash()?,
            account: r.code(Account::from_code)?,
            model_asked: text(r)?,
            model_served: text(r)?,
            request_id: text(r)?,
            usage: {
                r.array_of(6)?;
                DeclaredUsage {
                    input: r.u64()?,
                    cache_read: r.u64()?,
                    cache_write: r.u64()?,
                    output: r.u64()?,
                    reasoning: r.u64()?,
                    images: r.u64()?,
                }
            },
            tried: r.list(TRIED_MAX, text)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> SourceRecord {
        SourceRecord {
            upstream: "u".into(),
            host: "u.example".into(),
            port: 443,
            spki_hash: Hash32([1; 32]),
            account: Account::Operator,
            model_asked: "gpt-x".into(),
            model_served: "gpt-x-2026".into(),
            request_id: "req_1".into(),
            usage: DeclaredUsage { input: 1, cache_read: 2, cache_write: 3, output: 4, reasoning: 5, images: 6 },
            tried: alloc::vec!["v".into(), "w".into()],
        }
    }

    #[test]
    fn a_record_reads_back_as_written_and_any_flip_changes_its_hash() {
        let record = sample();
        let mut w = Writer::new();
        record.write(&mut w);
        let bytes = w.into_vec();
        assert_eq!(SourceRecord::read(&mut Reader::new(&bytes)), Ok(record.clone()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let mut r = Reader::new(&flipped);
            if let Ok(other) = SourceRecord::read(&mut r).and_then(|other| r.end().map(|()| other)) {
                assert_ne!(other.struct_hash(), record.struct_hash(), "byte {at}");
            }
        }
    }
}
