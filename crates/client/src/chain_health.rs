//! Whether the chain can be relied on for a payment: what its endpoints say of it, judged before anything is signed.
//!
//! A payment that is signed while the chain is away, is another one, stands still or was reset buys an answer that nobody can settle,
//! anchor or look up, and its request is held until its deadline. Sans I/O: answers and a time in, a judgement out; `own_chain` asks.
//! Does not notice an endpoint that lies in one voice: only a second endpoint contradicts it, in blocks and not in what contracts say.

use std::fmt;

use candor_chain::{ChainError, Head};
use candor_verify::payment::MAX_TIMEOUT_SECONDS;
use candor_verify::time::UnixSeconds;

/// Why nothing is paid over this chain now, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChainTrouble {
    /// An endpoint does not answer in time, or not with an answer.
    Down {
        /// Scheme, host and port.
        endpoint: String,
        /// What came instead.
        error: ChainError,
    },
    /// An endpoint is of another chain.
    WrongChain {
        /// Scheme, host and port.
        endpoint: String,
        /// The chain's id.
        expected: u64,
        /// The endpoint's.
        got: u64,
    },
    /// The newest block is too old by our clock.
    Stale {
        /// Scheme, host and port.
        endpoint: String,
        /// How old.
        age_s: u64,
        /// How old it may be.
        at_most_s: u64,
    },
    /// The newest block is far below one that this endpoint showed before.
    WentBack {
        /// Scheme, host and port.
        endpoint: String,
        /// Number of the newest block before.
        from: u64,
        /// Number of the newest block now.
        to: u64,
    },
    /// Two endpoints do not have the same block at one number: what each of them has.
    Disagree {
        /// Scheme, host and port of each.
        endpoints: [String; 2],
        /// The block of each, if it has one.
        blocks: Box<[Option<Head>; 2]>,
    },
}

impl ChainTrouble {
    /// The kind, in a word that stays the same.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Down { .. } => "down",
            Self::WrongChain { .. } => "wrong_chain",
            Self::Stale { .. } => "stale",
            Self::WentBack { .. } => "went_back",
            Self::Disagree { .. } => "disagree",
        }
    }
}

impl fmt::Display for ChainTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { endpoint, error } => {
                write!(f, "the chain cannot be asked at {endpoint}: {error}; ask again later, or name another with --rpc")
            }
            Self::WrongChain { endpoint, expected, got } => {
                write!(f, "expected chain {expected}, {endpoint} is of chain {got}; name an endpoint of the right one with --rpc")
            }
            Self::Stale { endpoint, age_s, at_most_s } => write!(
                f,
                "the newest block at {endpoint} is {age_s} s old, and {at_most_s} s is the most: the chain or the endpoint stands still, \
                 or the clock of this machine is ahead; ask again later, or name another endpoint with --rpc"
            ),
            Self::WentBack { endpoint, from, to } => write!(
                f,
                "the chain at {endpoint} went back from block {from} to block {to}: it was reset, or the endpoint lost blocks; whoever \
                 asks again goes on from there"
            ),
            Self::Disagree { endpoints: [one, other], blocks } => write!(
                f,
                "the endpoints do not show the same chain: {one} has {}, {other} has {}; one of them is on a fork, or lies: ask again \
                 later, or leave out the one that you do not trust",
                shown(blocks[0].as_ref()),
                shown(blocks[1].as_ref())
            ),
        }
    }
}

impl std::error::Error for ChainTrouble {}

fn shown(block: Option<&Head>) -> String {
    block.map_or_else(|| "no such block".to_owned(), |block| format!("block {} {:#}", block.number, block.hash))
}

/// What one endpoint said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Its name.
    pub(crate) endpoint: String,
    /// Number of the newest block that it showed before.
    pub(crate) seen: Option<u64>,
    /// What it said, or what came instead.
    pub(crate) answer: Result<Answer, ChainError>,
}

/// What an endpoint says of its chain.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// As it says now.
    pub(crate) chain_id: u64,
    /// The newest block.
    pub(crate) head: Head,
    /// Its block at the number at which all endpoints are compared; `None` too if there is nothing to compare with.
    pub(crate) common: Option<Head>,
}

/// What is normal on a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    chain_id: u64,
    /// So many endpoints must be heard.
    agree: usize,
    head_age_max_s: u64,
    back_max: u64,
}

impl Rules {
    /// For the chain with this id.
    pub(crate) fn of(chain_id: u64, agree: usize) -> Self {
        match DEVELOPMENT.contains(&chain_id) {
            true => Self { chain_id, agree, head_age_max_s: u64::MAX, back_max: 0 },
            false => Self { chain_id, agree, head_age_max_s: HEAD_AGE_MAX_S, back_max: BACK_MAX },
        }
    }
}

/// Judges what the endpoints said, of which there is one at least.
///
/// # Errors
/// What is wrong for good comes before what may pass by itself.
pub(crate) fn judge(said: &[Said], rules: &Rules, now: UnixSeconds) -> Result<(), ChainTrouble> {
    let answered = || said.iter().filter_map(|said| Some((said.endpoint.clone(), said, said.answer.as_ref().ok()?)));
    for (endpoint, _, answer) in answered() {
        if answer.chain_id != rules.chain_id {
            return Err(ChainTrouble::WrongChain { endpoint, expected: rules.chain_id, got: answer.chain_id });
        }
    }
    // Whoever is silent cannot contradict the others: if that passed for agreement, a liar would only have to silence them. So as many must be
    // heard as must agree; beyond that they stand in for each other.
    if answered().count() < rules.agree
        && let Some((silent, error)) = said.iter().find_map(|said| Some((said, said.answer.as_ref().err()?)))
    {
        return Err(ChainTrouble::Down { endpoint: silent.endpoint.clone(), error: error.clone() });
    }
    for (endpoint, said, answer) in answered() {
        let (from, to) = (said.seen.unwrap_or_default(), answer.head.number);
        if rules.back_max < from.saturating_sub(to) {
            return Err(ChainTrouble::WentBack { endpoint, from, to });
        }
    }
    for (endpoint, _, answer) in answered() {
        let age_s = now.since(answer.head.timestamp);
        if rules.head_age_max_s < age_s {
            return Err(ChainTrouble::Stale { endpoint, age_s, at_most_s: rules.head_age_max_s });
        }
    }
    let hash = |block: Option<Head>| block.map(|block| block.hash);
    let mut compared = answered();
    if let Some((first, _, ours)) = compared.next()
        && let Some((other, _, theirs)) = compared.find(|(_, _, theirs)| hash(theirs.common) != hash(ours.common))
    {
        return Err(ChainTrouble::Disagree { endpoints: [first, other], blocks: Box::new([ours.common, theirs.common]) });
    }
    Ok(())
}

/// Chains that make a block when somebody sends a transaction and not before, and take none back unless they are reset.
const DEVELOPMENT: [u64; 2] = [1337, 31337];

/// As long as a payment may stay open: on a chain that stands still for longer its end would not be seen in time.
const HEAD_AGE_MAX_S: u64 = MAX_TIMEOUT_SECONDS;

/// Providers answer from many nodes, which are not all equally far.
const BACK_MAX: u64 = 16;

/// Endpoints are compared so many blocks below the lowest of their newest ones: the last blocks may change places without anybody's fault.
pub(crate) const COMPARE_DEPTH: u64 = 8;

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Hash32;

    use super::*;

    const BASE: u64 = 8453;
    const NOW_S: u64 = 2_000_000_000;

    fn head(number: u64, timestamp: UnixSeconds, hash: u8) -> Head {
        Head { chain_id: BASE, number, hash: Hash32([hash; 32]), timestamp }
    }

    fn well(endpoint: &str) -> Said {
        let answer =
            Answer { chain_id: BASE, head: head(100, UnixSeconds(NOW_S - 2), 1), common: Some(head(92, UnixSeconds(NOW_S - 18), 2)) };
        Said { endpoint: endpoint.into(), seen: Some(100), answer: Ok(answer) }
    }

    fn with(mut said: Said, change: impl FnOnce(&mut Answer)) -> Said {
        change(said.answer.as_mut().unwrap());
        said
    }

    fn silent(endpoint: &str) -> Said {
        let error = ChainError::Timeout { what: "eth_chainId", after: std::time::Duration::from_secs(2) };
        Said { endpoint: endpoint.into(), seen: Some(100), answer: Err(error) }
    }

    fn kind(said: &[Said]) -> &'static str {
        judge(said, &Rules::of(BASE, said.len()), UnixSeconds(NOW_S)).map_or_else(|trouble| trouble.kind(), |()| "well")
    }

    #[test]
    fn endpoints_that_agree_on_a_chain_that_goes_on_are_well() {
        assert_eq!(kind(&[well("a")]), "well");
        assert_eq!(kind(&[well("a"), well("b")]), "well");
        assert_eq!(kind(&[Said { seen: None, ..well("a") }]), "well");
        // One of them is some blocks behind, and this machine's clock is too.
        let behind = with(well("b"), |answer| answer.head = head(95, UnixSeconds(NOW_S + 20), 3));
        assert_eq!(kind(&[well("a"), behind]), "well");
    }

    #[test]
    fn a_silent_endpoint_is_down_and_its_silence_is_no_agreement() {
        assert_eq!(kind(&[silent("a")]), "down");
        let trouble = judge(&[well("a"), silent("b")], &Rules::of(BASE, 2), UnixSeconds(NOW_S)).unwrap_err();
        assert!(matches!(&trouble, ChainTrouble::Down { endpoint, error: ChainError::Timeout { .. } } if endpoint == "b"), "{trouble:?}");
    }

    #[test]
    fn endpoints_stand_in_for_each_other_where_fewer_must_agree() {
        let judged = |said: &[Said]| judge(said, &Rules::of(BASE, 1), UnixSeconds(NOW_S)).map_err(|trouble| trouble.kind());
        assert_eq!(judged(&[silent("a"), well("b")]), Ok(()));
        assert_eq!(judged(&[silent("a"), silent("b")]), Err("down"));
        // Whoever is heard is compared all the same.
        let forked = with(well("b"), |answer| answer.common = Some(head(92, UnixSeconds(NOW_S - 18), 7)));
        assert_eq!(judged(&[well("a"), forked]), Err("disagree"));
    }

    #[test]
    fn another_chain_is_named_before_anything_else() {
        let other = with(well("b"), |answer| (answer.chain_id, answer.head) = (84532, head(1, UnixSeconds(0), 9)));
        let trouble = judge(&[silent("a"), other], &Rules::of(BASE, 1), UnixSeconds(NOW_S)).unwrap_err();
        assert_eq!(trouble, ChainTrouble::WrongChain { endpoint: "b".into(), expected: BASE, got: 84532 });
    }

    #[test]
    fn a_chain_is_stale_once_its_newest_block_is_older_than_a_payment_lives() {
        for (age_s, expected) in [(0, "well"), (HEAD_AGE_MAX_S, "well"), (HEAD_AGE_MAX_S + 1, "stale"), (NOW_S, "stale")] {
            let said = with(well("a"), |answer| answer.head.timestamp = UnixSeconds(NOW_S - age_s));
            assert_eq!(kind(&[said]), expected, "{age_s}");
        }
        // A chain that makes blocks for transactions only stands still between them.
        let idle = with(well("a"), |answer| (answer.chain_id, answer.head.timestamp) = (31337, UnixSeconds(0)));
        assert_eq!(judge(&[idle], &Rules::of(31337, 1), UnixSeconds(NOW_S)), Ok(()));
    }

    #[test]
    fn a_chain_goes_back_by_more_than_nodes_of_one_provider_differ() {
        for (number, expected) in [(100, "well"), (100 - BACK_MAX, "well"), (99 - BACK_MAX, "went_back"), (0, "went_back")] {
            assert_eq!(kind(&[with(well("a"), |answer| answer.head.number = number)]), expected, "{number}");
        }
        let reset = with(well("a"), |answer| (answer.chain_id, answer.head.number) = (31337, 99));
        let expected = ChainTrouble::WentBack { endpoint: "a".into(), from: 100, to: 99 };
        assert_eq!(judge(&[reset], &Rules::of(31337, 1), UnixSeconds(NOW_S)), Err(expected));
    }

    #[test]
    fn endpoints_disagree_by_another_block_or_none_at_one_number_and_both_are_shown() {
        for theirs in [Some(head(92, UnixSeconds(NOW_S - 18), 7)), None] {
            let other = with(well("c"), |answer| answer.common = theirs);
            let trouble = judge(&[well("a"), well("b"), other], &Rules::of(BASE, 1), UnixSeconds(NOW_S)).unwrap_err();
            let blocks = [Some(head(92, UnixSeconds(NOW_S - 18), 2)), theirs];
            assert_eq!(trouble, ChainTrouble::Disagree { endpoints: ["a".into(), "c".into()], blocks: Box::new(blocks) });
            let text = trouble.to_string();
            assert!(text.contains("a has block 92 0x02020202") && text.contains("c has "), "{text}");
        }
    }
}
