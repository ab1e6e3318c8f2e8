//! `candor policy new`: a commented policy file. And what the other commands say about the one they judge by.
//!
//! | file | what |
//! |---|---|
//! | here | writing one, loading the one in force, what to do about a refusal |
//! | `look` | showing and checking one |
//! | `suggest` | from none to one |
//! | `words` | one in words, and which of its values are risky |
//!
//! Not here: adding to one what a bundle or a node shows (`trust.rs`), and the fields (`candor-report`).

mod look;
mod suggest;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{ClientError, PolicyFile, api_url, template, write_private};
use candor_verify::attest::{Freshness, TrustRoot, VerifiedDocument, parse_document, verify_document};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::evidence::Evidence;
use candor_verify::manifest::{TeeKind, workload_id};
use candor_verify::policy::{Accept, Policy};
use candor_verify::step::Step;
use candor_verify::verdict::Verdict;
use candor_x402::client::SpendPolicy;
use serde_json::json;

use crate::deployment::{self, Deployed};
use crate::dev::{self, Development, Role};
use crate::keys::{self, missing};
use crate::output::{Done, Failure, note, print_json, say, write_once};
use crate::trust;

/// First line of every policy that this program writes to accept itself.
const OF_ONE_BUILD: &str = "# Written by candor for one build of itself, for development. After a rebuild: candor policy new --dev --force";

/// What writes the policy of a development node, for whoever judged by this one. It replaces another only if that is the state's own and was
/// the one that judged: never one that somebody named, which accepts something else and may be written by hand.
fn renew(named: Option<&Path>, state: &Path) -> String {
    let force = if named.is_none() && default_path(state).exists() { " --force" } else { "" };
    format!("candor policy new --dev{force}{}{}", of_network(named, state), of_state(state))
}

/// What a policy of another chain than the development chain is written with besides.
fn of_network(named: Option<&Path>, state: &Path) -> &'static str {
    let chain_id = load(named, state).ok().and_then(|policy| policy.registry).map(|(chain_id, _)| chain_id);
    match chain_id {
        Some(chain_id) if Development::of(chain_id).is_none() => " --deployment FILE --operator ADDRESS",
        _ => "",
    }
}

/// The flag that names the state, for commands to be copied, where it is not the usual one.
fn of_state(state: &Path) -> String {
    let is_usual = dev::default_state().is_ok_and(|usual| usual == state);
    if is_usual { String::new() } else { format!(" --state {}", state.display()) }
}

/// For a policy that allows no payment: what to fill in.
const SPEND_EXAMPLE: &str = "
# Nothing may be spent until there is such a section. Only the attested payee is ever paid; amounts in the asset's smallest unit.
# [[spend]]
# chain_id = 84532
# asset = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"
# max_per_request = \"10000\"
# max_per_day = \"1000000\"
#
# And under [accept], whom you deal with, and where to look for nodes:
# operators = [\"0x...\"]
# registries = [{ chain_id = 84532, address = \"0x...\" }]
";

/// Refuses evidence under a root that the policy does not name.
const ROOT: &str = "attest.root";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write a policy file: hardware roots only, nothing may be spent, until you fill in workloads, registries and amounts.
    ///
    /// It names no operator: with "any", whoever registered last in a registry gets your payments.
    New {
        /// Where to write it; the state directory's policy.toml if not said.
        path: Option<PathBuf>,
        /// Accept this very program under this state's software root. SIMULATED: for development only.
        #[arg(long)]
        dev: bool,
        /// Replace a policy that is there.
        #[arg(long)]
        force: bool,
        /// Whose registry nodes are looked for in: what `candor deploy` wrote. With --dev the development chain's, if not said.
        #[arg(long, value_name = "FILE")]
        deployment: Option<PathBuf>,
        /// An operator you deal with. With --dev the development chain's, if not said.
        #[arg(long, value_name = "ADDRESS", value_parser = keys::address)]
        operator: Option<Address>,
    },
    /// Show the policy in force in words: whom it accepts, what it may spend in money, what it asks for, where it comes from.
    Show(look::ShowArgs),
    /// Read a policy file as every command does, and name values that are risky. Exit code 0: none; 1: some; 2: it is no policy.
    Check(look::CheckArgs),
    /// Print a policy, each line with where it comes from: of what this release knows of a chain, or of what a node shows. Writes nothing unless told
    /// to.
    Suggest(suggest::Args),
    /// Show what accepting a bundle's or a node's enclave means, ask, and add exactly that to the policy.
    Trust(trust::Args),
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let (path, dev, force, deployment, operator) = match args.command {
        Command::New { path, dev, force, deployment, operator } => (path, dev, force, deployment, operator),
        Command::Trust(args) => return trust::run(args, state, json_output).await,
        Command::Show(args) => return look::show(args, state, json_output).await,
        Command::Check(args) => return look::check(&args, state, json_output),
        Command::Suggest(args) => return suggest::run(args, state, json_output).await,
    };
    let deployed = deployment.as_deref().map(deployment::read).transpose()?;
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
    let what = if dev {
        let (deployed, operator) = developing(deployed, operator)?;
        write_dev(&path, state, &deployed, operator)?;
        format!("accepts SIMULATED evidence of this build, on chain {} only", deployed.addresses.chain_id)
    } else {
        let registries = deployed.iter().map(|deployed| (deployed.addresses.chain_id, deployed.addresses.registry));
        let policy = Policy {
            operators: Accept::Only(operator.into_iter().collect()),
            registries: Accept::Only(registries.collect()),
            ..Policy::hardware()
        };
        let file = PolicyFile::new(policy, SpendPolicy::default());
        let text = format!("{}{SPEND_EXAMPLE}", template(&file));
        match force {
            true => write_private(&path, text.as_bytes())?,
            false => write_once(&path, text.as_bytes())?,
        }
        let renew = format!("candor policy new --dev --force{}", of_state(state));
        format!("accepts no node and pays nothing until you fill it in; for your own development node: {renew}")
    };
    if json_output {
        print_json(&json!({"policy": path.display().to_string(), "simulated": dev, "note": what}));
    } else {
        say!("wrote {}   {what}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// A policy for hardware that accepts nobody until somebody is named: "any" operator would be whoever registered last.
pub(crate) fn nobody() -> Policy {
    Policy { operators: Accept::Only(Vec::new()), registries: Accept::Only(Vec::new()), ..Policy::hardware() }
}

/// Whose policy `--dev` writes: the development chain's, or that of a deployment and an operator, who have to be named.
fn developing(deployed: Option<Deployed>, operator: Option<Address>) -> Result<(Deployed, Address), Failure> {
    let chain_id = deployed.as_ref().map_or(candor_devchain::DEFAULT_CHAIN_ID, |deployed| deployed.addresses.chain_id);
    let development = Development::of(chain_id);
    let deployed = deployed.or_else(|| development.map(|development| development.deployed().clone()));
    let operator = operator.or_else(|| development.map(|development| development.address(Role::Operator)));
    let both = deployed.zip(operator);
    let (deployed, operator) =
        both.ok_or_else(|| missing("operator", chain_id, "--operator ADDRESS", "candor wallet new FILE, which shows the address"))?;
    Ok((deployed, keys::own(operator, "operator", chain_id)?))
}

/// Writes the policy that accepts this build; its first line says so.
pub(crate) fn write_dev(path: &Path, state: &Path, deployed: &Deployed, operator: Address) -> Result<(), Failure> {
    dev::make_state(state)?;
    let file = dev::policy(&dev::tee(state), deployed, operator)?;
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

/// The policy to buy by. On a development chain a missing one is written, saying so: three terminals work without flags.
pub(crate) fn to_buy_by(named: Option<&Path>, state: &Path, chain_id: u64) -> Result<PolicyFile, Failure> {
    let path = default_path(state);
    if named.is_none()
        && !path.exists()
        && let Some(development) = Development::of(chain_id)
    {
        write_dev(&path, state, development.deployed(), development.address(Role::Operator))?;
        note!("wrote {}: it accepts SIMULATED evidence of this very program, on chain {chain_id} only", path.display());
    }
    load(named, state)
}

/// The policy to ask by. Where there is none, and none is written unasked, one is suggested and asked about once.
pub(crate) async fn to_ask_by(
    named: Option<&Path>,
    node: Option<&str>,
    state: &Path,
    chain_id: u64,
    json_output: bool,
) -> Result<PolicyFile, Failure> {
    let is_there = named.is_some() || default_path(state).exists();
    match is_there || Development::of(chain_id).is_some() {
        true => to_buy_by(named, state, chain_id),
        false => suggest::first(node, chain_id, state, json_output).await,
    }
}

/// What may be spent by the policy that an ask would judge by, and what that policy is called. Writes nothing.
pub(crate) fn budget(named: Option<&Path>, state: &Path, chain_id: u64) -> Result<(SpendPolicy, String), Failure> {
    let path = path_of(named, state);
    match Development::of(chain_id) {
        Some(development) if named.is_none() && !path.exists() => {
            Ok((dev::budget(development.deployed()), "the policy that the first `candor ask` writes on the development chain".into()))
        }
        _ if path.exists() || named.is_some() => Ok((load(named, state)?.spend, path.display().to_string())),
        _ => Ok((SpendPolicy::default(), "no policy yet".into())),
    }
}

/// The registry to look for nodes in.
pub(crate) fn registry(policy: &PolicyFile, named: Option<&Path>, state: &Path) -> Result<Address, Failure> {
    policy.registry.map(|(_, address)| address).ok_or_else(|| {
        let path = path_of(named, state);
        if !path.exists() {
            // Of which chain, its endpoint says.
            let suggest = format!("candor policy suggest --chain-id ID{}", of_state(state));
            return Failure::cannot(format!("no policy at {}: nobody is accepted; `{suggest}` shows what one could be", path.display()));
        }
        Failure::cannot(format!(
            "the policy {} names no registry: fill in accept.registries, or for your own development node: {}",
            path.display(),
            renew(named, state)
        ))
    })
}

/// What to do about a refusal of a bundle; `name` is what the command line called it.
pub(crate) fn bundle_advice(verdict: &Verdict, bundle: &Bundle, name: &str, named: Option<&Path>, state: &Path) -> Option<String> {
    if verdict.refused().is_some_and(|check| check.step == Step::PaymentBinding)
        && bundle.sale.as_ref().is_some_and(|sale| sale.payment.client_salt.is_none())
    {
        return Some(format!(
            "this was paid with a stock x402 client, whose payment names no offer; a policy with `require_offer_binding = false` accepts \
             it as an equal price to the same payee. {} does not",
            path_of(named, state).display()
        ));
    }
    let chain_id = bundle.evidence.manifest.anchor_chain_id;
    if verdict.refused().is_some_and(|check| matches!(check.step, Step::EvidenceBlock | Step::ReceiptBlock))
        && chain_id == candor_devchain::DEFAULT_CHAIN_ID
    {
        let what = "a development chain begins anew whenever it is started, and what was on it before is gone";
        return Some(format!("{what}. Without --rpc this bundle is judged by its signatures alone"));
    }
    advice(verdict, &bundle.evidence, name, named, state)
}

/// What to do about a refusal of evidence that this policy explains; `name` is what the command line called its source.
pub(crate) fn advice(verdict: &Verdict, evidence: &Evidence, name: &str, named: Option<&Path>, state: &Path) -> Option<String> {
    let check = verdict.refused()?;
    let document = parse_document(evidence.document()).ok()?;
    let under = |roots: &[TrustRoot]| verify_document(&document, roots, document.claimed_timestamp_ms(), Freshness::Historical);
    let path = path_of(named, state);
    let policy_flag = named.map(|path| format!(" --policy {}", path.display())).unwrap_or_default();
    let trust = format!("`candor policy trust {name}{policy_flag}{}` shows what accepting it would mean, and asks", of_state(state));
    match check.step {
        Step::PolicyWorkload => {
            let policy = load(named, state).ok()?.policy;
            let found = workload_of(&under(&policy.roots).ok()?);
            let is_this_build = is_of_one_build(&path) && dev::workload(state) == Some(found);
            Some(match is_this_build {
                true => other_build(&path, named, state),
                false => {
                    format!("{} does not accept workload {found}. {trust}; or name a policy that does with --policy FILE", path.display())
                }
            })
        }
        Step::PolicyOperator | Step::PolicyRegistry => Some(format!("{} names another. {trust}", path.display())),
        // Whether it is genuine under its own root is not said here: that is what trusting it looks at.
        Step::AttestDocument if check.id == ROOT && !document.claimed_root().is_hardware() => Some(format!(
            "this evidence is SIMULATED, under the root 0x{} that the policy does not name: whoever holds that root's key can forge \
                 everything under it. {trust}; or name a policy that does with --policy FILE; for your own development node: {}",
            document.claimed_root(),
            renew(named, state)
        )),
        _ => None,
    }
}

/// Why no node was found. If the policy refuses what is there, that is a refusal and not an absence, with what to do about it.
pub(crate) fn explain(error: ClientError, node: Option<&str>, named: Option<&Path>, state: &Path) -> Failure {
    let (ClientError::Refused(refused) | ClientError::Untrusted { newest: refused, .. }) = &error else { return error.into() };
    let url = node.or_else(|| api_url(&refused.evidence.terms.terms));
    // What nobody verified is not put into a command for people to copy, unless it can be nothing but a place.
    let name = url.filter(|url| url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/.-_[]".contains(&byte))).unwrap_or("URL");
    let advice = advice(&refused.verdict, &refused.evidence, name, named, state);
    match (error.check(), advice) {
        (Some(check), Some(advice)) => Failure::refused(check, format!("{error}\n{advice}")),
        _ => error.into(),
    }
}

/// What the policy to judge by is called.
pub(crate) fn name(named: Option<&Path>, state: &Path) -> String {
    path_of(named, state).display().to_string()
}

fn path_of(named: Option<&Path>, state: &Path) -> PathBuf {
    named.map_or_else(|| default_path(state), Path::to_owned)
}

fn is_of_one_build(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().next() == Some(OF_ONE_BUILD))
}

fn other_build(path: &Path, named: Option<&Path>, state: &Path) -> String {
    format!("the policy {} was written for another build of candor; run `{}` to trust this build", path.display(), renew(named, state))
}

fn workload_of(document: &VerifiedDocument) -> Hash32 {
    workload_id(TeeKind::Nitro, &Hash32(document.root_fingerprint()), document.measurements())
}
