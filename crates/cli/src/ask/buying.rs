//! Who is asked and who pays: the part of a purchase that one question and a whole conversation share.
//!
//! - **Invariant:** a price that somebody was shown and did not approve, or that is above `--max-price`, is not paid.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use candor_chain::ChainClient;
use candor_client::{
    AccessKey, Again, Buyer, ClientError, Endpoint, Keep, OwnChain, PolicyFile, Progress, SpendBook, VerifiedNode, VerifiedResponse,
    Wallet, ask, ask_if, frame_text, needs_wallet, resolve, verify_live,
};
use candor_report::{Decimal, decimal_text, ends, money_text};
use candor_verify::bytes::{Address, Amount};
use candor_verify::offer::Offer;
use candor_verify::terms::OperatorTerms;

use crate::output::{Failure, is_confirmed, note, write_result};
use crate::rpc::RpcArgs;
use crate::spinner::Spinner;
use crate::{access, dev, policy, tokens, wallet};

/// Who is asked, who pays, and how much at most.
#[derive(clap::Args)]
pub(crate) struct Buying {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Ask this node instead of looking in the registry; its evidence is judged all the same.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Pay no more than this for one answer, in the asset's own money, such as 0.01. The policy's caps hold besides.
    #[arg(long, value_name = "AMOUNT", value_parser = tokens::amount)]
    max_price: Option<Decimal>,
    /// On a terminal, ask before more than this is paid for one answer.
    #[arg(long, value_name = "AMOUNT", default_value = "0.01", value_parser = tokens::amount)]
    ask_above: Decimal,
    /// Pay what the policy and --max-price allow without asking.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    key: access::KeyArg,
    #[command(flatten)]
    passphrase: wallet::Passphrase,
}

/// Where is bought: a verified node, and everything of whoever buys.
pub(crate) struct Shop {
    pub(crate) own: OwnChain,
    pub(crate) policy: PolicyFile,
    pub(crate) node: VerifiedNode,
    pub(crate) pay_again: bool,
    key: Option<AccessKey>,
    wallet: Option<Wallet>,
    book: SpendBook,
    pub(crate) keep: Keep,
    state: PathBuf,
}

impl Buying {
    /// Finds a node that the policy accepts, and verifies it. Who has no policy is asked about one.
    pub(crate) async fn open(&self, state: &Path, keep: Keep, json_output: bool) -> Result<Shop, Failure> {
        let key = self.key.load()?;
        let own = self.rpc.own_chain().await?;
        let chain = own.client();
        let policy = policy::to_ask_by(self.policy.as_deref(), self.node.as_deref(), state, chain.chain_id(), json_output).await?;
        // Not before: somebody may have been asked.
        let _spinner = Spinner::start(!json_output, "looking for a node, and at what it shows");
        // A chain in trouble is told as that, and not as a node that is not there.
        let _well = own.check().await.map_err(ClientError::from)?;
        let node = self.find(chain, &policy, state).await?;
        let book = dev::book(state)?;
        book.settle_up(chain).await;
        Ok(Shop { policy, node, pay_again: false, key, wallet: None, book, keep, own, state: state.to_owned() })
    }

    async fn find(&self, chain: &ChainClient, policy: &PolicyFile, state: &Path) -> Result<VerifiedNode, Failure> {
        let registry = policy::registry(policy, self.policy.as_deref(), state)?;
        let found = match &self.node {
            None => resolve(chain, &registry, &policy.policy, &policy.find).await,
            Some(url) => verify_live(chain, &policy.policy, Endpoint::parse(url)?, None).await,
        };
        let node = found.map_err(|error| policy::explain(error, self.node.as_deref(), self.policy.as_deref(), state))?;
        tokens::check_terms(node.enclave.terms(), &policy.spend, chain).await?;
        Ok(node)
    }
}

impl Shop {
    /// Whether an answer of this model has to be paid for; of any model, if it is not known which.
    pub(crate) fn is_bought(&self, model: Option<Option<&str>>) -> bool {
        match model {
            None => self.key.is_none(),
            Some(model) => needs_wallet(self.node.enclave.terms(), model, self.key.as_ref()),
        }
    }

    /// Opens the wallet if one is needed: nobody is asked for a passphrase to what costs nothing.
    pub(crate) fn open_wallet(&mut self, model: Option<Option<&str>>, by: &Buying, state: &Path) -> Result<(), Failure> {
        if self.is_bought(model) {
            self.wallet = Some(wallet::open(state, self.own.client().chain_id(), &by.passphrase)?);
        }
        Ok(())
    }

    /// Asks, shows the price where somebody looks, and the answer as it streams.
    pub(crate) async fn ask(&mut self, body: &[u8], by: &Buying, is_shown: bool) -> Result<VerifiedResponse, Failure> {
        let mut response = self.ask_node(body, by, is_shown).await;
        // Before anything was paid: another boot has taken over from the one that was verified.
        if let Err(ClientError::AnotherBoot { .. } | ClientError::WrongKey { .. }) = response {
            self.node = by.find(self.own.client(), &self.policy, &self.state).await?;
            response = self.ask_node(body, by, is_shown).await;
        }
        Ok(response?)
    }

    async fn ask_node(&mut self, body: &[u8], by: &Buying, is_shown: bool) -> Result<VerifiedResponse, ClientError> {
        let Self { own, policy, node, pay_again, key, wallet, book, keep, .. } = self;
        let buyer = Buyer {
            chain: own,
            wallet: wallet.as_ref(),
            key: key.as_ref(),
            book,
            spend: &policy.spend,
            policy: &policy.policy,
            keep,
            again: if *pay_again { Again::Always } else { Again::No },
            caller: None,
            race: None,
        };
        let terms = node.enclave.terms().clone();
        let spinner = Spinner::start(is_shown, "asking for the price");
        let is_asked = is_shown && !by.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let mut approve = |offer: &Offer| by.approve(&Price::of(offer, &terms), offer, is_asked, &spinner);
        let mut has_begun = false;
        let mut show = |progress: Progress<'_>| match progress {
            Progress::Paying(choice) if is_shown && std::io::stderr().is_terminal() => {
                spinner.clear();
                let offer = &choice.signed_offer().offer;
                note!("paying {} to {}", Price::of(offer, &terms), ends(&offer.payee.to_string()));
                spinner.say("waiting for the answer");
            }
            Progress::Frame(frame) | Progress::Body(frame) if is_shown => {
                spinner.clear();
                has_begun = true;
                write_result(format_args!("{}", frame_text(frame)));
            }
            _ => {}
        };
        let response = ask_if(node, &buyer, body, &mut approve, &mut show).await;
        spinner.clear();
        if has_begun {
            write_result(format_args!("\n"));
        }
        response
    }
}

impl Buying {
    /// Whether this price is paid.
    fn approve(&self, price: &Price, offer: &Offer, is_asked: bool, spinner: &Spinner) -> Result<(), ClientError> {
        let above = |limit: &Decimal| limit.units(price.decimals()).map(|limit| limit < offer.amount);
        if let Some(limit) = &self.max_price {
            let is_above = above(limit).map_err(|error| ClientError::Usage(format!("--max-price: {error}; nothing was paid")))?;
            if is_above {
                return Err(ClientError::Spend(format!("the price is {price}, and --max-price allows {limit}")));
            }
        }
        // A threshold finer than the asset's money is below it.
        if !is_asked || !above(&self.ask_above).unwrap_or(true) {
            return Ok(());
        }
        spinner.clear();
        let question =
            format!("pay {price} to {} (payee of {}) for at most {} tokens? [y/N] ", offer.payee, self.named(), offer.max_tokens);
        match is_confirmed(false, &question) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ClientError::Spend("you did not say yes".into())),
            Err(failure) => Err(ClientError::Usage(failure.message().to_owned())),
        }
    }

    fn named(&self) -> &str {
        self.node.as_deref().unwrap_or("the verified node")
    }
}

/// A price for people.
pub(crate) struct Price {
    amount: Amount,
    asset: Address,
    // Name and decimals, if the terms list it.
    token: Option<(String, u8)>,
}

impl Price {
    /// By the terms that list its asset.
    pub(crate) fn of(offer: &Offer, terms: &OperatorTerms) -> Self {
        let token = terms.asset(offer.chain_id, &offer.asset).map(|asset| (asset.name.clone(), asset.decimals));
        Self { amount: offer.amount, asset: offer.asset, token }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.token.as_ref().map(|(name, _)| name.as_str())
    }

    fn decimals(&self) -> u8 {
        self.token.as_ref().map_or(0, |(_, decimals)| *decimals)
    }

    pub(crate) fn decimal(&self) -> String {
        decimal_text(self.amount, self.decimals())
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&money_text(self.amount, self.name().map(|name| (name, self.decimals())), &self.asset))
    }
}

/// Asks without a word on the screen.
pub(crate) async fn stream(node: &mut VerifiedNode, buyer: &Buyer<'_>, body: &[u8]) -> Result<VerifiedResponse, Failure> {
    Ok(ask(node, buyer, body, &mut |_| {}).await?)
}
