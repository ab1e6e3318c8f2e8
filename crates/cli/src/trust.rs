//! `candor policy trust BUNDLE|URL`: from evidence that the policy refuses to a policy that accepts it, with open eyes.
//!
//! Evidence is first judged by everything but whom it is of: under the root that it names itself, whatever it measures. What does not hold
//! even so is garbage, and nobody is asked about it. Then its root, workload, operator and registry are shown, and those four are added.
//! - **Invariant:** no SIMULATED root gets into a policy that reaches a chain where money is real, by registry, by asset or by "any".

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{Endpoint, PolicyFile, inspect, template, write_private};
use candor_devtee::permitted_chain;
use candor_verify::attest::{Freshness, TrustRoot, parse_document, verify_document};
use candor_verify::bytes::{Address, Hash32, to_hex};
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, VerifiedEnclave, verify_evidence};
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::verdict::{BUG, LogLevel, Verdict};
use candor_x402::client::SpendPolicy;
use serde_json::{Value, json};

use crate::output::{Done, Failure, is_confirmed, print_json, say};
use crate::{dev, policy, verify};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A bundle (a .candor file), or a node, for example https://127.0.0.1:8443.
    what: String,
    /// Policy file to add to, made if it is not there; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let path = match args.policy {
        Some(path) => path,
        None => {
            dev::make_state(state)?;
            policy::default_path(state)
        }
    };
    let before = match path.exists() {
        true => PolicyFile::read(&path)?,
        false => PolicyFile::new(policy::nobody(), SpendPolicy::default()),
    };
    let found = find(&args.what, &before.policy, state).await?;
    let after = PolicyFile::new(found.added_to(&before.policy), before.spend.clone());
    if after.policy == before.policy {
        report(&found, &path, "the policy accepts it already", json_output);
        return Ok(ExitCode::SUCCESS);
    }
    if found.enclave.is_simulated() {
        check_play_money(&found.chains(), &after)?;
    }
    if !json_output {
        found.say();
    }
    if !args.yes && !is_agreed(&path, json_output)? {
        return Err(Failure::cannot(format!("{} was not changed", path.display())));
    }
    write_private(&path, template(&after).as_bytes())?;
    let spends = after.spend.assets.iter().any(|limit| limit.network.0 == found.enclave.manifest().anchor_chain_id);
    let note = match spends {
        true => "root, workload, operator and registry are in it now",
        false => {
            "root, workload, operator and registry are in it now; nothing may be spent on that chain until a [[spend]] names an asset (chain_id, asset, max_per_request, max_per_day: spec/policy.md)"
        }
    };
    report(&found, &path, note, json_output);
    Ok(ExitCode::SUCCESS)
}

/// An enclave whose evidence is all that it says, under a root that it names itself. Whether to accept it is the question.
pub(crate) struct Found {
    pub(crate) enclave: VerifiedEnclave,
    root: TrustRoot,
    measurements: [u8; 144],
}

/// Looks at a bundle or a node.
pub(crate) async fn find(what: &str, base: &Policy, state: &Path) -> Result<Found, Failure> {
    if what.starts_with("https://") {
        let (evidence, spki_hash, _) = inspect(&Endpoint::parse(what)?).await?;
        if evidence.manifest.tls_spki_hash != spki_hash {
            return Err(Failure::refused("tls.key", format!("{what} shows evidence of another: its own key is {spki_hash}")));
        }
        let moment = Moment::Live { now: dev::now(), nonce: None };
        let (judged, enclave) = verify_evidence(&evidence, &trial(&evidence, base)?, moment, &K256);
        return found_in(&evidence, enclave, &judged);
    }
    let bundle = verify::load(Path::new(what), state)?;
    let (judged, verified) = verify_bundle(&bundle, &trial(&bundle.evidence, base)?, ChainFacts::default(), &K256);
    found_in(&bundle.evidence, verified.map(|verified| verified.enclave().clone()), &judged)
}

/// The policy under which evidence can only be refused for what it is, and not for whose it is.
fn trial(evidence: &Evidence, base: &Policy) -> Result<Policy, Failure> {
    let document = parse_document(evidence.document()).map_err(|error| garbage(error.check(), &error.to_string()))?;
    Ok(Policy {
        roots: vec![document.claimed_root()],
        workloads: Workloads::DangerousAny,
        operators: Accept::Any,
        registries: Accept::Any,
        models: Accept::Any,
        require_level: LogLevel::SelfLogged,
        require_offer_binding: false,
        ..base.clone()
    })
}

fn found_in(evidence: &Evidence, enclave: Option<VerifiedEnclave>, judged: &Verdict) -> Result<Found, Failure> {
    let Some(enclave) = enclave else {
        return Err(match judged.refused() {
            Some(check) => garbage(check.id, &format!("expected {}, got {}", check.expected, check.got)),
            None => garbage(BUG, "no check"),
        });
    };
    // Once more for what the verified enclave does not keep: its measurements.
    let document = parse_document(evidence.document()).map_err(|error| garbage(error.check(), &error.to_string()))?;
    let root = document.claimed_root();
    let verified = verify_document(&document, &[root], document.claimed_timestamp_ms(), Freshness::Historical)
        .map_err(|error| garbage(error.check(), &error.to_string()))?;
    Ok(Found { enclave, root, measurements: *verified.measurements() })
}

fn garbage(check: &'static str, why: &str) -> Failure {
    Failure::refused(check, format!("it is not what it says it is, under any policy: refused {check}: {why}; nothing was changed"))
}

impl Found {
    fn registry(&self) -> (u64, Address) {
        let manifest = self.enclave.manifest();
        (manifest.anchor_chain_id, manifest.registry)
    }

    /// Every chain that its terms name.
    pub(crate) fn chains(&self) -> Vec<u64> {
        let terms = self.enclave.terms();
        let (chains, assets) = (terms.chains.iter().map(|chain| chain.chain_id), terms.assets.iter().map(|asset| asset.chain_id));
        let prices = terms.prices.iter().map(|price| price.chain_id);
        std::iter::once(terms.anchor_chain_id).chain(chains).chain(assets).chain(prices).collect()
    }

    /// The policy with this enclave's root, workload, operator and registry, and nothing else besides.
    pub(crate) fn added_to(&self, policy: &Policy) -> Policy {
        // Where nothing was accepted before, "any" has let nobody in, and does not begin to now.
        let is_blank = policy.roots.is_empty() || policy.workloads == Workloads::Only(Vec::new());
        Policy {
            roots: with(&policy.roots, self.root),
            workloads: match &policy.workloads {
                Workloads::DangerousAny => Workloads::DangerousAny,
                Workloads::Only(listed) => Workloads::Only(with(listed, self.enclave.workload())),
            },
            operators: accepting(&policy.operators, self.enclave.manifest().operator, is_blank),
            registries: accepting(&policy.registries, self.registry(), is_blank),
            ..policy.clone()
        }
    }

    pub(crate) fn say(&self) {
        let (manifest, (chain_id, registry)) = (self.enclave.manifest(), self.registry());
        match self.enclave.is_simulated() {
            true => say!("SIMULATED. No hardware vouches for it: whoever holds the key of this root can forge everything under it."),
            false => say!("Hardware. {}", self.enclave.assurance().as_str()),
        }
        say!("root      {}", Hash32(self.root.fingerprint));
        for (index, pcr) in self.measurements.chunks(PCR_BYTES).enumerate() {
            say!("PCR{index}      {}", to_hex(pcr));
        }
        say!("workload  {}   (kind, root and measurements)", self.enclave.workload());
        say!("operator  {}", manifest.operator);
        say!("registry  {registry} on chain {chain_id}");
    }

    pub(crate) fn json(&self) -> Value {
        let (chain_id, registry) = self.registry();
        json!({
            "simulated": self.enclave.is_simulated(), "root": Hash32(self.root.fingerprint).to_string(),
            "measurements": self.measurements.chunks(PCR_BYTES).map(to_hex).collect::<Vec<_>>(),
            "workload": self.enclave.workload().to_string(), "operator": self.enclave.manifest().operator.to_string(),
            "registry": registry.to_string(), "chain_id": chain_id,
        })
    }
}

/// Bytes of one measurement.
const PCR_BYTES: usize = 48;

fn with<T: Clone + PartialEq>(listed: &[T], item: T) -> Vec<T> {
    let mut all = listed.to_vec();
    if !all.contains(&item) {
        all.push(item);
    }
    all
}

fn accepting<T: Clone + PartialEq>(accept: &Accept<T>, item: T, is_blank: bool) -> Accept<T> {
    match accept {
        Accept::Any if is_blank => Accept::Only(vec![item]),
        Accept::Any => Accept::Any,
        Accept::Only(listed) => Accept::Only(with(listed, item)),
    }
}

/// Whether a policy with a SIMULATED root in it reaches only what is worth nothing. Lists of a policy are not tied to one another: a root
/// that is accepted for a test network is accepted for every registry of the policy, and may be paid whatever the policy allows.
pub(crate) fn check_play_money(chains: &[u64], after: &PolicyFile) -> Result<(), Failure> {
    let refuse = |what: String| {
        let instead = "keep a policy file of its own for it, with --policy FILE";
        Err(Failure::refused("policy.registry", format!("no SIMULATED root goes into a policy {what}; {instead}")))
    };
    if let Some(chain) = chains.iter().find(|chain| permitted_chain(**chain).is_err()) {
        let what = format!("no SIMULATED root is trusted for chain {chain}, where money may be real, and this node names it in its terms");
        return Err(Failure::refused("policy.registry", what));
    }
    if after.policy.workloads == Workloads::DangerousAny {
        return refuse("that accepts any workload (\"dangerous-any\")".into());
    }
    if after.policy.registries == Accept::Any {
        return refuse("that accepts any registry".into());
    }
    let registries = after.policy.registries.named().iter().map(|(chain_id, _)| *chain_id);
    let spends = after.spend.assets.iter().map(|limit| limit.network.0);
    match registries.chain(spends).find(|chain| permitted_chain(*chain).is_err()) {
        Some(chain) => refuse(format!("that deals with chain {chain}, where money may be real")),
        None => Ok(()),
    }
}

/// Asks. Who cannot be asked has not agreed.
fn is_agreed(path: &Path, json_output: bool) -> Result<bool, Failure> {
    is_confirmed(
        json_output,
        &format!("add root, workload, operator and registry to {}? Comments of your own in it are lost. [y/N] ", path.display()),
    )
}

fn report(found: &Found, path: &Path, note: &str, json_output: bool) {
    if json_output {
        let mut value = found.json();
        value["policy"] = path.display().to_string().into();
        value["note"] = note.into();
        print_json(&value);
    } else {
        say!("{}: {note}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Amount;
    use candor_x402::client::AssetLimit;
    use candor_x402::protocol::Eip155;

    use super::*;

    fn policy(registries: Accept<(u64, Address)>) -> Policy {
        Policy { workloads: Workloads::Only(vec![Hash32([1; 32])]), registries, ..Policy::default() }
    }

    fn on(chain_id: u64) -> Accept<(u64, Address)> {
        Accept::Only(vec![(31_337, Address([1; 20])), (chain_id, Address([2; 20]))])
    }

    fn spending(chain_id: u64) -> SpendPolicy {
        let (network, asset) = (Eip155(chain_id), Address([3; 20]));
        SpendPolicy { assets: vec![AssetLimit { network, asset, max_per_request: Amount(1), max_per_day: Amount(1), max_unresolved: 2 }] }
    }

    #[test]
    fn no_simulated_root_gets_into_a_policy_that_reaches_real_money() {
        let test_network = PolicyFile::new(policy(on(84_532)), spending(84_532));
        assert!(check_play_money(&[31_337, 84_532], &test_network).is_ok());
        for (chains, after) in [
            (&[31_337, 8_453][..], test_network),
            (&[31_337], PolicyFile::new(policy(on(8_453)), SpendPolicy::default())),
            (&[31_337], PolicyFile::new(policy(on(424_242)), SpendPolicy::default())),
            (&[31_337], PolicyFile::new(policy(Accept::Any), SpendPolicy::default())),
            (&[31_337], PolicyFile::new(policy(on(31_337)), spending(1))),
            (&[31_337], PolicyFile::new(Policy { workloads: Workloads::DangerousAny, ..policy(on(31_337)) }, SpendPolicy::default())),
        ] {
            let refused = check_play_money(chains, &after).unwrap_err();
            assert!(refused.message().starts_with("no SIMULATED root"), "{refused:?}");
        }
    }

    #[test]
    fn a_list_grows_by_one_and_any_stays_any_where_it_meant_something() {
        assert_eq!(with(&[1, 2], 2), [1, 2]);
        assert_eq!(with(&[1], 2), [1, 2]);
        assert_eq!(accepting(&Accept::Only(vec![1]), 2, true), Accept::Only(vec![1, 2]));
        assert_eq!(accepting(&Accept::Any, 2, false), Accept::Any);
        assert_eq!(accepting(&Accept::Any, 2, true), Accept::Only(vec![2]));
    }
}
