//! What the tasks of one host share: the store, the chains, the newest block, the current log, and a status for `/status`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candor_chain::{ChainClient, ChainError, Head};
use candor_link::{BlockHead, RefusalCode, Refused};
use candor_verify::terms::SignedTerms;
use candor_verify::{Address, Hash32};
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::anchor::Anchorer;
use crate::config::HostConfig;
use crate::notice::{Notice, Trouble};
use crate::settle::Settler;
use crate::store::{OpenLog, Store};

/// The state of one running host.
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) terms: SignedTerms,
    pub(crate) log_anchor: Address,
    pub(crate) store: Store,
    pub(crate) chains: HashMap<u64, ChainClient>,
    pub(crate) settlers: HashMap<u64, Settler>,
    // One caller at a time: it owns the anchor key's nonces.
    pub(crate) anchorer: AsyncMutex<Anchorer>,
    pub(crate) head: watch::Sender<Option<Head>>,
    /// The log of the enclave that is connected, once it is open.
    pub(crate) current: watch::Sender<Option<OpenLog>>,
    /// Counts stored checkpoints; wakes the publisher.
    pub(crate) stored: watch::Sender<u64>,
    // Guarded for moments.
    pub(crate) status: Mutex<Status>,
}

/// What `/status` says. Nothing per client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) phase: &'static str,
    pub(crate) is_registered: bool,
    pub(crate) published_size: u64,
    pub(crate) anchored_size: u64,
    /// By part. Anybody reads its code in `/status`; its message may quote what was asked, and is the operator's.
    pub(crate) troubles: HashMap<&'static str, Trouble>,
}

impl Shared {
    pub(crate) fn notice(&self, notice: &Notice) {
        (self.config.notices)(notice);
    }

    pub(crate) fn trouble(&self, part: &'static str, trouble: impl Into<Trouble>) {
        let trouble = trouble.into();
        let message = trouble.message.clone();
        self.update(|status| {
            status.troubles.insert(part, trouble);
        });
        self.notice(&Notice::Trouble { part, message });
    }

    /// As [`Self::trouble`] for what is tried again all the time: the operator is told once, until it is cleared or is another.
    pub(crate) fn trouble_once(&self, part: &'static str, message: String) {
        let trouble = Trouble::from(message);
        if self.status().troubles.get(part) != Some(&trouble) {
            self.trouble(part, trouble);
        }
    }

    pub(crate) fn clear_trouble(&self, part: &'static str) {
        self.update(|status| {
            status.troubles.remove(part);
        });
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest block that was seen, asking if none was.
    pub(crate) async fn head(&self) -> Result<BlockHead, Refused> {
        let seen = *self.head.borrow();
        let head = match seen {
            Some(head) => head,
            None => self.config.anchor_chain.head().await.map_err(|error| Refused::new(RefusalCode::Unavailable, error.to_string()))?,
        };
        Ok(block_head(&head))
    }

    /// The newest block, asked now: evidence about an old one is refused by registries.
    pub(crate) async fn fresh_head(&self) -> Result<BlockHead, ChainError> {
        self.config.anchor_chain.head().await.map(|head| block_head(&head))
    }

    pub(crate) fn current(&self) -> Option<OpenLog> {
        self.current.borrow().clone()
    }

    pub(crate) fn current_id(&self) -> Option<Hash32> {
        self.current().map(|open| open.row().manifest.log_id())
    }
}

pub(crate) fn block_head(head: &Head) -> BlockHead {
    BlockHead { chain_id: head.chain_id, number: head.number, hash: head.hash, timestamp: head.timestamp }
}

/// Follows the anchor chain.
pub(crate) async fn follow_head(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(shared.config.timing.head);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = tick.tick() => {}
        }
        match shared.config.anchor_chain.head().await {
            Ok(head) => {
                shared.clear_trouble("chain");
                shared.head.send_if_modified(|held| {
                    let is_new = *held != Some(head);
                    *held = Some(head);
                    is_new
                });
            }
            Err(error) => {
                // A block that was seen is not called the newest for ever: without a chain the enclave is told that there is none.
                shared.head.send_replace(None);
                if !shared.status().troubles.contains_key("chain") {
                    shared.trouble("chain", error);
                }
            }
        }
    }
}
