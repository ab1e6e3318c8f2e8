//! The offer: a quote that K_sig signed for one request, and the rules by which anybody believes one.
//!
//! In: an offer nobody believes, a verified enclave, and what was asked for. Out: [`VerifiedOffer`], which the bundle's verdict, the client
//! before it signs a payment, and the chooser among a server's entries all ask for: one set of rules, so that nothing is paid that a bundle
//! would refuse. Spec: payment.md §3. Not proven: that the enclave will honour it, and that the payer pays it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::VERSION;
use crate::abi::{AbiError, WordReader, Words};
use crate::bytes::{Address, Amount, Hash32, Signature65};
use crate::eip712::{Recover, TypedMessage, TypedStruct, signer};
use crate::evidence::VerifiedEnclave;
use crate::payment::TokenDomain;
use crate::policy::Policy;
use crate::scheme::{Scheme, Through};
use crate::step::Step;
use crate::terms::{Classes, OperatorTerms, SignedPriceList, ways};
use crate::time::UnixMs;
use crate::verdict::{Check, Recorder, Status, Stop};

/// Length of a bucket of an offer's salt, in seconds. An offer is made anew from its bucket, and is honoured in it and the next: one to two
/// minutes (ADR 0005).
pub const BUCKET_SECONDS: u64 = 60;

/// The longest that an offer is honoured, in seconds. For so long a boot that sells no more may still begin an answer.
pub const HONOURED_SECONDS: u64 = 2 * BUCKET_SECONDS;

/// The signed quote for one request: what a 402 offers. Spec: payment.md §3.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Offer {
    /// Manifest of the boot that signed it.
    pub manifest_hash: Hash32,
    /// The request, by the same commitment that the receipt carries.
    pub request_commitment: Hash32,
    /// Digest of the model.
    pub model_id: Hash32,
    /// How the money would move.
    pub scheme: Scheme,
    /// Who would be paid.
    pub payee: Address,
    /// Token contract.
    pub asset: Address,
    /// Chain of the token.
    pub chain_id: u64,
    /// Settler clone; zero for `exact`.
    pub settler: Address,
    /// The price (`exact`) or its ceiling, in the asset's smallest unit.
    pub amount: Amount,
    /// Tokens in, as counted (`exact`) or bounded.
    pub prompt_tokens: u64,
    /// Tokens out at most.
    pub max_tokens: u64,
    /// Commitment to the server's share of the sampling seed; zero if the request names the seed.
    pub seed_commitment: Hash32,
    /// Unix milliseconds after which the enclave no longer honours it.
    pub valid_until: UnixMs,
    /// Digest of the price list that it is made from; zero for the terms' own ceilings.
    pub price_list_hash: Hash32,
    /// Number of that list; zero without one.
    pub price_list_number: u64,
}

const OFFER_TYPE: &str = "Offer(uint8 version,bytes32 manifestHash,bytes32 requestCommitment,bytes32 modelId,uint8 scheme,address payee,address asset,uint256 chainId,address settler,uint256 amount,uint64 promptTokens,uint64 maxTokens,bytes32 seedCommitment,uint64 validUntil,bytes32 priceListHash,uint64 priceListNumber)";

impl Offer {
    /// Words in the encoding.
    pub const WORDS: usize = 16;

    fn words(&self) -> Words {
        Words::new()
            .u64(VERSION.into())
            .hash(&self.manifest_hash)
            .hash(&self.request_commitment)
            .hash(&self.model_id)
            .u64(self.scheme.code().into())
            .address(&self.payee)
            .address(&self.asset)
            .u64(self.chain_id)
            .address(&self.settler)
            .amount(self.amount)
            .u64(self.prompt_tokens)
            .u64(self.max_tokens)
            .hash(&self.seed_commitment)
            .u64(self.valid_until.0)
            .hash(&self.price_list_hash)
            .u64(self.price_list_number)
    }

    /// The one encoding: 512 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.words().into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// `Version`, `Length` or `Range`.
    pub fn parse(bytes: &[u8]) -> Result<Self, AbiError> {
        let mut r = WordReader::versioned(bytes, Self::WORDS, VERSION)?;
        Ok(Self {
            manifest_hash: r.hash()?,
            request_commitment: r.hash()?,
            model_id: r.hash()?,
            scheme: r.code(Scheme::from_code)?,
            payee: r.address()?,
            asset: r.address()?,
            chain_id: r.u64()?,
            settler: r.address()?,
            amount: r.amount()?,
            prompt_tokens: r.u64()?,
            max_tokens: r.u64()?,
            seed_commitment: r.hash()?,
            valid_until: UnixMs(r.u64()?),
            price_list_hash: r.hash()?,
            price_list_number: r.u64()?,
        })
    }

    /// The EIP-712 digest that K_sig signs and that a client's nonce commits to.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.message().digest()
    }

    /// What K_sig signs.
    #[must_use]
    pub fn message(&self) -> TypedMessage {
        TypedMessage::candor(TypedStruct::new(OFFER_TYPE, self.words()))
    }
}

/// What the asker knows of the request that an offer must be for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: callers must give each")]
pub struct Asked {
    /// The request, by its commitment.
    pub request_commitment: Hash32,
    /// Digest of the model that was asked for.
    pub model_id: Hash32,
    /// How many tokens out.
    pub max_tokens: MaxTokens,
    /// The moment at which a price list must be in force, Unix milliseconds: now, or when the work began.
    pub at: UnixMs,
}

/// An offer as it was shown: nothing of it is believed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: callers must give each")]
pub struct Shown<'a> {
    /// The offer.
    pub offer: &'a Offer,
    /// By K_sig, as whoever shows it says.
    pub signature: &'a Signature65,
    /// The price list that it names, if that was shown too.
    pub price_list: Option<&'a SignedPriceList>,
}

/// What is known of the limit on tokens out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: known, bounded or unknown")]
pub enum MaxTokens {
    /// The decoding record names it.
    Exactly(u64),
    /// The request names it; a node may offer fewer.
    AtMost(u64),
    /// The request names none.
    Unnamed,
}

impl MaxTokens {
    fn allows(self, offered: u64) -> bool {
        match self {
            Self::Exactly(tokens) => offered == tokens,
            Self::AtMost(tokens) => offered <= tokens,
            Self::Unnamed => true,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Exactly(tokens) => tokens.to_string(),
            Self::AtMost(tokens) => format!("at most {tokens}"),
            Self::Unnamed => "any number".into(),
        }
    }
}

/// An offer that is this enclave's, for this request, at its signed price, to its attested payee. Only [`verify_offer`] and the check of a
/// bundle make one:
///
/// ```compile_fail,E0451
/// fn forge(real: candor_verify::offer::VerifiedOffer, offer: candor_verify::offer::Offer) -> candor_verify::offer::VerifiedOffer {
///     candor_verify::offer::VerifiedOffer { offer, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_verify::offer::VerifiedOffer = make();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct VerifiedOffer {
    offer: Offer,
    token: TokenDomain,
    through: Through,
    classes: Option<Classes>,
}

impl VerifiedOffer {
    /// The offer.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The domain in which its asset signs, by the operator's terms.
    #[must_use]
    pub fn token(&self) -> &TokenDomain {
        &self.token
    }

    /// Through which contract a payment of it moves.
    #[must_use]
    pub fn through(&self) -> Through {
        self.through
    }

    /// The prices that it is made from; `None` if they were not shown.
    #[must_use]
    pub fn classes(&self) -> Option<&Classes> {
        self.classes.as_ref()
    }
}

/// Judges an offer before it is paid.
///
/// # Errors
/// The check that refuses.
pub fn verify_offer(
    shown: &Shown<'_>,
    enclave: &VerifiedEnclave,
    asked: &Asked,
    policy: &Policy,
    recover: &dyn Recover,
) -> Result<VerifiedOffer, Box<Check>> {
    let mut recorder = Recorder::new(Step::OFFER);
    let result = check_offer(&mut recorder, shown, enclave, asked, policy, recover);
    let recorded = recorder.finish();
    match (result, recorded.checks.into_iter().find(|check| check.status == Status::Refused)) {
        (Ok(verified), None) if recorded.complete => Ok(verified),
        (_, Some(refused)) => Err(Box::new(refused)),
        (_, None) => Err(Box::new(Check::bug(Step::OfferSignature))),
    }
}

/// The steps themselves, in order; shared with bundles.
pub(crate) fn check_offer(
    checks: &mut Recorder,
    shown: &Shown<'_>,
    enclave: &VerifiedEnclave,
    asked: &Asked,
    policy: &Policy,
    recover: &dyn Recover,
) -> Result<VerifiedOffer, Stop> {
    let Shown { offer, signature, .. } = *shown;
    let manifest = enclave.manifest();
    checks.signed(Step::OfferSignature, manifest.k_sig, signer(recover, &offer.digest(), signature))?;

    let Some(through) = Through::of_terms(offer.scheme, &enclave.terms().chain(offer.chain_id), &manifest.k_sig) else {
        let got = format!("scheme {} on chain {}", offer.scheme.as_str(), offer.chain_id);
        return checks.require(Step::OfferTerms, false, "a scheme that the terms offer on the chain", got).and(Err(Stop));
    };
    let pairs = [
        ("manifest", manifest.hash().to_string(), offer.manifest_hash.to_string()),
        ("request", asked.request_commitment.to_string(), offer.request_commitment.to_string()),
        ("model", asked.model_id.to_string(), offer.model_id.to_string()),
        ("payee", manifest.payee.to_string(), offer.payee.to_string()),
        ("settler", through.settler().to_string(), offer.settler.to_string()),
    ];
    for (name, expected, got) in pairs {
        if expected != got {
            return checks.require(Step::OfferTerms, false, format!("{name} {expected}"), format!("{name} {got}")).and(Err(Stop));
        }
    }
    if enclave.terms().access.ways & ways::PAID == 0 {
        return Err(checks.refuse(Step::OfferTerms, Step::OfferTerms.id(), "terms by which somebody may pay", "terms by which nobody may"));
    }
    let (wanted, max_tokens) = (asked.max_tokens.text(), offer.max_tokens);
    if !asked.max_tokens.allows(max_tokens) {
        let got = format!("max tokens {max_tokens}");
        return checks.require(Step::OfferTerms, false, format!("max tokens {wanted}"), got).and(Err(Stop));
    }
    // A bundle refuses another model at work.model; before a payment this is the only place.
    let expected = format!("this boot, request, payee, {wanted} tokens, and a model the policy accepts: {}", policy.models);
    checks.require(Step::OfferTerms, policy.models.accepts(&offer.model_id), expected, format!("model {}", offer.model_id))?;

    check_price(checks, shown, enclave.terms(), asked.at, recover)?;
    let classes = prices_shown(shown, enclave.terms()).cloned();

    // Evidence was verified, so its terms are consistent: every price names an asset that they list.
    let Some(asset) = enclave.terms().asset(offer.chain_id, &offer.asset) else { return Err(Stop) };
    let token = TokenDomain { name: asset.name.clone(), version: asset.version.clone(), chain_id: offer.chain_id, asset: offer.asset };
    Ok(VerifiedOffer { offer: offer.clone(), token, through, classes })
}

/// The amount must be that of the prices in force: those of the list that the offer names, or the terms' ceilings if it names none. With a
/// list that was not shown only the bounds are judged, and the check is *not checked*.
fn check_price(checks: &mut Recorder, shown: &Shown<'_>, terms: &OperatorTerms, at: UnixMs, recover: &dyn Recover) -> Result<(), Stop> {
    let offer = shown.offer;
    let units = |amount: Option<Amount>| amount.map_or("no price in this asset".into(), |amount| format!("{amount} units"));
    let amount = |classes: &Classes| classes.amount(offer.prompt_tokens, offer.max_tokens).filter(|amount| *amount != Amount::ZERO);
    let price = terms.price(&offer.model_id, offer.chain_id, &offer.asset);
    let ceiling = price.and_then(|price| amount(&price.ceiling));
    let got = units(Some(offer.amount));
    match (names_list(offer), shown.price_list) {
        (false, None) if offer.price_list_number == 0 => {
            checks.require(Step::OfferPrice, ceiling == Some(offer.amount), units(ceiling), got)
        }
        (false, _) => {
            checks.require(Step::OfferPrice, false, "no price list, and no number of one", "a price list that the offer does not name")
        }
        (true, None) => {
            // A floor may be nothing; an offer is not.
            let floor = price.and_then(|price| price.floor.amount(offer.prompt_tokens, offer.max_tokens));
            let is_bounded = floor.is_some_and(|floor| floor <= offer.amount) && ceiling.is_some_and(|ceiling| offer.amount <= ceiling);
            let number = offer.price_list_number;
            if number == 0 || offer.amount == Amount::ZERO || !is_bounded {
                let expected = format!("from {} to {} by a numbered price list, which is not shown", units(floor), units(ceiling));
                return checks.require(Step::OfferPrice, false, expected, format!("{got} by price list {number}"));
            }
            // Whoever leaves out a list that contradicts its offer gets no further than this.
            let needs = format!("price list {number}, which is not shown (only that it is not above the ceiling of {})", units(ceiling));
            checks.not_checked(Step::OfferPrice, needs)
        }
        (true, Some(signed)) => {
            let list = &signed.list;
            if let Err((expected, got)) = signed.check(terms, recover) {
                return checks.require(Step::OfferPrice, false, expected, got);
            }
            let in_force = list.from <= at && offer.valid_until <= list.until;
            if list.digest() != offer.price_list_hash || list.number != offer.price_list_number || !in_force {
                let expected = format!(
                    "price list {} ({:#}), in force from {at} to {} ms",
                    offer.price_list_number, offer.price_list_hash, offer.valid_until
                );
                let got = format!("price list {} ({:#}), in force from {} to {} ms", list.number, list.digest(), list.from, list.until);
                return checks.require(Step::OfferPrice, false, expected, got);
            }
            let listed = list.price(&offer.model_id, offer.chain_id, &offer.asset).and_then(amount);
            checks.require(Step::OfferPrice, listed == Some(offer.amount), format!("{} by price list {}", units(listed), list.number), got)
        }
    }
}

/// The prices by which an offer that passed was made: those of its list, or the ceilings of the terms without one.
fn prices_shown<'a>(shown: &Shown<'a>, terms: &'a OperatorTerms) -> Option<&'a Classes> {
    let offer = shown.offer;
    let of = (&offer.model_id, offer.chain_id, &offer.asset);
    match (names_list(offer), shown.price_list) {
        (false, _) => terms.price(of.0, of.1, of.2).map(|price| &price.ceiling),
        (true, list) => list.and_then(|signed| signed.list.price(of.0, of.1, of.2)),
    }
}

fn names_list(offer: &Offer) -> bool {
    !offer.price_list_hash.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_reads_back_as_written() {
        let offer = Offer {
            manifest_hash: Hash32([1; 32]),
            request_commitment: Hash32([2; 32]),
            model_id: Hash32([3; 32]),
            scheme: Scheme::ExactEip3009,
            payee: Address([4; 20]),
            asset: Address([5; 20]),
            chain_id: 31337,
            settler: Address::ZERO,
            amount: Amount(6),
            prompt_tokens: 7,
            max_tokens: 8,
            seed_commitment: Hash32([9; 32]),
            valid_until: UnixMs(10),
            price_list_hash: Hash32([11; 32]),
            price_list_number: 12,
        };
        assert_eq!(Offer::parse(&offer.encode()), Ok(offer.clone()));
        assert!(Offer::parse(&offer.encode()[1..]).is_err());
        let mut bytes = offer.encode();
        bytes[4 * 32 + 31] = 9;
        assert_eq!(Offer::parse(&bytes), Err(AbiError::Range { word: 4 }));
        bytes[31] = 1;
        assert_eq!(Offer::parse(&bytes[..448]), Err(AbiError::Version { expected: 2, got: 1 }));
        let dearer = Offer { amount: Amount(7), ..offer.clone() };
        assert_ne!(dearer.digest(), offer.digest());
    }
}
