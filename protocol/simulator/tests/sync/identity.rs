//! New keys, stolen keys, and chains that part: whoever is connected ends with
//! the same, and what controllers have disowned is part of no log any more.

use tallystick_protocol::equivocation::Finding;
use tallystick_protocol::id::LogId;
use tallystick_protocol::identity::Head;
use tallystick_protocol::limits;
use tallystick_protocol::sync::wire::{Announcement, Message};
use tallystick_protocol::sync::{AuthorRefusal, Notice, Refusal};

use tallystick_simulator::hostile::Role;
use tallystick_simulator::measure::Event;
use tallystick_simulator::topology::Partition;
use tallystick_simulator::world::World;

/// An author, node 0, with ten entries and so many partners, all connected with each other.
fn world_of(seed: u64, partners: usize) -> World {
    let mut world = World::new(seed);
    world.add_many(1 + partners);
    meet(&mut world, &(0..=partners).collect::<Vec<_>>());
    world.author(0, 10, 50);
    world.run(20);
    world
}

fn meet(world: &mut World, nodes: &[usize]) {
    for (at, a) in nodes.iter().enumerate() {
        nodes[..at].iter().for_each(|b| world.connect(*a, *b));
    }
}

fn identity_of(world: &World, node: usize, of: usize) -> (u32, u32) {
    let machine = world.nodes[node].machine.as_ref().unwrap();
    let identity = machine.identity(&world.nodes[of].who.authority()).unwrap();
    (identity.sequence(), identity.generation())
}

/// Entries that a node has in a generation of an author's log, and under a signed head.
fn held(world: &World, node: usize, of: usize, generation: u32) -> (u64, u64) {
    let log = LogId::public(world.nodes[of].who.authority(), generation);
    world.nodes[node].disk.logs.get(&log).map_or((0, 0), |log| (log.size(), log.signed()))
}

fn rotate(world: &mut World, node: usize) {
    let rotated = world.nodes[node].who.rotated(world.head(node));
    world.rekey(node, rotated);
}

pub(crate) fn recover(world: &mut World, node: usize, closes: Head) {
    let recovered = world.nodes[node].who.recovered(closes);
    world.rekey(node, recovered);
    // What a node does at its start: the event is the first entry.
    world.author(node, 1, 50);
}

/// Somebody who has stolen disk and keys of node 0 and runs them elsewhere.
pub(crate) fn thief(world: &mut World) -> usize {
    let who = world.nodes[0].who.clone();
    let thief = world.place(who, 1, false);
    world.nodes[thief].disk = world.nodes[0].disk.clone();
    world.nodes[thief].disk.crash();
    world.nodes[thief].signs_alone = true;
    world.start(thief);
    thief
}

#[test]
fn after_a_rotation_partners_follow_the_same_log_under_the_new_key() {
    let mut world = world_of(500, 2);
    rotate(&mut world, 0);
    world.author(0, 5, 50);
    world.connect(0, 1);
    world.run(30);
    for node in 1..3 {
        assert_eq!(identity_of(&world, node, 0), (1, 0));
        assert_eq!(world.signed(node, 0), 15);
    }
    assert!(world.agree(&[0, 1, 2]));
    world.assert_no_refusals();
}

#[test]
fn a_rotation_during_a_partition_reaches_the_other_side_when_it_heals() {
    let mut world = world_of(501, 3);
    world.cut(Partition::island(&[0, 1]));
    world.run(20);
    rotate(&mut world, 0);
    world.author(0, 5, 50);
    world.connect(0, 1);
    world.run(30);
    assert_eq!(identity_of(&world, 1, 0), (1, 0));
    assert_eq!(identity_of(&world, 2, 0), (0, 0));
    world.heal();
    world.connect(1, 2);
    world.run(60);
    for node in 1..4 {
        assert_eq!(identity_of(&world, node, 0), (1, 0), "{node}");
        assert_eq!(world.signed(node, 0), 15, "{node}");
    }
    assert!(world.agree(&[0, 1, 2, 3]));
}

#[test]
fn a_copy_with_the_old_keys_signs_nothing_once_it_hears_of_the_new_ones() {
    let mut world = world_of(502, 1);
    let old = world.nodes[0].disk.clone();
    let before = world.nodes[0].who.clone();
    rotate(&mut world, 0);
    world.connect(0, 1);
    world.author(0, 5, 50);
    world.run(20);
    // An older backup of keys and disk is put in place.
    world.crash(0);
    (world.nodes[0].who, world.nodes[0].disk) = (before, old);
    world.nodes[0].disk.incarnation = [60; 16];
    world.start(0);
    world.connect(0, 1);
    world.run(20);
    world.author(0, 1, 50);
    world.run(20);
    let (_, refusal) = *world.nodes[0].author_refused.last().unwrap();
    assert_eq!(refusal, AuthorRefusal::OldKeys);
    assert_eq!(world.signed(1, 0), 15);
}

#[test]
fn a_recovery_disowns_what_the_thief_wrote_and_all_partners_end_in_the_same_state() {
    let mut world = world_of(503, 3);
    // The thief goes on with the log, among partners 1 and 2; the owner is down.
    let closes = world.head(0);
    let thief = thief(&mut world);
    world.crash(0);
    world.connect(thief, 1);
    world.author(thief, 7, 50);
    world.run(30);
    assert_eq!(held(&world, 2, 0, 0), (17, 17));
    // Its controllers close the log where it stood.
    world.isolate(thief);
    recover(&mut world, 0, closes);
    world.author(0, 3, 50);
    world.connect(0, 3);
    world.run(60);
    for node in 0..4 {
        assert_eq!(held(&world, node, 0, 0), (10, 10), "{node}: the old generation");
        assert_eq!(held(&world, node, 0, 1), (4, 4), "{node}: the new one");
    }
    assert!(world.agree(&[0, 1, 2, 3]));
    let reverted = |node: usize| {
        let notices = world.nodes[node].notices.iter();
        notices.filter(|notice| matches!(notice, Notice::LogReverted { .. })).count()
    };
    assert_eq!([1, 2, 3].map(reverted), [1, 1, 1]);
    // The thief's old keys say nothing any more.
    world.connect(thief, 1);
    world.author(thief, 2, 50);
    world.run(30);
    assert_eq!(held(&world, 1, 0, 0), (10, 10));
}

#[test]
fn a_recovery_after_a_fork_brings_the_branch_that_stands_to_those_on_the_other() {
    let mut world = world_of(504, 3);
    world.cut(Partition::island(&[0, 1]));
    world.run(20);
    let thief = thief(&mut world);
    world.connect(thief, 2);
    world.author(thief, 400, 50);
    world.author(0, 600, 50);
    world.run(60);
    assert_eq!(held(&world, 3, 0, 0), (410, 410));
    assert_eq!(held(&world, 1, 0, 0), (610, 610));
    world.isolate(thief);
    world.heal();
    meet(&mut world, &[1, 2]);
    world.run(60);
    assert_eq!(held(&world, 3, 0, 0), (410, 410), "frozen: it has one of two histories");
    let closes = world.head(0);
    recover(&mut world, 0, closes);
    world.connect(0, 1);
    world.run(120);
    for node in 0..4 {
        assert_eq!(held(&world, node, 0, 0), (610, 610), "{node}: the old generation");
        assert_eq!(held(&world, node, 0, 1), (1, 1), "{node}: the new one");
    }
    assert!(world.agree(&[0, 1, 2, 3]));
    for node in 1..4 {
        let status = world.nodes[node].machine.as_ref().unwrap().logs();
        assert!(status.iter().all(|log| !log.disputed), "{node}: the recovery ends the dispute");
    }
}

#[test]
fn a_recovery_during_a_partition_reaches_the_other_side_when_it_heals() {
    let mut world = world_of(505, 3);
    let closes = world.head(0);
    let thief = thief(&mut world);
    world.cut(Partition::island(&[0, 1]));
    world.run(20);
    recover(&mut world, 0, closes);
    world.author(0, 3, 50);
    world.connect(0, 1);
    // The other side knows nothing of it and listens to the thief.
    world.connect(thief, 2);
    world.author(thief, 5, 50);
    world.run(60);
    assert_eq!(held(&world, 3, 0, 0), (15, 15));
    assert_eq!(held(&world, 1, 0, 1), (4, 4));
    world.isolate(thief);
    world.heal();
    world.connect(1, 3);
    world.run(90);
    for node in 1..4 {
        assert_eq!(identity_of(&world, node, 0), (1, 1), "{node}");
        assert_eq!(held(&world, node, 0, 0), (10, 10), "{node}");
        assert_eq!(held(&world, node, 0, 1), (4, 4), "{node}");
    }
    assert!(world.agree(&[0, 1, 2, 3]));
}

#[test]
fn a_recovery_is_finished_after_a_crash_in_the_middle() {
    for seed in 0..12 {
        let mut world = world_of(520 + seed, 2);
        let closes = world.head(0);
        let thief = thief(&mut world);
        world.crash(0);
        world.connect(thief, 1);
        world.author(thief, 300, 50);
        world.run(30);
        world.isolate(thief);
        recover(&mut world, 0, closes);
        world.nodes[1].disk.delay = 200_000;
        world.connect(0, 1);
        world.run_for(100_000 * (1 + seed));
        world.tear(1);
        world.start(1);
        world.connect(0, 1);
        world.connect(1, 2);
        world.run(60);
        assert_eq!(held(&world, 1, 0, 0), (10, 10), "{seed}");
        assert!(world.agree(&[0, 1, 2]), "{seed}");
    }
}

#[test]
fn controllers_who_sign_two_events_for_one_position_are_in_dispute_everywhere() {
    let mut world = world_of(506, 3);
    let closes = world.head(0);
    let left = world.nodes[0].who.rotated(closes.clone());
    let right = world.nodes[0].who.recovered(closes);
    world.introduce(1, left.events.clone());
    world.introduce(3, right.events.clone());
    world.crash(0);
    world.run(60);
    for node in 1..4 {
        let notices = &world.nodes[node].notices;
        let authority = left.authority();
        let disputed = Notice::IdentityDisputed { authority, position: 1 };
        assert!(notices.contains(&disputed), "{node}");
        assert_eq!(identity_of(&world, node, 0), (0, 0), "{node}: as before they part");
        assert_eq!(held(&world, node, 0, 0), (10, 10), "{node}: frozen where it was");
    }
}

#[test]
fn two_profiles_for_one_position_are_a_dispute_that_a_rotation_ends() {
    let mut world = world_of(507, 2);
    let [left, right] = ["Borough A", "Borough B"].map(|name| world.nodes[0].who.renamed(name));
    world.introduce(1, left.events.clone());
    world.introduce(2, right.events.clone());
    world.run(40);
    assert_eq!(identity_of(&world, 1, 0), (0, 0));
    assert_eq!(identity_of(&world, 2, 0), (0, 0));
    let rotated = left.rotated(world.head(0));
    world.rekey(0, rotated);
    world.author(0, 2, 50);
    world.connect(0, 1);
    world.run(60);
    for node in 1..3 {
        assert_eq!(identity_of(&world, node, 0), (2, 0), "{node}");
        assert_eq!(world.signed(node, 0), 12, "{node}");
    }
}

#[test]
fn a_newcomer_that_is_shown_an_old_chain_learns_so_from_any_honest_partner() {
    let mut world = world_of(508, 2);
    let old = world.nodes[0].who.events.clone();
    let closes = world.head(0);
    let thief = thief(&mut world);
    recover(&mut world, 0, closes);
    world.connect(0, 1);
    world.run(30);
    let newcomer = world.add();
    // All it hears at first is the thief, who shows the chain as it was.
    world.introduce(newcomer, old);
    world.connect(newcomer, thief);
    world.author(thief, 3, 50);
    world.run(30);
    assert_eq!(identity_of(&world, newcomer, 0), (0, 0));
    assert_eq!(held(&world, newcomer, 0, 0).0, 13);
    world.connect(newcomer, 2);
    world.run(60);
    assert_eq!(identity_of(&world, newcomer, 0), (1, 1));
    assert_eq!(held(&world, newcomer, 0, 0), (10, 10));
    assert_eq!(held(&world, newcomer, 0, 1), (1, 1));
}

#[test]
fn whoever_lies_about_our_own_head_can_only_stay_silent() {
    let mut world = world_of(509, 1);
    world.corrupt(1, Role::OwnHeadLiar);
    world.crash(0);
    world.start(0);
    world.connect(0, 1);
    world.run(20);
    world.author(0, 1, 50);
    world.run(30);
    assert_eq!(world.signed(0, 0), 11, "the claim counted for nothing");
    assert_eq!(world.refusals(0, Refusal::Fork), 0);
}

#[test]
fn a_branch_whose_size_allows_no_proof_is_left_all_the_same() {
    let mut world = world_of(510, 2);
    let thief = thief(&mut world);
    world.cut(Partition::island(&[0, 1]));
    world.run(20);
    world.connect(thief, 2);
    // 16 entries: a power of two, from which consistency proofs leave out the old root.
    world.author(thief, 6, 50);
    world.author(0, 20, 50);
    world.run(60);
    assert_eq!(held(&world, 2, 0, 0), (16, 16));
    world.isolate(thief);
    world.heal();
    let closes = world.head(0);
    recover(&mut world, 0, closes);
    world.connect(0, 2);
    world.connect(0, 1);
    world.run(90);
    assert_eq!(held(&world, 2, 0, 0), (30, 30));
    assert!(world.agree(&[0, 1, 2]));
}

/// Two histories of node 0's log: node 1 holds the owner's, node 2 the thief's.
fn forked(seed: u64, partners: usize, sizes: (usize, usize)) -> (World, usize) {
    let mut world = world_of(seed, partners);
    world.cut(Partition::island(&[0, 1]));
    world.run(20);
    let thief = thief(&mut world);
    world.connect(thief, 2);
    world.author(thief, sizes.1, 50);
    world.author(0, sizes.0, 50);
    world.run(60);
    world.isolate(thief);
    world.crash(thief);
    world.heal();
    (world, thief)
}

fn convicted(world: &World, node: usize) -> usize {
    world.nodes[node].machine.as_ref().unwrap().evidence().count()
}

#[test]
fn evidence_of_a_fork_spreads_freezes_the_log_and_survives_a_restart() {
    for sizes in [(5, 5), (20, 5), (5, 20), (300, 700)] {
        let (mut world, _) = forked(540, 4, sizes);
        world.connect(1, 2);
        world.run(90);
        for node in 1..5 {
            assert!(convicted(&world, node) > 0, "{node} knows nothing of {sizes:?}");
            assert!(world.status(node, 0).unwrap().disputed, "{node} {sizes:?}");
        }
        let before = held(&world, 3, 0, 0);
        world.crash(3);
        world.start(3);
        assert!(world.status(3, 0).unwrap().disputed, "forgotten at a restart");
        // Whatever either side says now, nothing is added to what is in dispute.
        world.author(0, 1, 50);
        world.connect(0, 3);
        world.connect(3, 4);
        world.run(60);
        assert_eq!(held(&world, 3, 0, 0), before);
        let refused = world.nodes[0].author_refused.last().map(|(_, why)| *why);
        world.author(0, 1, 50);
        world.run(5);
        let now = world.nodes[0].author_refused.last().map(|(_, why)| *why).or(refused);
        assert_eq!(now, Some(AuthorRefusal::TwoHistories), "the author hears of it, too");
    }
}

#[test]
fn somebody_who_met_nobody_of_the_fork_learns_of_it_from_the_evidence_alone() {
    let (mut world, _) = forked(541, 3, (8, 3));
    world.connect(1, 2);
    world.run(60);
    let newcomer = world.add();
    world.connect(newcomer, 3);
    world.run(60);
    assert!(convicted(&world, newcomer) > 0);
    assert!(world.status(newcomer, 0).unwrap().disputed);
}

#[test]
fn a_rotation_or_a_recovery_ends_what_evidence_had_frozen() {
    let (mut world, _) = forked(542, 3, (8, 3));
    world.connect(1, 2);
    world.run(60);
    let closes = world.head(0);
    recover(&mut world, 0, closes);
    world.author(0, 2, 50);
    world.connect(0, 3);
    world.run(120);
    for node in 1..4 {
        let status = world.nodes[node].machine.as_ref().unwrap().logs();
        assert!(status.iter().all(|log| !log.disputed), "{node}");
        assert_eq!(held(&world, node, 0, 1), (3, 3), "{node}");
        assert!(convicted(&world, node) > 0, "{node}: it stays known that there was a fork");
    }
}

#[test]
fn evidence_that_proves_nothing_ends_the_session() {
    let mut world = world_of(543, 2);
    world.nodes[1].lie = Some(Box::new(|_, mut message| {
        if let Message::News(news) = &mut message {
            news.evidence = vec![b"they did it".to_vec()];
        }
        vec![message.encode()]
    }));
    world.isolate(2);
    world.connect(1, 2);
    world.run(20);
    assert_eq!(world.refusals(2, Refusal::BadEvidence), 1);
    assert_eq!(convicted(&world, 2), 0);
}

/// The sizes of the heads in the evidence that a node has.
fn heads_in_evidence(world: &World, node: usize) -> Vec<[u64; 2]> {
    let evidence = world.nodes[node].machine.as_ref().unwrap().evidence();
    let heads = evidence.map(|evidence| match evidence.finding() {
        Finding::Fork(fork) => fork.heads().each_ref().map(|head| head.checkpoint().size()),
        Finding::Identity(_) => panic!("no fork"),
    });
    heads.collect()
}

#[test]
fn a_fork_is_proven_by_whoever_holds_the_larger_branch_whatever_the_smaller_size() {
    // Where the smaller size is a power of two, no consistency proof shows it to a fetcher.
    for (number, smaller) in
        [11, 12, 15, 16, 31, 32, 64, 255, 256, 257, 512].into_iter().enumerate()
    {
        for larger in [smaller + 1, 2 * smaller, 3 * smaller + 5] {
            let sizes = (larger - 10, smaller - 10);
            let (mut world, _) = forked(700 + number as u64, 3, sizes);
            assert_eq!(world.happened.times(Event::Compared), 0, "nothing to compare so far");
            world.connect(1, 2);
            world.run(30);
            for node in 0..4 {
                assert_eq!(
                    heads_in_evidence(&world, node),
                    [[smaller as u64, larger as u64]],
                    "{node} of {smaller} and {larger}"
                );
                assert!(world.status(node, 0).unwrap().disputed, "{node} of {smaller}");
            }
            // Both branches stay where they are held, and nothing is added to either.
            assert_eq!(held(&world, 1, 0, 0).0, larger as u64);
            assert_eq!(held(&world, 2, 0, 0).0, smaller as u64);
            world.author(0, 1, 50);
            world.run(20);
            let refused = world.nodes[0].author_refused.last().map(|(_, why)| *why);
            assert_eq!(refused, Some(AuthorRefusal::TwoHistories));
        }
    }
}

#[test]
fn a_smaller_head_under_a_replaced_key_freezes_nothing() {
    let (mut world, thief) = forked(730, 3, (8, 6));
    rotate(&mut world, 0);
    world.author(0, 3, 50);
    world.connect(0, 1);
    world.run(20);
    assert_eq!(world.signed(1, 0), 21);
    // Node 2 has the thief's branch, under the old key, of which nothing is to be made.
    world.connect(1, 2);
    world.run(30);
    assert_eq!(heads_in_evidence(&world, 1), [[0; 2]; 0]);
    assert!(!world.status(1, 0).unwrap().disputed);
    world.start(thief);
    world.connect(thief, 1);
    world.run(20);
    assert_eq!(heads_in_evidence(&world, 1), [[0; 2]; 0]);
}

#[test]
fn old_heads_that_are_replayed_cost_a_bounded_number_of_reads_and_prove_nothing() {
    let mut world = World::new(731);
    world.add_many(3);
    let log = world.nodes[0].who.log();
    let mut old = Vec::new();
    for _ in 0..300 {
        world.author(0, 1, 20);
        world.run_for(20_000);
        old.push(world.nodes[0].disk.logs[&log].head.clone().unwrap().1);
    }
    world.connect(0, 2);
    world.run(20);
    assert_eq!(world.signed(2, 0), 300);
    world.connect(1, 2);
    world.run(2);
    let before = world.happened.times(Event::Compared);
    for head in &old {
        let head = Announcement { head: head.clone(), start: 0, entries: Vec::new() };
        world.gossip(1, 2, &head.encode());
    }
    world.run(1);
    let at_once = world.happened.times(Event::Compared) - before;
    assert!((1..=limits::COMPARISONS_PER_SECOND).contains(&at_once), "{at_once} in a second");
    world.run(60);
    let all = world.happened.times(Event::Compared) - before;
    assert!(all <= limits::COMPARISONS_PER_PEER as u64, "{all} of one peer at once");
    assert!(heads_in_evidence(&world, 2).is_empty() && !world.status(2, 0).unwrap().disputed);
    assert!(world.is_linked(1, 2), "it did nothing that others do not, too");
    world.assert_no_refusals();
}
