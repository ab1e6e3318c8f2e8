//! Looks after this host's accounts: what they hold, and whether that lasts for a while. Shown in `/status`.

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

/// Looks until stopped.
pub(crate) async fn watch(shared: Arc<Shared>, mut stopped: channel::Receiver<bool>) {
    loop {
        // A chain that does not answer is told of elsewhere.
        if let Ok((balances, least)) = read(&shared).await {
            let poor: Vec<String> =
                balances.iter().filter(|(_, held)| **held < least).map(|(at, held)| format!("{at} holds {held} wei")).collect();
            match poor.is_empty() {
                true => shared.clear_trouble("gas"),
                false => shared
                    .trouble_once("gas", format!("{}; {TRANSACTIONS_LEFT} transactions cost {least} now: send it ether", poor.join(", "))),
            }
            shared.update(|status| status.balances = balances);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// What each account holds, and the least that it should.
async fn read(shared: &Shared) -> Result<(HashMap<Address, Amount>, Amount), ChainError> {
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
    Ok((balances, Amount(price.saturating_mul(GAS).saturating_mul(TRANSACTIONS_LEFT))))
}
