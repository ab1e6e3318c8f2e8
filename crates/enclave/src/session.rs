//! One client connection: what its bytes travel in, its place, and how much it got without paying.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use candor_link::Party;
use candor_verify::receipt::Channel;

use crate::boot::Boot;
use crate::refusal::Refusal;
use crate::seat::{Seat, Turn};
use crate::serving::Serving;

/// Quotes that one connection gets until it pays one: signing is the dearest thing a stranger can ask for.
const UNPAID_QUOTES_MAX: u32 = 64;

/// Challenges that one connection may send: a client needs one for each verification, and each costs the device a signature.
const CHALLENGES_MAX: u32 = 8;

/// Refusals that one connection gets signed: each costs a signature, and evidence of one is as good as of many.
const SIGNED_REFUSALS_MAX: u32 = 16;

/// One client connection.
pub(crate) struct Session {
    serving: Arc<Serving>,
    boot: Arc<Boot>,
    channel: Channel,
    party: Party,
    seat: Arc<Seat>,
    unpaid_quotes: AtomicU32,
    challenges: AtomicU32,
    refusals: AtomicU32,
}

impl Session {
    /// A connection whose bytes travel in this channel, as its receipts say, from this address, as the host says.
    pub(crate) fn new(serving: Arc<Serving>, boot: Arc<Boot>, channel: Channel, party: Party, seat: Arc<Seat>) -> Self {
        Self {
            serving,
            boot,
            channel,
            party,
            seat,
            unpaid_quotes: AtomicU32::new(0),
            challenges: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
        }
    }

    pub(crate) fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    pub(crate) fn boot(&self) -> &Arc<Boot> {
        &self.boot
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel
    }

    /// Where it comes from, as the host says.
    pub(crate) fn party(&self) -> Party {
        self.party
    }

    /// A request came. Its answer is over when the turn is dropped.
    pub(crate) fn turn(&self) -> Turn {
        self.seat.request()
    }

    /// Whether the answer at hand must be the last. Said with it: a client that keeps one connection for questions and one for payments
    /// never pays on the first, and only opens another.
    pub(crate) fn is_spent(&self) -> bool {
        UNPAID_QUOTES_MAX <= self.unpaid_quotes.load(Ordering::Relaxed) || self.seat.is_spent()
    }

    /// A payment was claimed: whoever pays may come back for as long as it likes. False if nobody is there any more.
    pub(crate) fn paid(&self) -> bool {
        self.unpaid_quotes.store(0, Ordering::Relaxed);
        self.seat.claimed()
    }

    /// An answer is about to be made that nobody pays for: the connection is not ended for another one until it is over, and is no longer
    /// lived for it. False if nobody is there any more.
    pub(crate) fn serves_free(&self) -> bool {
        self.seat.serves_free()
    }

    /// Counts an unpaid quote, a request that is refused instead, a look for an answer, whether it is there or not, or a wish to erase one.
    pub(crate) fn quoted(&self) -> Result<(), Refusal> {
        if self.unpaid_quotes.fetch_add(1, Ordering::Relaxed) < UNPAID_QUOTES_MAX {
            return Ok(());
        }
        // The retry in this request was answered from its look-up; its quote is the one too many.
        let message = "Too many unpaid quotes on this connection, which ends now. Open another.";
        Err(Refusal::too_many(message).code("too_many_quotes"))
    }

    /// Whether another refusal may be signed on this connection, which is counted.
    pub(crate) fn signs_refusal(&self) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed) < SIGNED_REFUSALS_MAX
    }

    /// Counts a challenge.
    pub(crate) fn challenged(&self) -> Result<(), Refusal> {
        if self.challenges.fetch_add(1, Ordering::Relaxed) < CHALLENGES_MAX {
            return Ok(());
        }
        Err(Refusal::too_many("Too many challenges on this connection. Open another.").code("too_many_challenges"))
    }
}
