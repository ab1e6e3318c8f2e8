//! `candor proxy`: a plain OpenAI endpoint on loopback for SDKs that cannot pay or verify.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::ChainClient;
use candor_client::{Keep, Proxy, ProxyConfig, SpendBook};
use serde_json::json;

use crate::output::{Done, free_address, print_json, say};
use crate::{answer, dev, lifetime, policy, wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// RPC of the registry's chain.
    #[arg(long, default_value = dev::RPC_URL)]
    rpc: String,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    passphrase: wallet::Passphrase,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let chain = ChainClient::connect(&args.rpc, None).await?;
    let judge = answer::client_policy(args.policy.as_deref(), state, chain.chain_id())?;
    let registry = policy::registry(&judge, args.policy.as_deref(), state)?;
    let config = ProxyConfig {
        listen: free_address(args.listen, "--listen")?,
        registry,
        policy: judge.clone(),
        wallet: wallet::open(state, chain.chain_id(), &args.passphrase)?,
        book: SpendBook::open(&state.join("spends.json"))?,
        keep: Keep::In(state.join("bundles")),
        chain: chain.clone(),
    };
    let bundles = state.join("bundles").display().to_string();
    let proxy = match Proxy::bind(config).await {
        Ok(proxy) => proxy,
        Err(error) => return Err(policy::explain(error, &chain, &judge, args.policy.as_deref(), state).await),
    };
    let url = format!("http://{}/v1", proxy.local_addr()?);
    if json_output {
        print_json(&json!({"url": url, "bundles": bundles}));
    } else {
        say!("proxy at {url}   use it as base_url with any API key\nbundles in {bundles}");
    }
    tokio::select! {
        result = proxy.serve() => result?,
        () = lifetime::asked_to_stop() => {}
    }
    Ok(ExitCode::SUCCESS)
}
