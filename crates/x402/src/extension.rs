//! The `candor` extension: how signed offers travel in a 402, and how a client says that its payment answers one.
//!
//! Server: `extensions.candor = {info: {version, offers: [{offer, signature}], requestSalt, manifestHash, answerRecovery, answerSalt?}, schema}`, an
//! offer for each scheme of `accepts` in the same order, the schema for clients that look at it. Client: the same, echoed, plus `info.clientSalt`, with which its nonce commits to the offer. A stock
//! x402 client echoes without that salt; then the payment is bound to the request on our side only and the verdict says *equal price only*.
//! `answerSalt` is another in each 402 and outside of the signed offer: who echoes it can open the answer later. Spec: payment.md §3 and §4,
//! recovery.md §4.
//! Not here: whether K_sig is attested (`candor-verify`), the comparison of the nonce (`scheme`), what the salt opens (`recovery.rs`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::offer::Offer;
use candor_verify::scheme::Scheme;
use serde_json::{Map, Value, json};

use crate::protocol::JsonObject;

/// Key in `extensions`.
pub const EXTENSION_KEY: &str = "candor";
/// Version of `info` that this code reads and writes.
pub const EXTENSION_VERSION: u64 = 2;

/// Longest base64 text that is decoded here: an offer has 512 bytes, so 684 characters.
const MAX_BASE64: usize = 1024;

/// An offer with its signature and the salt of the request commitment in it. Parsed, not believed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct SignedOffer {
    /// The quote.
    pub offer: Offer,
    /// By K_sig.
    pub signature: Signature65,
    /// Salt of `offer.request_commitment`, for this client only.
    pub request_salt: Hash32,
}

/// The offers of one 402, one for each way to pay: of one request, under one salt. Parsed, not believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedOffers(Vec<SignedOffer>);

/// Offers in one 402, at most.
const OFFERS_MAX: usize = 4;

/// Whether an answer can be had again by who paid for it and did not get it: a part of each 402.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: an answer is kept or not")]
pub enum AnswerRecovery {
    /// It is kept for whoever echoes this salt.
    Echo {
        /// 32 random bytes of this 402.
        salt: Hash32,
    },
    /// It is not kept: a connection that is lost loses it.
    None,
}

/// What came back from a client.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct OfferEcho {
    /// The offers that the client echoed; it answers the one of its scheme.
    pub offers: SignedOffers,
    /// `None` for clients that echo without committing (any stock x402 client).
    pub client_salt: Option<Hash32>,
    /// `None` if the 402 had none. Nobody asks whether it is the one that was sent: who changes it opens the answer with the changed one.
    pub answer_salt: Option<Hash32>,
}

/// Why `extensions.candor` is not what it should be. Names the member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExtensionError {
    /// Missing, or of another type, length or encoding.
    Malformed {
        /// Member of `info`.
        field: &'static str,
    },
    /// Another version of the extension.
    Version {
        /// [`EXTENSION_VERSION`].
        expected: u64,
        /// What it says; `None` if it is not a number.
        got: Option<u64>,
    },
    /// A member that the 402 did not have.
    NotOffered {
        /// Member of `info`.
        field: &'static str,
    },
    /// `manifestHash` is not the offer's.
    ManifestHash {
        /// In the offer.
        expected: Hash32,
        /// Beside it.
        got: Hash32,
    },
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { field } => write!(f, "extensions.candor.info.{field} is missing or malformed"),
            Self::Version { expected, got: Some(got) } => write!(f, "extensions.candor: version {expected} expected, got {got}"),
            Self::Version { expected, got: None } => write!(f, "extensions.candor: version {expected} expected, got no number"),
            Self::NotOffered { field } => write!(f, "extensions.candor.info.{field} was not in the 402"),
            Self::ManifestHash { expected, got } => {
                write!(f, "extensions.candor: manifest hash {expected:#} in the offer, {got:#} beside it")
            }
        }
    }
}

impl std::error::Error for ExtensionError {}

impl SignedOffers {
    /// These, of one request and one boot; the preferred one first.
    #[must_use]
    pub fn new(offers: Vec<SignedOffer>) -> Self {
        Self(offers)
    }

    /// All of them, the preferred one first.
    pub fn iter(&self) -> impl Iterator<Item = &SignedOffer> {
        self.0.iter()
    }

    /// The offer to be paid by this scheme.
    #[must_use]
    pub fn of(&self, scheme: Scheme) -> Option<&SignedOffer> {
        self.iter().find(|signed| signed.offer.scheme == scheme)
    }

    /// Server: the `extensions` of a 402.
    #[must_use]
    pub fn to_extensions(&self, recovery: &AnswerRecovery) -> JsonObject {
        let (kept, salt) = match recovery {
            AnswerRecovery::Echo { salt } => ("echo", Some(("answerSalt".to_owned(), Value::from(salt.to_string())))),
            AnswerRecovery::None => ("none", None),
        };
        let offer = |signed: &SignedOffer| json!({"offer": STANDARD.encode(signed.offer.encode()), "signature": STANDARD.encode(signed.signature.0)});
        let (request_salt, manifest_hash) =
            self.0.first().map(|signed| (signed.request_salt, signed.offer.manifest_hash)).unwrap_or_default();
        let info: JsonObject = [
            ("version".to_owned(), Value::from(EXTENSION_VERSION)),
            ("offers".to_owned(), self.iter().map(offer).collect()),
            ("requestSalt".to_owned(), Value::from(request_salt.to_string())),
            ("manifestHash".to_owned(), Value::from(manifest_hash.to_string())),
            ("answerRecovery".to_owned(), Value::from(kept)),
        ]
        .into_iter()
        .chain(salt)
        .collect();
        extension(info)
    }

    /// Client: reads the offers out of the `extensions` of a 402; `None` if the server has no `candor` extension.
    ///
    /// # Errors
    /// The member that is not what it should be.
    pub fn parse(extensions: Option<&JsonObject>) -> Result<Option<Self>, ExtensionError> {
        info(extensions)?.as_ref().map(Self::read).transpose()
    }

    fn read(info: &JsonObject) -> Result<Self, ExtensionError> {
        const FIELD: &str = "offers";
        let version = info.member("version").and_then(Value::as_u64);
        if version != Some(EXTENSION_VERSION) {
            return Err(ExtensionError::Version { expected: EXTENSION_VERSION, got: version });
        }
        let members = info.member(FIELD).and_then(Value::as_array).filter(|members| (1..=OFFERS_MAX).contains(&members.len()));
        let members = members.ok_or(ExtensionError::Malformed { field: FIELD })?;
        let (manifest_hash, request_salt) = (hash_member(info, "manifestHash")?, hash_member(info, "requestSalt")?);
        let offers = members.iter().map(|member| {
            let member = member.as_object().ok_or(ExtensionError::Malformed { field: FIELD })?;
            let offer = Offer::parse(&base64_member(member, "offer")?).map_err(|_| ExtensionError::Malformed { field: "offer" })?;
            let signature = Signature65::from_slice(&base64_member(member, "signature")?);
            let signature = signature.ok_or(ExtensionError::Malformed { field: "signature" })?;
            if manifest_hash != offer.manifest_hash {
                return Err(ExtensionError::ManifestHash { expected: offer.manifest_hash, got: manifest_hash });
            }
            Ok(SignedOffer { offer, signature, request_salt })
        });
        offers.collect::<Result<_, _>>().map(Self)
    }
}

impl From<SignedOffer> for SignedOffers {
    fn from(signed: SignedOffer) -> Self {
        Self(vec![signed])
    }
}

impl OfferEcho {
    /// Server: reads a client's echo; `None` if the client sent no extensions, which x402 allows.
    ///
    /// # Errors
    /// The member that is not what it should be; extensions without `candor` are `Malformed { field: "info" }`, because an echo may not
    /// delete.
    pub fn parse(extensions: Option<&JsonObject>) -> Result<Option<Self>, ExtensionError> {
        let sent_some = extensions.is_some_and(|extensions| !extensions.0.is_empty());
        let Some(info) = info(extensions)? else {
            return if sent_some { Err(ExtensionError::Malformed { field: "info" }) } else { Ok(None) };
        };
        let client_salt = match info.member("clientSalt") {
            None => None,
            Some(_) => Some(hash_member(&info, "clientSalt")?),
        };
        Ok(Some(Self { offers: SignedOffers::read(&info)?, client_salt, answer_salt: answer_salt(&info)? }))
    }

    /// The offer that it answers if it pays by this scheme.
    #[must_use]
    pub fn signed(&self, scheme: Scheme) -> Option<SignedOffer> {
        self.offers.of(scheme).cloned()
    }
}

/// The salt with which the answer is to be kept: 0x and 64 lower-case hex digits, so that one salt has one text.
fn answer_salt(info: &JsonObject) -> Result<Option<Hash32>, ExtensionError> {
    const FIELD: &str = "answerSalt";
    if info.member(FIELD).is_none() {
        return Ok(None);
    }
    let salt = hash_member(info, FIELD)?;
    if info.text(FIELD) == Some(salt.to_string().as_str()) { Ok(Some(salt)) } else { Err(ExtensionError::Malformed { field: FIELD }) }
}

/// The salt that a client echoed, whatever else it sent: the answer to a retry is looked for before anything is checked.
pub(crate) fn echoed_answer_salt(extensions: Option<&JsonObject>) -> Option<Hash32> {
    answer_salt(&info(extensions).ok()??).ok()?
}

/// Client: the server's extensions, echoed whole, with `clientSalt` added to ours.
#[must_use]
pub fn echo_with_salt(extensions: &JsonObject, client_salt: &Hash32) -> JsonObject {
    let mut echoed = extensions.clone();
    let info = echoed.0.get_mut(EXTENSION_KEY).and_then(|ours| ours.get_mut("info")).and_then(Value::as_object_mut);
    if let Some(info) = info {
        info.insert("clientSalt".to_owned(), Value::from(client_salt.to_string()));
    }
    echoed
}

fn extension(info: JsonObject) -> JsonObject {
    let ours: JsonObject = [("info".to_owned(), Value::Object(info.0)), ("schema".to_owned(), schema())].into_iter().collect();
    [(EXTENSION_KEY.to_owned(), Value::Object(ours.0))].into_iter().collect()
}

/// JSON Schema of `info`, as x402 wants one beside it. Nothing is decided by it: [`OfferEcho::parse`] reads what came.
fn schema() -> Value {
    let base64 = json!({"type": "string", "contentEncoding": "base64", "maxLength": MAX_BASE64});
    let hash = json!({"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "version": {"const": EXTENSION_VERSION},
            "offers": {
                "type": "array",
                "minItems": 1,
                "maxItems": OFFERS_MAX,
                "items": {"type": "object", "properties": {"offer": base64, "signature": base64}, "required": ["offer", "signature"]},
            },
            "requestSalt": hash,
            "manifestHash": hash,
            "clientSalt": hash,
            "answerRecovery": {"enum": ["echo", "none"]},
            "answerSalt": {"type": "string", "pattern": "^0x[0-9a-f]{64}$"},
        },
        "required": ["version", "offers", "requestSalt", "manifestHash"],
    })
}

fn info(extensions: Option<&JsonObject>) -> Result<Option<JsonObject>, ExtensionError> {
    let Some(ours) = extensions.and_then(|extensions| extensions.member(EXTENSION_KEY)) else { return Ok(None) };
    match ours.get("info") {
        Some(Value::Object(info)) => Ok(Some(JsonObject(info.clone()))),
        _ => Err(ExtensionError::Malformed { field: "info" }),
    }
}

fn base64_member(of: &Map<String, Value>, field: &'static str) -> Result<Vec<u8>, ExtensionError> {
    let text = of.get(field).and_then(Value::as_str).filter(|text| text.len() <= MAX_BASE64);
    text.and_then(|text| STANDARD.decode(text).ok()).ok_or(ExtensionError::Malformed { field })
}

fn hash_member(info: &JsonObject, field: &'static str) -> Result<Hash32, ExtensionError> {
    info.text(field).and_then(Hash32::from_hex).ok_or(ExtensionError::Malformed { field })
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Amount};
    use candor_verify::time::UnixMs;

    use super::*;

    fn sample() -> SignedOffer {
        let offer = Offer {
            manifest_hash: Hash32([1; 32]),
            request_commitment: Hash32([2; 32]),
            model_id: Hash32([3; 32]),
            scheme: Scheme::ExactEip3009,
            payee: Address([2; 20]),
            asset: Address([7; 20]),
            chain_id: 31337,
            settler: Address::ZERO,
            amount: Amount(1000),
            prompt_tokens: 7,
            max_tokens: 64,
            seed_commitment: Hash32([9; 32]),
            valid_until: UnixMs(1),
            price_list_hash: Hash32::ZERO,
            price_list_number: 0,
        };
        SignedOffer { offer, signature: Signature65([5; 65]), request_salt: Hash32([6; 32]) }
    }

    const ECHO: AnswerRecovery = AnswerRecovery::Echo { salt: Hash32([0xab; 32]) };

    /// Two ways to pay for one request.
    fn offers() -> SignedOffers {
        let Offer { amount, .. } = sample().offer;
        let upto = Offer { scheme: Scheme::UptoPermit2, settler: Address([3; 20]), amount, ..sample().offer };
        SignedOffers::new(vec![SignedOffer { offer: upto, ..sample() }, sample()])
    }

    fn echo(client_salt: Option<Hash32>) -> OfferEcho {
        OfferEcho { offers: offers(), client_salt, answer_salt: Some(Hash32([0xab; 32])) }
    }

    #[test]
    fn an_offer_reads_back_on_both_sides() {
        let extensions = offers().to_extensions(&ECHO);
        assert_eq!(SignedOffers::parse(Some(&extensions)), Ok(Some(offers())));
        assert_eq!(echo(None).signed(Scheme::ExactEip3009), Some(sample()));
        assert_eq!((echo(None).signed(Scheme::Batch), offers().iter().count()), (None, 2));
        assert_eq!(OfferEcho::parse(Some(&extensions)), Ok(Some(echo(None))));
        let echoed = echo_with_salt(&extensions, &Hash32([8; 32]));
        assert_eq!(OfferEcho::parse(Some(&echoed)), Ok(Some(echo(Some(Hash32([8; 32]))))));
        assert_eq!(crate::protocol::check_echo(&extensions, Some(&echoed)), Ok(()));
    }

    #[test]
    fn an_answer_that_is_not_kept_has_no_salt_and_one_that_is_has_one_in_one_form() {
        let none = offers().to_extensions(&AnswerRecovery::None);
        assert_eq!(none.0["candor"]["info"]["answerRecovery"], "none");
        assert_eq!(OfferEcho::parse(Some(&none)).unwrap().unwrap().answer_salt, None);
        let mut echoed = offers().to_extensions(&ECHO);
        assert_eq!(echoed_answer_salt(Some(&echoed)), Some(Hash32([0xab; 32])));
        // Any other salt of that form is as good.
        echoed.0["candor"]["info"]["answerSalt"] = Hash32([1; 32]).to_string().into();
        assert_eq!(OfferEcho::parse(Some(&echoed)).unwrap().unwrap().answer_salt, Some(Hash32([1; 32])));
        let upper = Hash32([0xab; 32]).to_string().to_uppercase().replace("0X", "0x");
        for value in [Value::from(upper), 7.into(), "".into(), "0x00".into(), "ab".repeat(32).into()] {
            echoed.0["candor"]["info"]["answerSalt"] = value;
            assert_eq!(OfferEcho::parse(Some(&echoed)), Err(ExtensionError::Malformed { field: "answerSalt" }));
            assert_eq!(echoed_answer_salt(Some(&echoed)), None);
        }
        assert_eq!(echoed_answer_salt(None), None);
    }

    /// Clients may leave the schema out of their echo, or echo another: only `info` is ours to hold them to.
    #[test]
    fn the_schema_names_every_member_of_info_and_need_not_be_echoed() {
        let sent = offers().to_extensions(&ECHO);
        let ours = &sent.0["candor"];
        let (info, schema) = (ours["info"].as_object().unwrap(), &ours["schema"]);
        let properties = schema["properties"].as_object().unwrap();
        assert!(info.keys().all(|member| properties.contains_key(member)), "{schema}");
        let required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(required.iter().all(|member| info.contains_key(*member)), "{schema}");
        for other in [None, Some(Value::from(7))] {
            let mut echoed = sent.clone();
            let members = echoed.0["candor"].as_object_mut().unwrap();
            match other {
                Some(other) => drop(members.insert("schema".to_owned(), other)),
                None => drop(members.remove("schema")),
            }
            assert_eq!(crate::protocol::check_echo(&sent, Some(&echoed)), Ok(()));
            assert_eq!(OfferEcho::parse(Some(&echoed)), Ok(Some(echo(None))));
        }
    }

    #[test]
    fn no_extensions_is_an_answer_and_extensions_without_ours_is_not() {
        let other: JsonObject = serde_json::from_str(r#"{"bazaar":{"info":{}}}"#).unwrap();
        assert_eq!(SignedOffers::parse(None), Ok(None));
        assert_eq!(SignedOffers::parse(Some(&other)), Ok(None));
        assert_eq!(OfferEcho::parse(None), Ok(None));
        assert_eq!(OfferEcho::parse(Some(&JsonObject::default())), Ok(None));
        assert_eq!(OfferEcho::parse(Some(&other)), Err(ExtensionError::Malformed { field: "info" }));
    }

    #[test]
    fn each_malformed_member_is_named() {
        let change = |field: &str, value: Value| {
            let mut extensions = offers().to_extensions(&ECHO);
            extensions.0["candor"]["info"][field] = value;
            OfferEcho::parse(Some(&extensions)).unwrap_err()
        };
        let of_one = |field: &str, value: Value| {
            let mut extensions = offers().to_extensions(&ECHO);
            extensions.0["candor"]["info"]["offers"][1][field] = value;
            OfferEcho::parse(Some(&extensions)).unwrap_err()
        };
        for field in ["offer", "signature"] {
            for value in [Value::Null, 7.into(), "".into(), "?".into(), "AAAA".into(), "A".repeat(2000).into()] {
                assert_eq!(of_one(field, value), ExtensionError::Malformed { field });
            }
        }
        let five = std::iter::repeat_n(offers().to_extensions(&ECHO).0["candor"]["info"]["offers"][0].clone(), 5);
        for value in [Value::Null, 7.into(), json!([]), json!([7]), five.collect()] {
            assert_eq!(change("offers", value), ExtensionError::Malformed { field: "offers" });
        }
        for field in ["requestSalt", "manifestHash"] {
            for value in [Value::Null, 7.into(), "".into(), "?".into(), "AAAA".into(), "A".repeat(2000).into()] {
                assert_eq!(change(field, value), ExtensionError::Malformed { field });
            }
        }
        for value in [Value::from(7), "".into(), "0x00".into()] {
            assert_eq!(change("clientSalt", value), ExtensionError::Malformed { field: "clientSalt" });
        }
        assert_eq!(change("version", 1.into()), ExtensionError::Version { expected: 2, got: Some(1) });
        assert_eq!(change("version", "2".into()), ExtensionError::Version { expected: 2, got: None });
        let (expected, got) = (Hash32([1; 32]), Hash32([0x11; 32]));
        assert_eq!(change("manifestHash", got.to_string().into()), ExtensionError::ManifestHash { expected, got });
    }
}
