//! A healthy network: what it costs to come up cold, and to bring one record to
//! everybody, by its size.
//!
//! Each node works for an authority of its own, has about ten partners over
//! links as within one country, and comes up within the first minute. So many
//! authorities publish as asked for. First everybody catches up from nothing;
//! then each author publishes one record within a minute, at a time by chance.

use super::attempt;
use crate::authority::Who;
use crate::clock::Clock;
use crate::link::LinkModel;
use crate::measure::Measure;
use crate::oracle::Latency;
use crate::schedule::{MILLISECOND, SECOND};
use crate::topology::ring_and_random;
use crate::world::World;

/// Partners that a node has, about.
const DEGREE: usize = 10;
/// Within so many seconds all nodes come up, and later all authors publish.
const MINUTE: u64 = 60;
/// Records that each author has at first.
const FIRST: usize = 3;
/// Bytes in a record besides its texts: about 700 in all.
const BYTES: usize = 350;

/// A run without faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Nodes, each of its own authority.
    pub nodes: usize,
    /// How many of these authorities publish.
    pub authorities: usize,
    /// What makes this run different from others.
    pub seed: u64,
}

/// What one phase of a run cost.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// What was sent.
    pub measure: Measure,
    /// From the last thing done from outside until all agreed, in microseconds.
    pub settled: u64,
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Nodes.
    pub nodes: usize,
    /// Authorities that publish.
    pub authorities: usize,
    /// Everybody comes up with nothing but its own records.
    pub cold: Phase,
    /// Each author publishes one record.
    pub live: Phase,
    /// How long these took.
    pub latency: Latency,
    /// Hash over everything that happened.
    pub trace: [u8; 32],
}

impl Growth {
    /// Runs it.
    ///
    /// # Panics
    /// If an invariant does not hold, naming the command that repeats the run.
    #[must_use]
    pub fn run(&self) -> Row {
        let Self { nodes, authorities, seed } = self;
        let again = format!(
            "cargo run --release -p tallystick-simulator -- \
             --nodes {nodes} --authorities {authorities} --first-seed {seed} --seeds 1 --only"
        );
        attempt(&again, || {
            let mut world = self.network();
            let cold = self.come_up(&mut world);
            let live = self.publish(&mut world);
            Row {
                nodes: self.nodes,
                authorities: self.authorities,
                cold,
                live,
                latency: world.oracle.latency.clone(),
                trace: world.trace(),
            }
        })
    }

    fn network(&self) -> World {
        let mut world = World::new(self.seed);
        world.is_watchful = true;
        let nodes: Vec<usize> =
            (0..self.nodes).map(|number| world.place(Who::new(number as u16), 0, true)).collect();
        for (a, b) in ring_and_random(&mut world.chance, &nodes, DEGREE) {
            let model = LinkModel::country(&mut world.chance);
            world.want(a, b, model);
        }
        for node in nodes {
            let reads = world.chance.below(1 << 40);
            world.nodes[node].clock = Clock::new(0, reads, 0);
            world.nodes[node].disk.delay = world.chance.between(2, 15) * MILLISECOND;
        }
        world
    }

    fn come_up(&self, world: &mut World) -> Phase {
        let times = Self::times(world, self.nodes);
        for (at, node) in times {
            world.run_for(at.saturating_sub(world.now()));
            world.start(node);
            if node < self.authorities {
                world.author(node, FIRST, BYTES);
            }
        }
        let settled = Self::settle(world);
        let measure = core::mem::take(&mut world.measure);
        // What is under way besides is no part of the next phase.
        world.run(20);
        world.measure = Measure::default();
        Phase { measure, settled }
    }

    fn publish(&self, world: &mut World) -> Phase {
        world.oracle.watch(self.nodes - 1);
        let begin = world.now();
        for (at, author) in Self::times(world, self.authorities) {
            world.run_for((begin + at).saturating_sub(world.now()));
            world.author(author, 1, BYTES);
        }
        let settled = Self::settle(world);
        // Partners tell each other once more within a second or two.
        world.run(3);
        Phase { measure: core::mem::take(&mut world.measure), settled }
    }

    /// One moment of the minute for each of the first `count` nodes, in order.
    fn times(world: &mut World, count: usize) -> Vec<(u64, usize)> {
        let mut times: Vec<_> =
            (0..count).map(|node| (world.chance.below(MINUTE * SECOND), node)).collect();
        times.sort_unstable();
        times
    }

    /// Until all agree. Invariant 4.
    fn settle(world: &mut World) -> u64 {
        let begin = world.now();
        let mut from = 0;
        let settled = world.run_until(600, 100 * MILLISECOND, |world| {
            let found = world.disagreement(from);
            from = found.map_or(0, |found| found.node);
            found.is_none()
        });
        assert!(settled, "no agreement: {:?}", world.disagreement(from));
        world.now() - begin
    }
}
