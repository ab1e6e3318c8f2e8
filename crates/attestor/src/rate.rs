//! What one address may take: so many connections at once, and so many questions a minute, counted in steps of a minute. Time is a parameter.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Questions of one address in a window. A registrar asks once at a boot and once a day; a boot that fails is tried some times a minute.
const QUESTIONS: u32 = 60;

/// How long they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered in a window; with more the attestor answers nobody new until the next, and stays small.
const ADDRESSES: usize = 4_096;

/// Counts questions by address.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    window: u64,
    counts: HashMap<IpAddr, u32>,
}

impl Rate {
    /// Whether one more question of this address is answered, so long after the start.
    pub(crate) fn takes(&mut self, who: IpAddr, elapsed: Duration) -> bool {
        let window = elapsed.as_secs().checked_div(WINDOW.as_secs()).unwrap_or_default();
        if window != self.window {
            self.window = window;
            self.counts.clear();
        }
        let party = party(who);
        if self.counts.len() >= ADDRESSES && !self.counts.contains_key(&party) {
            return false;
        }
        let count = self.counts.entry(party).or_default();
        *count = count.saturating_add(1);
        *count <= QUESTIONS
    }
}

/// Connections of one address at once: an eighth of all. A registrar needs one.
const CONNECTIONS: usize = 8;

/// Counts open connections by address.
#[derive(Debug, Default)]
pub(crate) struct Open {
    // Guarded for moments. Has no zeros, so it is as small as what is open.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Open {
    /// A place for one more connection of this address; `None` if it has its share.
    pub(crate) fn enter(self: &Arc<Self>, who: IpAddr) -> Option<Place> {
        let party = party(who);
        let mut counts = self.counts();
        let count = counts.get(&party).copied().unwrap_or_default();
        if CONNECTIONS <= count {
            return None;
        }
        counts.insert(party, count.saturating_add(1));
        Some(Place { open: Arc::clone(self), party })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<Open>,
    party: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        match counts.get(&self.party).copied() {
            Some(count @ 2..) => drop(counts.insert(self.party, count.saturating_sub(1))),
            _ => drop(counts.remove(&self.party)),
        }
    }
}

/// An IPv6 customer has a whole /64.
fn party(who: IpAddr) -> IpAddr {
    match who.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_has_its_share_of_connections_and_others_theirs() {
        let open = Arc::new(Open::default());
        let (one, same, other) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let mut places: Vec<Place> = (0..CONNECTIONS).map(|_| open.enter(one).unwrap()).collect();
        assert!(open.enter(same).is_none() && open.enter(other).is_some());
        drop(places.pop());
        places.push(open.enter(same).unwrap());
        assert!(open.enter(one).is_none());
        drop(places);
        assert!(open.counts().is_empty());
    }

    #[test]
    fn a_minute_takes_so_many_questions_of_one_party_and_the_next_takes_them_again() {
        let (mut rate, start) = (Rate::default(), Duration::from_secs(5));
        let (one, same, other) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), "192.0.2.1".parse().unwrap());
        assert!((0..QUESTIONS).all(|_| rate.takes(one, start)));
        assert!(!rate.takes(same, start), "one /64 is one party");
        assert!(rate.takes(other, start));
        assert!(rate.takes(same, start + WINDOW));
    }

    #[test]
    fn strangers_do_not_fill_the_memory_and_those_who_are_known_go_on() {
        let (mut rate, start) = (Rate::default(), Duration::ZERO);
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        assert!((0..ADDRESSES).all(|n| rate.takes(address(n), start)));
        assert!(!rate.takes(address(ADDRESSES), start));
        assert!(rate.takes(address(0), start));
    }
}
