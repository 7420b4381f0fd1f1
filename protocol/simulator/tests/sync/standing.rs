//! Peers that misbehave: scored down, shown out, let back; shares of our work.

use tallystick_protocol::entry::Entry;
use tallystick_protocol::limits;
use tallystick_protocol::sync::wire::{Message, News};
use tallystick_protocol::sync::{Notice, Refusal, StandingStatus};

use tallystick_simulator::authority::Who;
use tallystick_simulator::world::World;

fn standings(world: &World, node: usize) -> Vec<StandingStatus> {
    world.nodes[node].machine.as_ref().unwrap().standings()
}

/// Node 0 sends garbage to node 1 and comes back, until it is refused.
fn banned(world: &mut World) -> StandingStatus {
    for _ in 0..10 {
        world.connect(0, 1);
        world.run(1);
        world.inject(0, 1, vec![0xff; 10]);
        world.run(1);
        let found = standings(world, 1).into_iter().find(|standing| standing.until.is_some());
        if let Some(standing) = found {
            return standing;
        }
    }
    panic!("never refused");
}

#[test]
fn a_peer_that_goes_on_misbehaving_is_refused_named_and_let_back() {
    let mut world = World::new(80);
    world.add_many(3);
    let standing = banned(&mut world);
    assert_eq!(standing.node, world.nodes[0].id);
    assert_eq!(standing.authority, Some(world.nodes[0].who.authority()));
    assert_eq!((standing.reason, standing.faults), (Refusal::MalformedFrame, 3));
    assert!(standing.score >= limits::BAN_POINTS);
    let told = |notice: &&Notice| matches!(notice, Notice::Banned { .. });
    assert_eq!(world.nodes[1].notices.iter().filter(told).count(), 1);
    // Coming back at once is of no use, and does not count again.
    for _ in 0..5 {
        world.link(0, 1);
        world.run(1);
        assert!(!world.is_linked(0, 1));
    }
    assert_eq!(standings(&world, 1)[0].faults, 3);
    // Others are served meanwhile.
    world.author(1, 300, 100);
    world.connect(2, 1);
    world.run(5);
    assert_eq!(world.signed(2, 1), 300);
    world.run(60);
    assert_eq!(standings(&world, 1)[0].until, None);
    world.author(0, 5, 100);
    world.link(0, 1);
    world.run(5);
    assert_eq!(world.signed(1, 0), 5, "let back");
    world.run(1_800);
    assert_eq!(standings(&world, 1), [], "forgiven");
}

#[test]
fn gossip_of_a_refused_peer_is_not_looked_at() {
    let mut world = World::new(81);
    world.add_many(3);
    banned(&mut world);
    let before = world.refusals(1, Refusal::MalformedFrame);
    world.connect(2, 1);
    world.gossip(0, 1, &[1, 2, 3]);
    world.run(1);
    assert_eq!(world.refusals(1, Refusal::MalformedFrame), before);
}

#[test]
fn bad_gossip_counts_against_whoever_passed_it_on() {
    let mut world = World::new(82);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    for number in 0..3 {
        assert!(world.is_linked(0, 1));
        world.gossip(0, 1, &[0xff, number]);
        world.run(1);
    }
    assert!(!world.is_linked(0, 1));
    assert_eq!(standings(&world, 1)[0].reason, Refusal::MalformedFrame);
    assert!(standings(&world, 1)[0].until.is_some());
}

#[test]
fn a_partner_that_asks_at_full_speed_is_slowed_down_and_others_are_served() {
    let mut world = World::new(83);
    world.add_many(3);
    world.author(0, 2_000, 100);
    world.run(2);
    let log = world.nodes[0].who.log();
    world.connect(1, 0);
    world.run(5);
    world.traffic.clear();
    let request = Message::WantEntries { id: 1, log, start: 0, end: 256 }.encode();
    // 100,000 requests in ten seconds, without waiting for answers.
    for second in 0..10 {
        (0..10_000).for_each(|_| world.inject(1, 0, request.clone()));
        if second == 5 {
            world.connect(2, 0);
        }
        world.run(1);
    }
    assert!(world.signed(2, 0) == 2_000, "the other was served meanwhile");
    assert_eq!(standings(&world, 0), [], "asking is no fault");
    let served = world.bodies_sent(0, 1);
    // Its share, and what it may pay dearly for in 15 seconds; it asked for 25 million.
    let dear = (limits::WORK_BURST + 15 * limits::WORK_PER_SECOND) as usize / 33;
    assert!(served < 70_000 + 256 * dear, "{served} bodies");
    assert!(served > 70_000, "{served} bodies");
    assert!(world.is_linked(0, 1));
}

#[test]
fn invariant_7_one_peer_cannot_fill_the_table_of_authorities() {
    let mut world = World::new(84);
    world.add_many(2);
    let made_up = 10_000..10_500 + limits::INTRODUCTIONS as u16;
    let mut chains = made_up.map(|number| Who::new(number).events);
    world.nodes[0].lie = Some(Box::new(move |_, message| match message {
        Message::News(news) => {
            let identities: Vec<_> = chains.by_ref().take(500).collect();
            let more = !identities.is_empty();
            vec![Message::News(News { identities, more, ..news }).encode()]
        }
        other => vec![other.encode()],
    }));
    world.connect(0, 1);
    world.run(60);
    let known = |world: &World| world.nodes[1].machine.as_ref().unwrap().authorities().count();
    // Its own and its partner's came by card.
    assert_eq!(known(&world), limits::INTRODUCTIONS + 2);
    assert!(world.refusals(1, Refusal::TooManyAuthorities) > 0);
    assert!(world.is_linked(0, 1), "it may be honest, and large");
    let third = world.add();
    world.connect(third, 1);
    world.author(third, 3, 10);
    world.run(3);
    assert_eq!(world.signed(1, third), 3, "there is room for cards");
}

#[test]
fn a_fault_seen_by_the_driver_counts() {
    let mut world = World::new(85);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    let peer = world.nodes[0].id;
    world.misbehaved(1, peer, Refusal::TooFast);
    world.run(1);
    assert!(!world.is_linked(0, 1));
    assert_eq!(standings(&world, 1)[0].reason, Refusal::TooFast);
}

#[test]
fn an_entry_by_a_refused_author_still_arrives_through_others() {
    let mut world = World::new(86);
    world.add_many(3);
    banned(&mut world);
    let entry: Entry = world.entry(50);
    world.author_entries(0, vec![entry]);
    world.connect(0, 2);
    world.connect(2, 1);
    world.run(5);
    assert_eq!(world.signed(1, 0), 1);
}
