//! `candor policy new`: a commented policy file. And what the other commands say about the one they judge by.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{ChainClient, EnclaveStatus};
use candor_client::{ClientError, PolicyFile, candidates, template, write_private};
use candor_verify::attest::{Freshness, TrustRoot, VerifiedDocument, parse_document, verify_document};
use candor_verify::bytes::{Address, Hash32};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, verify_evidence};
use candor_verify::manifest::{TeeKind, workload_id};
use candor_verify::policy::Policy;
use candor_verify::verdict::Verdict;
use candor_x402::client::SpendPolicy;
use serde_json::json;

use crate::dev;
use crate::output::{Done, Failure, print_json, say};

/// First line of every policy that this program writes to accept itself.
const OF_ONE_BUILD: &str = "# Written by candor for one build of itself, for development. After a rebuild: candor policy new --dev --force";

/// What replaces such a policy: never done without being asked for, because it accepts something else than before.
const RENEW: &str = "candor policy new --dev --force";

/// For a policy that allows no payment: what to fill in.
const SPEND_EXAMPLE: &str = "
# Nothing may be spent until there is such a section. Only the attested payee is ever paid; amounts in the asset's smallest unit.
# [[spend]]
# chain_id = 84532
# asset = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"
# max_per_request = \"10000\"
# max_per_day = \"1000000\"
#
# And under [accept], where to look for nodes:
# registries = [{ chain_id = 84532, address = \"0x...\" }]
";

/// The one check that a rebuild makes refuse.
const WORKLOAD: &str = "policy.workload";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write a policy file: hardware roots only, nothing may be spent, until you fill in workloads, registries and amounts.
    New {
        /// Where to write it; the state directory's policy.toml if not said.
        path: Option<PathBuf>,
        /// Accept this very program under this state's software root. SIMULATED: for development only.
        #[arg(long)]
        dev: bool,
        /// Replace a policy that is there.
        #[arg(long)]
        force: bool,
        /// Chain id of the development registry, with --dev.
        #[arg(long, default_value_t = candor_devchain::DEFAULT_CHAIN_ID, requires = "dev")]
        chain_id: u64,
    },
}

pub(crate) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let Command::New { path, dev, force, chain_id } = args.command;
    let path = match path {
        Some(path) => path,
        None => {
            dev::make_state(state)?;
            default_path(state)
        }
    };
    if path.exists() && !force {
        return Err(Failure::cannot(format!("{} is there already and was not touched; --force replaces it", path.display())));
    }
    if dev {
        write_dev(&path, state, chain_id)?;
    } else {
        let file = PolicyFile::new(Policy::hardware(), SpendPolicy::default());
        write_private(&path, format!("{}{SPEND_EXAMPLE}", template(&file)).as_bytes())?;
    }
    let what = match dev {
        true => format!("accepts SIMULATED evidence of this build, on chain {chain_id} only"),
        false => format!("accepts no node and pays nothing until you fill it in; for your own development node: {RENEW}"),
    };
    if json_output {
        print_json(&json!({"policy": path.display().to_string(), "simulated": dev, "note": what}));
    } else {
        say!("wrote {}   {what}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the policy that accepts this build; its first line says so.
pub(crate) fn write_dev(path: &Path, state: &Path, chain_id: u64) -> Result<(), Failure> {
    let file = dev::policy(state, chain_id)?;
    Ok(write_private(path, format!("{OF_ONE_BUILD}\n{}", template(&file)).as_bytes())?)
}

/// `policy.toml` of a state directory.
pub(crate) fn default_path(state: &Path) -> PathBuf {
    state.join("policy.toml")
}

/// The policy to judge by: the file that was named, else the state's, else (nothing there) the hardware policy without a workload.
pub(crate) fn load(named: Option<&Path>, state: &Path) -> Result<PolicyFile, Failure> {
    let fallback = default_path(state);
    match named {
        Some(path) => Ok(PolicyFile::read(path)?),
        None if fallback.exists() => Ok(PolicyFile::read(&fallback)?),
        None => Ok(PolicyFile::new(Policy::hardware(), SpendPolicy::default())),
    }
}

/// The registry to look for nodes in.
pub(crate) fn registry(policy: &PolicyFile, named: Option<&Path>, state: &Path) -> Result<Address, Failure> {
    policy.registry.map(|(_, address)| address).ok_or_else(|| {
        let path = path_of(named, state);
        Failure::cannot(format!(
            "the policy {} names no registry: fill in accept.registries, or for your own development node: {RENEW}",
            path.display()
        ))
    })
}

/// What to do about a refusal that this policy explains: the one of a developer's own node.
pub(crate) fn advice(verdict: &Verdict, evidence: &Evidence, named: Option<&Path>, state: &Path) -> Option<String> {
    let check = verdict.refused()?.id;
    let document = parse_document(&evidence.document).ok()?;
    let under = |roots: &[TrustRoot]| verify_document(&document, roots, document.claimed_timestamp_ms(), Freshness::Historical);
    let path = path_of(named, state);
    if check == WORKLOAD {
        let policy = load(named, state).ok()?.policy;
        let found = workload_of(&under(&policy.roots).ok()?);
        let is_this_build = is_of_one_build(&path) && dev::workload(state).is_ok_and(|workload| workload == found);
        return Some(match is_this_build {
            true => other_build(&path),
            false => format!("{} does not accept workload {found}; name a policy that does with --policy FILE", path.display()),
        });
    }
    let is_other_root = check == "attest.root" && under(&[TrustRoot::AWS_NITRO_G1]).is_err_and(|error| error.check() == check);
    is_other_root.then(|| {
        let force = if default_path(state).exists() { " --force" } else { "" };
        format!(
            "this evidence is SIMULATED, under a root that the policy does not name. Name a policy that does with --policy FILE; \
             for your own development node: candor policy new --dev{force}"
        )
    })
}

/// Why no node was found, if it is because the policy was written for another build: then that is a refusal, and not an absence.
pub(crate) async fn explain(error: ClientError, chain: &ChainClient, policy: &PolicyFile, named: Option<&Path>, state: &Path) -> Failure {
    let path = path_of(named, state);
    let is_absence = matches!(error, ClientError::NoNode(_));
    let is_other_build = match (&error, &policy.registry) {
        (ClientError::Refused(verdict), _) => verdict.refused().is_some_and(|check| check.id == WORKLOAD),
        // Only with a policy of ours, so on a development chain: its registry is short.
        (_, Some((_, registry))) if is_absence && is_of_one_build(&path) => {
            candidates(chain, registry).await.unwrap_or_default().iter().any(|candidate| {
                let refused = candidate.evidence.as_ref().ok().and_then(|evidence| {
                    let (verdict, _) = verify_evidence(evidence, &policy.policy, Moment::OwnTime, &K256);
                    verdict.refused().map(|check| check.id)
                });
                candidate.status == EnclaveStatus::Valid && refused == Some(WORKLOAD)
            })
        }
        _ => false,
    };
    if is_other_build && is_of_one_build(&path) {
        return Failure::refused(WORKLOAD, format!("{error}\n{}", other_build(&path)));
    }
    error.into()
}

fn path_of(named: Option<&Path>, state: &Path) -> PathBuf {
    named.map_or_else(|| default_path(state), Path::to_owned)
}

fn is_of_one_build(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().next() == Some(OF_ONE_BUILD))
}

fn other_build(path: &Path) -> String {
    format!("the policy {} was written for another build of candor; run `{RENEW}` to trust this build", path.display())
}

fn workload_of(document: &VerifiedDocument) -> Hash32 {
    workload_id(TeeKind::Nitro, &Hash32(document.root_fingerprint()), document.measurements())
}
