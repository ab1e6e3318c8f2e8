//! The software hypervisor as its users see it: its documents verify under its root and nowhere else,
//! its root survives a restart, and nothing about it can be mistaken for hardware.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use candor_devtee::{DevteeError, Hypervisor, Measurements, PERMITTED_CHAINS, Request, permitted_chain};
use candor_verify::attest::{AttestError, Freshness, TrustRoot, parse_document, verify_document};

const NOW_MS: u64 = 1_795_172_079_123;
const LIVE: Freshness = Freshness::Live { max_age_ms: 7_200_000, skew_ms: 0 };

#[test]
fn document_verifies_under_its_root_and_says_what_was_asked() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let measurements = Measurements::of_image(b"the program");
    let request = Request { user_data: Some(&[1; 64]), nonce: Some(b"challenge"), public_key: None };
    let bytes = hypervisor.attest(&measurements, &request, NOW_MS).unwrap();

    let live = Freshness::Live { max_age_ms: 0, skew_ms: 0 };
    let document = parse_document(&bytes).unwrap();
    let verified = verify_document(&document, &[hypervisor.trust_root()], NOW_MS, live).unwrap();
    assert_eq!(verified.root_fingerprint(), hypervisor.root_fingerprint());
    assert!(!verified.is_hardware_root());
    assert_eq!(verified.module_id(), hypervisor.module_id());
    assert_eq!(verified.module_id().len(), 39);
    assert_eq!(verified.timestamp_ms(), NOW_MS);
    assert_eq!(verified.measurements(), &measurements.concatenated());
    assert_eq!(verified.user_data(), [1; 64]);
    assert_eq!(verified.nonce(), Some(&b"challenge"[..]));
    assert_eq!(verified.public_key(), None);
    // 3 h from the second of the document's making.
    assert_eq!(verified.leaf_not_after_ms(), 1_795_172_079_000 + 10_800_000);
}

#[test]
fn document_is_refused_under_the_hardware_root_as_another_root() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let bytes = hypervisor.attest(&Measurements::of_image(b""), &Request::default(), NOW_MS).unwrap();
    let document = parse_document(&bytes).unwrap();
    let refused = verify_document(&document, &[TrustRoot::AWS_NITRO_G1], NOW_MS, LIVE).unwrap_err();
    assert_eq!(refused.check(), "attest.root");
    assert_eq!(refused, AttestError::UntrustedRoot { expected: vec![TrustRoot::AWS_NITRO_G1], got: hypervisor.trust_root() });

    let other = Dir::new();
    let other = Hypervisor::open_or_create(&other.0).unwrap();
    assert_ne!(other.root_fingerprint(), hypervisor.root_fingerprint());
    let refused = verify_document(&document, &[other.trust_root()], NOW_MS, LIVE).unwrap_err();
    assert_eq!(refused.check(), "attest.root");
}

#[test]
fn document_expires_after_three_hours() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let bytes = hypervisor.attest(&Measurements::of_image(b"x"), &Request::default(), NOW_MS).unwrap();
    let document = parse_document(&bytes).unwrap();
    let at = |at_ms| {
        verify_document(&document, &[hypervisor.trust_root()], at_ms, Freshness::Historical).map(|verified| verified.timestamp_ms())
    };
    assert_eq!(at(1_795_172_079_000 + 10_800_000), Ok(NOW_MS));
    assert_eq!(at(1_795_172_079_000 + 10_800_001).unwrap_err().check(), "attest.cert.validity");
    assert_eq!(at(1_795_172_079_000 - 3_001).unwrap_err().check(), "attest.cert.validity");
}

#[test]
fn reopened_state_has_the_same_root_and_its_documents_still_verify() {
    let dir = Dir::new();
    let first = Hypervisor::open_or_create(&dir.0).unwrap();
    let bytes = first.attest(&Measurements::of_image(b"x"), &Request::default(), NOW_MS).unwrap();
    let second = Hypervisor::open_or_create(&dir.0).unwrap();
    assert_eq!(first.root_der(), second.root_der());
    assert_eq!(first.root_fingerprint(), second.root_fingerprint());
    assert_ne!(first.module_id(), second.module_id(), "each start is another enclave");
    let document = parse_document(&bytes).unwrap();
    assert!(verify_document(&document, &[second.trust_root()], NOW_MS, LIVE).is_ok());
}

#[test]
fn processes_that_start_at_once_get_one_root() {
    let dir = Dir::new();
    let roots = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Hypervisor::open_or_create(&dir.0).unwrap().root_fingerprint())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "temporary files are left behind");
}

#[test]
fn key_file_is_for_its_owner_only_and_refused_otherwise() {
    let dir = Dir::new();
    Hypervisor::open_or_create(&dir.0).unwrap();
    let path = dir.0.join("devtee-root.key");
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&dir.0), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Hypervisor::open_or_create(&dir.0).unwrap_err();
    assert_eq!(refused, DevteeError::StateReadable { path, mode: 0o640 });
}

#[test]
fn damaged_key_file_is_refused_and_kept() {
    let dir = Dir::new();
    Hypervisor::open_or_create(&dir.0).unwrap();
    let path = dir.0.join("devtee-root.key");
    let whole = fs::read(&path).unwrap();
    let zero_key = [&whole[..31], &[b'0'; 96], b"\n"].concat();
    for damaged in [&whole[..whole.len() - 1], &[&whole[..], b"\n"].concat(), &whole.to_ascii_uppercase(), &zero_key, b""] {
        fs::write(&path, damaged).unwrap();
        let refused = Hypervisor::open_or_create(&dir.0).unwrap_err();
        assert_eq!(refused, DevteeError::StateMalformed { path: path.clone() });
        assert_eq!(fs::read(&path).unwrap(), damaged, "a damaged key is never replaced");
    }
}

#[test]
fn secrets_are_not_printed() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let key = fs::read_to_string(dir.0.join("devtee-root.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    assert!(!format!("{hypervisor:?}").contains(key));
    assert!(!format!("{hypervisor:#?}").contains(&key[..16]));
}

#[test]
fn any_flipped_byte_is_refused() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let request = Request { user_data: Some(&[9; 64]), nonce: Some(&[8; 32]), public_key: Some(&[7; 32]) };
    let bytes = hypervisor.attest(&Measurements::of_image(b"x"), &request, NOW_MS).unwrap();
    let mut bytes = bytes;
    for at in (0..bytes.len()).step_by(if cfg!(debug_assertions) { 101 } else { 7 }) {
        bytes[at] ^= 0x10;
        let refused = parse_document(&bytes).and_then(|document| verify_document(&document, &[hypervisor.trust_root()], NOW_MS, LIVE));
        assert!(refused.is_err(), "byte {at} flipped was accepted");
        bytes[at] ^= 0x10;
    }
}

#[test]
fn name_says_simulated_and_not_amazon() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let root = hypervisor.root_der();
    for word in [&b"not-Amazon"[..], b"SIMULATED"] {
        assert!(root.windows(word.len()).any(|window| window == word));
    }
}

#[test]
fn request_beyond_the_limits_of_a_document_is_refused() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let attest = |request: Request<'_>| hypervisor.attest(&Measurements::of_image(b"x"), &request, NOW_MS);
    let (at_512, above_512, at_1024, above_1024) = ([1; 512], [1; 513], [1; 1024], [1; 1025]);
    let largest = attest(Request { user_data: Some(&at_512), nonce: Some(&at_512), public_key: Some(&at_1024) }).unwrap();
    let document = parse_document(&largest).unwrap();
    assert!(verify_document(&document, &[hypervisor.trust_root()], NOW_MS, LIVE).is_ok());

    let too_long = |field, limit| Err(DevteeError::TooLong { field, limit, got: limit + 1 });
    assert_eq!(attest(Request { user_data: Some(&above_512), ..Request::default() }), too_long("user_data", 512));
    assert_eq!(attest(Request { nonce: Some(&above_512), ..Request::default() }), too_long("nonce", 512));
    assert_eq!(attest(Request { public_key: Some(&above_1024), ..Request::default() }), too_long("public_key", 1024));
    assert_eq!(attest(Request { public_key: Some(&[]), ..Request::default() }), Err(DevteeError::EmptyPublicKey));
    for time_ms in [0, 1_572_269_285_000, 2_519_044_085_000, u64::MAX] {
        assert!(matches!(hypervisor.attest(&Measurements::of_image(b"x"), &Request::default(), time_ms), Err(DevteeError::Time { .. })));
    }
}

#[test]
fn debug_mode_measurements_are_signed_and_refused() {
    let dir = Dir::new();
    let hypervisor = Hypervisor::open_or_create(&dir.0).unwrap();
    let debug = Measurements { pcr0: [0; 48], pcr1: [0; 48], pcr2: [0; 48] };
    let bytes = hypervisor.attest(&debug, &Request::default(), NOW_MS).unwrap();
    let document = parse_document(&bytes).unwrap();
    let refused = verify_document(&document, &[hypervisor.trust_root()], NOW_MS, LIVE).unwrap_err();
    assert_eq!(refused, AttestError::DebugPcrZero { index: 0 });
}

#[test]
fn measurements_follow_the_image() {
    let (one, other) = (Measurements::of_image(b"one"), Measurements::of_image(b"other"));
    assert_eq!(one, Measurements::of_image(b"one"));
    assert_ne!(one.pcr0, other.pcr0);
    assert_eq!(one.pcr1, other.pcr1);
    assert_ne!(one.pcr2, other.pcr2);
    // SHA-384(48 zero bytes ‖ SHA-384("")), the register of an empty image.
    let empty = Measurements::of_image(b"");
    assert_eq!(
        empty.pcr0.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"
    );
}

#[test]
fn only_chains_without_value_are_permitted() {
    for chain_id in [31_337, 84_532, 11_155_111, 80_002, 43_113, 421_614, 11_155_420] {
        assert!(PERMITTED_CHAINS.contains(&chain_id));
        assert_eq!(permitted_chain(chain_id).unwrap().chain_id(), chain_id);
    }
    assert_eq!(PERMITTED_CHAINS.len(), 7);
    // Ethereum, OP, BNB, Polygon, Base, Arbitrum, Avalanche, and none.
    for chain_id in [1, 10, 56, 137, 8_453, 42_161, 43_114, 0, u64::MAX] {
        assert_eq!(permitted_chain(chain_id), Err(DevteeError::ForbiddenChain { chain_id }));
    }
}

/// A directory of this test's own, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("candor-devtee-test-{}-{count}", std::process::id()));
        // A run with the same process id may have been killed here.
        fs::remove_dir_all(&dir).or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}
