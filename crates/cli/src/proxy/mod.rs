//! `candor proxy`: a plain OpenAI endpoint on loopback for SDKs that cannot pay or verify; with `--token` for those only who have it, and with keys
//! for each within a budget.

pub(crate) mod keys;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{Endpoint, KeepMode, Proxy, ProxyConfig, ProxyEvent, ProxyKeys, ProxyToken, write_new};
use serde_json::json;
use tokio::sync::mpsc;

use crate::logging::LogArgs;
use crate::output::{Done, Failure, free_address, print_json, read, say};
use crate::rpc::RpcArgs;
use crate::{access, bundles, dev, lifetime, logging, policy, tokens, wallet};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Keys of this proxy, each with a budget of its own: made, listed, taken away.
    Key(keys::Args),
}

#[derive(clap::Args)]
struct ServeArgs {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    rpc: RpcArgs,
    /// Ask this node instead of looking in the registry, once for each; its evidence is judged all the same.
    #[arg(long = "node", value_name = "URL")]
    nodes: Vec<String>,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Serve only requests that bring a token as their API key (Authorization: Bearer TOKEN). Without this every program and every user of
    /// this machine can spend the wallet through the proxy, up to the policy's amounts. The token is the first line of FILE; `auto` keeps one
    /// in the state directory's proxy.token, and makes it if it is not there.
    #[arg(long, value_name = "FILE|auto")]
    token: Option<PathBuf>,
    /// Take fields that the node refuses as unknown out of a request, and ask without them: the answer is then to another question than the
    /// program meant. Each answer names them in x-candor-dropped; standard error does once.
    #[arg(long)]
    drop_unknown: bool,
    #[command(flatten)]
    keep: bundles::KeepArg,
    #[command(flatten)]
    key: access::KeyArg,
    #[command(flatten)]
    passphrase: wallet::Passphrase,
    #[command(flatten)]
    log: LogArgs,
}

/// The token, and the file that has it.
fn token(named: PathBuf, state: &Path) -> Result<(ProxyToken, PathBuf), Failure> {
    let is_auto = named.as_os_str() == "auto";
    let path = if is_auto { state.join("proxy.token") } else { named };
    if is_auto && !path.exists() {
        dev::make_state(state)?;
        // Another proxy may have made one a moment ago: that one counts.
        write_new(&path, format!("{}\n", ProxyToken::random()?).as_bytes())?;
    }
    let bytes = read(&path)?;
    let text = String::from_utf8_lossy(&bytes);
    let token = ProxyToken::new(text.lines().next().unwrap_or_default());
    Ok((token.map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?, path))
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Some(Command::Key(args)) => keys::run(args, state, json_output),
        None => serve(args.serve, state, json_output).await,
    }
}

async fn serve(args: ServeArgs, state: &Path, json_output: bool) -> Done {
    let (token, token_file) = args.token.map(|named| token(named, state)).transpose()?.unzip();
    logging::start(&args.log.part())?;
    let key = args.key.load()?;
    let listen = free_address(args.listen, "--listen")?;
    let own = args.rpc.own_chain().await?;
    let chain = own.client().clone();
    let judge = policy::to_buy_by(args.policy.as_deref(), state, chain.chain_id())?;
    let registry = policy::registry(&judge, args.policy.as_deref(), state)?;
    // Who has a key does not pay; and without a wallet, nodes that answer for nothing can be asked.
    let has_wallet = key.is_none() && wallet::is_there(state, chain.chain_id());
    let wallet = has_wallet.then(|| wallet::open(state, chain.chain_id(), &args.passphrase)).transpose()?;
    let payer = wallet.as_ref().map(|wallet| wallet.address().to_string());
    let (events, mut told) = mpsc::unbounded_channel();
    let config = ProxyConfig {
        listen,
        registry,
        nodes: args.nodes.iter().map(|url| Endpoint::parse(url)).collect::<Result<_, _>>()?,
        decimals: tokens::decimals(&judge.spend, own.client()).await?,
        policy: judge,
        wallet,
        key,
        book: dev::book(state)?,
        keep: args.keep.place(KeepMode::Proof, None, state)?,
        chain: own,
        token,
        keys: Some(ProxyKeys::open(&keys::path(state))?),
        drops_unknown: args.drop_unknown,
        events,
    };
    let bundles = bundles::directory(state).display().to_string();
    let proxy = match Proxy::bind(config).await {
        Ok(proxy) => proxy,
        Err(error) => return Err(policy::explain(error, None, args.policy.as_deref(), state)),
    };
    let url = format!("http://{}/v1", proxy.local_addr()?);
    if json_output {
        print_json(
            &json!({"url": url, "page": format!("{}/", url.trim_end_matches("/v1")), "bundles": bundles, "payer": payer, "token_file": token_file.map(|file| file.display().to_string())}),
        );
    } else {
        let key = match token_file {
            Some(file) => format!("the API key in {}", file.display()),
            None if keys::path(state).exists() => "a key of `candor proxy key`".to_owned(),
            None => "any API key".to_owned(),
        };
        let pays = payer.map_or("pays nothing".to_owned(), |payer| format!("pays from {payer}"));
        let page = url.trim_end_matches("/v1");
        say!("proxy at {url}   use it as base_url with {key}\n{pays}   answers kept in {bundles}\nwhat it does: {page}/ in a browser");
    }
    let telling = async {
        while let Some(event) = told.recv().await {
            match event {
                ProxyEvent::Request(record) => logging::proxied(&record),
                ProxyEvent::Notice(line) => logging::proxy_notice(&line),
                _ => {}
            }
        }
    };
    tokio::select! {
        () = proxy.serve() => {}
        () = telling => {}
        () = lifetime::asked_to_stop() => {}
    }
    Ok(ExitCode::SUCCESS)
}
