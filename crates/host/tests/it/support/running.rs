//! A host that has booted a fake enclave on a real chain, and a look at what it serves.

use std::sync::Arc;

use candor_host::{Host, HostConfig};
use candor_verify::Amount;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::World;
use super::{Boot, Control, FakeEnclave, Scratch, config};

/// A world whose payer has money, an enclave, and a host that has booted it.
pub(crate) struct Running {
    pub(crate) world: Arc<World>,
    pub(crate) scratch: Scratch,
    pub(crate) enclave: FakeEnclave,
    pub(crate) boot: Boot,
    pub(crate) control: Control,
    pub(crate) host: Host,
}

impl Running {
    /// One with this configuration of the tests, changed.
    pub(crate) async fn start(name: &str, change: impl FnOnce(&mut HostConfig)) -> Self {
        let world = Arc::new(World::start().await);
        world.mint(&world.payer.address(), Amount(1_000_000)).await;
        let scratch = Scratch::new(name);
        let enclave = FakeEnclave::listen(&scratch);
        let boot = Boot::new(&world, 1);
        let mut config = config(&world, &scratch, &enclave.socket, b"weights");
        change(&mut config);
        let host = Host::start(config).await.unwrap();
        let (control, _, _) = enclave.boot(&boot).await;
        Self { world, scratch, enclave, boot, control, host }
    }

    /// Status and body of a path of its log port.
    pub(crate) async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.host.http_address()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(response[..end].to_vec()).unwrap();
        (head[9..12].parse().unwrap(), response[end + 4..].to_vec())
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_slice(&self.get(path).await.1).unwrap()
    }
}
