//! The steps about money: the offer, the payment, the charge, and that there was none. Spec: payment.md, receipt.md §3.

use alloc::format;
use alloc::string::ToString;

use super::{Run, TransferFact};
use crate::bundle::Sale;
use crate::bytes::Amount;
use crate::eip712::signer;
use crate::evidence::VerifiedEnclave;
use crate::offer::{self, Asked, MaxTokens, Offer, Shown, VerifiedOffer};
use crate::payment::{self, Authorization, MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, Payment};
use crate::receipt::{Money, Outcome, Receipt};
use crate::step::Step;
use crate::verdict::Stop;

impl Run<'_> {
    pub(super) fn paid(&mut self, enclave: &VerifiedEnclave, sale: &Sale) -> Result<(), Stop> {
        let offer = self.offer(enclave, sale)?;
        self.payment(&offer, &sale.payment)?;
        self.charge(&offer, &sale.payment.authorization)?;
        self.transfer()
    }

    fn offer(&mut self, enclave: &VerifiedEnclave, sale: &Sale) -> Result<VerifiedOffer, Stop> {
        let (bundle, work) = (self.bundle, &self.bundle.delivery.receipt.work);
        let asked = Asked {
            request_commitment: work.request_commitment,
            model_id: work.model_id,
            max_tokens: MaxTokens::Exactly(bundle.delivery.decoding.max_tokens.into()),
            at: work.started_at,
        };
        let shown = Shown { offer: &sale.offer, signature: &sale.offer_signature, price_list: sale.price_list.as_ref() };
        offer::check_offer(&mut self.checks, &shown, enclave, &asked, self.policy, self.recover)
    }

    fn payment(&mut self, verified: &VerifiedOffer, payment: &Payment) -> Result<(), Stop> {
        let offer = verified.offer();
        let authorization = &payment.authorization;
        // A payer's wallet may sign high s (the token would refuse it, or not); here one form counts, so that no flip goes unnoticed.
        let recovered = signer(self.recover, &authorization.digest(verified.token()), &payment.signature);
        self.checks.signed(Step::PaymentSignature, authorization.from, recovered)?;

        let (finished, started) =
            (self.bundle.delivery.receipt.work.finished_at.seconds(), self.bundle.delivery.receipt.work.started_at.seconds());
        let open = authorization.valid_after <= started
            && finished < authorization.valid_before
            && authorization.valid_before <= started.saturating_add(MAX_TIMEOUT_SECONDS).saturating_add(MAX_SKEW_SECONDS);
        let through = verified.through();
        let ok = authorization.through == through && authorization.to == offer.payee && authorization.value == offer.amount && open;
        let expected = format!("{} units to {}, {through}, open from {started} to {finished}", offer.amount, offer.payee);
        let got = format!(
            "{} units to {}, {}, open from {} to {}",
            authorization.value, authorization.to, authorization.through, authorization.valid_after, authorization.valid_before
        );
        self.checks.require(Step::PaymentTerms, ok, expected, got)?;
        self.binding(offer, payment)
    }

    fn binding(&mut self, offer: &Offer, payment: &Payment) -> Result<(), Stop> {
        let Some(salt) = payment.client_salt else {
            if self.policy.require_offer_binding {
                let got = "a nonce without a client salt (equal price only)";
                return self.checks.require(Step::PaymentBinding, false, "a nonce that commits to the offer", got);
            }
            self.checks.not_checked(Step::PaymentBinding, "a client that commits to the offer (equal price only)")?;
            return Ok(());
        };
        let expected = payment::offer_nonce(&offer.digest(), &salt);
        self.checks.equal(Step::PaymentBinding, expected, payment.authorization.nonce)
    }

    /// That the receipt is about this payment, and charges what its scheme says.
    fn charge(&mut self, verified: &VerifiedOffer, authorization: &Authorization) -> Result<(), Stop> {
        let offer = verified.offer();
        let Receipt { money, work, log_id, sequence, .. } = &self.bundle.delivery.receipt;
        // What is not charged leaves the payment's own id free: it may pay for another answer (receipt.md §3).
        let payment_id = match money.charged {
            Amount::ZERO => payment::unsettled_id(self.bundle.evidence.manifest.anchor_chain_id, log_id, *sequence),
            _ => authorization.payment_id(offer.chain_id, &offer.asset),
        };
        let pairs = [
            ("payment id", payment_id.to_string(), money.payment_id.to_string()),
            ("offer", offer.digest().to_string(), money.offer_digest.to_string()),
            ("payer", authorization.from.to_string(), money.payer.to_string()),
            ("asset", offer.asset.to_string(), money.asset.to_string()),
            ("chain", offer.chain_id.to_string(), money.chain_id.to_string()),
            ("scheme", offer.scheme.as_str().to_string(), money.scheme.as_str().to_string()),
            ("settler", offer.settler.to_string(), money.settler.to_string()),
        ];
        for (name, expected, got) in pairs {
            if expected != got {
                return self.checks.require(Step::ReceiptPayment, false, format!("{name} {expected}"), format!("{name} {got}"));
            }
        }
        self.checks.require(Step::ReceiptPayment, true, "this payment", money.payment_id.to_string())?;

        // To the offer's payee, which is the attested one; no channel fields.
        let is_whole = money.max_amount == authorization.value
            && money.payee == offer.payee
            && money.cumulative_before == Amount::ZERO
            && money.cumulative_after == Amount::ZERO;
        let got = format!("{} of at most {} units to {}", money.charged, money.max_amount, money.payee);
        if work.outcome == Outcome::RefusedByGuard {
            return self.checks.require(Step::ReceiptCharge, false, "nothing charged for what a guard refused", got);
        }
        let metered = match (offer.scheme.is_metered(), verified.classes()) {
            (false, _) => Some(authorization.value),
            (true, Some(classes)) => classes.amount(work.prompt_tokens, work.completion_tokens),
            (true, None) if is_whole && money.charged <= authorization.value => {
                let needs =
                    format!("the price list of the offer (only that it is not above the {} units that were signed)", authorization.value);
                return self.checks.not_checked(Step::ReceiptCharge, needs);
            }
            (true, None) => None,
        };
        let due = metered.map(|metered| offer.scheme.charge(authorization.value, metered));
        let expected = match due {
            Some(due) => format!("{due} of at most {} units to {}", authorization.value, offer.payee),
            None => format!("at most {} units to {}", authorization.value, offer.payee),
        };
        self.checks.require(Step::ReceiptCharge, is_whole && due == Some(money.charged), expected, got)
    }

    /// What a chain shows of the payment, if one was asked.
    fn transfer(&mut self) -> Result<(), Stop> {
        let money = &self.bundle.delivery.receipt.money;
        if money.charged == Amount::ZERO {
            return self.checks.not_asked(Step::PaymentTransfer, "a charge");
        }
        let (amount, asset, chain_id) = (money.charged, money.asset, money.chain_id);
        let expected = format!("Transfer of {amount} units of {asset} on chain {chain_id} from {} to {}", money.payer, money.payee);
        match self.chain.transfer {
            None => self.checks.not_checked(Step::PaymentTransfer, "a chain"),
            Some(TransferFact::NotYet) => self
                .checks
                .not_checked(Step::PaymentTransfer, "the transfer itself (the authorization is unused so far: nothing was charged)"),
            Some(TransferFact::Seen) => self.checks.require(Step::PaymentTransfer, true, expected, "seen"),
            Some(TransferFact::Otherwise) => {
                let got = "the authorization was cancelled, or used for something else";
                self.checks.require(Step::PaymentTransfer, false, expected, got)
            }
        }
    }

    /// Work that nobody paid for: the receipt names its place in the log and the payee, and no money at all. Spec: receipt.md §3.
    pub(super) fn unpaid(&mut self, enclave: &VerifiedEnclave) -> Result<(), Stop> {
        const PAID: &str = "an answer that somebody paid for";
        let receipt = &self.bundle.delivery.receipt;
        for step in
            [Step::OfferSignature, Step::OfferTerms, Step::OfferPrice, Step::PaymentSignature, Step::PaymentTerms, Step::PaymentBinding]
        {
            self.checks.not_asked(step, PAID)?;
        }
        let manifest = enclave.manifest();
        let expected = Money::unpaid(manifest.anchor_chain_id, manifest.payee, &receipt.log_id, receipt.sequence);
        let show = |money: &Money| {
            let Money { payment_id, scheme, payee, chain_id, charged, .. } = money;
            format!("payment {payment_id:#}, scheme {}, payee {payee} on chain {chain_id}, {charged} units", scheme.as_str())
        };
        self.checks.require(Step::ReceiptPayment, receipt.money == expected, show(&expected), show(&receipt.money))?;
        // Whether the terms have a guard that could refuse it is of `work.claim`.
        let is_refused = receipt.work.outcome == Outcome::RefusedByGuard;
        let may_be_free = is_refused || enclave.terms().may_be_free(&receipt.work.model_id);
        let got = if may_be_free { "nobody paid" } else { "nobody paid, and the terms let nobody have this model for nothing" };
        let expected = if is_refused { "nothing paid for what a guard refused" } else { "work that the terms give away" };
        self.checks.require(Step::ReceiptCharge, may_be_free, expected, got)?;
        self.checks.not_asked(Step::PaymentTransfer, PAID)
    }
}
