//! Signed terms as they travel: deterministic CBOR, every field in the order of the struct, the signature last. Spec: terms-and-manifest.md §1.

use alloc::string::String;
use alloc::vec::Vec;

use super::{
    Access, Asset, Chain, Classes, Egress, Guard, Model, ModelSource, OperatorTerms, Price, Pricing, Route, SealedVersion, Secret, Trust,
    Upstream, UpstreamKind,
};
use crate::bytes::Signature65;
use crate::cbor::{CborError, Reader, Writer};
use crate::time::UnixMs;

/// At most this many entries in any list of terms: a node with more is several nodes.
pub const MAX_LIST: usize = 64;

/// At most this many bytes in any text of terms.
pub const MAX_TEXT: usize = 256;

/// At most this many bytes of signed terms. `CandorRegistry.MAX_BYTES`: with longer ones an enclave would boot that no registry takes.
/// Full lists of full texts are longer, so this is a limit of its own.
pub const SIGNED_TERMS_MAX: usize = 65_536;

/// The terms with the operator's signature, as they travel.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SignedTerms {
    /// What is signed.
    pub terms: OperatorTerms,
    /// By `terms.operator`.
    pub signature: Signature65,
}

impl SignedTerms {
    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let o = &self.terms;
        let mut w = Writer::new();
        w.array(21).u64(crate::VERSION.into()).bytes(&o.operator.0).bytes(&o.payee.0).bytes(&o.registrar.0).bytes(&o.registry.0);
        w.u64(o.anchor_chain_id).u64(o.not_after.0).u64(o.flags.into()).u64(o.storage.into());
        write_list(&mut w, &o.chains, write_chain);
        write_list(&mut w, &o.assets, |w, a| {
            w.array(5).u64(a.chain_id).bytes(&a.asset.0).text(&a.name).text(&a.version).u64(a.decimals.into());
        });
        write_list(&mut w, &o.models, write_model);
        write_list(&mut w, &o.prices, |w, p| {
            w.array(5).bytes(&p.model.0).u64(p.chain_id).bytes(&p.asset.0);
            p.ceiling.write(w);
            p.floor.write(w);
        });
        write_list(&mut w, &o.upstreams, write_upstream);
        write_list(&mut w, &o.secrets, |w, s| {
            w.array(2).text(&s.name).u64(s.min_version.into());
        });
        write_list(&mut w, &o.sealed, |w, s| {
            w.array(2).u64(s.version.into()).u64(s.not_after.0);
        });
        write_list(&mut w, &o.egress, |w, e| {
            w.array(3).text(&e.host).u64(e.port.into()).text(&e.purpose);
        });
        w.array(2).u64(o.access.ways.into()).hashes(&o.access.keys);
        let g = &o.guard;
        w.array(4).text(&g.model).text(&g.upstream).u64(g.payer_requests_per_minute.into()).u64(g.payer_tokens_per_day);
        write_list(&mut w, &o.endpoints, |w, e| {
            w.text(e);
        });
        w.bytes(&self.signature.0);
        w.into_vec()
    }

    /// Reads the one encoding. Unknown fields, trailing bytes, over-long lists and more than [`SIGNED_TERMS_MAX`] bytes are refused.
    /// Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not terms.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        if SIGNED_TERMS_MAX < bytes.len() {
            return Err(CborError::Value { offset: SIGNED_TERMS_MAX });
        }
        let mut r = Reader::new(bytes);
        let signed = Self::read(&mut r)?;
        r.end()?;
        Ok(signed)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.versioned_array_of(21, crate::VERSION)?;
        let terms = OperatorTerms {
            operator: r.address()?,
            payee: r.address()?,
            registrar: r.address()?,
            registry: r.address()?,
            anchor_chain_id: r.u64()?,
            not_after: UnixMs(r.u64()?),
            flags: r.u32()?,
            storage: r.u32()?,
            chains: r.list(MAX_LIST, read_chain)?,
            assets: r.list(MAX_LIST, read_asset)?,
            models: r.list(MAX_LIST, read_model)?,
            prices: r.list(MAX_LIST, read_price)?,
            upstreams: r.list(MAX_LIST, read_upstream)?,
            secrets: r.list(MAX_LIST, |r| {
                r.array_of(2)?;
                Ok(Secret { name: text(r)?, min_version: r.u32()? })
            })?,
            sealed: r.list(MAX_LIST, |r| {
                r.array_of(2)?;
                Ok(SealedVersion { version: r.u32()?, not_after: UnixMs(r.u64()?) })
            })?,
            egress: r.list(MAX_LIST, |r| {
                r.array_of(3)?;
                Ok(Egress { host: text(r)?, port: r.u16()?, purpose: text(r)? })
            })?,
            access: read_access(r)?,
            guard: read_guard(r)?,
            endpoints: r.list(MAX_LIST, text)?,
        };
        Ok(Self { terms, signature: r.signature()? })
    }
}

fn write_list<T>(w: &mut Writer, items: &[T], write: impl Fn(&mut Writer, &T)) {
    w.array(items.len());
    for item in items {
        write(w, item);
    }
}

fn text(r: &mut Reader<'_>) -> Result<String, CborError> {
    Ok(r.text(MAX_TEXT)?.into())
}

fn write_chain(w: &mut Writer, c: &Chain) {
    w.array(8).u64(c.chain_id).bytes(&c.registry.0).bytes(&c.settler_factory.0).bytes(&c.forwarder_factory.0);
    w.bytes(&c.authorizer_factory.0).bytes(&c.batch.0).bytes(&c.upto_proxy.0).bytes(&c.channel_policy.0);
}

fn read_chain(r: &mut Reader<'_>) -> Result<Chain, CborError> {
    r.array_of(8)?;
    Ok(Chain {
        chain_id: r.u64()?,
        registry: r.address()?,
        settler_factory: r.address()?,
        forwarder_factory: r.address()?,
        authorizer_factory: r.address()?,
        batch: r.address()?,
        upto_proxy: r.address()?,
        channel_policy: r.hash()?,
    })
}

fn read_asset(r: &mut Reader<'_>) -> Result<Asset, CborError> {
    r.array_of(5)?;
    Ok(Asset { chain_id: r.u64()?, asset: r.address()?, name: text(r)?, version: text(r)?, decimals: r.u8()? })
}

fn write_model(w: &mut Writer, m: &Model) {
    w.array(6).text(&m.id).u64(m.source.code().into()).bytes(&m.digest.0).bytes(&m.source_digest.0).u64(m.context_tokens.into());
    write_list(w, &m.routes, |w, route| {
        w.array(2).text(&route.upstream).text(&route.model);
    });
}

fn read_model(r: &mut Reader<'_>) -> Result<Model, CborError> {
    r.array_of(6)?;
    Ok(Model {
        id: text(r)?,
        source: r.code(ModelSource::from_code)?,
        digest: r.hash()?,
        source_digest: r.hash()?,
        context_tokens: r.u32()?,
        routes: r.list(MAX_LIST, |r| {
            r.array_of(2)?;
            Ok(Route { upstream: text(r)?, model: text(r)? })
        })?,
    })
}

fn read_price(r: &mut Reader<'_>) -> Result<Price, CborError> {
    r.array_of(5)?;
    let (model, chain_id, asset) = (r.hash()?, r.u64()?, r.address()?);
    Ok(Price { model, chain_id, asset, ceiling: Classes::read(r)?, floor: Classes::read(r)? })
}

fn write_upstream(w: &mut Writer, u: &Upstream) {
    w.array(11).text(&u.name).u64(u.kind.code().into()).text(&u.host).u64(u.port.into()).text(&u.path);
    w.u64(u.trust.code().into()).bytes(&u.trust_anchor.0).text(&u.account).u64(u.pricing.code().into());
    w.u64(u.markup.into()).u64(u.flags.into());
}

fn read_upstream(r: &mut Reader<'_>) -> Result<Upstream, CborError> {
    r.array_of(11)?;
    Ok(Upstream {
        name: text(r)?,
        kind: r.code(UpstreamKind::from_code)?,
        host: text(r)?,
        port: r.u16()?,
        path: text(r)?,
        trust: r.code(Trust::from_code)?,
        trust_anchor: r.hash()?,
        account: text(r)?,
        pricing: r.code(Pricing::from_code)?,
        markup: r.u32()?,
        flags: r.u32()?,
    })
}

fn read_access(r: &mut Reader<'_>) -> Result<Access, CborError> {
    r.array_of(2)?;
    Ok(Access { ways: r.u32()?, keys: r.hashes(MAX_LIST)? })
}

fn read_guard(r: &mut Reader<'_>) -> Result<Guard, CborError> {
    r.array_of(4)?;
    Ok(Guard { model: text(r)?, upstream: text(r)?, payer_requests_per_minute: r.u32()?, payer_tokens_per_day: r.u64()? })
}
