//! Random worlds by seed: submissions, messages, lost links, dead hosts, failing disks, publications, dead enclaves, in any order.
//!
//! On failure the seed is printed; `CANDOR_LOG_SEED=n cargo test -p candor-log --test simulation` runs that one alone.

mod common;

use common::{Fault, Faults, Recovery, World};

use candor_log::sequencer::{Config, Event};

/// xorshift64*: enough to choose, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

fn simulate(seed: u64) -> (usize, usize) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let config = Config {
        group_max: 1 + random.below(70) as usize,
        // Tickets have 1,000 bytes, so that some groups are cut by bytes.
        group_bytes_max: 1_000 * (1 + random.below(80) as usize),
        queue_max: 1 + random.below(100) as usize,
        wait_max_ms: random.below(3) * 5,
        confirm_max_ms: 1_000_000,
    };
    let mut world = World::new(config, Faults::default(), Recovery::Retry);
    let mut submitted = 0;
    for _ in 0..200 + random.below(600) {
        match random.below(100) {
            0..30 => {
                for _ in 0..=random.below(8) {
                    world.submit(submitted);
                    submitted += 1;
                }
            }
            30..55 => drop(world.deliver_to_host()),
            55..80 => drop(world.deliver_to_enclave()),
            80..84 => {
                world.now_ms += random.below(10);
                world.event(Event::Tick);
            }
            84..88 => world.publish(),
            88..90 => world.kill_host(),
            90..92 => world.drop_link(),
            92..96 => world.start_host(),
            96..98 => world.recovery = if random.below(2) == 0 { Recovery::Retry } else { Recovery::Restart },
            _ => world.faults.arm(if random.below(2) == 0 { Fault::Failed } else { Fault::FailedButPersisted }),
        }
        assert_eq!(world.closed, None, "a host that only fails never closes a log");
    }
    world.faults.disarm();
    if random.below(4) == 0 {
        // The enclave dies. What it released is under the last stored checkpoint.
        let ended = world.load().end();
        world.db.leaves.truncate(ended.tree.size as usize);
        assert!(world.released.values().all(|leaf| leaf.index < ended.tree.size));
        world.host = Some(world.load());
        world.publish();
        assert!(ended.tree.size == 0 || world.check().is_sound());
    } else {
        world.settle();
        world.assert_whole(submitted);
    }
    (world.released.len(), world.refused.len())
}

#[test]
fn no_random_world_loses_or_forks_a_leaf() {
    let one = std::env::var("CANDOR_LOG_SEED").ok().map(|seed| seed.parse().expect("CANDOR_LOG_SEED is a number"));
    let seeds = one.map_or(0..300, |seed: u64| seed..seed + 1);
    let (mut released, mut refused) = (0, 0);
    for seed in seeds {
        let counts = std::panic::catch_unwind(|| simulate(seed)).unwrap_or_else(|_| panic!("CANDOR_LOG_SEED={seed} fails"));
        released += counts.0;
        refused += counts.1;
    }
    assert!(one.is_some() || (5_000 < released && 0 < refused), "{released} released, {refused} refused: the worlds are too tame");
}
