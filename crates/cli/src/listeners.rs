//! Where a node listens: for clients, for readers of its log, for its operator's tools. Three ports of their own, the last for this machine.
//!
//! Not here: who listens (`candor-host`).

use std::net::SocketAddr;
use std::time::Duration;

use candor_report::NodeText;

use crate::config::Settings;
use crate::output::{Failure, free_address};

/// What is wrong with these addresses before anything is asked of a chain.
pub(crate) fn check(text: &NodeText) -> Result<(), Failure> {
    let (metrics, is_remote) = (text.metrics.listen, text.metrics.remote);
    let listeners =
        [Some(("--listen", text.node.listen)), Some(("--log-listen", text.node.log_listen)), metrics.map(|at| ("--metrics-listen", at))];
    check_apart(&listeners.into_iter().flatten().collect::<Vec<_>>())?;
    match metrics.filter(|address| !is_remote && !address.ip().is_loopback()) {
        None => Ok(()),
        Some(address) => Err(Failure::cannot(format!(
            "--metrics-listen {address}: expected a loopback address (127.0.0.1:9464), because metrics say what this node earns; to let other \
             machines ask, give --metrics-remote too"
        ))),
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

/// `--metrics-listen`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MetricsListen {
    At(SocketAddr),
    Off,
}

impl MetricsListen {
    /// Over what a node's file says.
    pub(crate) fn put(self, settings: &mut Settings) {
        settings.set(Some(self), |text, asked| {
            text.metrics.listen = match asked {
                Self::At(address) => Some(address),
                Self::Off => None,
            };
        });
    }

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
