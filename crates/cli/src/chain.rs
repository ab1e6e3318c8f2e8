//! `candor chain`: a development chain on loopback, with every contract at its fixed address and a funded wallet.
//!
//! Whatever its id, it has from block 0 on what others have deployed on public chains: the deterministic deployer, and our stand-ins for
//! Permit2, x402's proxies and Multicall3, at their addresses there.
//!
//! Under the id of a test network it is empty but for these and the accounts that are named: what is done there is what is done on that
//! network, with keys of one's own, and no key that everybody knows has anything to do with it (ADR 0014).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use candor_chain::{ChainClient, Deployment, mint_calldata, stand_ins};
use candor_devchain::{BaseFee, Config, DEFAULT_CHAIN_ID, DevChain, FinalityLag, Mining, SharedChain, TESTNETS, provider, serve};
use candor_verify::bytes::{Address, Amount};
use serde_json::json;

use crate::dev::{Development, Role};
use crate::keys::{self, missing};
use crate::output::{Done, Failure, free_address, print_json, say};

/// Units of the test token that a development wallet starts with: 1,000 USDC.
pub(crate) const WALLET_START: Amount = Amount(1_000_000_000);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Port on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 8545)]
    port: u16,
    // Help is made from the list that is obeyed.
    #[arg(long, default_value_t = DEFAULT_CHAIN_ID, help = chain_ids())]
    chain_id: u64,
    /// Give this account 10,000 ether of this chain, which are worth nothing; once for each.
    #[arg(long = "fund", value_name = "ADDRESS", value_parser = keys::address)]
    funded: Vec<Address>,
    /// Answer pages opened from files, whose origin is `null`. So is that of a sandboxed frame in any page you visit.
    #[arg(long)]
    allow_null_origin: bool,
    /// Make a block each S seconds, as real chains do (Base: 2); transactions wait in a pool until then. Without it each is a block at once.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    block_seconds: Option<u64>,
    /// How many blocks `safe` is behind the head.
    #[arg(long, value_name = "BLOCKS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_LAG))]
    safe_lag: u64,
    /// How many blocks `finalized` is behind the head; as many as `safe` unless given.
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(..=MAX_LAG))]
    finalized_lag: Option<u64>,
    /// Let the base fee follow demand (EIP-1559): an idle chain gets cheaper, a busy one dearer. Without it, it is 1 gwei.
    #[arg(long)]
    moving_base_fee: bool,
    /// Do not start a chain: deploy to one that runs already and has the same funded accounts (anvil), print where, and end.
    #[arg(long, value_name = "URL", conflicts_with_all = OF_A_NEW_CHAIN)]
    deploy_to: Option<String>,
}

fn chain_ids() -> String {
    let testnets: Vec<String> = TESTNETS.iter().map(|(id, name)| format!("{id} ({name})")).collect();
    format!(
        "Chain id: {DEFAULT_CHAIN_ID}, or that of a test network, for a chain without contracts of ours and accounts: {}",
        testnets.join(", ")
    )
}

/// The flags that say how a chain starts.
const OF_A_NEW_CHAIN: [&str; 8] =
    ["port", "chain_id", "funded", "allow_null_origin", "block_seconds", "safe_lag", "finalized_lag", "moving_base_fee"];

/// As many empty blocks are made at the start: more is a wait, and no chain's finality takes so long.
const MAX_LAG: u64 = 1000;

/// Runs until interrupted.
pub(crate) async fn run(args: Args, _state: &Path, json_output: bool) -> Done {
    if let Some(url) = &args.deploy_to {
        let client = ChainClient::connect(url, None).await?;
        let chain_id = client.chain_id();
        let development = Development::of(chain_id).ok_or_else(|| {
            missing("deployer", chain_id, "`candor deploy` instead of --deploy-to", "candor wallet new, and give it some ether")
        })?;
        let placed = set_up(&client, development).await?;
        announce(client.endpoint(), &placed, development, json_output);
        return Ok(ExitCode::SUCCESS);
    }
    let development = Development::of(args.chain_id);
    let address = free_address(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), "--port")?;
    let config = config(&args, development)?;
    let chain = SharedChain::new(DevChain::new(config).map_err(|error| Failure::cannot(error.to_string()))?);
    let client = ChainClient::from_provider(provider(&chain), None).await?;
    let deployment = match development {
        Some(development) => Some((set_up(&client, development).await?, development)),
        None => None,
    };
    behave(&chain, &args)?;
    let server = serve(chain, address).await.map_err(|error| Failure::cannot(error.to_string()))?;
    let url = server.url();
    let stop = crate::lifetime::asked_to_stop();
    match deployment {
        Some((placed, development)) => announce(&url, &placed, development, json_output),
        None => announce_empty(&url, &args, json_output),
    }
    if !json_output && let Some(seconds) = args.block_seconds {
        say!("a block every {seconds} s; until then transactions wait");
    }
    stop.await;
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// From here on the chain behaves as the flags say. The contracts were deployed at once, and are final before anybody sees the chain.
fn behave(chain: &SharedChain, args: &Args) -> Result<(), Failure> {
    let finalized_lag = args.finalized_lag.unwrap_or(args.safe_lag);
    let mut chain = chain.lock();
    let finality = FinalityLag { safe_lag: args.safe_lag, finalized_lag };
    chain.set_finality(finality).map_err(|error| Failure::cannot(format!("{error} (--safe-lag, --finalized-lag)")))?;
    for _ in 0..finalized_lag {
        chain.mine().map_err(|error| Failure::cannot(error.to_string()))?;
    }
    if args.moving_base_fee {
        chain.set_base_fee(BaseFee::Moving);
    }
    if let Some(seconds) = args.block_seconds {
        chain.set_mining(Mining::Every(Duration::from_secs(seconds)));
    }
    Ok(())
}

/// Block 0. The accounts that everybody knows have something on the development chain only.
fn config(args: &Args, development: Option<Development>) -> Result<Config, Failure> {
    let config = Config { chain_id: args.chain_id, lets_in_null_origin: args.allow_null_origin, ..Config::default() };
    let config = if development.is_some() { config.with_dev_accounts() } else { config.with_deterministic_deployer() };
    let of_others = stand_ins().map_err(|error| Failure::cannot(error.to_string()))?.into_iter();
    let config = of_others.fold(config, |config, one| config.with_contract(one.address.0.into(), one.code.into(), Vec::new()));
    args.funded.iter().try_fold(config, |config, account| Ok(config.with_funded(keys::own(*account, "--fund", args.chain_id)?.0)))
}

/// What a chain has once it is set up.
struct Placed {
    deployment: Deployment,
    /// Not on somebody else's chain without x402's proxy.
    has_settlers: bool,
}

fn announce(url: &str, placed: &Placed, development: Development, json_output: bool) {
    let Placed { deployment, has_settlers } = placed;
    let settlers = has_settlers.then_some(deployment.settler_factory);
    let wallet = development.address(Role::Payer);
    if json_output {
        print_json(&json!({
            "url": url, "chain_id": deployment.chain_id, "registry": deployment.registry.to_string(),
            "workload_policy": deployment.workload_policy.to_string(), "test_usd": deployment.test_usd.to_string(), "wallet": wallet.to_string(),
            "settler_factory": settlers.map(|at| at.to_string()),
        }));
    } else {
        say!("chain {} at {url}   (development only: every key is public, state is in memory)", deployment.chain_id);
        for (name, at) in [
            ("CandorRegistry", deployment.registry),
            ("WorkloadPolicy", deployment.workload_policy),
            ("QuorumVerifier", deployment.quorum_verifier),
            ("TestUSD", deployment.test_usd),
        ]
        .into_iter()
        .chain(settlers.map(|at| ("SettlerFactory", at)))
        {
            say!("  {name:<16} {at}");
        }
        say!("  {:<16} {wallet}   {}", "dev wallet", crate::dev::usd(WALLET_START));
        say!("next: `candor serve` in a second terminal, `candor ask \"…\"` in a third");
    }
}

/// The same of a chain on which nothing is.
fn announce_empty(url: &str, args: &Args, json_output: bool) {
    let funded: Vec<String> = args.funded.iter().map(ToString::to_string).collect();
    if json_output {
        return print_json(&json!({"url": url, "chain_id": args.chain_id, "funded": funded}));
    }
    say!("chain {} at {url}   (on this machine only: its ether is worth nothing, state is in memory)", args.chain_id);
    funded.iter().for_each(|account| say!("  10,000 ether     {account}"));
    say!("next: `candor deploy --rpc {url} --test-usd --attestor ADDRESS --key FILE`; docs/runbooks/test-network.md has every step");
}

/// Deploys the contracts and funds the wallet, through the same JSON-RPC that everybody else uses.
async fn set_up(client: &ChainClient, development: Development) -> Result<Placed, Failure> {
    let deployed = Deployment::deploy(client, &development.signer(Role::Deployer), &development.deployed().config).await;
    let deployment = deployed.map_err(|error| Failure::cannot(error.to_string()))?;
    let mint = mint_calldata(&development.address(Role::Payer), WALLET_START);
    client.send_and_wait(&development.signer(Role::Faucet), Some(&deployment.test_usd), &mint).await?;
    let has_settlers = client.has_code(&deployment.settler_factory).await?;
    Ok(Placed { deployment, has_settlers })
}
