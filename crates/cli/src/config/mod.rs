//! What a node is told: `node.toml`, and over it the options of the command line. `candor config show|check`.
//!
//! Whoever starts a node, signs its terms or looks after it begins here. What the file leaves open is filled in once the chain is known
//! (`node/setup.rs`); what both halves then work with is written into the node's directory as one more such file.
//! - **Invariant:** a value comes from the command line, else from the file, else from the default that stands in [`NodeText`].
//! - **Invariant:** paths are absolute from here on: those of the file begin at its directory.

mod show;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candor_attestor::AttestorUrl;
use candor_chain::{ChainClient, Rpc};
use candor_client::read_text;
use candor_report::{ChainPart, NodeText, node_fields};

use crate::deployment::{Deployed, DeploymentArg};
use crate::output::Failure;
use crate::{costs, dev, rpc};

pub(crate) use show::{Args, run};

/// Name of the file in a state directory.
pub(crate) const FILE: &str = "node.toml";

/// Id of a chain of which only the command line speaks: its endpoint says which it is.
pub(crate) const UNKNOWN: u64 = 0;

/// Largest file that is read, in bytes: as many denied payers as it may name, and room.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Which file.
#[derive(clap::Args, Clone)]
pub(crate) struct ConfigArg {
    /// The node's file, as `candor init` writes it; node.toml in the state directory if not said, and if there is one.
    #[arg(long, value_name = "FILE", env = "CANDOR_NODE")]
    pub(crate) config: Option<PathBuf>,
}

/// What a node is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) text: NodeText,
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    // Fields that the file names, as `show` does. The others are defaults.
    said: BTreeSet<String>,
    /// `--anchor-value`, which is in the smallest unit.
    pub(crate) anchor_units: Option<u64>,
    /// `--confirm-seconds`.
    pub(crate) confirm_seconds: Option<u64>,
}

impl ConfigArg {
    /// Reads the file; without one, everything is a default.
    pub(crate) fn load(&self, state: &Path) -> Result<Settings, Failure> {
        let usual = state.join(FILE);
        let file = self.config.clone().or_else(|| usual.exists().then_some(usual));
        match &file {
            Some(path) => Settings::read(path),
            None => {
                let mut settings = Settings::of(NodeText::default(), None, BTreeSet::new());
                settings.begin_at(state)?;
                Ok(settings)
            }
        }
    }
}

impl Settings {
    fn of(text: NodeText, file: Option<PathBuf>, said: BTreeSet<String>) -> Self {
        Self { text, file, said, anchor_units: None, confirm_seconds: None }
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let written = read_text(path, FILE_BYTES_MAX)?;
        let text = NodeText::parse(&written).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
        let said = node_fields(&written).into_iter().map(|(field, _)| field).collect();
        let mut settings = Self::of(text, Some(path.to_owned()), said);
        settings.begin_at(path.parent().unwrap_or(Path::new(".")))?;
        Ok(settings)
    }

    /// Makes every path absolute.
    fn begin_at(&mut self, directory: &Path) -> Result<(), Failure> {
        // A file in the working directory has the parent "".
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let base = std::path::absolute(directory).map_err(|error| Failure::cannot(format!("{}: {error}", directory.display())))?;
        let NodeText { node, keys, terms, chains, models, .. } = &mut self.text;
        node.data = base.join(&node.data);
        let chains = chains.iter_mut().flat_map(|chain| [&mut chain.rpc_file, &mut chain.deployment]);
        let models = models.iter_mut().map(|model| &mut model.file);
        let fixed = [&mut keys.directory, &mut keys.passphrase_file, &mut terms.file, &mut node.socket, &mut node.policy, &mut node.tee];
        for path in fixed.into_iter().chain(chains).chain(models).flatten() {
            *path = base.join(&*path);
        }
        Ok(())
    }

    /// Takes a value of the command line.
    pub(crate) fn set<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut NodeText, T)) {
        if let Some(value) = value {
            put(&mut self.text, value);
        }
    }

    /// The chain on which boots are registered.
    pub(crate) fn chain(&self) -> Option<&ChainPart> {
        self.text.chains.first()
    }

    /// Its endpoints, else the one where `candor chain` listens.
    pub(crate) fn rpc(&self) -> Result<Rpc, Failure> {
        self.chain().map_or_else(|| Ok(dev::RPC_URL.into()), rpc_of)
    }

    /// Connects to it.
    pub(crate) async fn connect(&self) -> Result<ChainClient, Failure> {
        let expected = self.chain().map(|chain| chain.id).filter(|id| *id != UNKNOWN);
        Ok(ChainClient::connect(self.rpc()?, expected).await?)
    }

    /// The contracts on the first chain.
    pub(crate) fn deployed(&self, chain_id: u64) -> Result<Deployed, Failure> {
        DeploymentArg { deployment: self.chain().and_then(|chain| chain.deployment.clone()) }.on(chain_id)
    }

    /// Where attestors are asked.
    pub(crate) fn attestors(&self) -> Result<Vec<AttestorUrl>, Failure> {
        let urls = self.chain().map(|chain| chain.attestors.as_slice()).unwrap_or_default();
        urls.iter().map(|url| AttestorUrl::parse(url).map_err(|error| Failure::cannot(format!("chain.attestors: {error}")))).collect()
    }

    /// The socket between the halves.
    pub(crate) fn socket(&self) -> PathBuf {
        self.text.node.socket.clone().unwrap_or_else(|| self.text.node.data.join("enclave.sock"))
    }

    /// Where the software hypervisor's root is.
    pub(crate) fn tee(&self, state: &Path) -> PathBuf {
        self.text.node.tee.clone().unwrap_or_else(|| state.join("tee"))
    }

    /// How a command names this file again: with nothing where it is the usual one.
    pub(crate) fn option(&self, state: &Path) -> String {
        match &self.file {
            Some(path) if *path != state.join(FILE) => format!(" --config {}", path.display()),
            _ => String::new(),
        }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "no node.toml".to_owned(), |path| path.display().to_string())
    }

    /// As one more file, for the halves of the node: with everything that was decided.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        // What is written is read by the same rules: an option that they refuse is refused here, before anything starts.
        let text = self.text.to_toml();
        NodeText::parse(&text).map_err(|error| Failure::cannot(error.to_string()))?;
        Ok(candor_client::write_private(path, text.as_bytes())?)
    }
}

/// A path of the command line, which begins where the command was started.
pub(crate) fn from_here(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The endpoints of one chain. The development chain, and a chain of which only options speak, have a default.
pub(crate) fn rpc_of(chain: &ChainPart) -> Result<Rpc, Failure> {
    match &chain.rpc_file {
        Some(path) => rpc::read(path),
        None if !chain.rpc.is_empty() => Ok(Rpc::of(&chain.rpc, chain.rpc_agree.into())),
        None if chain.id == UNKNOWN || chain.id == candor_devchain::DEFAULT_CHAIN_ID => Ok(dev::RPC_URL.into()),
        None => Err(Failure::cannot(format!("chain {}: no endpoint; expected chain.rpc or chain.rpc_file, or --rpc URL", chain.id))),
    }
}

/// The chain, for transactions that pay no more per gas than the file allows.
pub(crate) fn within_ceiling(chain: ChainClient, part: &ChainPart) -> ChainClient {
    match part.max_fee_gwei {
        Some(gwei) => chain.with_fee_ceiling(u128::from(gwei).saturating_mul(costs::WEI_PER_GWEI)),
        None => chain,
    }
}

/// The chain of this id: the first one, or another of the file, connected to.
pub(crate) async fn chain_of(text: &NodeText, id: u64, first: &ChainClient) -> Result<ChainClient, Failure> {
    match text.chains.iter().find(|part| part.id == id && id != first.chain_id()) {
        None => Ok(first.clone()),
        Some(part) => Ok(ChainClient::connect(rpc_of(part)?, Some(part.id)).await?),
    }
}

/// A chain of which only what the command line says is known.
pub(crate) fn chain_part(id: u64) -> ChainPart {
    ChainPart { id, rpc: Vec::new(), rpc_agree: 1, rpc_file: None, deployment: None, attestors: Vec::new(), max_fee_gwei: None }
}

/// The deployment of a part that names one; for those who connect to nothing.
pub(crate) fn deployment_of(chain: &ChainPart) -> Result<Deployed, Failure> {
    DeploymentArg { deployment: chain.deployment.clone() }.on(chain.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_only_options_name_is_asked_at_the_default_endpoint() {
        for id in [UNKNOWN, candor_devchain::DEFAULT_CHAIN_ID] {
            let rpc = rpc_of(&chain_part(id)).ok().unwrap();
            assert_eq!(rpc.endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect::<Vec<_>>(), [dev::RPC_URL]);
        }
        assert!(rpc_of(&chain_part(84_532)).is_err(), "any other chain has to say where it is");
    }
}
