//! How often one address may ask: so many questions a minute, counted in steps of a minute. Pure: time is a parameter.

use std::collections::HashMap;
use std::net::IpAddr;
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
