//! From no policy to one: what this release knows of a chain, or what a node shows, as a policy whose every line says where it comes from. It is
//! shown, asked about once, and written; `candor policy suggest` shows it and writes nothing unless told to.
//!
//! - **Invariant:** nothing is accepted because a node says it. Its evidence is judged by everything but whom it is of (`trust`), and whoever
//!   reads what that means decides. Its `/.well-known/candor.json` says only where the evidence is to be had.
//! - **Invariant:** a policy that is there is not replaced; `candor policy trust` adds to it.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use candor_chain::TokenWords;
use candor_client::{Endpoint, PolicyFile, discover, template};
use candor_report::{Decimal, KnownPlace, KnownSpend, KnownText};
use candor_verify::payment::MAX_UNRESOLVED;
use candor_verify::policy::Policy;
use candor_verify::terms::OperatorTerms;
use candor_x402::client::{AssetLimit, SpendPolicy};
use candor_x402::protocol::Eip155;
use serde_json::json;

use super::words;
use super::{OF_ONE_BUILD, default_path, nobody, of_state};
use crate::dev::{self, Development, Role};
use crate::output::{Done, Failure, can_ask, is_confirmed, print_json, say, write_once};
use crate::rpc::RpcArgs;
use crate::trust::{self, Found};

/// What this release knows.
const KNOWN: &str = include_str!("../../known.toml");

/// What is suggested to be spent on a node that nobody knew before, in the money of its asset: small on purpose.
const REQUEST: &str = "0.01";
const DAY: &str = "1";

#[derive(clap::Args)]
pub(super) struct Args {
    /// A node, https://…, or a host that serves /.well-known/candor.json; what this release knows of a chain, if not said.
    url: Option<String>,
    /// Of this chain; of that behind --rpc, if not said.
    #[arg(long, value_name = "N", conflicts_with_all = ["url", "rpc", "rpc_file"])]
    chain_id: Option<u64>,
    #[command(flatten)]
    rpc: RpcArgs,
    /// Write it as the state directory's policy.toml, if there is none. What a node shows is asked about first.
    #[arg(long)]
    write: bool,
    /// Do not ask.
    #[arg(long, requires = "write")]
    yes: bool,
}

/// A policy that somebody may accept.
pub(super) struct Suggestion {
    file: PolicyFile,
    /// The text of the file, each line with where it comes from.
    text: String,
    /// In words: what it is of.
    of: String,
    /// What a node showed, if it is of one.
    found: Option<Found>,
    /// The tokens of its limits.
    moneys: Vec<Option<TokenWords>>,
}

pub(super) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let path = default_path(state);
    if args.write && path.exists() {
        let instead = "candor policy trust URL adds a node to it";
        return Err(Failure::cannot(format!("{} is there already and was not touched; {instead}", path.display())));
    }
    let suggestion = match (&args.url, args.chain_id) {
        (Some(url), _) => of_node(url, state).await?,
        (None, Some(chain_id)) => of_chain(&known()?, chain_id, state)?,
        (None, None) => of_chain(&known()?, args.rpc.connect().await?.chain_id(), state)?,
    };
    if args.write {
        if suggestion.found.is_some() && !args.yes {
            if !json_output {
                suggestion.say();
            }
            if !is_confirmed(json_output, &format!("write {}? [y/N] ", path.display()))? {
                return Err(Failure::cannot(format!("{} was not written", path.display())));
            }
        }
        suggestion.write(&path, state)?;
    }
    let written = args.write.then(|| path.display().to_string());
    if json_output {
        let found = suggestion.found.as_ref().map(Found::json);
        print_json(&json!({"of": suggestion.of, "policy": suggestion.text, "written": written, "found": found}));
    } else {
        match written {
            Some(path) => say!("wrote {path}: {}", suggestion.of),
            None => say!("{}# Not written. Write it with --write.", suggestion.text),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// For a first ask without a policy: shows the suggestion, asks once, writes it. Who cannot be asked is told which command does it.
pub(super) async fn first(node: Option<&str>, chain_id: u64, state: &Path, json_output: bool) -> Result<PolicyFile, Failure> {
    let path = default_path(state);
    let command = match node {
        // As the user wrote it.
        Some(url) => format!("candor policy suggest {url}{}", of_state(state)),
        None => format!("candor policy suggest --chain-id {chain_id}{}", of_state(state)),
    };
    let suggestion = match node {
        Some(url) => of_node(url, state).await?,
        None => of_chain(&known()?, chain_id, state)?,
    };
    // Shown and asked on standard error: into a file, nobody would see the question.
    if !can_ask(json_output) || !std::io::stderr().is_terminal() {
        let what = format!("no policy at {}, so that nobody is accepted and nothing is spent, and there is nobody to ask", path.display());
        return Err(Failure::cannot(format!(
            "{what}; look at `{command}`, and write it with `{command} --write{}`",
            match node {
                Some(_) => " --yes",
                None => "",
            }
        )));
    }
    say!("There is no policy yet: nobody is accepted, and nothing is spent. This could be one: {}.", suggestion.of);
    suggestion.say();
    if !is_confirmed(json_output, &format!("write it to {} and go on? [y/N] ", path.display()))? {
        return Err(Failure::cannot(format!("{} was not written, and nothing was asked; {command} shows it as a file", path.display())));
    }
    suggestion.write(&path, state)?;
    Ok(suggestion.file)
}

impl Suggestion {
    fn new(file: PolicyFile, of: String, found: Option<Found>, sources: &Sources) -> Self {
        let moneys = file.spend.assets.iter().map(words::known).collect();
        Self { text: annotated(&template(&file), sources), file, of, found, moneys }
    }

    /// What would be accepted and could be spent, in plain words.
    fn say(&self) {
        if let Some(found) = &self.found {
            found.say();
        }
        for (question, answer) in words::rows(&self.file, &self.moneys) {
            say!("  {question:<14} {answer}");
        }
    }

    fn write(&self, path: &Path, state: &Path) -> Result<(), Failure> {
        dev::make_state(state)?;
        // Somebody may have written one while the question stood there.
        write_once(path, self.text.as_bytes())
    }
}

fn known() -> Result<KnownText, Failure> {
    KnownText::parse(KNOWN).map_err(|error| Failure::cannot(format!("known.toml of this build: {error}")))
}

/// What is known of a chain.
fn of_chain(known: &KnownText, chain_id: u64, state: &Path) -> Result<Suggestion, Failure> {
    let nothing = |what: &str| {
        Failure::cannot(format!(
            "no policy, and {what} of chain {chain_id} is known to this release (candor {}); a node that you know can be looked at: candor \
             policy suggest https://NODE, or candor ask --node https://NODE",
            env!("CARGO_PKG_VERSION")
        ))
    };
    let Some(deployment) = known.deployment(chain_id) else { return Err(nothing("no deployment")) };
    let version = env!("CARGO_PKG_VERSION");
    match &deployment.place {
        KnownPlace::OfThisBuild => {
            let Some(development) = Development::of(chain_id) else { return Err(nothing("no deployment")) };
            // Its software root is part of the policy, and made with the state if there is none.
            dev::make_state(state)?;
            let file = dev::policy(&dev::tee(state), development.deployed(), development.address(Role::Operator))?;
            let accepted = format!("this very program (candor {version}) under this state's software root");
            let sources = Sources { accepted, find: "nothing: all of that operator".into(), spend: "play money of this program".into() };
            let suggestion = Suggestion::new(file, format!("{}, SIMULATED", deployment.name), None, &sources);
            Ok(Suggestion { text: format!("{OF_ONE_BUILD}\n{}", suggestion.text), ..suggestion })
        }
        KnownPlace::Public { spend, .. } => {
            let policy = known.policy(chain_id).ok_or_else(|| nothing("no release on the deployment"))?;
            let source = format!("known.toml of candor {version}, {}", deployment.name);
            let sources = Sources { accepted: source.clone(), find: source.clone(), spend: source.clone() };
            let moneys = spend.iter().map(|KnownSpend { symbol, decimals, .. }| {
                Some(TokenWords { name: symbol.clone(), symbol: symbol.clone(), decimals: *decimals })
            });
            Ok(Suggestion { moneys: moneys.collect(), ..Suggestion::new(policy.into(), source, None, &sources) })
        }
    }
}

/// What a node shows, and small amounts of the tokens it takes that are known here.
async fn of_node(url: &str, state: &Path) -> Result<Suggestion, Failure> {
    let endpoint = match Endpoint::parse(url) {
        Ok(_) => url.to_owned(),
        // A host's log port, for example: it names its node.
        Err(_) => discover(url).await?,
    };
    // No root but the one that was shown: every line is to come from where it says.
    let none = Policy { roots: Vec::new(), ..nobody() };
    let found = trust::find(&endpoint, &none, state).await?;
    let (terms, policy) = (found.enclave.terms(), found.added_to(&none));
    let file = PolicyFile::new(policy, SpendPolicy { assets: limits(terms) });
    if found.enclave.is_simulated() {
        trust::check_play_money(&found.chains(), &file)?;
    }
    let source = format!("the evidence that {endpoint} showed");
    let tokens = format!("tokens of its terms that this program knows; {REQUEST} and {DAY} of each, small on purpose");
    let sources = Sources { accepted: source.clone(), find: "nothing: all of that operator".into(), spend: tokens };
    Ok(Suggestion::new(file, source, Some(found), &sources))
}

/// Small amounts of each token that the terms name and this program knows by its address: what a token says of itself is anybody's word.
fn limits(terms: &OperatorTerms) -> Vec<AssetLimit> {
    let mut limits: Vec<AssetLimit> = Vec::new();
    for price in &terms.prices {
        let (max_per_request, max_per_day) = Default::default();
        let limit = AssetLimit {
            network: Eip155(price.chain_id),
            asset: price.asset,
            max_per_request,
            max_per_day,
            max_unresolved: MAX_UNRESOLVED,
        };
        let is_new = !limits.iter().any(|known| (known.network, known.asset) == (limit.network, limit.asset));
        if let Some(money) = words::known(&limit).filter(|_| is_new) {
            let units = |text: &str| Decimal::parse(text).and_then(|amount| amount.units(money.decimals)).unwrap_or_default();
            limits.push(AssetLimit { max_per_request: units(REQUEST), max_per_day: units(DAY), ..limit });
        }
    }
    limits
}

/// Where lines of a suggested policy come from.
struct Sources {
    accepted: String,
    find: String,
    spend: String,
}

/// The text of a policy with a comment above each value: where it comes from.
fn annotated(text: &str, sources: &Sources) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let field = line.split(" = ").next().filter(|field| line.contains(" = ") && !field.starts_with('#'));
        let source = field.map(|field| match field {
            "roots" | "workloads" | "operators" | "registries" => sources.accepted.as_str(),
            "listed" => &sources.find,
            "chain_id" | "asset" | "max_per_request" | "max_per_day" => &sources.spend,
            _ => "the default of this program",
        });
        if let Some(source) = source {
            // A URL of somebody's is on one line, and starts no other.
            out.push_str(&format!("# From: {}\n", candor_verify::text::one_line(source)));
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use candor_client::PolicyFile;
    use candor_report::PolicyText;

    use super::*;

    const PUBLIC: &str = r#"
        [[deployment]]
        name = "a test network"
        chain_id = 84532
        registry = "0x0101010101010101010101010101010101010101"
        operators = ["0x0202020202020202020202020202020202020202"]
        [[deployment.spend]]
        asset = "0x0303030303030303030303030303030303030303"
        symbol = "USDC"
        decimals = 6
        max_per_request = "0.01"
        max_per_day = "1"
    "#;

    const RELEASE: &str = r#"
        [[release]]
        version = "0.2.0"
        root = "aws-nitro-g1"
        workloads = ["0x0404040404040404040404040404040404040404040404040404040404040404"]
    "#;

    #[test]
    fn what_this_release_knows_is_the_development_chain_and_nothing_else() {
        let known = known().unwrap();
        assert_eq!(known.deployments.iter().map(|known| known.chain_id).collect::<Vec<_>>(), [candor_devchain::DEFAULT_CHAIN_ID]);
        assert!(known.releases.is_empty());
        let none = of_chain(&known, 8453, Path::new("/nonexistent")).err().unwrap();
        assert!(none.message().contains("no deployment of chain 8453") && none.message().contains("candor policy suggest https://NODE"));
    }

    #[test]
    fn a_known_deployment_is_suggested_with_where_each_line_comes_from_once_there_is_a_release() {
        let known = KnownText::parse(PUBLIC).unwrap();
        let none = of_chain(&known, 84_532, Path::new("/nonexistent")).err().unwrap();
        assert!(none.message().contains("no release on the deployment"), "{}", none.message());
        let known = KnownText::parse(&format!("{PUBLIC}{RELEASE}")).unwrap();
        let suggestion = of_chain(&known, 84_532, Path::new("/nonexistent")).ok().unwrap();
        let read = PolicyFile::from(PolicyText::parse(&suggestion.text).unwrap());
        assert_eq!((&read.policy, &read.spend), (&suggestion.file.policy, &suggestion.file.spend));
        let spend = words::rows(&suggestion.file, &suggestion.moneys).pop().unwrap().1;
        assert!(spend.starts_with("0.010000 USDC a request and 1.000000 USDC a day at most"), "{spend}");
        let lines: Vec<&str> = suggestion.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')) {
            assert!(lines[at - 1].starts_with("# From: "), "{line}");
        }
        assert!(
            suggestion.text.contains("# From: known.toml of candor") && suggestion.text.contains("# From: the default of this program")
        );
    }
}
