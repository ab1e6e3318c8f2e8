//! Lies about a payment of at most so much, each with the check that refuses it. Not here: how a lie is told (`forge`), the others (`lies`).

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::{Authorization, unsettled_id};
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{SETTLER_FACTORY, Scheme, Through, UPTO_PROXY, settler_of};
use candor_verify::terms::OperatorTerms;

use crate::forge::{CHAIN_ID, K_SIG, Key, Lie};
use crate::lies::{Row, sale};

/// A contract that is not the one.
const OTHER: Address = Address([0xfa; 20]);

pub(crate) fn lies() -> Vec<Row> {
    let receipt = |name, expect, receipt: fn(&mut Receipt)| (name, expect, Lie { receipt, ..Lie::metered() });
    let paid = |name, expect, authorization: fn(&mut Authorization)| (name, expect, Lie { authorization, ..Lie::metered() });
    let half: fn(&mut OperatorTerms) = |terms| terms.chains[0].settler_factory = SETTLER_FACTORY;
    let of_another: fn(&mut OperatorTerms) = |terms| (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (OTHER, UPTO_PROXY);
    let by_another: fn(&mut OperatorTerms) =
        |terms| (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (SETTLER_FACTORY, OTHER);
    vec![
        ("upto_where_the_terms_name_no_settlers", "offer.terms", Lie { terms: |_| {}, ..Lie::metered() }),
        ("upto_where_the_terms_name_no_proxy", "offer.terms", Lie { terms: half, ..Lie::metered() }),
        (
            "upto_where_the_terms_name_another_factory",
            "offer.terms",
            Lie {
                terms: of_another,
                offer: |o| (o.scheme, o.settler) = (Scheme::UptoPermit2, settler_of(&OTHER, &Key::of(K_SIG).address())),
                ..Lie::metered()
            },
        ),
        ("upto_where_the_terms_name_another_proxy", "offer.terms", Lie { terms: by_another, ..Lie::metered() }),
        (
            "upto_through_the_settler_of_another_key",
            "offer.terms",
            Lie {
                offer: |o| (o.scheme, o.settler) = (Scheme::UptoPermit2, settler_of(&SETTLER_FACTORY, &Key::of(0x77).address())),
                ..Lie::metered()
            },
        ),
        (
            "upto_with_a_settler_that_is_nobodys",
            "offer.terms",
            Lie { offer: |o| (o.scheme, o.settler) = (Scheme::UptoPermit2, Address::ZERO), ..Lie::metered() },
        ),
        paid("permit_for_another_facilitator", "payment.terms", |a| {
            a.through = Through::UptoProxy { spender: UPTO_PROXY, facilitator: Address([1; 20]) };
        }),
        paid("permit_through_another_proxy", "payment.terms", |a| {
            a.through = Through::UptoProxy { spender: Address([1; 20]), facilitator: a.through.settler() };
        }),
        paid("authorization_of_the_token_where_a_permit_was_offered", "payment.terms", |a| a.through = Through::Token),
        paid("permit_of_more_than_offered", "payment.terms", |a| a.value = Amount(a.value.0 + 1)),
        (
            "permit_where_exact_was_offered",
            "payment.terms",
            Lie {
                authorization: |a| a.through = Through::UptoProxy { spender: UPTO_PROXY, facilitator: Address([1; 20]) },
                ..Lie::default()
            },
        ),
        (
            "facilitator_changed_after_signing",
            "payment.signature",
            Lie {
                bundle: |b| {
                    let through = &mut sale(b).payment.authorization.through;
                    *through = Through::UptoProxy { spender: UPTO_PROXY, facilitator: Address([1; 20]) };
                },
                ..Lie::metered()
            },
        ),
        receipt("upto_charged_above_what_is_metered", "receipt.charge", |r| r.money.charged.0 += 1),
        receipt("upto_charged_below_what_is_metered", "receipt.charge", |r| r.money.charged.0 -= 1),
        receipt("upto_charged_whole_though_less_is_metered", "receipt.charge", |r| r.money.charged = r.money.max_amount),
        receipt("upto_of_more_tokens_than_are_charged", "receipt.charge", |r| r.work.completion_tokens += 1),
        receipt("upto_for_another_payee", "receipt.charge", |r| r.money.payee = Address([1; 20])),
        receipt("upto_by_another_settler", "receipt.payment", |r| r.money.settler = Address([1; 20])),
        receipt("upto_charged_as_exact", "receipt.payment", |r| r.money.scheme = Scheme::ExactEip3009),
        receipt("upto_charged_nothing_under_the_payments_own_id", "receipt.payment", |r| r.money.charged = Amount::ZERO),
        receipt("upto_charged_nothing_though_something_is_metered", "receipt.charge", |r| {
            r.money.charged = Amount::ZERO;
            r.money.payment_id = unsettled_id(CHAIN_ID, &r.log_id, r.sequence);
        }),
        receipt("exact_id_of_a_permit", "receipt.payment", |r| r.money.payment_id = Hash32([1; 32])),
    ]
}
