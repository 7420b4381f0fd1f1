//! Catch-up over the sync stream.

use std::cell::Cell;
use std::rc::Rc;

use tallystick_protocol::sync::wire::Message;
use tallystick_simulator::world::World;

fn catches_up(entries: usize, from: usize) {
    let mut world = World::new(entries as u64);
    world.add_many(2);
    if from > 0 {
        world.author(0, from, 40);
    }
    world.run(1);
    world.connect(0, 1);
    world.run(3);
    assert_eq!(world.signed(1, 0), from as u64);
    world.disconnect(0, 1);
    world.author(0, entries - from, 40);
    world.run(1);
    world.connect(0, 1);
    world.run_up_to(20, |world| world.signed(1, 0) == entries as u64);
    assert!(world.agree(&[0, 1]), "{from} to {entries}");
    assert_eq!(world.bodies_sent(0, 1), entries, "nothing was sent twice");
    world.assert_no_refusals();
}

#[test]
fn logs_of_every_size_around_a_subtree_are_caught_up() {
    for entries in [1, 255, 256, 257, 511, 512, 513] {
        catches_up(entries, 0);
    }
}

#[test]
fn logs_are_continued_from_every_size_around_a_subtree() {
    for from in [1, 255, 256, 257, 511] {
        for more in [1, 255, 256, 257] {
            catches_up(from + more, from);
        }
    }
}

#[test]
fn five_thousand_entries_are_caught_up() {
    catches_up(5_000, 1_300);
}

#[test]
fn an_empty_log_is_nothing_to_catch_up_with() {
    let mut world = World::new(1);
    world.add_many(2);
    world.connect(0, 1);
    world.run(40);
    assert!(world.agree(&[0, 1]));
    assert_eq!(world.status(1, 0), None);
}

#[test]
fn thirty_two_authors_are_caught_up_through_one_hub() {
    let mut world = World::new(32);
    world.add_many(34);
    for author in 1..33 {
        world.author(author, 20 + author * 3, 60);
        world.run(1);
        world.connect(0, author);
        world.run_up_to(5, |world| world.signed(0, author) > 0);
        world.disconnect(0, author);
    }
    world.connect(0, 33);
    let took = world.run_up_to(40, |world| world.agree(&[0, 33]));
    assert!(took < 5, "took {took} seconds");
    assert_eq!(world.signed(33, 32), 116);
    world.assert_no_refusals();
}

#[test]
fn more_logs_than_are_worked_on_at_once_and_news_of_many_pages_are_all_read() {
    let mut world = World::new(8);
    world.add_many(2);
    world.fill(0, 600, 10);
    world.connect(0, 1);
    let took = world.run_up_to(60, |world| world.nodes[1].disk.logs.len() == 600);
    assert!(took < 10, "took {took} seconds");
    assert!(world.agree(&[0, 1]));
    // 1,200 heads and identities are more than one frame of news carries.
    assert_eq!(world.nodes[1].disk.logs.len(), 600);
    assert_eq!(world.nodes[1].machine.as_ref().unwrap().authorities().count(), 602);
    world.assert_no_refusals();
}

#[test]
fn an_interrupted_catch_up_goes_on_without_fetching_anything_twice() {
    let mut world = World::new(9);
    world.add_many(2);
    world.author(0, 5_000, 900);
    world.run(1);
    world.nodes[1].disk.delay = 20_000;
    world.connect(0, 1);
    let log = world.nodes[0].who.log();
    let stored =
        |world: &World| world.nodes[1].disk.logs.get(&log).map_or(0, |log| log.entries.len());
    world.run_up_to(20, |world| stored(world) >= 1_500);
    world.crash(1);
    let kept = stored(&world);
    assert!((1_500..5_000).contains(&kept), "{kept}");
    assert_eq!(world.signed(1, 0), 0, "no head covers a part");
    world.bodies.clear();
    world.start(1);
    world.connect(0, 1);
    world.run(10);
    assert_eq!(world.signed(1, 0), 5_000);
    assert_eq!(world.bodies_sent(0, 1), 5_000 - kept);
    assert!(world.agree(&[0, 1]));
}

#[test]
fn a_lost_connection_costs_only_what_was_on_its_way() {
    let mut world = World::new(10);
    world.add_many(2);
    world.author(0, 5_000, 500);
    world.run(1);
    world.connect(0, 1);
    let log = world.nodes[0].who.log();
    let stored =
        |world: &World| world.nodes[1].disk.logs.get(&log).map_or(0, |log| log.entries.len());
    for part in 1..5 {
        world.run_up_to(20, |world| stored(world) >= part * 1_000);
        world.disconnect(0, 1);
        world.connect(0, 1);
    }
    world.run(10);
    assert!(world.agree(&[0, 1]));
    // Sixteen subtrees are asked of one peer at a time.
    assert!(world.bodies_sent(0, 1) <= 5_000 + 4 * 17 * 256);
}

#[test]
fn several_partners_each_serve_a_share() {
    let mut world = World::new(11);
    world.add_many(4);
    world.author(0, 5_000, 400);
    world.run(1);
    world.connect(0, 1);
    world.connect(0, 2);
    world.run(20);
    assert!(world.agree(&[0, 1, 2]));
    world.spread = 1;
    for partner in 0..3 {
        world.connect(3, partner);
    }
    world.run(5);
    assert!(world.agree(&[0, 3]));
    let shares: Vec<usize> = (0..3).map(|partner| world.bodies_sent(partner, 3)).collect();
    assert_eq!(shares.iter().sum::<usize>(), 5_000);
    assert!(shares.iter().all(|share| *share > 1_000), "{shares:?}");
}

#[test]
fn a_partner_with_an_older_head_serves_what_it_has() {
    let mut world = World::new(12);
    world.add_many(3);
    world.author(0, 4_000, 100);
    world.connect(0, 1);
    world.run(5);
    world.disconnect(0, 1);
    world.author(0, 100, 100);
    world.run(1);
    world.connect(2, 0);
    world.connect(2, 1);
    world.run(5);
    assert_eq!(world.signed(2, 0), 4_100);
    assert!(world.bodies_sent(1, 2) > 1_000, "{}", world.bodies_sent(1, 2));
}

#[test]
fn nothing_new_costs_one_round_trip_of_less_than_a_kilobyte() {
    let mut world = World::new(13);
    world.add_many(6);
    for other in 1..6 {
        world.author(other, 10, 100);
        world.connect(0, other);
    }
    world.run(60);
    world.disconnect(0, 1);
    world.run(1);
    world.crash(1);
    world.start(1);
    world.traffic.clear();
    world.connect(0, 1);
    world.run(10);
    let (there, back) = (world.traffic[&(0, 1)], world.traffic[&(1, 0)]);
    assert_eq!((there.1, back.1), (2, 2), "a greeting and an answer each");
    assert!(there.0 + back.0 < 1_000, "{there:?} {back:?}");
}

#[test]
fn after_a_short_visit_nothing_is_told_a_second_time() {
    let mut world = World::new(24);
    let all = world.add_many(12);
    for node in 1..12 {
        world.author(node, 20, 100);
        world.connect(1, node);
    }
    world.run(20);
    world.connect(0, 1);
    // Long before the partner would be asked again.
    world.run_up_to(5, |world| world.agree(&all));
    world.run(1);
    for node in [0, 1] {
        world.isolate(node);
    }
    world.run(1);
    world.traffic.clear();
    world.link(0, 1);
    world.run(5);
    let (there, back) = (world.traffic[&(0, 1)], world.traffic[&(1, 0)]);
    assert!(there.0 + back.0 < 1024, "{there:?} {back:?}");
    assert_eq!(there.1 + back.1, 4, "a greeting and its answer each way");
}

#[test]
fn what_a_partner_told_is_not_told_back_to_it() {
    let mut world = World::new(25);
    let all = world.add_many(12);
    for node in 2..12 {
        world.author(node, 20, 100);
        world.connect(1, node);
    }
    world.run(20);
    let told = Rc::new(Cell::new((0, 0)));
    let counted = Rc::clone(&told);
    world.nodes[0].lie = Some(Box::new(move |_, message| {
        if let Message::News(news) = &message {
            let (heads, identities) = counted.get();
            counted.set((heads + news.heads.len(), identities + news.identities.len()));
        }
        vec![message.encode()]
    }));
    world.connect(0, 1);
    world.run_up_to(5, |world| world.agree(&all));
    // Time for changes to be told, and for a question.
    world.run(20);
    assert_eq!(world.signed(0, 2), 20);
    assert_eq!(told.get(), (0, 2), "its own identity, and that of the card");
}

#[test]
fn a_subtree_of_large_bodies_spans_many_frames() {
    let mut world = World::new(14);
    world.add_many(2);
    world.author(0, 40, (1 << 20) - 200);
    world.author(0, 20, 400_000);
    world.run(2);
    world.connect(0, 1);
    world.run(30);
    assert_eq!(world.signed(1, 0), 60);
    assert_eq!(world.bodies_sent(0, 1), 60);
    world.assert_no_refusals();
}

#[test]
fn entries_that_only_a_vanished_head_covered_get_the_head_that_is_left() {
    let mut world = World::new(15);
    world.add_many(3);
    world.author(0, 300, 100);
    world.connect(0, 1);
    world.run(3);
    world.disconnect(0, 1);
    world.author(0, 4_700, 500);
    world.run(1);
    // The third fetches some of it of the author, who then is gone for good.
    world.nodes[2].disk.delay = 20_000;
    world.connect(0, 2);
    let log = world.nodes[0].who.log();
    world.run_up_to(10, |world| {
        world.nodes[2].disk.logs.get(&log).is_some_and(|log| log.entries.len() > 600)
    });
    world.crash(0);
    world.run(1);
    assert_eq!(world.signed(2, 0), 0);
    world.connect(1, 2);
    world.run(40);
    assert_eq!(world.signed(2, 0), 300);
    assert_eq!(world.signed(1, 0), 300);
    // And when the author is back, everybody goes on.
    world.start(0);
    world.connect(0, 2);
    world.run(60);
    assert!(world.agree(&[0, 1, 2]));
}

#[test]
fn a_head_does_not_come_in_an_earlier_frame_than_the_chain_it_needs() {
    let mut world = World::new(17);
    world.add_many(2);
    world.author(1, 3, 50);
    world.connect(0, 1);
    world.run(5);
    // Many frames of news lie between the head and the chain, which has changed since.
    world.isolate(1);
    world.fill(0, 1_500, 20);
    let renamed = world.nodes[1].who.renamed("Borough 1, as it is called now");
    world.assume(1, renamed.clone());
    world.introduce(0, renamed.events);
    world.run(2);
    world.crash(1);
    let newcomer = world.add();
    world.connect(0, newcomer);
    world.run(60);
    assert_eq!(world.signed(newcomer, 1), 3);
    world.assert_no_refusals();
}
