//! What can be seen from outside: for tests, and for invariant 4 at quiescence.

use std::collections::BTreeMap;

use tallystick_protocol::erasure::Scope;
use tallystick_protocol::id::LogId;
use tallystick_protocol::sync::{AuthorRefusal, LogStatus, Machine, Refusal};

use super::World;
use crate::disk::Log;
use crate::node::Node;

/// Where two honest nodes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The node that has not what the author has.
    pub node: usize,
    /// The log.
    pub log: LogId,
    /// Entries that the author has under a signed head.
    pub wanted: u64,
    /// Entries that the node has under one.
    pub has: u64,
}

impl World {
    /// Takes values out of the body of an entry at one node, as whoever withholds
    /// or deletes them does.
    pub fn reduce(&mut self, node: usize, log: &LogId, index: u64, scope: &Scope) {
        self.nodes[node].disk.reduce(log, index, scope, &mut self.archive);
    }

    /// The state of a log of `of` at `node`.
    #[must_use]
    pub fn status(&self, node: usize, of: usize) -> Option<LogStatus> {
        let log = self.nodes[of].who.log();
        let machine = self.nodes[node].machine.as_ref().unwrap();
        machine.logs().into_iter().find(|status| status.log == log)
    }

    /// Entries of `of` under a signed head that `node` has.
    #[must_use]
    pub fn signed(&self, node: usize, of: usize) -> u64 {
        let log = self.nodes[of].who.log();
        self.nodes[node].disk.logs.get(&log).map_or(0, |log| log.signed())
    }

    /// Whether all these nodes have the same heads, entries and bodies.
    #[must_use]
    pub fn agree(&self, nodes: &[usize]) -> bool {
        let logs = |node: usize| {
            let logs = self.nodes[node].disk.logs.iter();
            logs.filter(|(_, log)| !log.entries.is_empty()).collect::<Vec<_>>()
        };
        let first = logs(nodes[0]);
        let disk = &self.nodes[nodes[0]].disk;
        let same = |((a, one), (b, other)): (&(&LogId, &Log), &(&LogId, &Log))| {
            a == b && one.same(other, a, disk)
        };
        nodes.iter().all(|node| {
            let logs = logs(*node);
            logs.len() == first.len() && logs.iter().zip(&first).all(same)
        })
    }

    /// Invariant 4: some honest running node that does not hold a log of an honest
    /// author as its author does, if there is any, closed logs among them. Nodes are looked at from number
    /// `from` on, so that asking again where it failed last is quick.
    #[must_use]
    pub fn disagreement(&self, from: usize) -> Option<Disagreement> {
        let honest = |node: &usize| self.nodes[*node].is_honest;
        let authors = || (0..self.nodes.len()).filter(honest);
        let closed = authors().flat_map(|node| self.closed_of(node));
        let wanted: Vec<_> =
            authors().filter_map(|node| self.wanted_of(node)).chain(closed).collect();
        let count = self.nodes.len();
        let numbers = (0..count).map(|at| (from + at) % count).filter(honest);
        numbers.filter(|node| self.nodes[*node].is_up()).find_map(|node| {
            let logs = &self.nodes[node].disk.logs;
            wanted.iter().find_map(|(id, log, except)| {
                let has = logs.get(*id);
                let same = *except == Some(node)
                    || has.is_some_and(|has| has.same(log, id, &self.nodes[node].disk));
                let has = has.map_or(0, |has| has.signed());
                let wanted = log.signed();
                (!same).then_some(Disagreement { node, log: **id, wanted, has })
            })
        })
    }

    /// A disagreement in words, with what both ends have to say.
    #[must_use]
    pub fn describe(&self, found: &Disagreement) -> String {
        let is_author = |node: &Node| node.who.authority() == found.log.authority;
        let author = self.nodes.iter().position(is_author).unwrap();
        let end = |node: usize| {
            let machine = self.nodes[node].machine.as_ref();
            let notices = self.nodes[node].notices.iter().rev().take(6).collect::<Vec<_>>();
            format!(
                "node {node} has {:?}, {} links, obstacle {:?}, last said {notices:?}",
                self.status(node, author),
                self.connected[node].len(),
                machine.and_then(Machine::author_obstacle)
            )
        };
        let Disagreement { node, wanted, has, .. } = found;
        format!("{has} entries, not {wanted}\n  author: {}\n  other: {}", end(author), end(*node))
    }

    /// The log of an honest author as all must have it. An author that was put
    /// back and wrote what contradicts what it had signed has stopped for good;
    /// then it is what others have of it, and nothing is asked of itself.
    fn wanted_of(&self, node: usize) -> Option<(&LogId, &Log, Option<usize>)> {
        let author = &self.nodes[node];
        let own = author.who.log();
        let obstacle = author.machine.as_ref().and_then(Machine::author_obstacle);
        let others = || {
            let honest = self.nodes.iter().filter(|other| other.is_honest && other.id != author.id);
            let logs = honest.filter_map(|other| other.disk.logs.get_key_value(&own));
            logs.max_by_key(|(_, log)| log.signed())
        };
        let has = author.disk.logs.get(&own);
        let wrote_more = has.is_some_and(|log| log.size() > log.signed());
        let (found, except) = match obstacle {
            Some(AuthorRefusal::TwoHistories) => (others()?, Some(node)),
            // The same, where no consistency proof can show it: see `scenario::mixed`.
            Some(AuthorRefusal::FetchingOwn { .. }) if wrote_more => (others()?, Some(node)),
            _ => (author.disk.logs.get_key_value(&own)?, None),
        };
        (!found.1.entries.is_empty()).then_some((found.0, found.1, except))
    }

    /// The logs of an honest author that its controllers have closed.
    fn closed_of(&self, node: usize) -> impl Iterator<Item = (&LogId, &Log, Option<usize>)> {
        let Node { who, disk, .. } = &self.nodes[node];
        let closed = (0..who.identity.generation()).map(|g| LogId::public(who.authority(), g));
        closed.filter_map(|log| disk.logs.get_key_value(&log)).map(|(log, has)| (log, has, None))
    }

    /// Entries that `from` sent to `to` with their bodies.
    #[must_use]
    pub fn bodies_sent(&self, from: usize, to: usize) -> usize {
        self.bodies.get(&(from, to)).copied().unwrap_or(0)
    }

    /// How often a node refused something for this reason.
    #[must_use]
    pub fn refusals(&self, node: usize, refusal: Refusal) -> usize {
        self.nodes[node].refusals.get(&refusal).copied().unwrap_or(0)
    }

    /// Nobody was refused anything.
    ///
    /// # Panics
    /// If somebody was.
    pub fn assert_no_refusals(&self) {
        for node in &self.nodes {
            assert_eq!(node.refusals, BTreeMap::new());
        }
    }

    /// Nodes with which a node is connected.
    pub fn connected(&self, node: usize) -> impl Iterator<Item = usize> {
        self.connected[node].iter().copied()
    }

    /// Partners that a node connects with whenever it can.
    pub fn wanted_partners(&self, node: usize) -> impl Iterator<Item = usize> {
        let partners = self.wanted.keys().filter(move |(a, b)| *a == node || *b == node);
        partners.map(move |(a, b)| a + b - node)
    }

    /// Events that wait to happen.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.schedule.len()
    }
}
