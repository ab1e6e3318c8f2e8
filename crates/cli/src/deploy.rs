//! `candor deploy`: the contracts on a chain of the caller's choice, at the addresses that their own code says.
//!
//! Idempotent: what is there is not sent again. `--check` sends nothing, and ends with 1 if something is missing. Who reads what is written
//! here: `deployment.rs`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{DeployConfig, Deployment, EXACT_PROXY, MULTICALL3, Piece};
use candor_verify::bytes::{Address, Hash32};
use candor_verify::scheme::{PERMIT2, UPTO_PROXY};
use serde_json::json;

use crate::output::{Done, Failure, note, print_json, say, write_once};
use crate::rpc::RpcArgs;
use crate::wallet::{self, Passphrase};
use crate::{deployment, keys};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rpc: RpcArgs,
    /// An attestor of the quorum; once for each.
    #[arg(long = "attestor", value_name = "ADDRESS", value_parser = keys::address, required = true)]
    attestors: Vec<Address>,
    /// How many of them must agree about evidence.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    threshold: u64,
    /// TestUSD too: play money that anybody can mint. Development chains and test networks only.
    #[arg(long)]
    test_usd: bool,
    /// Send nothing: say what the chain has, ours and those of others that payments go through.
    #[arg(long)]
    check: bool,
    /// Keystore that pays; the wallet of this state directory if not said.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    key: Option<PathBuf>,
    /// Where to write the addresses.
    #[arg(long, value_name = "FILE", default_value = "deployment.toml", conflicts_with = "check")]
    out: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    if !args.rpc.is_named() {
        return Err(Failure::cannot("which chain? Contracts are deployed on the one that you name with --rpc URL"));
    }
    let chain = args.rpc.connect().await?;
    let chain_id = chain.chain_id();
    for attestor in &args.attestors {
        keys::own(*attestor, "attestor", chain_id)?;
    }
    if args.test_usd {
        candor_devchain::check_chain_id(chain_id).map_err(|error| Failure::cannot(format!("--test-usd: {error}")))?;
    }
    let config = DeployConfig { attestors: args.attestors.clone(), threshold: args.threshold, with_play_money: args.test_usd };
    let cannot = |error: candor_chain::DeployError| Failure::cannot(error.to_string());
    if !args.check {
        let payer = match &args.key {
            Some(path) => wallet::load(path, &args.passphrase, chain_id)?,
            None => wallet::signer(state, chain_id, &args.passphrase)?,
        };
        note!("deploying to chain {chain_id} from {}", payer.address());
        Deployment::deploy(&chain, &payer, &config).await.map_err(cannot)?;
    }
    let pieces = Deployment::pieces(&chain, &config).await.map_err(cannot)?;
    let mut others = Vec::new();
    for (name, at) in
        [("Permit2", PERMIT2), ("x402ExactPermit2Proxy", EXACT_PROXY), ("x402UptoPermit2Proxy", UPTO_PROXY), ("Multicall3", MULTICALL3)]
    {
        others.push((name, at, chain.code_hash(&at).await?));
    }
    if !args.check {
        let text = deployment::text(chain_id, &config, &pieces).to_toml();
        // Crash: the contracts are there, and whoever deploys them again sends nothing and writes it.
        write_once(&args.out, text.as_bytes())?;
    }
    // A chain without the x402 contract has no settlers; nothing else depends on it.
    let is_whole = pieces.iter().all(|piece| piece.code_hash.is_some() || piece.name == "SettlerFactory");
    if json_output {
        let piece = |piece: &Piece| {
            json!({
                "name": piece.name, "address": piece.address.to_string(), "init_code_hash": piece.init_code_hash.to_string(),
                "code_hash": piece.code_hash.map(|hash| hash.to_string()),
            })
        };
        let other = |(name, at, hash): &(&str, Address, Option<Hash32>)| json!({"name": name, "address": at.to_string(), "code_hash": hash.map(|hash| hash.to_string())});
        print_json(&json!({
            "chain_id": chain.chain_id(), "is_whole": is_whole, "contracts": pieces.iter().map(piece).collect::<Vec<_>>(),
            "others": others.iter().map(other).collect::<Vec<_>>(),
        }));
    } else {
        say!("chain {}", chain.chain_id());
        let ours = pieces.iter().map(|piece| (piece.name, piece.address, piece.code_hash));
        for (name, at, code_hash) in ours.chain(others.iter().copied()) {
            say!("  {name:<21} {at}  {}", code_hash.map_or("not there".to_owned(), |hash| format!("code {hash:#}")));
        }
        if !args.check {
            say!("wrote {}", args.out.display());
        }
    }
    Ok(ExitCode::from(u8::from(!is_whole)))
}
