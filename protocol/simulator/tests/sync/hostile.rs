//! Partners that lie, withhold, replay and equivocate.

use tallystick_protocol::checkpoint::{self, Checkpoint, Origin};
use tallystick_protocol::id::Hash;
use tallystick_protocol::limits;
use tallystick_protocol::log::leaf_hash;
use tallystick_protocol::sync::wire::{Announcement, Message};
use tallystick_protocol::sync::{Notice, Refusal};

use tallystick_simulator::authority::{self, Who};
use tallystick_simulator::node::Lie;
use tallystick_simulator::world::World;

fn lie(mut change: impl FnMut(Message) -> Vec<Message> + 'static) -> Lie {
    Box::new(move |_, message| change(message).iter().map(Message::encode).collect())
}

fn flip(bytes: &mut [u8]) {
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
}

/// 1 lies about the log of 0 to 2, who hears the same of 0 a little later.
fn deceived(change: impl FnMut(Message) -> Vec<Message> + 'static) -> World {
    let mut world = World::new(20);
    world.add_many(3);
    world.author(0, 1_500, 100);
    world.run(1);
    world.connect(0, 1);
    world.run(5);
    assert!(world.agree(&[0, 1]));
    world.disconnect(0, 1);
    world.nodes[1].lie = Some(lie(change));
    world.connect(1, 2);
    world.run(1);
    assert_eq!(world.signed(2, 0), 0, "the lie was believed");
    world.connect(0, 2);
    world.run(20);
    assert_eq!(world.signed(2, 0), 1_500, "the truth did not help");
    world
}

fn is_refused_and_another_serves(
    refusal: Refusal,
    change: impl FnMut(Message) -> Vec<Message> + 'static,
) {
    let world = deceived(change);
    assert!(world.refusals(2, refusal) > 0, "{:?}", world.nodes[2].refusals);
    assert_eq!(world.nodes[2].refusals.len(), 1, "{:?}", world.nodes[2].refusals);
    assert_eq!(world.is_linked(1, 2), !refusal.is_peers_fault());
}

#[test]
fn invariant_1_a_changed_header_is_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::BadEntries, |mut message| {
        if let Message::Entries { headers, .. } = &mut message {
            flip(&mut headers[0]);
        }
        vec![message]
    });
}

#[test]
fn invariant_1_a_changed_body_is_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::BadEntries, |mut message| {
        if let Message::Entries { bodies, .. } = &mut message {
            flip(bodies.last_mut().unwrap().as_mut().unwrap());
        }
        vec![message]
    });
}

#[test]
fn a_list_of_headers_that_is_too_short_is_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::BadEntries, |mut message| {
        if let Message::Entries { headers, bodies, .. } = &mut message {
            headers.pop();
            bodies.pop();
        }
        vec![message]
    });
}

#[test]
fn more_bodies_than_headers_are_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::BadEntries, |mut message| {
        if let Message::Entries { bodies, .. } = &mut message
            && bodies.len() < limits::FRAME_ENTRIES
        {
            bodies.push(Some(vec![1]));
        }
        vec![message]
    });
}

#[test]
fn a_wrong_outline_is_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::BadOutline, |mut message| {
        if let Message::OutlinePage(page) = &mut message {
            page.subtrees[1] = leaf_hash(b"something else");
        }
        vec![message]
    });
}

#[test]
fn an_outline_that_is_too_short_is_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::BadOutline, |mut message| {
        if let Message::OutlinePage(page) = &mut message {
            page.subtrees.pop();
        }
        vec![message]
    });
}

#[test]
fn entries_for_an_outline_are_refused_and_another_serves() {
    is_refused_and_another_serves(Refusal::Protocol, |message| match message {
        Message::OutlinePage(page) => {
            vec![Message::Entries { id: page.id, headers: vec![vec![1]], bodies: vec![None] }]
        }
        other => vec![other],
    });
}

#[test]
fn an_outline_for_entries_is_refused_and_another_serves() {
    let mut pages = None;
    is_refused_and_another_serves(Refusal::Protocol, move |message| match message {
        Message::OutlinePage(page) => {
            pages = Some(page.clone());
            vec![Message::OutlinePage(page)]
        }
        Message::Entries { id, .. } => {
            let mut page = pages.clone().unwrap();
            page.id = id;
            vec![Message::OutlinePage(page)]
        }
        other => vec![other],
    });
}

#[test]
fn withheld_bodies_are_fetched_from_another() {
    is_refused_and_another_serves(Refusal::AbsentBody, |mut message| {
        if let Message::Entries { bodies, .. } = &mut message {
            bodies.iter_mut().for_each(|body| *body = None);
        }
        vec![message]
    });
}

#[test]
fn a_partner_that_announces_and_refuses_to_serve_does_not_stop_anything() {
    let world = deceived(|message| match message {
        Message::OutlinePage(page) => vec![Message::Refused { id: page.id }],
        other => vec![other],
    });
    assert!(world.is_linked(1, 2));
    world.assert_no_refusals();
}

#[test]
fn a_partner_that_does_not_answer_loses_its_requests() {
    let world = deceived(|message| match message {
        Message::Entries { .. } => Vec::new(),
        other => vec![other],
    });
    let stalled = |notice: &&Notice| matches!(notice, Notice::Stalled { .. });
    assert_eq!(world.nodes[2].notices.iter().filter(stalled).count(), 1);
    world.assert_no_refusals();
}

#[test]
fn headers_without_bodies_are_completed_by_others() {
    let mut first = true;
    let world = deceived(move |message| match message {
        // The first answer brings headers only, as if bodies were too large; the rest is silence.
        Message::Entries { id, headers, .. } if first && !headers.is_empty() => {
            first = false;
            vec![Message::Entries { id, headers, bodies: Vec::new() }]
        }
        Message::Entries { .. } => Vec::new(),
        other => vec![other],
    });
    world.assert_no_refusals();
}

#[test]
fn a_partner_that_refused_once_is_asked_again() {
    let mut world = World::new(21);
    world.add_many(2);
    world.author(0, 600, 100);
    world.run(1);
    let mut times = 3;
    world.nodes[0].lie = Some(lie(move |message| match message {
        Message::OutlinePage(page) if times > 0 => {
            times -= 1;
            vec![Message::Refused { id: page.id }]
        }
        other => vec![other],
    }));
    world.connect(0, 1);
    world.run(12);
    assert_eq!(world.signed(1, 0), 600);
}

#[test]
fn a_malformed_or_oversized_frame_ends_the_session() {
    for frame in [vec![0xff; 10], vec![0; limits::FRAME_BYTES + 1], Vec::new()] {
        let mut world = World::new(22);
        world.add_many(2);
        world.connect(0, 1);
        world.run(1);
        world.inject(0, 1, frame);
        world.run(1);
        assert_eq!(world.refusals(1, Refusal::MalformedFrame), 1);
        assert!(!world.is_linked(0, 1));
    }
}

#[test]
fn frames_of_an_unknown_type_are_skipped() {
    let mut world = World::new(23);
    world.add_many(2);
    world.connect(0, 1);
    world.run(1);
    world.inject(0, 1, vec![0x82, 0x18, 99, 0x00]);
    world.run(1);
    assert!(world.is_linked(0, 1));
    world.assert_no_refusals();
}

fn signed(who: &Who, key_of: &Who, size: u64, root: Hash) -> Vec<u8> {
    let origin = Origin::public(&authority::network(), &who.authority(), 0);
    let head = Checkpoint::new(origin, size, root).unwrap();
    checkpoint::sign(&head, &key_of.log_key()).unwrap().to_bytes()
}

#[test]
fn a_head_by_a_key_that_nobody_knows_changes_nothing() {
    let mut world = World::new(24);
    world.add_many(3);
    world.connect(0, 2);
    world.author(0, 3, 10);
    world.run(1);
    let note = signed(&world.nodes[0].who, &world.nodes[1].who, 9, leaf_hash(b"x"));
    world.nodes[1].lie = Some(lie(move |mut message| {
        if let Message::News(news) = &mut message {
            news.heads = vec![note.clone()];
        }
        vec![message]
    }));
    world.connect(1, 2);
    world.run(5);
    // Its author may have named the key in an event that has not come yet.
    assert!(world.refusals(2, Refusal::UnknownAuthor) > 0);
    assert!(world.is_linked(1, 2));
    assert_eq!(world.signed(2, 0), 3);
}

#[test]
fn stale_heads_change_nothing() {
    let mut world = World::new(25);
    world.add_many(3);
    world.author(0, 2, 10);
    world.run(1);
    let log = world.nodes[0].who.log();
    let stale = world.nodes[0].disk.logs[&log].head.clone().unwrap().1;
    world.connect(0, 2);
    world.author(0, 4, 10);
    world.run(2);
    assert_eq!(world.signed(2, 0), 6);
    let note = stale.clone();
    world.nodes[1].lie = Some(lie(move |mut message| {
        if let Message::News(news) = &mut message {
            news.heads = vec![note.clone()];
        }
        vec![message]
    }));
    world.connect(1, 2);
    let old = Announcement { head: stale, start: 0, entries: Vec::new() };
    world.run(2);
    world.gossip(1, 2, &old.encode());
    world.run(20);
    assert_eq!(world.signed(2, 0), 6);
    assert!(world.is_linked(1, 2));
    world.assert_no_refusals();
}

#[test]
fn invariant_1_gossip_with_entries_that_are_not_those_signed_is_not_believed() {
    let mut world = World::new(26);
    world.add_many(3);
    world.connect(0, 2);
    world.connect(1, 2);
    world.author(0, 2, 10);
    world.run(2);
    let (good, other) = (world.entry(10), world.entry(10));
    let log = world.nodes[0].who.log();
    let mut tree = world.nodes[0].disk.logs[&log].tree.clone();
    tree.push(good.leaf());
    let head = signed(&world.nodes[0].who, &world.nodes[0].who, 3, tree.root());
    // Another entry than the signed one: nobody's proven fault, and not stored.
    let forged = Announcement { head: head.clone(), start: 2, entries: vec![other.into_bytes()] };
    world.gossip(1, 2, &forged.encode());
    world.run(1);
    assert_eq!(world.refusals(2, Refusal::Inconsistent), 1);
    assert_eq!(world.signed(2, 0), 2);
    // The signed entry with a changed body: the sender's fault.
    let (header, body) = good.into_bytes();
    let mut body = body.unwrap();
    flip(&mut body);
    let forged = Announcement { head, start: 2, entries: vec![(header, Some(body))] };
    world.gossip(1, 2, &forged.encode());
    world.run(1);
    assert_eq!(world.signed(2, 0), 2);
    world.gossip(1, 2, &[1, 2, 3]);
    world.run(1);
    assert_eq!(world.refusals(2, Refusal::MalformedFrame), 1);
}

/// Two nodes under one key with two histories, each with a follower; then the followers meet.
fn equivocate(before: usize, left: usize, right: usize) -> World {
    let mut world = World::new(27);
    let followers = world.add_many(2);
    let liar = Who::new(900);
    let one = world.add_node(liar.clone(), 0, false);
    world.connect(one, followers[0]);
    world.connect(one, followers[1]);
    if before > 0 {
        world.author(one, before, 10);
    }
    world.run(20);
    world.disconnect(one, followers[1]);
    let other = world.add_node(liar, 1, false);
    world.crash(other);
    let mut copy = world.nodes[one].disk.clone();
    copy.incarnation = [77; 16];
    world.nodes[other].disk = copy;
    world.start(other);
    world.connect(other, followers[1]);
    world.author(one, left, 10);
    world.author(other, right, 10);
    world.run(20);
    assert_eq!(world.signed(0, one), (before + left) as u64);
    assert_eq!(world.signed(1, one), (before + right) as u64);
    world.isolate(one);
    world.isolate(other);
    world.connect(0, 1);
    world.run(40);
    world
}

/// Both found the fork themselves, and did not only hear of it.
fn both_keep_their_branch(world: &World, left: u64, right: u64) {
    for (node, size) in [(0, left), (1, right)] {
        let status = world.status(node, 2).unwrap();
        assert_eq!(status.signed, size);
        assert!(status.disputed, "node {node}");
        assert!(world.refusals(node, Refusal::Fork) > 0, "node {node}");
    }
    assert!(world.is_linked(0, 1), "the followers did nothing wrong");
}

#[test]
fn two_heads_of_one_size_are_a_fork_and_both_branches_stay() {
    let world = equivocate(5, 3, 3);
    both_keep_their_branch(&world, 8, 8);
}

#[test]
fn a_fork_of_two_sizes_is_proven_by_the_consistency_proof() {
    let world = equivocate(300, 20, 700);
    both_keep_their_branch(&world, 320, 1_000);
}

#[test]
fn a_disputed_log_is_not_extended_any_more() {
    let mut world = equivocate(5, 3, 3);
    world.author(2, 3, 10);
    world.connect(2, 0);
    world.run(40);
    assert_eq!(world.status(0, 2).unwrap().signed, 8);
    assert_eq!(world.status(0, 2).unwrap().behind, None);
}

#[test]
fn a_fork_between_two_announced_heads_shows_before_anything_is_fetched() {
    let mut world = equivocate(0, 900, 900);
    let third = world.add();
    world.loss = 100;
    for follower in [0, 1] {
        world.nodes[follower].lie = Some(lie(|message| match message {
            Message::OutlinePage(_) | Message::Entries { .. } => Vec::new(),
            other => vec![other],
        }));
        world.connect(follower, third);
    }
    world.run(5);
    assert!(world.nodes[third].machine.as_ref().unwrap().evidence().count() > 0);
    assert!(world.status(third, 2).unwrap().disputed);
    assert_eq!(world.status(third, 2).unwrap().size, 0);
}

#[test]
fn lines_of_strangers_on_a_head_are_not_kept() {
    let mut world = World::new(28);
    world.add_many(3);
    world.author(0, 3, 10);
    world.run(1);
    let log = world.nodes[0].who.log();
    let clean = world.nodes[0].disk.logs[&log].head.clone().unwrap().1;
    let mut padded = String::from_utf8(clean.clone()).unwrap();
    for n in 0..20 {
        let line = stranger_line(n);
        padded.push_str(&line);
    }
    world.connect(0, 1);
    world.run(2);
    world.nodes[1].lie = Some(lie(move |mut message| {
        if let Message::News(news) = &mut message {
            news.heads.iter_mut().for_each(|head| *head = padded.clone().into_bytes());
        }
        vec![message]
    }));
    world.connect(1, 2);
    world.run(3);
    assert_eq!(world.nodes[2].disk.logs[&log].head, Some((3, clean)));
    world.assert_no_refusals();
}

/// A well-formed signature line by nobody we know.
fn stranger_line(n: u8) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.encode([n; 68]);
    format!("\u{2014} stranger.example/{n} {bytes}\n")
}
