//! Random schedules: topology, authors, sizes, disconnects, crashes, lost
//! gossip and slow disks by seed. Whatever happens, in the end all agree
//! (invariant 4), nothing was stored that was not signed (1), nobody signed two
//! histories (2) and what was acknowledged is there (5).

use tallystick_protocol::sync::Verified;
use tallystick_simulator::chance::Chance;
use tallystick_simulator::world::World;

/// One run; gives the hash of everything that happened.
fn run(seed: u64) -> [u8; 32] {
    run_in(World::new(seed), seed)
}

fn run_in(mut world: World, seed: u64) -> [u8; 32] {
    let mut rng = Chance::new(seed);
    let nodes = world.add_many(2 + rng.below(5) as usize);
    world.loss = rng.below(60);
    let mut links = vec![];
    for node in 1..nodes.len() {
        // A tree, so that all are connected, and some links more.
        links.push((rng.below(node as u64) as usize, node));
    }
    for _ in 0..rng.below(4) {
        let (a, b) =
            (rng.below(nodes.len() as u64) as usize, rng.below(nodes.len() as u64) as usize);
        if a != b {
            links.push((a, b));
        }
    }
    for node in &nodes {
        world.nodes[*node].disk.delay = 1 + rng.below(300_000);
        world.nodes[*node].hears_gossip = !rng.percent(20);
    }
    let mut authored = vec![0; nodes.len()];
    for _ in 0..20 {
        let node = rng.below(nodes.len() as u64) as usize;
        match rng.below(10) {
            0..=3 => world.author(node, 1 + rng.below(6) as usize, rng.below(300) as usize),
            4 => world.author(node, 1 + rng.below(300) as usize, 10),
            5 => {
                let (a, b) = links[rng.below(links.len() as u64) as usize];
                world.disconnect(a, b);
            }
            6 => {
                world.crash(node);
                world.run_up_to(rng.below(3), |_| false);
                world.start(node);
            }
            _ => {
                let (a, b) = links[rng.below(links.len() as u64) as usize];
                world.connect(a, b);
            }
        }
        let until = world.now() + rng.below(2_000_000);
        world.run_up_to(3, |world| world.now() >= until);
        for (node, count) in authored.iter_mut().enumerate() {
            let acknowledged =
                world.nodes[node].authored.iter().map(|(_, start, n, _)| start + *n as u64);
            *count = acknowledged.max().unwrap_or(0).max(*count);
        }
    }
    for (a, b) in &links {
        world.connect(*a, *b);
    }
    let took = world.run_up_to(120, |world| {
        world.agree(&nodes) && {
            nodes.iter().all(|node| world.signed(*node, *node) >= authored[*node])
        }
    });
    assert!(took < 100, "seed {seed}: no agreement");
    // Nothing is left that goes on and on.
    world.run(20);
    assert!(world.agree(&nodes), "seed {seed}");
    world.assert_no_refusals();
    world.trace()
}

#[test]
fn invariant_4_honest_nodes_agree_in_the_end_whatever_the_schedule() {
    for seed in 0..50 {
        run(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14, 15] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(3), run(14));
}

#[test]
fn what_machines_share_of_their_checks_changes_nothing() {
    for seed in 20..30 {
        let mut alone = World::new(seed);
        alone.verified = Verified::with_room(0, 0);
        assert_eq!(run_in(alone, seed), run(seed), "seed {seed}");
    }
}
