//! Which contracts a command works with: those of a `deployment.toml`, or on the development chain the ones that everybody knows.
//!
//! A file is believed in nothing: the addresses follow from this program's own code and the quorum in the file, and have to be those.
//! Not here: the text (`candor-report`), what stands on a chain (`deploy.rs`).

use std::path::{Path, PathBuf};

use candor_attestor::Quorum;
use candor_chain::{ChainClient, DeployConfig, DeployError, Deployment, Piece};
use candor_client::read_text;
use candor_report::{ContractText, DeploymentText};

use crate::dev::Development;
use crate::keys;
use crate::output::Failure;

/// A deployment and what it follows from.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) addresses: Deployment,
    pub(crate) config: DeployConfig,
}

/// Which deployment.
#[derive(clap::Args, Clone)]
pub(crate) struct DeploymentArg {
    /// What `candor deploy` wrote. On the development chain the contracts of `candor chain`, if not said; on any other it is needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) deployment: Option<PathBuf>,
}

impl DeploymentArg {
    /// The deployment on the chain that an endpoint leads to.
    pub(crate) fn on(&self, chain_id: u64) -> Result<Deployed, Failure> {
        let Some(path) = &self.deployment else {
            let known = Development::of(chain_id).map(|development| development.deployed().clone());
            return known.ok_or_else(|| {
                Failure::cannot(format!(
                    "deployment: none is known on chain {chain_id}; expected --deployment FILE; make one with: candor deploy --rpc URL --attestor ADDRESS"
                ))
            });
        };
        let deployed = read(path)?;
        let named = deployed.addresses.chain_id;
        if named != chain_id {
            return Err(Failure::cannot(format!("{}: chain_id: expected {chain_id}, as the endpoint says, got {named}", path.display())));
        }
        Ok(deployed)
    }
}

impl Deployed {
    /// What follows from these arguments.
    pub(crate) fn of(chain_id: u64, config: DeployConfig) -> Result<Self, DeployError> {
        Ok(Self { addresses: Deployment::of(chain_id, &config)?, config })
    }

    /// The quorum, for its members and for whoever asks them.
    pub(crate) fn quorum(&self) -> Quorum {
        Quorum {
            chain_id: self.addresses.chain_id,
            verifier: self.addresses.quorum_verifier,
            registry: self.addresses.registry,
            threshold: self.config.threshold,
            members: self.config.attestors.clone(),
        }
    }

    /// Whether the chain has what a node needs. Code at such an address can be no other code: it follows from it.
    pub(crate) async fn check_there(&self, chain: &ChainClient) -> Result<(), Failure> {
        for (name, at) in [("CandorRegistry", &self.addresses.registry), ("QuorumVerifier", &self.addresses.quorum_verifier)] {
            if !chain.has_code(at).await? {
                let what = format!("{name}: no contract at {at} on chain {}", chain.chain_id());
                return Err(Failure::cannot(format!("{what}; was it deployed here? `candor deploy` says, with --check")));
            }
        }
        Ok(())
    }
}

/// A deployment as text. What the chain does not have is not written.
pub(crate) fn text(chain_id: u64, config: &DeployConfig, pieces: &[Piece]) -> DeploymentText {
    let mut attestors = config.attestors.clone();
    attestors.sort_unstable();
    let contract = |piece: &Piece| {
        let Piece { name, address, init_code_hash, code_hash } = piece;
        code_hash.map(|code_hash| ContractText { name: (*name).to_owned(), address: *address, init_code_hash: *init_code_hash, code_hash })
    };
    DeploymentText { chain_id, threshold: config.threshold, attestors, contracts: pieces.iter().filter_map(contract).collect() }
}

/// Largest file that is read, in bytes: thousands of attestors.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file and holds it to the code of this program.
pub(crate) fn read(path: &Path) -> Result<Deployed, Failure> {
    let cannot = |what: String| Failure::cannot(format!("{}: {what}", path.display()));
    let text = DeploymentText::parse(&read_text(path, FILE_BYTES_MAX)?).map_err(|error| cannot(error.to_string()))?;
    check(text).map_err(|failure| cannot(failure.message().to_owned()))
}

fn check(text: DeploymentText) -> Result<Deployed, Failure> {
    let DeploymentText { chain_id, threshold, attestors, contracts } = text;
    for attestor in &attestors {
        keys::own(*attestor, "quorum.attestors", chain_id)?;
    }
    let with_play_money = contracts.iter().any(|contract| contract.name == PLAY_MONEY);
    let config = DeployConfig { attestors, threshold, with_play_money };
    let planned = Deployment::planned(&config).map_err(|error| Failure::cannot(error.to_string()))?;
    for contract in &contracts {
        let name = &contract.name;
        let Some(piece) = planned.iter().find(|piece| piece.name == *name) else {
            let known: Vec<&str> = planned.iter().map(|piece| piece.name).collect();
            return Err(Failure::cannot(format!("contracts.{name}: expected one of {}, got another", known.join(", "))));
        };
        let why = "which this program's code and [quorum] say; it was written for other code, or altered";
        if contract.address != piece.address {
            return Err(Failure::cannot(format!("contracts.{name}.address: expected {}, {why}; got {}", piece.address, contract.address)));
        }
        if contract.init_code_hash != piece.init_code_hash {
            let got = contract.init_code_hash;
            return Err(Failure::cannot(format!("contracts.{name}.init_code_hash: expected {}, {why}; got {got}", piece.init_code_hash)));
        }
    }
    for needed in ["QuorumVerifier", "WorkloadPolicy", "CandorRegistry"] {
        if !contracts.iter().any(|contract| contract.name == needed) {
            return Err(Failure::cannot(format!(
                "contracts.{needed}: expected, got none; `candor deploy` goes on where a run was interrupted"
            )));
        }
    }
    Deployed::of(chain_id, config).map_err(|error| Failure::cannot(error.to_string()))
}

/// The one contract that a deployment may leave out by choice.
const PLAY_MONEY: &str = "TestUSD";

#[cfg(test)]
mod tests {
    use candor_chain::Signer;
    use candor_verify::bytes::{Address, Hash32};

    use super::*;

    fn written(chain_id: u64, with_play_money: bool) -> DeploymentText {
        let config =
            DeployConfig { attestors: vec![Signer::random().address(), Signer::random().address()], threshold: 2, with_play_money };
        let mut pieces = Deployment::planned(&config).unwrap();
        for piece in &mut pieces {
            piece.code_hash = Some(Hash32([1; 32]));
        }
        text(chain_id, &config, &pieces)
    }

    #[test]
    fn what_deploy_writes_is_what_everybody_reads() {
        for with_play_money in [false, true] {
            let text = written(84532, with_play_money);
            let read = check(DeploymentText::parse(&text.to_toml()).unwrap()).unwrap();
            assert_eq!((read.addresses.chain_id, read.config.threshold, read.config.with_play_money), (84532, 2, with_play_money));
            let registry = text.contracts.iter().find(|contract| contract.name == "CandorRegistry").unwrap().address;
            assert_eq!((read.addresses.registry, read.quorum().registry), (registry, registry));
            assert_eq!(read.config.attestors, text.attestors);
        }
    }

    #[test]
    fn an_address_that_the_code_does_not_say_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut DeploymentText)| {
            let mut text = written(84532, true);
            change(&mut text);
            check(text).err().map(|failure| failure.message().to_owned()).unwrap()
        };
        let of = |text: &DeploymentText, name: &str| text.contracts.iter().position(|contract| contract.name == name).unwrap();
        let moved = refused(&|text| {
            let at = of(text, "CandorRegistry");
            text.contracts[at].address = Address([7; 20]);
        });
        assert!(moved.contains("contracts.CandorRegistry.address") && moved.contains(&Address([7; 20]).to_string()), "{moved}");
        let other_code = refused(&|text| {
            let at = of(text, "WorkloadPolicy");
            text.contracts[at].init_code_hash = Hash32([7; 32]);
        });
        assert!(other_code.contains("contracts.WorkloadPolicy.init_code_hash"), "{other_code}");
        // The quorum's address follows from its members and threshold.
        let other_quorum = refused(&|text| text.threshold = 1);
        assert!(other_quorum.contains("contracts.QuorumVerifier.address"), "{other_quorum}");
        let none = refused(&|text| {
            let at = of(text, "CandorRegistry");
            text.contracts.remove(at);
        });
        assert!(none.contains("contracts.CandorRegistry"), "{none}");
        let strange = refused(&|text| text.contracts[0].name = "Registry".into());
        assert!(strange.contains("contracts.Registry"), "{strange}");
    }

    #[test]
    fn an_attestor_whose_key_everybody_knows_is_refused_off_the_development_chain() {
        let mut text = written(84532, false);
        text.attestors[0] = Development::of(31337).unwrap().address(crate::dev::Role::Attestor);
        assert!(check(text).err().unwrap().message().contains("everybody knows"));
    }
}
