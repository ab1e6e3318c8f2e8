//! The chain as its user asks it: its endpoints, which may contradict each other, and the question before each payment.
//!
//! Shell of `chain_health`: asks every endpoint at once, within two seconds, and remembers how far each of them was.
//! - **Invariant:** only [`OwnChain::check`] makes a [`ChainIsWell`], and no payment is signed without one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use candor_chain::{ChainClient, ChainError, Head, Rpc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::chain_health::{Answer, COMPARE_DEPTH, ChainTrouble, Rules, Said, judge};
use crate::clock;
use crate::error::ClientError;

/// Time to reach the chain at all, at the start.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// How long further endpoints are waited for once enough have answered.
const LATECOMERS: Duration = Duration::from_millis(500);

/// Time for all endpoints together. Who waits for an answer waits so long at most to hear that there is none to be bought.
const BUDGET: Duration = Duration::from_secs(2);

/// One chain behind endpoints of the user's choice.
#[derive(Debug)]
pub struct OwnChain {
    read: ChainClient,
    // Each alone, in their order.
    endpoints: Vec<ChainClient>,
    // Per endpoint, the number of its newest block so far. Guarded for moments.
    seen: Mutex<Vec<Option<u64>>>,
}

/// The chain was asked, and nothing speaks against a payment. Of this moment: for one payment.
#[derive(Debug)]
#[must_use]
pub struct ChainIsWell(());

impl OwnChain {
    /// The chain behind these endpoints, of which as many must answer as must agree.
    ///
    /// # Errors
    /// `Chain`, also for one that is of another chain.
    pub async fn connect(rpc: impl Into<Rpc>) -> Result<Self, ClientError> {
        let silent = ChainError::Timeout { what: "eth_chainId", after: CONNECT_WAIT };
        let connected = timeout(CONNECT_WAIT, ChainClient::connect(rpc, None)).await.unwrap_or(Err(silent));
        Ok(Self::new(connected.map_err(|error| ClientError::Chain(error.to_string()))?))
    }

    /// The same of a client that is connected already.
    #[must_use]
    pub fn new(read: ChainClient) -> Self {
        let endpoints = read.endpoints();
        let seen = Mutex::new(vec![None; endpoints.len()]);
        Self { read, endpoints, seen }
    }

    /// What is read: an answer of the endpoint that is well, or one in which as many agree as must.
    #[must_use]
    pub fn client(&self) -> &ChainClient {
        &self.read
    }

    /// Asks every endpoint how its chain is, within two seconds.
    ///
    /// # Errors
    /// The first [`ChainTrouble`]. That a chain went back is told once: the next question begins there.
    pub async fn check(&self) -> Result<ChainIsWell, ChainTrouble> {
        let deadline = Instant::now() + BUDGET;
        let about = |client: ChainClient| async move { tokio::try_join!(client.chain_id_now(), client.head()) };
        let heads = self.ask_each(deadline, about).await;
        let lowest = heads.iter().flatten().map(|(_, head)| head.number).min().unwrap_or_default();
        let number = lowest.saturating_sub(COMPARE_DEPTH);
        // With one voice alone there is nothing to compare.
        let blocks: Vec<Result<Option<Head>, ChainError>> = match heads.iter().flatten().count() < 2 {
            true => heads.iter().map(|_| Ok(None)).collect(),
            false => self.ask_each(deadline, move |client| async move { client.block_by_number(number).await }).await,
        };
        let answers = heads.into_iter().zip(blocks).map(|(head, block)| -> Result<Answer, ChainError> {
            let (chain_id, head) = head?;
            Ok(Answer { chain_id, head, common: block? })
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let said = self.endpoints.iter().zip(seen.iter()).zip(answers);
        let said = said.map(|((client, seen), answer)| Said { endpoint: client.endpoint().to_owned(), seen: *seen, answer });
        let said: Vec<Said> = said.collect();
        let judged = judge(&said, &Rules::of(self.read.chain_id(), self.read.agree()), clock::now().seconds());
        for (seen, said) in seen.iter_mut().zip(&said) {
            let Ok(answer) = &said.answer else { continue };
            let now = Some(answer.head.number);
            match judged {
                Ok(()) => *seen = now.max(*seen),
                Err(ChainTrouble::WentBack { .. }) => *seen = now,
                Err(_) => {}
            }
        }
        judged.map(|()| ChainIsWell(()))
    }

    /// Puts one question to every endpoint at once; the answers in the order of the endpoints.
    async fn ask_each<T, F>(&self, deadline: Instant, question: impl Fn(ChainClient) -> F) -> Vec<Result<T, ChainError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (at, client) in self.endpoints.iter().cloned().enumerate() {
            let asked = timeout_at(deadline, question(client));
            let silence = ChainError::Timeout { what: "how the chain is", after: BUDGET };
            tasks.spawn(async move { (at, asked.await.unwrap_or(Err(silence))) });
        }
        let silence = || Err(ChainError::Timeout { what: "how the chain is", after: BUDGET });
        let mut answers: Vec<Result<T, ChainError>> = self.endpoints.iter().map(|_| silence()).collect();
        loop {
            let heard = answers.iter().flatten().count();
            let next = match heard < self.read.agree() {
                true => tasks.join_next().await,
                false => timeout(LATECOMERS, tasks.join_next()).await.ok().flatten(),
            };
            let Some(Ok((at, answer))) = next else { return answers };
            answers[at] = answer;
        }
    }
}
