//! A world whose node is two processes of the test, started as `serve` would, so that one half can be killed, given other files, or
//! started again while the other lives on.

use std::path::Path;
use std::sync::Arc;

use candor_client::plain;
use serde_json::Value;

use super::http::Http;
use super::process::Process;
use super::{World, eventually};

/// `/status` of the host; `None` while it does not answer.
pub(crate) async fn log_status(world: &World) -> Option<Value> {
    let body = plain::get(&format!("{}/status", world.log())).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Where a host serves its metrics, as it logs.
pub(crate) fn metrics_url(host: &Process) -> String {
    let line = host.logged(|line| line.contains("metrics on http://"));
    line.split_once("metrics on ").unwrap().1.trim_end().to_owned()
}

/// The two halves.
pub(crate) struct Split {
    pub(crate) world: Arc<World>,
    pub(crate) enclave: Process,
    pub(crate) host: Process,
    host_arguments: Vec<String>,
}

impl Split {
    /// Lets `serve` write its files, ends it, and starts its halves as it would.
    pub(crate) async fn start() -> Self {
        Self::start_over(|arguments, _| arguments).await
    }

    /// The same with something between the halves: it gets the host's command line and the enclave's socket.
    pub(crate) async fn start_over(between: impl FnOnce(Vec<String>, &Path) -> Vec<String>) -> Self {
        let world = Self::ended();
        let socket = world.state.join("node/split.sock");
        let (enclave, host_arguments) = (Self::enclave(&world), between(Self::host_arguments(&world), &socket));
        let host = Self::host(&world.state, &host_arguments);
        host.line(|line| line.starts_with("registered "));
        let split = Self { world: Arc::new(world), enclave, host, host_arguments };
        split.serves().await;
        split
    }

    /// A world whose node has written its files and ended.
    pub(crate) fn ended() -> World {
        let mut world = World::start(&[]);
        world.node.signal("INT");
        assert_eq!(world.node.wait(), Some(0));
        world
    }

    /// An enclave for the files of this world.
    pub(crate) fn enclave(world: &World) -> Process {
        let (socket, config) = (world.state.join("node/split.sock"), world.state.join("node/in-force.toml"));
        // Left by a former one.
        drop(std::fs::remove_file(&socket));
        let arguments = ["enclave", "--config", config.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
        Process::spawn(&world.state, "enclave", &arguments)
    }

    /// The command line of the host for the files of this world, with anchors as on other chains: not after every answer.
    pub(crate) fn host_arguments(world: &World) -> Vec<String> {
        Self::host_arguments_over(world, &world.rpc())
    }

    /// The same with another endpoint of the chain.
    pub(crate) fn host_arguments_over(world: &World, rpc: &str) -> Vec<String> {
        let node = world.state.join("node");
        let path = |name: &str| node.join(name).to_str().unwrap().to_owned();
        let written = std::fs::read_to_string(node.join("in-force.toml")).unwrap();
        let line = written.lines().find(|line| line.starts_with("rpc = ")).unwrap();
        let changed = written.replace("# seconds = 60", "seconds = 1").replace(line, &format!("rpc = [{rpc:?}]"));
        assert!(changed.contains("\nseconds = 1\n"));
        candor_client::write_private(&node.join("split.toml"), changed.as_bytes()).unwrap();
        let pairs = [("--config", path("split.toml")), ("--socket", path("split.sock")), ("--terms", path("terms.cbor"))];
        let mut arguments = vec!["--state".to_owned(), world.state.to_str().unwrap().to_owned(), "host".to_owned()];
        arguments.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        arguments
    }

    /// A host with this command line.
    pub(crate) fn host(directory: &Path, arguments: &[String]) -> Process {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::spawn(directory, "host", &arguments)
    }

    async fn serves(&self) {
        eventually("the node serves", || async { Http::connect(&self.world.api()).await.ok().map(drop) }).await;
        eventually("the log is served", || async { log_status(&self.world).await.filter(|s| s["log"].is_object()).map(drop) }).await;
    }

    /// Waits for the enclave's death and starts another. The host brings it into service by itself. Blocks its thread meanwhile.
    pub(crate) async fn next_enclave(&mut self) {
        assert_eq!(self.enclave.wait(), None);
        self.enclave = Self::enclave(&self.world);
        self.host.line(|line| line.starts_with("registered "));
        self.serves().await;
    }

    pub(crate) fn kill_host(&mut self) {
        self.host.signal("KILL");
        assert_eq!(self.host.wait(), None);
    }

    pub(crate) async fn restart_host(&mut self) {
        self.host = Self::host(&self.world.state, &self.host_arguments);
        self.serves().await;
    }

    pub(crate) async fn log_id(&self) -> String {
        log_status(&self.world).await.unwrap()["log"]["id"].as_str().unwrap().to_owned()
    }
}
