//! Where a node listens: for clients, for readers of its log, for its operator's tools. Three ports of their own, the last for this machine.
//!
//! Not here: who listens (`candor-host`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::dev::Development;
use crate::output::{Failure, free_address};

/// What is wrong with these addresses before anything is asked of a chain.
pub(crate) fn check(listen: SocketAddr, log: SocketAddr, metrics: Option<MetricsListen>, is_remote: bool) -> Result<(), Failure> {
    let metrics = match metrics {
        Some(MetricsListen::At(address)) => Some(address),
        Some(MetricsListen::Off) | None => None,
    };
    let listeners = [Some(("--listen", listen)), Some(("--log-listen", log)), metrics.map(|at| ("--metrics-listen", at))];
    check_apart(&listeners.into_iter().flatten().collect::<Vec<_>>())?;
    match metrics.filter(|address| !is_remote && !address.ip().is_loopback()) {
        None => Ok(()),
        Some(address) => Err(Failure::cannot(format!(
            "--metrics-listen {address}: expected a loopback address (127.0.0.1:9464), because metrics say what this node earns; to let other \
             machines ask, give --metrics-remote too"
        ))),
    }
}

/// Where metrics are served on this chain. Known before anybody listens, so that it can be said.
pub(crate) async fn metrics(asked: Option<MetricsListen>, chain_id: u64) -> Result<Option<SocketAddr>, Failure> {
    let address = match asked {
        Some(MetricsListen::At(address)) => Some(address),
        Some(MetricsListen::Off) => None,
        // Several nodes on one machine are what the development chain is for.
        None => Development::of(chain_id).is_none().then_some(METRICS_LISTEN),
    };
    match address {
        Some(address) => fixed(address, "--metrics-listen").await.map(Some),
        None => Ok(None),
    }
}

/// Clients, log and metrics are listeners of their own: one port cannot be two of them.
fn check_apart(listeners: &[(&str, SocketAddr)]) -> Result<(), Failure> {
    let is_one = |a: &SocketAddr, b: &SocketAddr| {
        let is_one_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() != 0 && a.port() == b.port() && is_one_host
    };
    for (at, (flag, listen)) in listeners.iter().enumerate() {
        if let Some((other_flag, other)) = listeners.iter().skip(at + 1).find(|(_, other)| is_one(listen, other)) {
            let what = if *other_flag == "--log-listen" { "the log" } else { "metrics" };
            return Err(Failure::cannot(format!(
                "{flag} {listen} and {other_flag} {other} are one port; give {what} another with {other_flag}"
            )));
        }
    }
    Ok(())
}

/// Where metrics are served if nothing else is said: the port that others use for a program's own metrics.
const METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// `--metrics-listen`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MetricsListen {
    At(SocketAddr),
    Off,
}

impl MetricsListen {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| format!("expected ADDRESS:PORT or off, got {text:?}")),
        }
    }
}

/// The terms name endpoints, so they must be known, and free, before anybody listens. The host of a `serve` that was killed a moment
/// ago may still have them.
pub(crate) async fn fixed(address: SocketAddr, flag: &str) -> Result<SocketAddr, Failure> {
    for _ in 0..20 {
        if let Ok(address) = free_address(address, flag) {
            return Ok(address);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    free_address(address, flag)
}
