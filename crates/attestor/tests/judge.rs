//! The judgement, one deviation per test: what an attestor signs, and what it does not.

use candor_attestor::*;
use candor_devtee::Hypervisor;
use candor_testkit::forge::{CHAIN_ID, Forge, K_SIG, Key, Lie, NOW_MS};
use candor_verify::bytes::{Address, Hash32};
use candor_verify::policy::Policy;
use candor_verify::time::UnixSeconds;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// Of the evidence's freshness preimage.
const BLOCK: (u64, Hash32) = (7, Hash32([0x82; 32]));

struct Story {
    forge: Forge,
    directory: std::path::PathBuf,
}

impl Story {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("candor-attestor-{name}-{}", std::process::id()));
        Self { forge: Forge::new(Hypervisor::open_or_create(&directory).unwrap()), directory }
    }

    fn judged(&self, lie: &Lie, policy: &Policy, now: UnixSeconds) -> Result<Judged, NotAttested> {
        judge(&self.forge.evidence(lie), policy, &quorum(), now)
    }

    fn honest(&self) -> Judged {
        self.judged(&Lie::default(), &self.forge.policy(), now()).unwrap()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn now() -> UnixSeconds {
    UnixSeconds(NOW_MS / 1000)
}

fn later(seconds: u64) -> UnixSeconds {
    now().saturating_add(seconds)
}

fn quorum() -> Quorum {
    Quorum { chain_id: CHAIN_ID, verifier: Address([0xe2; 20]), registry: Address([0xe1; 20]), threshold: 1, members: Vec::new() }
}

fn new(hash: Option<Hash32>) -> Seen {
    Seen::New(BlockSeen { hash, newest: 9 })
}

#[test]
fn honest_evidence_of_a_block_of_the_chain_is_signed_for_as_what_it_is() {
    let story = Story::new("honest");
    let judged = story.honest();
    assert_eq!((*judged.k_sig(), judged.block_number()), (Key::of(K_SIG).address(), BLOCK.0));
    let signable = judged.seen(new(Some(BLOCK.1)), &quorum(), now()).unwrap();
    assert_eq!(signable.verdict().document_time, now().0);
    let key = candor_chain::Signer::random();
    let signature = signable.sign(&key, &quorum()).unwrap();
    let digest = quorum().digest(signable.verdict());
    assert_eq!(candor_verify::eip712::signer(&candor_verify::eip712::K256, &digest, &signature), Some(key.address()));
}

#[test]
fn evidence_that_the_policy_refuses_is_refused_with_its_check() {
    let story = Story::new("policy");
    let nobody = Policy { roots: Vec::new(), ..story.forge.policy() };
    assert_eq!(story.judged(&Lie::default(), &nobody, now()).unwrap_err(), NotAttested::Refused { check: "attest.root" });
    let changed = Lie { terms_signer: 0x12, ..Lie::default() };
    let refused = story.judged(&changed, &story.forge.policy(), now()).unwrap_err();
    assert!(matches!(refused, NotAttested::Refused { .. }), "{refused:?}");
}

#[test]
fn evidence_for_another_registry_is_refused_whatever_the_policy_accepts() {
    let story = Story::new("registry");
    let other = Lie { manifest: |manifest| manifest.registry = Address([0xe9; 20]), ..Lie::default() };
    let any = Policy { registries: candor_verify::policy::Accept::Any, ..story.forge.policy() };
    let refused = story.judged(&other, &any, now()).unwrap_err();
    assert_eq!(refused, NotAttested::AnotherRegistry { expected: (CHAIN_ID, Address([0xe1; 20])), got: (CHAIN_ID, Address([0xe9; 20])) });
}

#[test]
fn a_renewal_is_signed_for_a_week_without_any_block_and_not_a_second_longer() {
    let story = Story::new("week");
    let at = |seconds| story.judged(&Lie::default(), &story.forge.policy(), later(seconds));
    let judged = at(7 * DAY).unwrap();
    assert!(judged.seen(Seen::Registered, &quorum(), later(7 * DAY)).is_ok());
    assert!(matches!(at(7 * DAY + 1).unwrap_err(), NotAttested::TooOld { most, .. } if most == 7 * DAY));
}

#[test]
fn a_first_document_is_signed_for_two_hours_and_the_skew() {
    let story = Story::new("hours");
    let at = |seconds| story.honest().seen(new(Some(BLOCK.1)), &quorum(), later(seconds));
    assert!(at(2 * HOUR + 120).is_ok());
    assert!(matches!(at(2 * HOUR + 121).unwrap_err(), NotAttested::TooOld { most, .. } if most == 2 * HOUR));
}

#[test]
fn a_document_of_a_moment_that_has_not_come_is_refused() {
    let story = Story::new("future");
    let at = |seconds: u64| story.judged(&Lie::default(), &story.forge.policy(), UnixSeconds(now().0 - seconds));
    assert!(at(120).is_ok());
    assert!(matches!(at(121).unwrap_err(), NotAttested::FromTheFuture { .. }));
}

#[test]
fn a_first_document_of_a_block_that_the_chain_does_not_have_is_refused() {
    let story = Story::new("block");
    let of = |seen| story.honest().seen(seen, &quorum(), now()).unwrap_err();
    let other = Hash32([0x83; 32]);
    assert_eq!(of(new(Some(other))), NotAttested::UnknownBlock { number: BLOCK.0, expected: other, got: BLOCK.1 });
    assert_eq!(of(new(None)), NotAttested::BlockNotYet { number: BLOCK.0, newest: 9 });
    // Another chain may have that very block: a fork of this one.
    let foreign = Lie { freshness: |freshness| freshness.chain_id = 1, ..Lie::default() };
    let refused = match story.judged(&foreign, &story.forge.policy(), now()) {
        Ok(judged) => judged.seen(new(Some(BLOCK.1)), &quorum(), now()).unwrap_err(),
        Err(refused) => refused,
    };
    assert!(matches!(refused, NotAttested::AnotherRegistry { .. } | NotAttested::Refused { .. }), "{refused:?}");
}
