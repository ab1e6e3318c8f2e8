//! An enclave outlives everything that happens to its sockets: its keys and its log end with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use candor_enclave::{Attester, AttesterError, Config};
use candor_link::{FrameDecoder, HELLO_LEN, Hello, Phase, Role, ToHost};
use candor_verify::time::UnixMs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Where the child process listens.
const SOCKET: &str = "CANDOR_TEST_SOCKET";

struct Absent;

impl Attester for Absent {
    fn attest(&self, _: &[u8; 64]) -> Result<Vec<u8>, AttesterError> {
        Err(AttesterError("there is no device".into()))
    }

    fn now(&self) -> Result<UnixMs, AttesterError> {
        Ok(UnixMs(1_790_000_000_000))
    }

    fn check_chain(&self, _: u64) -> Result<(), AttesterError> {
        Ok(())
    }
}

#[test]
fn an_enclave_out_of_file_descriptors_goes_on_when_it_has_some() {
    if let Some(socket) = std::env::var_os(SOCKET) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(with_few_descriptors(Path::new(&socket).to_owned()));
    }
    // This test again in a process of its own, because the limit is the process's.
    let socket = std::env::temp_dir().join(format!("candor-enclave-descriptors-{}.sock", std::process::id()));
    let ran = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact descriptors::an_enclave_out_of_file_descriptors_goes_on_when_it_has_some"])
        .arg(std::env::current_exe().unwrap())
        .env(SOCKET, &socket)
        .output()
        .unwrap();
    std::fs::remove_file(socket).unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

async fn with_few_descriptors(socket: PathBuf) {
    let listening = socket.clone();
    let enclave = tokio::spawn(async move { candor_enclave::run(&listening, Config::default(), Arc::new(Absent)).await });
    let mut connections = Vec::new();
    while connections.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        connections.extend(UnixStream::connect(&socket).await.ok());
    }
    // Connecting takes the last descriptors, so that accepting fails.
    while let Ok(connection) = UnixStream::connect(&socket).await {
        connections.push(connection);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!enclave.is_finished(), "{:?}", enclave.await);
    drop(connections);

    let mut control = UnixStream::connect(&socket).await.unwrap();
    let hello: [u8; HELLO_LEN] = Hello { role: Role::Control }.encode();
    control.write_all(&hello).await.unwrap();
    let (mut decoder, mut buffer) = (FrameDecoder::new(), [0; 64]);
    let welcome = loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            break ToHost::parse(&frame).unwrap();
        }
        let read = tokio::time::timeout(Duration::from_secs(10), control.read(&mut buffer)).await.unwrap().unwrap();
        decoder.push(&buffer[..read]);
    };
    assert_eq!(welcome, ToHost::Welcome(Phase::AwaitingTerms));
}
