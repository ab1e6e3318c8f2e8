//! A node under the id of a test network: no role does anything with a key that everybody knows, and with keys of its own everything works,
//! with a quorum of attestors that are processes of their own. The steps are those of docs/runbooks/test-network.md.

use std::path::{Path, PathBuf};

use candor_chain::{ChainClient, NonceAt, Signer, stand_ins};
use candor_devchain::dev_accounts;
use candor_verify::bytes::{Address, Amount, to_hex};
use candor_verify::hash::keccak256;
use serde_json::json;

use crate::support::process::{Process, at_terminal, new_directory, run};
use crate::support::{Ran, http};

const CHAIN_ID: &str = "84532";

/// Keystores in one directory, all with one passphrase.
struct Keys {
    state: PathBuf,
}

impl Keys {
    fn new() -> Self {
        let state = new_directory();
        std::fs::create_dir(state.join("keys")).unwrap();
        std::fs::write(state.join("passphrase"), "of the test\n").unwrap();
        Self { state }
    }

    fn path(&self, name: &str) -> String {
        self.state.join(name).to_str().unwrap().to_owned()
    }

    fn key(&self, role: &str) -> String {
        self.path(&format!("keys/{role}.json"))
    }

    /// Makes one; its address.
    fn make(&self, role: &str) -> String {
        self.candor(&["wallet", "new", &self.key(role)]).json["address"].as_str().unwrap().to_owned()
    }

    fn candor(&self, arguments: &[&str]) -> Ran {
        let passphrase = self.path("passphrase");
        run(&self.state, &[arguments, &["--passphrase-file", &passphrase]].concat())
    }

    /// A running program.
    fn start(&self, arguments: &[&str]) -> Process {
        let passphrase = self.path("passphrase");
        Process::start(&self.state, &[arguments, &["--passphrase-file", &passphrase]].concat())
    }

    fn chain(&self, funded: &[&String], like: &[&str]) -> Process {
        let mut arguments = [&["chain", "--port", "0", "--chain-id", CHAIN_ID], like].concat();
        funded.iter().for_each(|account| arguments.extend(["--fund", account.as_str()]));
        Process::start(&self.state, &arguments)
    }

    fn deploy(&self, rpc: &str, attestors: &[&String], threshold: &str) -> Ran {
        let (key, out) = (self.key("deployer"), self.path("deployment.toml"));
        let mut arguments = vec!["deploy", "--rpc", rpc, "--test-usd", "--key", &key, "--out", &out, "--threshold", threshold];
        attestors.iter().for_each(|attestor| arguments.extend(["--attestor", attestor.as_str()]));
        self.candor(&arguments)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.state));
        }
    }
}

#[tokio::test]
async fn a_chain_under_any_id_has_the_contracts_of_others_from_its_first_block_on() {
    let keys = Keys::new();
    let development = Process::start(&keys.state, &["chain", "--port", "0"]);
    for chain in [&development, &keys.chain(&[], &[])] {
        let client = ChainClient::connect(&chain.text("url"), None).await.unwrap();
        for one in stand_ins().unwrap() {
            assert_eq!(client.code_hash(&one.address).await.unwrap(), Some(keccak256(&[&one.code])), "{}", one.name);
        }
        assert!(client.chain_id() == 31337 || client.head().await.unwrap().number == 0, "before anything was sent");
    }
    let settlers = Address::from_hex(&development.text("settler_factory")).unwrap();
    assert!(ChainClient::connect(&development.text("url"), None).await.unwrap().has_code(&settlers).await.unwrap());
}

fn assert_refused(ran: &Ran, words: &[&str]) {
    let error = ran.json["error"].as_str().unwrap_or_default();
    assert!(ran.code == 2 && words.iter().all(|word| error.contains(word)), "expected {words:?}, got {ran:?}");
}

fn known(index: usize) -> String {
    dev_accounts::ALL[index].address.to_string().to_lowercase()
}

#[test]
fn each_role_without_a_key_of_its_own_refuses_to_start_on_a_test_network() {
    let keys = Keys::new();
    let (deployer, attestor) = (keys.make("deployer"), keys.make("attestor"));
    let chain = keys.chain(&[&deployer], &[]);
    let rpc = chain.text("url");
    let rpc = rpc.as_str();
    let own = "candor wallet new";
    // Who deploys.
    assert_refused(&keys.candor(&["deploy", "--rpc", rpc, "--attestor", &attestor]), &["wallet", CHAIN_ID, own]);
    assert_refused(&run(&keys.state, &["chain", "--deploy-to", rpc]), &["deployer", CHAIN_ID, own]);
    assert_refused(&keys.deploy(rpc, &[&known(5)], "1"), &["attestor", "everybody knows"]);
    let ran = keys.deploy(rpc, &[&attestor], "1");
    assert_eq!(ran.code, 0, "{ran:?}");
    // Who serves. Each refusal names what is still missing.
    let deployment = keys.path("deployment.toml");
    let serve =
        |more: &[&str]| keys.candor(&[&["serve", "--rpc", rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"], more].concat());
    assert_refused(&serve(&[]), &["deployment", CHAIN_ID, "--deployment FILE", "candor deploy"]);
    let deployed = ["--deployment", deployment.as_str()];
    assert_refused(&serve(&deployed), &["operator", CHAIN_ID, "--keys DIR", "candor init", own]);
    let directory = keys.path("keys");
    let payee = Signer::random().address().to_string();
    let own_keys = [&deployed[..], &["--keys", &directory]].concat();
    assert_refused(&serve(&own_keys), &["payee", CHAIN_ID, "--payee ADDRESS", own]);
    assert_refused(&serve(&[&own_keys[..], &["--payee", &known(2)]].concat()), &["payee", "everybody knows"]);
    let paid = [&own_keys[..], &["--payee", &payee]].concat();
    for role in ["operator", "registrar", "gas", "anchor"] {
        assert_refused(&serve(&paid), &[role, CHAIN_ID, &format!("{role}.json"), own]);
        keys.make(role);
    }
    assert_refused(&serve(&paid), &["attestor", CHAIN_ID, "--attestor URL", "candor attestor"]);
    // Whoever else signs.
    assert_refused(&keys.candor(&["attestor", "--rpc", rpc, "--deployment", &deployment]), &["attestor", CHAIN_ID, "--key FILE", own]);
    assert_refused(&keys.candor(&["wallet", "fund", "--rpc", rpc]), &["sender", CHAIN_ID, "--key FILE", own]);
    assert_refused(&keys.candor(&["wallet", "show", "--rpc", rpc]), &["wallet", CHAIN_ID, own]);
    for end in ["retire", "revoke"] {
        assert_refused(&keys.candor(&["registry", end, &payee, "--rpc", rpc]), &["operator", CHAIN_ID, "--key FILE", own]);
    }
    // A known key in a file of one's own is known all the same.
    let thief = keys.key("known");
    let signer = Signer::from_bytes(&dev_accounts::ALL[5].private_key.0).unwrap();
    signer.store(Path::new(&thief), "of the test").unwrap();
    assert_refused(&keys.candor(&["attestor", "--rpc", rpc, "--deployment", &deployment, "--key", &thief]), &["everybody knows"]);
    std::fs::copy(&thief, keys.key("operator")).unwrap();
    assert_refused(&serve(&[&paid[..], &["--attestor", "http://127.0.0.1:1"]].concat()), &["operator", "everybody knows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_node_works_on_a_test_network_with_keys_of_its_own() {
    let keys = Keys::new();
    let [deployer, registrar, gas, anchor] = ["deployer", "registrar", "gas", "anchor"].map(|role| keys.make(role));
    let (operator, payee) = (keys.make("operator"), keys.make("payee"));
    let attestors = ["attestor-1", "attestor-2", "attestor-3"].map(|role| keys.make(role));
    let chain = keys.chain(&[&deployer, &registrar, &gas, &anchor], &["--block-seconds", "1", "--safe-lag", "2", "--moving-base-fee"]);
    let rpc = chain.text("url");
    let ran = keys.deploy(&rpc, &attestors.each_ref(), "2");
    assert_eq!(ran.code, 0, "{ran:?}");
    // Ours, settlers too, beside those of others that the chain had before.
    for (list, count) in [("contracts", 7), ("others", 4)] {
        let list = ran.json[list].as_array().unwrap();
        assert!(list.len() == count && list.iter().all(|one| one["code_hash"].is_string()), "{ran:?}");
    }
    // Attestors judge by a policy of their own. They are asked before the node is up, so its operator says what it will run.
    let (deployment, judge) = (keys.path("deployment.toml"), keys.path("attestor.toml"));
    let ran = run(&keys.state, &["policy", "new", "--dev", "--deployment", &deployment, "--operator", &operator, &judge]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let attest = |role: &str| {
        keys.start(&[
            "attestor",
            "--key",
            &keys.key(role),
            "--policy",
            &judge,
            "--deployment",
            &deployment,
            "--rpc",
            &rpc,
            "--listen",
            "127.0.0.1:0",
        ])
    };
    // The third is down.
    let running = [attest("attestor-1"), attest("attestor-2")];
    let urls = [running[0].text("url"), running[1].text("url"), "http://127.0.0.1:1".to_owned()];
    let mut serve = vec!["serve", "--rpc", &rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0", "--anchor-seconds", "1"];
    // On such a chain metrics are served unless somebody says no; at a port that others may have here.
    serve.extend(["--metrics-listen", "127.0.0.1:0"]);
    let directory = keys.path("keys");
    serve.extend(["--keys", &directory, "--payee", &payee, "--deployment", &deployment]);
    urls.iter().for_each(|url| serve.extend(["--attestor", url]));
    let node = keys.start(&serve);
    assert!(running.iter().all(|attestor| attestor.line(|line| line.contains("\"signed\"")).contains("true")));
    no_key_is_shown(&keys, &[node.pid(), node.pid_of("host_pid"), node.pid_of("enclave_pid")]);
    // The client: a wallet of its own, and the policy that `serve` wrote.
    assert_refused(&keys.candor(&["ask", "Who are you?", "--rpc", &rpc]), &["wallet", CHAIN_ID, "candor wallet new"]);
    let payer = keys.candor(&["wallet", "new"]).json["address"].as_str().unwrap().to_owned();
    let ran = keys.candor(&["wallet", "fund", "--rpc", &rpc, "--key", &keys.key("deployer")]);
    assert_eq!((ran.code, &ran.json["address"]), (0, &payer.as_str().into()), "{ran:?}");
    let bundle = keys.path("answer.candor");
    let ran = keys.candor(&["ask", "Who are you?", "--rpc", &rpc, "--bundle", &bundle, "--max-tokens", "16"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for more in [&[][..], &["--rpc", &rpc]] {
        let ran = run(&keys.state, &[&["verify", &bundle], more].concat());
        assert_eq!((ran.code, &ran.json["outcome"]), (0, &"verified".into()), "{ran:?}");
    }
    // Somebody else's client knows the deployment and the operator, and then looks at the node.
    let theirs = keys.path("theirs.toml");
    let ran = run(&keys.state, &["policy", "new", "--deployment", &deployment, "--operator", &operator, &theirs]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&keys.state, &["verify", &bundle, "--policy", &theirs]).code, 1, "no SIMULATED root is in it");
    let ran = run(&keys.state, &["policy", "trust", &node.text("api"), "--policy", &theirs, "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&keys.state, &["verify", &bundle, "--policy", &theirs, "--rpc", &rpc]).code, 0);
    first_ask(&keys, &rpc, &node.text("api"));
    // The operator ends the key with its own.
    let (k_sig, key) = (node.text("k_sig"), keys.key("operator"));
    fund(&rpc, &operator).await;
    let ran = keys.candor(&["registry", "retire", &k_sig, "--rpc", &rpc, "--key", &key]);
    assert!(ran.code == 0 && ran.json["invalid_from"].is_u64(), "{ran:?}");
    nobody_else_was_here(&rpc, &deployment).await;
}

/// A buyer who has a wallet and no policy asks a node: shown what trusting it means, asked once, and nothing is written without a yes.
fn first_ask(keys: &Keys, rpc: &str, api: &str) {
    let state = new_directory();
    std::fs::copy(keys.state.join("wallet.json"), state.join("wallet.json")).unwrap();
    let passphrase = keys.path("passphrase");
    let ask = ["ask", "Who are you?", "--rpc", rpc, "--node", api, "--max-tokens", "4", "--passphrase-file", &passphrase];
    let (code, screen) = at_terminal(&state, &ask, "n\n");
    assert!(code == 2 && screen.contains("was not written") && !state.join("policy.toml").exists(), "{screen}");
    for shown in ["SIMULATED. No hardware vouches", "0.010000 TestUSD a request and 1.000000 TestUSD a day at most", "go on? [y/N]"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    let (code, screen) = at_terminal(&state, &ask, "y\n");
    assert!(code == 0 && screen.contains("verified"), "{screen}");
    // It is there now, and nobody is asked again.
    let ran = run(&state, &ask);
    assert_eq!(ran.code, 0, "{ran:?}");
    let policy = std::fs::read_to_string(state.join("policy.toml")).unwrap();
    assert!(policy.contains(&format!("# From: the evidence that {api} showed")), "{policy}");
    std::fs::remove_dir_all(state).unwrap();
}

/// Every user of a machine reads the arguments of every process, and its owner's other programs its environment.
fn no_key_is_shown(keys: &Keys, pids: &[u32]) {
    let roles = ["operator", "registrar", "gas", "anchor"];
    let mut secrets: Vec<String> = vec!["of the test".to_owned()];
    secrets.extend(roles.map(|role| {
        let signer = Signer::load(Path::new(&keys.key(role)), "of the test").unwrap();
        to_hex(&signer.to_bytes()).trim_start_matches("0x").to_owned()
    }));
    for (pid, file) in pids.iter().flat_map(|pid| ["cmdline", "environ"].map(|file| (pid, file))) {
        let shown = String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned();
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{pid}/{file}");
    }
}

/// Ether of this chain.
async fn fund(rpc: &str, account: &str) {
    http::rpc(rpc, "anvil_setBalance", json!([account, "0xde0b6b3a7640000"])).await;
}

/// No account whose key everybody knows has sent anything, or has anything.
async fn nobody_else_was_here(rpc: &str, deployment: &str) {
    let chain = ChainClient::connect(rpc, None).await.unwrap();
    let text = candor_report::DeploymentText::parse(&std::fs::read_to_string(deployment).unwrap()).unwrap();
    let token = text.contracts.iter().find(|contract| contract.name == "TestUSD").unwrap().address;
    for account in dev_accounts::ALL {
        let account = Address(account.address.0.0);
        assert_eq!(chain.nonce(&account, NonceAt::Latest).await.unwrap(), 0, "{account}");
        assert_eq!(chain.native_balance(&account).await.unwrap(), Amount(0), "{account}");
        assert_eq!(chain.token_balance(&token, &account).await.unwrap(), Amount(0), "{account}");
        assert!(!text.attestors.contains(&account));
    }
}

#[test]
fn a_deployment_that_is_not_the_chains_or_not_the_codes_is_refused_by_name() {
    let keys = Keys::new();
    let (deployer, attestor) = (keys.make("deployer"), keys.make("attestor"));
    let chain = keys.chain(&[&deployer], &[]);
    assert_eq!(keys.deploy(&chain.text("url"), &[&attestor], "1").code, 0);
    let path = keys.path("deployment.toml");
    let honest = std::fs::read_to_string(&path).unwrap();
    let attest = |rpc: &str| keys.candor(&["attestor", "--rpc", rpc, "--deployment", &path, "--key", &keys.key("attestor")]);
    let registry = honest.split("[contracts.CandorRegistry]\naddress = \"").nth(1).unwrap()[..42].to_owned();
    let lies = [
        ("chain_id = 84532", "chain_id = 11155111", "expected 84532"),
        (registry.as_str(), attestor.as_str(), "contracts.CandorRegistry.address"),
        ("threshold = 1", "threshold = 2", "quorum.threshold"),
        ("[quorum]", "more = 1\n[quorum]", "unknown field"),
    ];
    for (from, to, words) in lies {
        std::fs::write(&path, honest.replacen(from, to, 2)).unwrap();
        assert_refused(&attest(&chain.text("url")), &["deployment.toml", words]);
    }
    // Right, and not there: another chain of this id.
    std::fs::write(&path, &honest).unwrap();
    let empty = keys.chain(&[], &[]);
    for role in ["operator", "registrar", "gas", "anchor"] {
        keys.make(role);
    }
    let (directory, payee) = (keys.path("keys"), Signer::random().address().to_string());
    let serve = ["serve", "--rpc", &empty.text("url"), "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0", "--keys", &directory];
    let more = ["--payee", &payee, "--deployment", &path, "--attestor", "http://127.0.0.1:1"];
    assert_refused(&keys.candor(&[&serve[..], &more].concat()), &["CandorRegistry", "no contract", "candor deploy"]);
}
