//! `candor wallet show`: the address, what it holds of each asset that the policy may spend, and how many answers that buys. With `--wait`
//! until something arrives.
//!
//! What a token calls itself is the token's own word; that the policy names its address is what counts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use candor_chain::{ChainClient, TokenWords};
use candor_client::{Endpoint, PolicyFile, VerifiedNode, price_list, price_now, resolve, verify_live};
use candor_verify::bytes::{Address, Amount};
use candor_verify::terms::SignedPriceList;
use candor_verify::text::one_line;
use candor_x402::client::AssetLimit;
use serde_json::{Value, json};

use super::{Whose, file, qr};
use crate::output::{Done, Failure, note, print_json, say};
use crate::{policy, tokens};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    at: Whose,
    /// Policy file that says what may be spent; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Say how many answers of this node it buys; of the newest that the policy accepts, if not said and one answers.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Wait until money arrives, this many minutes at most (30 if not said). Enough for ten answers that is there already has arrived.
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, require_equals = true, default_missing_value = "30",
          value_parser = clap::value_parser!(u32).range(1..=1440))]
    wait: Option<u32>,
}

/// What is called enough to begin with, in answers.
const BEGINNING: u128 = 10;

/// How long a node is looked for, whose price is a courtesy here.
const NODE_WAIT: Duration = Duration::from_secs(5);

/// Between two looks for money: a block of most chains.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// What is called an answer, in tokens: what `candor ask` asks for if nothing is said, after a question of some lines.
const QUESTION_TOKENS: u64 = 100;
const ANSWER_TOKENS: u64 = 64;

/// One asset that may be spent, and what there is of it, or why nobody could tell.
struct Holding {
    limit: AssetLimit,
    words: Option<TokenWords>,
    balance: Result<Amount, String>,
}

/// 2 if a balance could not be told.
pub(super) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let own = args.at.own(state)?;
    // At once: who only wants to know where to send money needs no chain.
    let show = |address: &Address| {
        if !json_output {
            say!("{address}");
            qr::say(address);
        }
    };
    own.iter().for_each(|(address, _)| show(address));
    let chain = match (args.at.rpc.connect().await, &own) {
        (Ok(chain), _) => Ok(chain),
        // Which chain it is, and so whether the wallet is the one that everybody knows, only the chain says.
        (Err(failure), None) => return Err(failure),
        (Err(failure), Some(_)) => Err(failure.message().to_owned()),
    };
    let chain_id = chain.as_ref().ok().map(ChainClient::chain_id);
    let (address, signer) = match own {
        Some(own) => own,
        None => {
            let kind = file::find(state, chain_id.unwrap_or_default())?;
            let address = kind.address(&args.at.passphrase)?;
            show(&address);
            (address, Some(kind.word()))
        }
    };
    let (spend, source) = policy::budget(args.policy.as_deref(), state, chain_id.unwrap_or_default())?;
    let is_here = |limit: &AssetLimit| chain_id.is_none_or(|chain_id| limit.network.0 == chain_id);
    let (here, elsewhere): (Vec<AssetLimit>, Vec<AssetLimit>) = spend.assets.iter().partition(|limit| is_here(limit));
    let mut held = Vec::new();
    for limit in here {
        held.push(Holding::of(&chain, limit, &address).await);
    }
    let node = match &chain {
        Ok(chain) => find_node(chain, &policy::load(args.policy.as_deref(), state)?, args.node.as_deref()).await?,
        Err(_) => None,
    };
    if !json_output {
        say!("needs no ether: payments are EIP-3009 authorisations, and the node pays the gas");
        say!("may spend by {source}:");
        held.iter().for_each(|holding| holding.say(node.as_ref()));
        elsewhere.iter().for_each(|limit| say!("{} on chain {}: not asked; --rpc of that chain shows it", limit.asset, limit.network.0));
        if spend.assets.is_empty() {
            say!("nothing: no [[spend]] names an asset (candor policy suggest; spec/policy.md)");
        }
    }
    let arrived = match (args.wait, &chain) {
        (Some(minutes), Ok(chain)) => Some(wait(chain, &address, &mut held, minutes).await?),
        (Some(_), Err(why)) => return Err(Failure::cannot(why.as_str())),
        (None, _) => None,
    };
    if json_output {
        let assets: Vec<Value> = held.iter().map(|holding| holding.json(node.as_ref())).collect();
        print_json(&json!({
            "address": address.to_string(), "signer": signer, "needs_ether": false, "chain_id": chain_id, "policy": source,
            "assets": assets, "arrived": arrived.map(|(at, amount)| held.get(at).map(|holding| holding.arrived_json(amount))),
            "trouble": chain.as_ref().err(),
        }));
    } else if let Some((holding, amount)) = arrived.and_then(|(at, amount)| Some((held.get(at)?, amount))) {
        holding.say_arrived(amount);
    }
    let is_known = chain.is_ok() && held.iter().all(|holding| holding.balance.is_ok());
    Ok(ExitCode::from(if is_known { 0 } else { 2 }))
}

/// What a token says of itself, and a balance of it.
async fn ask(chain: &ChainClient, limit: &AssetLimit, address: &Address) -> Result<(Option<TokenWords>, Amount), Failure> {
    // Without code there is nothing to ask, and what is not a token says nothing of itself.
    if !chain.has_code(&limit.asset).await? {
        let what = format!("no contract there on chain {}; is this the chain that the policy means?", chain.chain_id());
        return Err(Failure::cannot(format!("[[spend]] asset {}: {what}", limit.asset)));
    }
    Ok((tokens::words(chain, &limit.asset).await?, chain.token_balance(&limit.asset, address).await?))
}

impl Holding {
    async fn of(chain: &Result<ChainClient, String>, limit: AssetLimit, address: &Address) -> Self {
        let asked = match chain {
            Ok(chain) => ask(chain, &limit, address).await.map_err(|failure| failure.message().to_owned()),
            Err(why) => Err(why.clone()),
        };
        match asked {
            Ok((words, balance)) => Self { limit, words, balance: Ok(balance) },
            Err(why) => Self { limit, words: tokens::known(limit.network.0, &limit.asset), balance: Err(why) },
        }
    }

    fn money(&self, amount: Amount) -> String {
        tokens::money(amount, self.words.as_ref(), &self.limit.asset)
    }

    /// What ten answers cost at the policy's most.
    fn beginning(&self) -> Amount {
        Amount(self.limit.max_per_request.0.saturating_mul(BEGINNING))
    }

    /// Answers that the balance buys at a price; as many as there may be if they cost nothing.
    fn answers(&self, each: Amount) -> Option<u128> {
        self.balance.as_ref().ok()?.0.checked_div(each.0)
    }

    fn say(&self, node: Option<&Node>) {
        let AssetLimit { network, asset, max_per_request, max_per_day, .. } = self.limit;
        let name = self.words.as_ref().map_or("a token that does not name itself".to_owned(), |words| format!("{:?}", words.name));
        match &self.balance {
            Ok(balance) => say!("  {}   {asset} on chain {}, which calls itself {name}", self.money(*balance), network.0),
            Err(why) => say!("  not known   {asset} on chain {}: {why}", network.0),
        }
        let (each, day) = (self.money(max_per_request), self.money(max_per_day));
        match self.answers(max_per_request) {
            Some(answers) => say!("    {answers} answers at the policy's most, {each} each; {day} a day at most"),
            None => say!("    {each} for an answer and {day} a day at most"),
        }
        say!("    for {BEGINNING} answers: {}", self.money(self.beginning()));
        if let Some((node, price)) = node.and_then(|node| Some((node, node.price(&self.limit)?))) {
            let model = one_line(&node.model);
            let answers = self.answers(price).map_or("any number".to_owned(), |answers| answers.to_string());
            let each = self.money(price);
            say!(
                "    {answers} answers of {} ({model}) at {each}: {QUESTION_TOKENS} tokens asked, {ANSWER_TOKENS} answered",
                node.endpoint
            );
        }
    }

    fn json(&self, node: Option<&Node>) -> Value {
        let AssetLimit { network, asset, max_per_request, max_per_day, .. } = self.limit;
        let (words, balance) = (self.words.as_ref(), self.balance.as_ref().ok());
        let node = node.and_then(|node| {
            let price = node.price(&self.limit)?;
            Some(json!({
                "endpoint": node.endpoint, "model": node.model, "price": price.to_string(), "answers": self.answers(price).map(|n| n.to_string()),
                "prompt_tokens": QUESTION_TOKENS, "completion_tokens": ANSWER_TOKENS,
            }))
        });
        json!({
            "chain_id": network.0, "asset": asset.to_string(), "name": words.map(|words| &words.name),
            "symbol": words.map(|words| &words.symbol), "decimals": words.map(|words| words.decimals),
            "balance": balance.map(Amount::to_string), "money": balance.map(|balance| self.money(*balance)), "trouble": self.balance.as_ref().err(),
            "max_per_request": max_per_request.to_string(),
            "max_per_day": max_per_day.to_string(), "answers": self.answers(max_per_request).map(|answers| answers.to_string()),
            "ten_answers": self.beginning().to_string(), "node": node,
        })
    }

    fn say_arrived(&self, amount: Amount) {
        let balance = self.balance.clone().unwrap_or_default();
        say!("arrived: {}; the wallet holds {}", self.money(amount), self.money(balance));
        if balance < self.beginning() {
            say!("that is less than {BEGINNING} answers may cost: {}", self.money(self.beginning()));
        }
    }

    fn arrived_json(&self, amount: Amount) -> Value {
        json!({"asset": self.limit.asset.to_string(), "amount": amount.to_string(), "money": self.money(amount)})
    }
}

/// A verified node and what it sells at now.
struct Node {
    endpoint: String,
    model: String,
    node: VerifiedNode,
    list: Option<SignedPriceList>,
}

impl Node {
    /// Of one answer in an asset, if its first model is sold for it.
    fn price(&self, limit: &AssetLimit) -> Option<Amount> {
        let terms = self.node.enclave.terms();
        let model = terms.answering_models().next()?.digest;
        price_now(terms.price(&model, limit.network.0, &limit.asset)?, self.list.as_ref()).amount(QUESTION_TOKENS, ANSWER_TOKENS)
    }
}

/// The node that is named, or the newest that the policy accepts and that answers soon.
async fn find_node(chain: &ChainClient, judge: &PolicyFile, named: Option<&str>) -> Result<Option<Node>, Failure> {
    let node = match (named, judge.registry.filter(|(chain_id, _)| *chain_id == chain.chain_id())) {
        (Some(url), _) => verify_live(chain, &judge.policy, Endpoint::parse(url)?, None).await?,
        (None, None) => return Ok(None),
        (None, Some((_, registry))) => {
            let found = tokio::time::timeout(NODE_WAIT, resolve(chain, &registry, &judge.policy, &judge.find)).await;
            let Ok(Ok(node)) = found else { return Ok(None) };
            node
        }
    };
    // Without the list the ceilings count: no answer costs more.
    let list = tokio::time::timeout(NODE_WAIT, price_list(&node.enclave)).await.ok().and_then(Result::ok).flatten();
    let model = node.enclave.terms().answering_models().next().map(|model| model.id.clone()).unwrap_or_default();
    Ok(Some(Node { endpoint: node.endpoint.authority(), model, node, list }))
}

/// Waits until a balance grows; which, and by how much. What is there already and is enough has arrived.
async fn wait(chain: &ChainClient, address: &Address, held: &mut [Holding], minutes: u32) -> Result<(usize, Amount), Failure> {
    if held.is_empty() {
        return Err(Failure::cannot("nothing to wait for: the policy may spend no asset of this chain (candor policy show)"));
    }
    let enough = |holding: &Holding| holding.balance.clone().ok().filter(|held| Amount::ZERO < *held && holding.beginning() <= *held);
    if let Some(found) = held.iter().enumerate().find_map(|(at, holding)| Some((at, enough(holding)?))) {
        return Ok(found);
    }
    let awaited: Vec<String> = held.iter().map(|holding| holding.money(holding.beginning())).collect();
    note!("waiting {minutes} min at most for {} or any other amount at {address}", awaited.join(" or "));
    let deadline = Instant::now() + Duration::from_secs(60 * u64::from(minutes));
    let mut trouble = None;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK_PAUSE).await;
        for (at, holding) in held.iter_mut().enumerate() {
            match chain.token_balance(&holding.limit.asset, address).await {
                Ok(now) => {
                    let before = std::mem::replace(&mut holding.balance, Ok(now)).unwrap_or(now);
                    if let Some(more) = now.checked_sub(before).filter(|more| *more != Amount::ZERO) {
                        return Ok((at, more));
                    }
                }
                // An endpoint that is away for a moment is asked again.
                Err(error) if error.is_temporary() => trouble = Some(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
    }
    let trouble = trouble.map(|what| format!("; the chain did not always answer: {what}")).unwrap_or_default();
    Err(Failure::cannot(format!("nothing arrived at {address} within {minutes} min{trouble}; `candor wallet show --wait` goes on waiting")))
}
