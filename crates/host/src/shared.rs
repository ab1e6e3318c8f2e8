//! What the tasks of one host share: its slots, the store, the chains, the newest block, and a status for `/status`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candor_chain::{ChainClient, ChainError, Head};
use candor_link::{BlockHead, RefusalCode, Refused};
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Amount, Hash32};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use crate::anchor::Anchorer;
use crate::config::{HostConfig, Timing};
use crate::metrics::HostCounts;
use crate::notice::{Notice, Trouble};
use crate::publish::Publisher;
use crate::settle::Settler;
use crate::slot::{Slot, Stage};
use crate::store::{OpenLog, Store};

/// Longest wait for the chain where somebody waits. An enclave gives up after 5 s: before that it is told, and tells its client, why.
pub(crate) const QUESTION: Duration = Duration::from_secs(3);

/// The state of one running host.
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    // The one of them that sells. Guarded for moments.
    pub(crate) seller: Mutex<Arc<Slot>>,
    /// Where enclaves are driven, the older boot first: one, or two while one hands over to the other.
    pub(crate) slots: watch::Sender<Vec<Arc<Slot>>>,
    /// Where new connections of clients are led: the slot that sells, while its registration is in a block that stays.
    pub(crate) door: watch::Sender<Option<Arc<Slot>>>,
    /// Held while the log of a slot is opened.
    pub(crate) opening: AsyncMutex<()>,
    /// Counts changes of the logs that are open.
    pub(crate) logs: watch::Sender<u64>,
    pub(crate) store: Store,
    pub(crate) chains: HashMap<u64, ChainClient>,
    pub(crate) settlers: HashMap<u64, Settler>,
    // One caller at a time: it owns the anchor key's nonces.
    pub(crate) anchorer: AsyncMutex<Anchorer>,
    pub(crate) publisher: Publisher,
    /// The newest block that the enclave is told of; none while the chain is away.
    pub(crate) head: watch::Sender<Option<Head>>,
    /// Counts how often another chain came in the place of the anchor chain: a development chain that was started anew.
    pub(crate) resets: watch::Sender<u64>,
    /// So much was charged that an anchor is due at once.
    pub(crate) worth: Notify,
    /// Counts stored checkpoints; wakes the publisher.
    pub(crate) stored: watch::Sender<u64>,
    // Guarded for moments.
    pub(crate) status: Mutex<Status>,
    pub(crate) counts: Arc<HostCounts>,
    pub(crate) started: UnixSeconds,
}

/// What `/status` says of the host itself. Nothing per client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// The least that each account of this host should hold, in wei, as last read.
    pub(crate) needed_wei: Option<Amount>,
    /// Wei that one settlement costs, as last read.
    pub(crate) settlement_wei: Option<Amount>,
    /// Wei of each account of this host, as last read.
    pub(crate) balances: HashMap<Address, Amount>,
    /// By part. Anybody reads its code in `/status`; its message may quote what was asked, and is the operator's.
    pub(crate) troubles: HashMap<&'static str, Trouble>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("slots", &self.slots()).finish_non_exhaustive()
    }
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

    /// A checkpoint is stored: whether what waits for an anchor is worth one at once.
    pub(crate) fn anchor_if_worth_it(&self, slot: &Slot) {
        if self.config.anchor_value.is_some_and(|most| most.0 <= slot.unanchored()) {
            self.worth.notify_one();
        }
    }

    pub(crate) fn clear_trouble(&self, part: &'static str) {
        let mut was_there = false;
        self.update(|status| was_there = status.troubles.remove(part).is_some());
        if was_there {
            self.notice(&Notice::Recovered { part });
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest block that the enclave is told of, asking if none was seen.
    pub(crate) async fn head(&self) -> Result<BlockHead, Refused> {
        let seen = *self.head.borrow();
        let head = match seen {
            Some(head) => head,
            None => {
                let chain = self.config.anchor_chain.clone().with_timeout(QUESTION);
                self.told(&chain).await.map_err(|error| Refused::new(RefusalCode::Unavailable, error.to_string()))?
            }
        };
        Ok(block_head(&head))
    }

    /// The same, asked now: evidence about an old block is refused by registries.
    pub(crate) async fn fresh_head(&self) -> Result<BlockHead, ChainError> {
        self.told(&self.config.anchor_chain).await.map(|head| block_head(&head))
    }

    async fn told(&self, chain: &ChainClient) -> Result<Head, ChainError> {
        let head = chain.head().await?;
        self.below(chain, head).await
    }

    /// The block at the depth of which an enclave is told, below this newest one.
    async fn below(&self, chain: &ChainClient, head: Head) -> Result<Head, ChainError> {
        match self.config.head_depth.min(head.number) {
            0 => Ok(head),
            depth => {
                let number = head.number.saturating_sub(depth);
                let missing = || ChainError::Malformed { what: "block", detail: format!("none of number {number} below {}", head.number) };
                chain.block_by_number(number).await?.ok_or_else(missing)
            }
        }
    }

    /// Every slot, the older boot first.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.borrow().clone()
    }

    /// The slot that sells, or did until a hand-over that is under way.
    pub(crate) fn seller(&self) -> Arc<Slot> {
        Arc::clone(&self.seller.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another slot sells from now on.
    pub(crate) fn set_seller(&self, slot: &Arc<Slot>) {
        *self.seller.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(slot);
    }

    /// The logs that are open, each with its slot.
    pub(crate) fn open_logs(&self) -> Vec<(Arc<Slot>, OpenLog)> {
        self.slots().into_iter().filter_map(|slot| slot.current().map(|open| (slot, open))).collect()
    }

    /// Another log is open in a slot, or none.
    pub(crate) fn set_current(&self, slot: &Slot, open: Option<OpenLog>) {
        slot.set_current(open);
        self.logs.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether clients may be led to this slot's boot.
    pub(crate) fn set_gate(&self, slot: &Slot, is_open: bool) {
        slot.set_open(is_open);
        self.lead_clients();
    }

    /// Opens the door to the slot that sells, if its gate is open.
    pub(crate) fn lead_clients(&self) {
        // Looked at with the door in hand: of two calls at once the later one has the last word.
        self.door.send_modify(|door| {
            let seller = self.seller();
            let is_open = seller.stage() == Stage::Selling && seller.is_open() && !seller.must_take_over();
            *door = is_open.then_some(seller);
        });
    }
}

pub(crate) fn block_head(head: &Head) -> BlockHead {
    BlockHead { chain_id: head.chain_id, number: head.number, hash: head.hash, timestamp: head.timestamp }
}

/// Follows the anchor chain, and notices when it is not the one that it was.
pub(crate) async fn follow_head(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let chain = shared.config.anchor_chain.clone().with_timeout(QUESTION);
    let mut past = Past::default();
    let mut pace = Pace::new(&shared.config.timing);
    let mut is_first = true;
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(if is_first { Duration::ZERO } else { pace.interval }) => is_first = false,
        }
        let newest = chain.head().await;
        if let Ok(head) = &newest {
            pace.learn(*head);
        }
        let is_old_news = newest.as_ref().is_ok_and(|head| past.newest == Some(*head)) && shared.head.borrow().is_some();
        let told = match &newest {
            Ok(_) if is_old_news => continue,
            Ok(head) => shared.below(&chain, *head).await.map(|told| (*head, told)),
            Err(error) => Err(error.clone()),
        };
        match told {
            Ok((head, told)) => {
                shared.clear_trouble("chain");
                if past.is_doubtful(head) {
                    look_closer(&shared, &chain, &mut past).await;
                }
                shared.head.send_if_modified(|held| {
                    let is_new = *held != Some(told);
                    *held = Some(told);
                    is_new
                });
            }
            Err(error) => {
                past.was_away = true;
                // A block that was seen is not called the newest for ever: without a chain the enclave is told that there is none.
                shared.head.send_replace(None);
                if !shared.status().troubles.contains_key("chain") {
                    shared.trouble("chain", error);
                }
            }
        }
    }
}

/// Whether it is another chain altogether; and even of the same one the registry may have lost what this host wrote.
async fn look_closer(shared: &Shared, chain: &ChainClient, past: &mut Past) {
    let genesis = match chain.block_by_number(0).await {
        Ok(genesis) => genesis,
        Err(error) => {
            // Asked again with the next block; an endpoint that shows no old blocks is not asked for ever.
            past.was_away = error.is_temporary();
            None
        }
    };
    if genesis.is_some_and(|genesis| past.is_of_another(genesis.hash)) {
        let message = "it was reset: another chain answers now. Whatever was registered, anchored and settled before is gone".to_owned();
        shared.notice(&Notice::Trouble { part: "chain", message });
        shared.resets.send_modify(|count| *count = count.wrapping_add(1));
    }
    for slot in shared.slots() {
        slot.look.notify_one();
    }
}

/// How often the chain is asked for its newest block.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    least: Duration,
    most: Duration,
    since: Option<Head>,
}

impl Pace {
    fn new(timing: &Timing) -> Self {
        Self { interval: timing.head, least: timing.head, most: timing.head_max.max(timing.head), since: None }
    }

    /// Takes the newest block. Half the time between blocks: each is seen soon, and none is asked for often.
    fn learn(&mut self, head: Head) {
        let since = *self.since.get_or_insert(head);
        match head.number.checked_sub(since.number) {
            Some(blocks) if BLOCKS_MEASURED <= blocks => {
                let half_ms = head.timestamp.since(since.timestamp).saturating_mul(500) / blocks;
                self.interval = Duration::from_millis(half_ms).clamp(self.least, self.most);
                self.since = Some(head);
            }
            Some(_) => {}
            None => self.since = Some(head),
        }
    }
}

/// Times are whole seconds: over so many blocks the error is small.
const BLOCKS_MEASURED: u64 = 16;

/// What the chain was when it last answered.
#[derive(Debug, Default)]
struct Past {
    newest: Option<Head>,
    genesis: Option<Hash32>,
    was_away: bool,
}

impl Past {
    /// Takes the newest block. Whether it may be one of another chain than the last one, or of a chain that lost blocks.
    fn is_doubtful(&mut self, head: Head) -> bool {
        let was_away = std::mem::take(&mut self.was_away);
        let goes_on = self.newest.replace(head).is_some_and(|last| last.number < head.number || last == head);
        was_away || !goes_on
    }

    /// Takes the first block. Whether it is not the one that was seen before.
    fn is_of_another(&mut self, genesis: Hash32) -> bool {
        self.genesis.replace(genesis).is_some_and(|before| before != genesis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64, hash: u8) -> Head {
        Head { chain_id: 31337, number, hash: Hash32([hash; 32]), timestamp: UnixSeconds(0) }
    }

    #[test]
    fn a_chain_that_goes_on_is_not_doubted_and_any_other_is_once() {
        let mut past = Past::default();
        assert!(past.is_doubtful(head(5, 1)), "nothing is known of the first block");
        for same in [head(5, 1), head(6, 2), head(9, 3), head(9, 3)] {
            assert!(!past.is_doubtful(same), "{same:?}");
        }
        for other in [head(9, 4), head(3, 5)] {
            assert!(past.is_doubtful(other), "{other:?}");
            assert!(!past.is_doubtful(other), "{other:?}");
        }
        past.was_away = true;
        assert!(past.is_doubtful(head(4, 6)), "it was away");
        assert!(!past.is_doubtful(head(4, 6)));
    }

    #[test]
    fn a_chain_is_asked_twice_per_block_and_neither_too_often_nor_too_seldom() {
        let timing = Timing { head: Duration::from_millis(250), head_max: Duration::from_secs(6), ..Timing::default() };
        let at = |number: u64, timestamp: u64| Head { timestamp: UnixSeconds(timestamp), ..head(number, 1) };
        for (seconds_per_block, expected_ms) in [(2, 1_000), (12, 6_000), (60, 6_000), (0, 250)] {
            let mut pace = Pace::new(&timing);
            pace.learn(at(100, 1_000));
            pace.learn(at(110, 1_000 + 10 * seconds_per_block));
            assert_eq!(pace.interval, timing.head, "not measured yet");
            pace.learn(at(116, 1_000 + 16 * seconds_per_block));
            assert_eq!(pace.interval, Duration::from_millis(expected_ms), "{seconds_per_block} s");
            // A chain that was reset is measured anew.
            pace.learn(at(3, 2_000));
            pace.learn(at(19, 2_000 + 16 * 4));
            assert_eq!(pace.interval, Duration::from_secs(2));
        }
    }

    #[test]
    fn another_first_block_is_another_chain() {
        let mut past = Past::default();
        let seen: Vec<bool> = [1, 1, 2, 2, 1].map(|byte| past.is_of_another(Hash32([byte; 32]))).to_vec();
        assert_eq!(seen, [false, false, true, false, true]);
    }
}
