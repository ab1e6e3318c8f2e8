//! Payers with accounts of their own, and payments that are right but for what a test changes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use candor_chain::Signer;
pub(crate) use candor_testhttp::{Draft, Offered};
use candor_testhttp::{Reply, chat};
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::payment::Authorization;
use candor_verify::scheme::NonceQuestion;
use candor_verify::time::UnixSeconds;
use candor_x402::protocol::parse_settle_response;
use serde_json::{Value, json};

use super::World;

/// What every payer starts with, in units of the test token: one USDC.
pub(crate) const FUNDS: u128 = 1_000_000;

/// A request that tests pay for. The name makes it a request of its own.
pub(crate) fn question(name: &str, stream: bool) -> Value {
    json!({"model": "candor-mini", "messages": [{"role": "user", "content": name}], "max_tokens": 8, "temperature": 0, "seed": 1, "stream": stream})
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
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
    wallet: Signer,
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
        Self { world: Arc::clone(world), wallet: Signer::random() }
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
            draft.authorization.valid_before = UnixSeconds(now() + 330);
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
        let mut draft = Draft::new(offered, self.address(), Hash32(Signer::random().to_bytes()), now() + 300);
        change(&mut draft);
        let signature = self.wallet.sign_digest(&draft.digest()).unwrap();
        Signed { header: draft.header(&signature), authorization: draft.authorization, signature }
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
        let (scheme, from, nonce) = (signed.authorization.through.scheme(), &signed.authorization.from, &signed.authorization.nonce);
        client.is_nonce_used(&NonceQuestion::of(scheme, &self.world.token(), from, nonce).unwrap()).await.unwrap()
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
