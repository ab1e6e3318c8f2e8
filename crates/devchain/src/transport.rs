//! The in-process front end: an alloy transport with no socket.
//!
//! Requests and answers still pass through JSON text, so that what works here works over HTTP.

use std::task::{Context, Poll};
use std::time::Duration;

use alloy::network::EthereumWallet;
use alloy::providers::{Provider, ProviderBuilder, WalletProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use tower_service::Service;

use crate::shared::{Reply, SharedChain};

/// An alloy transport to a chain in this process.
#[derive(Clone, Debug)]
pub struct InProcess(SharedChain);

impl InProcess {
    /// A transport to `chain`.
    #[must_use]
    pub fn new(chain: &SharedChain) -> Self {
        Self(chain.clone())
    }
}

impl Service<RequestPacket> for InProcess {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let chain = self.0.clone();
        Box::pin(async move {
            let body = request.serialize().map_err(TransportError::ser_err)?;
            match chain.answer(body.get().as_bytes()).await {
                Reply::Body(text) => serde_json::from_str(&text).map_err(|error| TransportError::deser_err(error, &text)),
                Reply::Nothing | Reply::Disconnect => Err(TransportErrorKind::custom_str("the development chain did not answer")),
            }
        })
    }
}

/// A JSON-RPC client to a chain in this process, polling every 10 ms where it polls.
#[must_use]
pub fn client(chain: &SharedChain) -> RpcClient {
    RpcClient::new(InProcess::new(chain), true).with_poll_interval(POLL_INTERVAL)
}

/// An alloy provider to a chain in this process, for reading and for raw transactions.
#[must_use]
pub fn provider(chain: &SharedChain) -> impl Provider + Clone + 'static {
    ProviderBuilder::new().connect_client(client(chain))
}

/// An alloy provider to a chain in this process that fills in nonce, gas and fees, and signs with `wallet`.
#[must_use]
pub fn provider_with_wallet(chain: &SharedChain, wallet: EthereumWallet) -> impl Provider + WalletProvider + Clone + 'static {
    ProviderBuilder::new().wallet(wallet).connect_client(client(chain))
}

/// Blocks are mined at once, so a short wait finds them.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
