//! How an answer is paid: the one place that knows one way from another, and the five questions that each way answers.
//!
//! | question | answered by |
//! |---|---|
//! | what is verified | [`Authorization::message`](crate::payment::Authorization::message), which the payer signs, and [`Through::of_terms`] |
//! | when it is claimed | before anything runs, by [`Authorization::payment_id`](crate::payment::Authorization::payment_id): one signature, one answer |
//! | what may be charged | [`Scheme::charge`] |
//! | what settles it | one call, of the token or of the settler; `candor-x402`'s `scheme` makes it |
//! | what ends it | the use of its nonce, or its end: [`Transfer`] says what a chain is asked |
//!
//! A further scheme is one more file beside `eip3009`, and one arm in each function here and there. Nobody else tells one member from another
//! (`cargo xtask tidy`). Spec: payment.md. Not here: what is to be paid (`offer`), the payment as it travels (`payment`).

mod eip3009;
mod permit2;
mod transfer;

pub use eip3009::TRANSFER_TYPE;
pub use permit2::{PERMIT2, SETTLER_FACTORY, UPTO_PROXY, settler_code, settler_of};
pub use transfer::{Keeper, Log, LogQuestion, NonceQuestion, TRANSFER_TOPIC, Transfer};

use core::fmt;

use crate::abi::Words;
use crate::bytes::{Address, Amount, Hash32};
use crate::cbor::{CborError, Reader, Writer};
use crate::eip712::{TypedMessage, TypedStruct};
use crate::hash::keccak256;
use crate::payment::{Authorization, TokenDomain};
use crate::tags;
use crate::terms::Chain;
use crate::time::UnixSeconds;

codes! {
    /// How the payment moves money (x402 scheme and transfer method).
    Scheme {
        /// Nobody paid: the terms make it free.
        None = 0 "none",
        /// x402 `exact` with EIP-3009: the whole signed amount moves.
        ExactEip3009 = 1 "exact/eip3009",
        /// x402 `exact` with Permit2.
        ExactPermit2 = 2 "exact/permit2",
        /// x402 `upto` with Permit2: at most the signed amount moves.
        UptoPermit2 = 3 "upto/permit2",
        /// x402 `batch-settlement`: vouchers on a channel.
        Batch = 4 "batch-settlement",
    }
}

impl Scheme {
    /// Whether somebody pays.
    #[must_use]
    pub fn is_paid(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether a signature of this scheme pays for one answer: what this version takes.
    #[must_use]
    pub fn pays_for_one_answer(self) -> bool {
        Form::of(self).is_some()
    }

    /// Whether less than what was signed may move. Otherwise all of it does, whatever the answer came to.
    #[must_use]
    pub fn is_metered(self) -> bool {
        matches!(self, Self::UptoPermit2 | Self::Batch)
    }

    /// Whether the payer must have allowed Permit2 to move the token.
    #[must_use]
    pub fn needs_allowance(self) -> bool {
        matches!(self, Self::ExactPermit2 | Self::UptoPermit2)
    }

    /// The first second at which a signature with this end is good no more: a token's bound is strict, Permit2's deadline is the last good one.
    #[must_use]
    pub fn over_at(self, signed: UnixSeconds) -> UnixSeconds {
        if self.needs_allowance() { signed.saturating_add(1) } else { signed }
    }

    /// Identity of the payment that has this payer's nonce, if the signatures of this scheme pay for one answer each.
    #[must_use]
    pub fn payment_id(self, chain_id: u64, asset: &Address, payer: &Address, nonce: &Hash32) -> Option<Hash32> {
        Some(keccak256(&[Form::of(self)?.id_words(chain_id, asset, payer, nonce).as_slice()]))
    }

    /// What is charged for work that comes to `metered`, of a payment that was signed for `signed`.
    #[must_use]
    pub fn charge(self, signed: Amount, metered: Amount) -> Amount {
        match self {
            Self::None => Amount::ZERO,
            Self::ExactEip3009 | Self::ExactPermit2 => signed,
            Self::UptoPermit2 | Self::Batch => metered.min(signed),
        }
    }

    /// How people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::None => "not at all: nobody paid",
            Self::ExactEip3009 => "x402 exact, EIP-3009",
            Self::ExactPermit2 => "x402 exact, Permit2",
            Self::UptoPermit2 => "x402 upto, Permit2",
            Self::Batch => "x402 batch settlement",
        }
    }
}

/// Contracts that were signed beside an authorization, at most.
pub(crate) const CONTRACTS_MAX: u64 = 2;

/// Through which contract a payment moves, as its payer signed it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a way more is another version")]
pub enum Through {
    /// The token itself (EIP-3009): anyone may submit it, for the whole amount.
    #[default]
    Token,
    /// x402's `upto` proxy of Permit2: one address alone may submit it, for at most the amount.
    UptoProxy {
        /// The proxy, which Permit2 calls the spender.
        spender: Address,
        /// Who alone may: the settler of an enclave's key, if it is one of our offers that is paid.
        facilitator: Address,
    },
}

impl Through {
    /// The way that a payment by this scheme takes to an enclave of this key, on this chain of its terms; `None` if they do not offer it there.
    #[must_use]
    pub fn of_terms(scheme: Scheme, chain: &Chain, k_sig: &Address) -> Option<Self> {
        match scheme {
            Scheme::ExactEip3009 => Some(Self::Token),
            // Attack: settlers of another factory, or through another proxy, charge what they like.
            Scheme::UptoPermit2 if (chain.settler_factory, chain.upto_proxy) == (SETTLER_FACTORY, UPTO_PROXY) => {
                Some(Self::UptoProxy { spender: UPTO_PROXY, facilitator: settler_of(&SETTLER_FACTORY, k_sig) })
            }
            Scheme::None | Scheme::ExactPermit2 | Scheme::UptoPermit2 | Scheme::Batch => None,
        }
    }

    /// Every way that an enclave of this key takes on this chain of its terms, the preferred one first: what charges no more than was metered.
    pub fn all_of_terms(chain: &Chain, k_sig: &Address) -> impl Iterator<Item = Self> {
        [Scheme::UptoPermit2, Scheme::ExactEip3009].into_iter().filter_map(|scheme| Self::of_terms(scheme, chain, k_sig))
    }

    /// The scheme that a signature of this form pays by.
    #[must_use]
    pub fn scheme(self) -> Scheme {
        match self {
            Self::Token => Scheme::ExactEip3009,
            Self::UptoProxy { .. } => Scheme::UptoPermit2,
        }
    }

    /// Who alone may submit it; zero if anyone may.
    #[must_use]
    pub fn settler(self) -> Address {
        match self {
            Self::Token => Address::ZERO,
            Self::UptoProxy { facilitator, .. } => facilitator,
        }
    }

    pub(crate) fn domain(self, token: &TokenDomain) -> TypedStruct {
        match self {
            Self::Token => token.to_struct(),
            Self::UptoProxy { .. } => permit2::domain(token.chain_id),
        }
    }

    pub(crate) fn message(self, authorization: &Authorization, token: &TokenDomain) -> TypedMessage {
        let body = match self {
            Self::Token => eip3009::transfer(authorization),
            Self::UptoProxy { spender, facilitator } => permit2::upto(authorization, &token.asset, &spender, &facilitator),
        };
        TypedMessage::of_domain(self.domain(token).hash(), body)
    }

    pub(crate) fn form(self) -> Form {
        match self {
            Self::Token => Form::Token,
            Self::UptoProxy { .. } => Form::UptoProxy,
        }
    }

    /// How many contracts were signed beside it.
    pub(crate) fn contracts(self) -> u64 {
        match self {
            Self::Token => 0,
            Self::UptoProxy { .. } => 2,
        }
    }

    /// The scheme, and behind it the contracts that were signed.
    pub(crate) fn write(self, w: &mut Writer) {
        w.u64(self.scheme().code().into());
        match self {
            Self::Token => w,
            Self::UptoProxy { spender, facilitator } => w.bytes(&spender.0).bytes(&facilitator.0),
        };
    }

    /// Reads what [`Self::write`] wrote; a scheme that no payment of one answer has is refused.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        match r.code(|code| Scheme::from_code(code).and_then(Form::of))? {
            Form::Token => Ok(Self::Token),
            Form::UptoProxy => Ok(Self::UptoProxy { spender: r.address()?, facilitator: r.address()? }),
        }
    }
}

/// [`Through`] without its contracts, of which no payment id has any.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Token,
    UptoProxy,
}

impl Form {
    fn of(scheme: Scheme) -> Option<Self> {
        match scheme {
            Scheme::ExactEip3009 => Some(Self::Token),
            Scheme::UptoPermit2 => Some(Self::UptoProxy),
            Scheme::None | Scheme::ExactPermit2 | Scheme::Batch => None,
        }
    }

    /// The tag of its payment ids.
    pub(crate) fn id_tag(self) -> &'static [u8] {
        match self {
            Self::Token => tags::PAYMENT_EIP3009,
            Self::UptoProxy => tags::PAYMENT_PERMIT2,
        }
    }

    /// What a payment id hashes: the tag's hash, chain, the contract that keeps the nonce, payer, nonce. Spec: payment.md §1.
    pub(crate) fn id_words(self, chain_id: u64, asset: &Address, payer: &Address, nonce: &Hash32) -> Words {
        let keeper = match self {
            Self::Token => asset,
            Self::UptoProxy => &PERMIT2,
        };
        Words::new().hash(&keccak256(&[self.id_tag()])).u64(chain_id).address(keeper).address(payer).hash(nonce)
    }
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("through the token"),
            Self::UptoProxy { spender, facilitator } => write!(f, "through Permit2 and {spender}, by {facilitator} alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_charges_what_was_signed_and_upto_what_was_metered_and_never_more() {
        let charge = |scheme: Scheme, metered| scheme.charge(Amount(10), Amount(metered)).0;
        for scheme in [Scheme::ExactEip3009, Scheme::ExactPermit2] {
            assert_eq!((charge(scheme, 3), charge(scheme, 30)), (10, 10));
        }
        assert_eq!([0, 3, 10, 30].map(|metered| charge(Scheme::UptoPermit2, metered)), [0, 3, 10, 10]);
        assert_eq!(charge(Scheme::None, 3), 0);
    }

    #[test]
    fn a_way_is_offered_where_the_terms_name_its_contracts() {
        let k_sig = Address([9; 20]);
        let chain = Chain { settler_factory: SETTLER_FACTORY, upto_proxy: UPTO_PROXY, ..Chain::default() };
        let way = |scheme, chain: &Chain| Through::of_terms(scheme, chain, &k_sig);
        for scheme in [Scheme::ExactEip3009, Scheme::UptoPermit2] {
            assert_eq!(way(scheme, &chain).map(Through::scheme), Some(scheme));
        }
        assert_eq!(way(Scheme::UptoPermit2, &chain).map(Through::settler), Some(settler_of(&chain.settler_factory, &k_sig)));
        for other in [Address::ZERO, Address([1; 20])] {
            assert_eq!(way(Scheme::UptoPermit2, &Chain { settler_factory: other, ..chain.clone() }), None);
            assert_eq!(way(Scheme::UptoPermit2, &Chain { upto_proxy: other, ..chain.clone() }), None);
        }
        assert_eq!([Scheme::None, Scheme::ExactPermit2, Scheme::Batch].map(|scheme| way(scheme, &chain)), [None; 3]);
    }

    #[test]
    fn a_way_reads_back_and_a_scheme_without_a_signature_for_one_answer_is_refused() {
        let ways = [Through::Token, Through::UptoProxy { spender: Address([1; 20]), facilitator: Address([2; 20]) }];
        for way in ways {
            let mut w = Writer::new();
            way.write(&mut w);
            let bytes = w.into_vec();
            let mut r = Reader::new(&bytes);
            assert_eq!((Through::read(&mut r), r.end()), (Ok(way), Ok(())));
            for scheme in [0, 2, 4, 5] {
                let mut other = bytes.clone();
                other[0] = scheme;
                assert!(Through::read(&mut Reader::new(&other)).is_err(), "{scheme}");
            }
        }
    }
}
