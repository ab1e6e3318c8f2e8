//! From a 402 to a payment that is right in everything, and can be changed in one place before it is signed.

use candor_verify::bytes::{Address, Hash32, Signature65, to_hex};
use candor_verify::payment::{Authorization, TokenDomain, offer_nonce};
use candor_verify::scheme::{Scheme, Through};
use candor_verify::time::UnixSeconds;
use candor_x402::extension::{SignedOffer, SignedOffers};
use candor_x402::protocol::{PaymentRequired, encode_header, parse_payment_required, parse_single_header};
use candor_x402::scheme::{Requirements, ToSign};
use serde_json::{Value, json};

use crate::{Reply, chat};

/// A quote.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is the parsed part of its name")]
pub struct Offered {
    pub required: PaymentRequired,
    pub requirements: Requirements,
    /// Which entry of `accepts` it is.
    pub entry: usize,
    pub signed: SignedOffer,
}

impl Offered {
    /// Asks for one.
    pub async fn of(url: &str, body: &Value) -> Self {
        Self::read(&chat(url, body, None).await)
    }

    /// Out of a 402: what is paid by EIP-3009, as stock clients of the scheme `exact` do.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        Self::by(reply, Scheme::ExactEip3009)
    }

    /// Out of a 402: what is paid by this scheme.
    #[must_use]
    pub fn by(reply: &Reply, scheme: Scheme) -> Self {
        assert_eq!(reply.status, 402, "{reply:?}");
        let values = reply.headers.get_all("payment-required").iter().map(|value| value.as_bytes());
        let required = parse_payment_required(parse_single_header(values).unwrap().expect("a 402 has requirements")).unwrap();
        let entries: Vec<Requirements> = required.accepts.iter().map(|entry| Requirements::parse(entry).unwrap()).collect();
        let entry = entries.iter().position(|entry| entry.through.scheme() == scheme).expect("the scheme is offered");
        let offers = SignedOffers::parse(required.extensions.as_ref()).unwrap().expect("a 402 has signed offers");
        let signed = offers.of(scheme).expect("each entry has an offer").clone();
        Self { required, requirements: entries[entry].clone(), entry, signed }
    }

    /// The price.
    #[must_use]
    pub fn amount(&self) -> u128 {
        self.requirements.amount.0
    }
}

/// A payment before it is signed.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is the part of a payment that it is named after")]
pub struct Draft {
    pub authorization: Authorization,
    pub domain: TokenDomain,
    pub resource: Value,
    pub accepted: Value,
    pub extensions: Value,
    pub version: u64,
}

impl Draft {
    /// What our client would sign: for all that is asked, bound to the offer by this salt, until this Unix second.
    #[must_use]
    pub fn new(offered: &Offered, payer: Address, salt: Hash32, valid_before: u64) -> Self {
        let mut extensions = serde_json::to_value(&offered.required.extensions).unwrap();
        extensions["candor"]["info"]["clientSalt"] = salt.to_string().into();
        let authorization = Authorization {
            through: offered.requirements.through,
            from: payer,
            to: offered.requirements.pay_to,
            value: offered.requirements.amount,
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(valid_before),
            nonce: offer_nonce(&offered.signed.offer.digest(), &salt),
        };
        Self {
            authorization,
            domain: offered.requirements.token(),
            resource: serde_json::to_value(&offered.required.resource).unwrap(),
            accepted: serde_json::to_value(&offered.required.accepts[offered.entry]).unwrap(),
            extensions,
            version: 2,
        }
    }

    /// What the payer signs.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.authorization.digest(&self.domain)
    }

    /// The value of `PAYMENT-SIGNATURE`.
    #[must_use]
    pub fn header(&self, signature: &Signature65) -> String {
        let a = &self.authorization;
        let mut payload = match a.through {
            Through::Token => json!({
                "authorization": {
                    "from": a.from.to_string(), "to": a.to.to_string(), "value": a.value.to_string(), "nonce": a.nonce.to_string(),
                    "validAfter": a.valid_after.to_string(), "validBefore": a.valid_before.to_string(),
                },
            }),
            Through::UptoProxy { .. } => {
                let data = ToSign::Payment(a).typed_data(&self.domain);
                let mut permit = data["message"].clone();
                permit["from"] = a.from.to_string().into();
                json!({"permit2Authorization": permit})
            }
        };
        payload["signature"] = to_hex(&signature.0).into();
        encode_header(&json!({
            "x402Version": self.version, "resource": self.resource, "accepted": self.accepted, "extensions": self.extensions,
            "payload": payload,
        }))
    }
}
