//! `candor nodes`: who sells, for whoever buys: operator, endpoint, models and prices, until when, and whether the policy would accept it.
//!
//! `candor registry list` shows the same registrations to whoever looks after keys and logs; both read them from the chain alone. Here a node that
//! the policy accepts is asked besides for the prices in force, which its registrar signed. What of a refused one is shown is what the chain
//! says that its operator signed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use candor_chain::{ChainClient, Standing};
use candor_client::{Candidate, PolicyFile, api_url, candidates, price_list, price_now};
use candor_report::decimal_text;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, VerifiedEnclave, verify_evidence};
use candor_verify::terms::{OperatorTerms, Price, SignedPriceList, ways};
use candor_verify::text::one_line;
use candor_x402::protocol::Eip155;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::output::{Done, print_json, say};
use crate::rpc::RpcArgs;
use crate::{calendar, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Also those whose registration lapsed or was ended.
    #[arg(long)]
    all: bool,
    /// How many of the newest registrations are looked at.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    newest: u16,
}

/// How long the chain is asked for the evidence of one.
const EVIDENCE_WAIT: Duration = Duration::from_secs(10);

/// How long one is asked for the prices in force; if nothing came it is shown with its ceilings.
const PRICES_WAIT: Duration = Duration::from_secs(5);

/// How many are looked at at once: each is some calls of the chain, and a connection.
const AT_ONCE: usize = 16;

/// A registration as a buyer looks at it.
struct Row {
    candidate: Candidate,
    evidence: Result<Evidence, String>,
    judged: Judged,
    list: Option<SignedPriceList>,
}

/// What the policy says of one.
enum Judged {
    /// Its registration ended: who pays it is refused.
    Ended,
    /// The chain shows no evidence of it, or not in time.
    Unreadable(String),
    /// By which check, in words.
    Refused {
        check: &'static str,
        why: String,
    },
    Accepted {
        enclave: Box<VerifiedEnclave>,
        is_payable: bool,
    },
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let chain = args.rpc.connect().await?;
    let judge = policy::to_buy_by(args.policy.as_deref(), state, chain.chain_id())?;
    let registry = policy::registry(&judge, args.policy.as_deref(), state)?;
    let mut found = candidates(&chain, &registry, usize::from(args.newest)).await?;
    let total = found.len();
    found.retain(|candidate| args.all || candidate.standing == Standing::Valid);
    found.reverse();
    let hidden = total - found.len();
    let chain_id = chain.chain_id();
    let rows = look_at(found, Place { chain, registry, judge }).await;
    if json_output {
        print_json(&rows.iter().map(Row::json).collect());
        return Ok(ExitCode::SUCCESS);
    }
    let header = ("OPERATOR", "ENDPOINT", "SELLS UNTIL", "WOULD YOUR POLICY ACCEPT IT?");
    say!("{:<12} {:<32} {:<21} {}", header.0, header.1, header.2, header.3);
    rows.iter().for_each(Row::say);
    let ended = if hidden == 0 { String::new() } else { format!("; {hidden} ended or lapsed (--all)") };
    say!("{} in registry {registry} on chain {chain_id}{ended}. Policy: {}", rows.len(), policy::name(args.policy.as_deref(), state));
    Ok(ExitCode::SUCCESS)
}

/// Where they are registered, and who judges them.
struct Place {
    chain: ChainClient,
    registry: Address,
    judge: PolicyFile,
}

/// Looks at each of those that are shown, some at once, in their order.
async fn look_at(candidates: Vec<Candidate>, place: Place) -> Vec<Row> {
    let (place, places) = (Arc::new(place), Arc::new(Semaphore::new(AT_ONCE)));
    let mut looking = JoinSet::new();
    for (at, candidate) in candidates.into_iter().enumerate() {
        let (place, places) = (Arc::clone(&place), Arc::clone(&places));
        looking.spawn(async move {
            let _one_of_some = places.acquire().await;
            (at, place.look(candidate).await)
        });
    }
    let mut rows = looking.join_all().await;
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

impl Place {
    /// What the chain shows of one, what the policy says of that, and, if it accepts it, what it sells at.
    async fn look(&self, candidate: Candidate) -> Row {
        let shown = tokio::time::timeout(EVIDENCE_WAIT, candidate.evidence(&self.chain, &self.registry)).await;
        let evidence = match shown {
            Ok(Ok(evidence)) => evidence,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the chain did not show its evidence within {} s", EVIDENCE_WAIT.as_secs())),
        };
        let judged = match &evidence {
            Ok(evidence) => judged(&candidate, evidence, &self.judge),
            Err(what) => Judged::Unreadable(what.clone()),
        };
        let list = match &judged {
            // One that does not answer has its ceilings, and is shown all the same.
            Judged::Accepted { enclave, .. } => {
                tokio::time::timeout(PRICES_WAIT, price_list(enclave)).await.ok().and_then(Result::ok).flatten()
            }
            Judged::Ended | Judged::Unreadable(_) | Judged::Refused { .. } => None,
        };
        Row { candidate, evidence, judged, list }
    }
}

fn judged(candidate: &Candidate, evidence: &Evidence, judge: &PolicyFile) -> Judged {
    let (verdict, enclave) = verify_evidence(evidence, &judge.policy, Moment::OwnTime, &K256);
    match (enclave, verdict.refused()) {
        (Some(enclave), _) if enclave.manifest().hash() != candidate.registered.record.manifest_hash => {
            let why = format!("expected manifest {}, got {}", candidate.registered.record.manifest_hash, enclave.manifest().hash());
            Judged::Refused { check: "registry.listed", why }
        }
        (Some(_), _) if candidate.standing != Standing::Valid => Judged::Ended,
        (Some(enclave), _) => {
            let may_spend = |price: &Price| {
                let limits = &judge.spend.assets;
                limits.iter().any(|limit| (limit.network, limit.asset) == (Eip155(price.chain_id), price.asset))
            };
            let prices = &enclave.terms().prices;
            let is_payable = prices.is_empty() || prices.iter().any(may_spend);
            Judged::Accepted { enclave: Box::new(enclave), is_payable }
        }
        (None, Some(check)) => Judged::Refused { check: check.id, why: format!("expected {}, got {}", check.expected, check.got) },
        (None, None) => Judged::Unreadable("it was not judged to the end".into()),
    }
}

impl Judged {
    fn words(&self) -> String {
        match self {
            Self::Ended => "no: its registration ended".into(),
            Self::Unreadable(what) => format!("no: unreadable: {}", one_line(what)),
            Self::Refused { check, why } => format!("no: {check}: {}", one_line(why)),
            Self::Accepted { is_payable: false, .. } => "yes, but it may spend no asset that this node takes ([[spend]])".into(),
            Self::Accepted { enclave, .. } if enclave.is_simulated() => "yes, SIMULATED".into(),
            Self::Accepted { .. } => "yes".into(),
        }
    }

    fn check(&self) -> Option<&'static str> {
        match self {
            Self::Refused { check, .. } => Some(check),
            Self::Ended | Self::Unreadable(_) | Self::Accepted { .. } => None,
        }
    }
}

impl Row {
    fn terms(&self) -> Option<&OperatorTerms> {
        self.evidence.as_ref().ok().map(|evidence| &evidence.terms.terms)
    }

    fn endpoint(&self) -> Option<&str> {
        api_url(self.terms()?)
    }

    fn say(&self) {
        let until = self.terms().map_or("unknown".into(), |terms| calendar::utc(terms.not_after.0));
        let (endpoint, operator) =
            (one_line(self.endpoint().unwrap_or("unknown")), format!("{:#}", self.candidate.registered.record.operator));
        let standing = match self.candidate.standing {
            Standing::Valid => String::new(),
            standing => format!(" ({})", standing.as_str()),
        };
        say!("{operator:<12} {endpoint:<32} {until:<21} {}{standing}", self.judged.words());
        let Some(terms) = self.terms() else { return };
        for model in terms.answering_models() {
            let mut prices = terms.prices.iter().filter(|price| price.model == model.digest).peekable();
            if prices.peek().is_none() {
                let open = [(ways::OPEN, "free for anybody"), (ways::KEYS, "for who has a key")];
                let how = open.iter().find(|(way, _)| terms.access.has(*way)).map_or("not for sale", |(_, how)| how);
                say!("{:<12} {}: {how}", "", one_line(&model.id));
            }
            prices.for_each(|price| say!("{:<12} {}: {}", "", one_line(&model.id), self.price_words(terms, price)));
        }
        if terms.guard.judges() {
            say!("{:<12} its guard {} judges conversations before they are answered", "", one_line(&terms.guard.model));
        }
    }

    /// Money for a million tokens, of the list in force where it was had.
    fn price_words(&self, terms: &OperatorTerms, price: &Price) -> String {
        let asset = terms.asset(price.chain_id, &price.asset);
        let money = |amount| decimal_text(amount, asset.map_or(0, |asset| asset.decimals));
        let name = asset.map_or_else(|| price.asset.to_string(), |asset| one_line(&asset.name).into_owned());
        let now = price_now(price, self.list.as_ref());
        let of = match &self.list {
            Some(list) => format!("list {} in force", list.list.number),
            None => "at most, by its terms".to_owned(),
        };
        let (input, output, request) = (money(now.input), money(now.output), money(now.request));
        format!("{input} in, {output} out a million tokens, {request} a request, {name} on chain {} ({of})", price.chain_id)
    }

    fn json(&self) -> Value {
        let (record, status) = (&self.candidate.registered.record, &self.candidate.status);
        let models = self
            .terms()
            .map(|terms| terms.answering_models().map(|model| self.model_json(terms, &model.digest, &model.id)).collect::<Vec<_>>());
        json!({
            "operator": record.operator.to_string(), "k_sig": record.k_sig.to_string(), "endpoint": self.endpoint(),
            "models": models, "sells_until": self.terms().map(|terms| terms.not_after.0), "registered_until": status.valid_until.0,
            "standing": self.candidate.standing.as_str(), "accepted": matches!(self.judged, Judged::Accepted { .. }),
            "payable": matches!(self.judged, Judged::Accepted { is_payable: true, .. }), "check": self.judged.check(), "why": self.judged.words(),
            "price_list": self.list.as_ref().map(|list| json!({"number": list.list.number, "until": list.list.until.0})),
        })
    }

    fn model_json(&self, terms: &OperatorTerms, digest: &Hash32, id: &str) -> Value {
        let prices = terms.prices.iter().filter(|price| price.model == *digest).map(|price| {
            let (asset, now) = (terms.asset(price.chain_id, &price.asset), price_now(price, self.list.as_ref()));
            json!({
                "chain_id": price.chain_id, "asset": price.asset.to_string(), "name": asset.map(|asset| &asset.name),
                "decimals": asset.map(|asset| asset.decimals), "input": now.input.to_string(), "output": now.output.to_string(),
                "request": now.request.to_string(), "is_ceiling": self.list.is_none(),
            })
        });
        json!({"id": id, "digest": digest.to_string(), "prices": prices.collect::<Vec<_>>()})
    }
}
