//! Which endpoints of a chain a command asks: `--rpc URL`, several of them, or a file that has their keys.

use std::path::PathBuf;

use candor_chain::{ChainClient, Rpc, RpcEndpoint};
use candor_client::{OwnChain, read_text};
use candor_report::{ChainPart, EndpointText, EndpointsText};

use crate::config::{Settings, UNKNOWN, chain_part, from_here};
use crate::output::Failure;
use crate::{dev, keys};

/// For every command that asks a chain.
#[derive(clap::Args, Clone)]
pub(crate) struct RpcArgs {
    /// RPC of the chain, http://127.0.0.1:8545 if not said where one is needed. Of several (--rpc A --rpc B) the first that is well answers.
    #[arg(long, value_name = "URL", conflicts_with = "rpc_file")]
    pub(crate) rpc: Vec<String>,
    /// How many of several endpoints must give the same answer: whoever believes no single one says 2.
    #[arg(long, value_name = "N", requires = "rpc", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) rpc_agree: Option<u16>,
    /// File of endpoints, for those whose key is a header: TOML, a table `endpoint` for each with url and headers, and agree (see
    /// docs/runbooks/chain-trouble.md).
    #[arg(long, value_name = "FILE")]
    pub(crate) rpc_file: Option<PathBuf>,
}

impl RpcArgs {
    /// Whether any is named.
    pub(crate) fn is_named(&self) -> bool {
        !self.rpc.is_empty() || self.rpc_file.is_some()
    }

    /// The endpoints that are named, else the one where `candor chain` listens.
    pub(crate) fn get(&self) -> Result<Rpc, Failure> {
        if let Some(path) = &self.rpc_file {
            return read(path);
        }
        match self.rpc.as_slice() {
            [] => Ok(dev::RPC_URL.into()),
            urls => Ok(Rpc::of(urls, self.rpc_agree.map_or(1, usize::from))),
        }
    }

    /// The chain behind them.
    pub(crate) async fn connect(&self) -> Result<ChainClient, Failure> {
        Ok(ChainClient::connect(self.get()?, None).await?)
    }

    /// The same, to pay over.
    pub(crate) async fn own_chain(&self) -> Result<OwnChain, Failure> {
        Ok(OwnChain::connect(self.get()?).await?)
    }

    /// Over what a node's file says of its first chain.
    pub(crate) fn put(self, settings: &mut Settings) {
        if self.is_named() && settings.text.chains.is_empty() {
            settings.text.chains.push(chain_part(UNKNOWN));
        }
        let urls = (!self.rpc.is_empty()).then_some(self.rpc);
        settings.set(urls, |text, urls| {
            // All or nothing: endpoints of the file beside those of the command line would be asked unasked.
            text.chains
                .iter_mut()
                .take(1)
                .for_each(|chain| *chain = ChainPart { rpc: urls.clone(), rpc_agree: 1, rpc_file: None, ..chain.clone() });
        });
        settings.set(self.rpc_agree, |text, agree| text.chains.iter_mut().take(1).for_each(|chain| chain.rpc_agree = agree));
        settings.set(self.rpc_file.map(from_here), |text, path| {
            text.chains
                .iter_mut()
                .take(1)
                .for_each(|chain| *chain = ChainPart { rpc: Vec::new(), rpc_agree: 1, rpc_file: Some(path.clone()), ..chain.clone() });
        });
    }
}

/// Largest file of endpoints that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 16;

/// Reads a file of endpoints.
pub(crate) fn read(path: &std::path::Path) -> Result<Rpc, Failure> {
    // It may hold keys.
    keys::check_private(path)?;
    let cannot = |what: String| Failure::cannot(format!("{}: {what}", path.display()));
    let EndpointsText { agree, endpoints } =
        EndpointsText::parse(&read_text(path, FILE_BYTES_MAX)?).map_err(|error| cannot(error.to_string()))?;
    let endpoints = endpoints.into_iter().map(|EndpointText { url, headers }| RpcEndpoint { url, headers: headers.into_iter().collect() });
    Ok(Rpc { endpoints: endpoints.collect(), agree })
}
