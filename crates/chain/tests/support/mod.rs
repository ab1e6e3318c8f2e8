//! A development chain with every contract, and one boot of an enclave registered on it by a real attestor signature.
//!
//! The document is arbitrary bytes: the quorum kind believes its attestors, and verifying documents is `candor-verify`'s job.

#![allow(dead_code, unreachable_pub, reason = "shared by several test programs, each of which uses a part")]

use candor_chain::*;
use candor_devchain::{Config, DevChain, SharedChain, dev_accounts, provider};
use candor_testkit::honest::terms_for;
use candor_verify::hash::keccak256;
use candor_verify::manifest::{Freshness, Manifest, TeeKind, attested_bytes, workload_id};
use candor_verify::registration::{REGISTRATION_SECONDS, Registration};
use candor_verify::terms::{Chain, Model, OperatorTerms, SignedTerms};
use candor_verify::time::UnixMs;
use candor_verify::{Address, Amount, Hash32, Signature65};

pub const MODEL: Hash32 = Hash32([8; 32]);
pub const DOCUMENT: &[u8] = b"an attestation document";
pub const INNER_ROOT: Hash32 = Hash32([0x11; 32]);

/// A chain with the contracts, and the keys that everybody plays with.
pub struct World {
    pub shared: SharedChain,
    pub client: ChainClient,
    pub contracts: Deployment,
    pub deployer: Signer,
    pub operator: Signer,
    pub registrar: Signer,
    pub attestor: Signer,
    pub gas: Signer,
    pub payer: Signer,
    pub payee: Address,
}

pub fn dev_signer(index: usize) -> Signer {
    Signer::from_bytes(&dev_accounts::ALL[index].private_key.0).unwrap()
}

/// A chain with what `candor chain` has in block 0.
pub fn chain() -> SharedChain {
    let config = stand_ins()
        .unwrap()
        .into_iter()
        .fold(Config::default().with_dev_accounts(), |config, one| config.with_contract(one.address.0.into(), one.code.into(), Vec::new()));
    SharedChain::new(DevChain::new(config).unwrap())
}

impl World {
    pub async fn start() -> Self {
        let shared = chain();
        let client = ChainClient::from_provider(provider(&shared), Some(31337)).await.unwrap();
        let (deployer, attestor) = (dev_signer(0), dev_signer(3));
        let config = DeployConfig { attestors: vec![attestor.address()], threshold: 1, with_play_money: true };
        let contracts = Deployment::deploy(&client, &deployer, &config).await.unwrap();
        Self {
            shared,
            client,
            contracts,
            deployer,
            operator: dev_signer(1),
            registrar: dev_signer(2),
            attestor,
            gas: dev_signer(4),
            payer: dev_signer(5),
            payee: Address([0x77; 20]),
        }
    }

    pub fn terms(&self) -> SignedTerms {
        let c = &self.contracts;
        let mut terms = OperatorTerms {
            operator: self.operator.address(),
            payee: self.payee,
            registrar: self.registrar.address(),
            registry: c.registry,
            not_after: UnixMs(4_000_000_000_000),
            chains: vec![Chain { chain_id: c.chain_id, registry: c.registry, ..Chain::default() }],
            ..terms_for(Model::local("m", MODEL, 512))
        };
        (terms.assets[0].asset, terms.prices[0].asset) = (c.test_usd, c.test_usd);
        let signature = self.operator.sign_digest(&terms.digest()).unwrap();
        SignedTerms { terms, signature }
    }

    pub fn manifest(&self, k_sig: &Signer, k_log: Hash32) -> Manifest {
        Manifest { k_sig: k_sig.address(), k_log, ..Manifest::default() }.under(&self.terms().terms)
    }

    /// What an attestor says about [`DOCUMENT`], as if it showed this manifest at this block.
    pub fn submission(&self, manifest: &Manifest, document: &[u8], head: &Head, boot_signature: Signature65) -> Submission {
        let freshness = Freshness { chain_id: head.chain_id, block_number: head.number, block_hash: head.hash, nonce: Hash32::ZERO };
        let verdict = Verdict {
            evidence_hash: keccak256(&[document]),
            inner_kind: TeeKind::Nitro.code().into(),
            inner_root: INNER_ROOT,
            inner_measurements: keccak256(&[&[1; 144]]),
            attested_hash: keccak256(&[&attested_bytes(&manifest.k_sig, &manifest.hash(), &freshness)]),
            document_time: head.timestamp.0,
        };
        let signature = self.attestor.sign_digest(&verdict.digest(head.chain_id, &self.contracts.quorum_verifier)).unwrap();
        let terms = self.terms();
        let deadline = head.timestamp.saturating_add(REGISTRATION_SECONDS);
        let registration = Registration::new(
            manifest,
            &terms,
            self.contracts.quorum_verifier,
            verdict.workload_id(1, &[self.attestor.address()]),
            deadline,
        );
        Submission {
            verifier: self.contracts.quorum_verifier,
            document: document.to_vec(),
            verifier_data: verdict.verifier_data(&[signature]),
            manifest: manifest.clone(),
            freshness,
            terms,
            boot_signature,
            deadline,
            registrar_signature: self.registrar.sign_digest(&registration.digest()).unwrap(),
            predecessor: None,
        }
    }

    pub async fn register(&self, manifest: &Manifest, k_sig: &Signer) -> TransactionReceipt {
        let head = self.client.head().await.unwrap();
        let submission = self.submission(manifest, DOCUMENT, &head, k_sig.sign_digest(&manifest.boot_digest()).unwrap());
        self.client.send_and_wait(&self.deployer, Some(&self.contracts.registry), &submission.calldata().unwrap()).await.unwrap()
    }

    /// Where a registered key stands.
    pub async fn status(&self, k_sig: &Signer) -> KeyStatus {
        self.client.key_status(&self.contracts.registry, &k_sig.address()).await.unwrap().unwrap()
    }

    /// What is registered for a key.
    pub async fn record(&self, k_sig: &Signer) -> Record {
        let status = self.status(k_sig).await;
        self.client.registered(&self.contracts.registry, &k_sig.address(), &status).await.unwrap().record
    }

    pub async fn mint(&self, to: &Address, amount: Amount) {
        self.client.send_and_wait(&self.deployer, Some(&self.contracts.test_usd), &mint_calldata(to, amount)).await.unwrap();
    }
}

/// The workload that [`World::submission`] attests, as `candor-verify` computes it.
pub fn workload(attestor: &Address) -> Hash32 {
    let inner = workload_id(TeeKind::Nitro, &INNER_ROOT, &[1; 144]);
    // Quorum in quorum's own numbers: kind 0x51, root (t, members), measurements = the inner workload.
    let root = keccak256(&[candor_verify::abi::Words::new().u64(1).u64(64).u64(1).address(attestor).as_slice()]);
    let words = candor_verify::abi::Words::new()
        .hash(&keccak256(&[candor_verify::tags::WORKLOAD]))
        .u64(QUORUM_KIND.into())
        .hash(&root)
        .hash(&inner);
    keccak256(&[words.as_slice()])
}

pub fn no_signature() -> Signature65 {
    Signature65([0; 65])
}
