//! The sequencer alone: bounds, deadlines, and every lie a host can tell. Fault tables and random worlds are in their own files.

mod common;

use common::{Keys, World, leaf};

use candor_log::edge::Edge;
use candor_log::host::{Anchored, AppendRefused, CheckpointAck, CheckpointRefused, HostLog, HostState, LoadError};
use candor_log::note::CheckpointError;
use candor_log::sequencer::{Action, CloseReason, Config, Event, Refused, Sequencer};
use candor_log::{GROUP_MAX, LeafData, Ticket};
use candor_verify::Hash32;
use candor_verify::checkpoint::{Checkpoint, NoteError};
use candor_verify::eip712::K256;
use candor_verify::time::UnixMs;
use candor_verify::tlog::{ProofError, Tree, empty_root};

const NOW: u64 = 1_700_000_000_000;
const EMPTY: HostState = HostState { tree: Tree { size: 0, root: Hash32::ZERO }, checkpoint_size: 0 };

fn empty_host() -> HostState {
    HostState { tree: Tree { size: 0, root: empty_root() }, ..EMPTY }
}

fn tree(leaves: &[u64]) -> Tree {
    let mut edge = Edge::new();
    for number in leaves {
        edge.push(leaf(*number).hash()).unwrap();
    }
    edge.tree()
}

fn connected(config: Config) -> Sequencer {
    let mut sequencer = Sequencer::new(config, Keys::new(7).public.log_id());
    assert_eq!(sequencer.step(Event::LinkRestored(empty_host()), NOW), []);
    sequencer
}

fn submit(sequencer: &mut Sequencer, ticket: u64, now_ms: u64) -> Vec<Action> {
    sequencer.step(Event::Submit { ticket: Ticket(ticket), bytes: 1_000 }, now_ms)
}

/// Takes a sequencer with one ticket to where the host has been sent the leaf.
fn awaiting_append() -> Sequencer {
    let mut sequencer = connected(Config::default());
    assert_eq!(submit(&mut sequencer, 0, NOW), [Action::Seal { first_index: 0, tickets: vec![Ticket(0)] }]);
    let sent = sequencer.step(Event::Sealed { leaves: vec![leaf(0)] }, NOW);
    assert_eq!(sent, [Action::SendAppend { first_index: 0, leaves: vec![(Ticket(0), leaf(0))] }]);
    sequencer
}

fn signed(sequencer: &mut Sequencer) -> Vec<Action> {
    let keys = Keys::new(7);
    let checkpoint = Checkpoint { log_id: keys.public.log_id(), tree: tree(&[0]), timestamp: UnixMs(NOW) };
    let (note_signature, signature) = keys.sign(&checkpoint);
    sequencer.step(Event::Signed { note_signature, signature }, NOW)
}

fn awaiting_checkpoint() -> Sequencer {
    let mut sequencer = awaiting_append();
    let acked = sequencer.step(Event::AppendAcked { first_index: 0, count: 1 }, NOW);
    assert!(
        matches!(acked[..], [Action::SignCheckpoint { checkpoint }] if checkpoint.tree == tree(&[0]) && checkpoint.timestamp == UnixMs(NOW))
    );
    assert!(matches!(signed(&mut sequencer)[..], [Action::SendCheckpoint { first_index: 0, .. }]));
    sequencer
}

fn ack() -> CheckpointAck {
    let anchored = Anchored { tree: empty_host().tree, consistency: vec![] };
    CheckpointAck { tree: tree(&[0]), inclusions: vec![vec![]], anchored }
}

fn closed(actions: &[Action]) -> CloseReason {
    match actions {
        [Action::Close { reason, .. }] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leaf_is_released_with_verified_proofs_after_both_acknowledgements_and_not_before() {
    let mut sequencer = awaiting_checkpoint();
    assert_eq!(sequencer.released().size, 0);
    let actions = sequencer.step(Event::CheckpointStored(ack()), NOW);
    let [Action::Release(group)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(group.leaves[0].index, 0);
    assert_eq!(group.signed.checkpoint.tree, tree(&[0]));
    assert_eq!(sequencer.released(), tree(&[0]));
    // Said twice, it is still true.
    assert_eq!(sequencer.step(Event::CheckpointStored(ack()), NOW), []);
}

#[test]
fn one_group_is_in_flight_and_the_next_gathers_up_to_its_bound() {
    let mut sequencer = connected(Config { group_max: 3, queue_max: 5, ..Config::default() });
    assert!(matches!(submit(&mut sequencer, 0, NOW)[..], [Action::Seal { .. }]));
    let _sent = sequencer.step(Event::Sealed { leaves: vec![leaf(0)] }, NOW);
    for ticket in 1..=5 {
        assert_eq!(submit(&mut sequencer, ticket, NOW), []);
    }
    assert_eq!(sequencer.room(), 0);
    let full = Refused::QueueFull { max: 5 };
    assert_eq!(submit(&mut sequencer, 6, NOW), [Action::Refuse { ticket: Ticket(6), reason: full }]);
    for ticket in [0, 5] {
        let again = Action::Refuse { ticket: Ticket(ticket), reason: Refused::Duplicate };
        assert_eq!(submit(&mut sequencer, ticket, NOW), [again]);
    }
    let _sign = sequencer.step(Event::AppendAcked { first_index: 0, count: 1 }, NOW);
    let _send = signed(&mut sequencer);
    let actions = sequencer.step(Event::CheckpointStored(ack()), NOW);
    let next = Action::Seal { first_index: 1, tickets: vec![Ticket(1), Ticket(2), Ticket(3)] };
    assert!(matches!(&actions[..], [Action::Release(_), seal] if *seal == next), "{actions:?}");
    assert_eq!(sequencer.room(), 3);
}

#[test]
fn a_ticket_waits_for_company_no_longer_than_configured() {
    let config = Config { group_max: 2, wait_max_ms: 5, ..Config::default() };
    let mut sequencer = connected(config);
    assert_eq!(submit(&mut sequencer, 0, NOW), []);
    assert_eq!(sequencer.next_tick_ms(), Some(NOW + 5));
    assert_eq!(sequencer.step(Event::Tick, NOW + 4), []);
    assert!(matches!(sequencer.step(Event::Tick, NOW + 5)[..], [Action::Seal { .. }]));
    let mut sequencer = connected(config);
    assert_eq!(submit(&mut sequencer, 0, NOW), []);
    assert!(matches!(&submit(&mut sequencer, 1, NOW)[..], [Action::Seal { tickets, .. }] if tickets.len() == 2));
}

#[test]
fn nothing_is_sealed_while_nobody_listens() {
    let mut sequencer = Sequencer::new(Config::default(), Hash32::ZERO);
    assert_eq!(submit(&mut sequencer, 0, NOW), []);
    assert_eq!(sequencer.next_tick_ms(), None);
    assert_eq!(sequencer.step(Event::Tick, NOW + 1_000_000), []);
    assert!(matches!(sequencer.step(Event::LinkRestored(empty_host()), NOW + 1_000_000)[..], [Action::Seal { .. }]));
}

#[test]
fn a_group_neither_confirmed_nor_refuted_closes_the_log_and_names_who_was_abandoned() {
    for lose_link in [false, true] {
        let mut sequencer = awaiting_append();
        assert_eq!(submit(&mut sequencer, 1, NOW), []);
        if lose_link {
            assert_eq!(sequencer.step(Event::LinkLost, NOW), []);
        }
        assert_eq!(sequencer.next_tick_ms(), Some(NOW + 90_000));
        assert_eq!(sequencer.step(Event::Tick, NOW + 89_999), []);
        let reason = CloseReason::Unconfirmed { first_index: 0, waited_ms: 90_000 };
        let close = Action::Close { reason, abandoned: vec![Ticket(0), Ticket(1)] };
        assert_eq!(sequencer.step(Event::Tick, NOW + 90_000), [close]);
        assert!(sequencer.is_closed());
        assert_eq!((sequencer.room(), sequencer.next_tick_ms()), (0, None));
        // A closed log refuses and is otherwise silent.
        assert_eq!(submit(&mut sequencer, 2, NOW), [Action::Refuse { ticket: Ticket(2), reason: Refused::Closed }]);
        assert_eq!(sequencer.step(Event::LinkRestored(empty_host()), NOW), []);
        assert_eq!(sequencer.step(Event::AppendAcked { first_index: 0, count: 1 }, NOW), []);
    }
}

#[test]
fn a_group_is_cut_by_bytes_and_what_fits_in_no_message_is_refused() {
    // A long wait, so that only what is full is sealed; nothing is sealed before the host listens.
    let config = Config { group_bytes_max: 100, wait_max_ms: 60_000, ..Config::default() };
    let mut sequencer = Sequencer::new(config, Keys::new(7).public.log_id());
    let mut submit = |ticket, bytes| sequencer.step(Event::Submit { ticket: Ticket(ticket), bytes }, NOW);
    for (ticket, bytes) in [(0, 60), (1, 40), (2, 1), (3, 100)] {
        assert_eq!(submit(ticket, bytes), []);
    }
    assert_eq!(submit(4, 101), [Action::Refuse { ticket: Ticket(4), reason: Refused::TooLong { max: 100, got: 101 } }]);
    let sealed = sequencer.step(Event::LinkRestored(empty_host()), NOW);
    assert_eq!(sealed, [Action::Seal { first_index: 0, tickets: vec![Ticket(0), Ticket(1)] }]);
    assert_eq!(sequencer.room(), config.queue_max - 2);
}

#[test]
fn a_group_that_cannot_be_sent_closes_the_log_at_once() {
    let reason = closed(&awaiting_append().step(Event::Unsendable, NOW));
    assert!(matches!(reason, CloseReason::Bug(_)) && !reason.is_host_contradiction());
}

#[test]
fn checkpoint_times_never_go_back_with_the_clock() {
    let mut sequencer = awaiting_append();
    let actions = sequencer.step(Event::AppendAcked { first_index: 0, count: 1 }, NOW - 50_000);
    assert!(matches!(actions[..], [Action::SignCheckpoint { checkpoint }] if checkpoint.timestamp == UnixMs(NOW)));
}

#[test]
fn what_was_not_acknowledged_is_offered_again_and_what_was_stored_is_not() {
    // The append never arrived.
    let mut sequencer = awaiting_append();
    let _lost = sequencer.step(Event::LinkLost, NOW);
    assert_eq!(sequencer.step(Event::AppendAcked { first_index: 0, count: 1 }, NOW), [], "words of a lost connection are old");
    assert!(matches!(sequencer.step(Event::LinkRestored(empty_host()), NOW)[..], [Action::SendAppend { first_index: 0, .. }]));
    // It arrived, and the acknowledgement did not.
    let stored = HostState { tree: tree(&[0]), checkpoint_size: 0 };
    let mut sequencer = awaiting_append();
    let _lost = sequencer.step(Event::LinkLost, NOW);
    assert!(matches!(sequencer.step(Event::LinkRestored(stored), NOW)[..], [Action::SignCheckpoint { .. }]));
    // The connection is lost while the checkpoint is being signed, and then while it is on its way: stored or not, it is sent again.
    let _lost = sequencer.step(Event::LinkLost, NOW);
    assert_eq!(signed(&mut sequencer), []);
    let first = sequencer.step(Event::LinkRestored(stored), NOW);
    assert!(matches!(first[..], [Action::SendCheckpoint { .. }]));
    let _lost = sequencer.step(Event::LinkLost, NOW);
    let again = sequencer.step(Event::LinkRestored(HostState { checkpoint_size: 1, ..stored }), NOW);
    assert_eq!(again, first, "never a second checkpoint of one size");
}

#[test]
fn every_lie_of_a_host_about_what_it_has_closes_the_log() {
    let foreign = Tree { size: 1, root: Hash32([9; 32]) };
    let stored = HostState { tree: tree(&[0]), checkpoint_size: 0 };
    let reconnect = |mut sequencer: Sequencer, host: HostState| {
        let _lost = sequencer.step(Event::LinkLost, NOW);
        closed(&sequencer.step(Event::LinkRestored(host), NOW))
    };
    let released = || {
        let mut sequencer = awaiting_checkpoint();
        let _released = sequencer.step(Event::CheckpointStored(ack()), NOW);
        sequencer
    };
    let fresh = || connected(Config::default());
    let rows: Vec<(&str, Sequencer, HostState)> = vec![
        ("leaves before there was any", fresh(), stored),
        ("a checkpoint before there was any", fresh(), HostState { checkpoint_size: 1, ..empty_host() }),
        ("an empty tree with another root", fresh(), EMPTY),
        ("another leaf than was sent", awaiting_append(), HostState { tree: foreign, checkpoint_size: 0 }),
        ("more leaves than were sent", awaiting_append(), HostState { tree: tree(&[0, 1]), checkpoint_size: 0 }),
        ("a checkpoint that was not signed", awaiting_append(), HostState { checkpoint_size: 1, ..stored }),
        ("an acknowledged append is lost", awaiting_checkpoint(), empty_host()),
        ("a released leaf is lost", released(), empty_host()),
        ("a released checkpoint is lost", released(), stored),
        ("a released leaf is another", released(), HostState { tree: foreign, checkpoint_size: 1 }),
        ("more than was ever sent", released(), HostState { tree: tree(&[0, 1]), checkpoint_size: 1 }),
    ];
    for (lie, sequencer, host) in rows {
        let reason = reconnect(sequencer, host);
        assert!(matches!(&reason, CloseReason::HostTree { got, .. } if *got == host), "{lie}: {reason:?}");
        assert!(reason.is_host_contradiction());
    }
}

#[test]
fn every_lie_of_a_host_in_an_acknowledgement_closes_the_log() {
    let fork = Tree { size: 1, root: Hash32([9; 32]) };
    let cases: Vec<(Event, CloseReason)> = vec![
        (
            Event::CheckpointStored(CheckpointAck { tree: fork, ..ack() }),
            CloseReason::UnexpectedAck { released: empty_host().tree, got: 1 },
        ),
        (Event::CheckpointStored(CheckpointAck { inclusions: vec![], ..ack() }), CloseReason::ProofCount { expected: 1, got: 0 }),
        (
            Event::CheckpointStored(CheckpointAck { inclusions: vec![vec![Hash32::ZERO]], ..ack() }),
            CloseReason::Proof { index: Some(0), error: ProofError::Length { expected: 0, got: 1 } },
        ),
        (
            Event::CheckpointStored(CheckpointAck { anchored: Anchored { tree: fork, consistency: vec![] }, ..ack() }),
            CloseReason::Proof { index: None, error: ProofError::Root { expected: tree(&[0]).root, got: fork.root } },
        ),
        (
            Event::CheckpointStored(CheckpointAck { anchored: Anchored { tree: Tree { size: 2, ..fork }, consistency: vec![] }, ..ack() }),
            CloseReason::Proof { index: None, error: ProofError::OutsideTree { size: 1, got: 2 } },
        ),
        (Event::AppendAcked { first_index: 1, count: 1 }, CloseReason::UnexpectedAck { released: empty_host().tree, got: 2 }),
        (
            Event::AppendAcked { first_index: u64::MAX, count: u64::MAX },
            CloseReason::UnexpectedAck { released: empty_host().tree, got: u64::MAX },
        ),
        (Event::AppendRefused(AppendRefused::Full), CloseReason::AppendRefused(AppendRefused::Full)),
        (
            Event::CheckpointRefused(CheckpointRefused::Size { expected: 0, got: 1 }),
            CloseReason::CheckpointRefused(CheckpointRefused::Size { expected: 0, got: 1 }),
        ),
        (Event::Contradicted, CloseReason::Contradicted),
    ];
    for (event, expected) in cases {
        assert_eq!(closed(&awaiting_checkpoint().step(event, NOW)), expected);
    }
    let early = closed(&awaiting_append().step(Event::CheckpointStored(ack()), NOW));
    assert_eq!(early, CloseReason::UnexpectedAck { released: empty_host().tree, got: 1 });
}

#[test]
fn a_shell_that_breaks_its_contract_closes_the_log() {
    let mut sequencer = connected(Config::default());
    let _seal = submit(&mut sequencer, 0, NOW);
    assert!(matches!(closed(&sequencer.step(Event::Sealed { leaves: vec![] }, NOW)), CloseReason::Misuse(_)));
    assert!(matches!(closed(&connected(Config::default()).step(Event::Sealed { leaves: vec![] }, NOW)), CloseReason::Misuse(_)));
    assert!(matches!(closed(&signed(&mut awaiting_append())), CloseReason::Misuse(_)));
    // Never answering `Seal` is found too.
    let mut sequencer = connected(Config::default());
    let _seal = submit(&mut sequencer, 0, NOW);
    assert!(matches!(closed(&sequencer.step(Event::Tick, NOW + 90_000)), CloseReason::Unconfirmed { .. }));
}

#[test]
fn the_host_refuses_what_contradicts_it_and_takes_again_what_it_has() {
    let keys = Keys::new(7);
    let mut host = HostLog::load(&K256, keys.public, [], None).unwrap();
    let leaves: Vec<LeafData> = (0..5).map(leaf).collect();
    let plan = host.plan_append(0, &leaves[..3]).unwrap();
    assert_eq!((plan.held(), plan.new_leaves().len()), (0, 3));
    host.apply_append(plan.clone()).unwrap();
    assert!(host.apply_append(plan).is_err(), "a plan is spent once");
    // Again, in whole, in part, and as a part of more.
    assert_eq!(host.plan_append(0, &leaves[..3]).unwrap().new_leaves(), []);
    assert_eq!(host.plan_append(1, &leaves[1..2]).unwrap().new_leaves(), []);
    let more = host.plan_append(1, &leaves[1..]).unwrap();
    assert_eq!((more.held(), more.new_leaves()), (2, &leaves[3..]));
    assert_eq!(host.plan_append(4, &leaves[4..]), Err(AppendRefused::Gap { expected: 3, got: 4 }));
    assert_eq!(host.plan_append(u64::MAX, &leaves), Err(AppendRefused::Gap { expected: 3, got: u64::MAX }));
    assert_eq!(host.plan_append(0, &[]), Err(AppendRefused::Count { max: GROUP_MAX, got: 0 }));
    let other = [leaf(0), leaf(9)];
    let contradiction = AppendRefused::Contradiction { index: 1, expected: leaf(1), got: leaf(9) };
    assert_eq!(host.plan_append(0, &other), Err(contradiction));

    let now = host.tree().now().tree();
    let plan = |host: &HostLog, first: u64, tree: Tree| host.plan_checkpoint(&K256, first, &keys.checkpoint(tree, NOW));
    assert_eq!(plan(&host, 0, tree(&[0, 1])), Err(CheckpointRefused::Size { expected: 3, got: 2 }));
    let fork = Tree { root: Hash32([9; 32]), ..now };
    assert_eq!(plan(&host, 0, fork), Err(CheckpointRefused::Root { expected: now, got: fork }));
    assert_eq!(plan(&host, 3, now), Err(CheckpointRefused::Group { first_index: 3, size: 3 }));
    let foreign = Keys::new(8).checkpoint(now, NOW);
    let refused = CheckpointRefused::Signature(CheckpointError::Note(NoteError::Origin));
    assert_eq!(host.plan_checkpoint(&K256, 0, &foreign), Err(refused));
    let good = plan(&host, 1, now).unwrap();
    assert!(good.new_checkpoint().is_some());
    let first = host.apply_checkpoint(good).unwrap();
    assert_eq!(first.inclusions.len(), 2);
    let again = plan(&host, 1, now).unwrap();
    assert_eq!(again.new_checkpoint(), None, "stored once");
    assert_eq!(host.apply_checkpoint(again), Ok(first));
    // The chain says something else about us.
    assert_eq!(host.set_anchored(fork), Err(LoadError::Tree { expected: now, got: fork }));
    assert!(host.set_anchored(tree(&[0, 1, 2, 3])).is_err());
    assert_eq!(host.set_anchored(tree(&[0, 1])), Ok(()));
}

#[test]
fn a_database_that_contradicts_itself_is_not_loaded() {
    let keys = Keys::new(7);
    let load = |leaves: &[u64], tree: Tree| {
        HostLog::load(&K256, keys.public, leaves.iter().copied().map(leaf), Some(keys.checkpoint(tree, NOW))).err()
    };
    assert_eq!(load(&[0, 1], tree(&[0, 1])), None);
    assert_eq!(load(&[0, 1, 2], tree(&[0, 1])), None);
    assert_eq!(load(&[0], tree(&[0, 1])), Some(LoadError::Tree { expected: tree(&[0, 1]), got: tree(&[0]) }));
    assert_eq!(load(&[0, 2], tree(&[0, 1])), Some(LoadError::Tree { expected: tree(&[0, 1]), got: tree(&[0, 2]) }));
    let foreign = Keys::new(8).checkpoint(tree(&[0]), NOW);
    assert!(matches!(HostLog::load(&K256, keys.public, [leaf(0)], Some(foreign)), Err(LoadError::Checkpoint(_))));
}

#[test]
fn answers_carry_consistency_from_the_last_anchor() {
    let mut world = World::new(Config::default(), common::Faults::default(), common::Recovery::Retry);
    for round in 0..5 {
        for ticket in 0..7 {
            world.submit(round * 7 + ticket);
        }
        world.settle();
        // The chain holds the second-last checkpoint; the sequencer has verified each proof before releasing.
        if let [.., before, _] = world.signed[..] {
            world.host.as_mut().unwrap().set_anchored(before).unwrap();
        }
    }
    world.assert_whole(35);
}
