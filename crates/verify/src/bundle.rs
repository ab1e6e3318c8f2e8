//! The bundle: one file that lets anyone check one answer, years later, without us.
//!
//! Evidence of the enclave, the request, every frame of the answer, offer and payment if it was sold, and the delivery (receipt, checkpoint,
//! proofs). Deterministic CBOR read by one strict reader; every value in it is signed, or hashed by something signed, so any flipped
//! byte is refused by a named check (Invariant 7). Spec: bundle.md.
//!
//! [`crate::check::verify_bundle`] makes the checks of [`crate::step::Step::BUNDLE`] in order; this file only reads and writes.
//! Not here: locations (transaction hashes, URLs) sit beside a bundle in `.hints.json`, which no verdict reads.

use alloc::string::String;
use alloc::vec::Vec;

use crate::VERSION;
use crate::bytes::{Hash32, Signature65};
use crate::cbor::{CborError, Reader, Writer};
use crate::checkpoint::Checkpoint;
use crate::delivery::Delivery;
use crate::evidence::Evidence;
use crate::offer::Offer;
use crate::payment::{Authorization, Payment};
use crate::scheme::{CONTRACTS_MAX, Through};
use crate::terms::{SIGNED_TERMS_MAX, SignedPriceList};
use crate::time::{UnixMs, UnixSeconds};
use crate::tlog::{PATH_MAX, Tree};

/// Largest bundle in bytes: a body of 4 MiB and an answer of 16 MiB, with room.
pub const BUNDLE_MAX: usize = 24 << 20;

/// Most frames in one answer.
pub const FRAMES_MAX: usize = 65_536;

/// Longest request body, in bytes.
pub const BODY_MAX: usize = 4 << 20;

/// Longest frame, in bytes.
pub const FRAME_MAX: usize = 4 << 20;

/// What was asked, as sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Request {
    /// Salt of the commitment, told to the client in the 402.
    pub salt: Hash32,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Raw body.
    pub body: Vec<u8>,
}

/// What was answered, as sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Response {
    /// Blinding seed of the transcript, told to the client before the first token.
    pub seed: Hash32,
    /// Values of the SSE `data:` fields (without `[DONE]` and without the spliced member), or the one body.
    pub frames: Vec<Vec<u8>>,
}

/// What was offered, and what was paid for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Sale {
    /// The quote.
    pub offer: Offer,
    /// By K_sig over the offer's digest.
    pub offer_signature: Signature65,
    /// What the payer signed.
    pub payment: Payment,
    /// The price list that the offer names; without it the price is only known to be within the terms.
    pub price_list: Option<SignedPriceList>,
}

/// Later trees in one bundle, at most: one that was anchored, and one that was observed before.
pub const LATER_TREES_MAX: usize = 2;

/// A tree that holds the receipt, not smaller than the bundle's own checkpoint, that was anchored or observed on chain. It is the checkpoint's
/// own tree where that was anchored as it stands.
///
/// RFC 9162 does not bind the number of leaves of the newer tree, so the proof alone does not name it: K_sig's signature does.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct LaterTree {
    /// What K_sig signed. Its log id must be the bundle's own, and so is not written.
    pub checkpoint: Checkpoint,
    /// By K_sig over the checkpoint's digest, as the event on chain shows it.
    pub signature: Signature65,
    /// RFC 9162 consistency proof from the bundle's checkpoint.
    pub consistency: Vec<Hash32>,
}

/// One answer with everything needed to check it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Bundle {
    /// Evidence current when the receipt was signed.
    pub evidence: Evidence,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub response: Response,
    /// How it was sold; `None` if nobody paid.
    pub sale: Option<Sale>,
    /// What came with the answer.
    pub delivery: Delivery,
    /// Trees that were added when the bundle was upgraded: the first not smaller than the checkpoint's, the second larger than the first.
    pub later_trees: Vec<LaterTree>,
}

impl Bundle {
    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(7).u64(VERSION.into()).bytes(&self.evidence.encode());
        let q = &self.request;
        w.array(4).bytes(&q.salt.0).text(&q.method).text(&q.path).bytes(&q.body);
        w.array(2).bytes(&self.response.seed.0).array(self.response.frames.len());
        for frame in &self.response.frames {
            w.bytes(frame);
        }
        write_tail(&mut w, self.sale.as_ref(), &self.delivery, &self.later_trees);
        w.into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        if bytes.len() > BUNDLE_MAX {
            return Err(CborError::Value { offset: BUNDLE_MAX });
        }
        let mut r = Reader::new(bytes);
        r.versioned_array_of(7, VERSION)?;
        let evidence = Evidence::parse(r.bytes(BUNDLE_MAX)?)?;
        r.array_of(4)?;
        let request =
            Request { salt: r.hash()?, method: r.text(16)?.into(), path: r.text(2048)?.into(), body: r.bytes(BODY_MAX)?.to_vec() };
        r.array_of(2)?;
        let response = Response { seed: r.hash()?, frames: r.list(FRAMES_MAX, |r| r.bytes(FRAME_MAX).map(<[u8]>::to_vec))? };
        let (sale, delivery, later_trees) = read_tail(&mut r, bytes.len())?;
        Ok(Self { evidence, request, response, sale, delivery, later_trees })
    }
}

/// The last three parts, which a proof has too.
pub(crate) fn write_tail(w: &mut Writer, sale: Option<&Sale>, delivery: &Delivery, later_trees: &[LaterTree]) {
    w.array(usize::from(sale.is_some()));
    if let Some(sale) = sale {
        w.array(4).bytes(&sale.offer.encode()).bytes(&sale.offer_signature.0);
        write_payment(w, &sale.payment);
        w.array(usize::from(sale.price_list.is_some()));
        if let Some(list) = &sale.price_list {
            w.bytes(&list.encode());
        }
    }
    w.bytes(&delivery.encode()).array(later_trees.len());
    for later in later_trees {
        let c = &later.checkpoint;
        w.array(5).u64(c.tree.size).bytes(&c.tree.root.0).u64(c.timestamp.0).bytes(&later.signature.0).hashes(&later.consistency);
    }
}

/// What [`write_tail`] writes, up to the end of the file, which is there.
pub(crate) fn read_tail(r: &mut Reader<'_>, end: usize) -> Result<(Option<Sale>, Delivery, Vec<LaterTree>), CborError> {
    let sale = r.optional(read_sale)?;
    let delivery = Delivery::parse(r.bytes(BUNDLE_MAX)?)?;
    let log_id = delivery.checkpoint.checkpoint.log_id;
    let later_trees = r.list(LATER_TREES_MAX, |r| read_later(r, log_id))?;
    r.end()?;
    let grow = later_trees.windows(2).all(|pair| matches!(pair, [a, b] if a.checkpoint.tree.size < b.checkpoint.tree.size));
    if grow { Ok((sale, delivery, later_trees)) } else { Err(CborError::Value { offset: end }) }
}

fn read_sale(r: &mut Reader<'_>) -> Result<Sale, CborError> {
    r.array_of(4)?;
    Ok(Sale {
        offer: r.words(Offer::parse)?,
        offer_signature: r.signature()?,
        payment: read_payment(r)?,
        price_list: r.optional(|r| SignedPriceList::parse(r.bytes(SIGNED_TERMS_MAX)?))?,
    })
}

fn read_later(r: &mut Reader<'_>, log_id: Hash32) -> Result<LaterTree, CborError> {
    r.array_of(5)?;
    Ok(LaterTree {
        checkpoint: Checkpoint { log_id, tree: Tree { size: r.u64()?, root: r.hash()? }, timestamp: UnixMs(r.u64()?) },
        signature: r.signature()?,
        consistency: r.hashes(PATH_MAX.saturating_add(1))?,
    })
}

/// Members of a payment beside the contracts that its scheme names.
const PAYMENT_MEMBERS: u64 = 9;

/// The scheme says which contracts follow it; the rest is alike.
fn write_payment(w: &mut Writer, payment: &Payment) {
    let a = &payment.authorization;
    w.array(usize::try_from(PAYMENT_MEMBERS.saturating_add(a.through.contracts())).unwrap_or_default());
    a.through.write(w);
    w.bytes(&a.from.0).bytes(&a.to.0).amount(a.value);
    w.u64(a.valid_after.0).u64(a.valid_before.0).bytes(&a.nonce.0).bytes(&payment.signature.0).hashes(payment.client_salt.as_slice());
}

fn read_payment(r: &mut Reader<'_>) -> Result<Payment, CborError> {
    let members = r.array_up_to(PAYMENT_MEMBERS.saturating_add(CONTRACTS_MAX))?;
    let through = Through::read(r)?;
    if members != PAYMENT_MEMBERS.saturating_add(through.contracts()) {
        return Err(r.value_error());
    }
    let authorization = Authorization {
        through,
        from: r.address()?,
        to: r.address()?,
        value: r.amount()?,
        valid_after: UnixSeconds(r.u64()?),
        valid_before: UnixSeconds(r.u64()?),
        nonce: r.hash()?,
    };
    Ok(Payment { authorization, signature: r.signature()?, client_salt: r.optional(Reader::hash)? })
}
