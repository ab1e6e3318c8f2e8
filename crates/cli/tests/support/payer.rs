//! Payers with accounts of their own, and payments that are right but for what a test changes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use candor_chain::Signer;
use candor_client::Wallet;
use candor_verify::bytes::{Address, Hash32, Signature65, to_hex};
use candor_verify::payment::{Authorization, TokenDomain, offer_nonce};
use candor_x402::extension::SignedOffer;
use candor_x402::protocol::{
    ExactRequirements, PaymentRequired, encode_header, parse_payment_required, parse_settle_response, parse_single_header,
};
use serde_json::{Value, json};

use super::World;
use super::http::{Reply, chat};

/// What every payer starts with, in units of the test token: one USDC.
pub(crate) const FUNDS: u128 = 1_000_000;

/// A request that tests pay for. The name makes it a request of its own.
pub(crate) fn question(name: &str, stream: bool) -> Value {
    json!({"model": "candor-mini", "messages": [{"role": "user", "content": name}], "max_tokens": 8, "temperature": 0, "seed": 1, "stream": stream})
}

/// Unix seconds.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A quote.
pub(crate) struct Offered {
    pub(crate) required: PaymentRequired,
    pub(crate) requirements: ExactRequirements,
    pub(crate) signed: SignedOffer,
}

impl Offered {
    /// Asks for one.
    pub(crate) async fn of(api: &str, body: &Value) -> Self {
        Self::read(&chat(api, body, None).await)
    }

    /// Out of a 402.
    pub(crate) fn read(reply: &Reply) -> Self {
        assert_eq!(reply.status, 402, "{reply:?}");
        let values = reply.headers.get_all("payment-required").iter().map(|value| value.as_bytes());
        let required = parse_payment_required(parse_single_header(values).unwrap().expect("a 402 has requirements")).unwrap();
        let requirements = ExactRequirements::parse(&required.accepts[0]).unwrap();
        let signed = SignedOffer::parse(required.extensions.as_ref()).unwrap().expect("a 402 has a signed offer");
        Self { required, requirements, signed }
    }

    /// The price.
    pub(crate) fn amount(&self) -> u128 {
        self.requirements.amount.0
    }
}

/// A payment before it is signed.
pub(crate) struct Draft {
    pub(crate) authorization: Authorization,
    pub(crate) domain: TokenDomain,
    pub(crate) accepted: Value,
    pub(crate) extensions: Value,
    pub(crate) version: u64,
}

/// A payment that was signed.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) authorization: Authorization,
    pub(crate) signature: Signature65,
    /// For `PAYMENT-SIGNATURE`.
    pub(crate) header: String,
}

/// Somebody with an account that nobody else uses.
pub(crate) struct Payer {
    pub(crate) world: Arc<World>,
    wallet: Wallet,
}

impl Payer {
    /// With [`FUNDS`].
    pub(crate) async fn funded(world: &Arc<World>) -> Self {
        let payer = Self::poor(world);
        world.mint(&payer.address(), FUNDS).await;
        payer
    }

    /// Without money.
    pub(crate) fn poor(world: &Arc<World>) -> Self {
        Self { world: Arc::clone(world), wallet: Wallet::from_bytes(&Signer::random().to_bytes()).unwrap() }
    }

    pub(crate) fn address(&self) -> Address {
        self.wallet.address()
    }

    /// Pays as our client does.
    pub(crate) fn pay(&self, offered: &Offered) -> Signed {
        self.pay_but(offered, |_| {})
    }

    /// Pays as a stock client does: no extension, so nothing names the request. As long as is allowed, so that no earlier boot took it.
    pub(crate) fn pay_stock(&self, offered: &Offered) -> Signed {
        self.pay_but(offered, |draft| {
            draft.extensions = Value::Null;
            draft.authorization.nonce = Hash32(Signer::random().to_bytes());
            draft.authorization.valid_before = now_s() + 330;
        })
    }

    /// Pays as our client does, but leaves out the salt with which the answer would be kept.
    pub(crate) fn pay_unkept(&self, offered: &Offered) -> Signed {
        self.pay_but(offered, |draft| {
            let info = draft.extensions["candor"]["info"].as_object_mut().unwrap();
            assert!(info.remove("answerSalt").is_some());
        })
    }

    /// Pays with one thing changed before the signature.
    pub(crate) fn pay_but(&self, offered: &Offered, change: impl FnOnce(&mut Draft)) -> Signed {
        let salt = Hash32(Signer::random().to_bytes());
        let mut extensions = serde_json::to_value(&offered.required.extensions).unwrap();
        extensions["candor"]["info"]["clientSalt"] = salt.to_string().into();
        let authorization = Authorization {
            from: self.address(),
            to: offered.requirements.pay_to,
            value: offered.requirements.amount,
            valid_after: 0,
            valid_before: now_s() + 300,
            nonce: offer_nonce(&offered.signed.offer.digest(), &salt),
        };
        let accepted = serde_json::to_value(&offered.required.accepts[0]).unwrap();
        let mut draft = Draft { authorization, domain: offered.requirements.domain(), accepted, extensions, version: 2 };
        change(&mut draft);
        let signature = self.wallet.sign(&draft.authorization.digest(&draft.domain));
        let Draft { authorization: a, accepted, extensions, version, .. } = draft;
        let payload = json!({
            "x402Version": version, "resource": offered.required.resource, "accepted": accepted, "extensions": extensions,
            "payload": {
                "signature": to_hex(&signature.0),
                "authorization": {
                    "from": a.from.to_string(), "to": a.to.to_string(), "value": a.value.to_string(), "nonce": a.nonce.to_string(),
                    "validAfter": a.valid_after.to_string(), "validBefore": a.valid_before.to_string(),
                },
            },
        });
        Signed { authorization: a, signature, header: encode_header(&payload) }
    }

    /// Units that are left.
    pub(crate) async fn balance(&self) -> u128 {
        self.world.balance(&self.address()).await.0
    }

    /// Panics unless exactly these amounts have left the account, in as many transfers.
    pub(crate) async fn assert_paid(&self, amounts: &[u128]) {
        assert_eq!(self.world.transfers_from(&self.address()).await, amounts);
        assert_eq!(self.balance().await, FUNDS - amounts.iter().sum::<u128>());
    }

    /// Waits until as many transfers were seen, then [`Self::assert_paid`].
    pub(crate) async fn assert_pays(&self, amounts: &[u128]) {
        super::eventually("the transfer is on the chain", || async {
            (amounts.len() <= self.world.transfers_from(&self.address()).await.len()).then_some(())
        })
        .await;
        self.assert_paid(amounts).await;
    }

    /// Whether nothing, or just these amounts, have left the account.
    pub(crate) async fn transfers_at_most(&self, amounts: &[u128]) -> bool {
        let made = self.world.transfers_from(&self.address()).await;
        made.is_empty() || made == amounts
    }

    /// Whether this authorization was used or cancelled on the chain.
    pub(crate) async fn is_used(&self, signed: &Signed) -> bool {
        let client = self.world.client().await;
        client.is_authorization_used(&self.world.token(), &signed.authorization.from, &signed.authorization.nonce).await.unwrap()
    }
}

/// Whether a whole answer waits for its transfer: the same payment is to be sent again, and is not charged again.
pub(crate) fn is_pending(reply: &Reply) -> bool {
    reply.status == 409 && reply.error_code() == "settlement_pending"
}

/// Sends a payment for a whole answer, again and again while its transfer is pending, as the node asks for. Panics unless it is settled.
pub(crate) async fn buy(api: &str, body: &Value, header: &str) -> Reply {
    let reply = super::eventually("the transfer is final", || async {
        let reply = chat(api, body, Some(header)).await;
        (!is_pending(&reply)).then_some(reply)
    })
    .await;
    assert_settled(&reply);
    reply
}

/// Panics unless the reply says that the payment was settled.
pub(crate) fn assert_settled(reply: &Reply) {
    assert_eq!(reply.status, 200, "{reply:?}");
    let response = parse_settle_response(reply.header("payment-response").expect("PAYMENT-RESPONSE").as_bytes()).unwrap();
    assert!(response.success && response.transaction.starts_with("0x"), "{response:?}");
}
