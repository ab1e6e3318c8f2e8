//! Looks after this host's accounts: what they hold, whether that lasts for a while, and what one settlement costs now. Shown in `/status`.
//!
//! Whether a payment is worth its settlement is decided where prices are made and not here: under `exact` each payment moves what its payer
//! signed, and a whole answer waits for it. The cost is shown so that an operator can see that the price of a request is above it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use candor_chain::ChainError;
use candor_verify::{Address, Amount};
use tokio::sync::watch as channel;

use crate::shared::Shared;

/// Between two looks. Balances fall by one transaction at a time.
const EVERY: Duration = Duration::from_secs(60);

/// An account that cannot pay for so many transactions more is told of.
const TRANSACTIONS_LEFT: u128 = 100;

/// Gas of one of them: an anchor, or a transfer.
const GAS: u128 = 120_000;

/// Bytes of a settlement as they are broadcast, for chains that take a fee for them; none of them is zero, which is the dearest.
const SETTLEMENT_BYTES: [u8; 420] = [0xff; 420];

/// Gas of a settlement: USDC's transfers with authorization use 60,000 to 90,000.
const SETTLEMENT_GAS: u128 = 90_000;

/// Looks until stopped.
pub(crate) async fn watch(shared: Arc<Shared>, mut stopped: channel::Receiver<bool>) {
    loop {
        // A chain that does not answer is told of elsewhere.
        if let Ok((balances, Costs { least, settlement })) = read(&shared).await {
            let poor: Vec<String> =
                balances.iter().filter(|(_, held)| **held < least).map(|(at, held)| format!("{at} holds {held} wei")).collect();
            match poor.is_empty() {
                true => shared.clear_trouble("gas"),
                false => shared
                    .trouble_once("gas", format!("{}; {TRANSACTIONS_LEFT} transactions cost {least} now: send it ether", poor.join(", "))),
            }
            shared.update(|status| {
                (status.balances, status.needed_wei, status.settlement_wei) = (balances, Some(least), Some(settlement));
            });
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Wei, at what the chain asks now.
struct Costs {
    /// The least that an account should hold.
    least: Amount,
    /// One settlement, with what a rollup takes for its data.
    settlement: Amount,
}

/// What each account holds, and what things cost.
async fn read(shared: &Shared) -> Result<(HashMap<Address, Amount>, Costs), ChainError> {
    let config = &shared.config;
    let mut balances = HashMap::new();
    for account in [config.gas_key.address(), config.anchor_key.address()] {
        balances.insert(account, config.anchor_chain.native_balance(&account).await?);
    }
    let price = match config.anchor_chain.fees().await {
        Ok(fees) => fees.max_fee_per_gas,
        // At the ceiling nothing is sent that costs more.
        Err(ChainError::TooDear { ceiling, .. }) => ceiling,
        Err(error) => return Err(error),
    };
    let data = config.anchor_chain.data_fee(&SETTLEMENT_BYTES).await?.0;
    let cost = |gas: u128| price.saturating_mul(gas).saturating_add(data);
    Ok((balances, Costs { least: Amount(cost(GAS).saturating_mul(TRANSACTIONS_LEFT)), settlement: Amount(cost(SETTLEMENT_GAS)) }))
}
