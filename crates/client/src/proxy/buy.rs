//! One request, bought: node after node in their order, until one has answered and the answer is verified.
//!
//! ```text
//! next node ── refuses, or cannot be reached, before a payment ──▶ next node
//!     └── paid ── answers ──▶ done
//!               └── does not ──▶ next node, beside that payment, while the policy allows it (max_unresolved)
//! ```
//!
//! Each try is a task of its own, which nobody ends: a payment that was sent is followed until its answer is there or it can move no more, and an
//! answer that comes late is kept like any other. Who answers first wins: from then on no other is paid.
//! Not here: the order (`rank`), the wishes (`wishes`), what one node is sent (`ask`).
//!
//! - **Invariant:** a stream has frames of one node only.
//! - **Invariant:** beside an unresolved payment another is made only through `Again::Beside`, which counts them in the book.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use candor_verify::bytes::Hash32;
use candor_verify::offer::Offer;
use candor_verify::payment::MAX_TIMEOUT_SECONDS;
use candor_verify::time::UnixSeconds;
use hyper::body::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout_at;

use super::Shared;
use super::late::Earlier;
use super::nodes::{Kept, Look};
use super::wishes::{Size, Wishes};
use crate::ask::{Again, Buyer, Progress, Race, VerifiedResponse, ask_if, request_key, take_up};
use crate::caller::Caller;
use crate::clock;
use crate::cut::cut_notice;
use crate::error::ClientError;
use crate::left::LeftBehind;
use crate::unknown::Dropped;

/// So long a node that was paid and is in trouble has to come back, before another is asked: a connection may break once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks after a payment that was left.
const FOLLOW_PAUSE_MIN: Duration = Duration::from_secs(2);
const FOLLOW_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Seconds after a payment's end for which its answer is still asked for: then a node that has none is believed, and the chain can tell.
const FOLLOW_SECONDS: u64 = 240;

/// Payments that are followed at a time. Of more the chain tells what became of them.
pub(super) const FOLLOWED_MAX: usize = 64;

/// One request, and how it stands.
pub(super) struct Order {
    pub(super) body: Bytes,
    /// The same whenever the same caller asks the same.
    pub(super) request: Hash32,
    pub(super) wishes: Wishes,
    pub(super) dropped: Dropped,
    /// Who asks, with a key of its own.
    caller: Option<Caller>,
    // The number of the try whose answer it is, or `NOBODY`.
    winner: AtomicUsize,
}

const NOBODY: usize = usize::MAX;

impl Order {
    pub(super) fn new(body: Bytes, wishes: Wishes, dropped: Dropped, caller: Option<Caller>) -> Arc<Self> {
        let request = request_key(&body, caller.as_ref());
        Arc::new(Self { body, request, wishes, dropped, caller, winner: AtomicUsize::new(NOBODY) })
    }

    /// Whether this try's answer is the request's: the first that has one.
    fn is_won_by(&self, number: usize) -> bool {
        let before = self.winner.compare_exchange(NOBODY, number, Ordering::AcqRel, Ordering::Acquire);
        before.map_or_else(|winner| winner == number, |_| true)
    }

    fn is_lost_for(&self, number: usize) -> bool {
        ![NOBODY, number].contains(&self.winner.load(Ordering::Acquire))
    }

    fn has_won(&self, number: usize) -> bool {
        self.winner.load(Ordering::Acquire) == number
    }

    fn is_won(&self) -> bool {
        self.winner.load(Ordering::Acquire) != NOBODY
    }
}

/// A verified answer, and whose it is.
#[derive(Debug)]
pub(super) struct Bought {
    pub(super) response: VerifiedResponse,
    pub(super) node: String,
}

/// Why there is none, and who was asked.
pub(super) struct NotBought {
    pub(super) error: Box<ClientError>,
    pub(super) tried: Vec<Tried>,
}

/// A node that was asked in vain.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) node: String,
    pub(super) why: String,
}

/// Buys the answer to a request. Frames of a stream are given on as they come, with the node that they are of.
pub(super) async fn buy(
    shared: &Arc<Shared>,
    order: &Arc<Order>,
    frames: &UnboundedSender<(String, Vec<u8>)>,
) -> Result<Bought, NotBought> {
    match shared.late.earlier(&order.request) {
        Earlier::Answer(bought) => {
            for frame in bought.response.bundle.response.frames.iter().filter(|_| order.wishes.is_streamed) {
                drop(frames.send((bought.node.clone(), frame.clone())));
            }
            return Ok(*bought);
        }
        Earlier::Held(until) => {
            let what =
                "a payment for this very request was sent and may still be answered; ask the same again later, and it is not paid again"
                    .into();
            let until = until.unwrap_or_else(|| clock::now().seconds().saturating_add(MAX_TIMEOUT_SECONDS));
            return Err(NotBought { error: Box::new(ClientError::Held { until, what }), tried: Vec::new() });
        }
        Earlier::Nothing => {}
    }
    // Whoever asks the same while nobody waits here any more is told so, and pays for nothing twice.
    let _running = shared.late.run(order.request, frames.clone());
    let closing = |_| NotBought { error: Box::new(ClientError::Usage("the proxy is closing".into())), tried: Vec::new() };
    let _permit = shared.running.acquire().await.map_err(closing)?;
    let (sender, steps) = unbounded_channel();
    let queue = shared.nodes.ranked(&order.wishes, &shared.config).into();
    let buying =
        Buying { shared, order, queue, tries: Vec::new(), sender, steps, is_beside: false, has_looked: false, looked_in_vain: None };
    buying.run(frames).await
}

/// What happens at a try.
enum Step {
    Frame(Vec<u8>),
    Priced(u64),
    Sent,
    Troubled,
    Reached,
    Over(Box<Result<VerifiedResponse, ClientError>>),
}

struct Try {
    kept: Arc<Kept>,
    is_paid: bool,
    is_over: bool,
    error: Option<ClientError>,
}

struct Buying<'a> {
    shared: &'a Arc<Shared>,
    order: &'a Arc<Order>,
    queue: VecDeque<Arc<Kept>>,
    tries: Vec<Try>,
    sender: UnboundedSender<(usize, Step)>,
    steps: UnboundedReceiver<(usize, Step)>,
    // A payment for this request may still move: whoever is asked now is paid beside it, if at all.
    is_beside: bool,
    has_looked: bool,
    looked_in_vain: Option<ClientError>,
}

/// What comes of a wait.
enum Waited {
    Bought(Box<Bought>),
    Next,
    End,
}

impl Buying<'_> {
    async fn run(mut self, frames: &UnboundedSender<(String, Vec<u8>)>) -> Result<Bought, NotBought> {
        while let Some(kept) = self.next().await {
            let number = self.start(kept);
            match self.wait(Some(number), frames).await {
                Waited::Bought(bought) => return Ok(*bought),
                Waited::Next => {}
                Waited::End => break,
            }
        }
        // Whoever was paid may still answer.
        match self.wait(None, frames).await {
            Waited::Bought(bought) => Ok(*bought),
            Waited::Next | Waited::End => Err(self.in_vain()),
        }
    }

    /// The next node to ask. When each was asked: again, if all that kept them was an earlier payment, which may be paid beside; or another, if
    /// one is found.
    async fn next(&mut self) -> Option<Arc<Kept>> {
        if let Some(kept) = self.queue.pop_front() {
            return Some(kept);
        }
        let is_held = self.tries.iter().any(|tried| matches!(tried.error, Some(ClientError::Held { .. })));
        if is_held && !self.is_beside {
            self.is_beside = true;
            self.queue = self.shared.nodes.ranked(&self.order.wishes, &self.shared.config).into();
            return self.queue.pop_front();
        }
        // Nodes that are there and not wished for are no reason to look for others now: the background does.
        let is_choice = self.tries.is_empty() && !self.shared.nodes.fresh().is_empty();
        if self.has_looked || self.is_beside || is_choice {
            return None;
        }
        self.has_looked = true;
        if let Err(error) = self.shared.look(Look::ForOne).await {
            self.looked_in_vain = Some(error);
        }
        let ranked = self.shared.nodes.ranked(&self.order.wishes, &self.shared.config);
        // One that was verified anew is another.
        let is_new = |kept: &Arc<Kept>| !self.tries.iter().any(|tried| Arc::ptr_eq(&tried.kept, kept));
        self.queue = ranked.into_iter().filter(is_new).collect();
        self.queue.pop_front()
    }

    fn start(&mut self, kept: Arc<Kept>) -> usize {
        let number = self.tries.len();
        self.tries.push(Try { kept: Arc::clone(&kept), is_paid: false, is_over: false, error: None });
        let attempt = Attempt {
            shared: Arc::clone(self.shared),
            order: Arc::clone(self.order),
            kept,
            number,
            is_beside: self.is_beside,
            steps: self.sender.clone(),
        };
        tokio::spawn(attempt.run());
        number
    }

    /// Waits for this try, or for every one that was paid; and hears of the others meanwhile.
    async fn wait(&mut self, current: Option<usize>, frames: &UnboundedSender<(String, Vec<u8>)>) -> Waited {
        let mut moves_on_at = None;
        loop {
            if current.is_none() && !self.tries.iter().any(|tried| tried.is_paid && !tried.is_over) {
                return Waited::End;
            }
            let step = match moves_on_at {
                None => self.steps.recv().await,
                Some(at) => match timeout_at(at, self.steps.recv()).await {
                    Ok(step) => step,
                    Err(_) => return self.leave(current),
                },
            };
            // The sender is ours: there is always another step.
            let Some((number, step)) = step else { return Waited::End };
            let Some(tried) = self.tries.get_mut(number) else { continue };
            match step {
                Step::Frame(frame) => {
                    moves_on_at = None;
                    drop(frames.send((tried.kept.authority(), frame)));
                }
                Step::Priced(took_ms) => tried.kept.measured(took_ms),
                Step::Sent => tried.is_paid = true,
                // It is at work again.
                Step::Reached if current == Some(number) => moves_on_at = None,
                Step::Reached => {}
                Step::Troubled if current == Some(number) && !self.order.is_won() => {
                    moves_on_at.get_or_insert(tokio::time::Instant::now() + PATIENCE);
                }
                Step::Troubled => {}
                Step::Over(result) => match self.over(number, *result) {
                    Some(bought) => return Waited::Bought(Box::new(bought)),
                    // Its frames are out: nobody else's can follow. Of a try that lost, the winner's answer is still waited for.
                    None if self.order.has_won(number) => return Waited::End,
                    None if current == Some(number) => return self.after(number),
                    None => {}
                },
            }
        }
    }

    /// A try is over: with the answer, or with an error that is kept.
    fn over(&mut self, number: usize, result: Result<VerifiedResponse, ClientError>) -> Option<Bought> {
        let shared = Arc::clone(self.shared);
        let tried = self.tries.get_mut(number)?;
        tried.is_over = true;
        let node = tried.kept.authority();
        match result {
            Ok(response) => {
                tried.kept.answered();
                return Some(Bought { response, node });
            }
            Err(error) => {
                match &error {
                    // A boot that took over has another TLS key too.
                    ClientError::AnotherBoot { .. } | ClientError::WrongKey { .. } => {
                        shared.tell("another boot answered in the place of the verified one: it is verified before it is asked".into());
                        shared.nodes.drop_node(&tried.kept);
                    }
                    ClientError::Refused(_) | ClientError::Dishonest { .. } => {
                        shared.nodes.drop_node(&tried.kept);
                    }
                    // When the chain is back it may be another one, on which these nodes were never verified.
                    ClientError::ChainTrouble(_) => shared.nodes.drop_all(),
                    error if is_of_the_node(error) => tried.kept.fails(&error.to_string()),
                    _ => {}
                }
                tried.error = Some(error);
            }
        }
        None
    }

    /// What follows a try that ended without an answer.
    fn after(&mut self, number: usize) -> Waited {
        let Some(tried) = self.tries.get(number) else { return Waited::End };
        let Some(error) = &tried.error else { return Waited::End };
        if tried.is_paid {
            self.is_beside = true;
        }
        if !moves_on(error) {
            return Waited::End;
        }
        let (node, why) = (tried.kept.authority(), error.to_string());
        if !self.queue.is_empty() {
            self.shared.tell(format!("{node} did not answer ({why}); another node is asked"));
        }
        Waited::Next
    }

    /// A node that was paid and does not come back is left, and its payment followed by its own task.
    fn leave(&mut self, current: Option<usize>) -> Waited {
        self.is_beside = true;
        if let Some(tried) = current.and_then(|number| self.tries.get(number)) {
            let node = tried.kept.authority();
            tried.kept.fails("it was paid and did not answer");
            self.shared.tell(format!("{node} was paid and does not answer; its payment is followed, and another node is asked"));
        }
        Waited::Next
    }

    /// The error of the request: of a node that was paid, if one was, because its payment may be charged.
    fn in_vain(mut self) -> NotBought {
        let said = |tried: &Try| tried.error.as_ref().map(|error| Tried { node: tried.kept.authority(), why: error.to_string() });
        let tried: Vec<Tried> = self.tries.iter().filter_map(said).collect();
        let of = |tries: &mut Vec<Try>, is_it: fn(&Try) -> bool| {
            tries.iter_mut().rev().filter(|tried| is_it(tried)).find_map(|tried| tried.error.take())
        };
        let is_over_budget = |tried: &Try| matches!(tried.error, Some(ClientError::Budget(_)));
        let paid = of(&mut self.tries, |tried| tried.is_paid).or_else(|| of(&mut self.tries, is_over_budget));
        let error = paid.or(self.looked_in_vain).or_else(|| of(&mut self.tries, |_| true));
        let has_payees = !self.order.wishes.payees.is_empty();
        let nobody = || ClientError::Node {
            status: 404,
            code: "no_provider".into(),
            message: match has_payees {
                false => "No verified node is what 'provider' asks for: see order, only and max_price; GET /health lists the nodes.".into(),
                true => {
                    "No verified node of a payee that this key may pay is what 'provider' asks for; GET /health lists the nodes.".into()
                }
            },
            param: Some("provider".into()),
        };
        NotBought { error: Box::new(error.unwrap_or_else(nobody)), tried }
    }
}

/// Whether another node may say something else. What a node says of the request itself every node would say.
fn moves_on(error: &ClientError) -> bool {
    match error {
        ClientError::Node { status, .. } => !(400..500).contains(status) || matches!(status, 401 | 402 | 403 | 408 | 409 | 429),
        // It was paid for and is there, or nothing can be paid at all.
        ClientError::CannotTell(_) | ClientError::Chain(_) | ClientError::ChainTrouble(_) | ClientError::File { .. } => false,
        _ => true,
    }
}

/// Whether an error speaks against its node.
fn is_of_the_node(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable { .. } | ClientError::Node { .. } | ClientError::Unresolved { .. } | ClientError::RefusedAnswer { .. }
    ) && moves_on(error)
}

/// One node, asked.
struct Attempt {
    shared: Arc<Shared>,
    order: Arc<Order>,
    kept: Arc<Kept>,
    number: usize,
    is_beside: bool,
    steps: UnboundedSender<(usize, Step)>,
}

/// A payment that was sent.
#[derive(Clone, Copy)]
struct SentTo {
    nonce: Hash32,
    until: UnixSeconds,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Race for Attempt {
    fn is_lost(&self) -> bool {
        self.order.is_lost_for(self.number)
    }
}

impl Attempt {
    async fn run(self) {
        let (mut sent, mut left) = (None, None);
        let mut body: Cow<'_, [u8]> = Cow::Borrowed(&self.order.body);
        let result = loop {
            match self.ask(&body, &mut sent, &mut left).await {
                Ok(response) => break Ok(response),
                // Refused before anything was paid: what is refused after a payment was sent is not `Node`.
                Err(error) => match self.shared.config.drops_unknown.then(|| self.order.dropped.without(&body, &error)).flatten() {
                    Some((name, shorter)) => {
                        if self.shared.told.is_new(&name) {
                            self.shared.tell(format!("dropped {name:?} from a request: the node refuses it as unknown (said once)"));
                        }
                        body = Cow::Owned(shorter);
                    }
                    None => break Err(error),
                },
            }
        };
        let (open, body) = (open(&result, sent), body.into_owned());
        if let Some(sent) = open {
            left.get_or_insert_with(|| self.shared.left.add(sent.nonce));
        }
        if let Ok(response) = &result
            && let Some(notice) = cut_notice(&response.bundle)
        {
            self.shared.tell(format!("receipt {}: {notice}", response.receipt_id));
        }
        let result = match result {
            Ok(response) if !self.order.is_won_by(self.number) => return self.kept_late(response, false),
            result => result,
        };
        self.step(Step::Over(Box::new(result)));
        if let Some(sent) = open {
            self.follow(sent, &body).await;
        }
    }

    async fn ask(&self, body: &[u8], sent: &mut Option<SentTo>, left: &mut Option<LeftBehind>) -> Result<VerifiedResponse, ClientError> {
        let mut node = self.kept.node.another().await?;
        let asked_at = Instant::now();
        let mut on_progress = |progress: Progress<'_>| match progress {
            Progress::Frame(frame) | Progress::Body(frame) if self.order.wishes.is_streamed && self.order.is_won_by(self.number) => {
                self.step(Step::Frame(frame.to_vec()));
            }
            Progress::Paying(_) => self.step(Step::Priced(u64::try_from(asked_at.elapsed().as_millis()).unwrap_or(u64::MAX))),
            Progress::Sent(payment) => {
                let authorization = &payment.payment().authorization;
                *sent = Some(SentTo { nonce: authorization.nonce, until: authorization.valid_before });
                self.step(Step::Sent);
            }
            Progress::Troubled(_) => {
                // Before anybody is asked in its place.
                if let (Some(sent), None) = (*sent, left.as_ref()) {
                    *left = Some(self.shared.left.add(sent.nonce));
                }
                self.step(Step::Troubled);
            }
            Progress::Reached => self.step(Step::Reached),
            _ => {}
        };
        ask_if(&mut node, &self.buyer(), body, &mut |offer| self.may_be_paid(offer), &mut on_progress).await
    }

    fn buyer(&self) -> Buyer<'_> {
        let config = &self.shared.config;
        Buyer {
            chain: &config.chain,
            wallet: config.wallet.as_ref(),
            key: config.key.as_ref(),
            book: &config.book,
            spend: &config.policy.spend,
            policy: &config.policy.policy,
            keep: &config.keep,
            again: if self.is_beside { Again::Beside(&self.shared.left) } else { Again::No },
            caller: self.order.caller.as_ref(),
            race: Some(self),
        }
    }

    /// Whether this may be paid now: nobody else has answered, and it is within what the request allows.
    fn may_be_paid(&self, offer: &Offer) -> Result<(), ClientError> {
        if self.is_lost() {
            return Err(ClientError::Spend("another node answers already".into()));
        }
        let caps = &self.order.wishes.max_price;
        let size = Size { prompt_tokens: offer.prompt_tokens, completion_tokens: offer.max_tokens };
        let terms = self.kept.node.enclave.terms();
        let asset = terms.asset(offer.chain_id, &offer.asset);
        if !asset.is_some_and(|asset| self.shared.config.agrees(asset)) {
            let what = "expected the decimals that the token has in the operator's terms, got others".to_owned();
            return Err(ClientError::Dishonest { check: "terms.decimals", what });
        }
        // A budget is in money, and nothing that an operator signs says how much money a unit is.
        let is_known = self.shared.config.decimals.contains_key(&(offer.chain_id, offer.asset));
        if !is_known && self.order.caller.as_ref().is_some_and(Caller::has_budget) {
            return Err(ClientError::Spend(format!(
                "the decimals of {} are not known here, so that no budget in it can be kept",
                offer.asset
            )));
        }
        if asset.is_some_and(|asset| caps.allows_amount(offer.amount, size, asset)) {
            return Ok(());
        }
        Err(ClientError::Spend(format!("the price of {} is above the request's provider.max_price", self.kept.authority())))
    }

    fn step(&self, step: Step) {
        // Whoever bought may be gone.
        drop(self.steps.send((self.number, step)));
    }

    /// Asks for the answer to a payment that was left, where it may be: at its own boot, and at others for the same payee.
    async fn follow(&self, sent: SentTo, body: &[u8]) {
        let Ok(_place) = self.shared.following.try_acquire() else { return };
        let _followed = {
            let (order, number) = (Arc::clone(&self.order), self.number);
            self.shared.late.follow(self.order.request, sent.until, move || !order.is_lost_for(number))
        };
        let payee = self.kept.node.enclave.manifest().payee;
        let mut pause = FOLLOW_PAUSE_MIN;
        while clock::now().seconds() < sent.until.saturating_add(FOLLOW_SECONDS) {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(FOLLOW_PAUSE_MAX);
            let others = self.shared.nodes.fresh().into_iter().filter(|kept| kept.node.enclave.manifest().payee == payee);
            for kept in std::iter::once(Arc::clone(&self.kept)).chain(others) {
                if !self.shared.config.book.is_open(&sent.nonce) {
                    return;
                }
                let Ok(mut node) = kept.node.another().await else { continue };
                match take_up(&mut node, &self.buyer(), body).await {
                    Ok(Some(response)) => return self.kept_late(response, !self.order.is_lost_for(self.number)),
                    Err(ClientError::RefusedAnswer { .. } | ClientError::CannotTell(_)) => return,
                    Ok(None) | Err(_) => {}
                }
            }
        }
        self.shared.config.book.settle_up(self.shared.config.chain.client()).await;
    }

    /// An answer that nobody waits for. Its texts are nowhere else, so it is kept whole whatever is kept of others; and whoever asks the same
    /// again gets it, unless another node's answer was given.
    fn kept_late(&self, response: VerifiedResponse, is_wanted: bool) {
        self.kept.answered();
        let node = self.kept.authority();
        self.shared.unread(&response, &node);
        if is_wanted {
            self.shared.late.deliver(self.order.request, Bought { response, node });
        }
    }
}

/// The payment that may still move, if one was sent and its answer is not there.
fn open(result: &Result<VerifiedResponse, ClientError>, sent: Option<SentTo>) -> Option<SentTo> {
    sent.filter(|_| matches!(result, Err(ClientError::Unresolved { .. })))
}
