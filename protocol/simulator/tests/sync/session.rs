//! Greetings, news and cursors.

use tallystick_protocol::sync::Refusal;
use tallystick_protocol::sync::wire::{Hello, Message, News};

use tallystick_simulator::authority::Who;
use tallystick_simulator::world::World;

fn hello(world: &World, node: usize) -> Hello {
    Hello {
        network: tallystick_simulator::authority::network(),
        authority: world.nodes[node].who.authority(),
        run: [9; 16],
        cursor: None,
    }
}

fn ended_by(world: &World, refusal: Refusal) {
    assert_eq!(world.refusals(1, refusal), 1, "{:?}", world.nodes[1].refusals);
    assert!(!world.is_linked(0, 1));
}

#[test]
fn a_second_greeting_ends_the_session() {
    let mut world = World::new(60);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    world.inject(0, 1, Message::Hello(hello(&world, 0)).encode());
    world.run(1);
    ended_by(&world, Refusal::Protocol);
}

#[test]
fn a_greeting_from_another_network_ends_the_session() {
    let mut world = World::new(61);
    world.add_many(2);
    world.nodes[0].lie = Some(Box::new(|_, mut message| {
        if let Message::Hello(hello) = &mut message {
            hello.network = "elsewhere".parse().unwrap();
        }
        vec![message.encode()]
    }));
    world.connect(0, 1);
    world.run(1);
    ended_by(&world, Refusal::WrongNetwork);
}

#[test]
fn a_greeting_in_the_name_of_another_authority_ends_the_session() {
    let mut world = World::new(62);
    world.add_many(3);
    let other = world.nodes[2].who.authority();
    world.nodes[0].lie = Some(Box::new(move |_, mut message| {
        if let Message::Hello(hello) = &mut message {
            hello.authority = other;
        }
        vec![message.encode()]
    }));
    world.connect(0, 1);
    world.run(1);
    ended_by(&world, Refusal::WrongIdentity);
}

#[test]
fn a_stranger_in_the_name_of_a_partner_cannot_move_the_cursor_of_its_news() {
    let mut world = World::new(63);
    world.add_many(2);
    let partner = world.nodes[0].who.clone();
    world.connect(0, 1);
    world.run(40);
    let cursor = world.nodes[1].disk.cursors[&partner.authority()].clone();
    world.disconnect(0, 1);
    // Its node key is not one of the partner's.
    let stranger = world.add_node(Who::new(800), 0, false);
    let (authority, mut far) = (partner.authority(), cursor.clone());
    let at = far.len() - 6;
    far[at] = 1;
    world.nodes[stranger].lie = Some(Box::new(move |_, mut message| {
        match &mut message {
            Message::Hello(hello) => hello.authority = authority,
            Message::News(news) => {
                *news = News { cursor: far.clone(), ..News::default() };
            }
            _ => {}
        }
        vec![message.encode()]
    }));
    world.link(stranger, 1);
    world.run(60);
    assert_eq!(world.nodes[1].disk.cursors[&partner.authority()], cursor);
}

#[test]
fn a_bad_identity_ends_the_session_and_is_not_kept() {
    let mut world = World::new(64);
    world.add_many(3);
    let mut events = Who::new(700).events;
    let at = events[0].len() - 5;
    events[0][at] ^= 1;
    world.nodes[0].lie = Some(Box::new(move |_, mut message| {
        if let Message::News(news) = &mut message {
            news.identities.push(events.clone());
        }
        vec![message.encode()]
    }));
    world.connect(0, 1);
    world.run(1);
    ended_by(&world, Refusal::BadIdentity);
    assert_eq!(world.nodes[1].machine.as_ref().unwrap().authorities().count(), 2);
}

#[test]
fn a_peer_that_says_nothing_is_disconnected() {
    let mut world = World::new(65);
    world.add_many(2);
    world.nodes[0].lie = Some(Box::new(|_, _| Vec::new()));
    world.connect(0, 1);
    world.run(200);
    ended_by(&world, Refusal::Silent);
}

#[test]
fn a_peer_that_never_greets_is_disconnected_and_served_nothing() {
    let mut world = World::new(66);
    world.add_many(2);
    world.author(1, 3, 10);
    world.nodes[0].lie = Some(Box::new(|_, message| match message {
        Message::Hello(_) => Vec::new(),
        other => vec![other.encode()],
    }));
    world.connect(0, 1);
    world.run(1);
    let log = world.nodes[1].who.log();
    // News without a greeting, and a request.
    let news = News { cursor: vec![1], ..News::default() };
    world.inject(0, 1, Message::News(news).encode());
    world.inject(0, 1, Message::WantEntries { id: 1, log, start: 0, end: 3 }.encode());
    world.run(200);
    assert_eq!(world.bodies_sent(1, 0), 0);
    assert!(!world.is_linked(0, 1));
}

#[test]
fn a_question_before_the_greeting_ends_the_session() {
    let mut world = World::new(67);
    world.add_many(2);
    world.nodes[0].lie = Some(Box::new(|_, message| match message {
        Message::Hello(_) => vec![Message::Since { cursor: None }.encode()],
        other => vec![other.encode()],
    }));
    world.connect(0, 1);
    world.run(1);
    ended_by(&world, Refusal::Protocol);
}

#[test]
fn requests_beyond_what_is_stored_are_refused_and_nothing_else_happens() {
    let mut world = World::new(68);
    world.add_many(2);
    world.author(1, 300, 10);
    world.connect(0, 1);
    world.run(5);
    let (log, sent) = (world.nodes[1].who.log(), world.bodies_sent(1, 0));
    for (start, end) in [(0, 0), (5, 4), (0, 301), (200, 300), (300, 301), (u64::MAX, 0)] {
        world.inject(0, 1, Message::WantEntries { id: 7, log, start, end }.encode());
        world.inject(0, 1, Message::WantBodies { id: 7, log, start, end }.encode());
        world.inject(
            0,
            1,
            Message::WantOutline { id: 7, log, from: end + 1, size: start }.encode(),
        );
        world.inject(0, 1, Message::WantOutline { id: 7, log, from: 0, size: 301 }.encode());
    }
    world.run(2);
    assert_eq!(world.bodies_sent(1, 0), sent);
    assert!(world.is_linked(0, 1));
    world.assert_no_refusals();
}

#[test]
fn more_requests_than_are_served_at_once_are_refused() {
    let mut world = World::new(69);
    world.add_many(2);
    world.author(1, 256, 10);
    world.connect(0, 1);
    world.run(5);
    let (log, sent) = (world.nodes[1].who.log(), world.bodies_sent(1, 0));
    for id in 0..1_000 {
        world.inject(0, 1, Message::WantEntries { id, log, start: 0, end: 256 }.encode());
    }
    world.run(2);
    let served = (world.bodies_sent(1, 0) - sent) / 256;
    assert_eq!(served, tallystick_protocol::limits::LOADS_PER_PEER);
}

#[test]
fn answers_that_nobody_asked_for_are_ignored() {
    let mut world = World::new(70);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    let entries = Message::Entries { id: 5, headers: vec![vec![1]], bodies: vec![None] };
    world.inject(0, 1, entries.encode());
    world.inject(0, 1, Message::Refused { id: 5 }.encode());
    world.run(1);
    assert!(world.is_linked(0, 1));
    world.assert_no_refusals();
}

#[test]
fn a_new_session_takes_the_place_of_the_old_one() {
    let mut world = World::new(71);
    world.add_many(2);
    world.author(0, 3_000, 200);
    world.run(1);
    for _ in 0..6 {
        world.connect(0, 1);
        world.run_up_to(1, |world| world.bodies_sent(0, 1) > 0);
        world.disconnect(0, 1);
    }
    world.connect(0, 1);
    world.run(5);
    assert!(world.agree(&[0, 1]));
    world.assert_no_refusals();
}

#[test]
fn a_cursor_of_another_store_is_read_from_the_beginning() {
    let mut world = World::new(72);
    world.add_many(2);
    world.author(0, 5, 10);
    world.connect(0, 1);
    world.run(40);
    world.disconnect(0, 1);
    world.run(1);
    // The author's store is made anew from its journal, and counts from one again.
    world.crash(0);
    world.nodes[0].disk.incarnation = [90; 16];
    world.start(0);
    world.author(0, 1, 10);
    world.run(1);
    world.connect(0, 1);
    world.run(20);
    assert_eq!(world.signed(1, 0), 6);
}
