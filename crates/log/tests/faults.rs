//! The fault table: every durable step {failed, failed but persisted} × {retry, restart}, then the whole log again.

mod common;

use common::{Fault, Faults, Recovery, World};

use candor_log::sequencer::{Config, Event};

/// A day in the life: groups of several sizes, publications between them, tiles completed.
fn run(faults: Faults, recovery: Recovery) -> World {
    let mut world = World::new(Config { group_max: 100, ..Config::default() }, faults, recovery);
    let mut next = 0;
    for size in [1, 3, 254, 60, 1] {
        for _ in 0..size {
            world.submit(next);
            next += 1;
        }
        world.settle();
        world.publish();
    }
    world.assert_whole(next);
    world
}

#[test]
fn every_durable_step_may_fail_in_every_way() {
    let mut rows = 0;
    for fault in [Fault::Failed, Fault::FailedButPersisted] {
        for recovery in [Recovery::Retry, Recovery::Restart] {
            for step in 0.. {
                let row = std::panic::catch_unwind(|| run(Faults::at(step, fault), recovery).faults.pending());
                let pending = row.unwrap_or_else(|_| panic!("durable step {step}, {fault:?}, {recovery:?}"));
                if pending {
                    // The run was over before this step: the table is complete.
                    break;
                }
                rows += 1;
            }
        }
    }
    assert!(100 < rows, "only {rows} rows: the run has lost its durable steps");
}

#[test]
fn the_same_leaves_give_the_same_files_whatever_failed() {
    let clean = run(Faults::default(), Recovery::Retry);
    for step in [0, 1, 5, 9, 17] {
        for fault in [Fault::Failed, Fault::FailedButPersisted] {
            let broken = run(Faults::at(step, fault), Recovery::Retry);
            let (clean, broken) = (clean.store.files.borrow(), broken.store.files.borrow());
            // Times differ, so the checkpoint may; no other byte does.
            let differ: Vec<_> = clean.iter().filter(|(resource, bytes)| broken.get(resource) != Some(bytes)).map(|(r, _)| *r).collect();
            assert!(differ.is_empty() || differ == [candor_log::tiles::Resource::Checkpoint], "{differ:?}");
        }
    }
}

#[test]
fn a_host_killed_between_any_two_messages_loses_nothing() {
    // `kill` counts deliveries; the host dies after that many, before or after the enclave hears the answer.
    for kill in 0..40 {
        let mut world = World::new(Config { group_max: 2, ..Config::default() }, Faults::default(), Recovery::Restart);
        for ticket in 0..9 {
            world.submit(ticket);
        }
        for _ in 0..kill {
            let _any = world.deliver_to_host() || world.deliver_to_enclave();
        }
        world.kill_host();
        world.submit(9);
        world.settle();
        world.assert_whole(10);
    }
}

#[test]
fn an_enclave_killed_at_any_message_leaves_a_log_that_ends_at_its_last_checkpoint() {
    let mut discarded = 0;
    for kill in 0..40 {
        let mut world = World::new(Config { group_max: 2, ..Config::default() }, Faults::default(), Recovery::Restart);
        for ticket in 0..9 {
            world.submit(ticket);
        }
        for _ in 0..kill {
            let _any = world.deliver_to_host() || world.deliver_to_enclave();
        }
        // The enclave is gone. The host finds a new boot with another log id, and ends this one.
        let mut host = world.load();
        let ended = host.end();
        discarded += ended.discarded;
        assert_eq!(ended.tree.size, world.db.checkpoints.last().map_or(0, |(signed, _)| signed.checkpoint.tree.size));
        assert_eq!(host.end().discarded, 0, "ending twice is ending once");
        world.db.leaves.truncate(ended.tree.size as usize);
        world.host = Some(world.load());
        assert!(world.released.values().all(|leaf| leaf.index < ended.tree.size), "an acknowledged leaf was discarded");
        world.publish();
        if 0 < ended.tree.size {
            let report = world.check();
            assert!(report.is_sound(), "{report:#?}");
            assert_eq!(report.checkpoint.unwrap().tree(), ended.tree);
        }
    }
    assert!(0 < discarded, "no kill point had leaves without a checkpoint");
}

#[test]
fn a_disk_that_stays_full_is_met_with_refusals_and_then_with_work() {
    let config = Config { group_max: 4, queue_max: 8, ..Config::default() };
    let mut world = World::new(config, Faults::default(), Recovery::Restart);
    for ticket in 0..20 {
        world.submit(ticket);
        // Every write fails, and the host comes back each time.
        world.faults.arm(Fault::Failed);
        world.deliver_to_host();
        world.now_ms += 100;
        world.event(Event::Tick);
    }
    assert!(world.db.leaves.is_empty() && world.released.is_empty());
    assert!(!world.refused.is_empty(), "the queue is bounded");
    assert_eq!(world.sequencer.room(), 0);
    world.faults.disarm();
    world.settle();
    world.assert_whole(20);
}
