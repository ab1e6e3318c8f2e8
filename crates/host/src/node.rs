//! What the tasks of one host share: the store, the chains, the newest block, the current log, and a status for `/status`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candor_chain::{ChainClient, Head};
use candor_link::{BlockHead, RefusalCode, Refused};
use candor_verify::terms::SignedTerms;
use candor_verify::{Address, Hash32};
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::anchor::Anchorer;
use crate::config::HostConfig;
use crate::notice::{Notice, Trouble};
use crate::settle::Settler;
use crate::store::{OpenLog, Store};

/// One running host.
pub(crate) struct Node {
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
    /// By part, a code: anybody reads it, and a message may quote what was asked.
    pub(crate) troubles: HashMap<&'static str, &'static str>,
}

impl Node {
    pub(crate) fn notice(&self, notice: &Notice) {
        (self.config.notices)(notice);
    }

    pub(crate) fn trouble(&self, part: &'static str, trouble: impl Into<Trouble>) {
        let Trouble { code, message } = trouble.into();
        self.update(|status| {
            status.troubles.insert(part, code);
        });
        self.notice(&Notice::Trouble { part, message });
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
    pub(crate) async fn fresh_head(&self) -> Result<BlockHead, Refused> {
        let head = self.config.anchor_chain.head().await;
        head.map(|head| block_head(&head)).map_err(|error| Refused::new(RefusalCode::Unavailable, error.to_string()))
    }

    pub(crate) fn current(&self) -> Option<OpenLog> {
        self.current.borrow().clone()
    }

    pub(crate) fn current_id(&self) -> Option<Hash32> {
        self.current().map(|open| open.row().manifest.log_id())
    }
}

pub(crate) fn block_head(head: &Head) -> BlockHead {
    BlockHead { chain_id: head.chain_id, number: head.number, hash: head.hash, timestamp_s: head.timestamp_s }
}

/// Follows the anchor chain.
pub(crate) async fn follow_head(node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(node.config.timing.head);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = tick.tick() => {}
        }
        match node.config.anchor_chain.head().await {
            Ok(head) => {
                node.clear_trouble("chain");
                node.head.send_if_modified(|held| {
                    let is_new = *held != Some(head);
                    *held = Some(head);
                    is_new
                });
            }
            Err(error) => {
                // What was seen is not given out as new for ever: without a chain the enclave is told so.
                node.head.send_replace(None);
                if !node.status().troubles.contains_key("chain") {
                    node.trouble("chain", error);
                }
            }
        }
    }
}
