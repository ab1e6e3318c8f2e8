//! A development chain for other tools: prints its URL and runs until Ctrl-C. Optional argument: the port.
//!
//! `cargo run --release -p candor-devchain --example serve -- 8545`

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use candor_devchain::{Config, DevChain, SharedChain, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(8545), |port| port.parse())?;
    let chain = SharedChain::new(DevChain::new(Config::default().with_dev_accounts())?);
    let server = serve(chain, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("{} (development only: its keys are public)", server.url());
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
