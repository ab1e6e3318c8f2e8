//! What a host counts while it runs. Filled where things happen, mostly by the notices; read by `page`. Nothing per client.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candor_chain::Latency;
use candor_link::{EnclaveCounts, EnclaveEvent};
use candor_verify::Address;

use crate::notice::{Notice, NoticeSink};

/// Why a connection of a client was not carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turned {
    /// As many are open as may be.
    Full,
    /// As many of its address.
    Address,
    /// The registration of this boot is in no block that stays.
    NotOpen,
    /// The enclave does not take it.
    Enclave,
}

impl Turned {
    pub(super) const ALL: [Self; 4] = [Self::Full, Self::Address, Self::NotOpen, Self::Enclave];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::NotOpen => "not_open",
            Self::Enclave => "enclave",
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Money of one asset that came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Income {
    pub(super) settlements: u64,
    pub(super) units: u128,
}

/// Counts that are kept together: settlements by asset and by code, events by their number.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Assets of the terms; what is of another is counted under the zero address, so that nobody can make this grow.
    pub(super) income: BTreeMap<(u64, Address), Income>,
    pub(super) failed: BTreeMap<&'static str, u64>,
    pub(super) events: [u64; EnclaveEvent::ALL.len()],
    /// The last snapshot of the boot that is connected, or was.
    pub(super) enclave: EnclaveCounts,
}

/// Everything one host counts.
#[derive(Debug, Default)]
pub(crate) struct HostCounts {
    // Guarded for the moment of one change.
    tables: Mutex<Tables>,
    pub(super) anchors: Count,
    pub(super) anchor_gas: Count,
    pub(crate) anchor_failures: Count,
    pub(super) link_connections: Count,
    pub(super) link_losses: Count,
    pub(super) boots: Count,
    pub(crate) round_trip: Latency,
    pub(crate) connections: Count,
    pub(crate) connections_ended: Count,
    turned: [Count; Turned::ALL.len()],
}

impl HostCounts {
    pub(crate) fn turned(&self, why: Turned) {
        if let Some(count) = Self::place(why).and_then(|at| self.turned.get(at)) {
            count.one();
        }
    }

    pub(super) fn turned_count(&self, why: Turned) -> u64 {
        Self::place(why).and_then(|at| self.turned.get(at)).map_or(0, Count::get)
    }

    fn place(why: Turned) -> Option<usize> {
        Turned::ALL.iter().position(|other| *other == why)
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot came from the enclave.
    pub(crate) fn enclave(&self, counts: &EnclaveCounts) {
        self.tables().enclave = *counts;
    }

    /// A sink that counts what passes to the next.
    pub(crate) fn counting(self: &Arc<Self>, assets: Vec<(u64, Address)>, next: NoticeSink) -> NoticeSink {
        let counts = Arc::clone(self);
        Arc::new(move |notice| {
            counts.take(notice, &assets);
            next(notice);
        })
    }

    fn take(&self, notice: &Notice, assets: &[(u64, Address)]) {
        match notice {
            Notice::Settled { chain_id, asset, amount, .. } => {
                let known = assets.contains(&(*chain_id, *asset));
                let mut tables = self.tables();
                let income = tables.income.entry((*chain_id, if known { *asset } else { Address::default() })).or_default();
                income.settlements = income.settlements.saturating_add(1);
                income.units = income.units.saturating_add(amount.0);
            }
            Notice::SettlementFailed { code, .. } => {
                let mut tables = self.tables();
                let count = tables.failed.entry(code).or_default();
                *count = count.saturating_add(1);
            }
            Notice::Anchored { gas_used, .. } => {
                self.anchors.one();
                self.anchor_gas.add(*gas_used);
            }
            Notice::EnclaveConnected => self.link_connections.one(),
            Notice::EnclaveLost { .. } => self.link_losses.one(),
            Notice::Enclave(event) => {
                let mut tables = self.tables();
                let at = EnclaveEvent::ALL.iter().position(|other| *other == event.event);
                if let Some(count) = at.and_then(|at| tables.events.get_mut(at)) {
                    *count = count.saturating_add(event.count);
                }
                if event.event == EnclaveEvent::Serving {
                    self.boots.add(event.count);
                }
            }
            Notice::Listening { .. }
            | Notice::Metrics { .. }
            | Notice::Ready { .. }
            | Notice::Registered { .. }
            | Notice::Open
            | Notice::HandingOver { .. }
            | Notice::HandedOver { .. }
            | Notice::Drained { .. }
            | Notice::BootRefused { .. }
            | Notice::Trouble { .. }
            | Notice::Recovered { .. } => {}
        }
    }
}
