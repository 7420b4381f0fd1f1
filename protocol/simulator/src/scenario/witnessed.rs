//! What cosigning costs: a healthy network in which each authority names some of
//! its partners as witnesses, and publishes one record in so many seconds.
//!
//! Everybody comes up, and all heads are cosigned by all their witnesses and known
//! so everywhere. Then the network is watched for a while. The same without
//! witnesses, all else being equal, shows what of its traffic is due to them.
//!
//! While it is watched each machine checks by itself what it is told; nothing is
//! shared as in other scenarios, so that what a run takes is what so many nodes would.

use tallystick_protocol::limits;

use super::attempt;
use crate::authority::Who;
use crate::clock::Clock;
use crate::link::LinkModel;
use crate::measure::{Event, Measure};
use crate::schedule::{MILLISECOND, SECOND};
use crate::topology::ring_and_random;
use crate::world::World;

/// Partners that a node has, about; all its witnesses are among them.
const DEGREE: usize = 16;
/// Bytes in a record besides its texts: about 700 in all.
const BYTES: usize = 350;

/// A healthy network with witnesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Authorities, each with one node; all publish.
    pub authorities: usize,
    /// Witnesses that each names; none, to compare with.
    pub witnesses: usize,
    /// Each publishes once in so many seconds, at a time of its own.
    pub every: u64,
    /// How long it is watched, in seconds.
    pub watched: u64,
    /// What makes this run different from others.
    pub seed: u64,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// What was sent.
    pub measure: Measure,
    /// Heads that were signed by their authors.
    pub heads: u64,
    /// Cosignatures that were made.
    pub signed: u64,
    /// Cosignatures that were checked, over all nodes.
    pub checked: u64,
    /// Processor time that the watched part took, the simulation's own included, in seconds.
    pub processor: f64,
    /// From the last head until everybody had all its cosignatures, in microseconds.
    pub settled: u64,
    /// Hash over everything that happened.
    pub trace: [u8; 32],
}

impl Witnessed {
    /// Runs it. `processor` says how much processor time was used so far.
    ///
    /// # Panics
    /// If an invariant does not hold, naming the command that repeats the run.
    #[must_use]
    pub fn run(&self, processor: impl Fn() -> f64) -> Cost {
        let Self { authorities, witnesses, every, watched, seed } = self;
        let again = format!(
            "cargo run --release -p tallystick-simulator -- --nodes {authorities} \
             --witnesses {witnesses} --every {every} --watched {watched} --first-seed {seed}"
        );
        attempt(&again, || {
            let mut world = self.network();
            self.come_up(&mut world);
            self.watch(&mut world, processor)
        })
    }

    fn network(&self) -> World {
        let mut world = World::new(self.seed);
        world.is_watchful = true;
        let nodes: Vec<usize> = (0..self.authorities)
            .map(|number| world.place(Who::new(number as u16), 0, true))
            .collect();
        let links = self.links(&mut world, &nodes);
        for node in &nodes {
            let partners = links.iter().filter(|(a, b)| a == node || b == node);
            let partners: Vec<usize> = partners.map(|(a, b)| a + b - node).collect();
            // The same draws, however many are named.
            let mut named = world.chance.some(&partners, partners.len());
            named.truncate(self.witnesses);
            if self.witnesses > 0 {
                self.name(&mut world, *node, &named);
            }
        }
        for (a, b) in links {
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

    /// Everybody has as many partners as there may be witnesses, at least.
    fn links(&self, world: &mut World, nodes: &[usize]) -> Vec<(usize, usize)> {
        let mut links = ring_and_random(&mut world.chance, nodes, DEGREE);
        let least = limits::WITNESSES.min(self.authorities - 1);
        for node in nodes {
            while links.iter().filter(|(a, b)| a == node || b == node).count() < least {
                let other = world.chance.pick(nodes);
                let link = (*node.min(&other), *node.max(&other));
                if other != *node && !links.contains(&link) {
                    links.push(link);
                }
            }
        }
        links
    }

    /// More than half of the witnesses confirm a record.
    fn name(&self, world: &mut World, node: usize, named: &[usize]) {
        let named: Vec<_> = named.iter().map(|named| world.nodes[*named].who.authority()).collect();
        let quorum = self.witnesses as u32 / 2 + 1;
        let who = world.nodes[node].who.witnessed_by(&named, quorum);
        world.assume(node, who);
    }

    fn come_up(&self, world: &mut World) {
        for node in 0..self.authorities {
            world.start(node);
            world.author(node, 1, BYTES);
            world.run_for(60 * SECOND / self.authorities as u64);
        }
        self.settle(world);
        world.run(20);
    }

    fn watch(&self, world: &mut World, processor: impl Fn() -> f64) -> Cost {
        world.measure = Measure::default();
        world.shares_checks = false;
        let checked = |world: &World| -> u64 {
            let machines = world.nodes.iter().filter_map(|node| node.machine.as_ref());
            machines.map(tallystick_protocol::sync::Machine::cosignatures_checked).sum()
        };
        let (signed, checked_before) = (world.happened.times(Event::Cosigned), checked(world));
        let (begin, used) = (world.now(), processor());
        let mut times: Vec<(u64, usize)> = Vec::new();
        for author in 0..self.authorities {
            let first = world.chance.below(self.every * SECOND);
            let each = (0..).map(|round| first + round * self.every * SECOND);
            times.extend(each.take_while(|at| *at < self.watched * SECOND).map(|at| (at, author)));
        }
        times.sort_unstable();
        for (at, author) in &times {
            world.run_for((begin + at).saturating_sub(world.now()));
            world.author(*author, 1, BYTES);
        }
        world.run_for((begin + self.watched * SECOND).saturating_sub(world.now()));
        let processor = processor() - used;
        let measure = core::mem::take(&mut world.measure);
        let settled = self.settle(world);
        Cost {
            measure,
            heads: times.len() as u64,
            signed: world.happened.times(Event::Cosigned) - signed,
            checked: checked(world) - checked_before,
            processor,
            settled,
            trace: world.trace(),
        }
    }

    /// Until all agree, and everybody has all cosignatures of every log.
    fn settle(&self, world: &mut World) -> u64 {
        let begin = world.now();
        let settled = world.run_until(300, 500 * MILLISECOND, |world| {
            world.disagreement(0).is_none() && self.lacking(world).is_none()
        });
        assert!(settled, "no agreement: {:?}, {:?}", world.disagreement(0), self.lacking(world));
        world.now() - begin
    }

    /// A node that lacks cosignatures, with the author and how many it has.
    fn lacking(&self, world: &World) -> Option<(usize, usize, usize)> {
        (0..self.authorities).find_map(|node| {
            let machine = world.nodes[node].machine.as_ref()?;
            (0..self.authorities).find_map(|author| {
                let head = machine.head(&world.nodes[author].who.log());
                let count = head.map_or(0, |head| head.cosignatures().count());
                (count != self.witnesses).then_some((node, author, count))
            })
        })
    }
}
