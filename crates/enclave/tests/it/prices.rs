//! Price lists: taken by a running enclave, named by its offers, shown to who asks, and nothing that was offered before is broken by one.

use candor_enclave::Config;
use candor_link::{EnclaveReply, HostRequest, RefusalCode};
use candor_testhttp::Offered;
use candor_testkit::forge::REGISTRAR;
use candor_testkit::honest::{classes, price_list};
use candor_verify::bytes::Hash32;
use candor_verify::terms::{PriceList, SignedPriceList};
use candor_verify::time::UnixMs;

use crate::support::client::{Reply, question, without_salt};
use crate::support::{Key, World, now};

/// Half of the ceilings from a minute ago on, for an hour.
fn half(world: &World) -> PriceList {
    let (from, until) = (UnixMs((now() - 60) * 1000), UnixMs((now() + 3600) * 1000));
    PriceList { from, until, ..price_list(&world.terms) }
}

fn signed(list: PriceList) -> HostRequest {
    let signature = Key::of(REGISTRAR).sign(&list.digest());
    HostRequest::PutPriceList { signed: SignedPriceList { list, signature }.encode() }
}

/// Amount, list and its number, as a 402 offers them.
async fn offered(world: &World, name: &str) -> (Reply, u128, Hash32, u64) {
    let reply = world.ask(&question(name, 2, false), None).await;
    let offer = Offered::read(&reply).signed.offer;
    (reply, offer.amount.0, offer.price_list_hash, offer.price_list_number)
}

#[tokio::test]
async fn a_list_changes_the_price_without_a_reboot_and_what_was_offered_before_still_buys() {
    let world = World::start(Config::default()).await;
    let (before, dear, hash, number) = offered(&world, "a price").await;
    assert_eq!((hash, number), (Hash32::ZERO, 0));
    assert_eq!(world.get("/candor/price-list").await.status, 404);
    let list = half(&world);
    assert_eq!(world.say(signed(list.clone())).await, EnclaveReply::Done);
    let (after, cheap, hash, number) = offered(&world, "a price").await;
    assert_eq!((hash, number), (list.digest(), 7));
    assert!(cheap < dear && dear <= 2 * cheap, "{cheap} {dear}");
    // Whoever has signed for the price before gets it, and who signs for the new one that.
    for (reply, amount) in [(before, dear), (after, cheap)] {
        let paid = world.ask(&question("a price", 2, false), Some(&without_salt(&reply, &Key::of(9)))).await;
        assert_eq!(paid.status, 200, "{paid:?}");
        assert_eq!(world.receipts().last().unwrap().money.charged.0, amount);
    }
    let path = format!("/candor/price-list/{}", list.digest());
    for path in ["/candor/price-list", &path] {
        assert_eq!(world.get(path).await.status, 200);
    }
    assert_eq!(world.get(&format!("/candor/price-list/{}", Hash32([9; 32]))).await.status, 404);
    assert!(world.get("/v1/models").await.text().contains(&list.digest().to_string()));
}

#[tokio::test]
async fn a_list_that_breaks_a_rule_is_refused_by_name_and_the_one_before_counts_on() {
    let world = World::start(Config::default()).await;
    let list = half(&world);
    assert_eq!(world.say(signed(list.clone())).await, EnclaveReply::Done);
    // As a host that has lost its memory would.
    assert_eq!(world.say(signed(list.clone())).await, EnclaveReply::Done);
    let mut above = PriceList { number: 8, ..list.clone() };
    above.prices[0].classes = classes(1_000_001, 3_000_000, 100);
    let other = PriceList { number: 8, terms_hash: Hash32([1; 32]), ..list.clone() };
    let lower = PriceList { number: 6, ..list.clone() };
    let over = PriceList { number: 8, until: UnixMs((now() - 1) * 1000), ..list.clone() };
    for (list, rule) in [(above, "floor and the ceiling"), (other, "under terms"), (lower, "a number above 7"), (over, "in force at")] {
        let reply = world.say(signed(list)).await;
        let EnclaveReply::Refused(refused) = &reply else { panic!("{reply:?}") };
        assert!(refused.code == RefusalCode::PriceListRefused && refused.message.contains(rule), "{rule}: {refused:?}");
    }
    let stranger = Key::of(9).sign(&list.digest());
    let forged = SignedPriceList { list: PriceList { number: 9, ..list.clone() }, signature: stranger }.encode();
    assert!(matches!(world.say(HostRequest::PutPriceList { signed: forged }).await, EnclaveReply::Refused(_)));
    assert_eq!(offered(&world, "a rule").await.3, 7);
}

#[tokio::test]
async fn a_model_is_free_while_a_list_says_so() {
    let world = World::start_under(Config::default(), |terms| terms.prices[0].floor = classes(0, 0, 0)).await;
    let body = question("for nothing", 2, false);
    assert_eq!(world.ask(&body, None).await.status, 402);
    let mut free = half(&world);
    free.prices[0].classes = classes(0, 0, 0);
    assert_eq!(world.say(signed(free)).await, EnclaveReply::Done);
    let given = world.ask(&body, None).await;
    assert_eq!((given.status, given.header("payment-response")), (200, None), "{given:?}");
    assert!(world.host.settlements.lock().unwrap().is_empty());
}
