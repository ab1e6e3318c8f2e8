//! `candor chain`: a development chain on loopback, with every contract at its fixed address and a funded wallet.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use candor_chain::{ChainClient, Deployment, mint_calldata};
use candor_devchain::{BaseFee, Config, DEFAULT_CHAIN_ID, DevChain, Finality, Mining, SharedChain, TESTNETS, provider, serve};
use candor_verify::bytes::Amount;
use serde_json::json;

use crate::dev::{self, Role};
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
    format!("Chain id: {DEFAULT_CHAIN_ID}, or that of a test network: {}", testnets.join(", "))
}

/// The flags that say how a chain starts.
const OF_A_NEW_CHAIN: [&str; 7] =
    ["port", "chain_id", "allow_null_origin", "block_seconds", "safe_lag", "finalized_lag", "moving_base_fee"];

/// As many empty blocks are made at the start: more is a wait, and no chain's finality takes so long.
const MAX_LAG: u64 = 1000;

/// Runs until interrupted.
pub(crate) async fn run(args: Args, _state: &Path, json_output: bool) -> Done {
    if let Some(url) = &args.deploy_to {
        let client = ChainClient::connect(url, None).await?;
        candor_devchain::check_chain_id(client.chain_id()).map_err(|error| Failure::cannot(error.to_string()))?;
        let deployment = set_up(&client).await?;
        announce(client.endpoint(), client.chain_id(), &deployment, json_output);
        return Ok(ExitCode::SUCCESS);
    }
    let address = free_address(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), "--port")?;
    let config = Config { chain_id: args.chain_id, lets_in_null_origin: args.allow_null_origin, ..Config::default() }.with_dev_accounts();
    let chain = SharedChain::new(DevChain::new(config).map_err(|error| Failure::cannot(error.to_string()))?);
    let client = ChainClient::from_provider(provider(&chain), None).await?;
    let deployment = set_up(&client).await?;
    behave(&chain, &args)?;
    let server = serve(chain, address).await.map_err(|error| Failure::cannot(error.to_string()))?;
    let url = server.url();
    let stop = crate::lifetime::asked_to_stop();
    announce(&url, args.chain_id, &deployment, json_output);
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
    let finality = Finality { safe_lag: args.safe_lag, finalized_lag };
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

fn announce(url: &str, chain_id: u64, deployment: &Deployment, json_output: bool) {
    if json_output {
        print_json(&json!({
            "url": url, "chain_id": chain_id, "registry": deployment.registry.to_string(), "workload_policy": deployment.workload_policy.to_string(),
            "test_usd": deployment.test_usd.to_string(), "wallet": Role::Payer.address().to_string(),
        }));
    } else {
        say!("chain {} at {url}   (development only: every key is public, state is in memory)", chain_id);
        for (name, at) in [
            ("CandorRegistry", deployment.registry),
            ("WorkloadPolicy", deployment.workload_policy),
            ("QuorumVerifier", deployment.quorum_verifier),
            ("TestUSD", deployment.test_usd),
        ] {
            say!("  {name:<16} {at}");
        }
        say!("  {:<16} {}   {}", "dev wallet", Role::Payer.address(), crate::dev::usd(WALLET_START));
        say!("next: `candor serve` in a second terminal, `candor ask \"…\"` in a third");
    }
}

/// Deploys the contracts and funds the wallet, through the same JSON-RPC that everybody else uses.
async fn set_up(client: &ChainClient) -> Result<Deployment, Failure> {
    let deployed = Deployment::deploy(client, &Role::Deployer.signer(), &dev::deploy_config()).await;
    let deployment = deployed.map_err(|error| Failure::cannot(error.to_string()))?;
    let mint = mint_calldata(&Role::Payer.address(), WALLET_START);
    client.send_and_wait(&Role::Faucet.signer(), Some(&deployment.test_usd), &mint).await?;
    Ok(deployment)
}
