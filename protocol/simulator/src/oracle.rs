//! What must hold, whatever happens: checked after every step, from outside.
//!
//! | invariant of the design | how |
//! |---|---|
//! | 1: nothing unverified is stored or forwarded | [`Oracle::stored`], [`Oracle::identity`], and the [`crate::archive`] behind every append |
//! | 2: a log only grows; an author never signs two histories | [`Oracle::signing`] |
//! | 4: honest connected nodes end with the same | [`crate::world::World::disagreement`], at quiescence |
//! | 5: what is acknowledged is durable | [`Oracle::told`], [`Oracle::acknowledged`], [`Oracle::kept`] |
//! | 7: memory is bounded | in [`crate::world::World`], after every input |
//!
//! 3 and 6 concern groups and erasure, which have scenarios of their own; 8 and 9
//! concern projections and proofs, which are no part of it. The oracle knows all
//! secrets of the world and trusts no machine.

use std::collections::BTreeMap;

use tallystick_protocol::checkpoint::UnverifiedCheckpoint;
use tallystick_protocol::id::{AuthorityId, Hash, LogId};
use tallystick_protocol::identity::UnverifiedChain;
use tallystick_protocol::key::PublicKey;
use tallystick_protocol::sync::{Append, StoredIdentity};

use crate::archive::Kept;
use crate::authority::{Who, network};
use crate::disk::{Disk, claimed};
use crate::measure::Histogram;
use crate::node::Node;

/// What is known of one author.
struct Author {
    /// Its log keys in this generation.
    keys: Vec<PublicKey>,
    /// It signs one history only.
    is_honest: bool,
    /// Everything that it signed, if it is honest.
    history: Vec<Hash>,
    batches: Vec<Batch>,
}

/// Entries authored at once, and how far they have come.
struct Batch {
    end: u64,
    born: u64,
    holders: usize,
}

/// How long records took to become durable, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// From authored to durable at one other node, for each.
    pub each: Histogram,
    /// From authored to durable at all other nodes that follow.
    pub all: Histogram,
}

/// The oracle.
#[derive(Default)]
pub struct Oracle {
    authors: BTreeMap<LogId, Author>,
    chains: BTreeMap<AuthorityId, Vec<Vec<u8>>>,
    /// What heads say, by their bytes; each is told many times.
    claims: BTreeMap<Vec<u8>, (LogId, u64)>,
    /// Latencies of records authored since [`Oracle::watch`].
    pub latency: Latency,
    /// How many nodes are to get each record besides its author's.
    followers: usize,
}

impl Oracle {
    /// Takes note of an authority. It stays dishonest once it was said to be.
    pub fn register(&mut self, who: &Who, is_honest: bool) {
        let fresh =
            || Author { keys: Vec::new(), is_honest, history: Vec::new(), batches: Vec::new() };
        let author = self.authors.entry(who.log()).or_insert_with(fresh);
        author.is_honest &= is_honest;
        author.keys = who.identity.log_keys(who.log().generation).map(|(key, _)| *key).collect();
        self.chains.insert(who.authority(), who.events.clone());
    }

    /// Whether the author of a log signs one history only.
    #[must_use]
    pub fn is_honest(&self, log: &LogId) -> bool {
        self.authors.get(log).is_some_and(|author| author.is_honest)
    }

    /// An author's log in a group is signed with the keys of its public one.
    fn know(&mut self, log: &LogId) {
        let public = self.authors.get(&LogId::public(log.authority, log.generation));
        let Some(Author { keys, is_honest, .. }) = public else { return };
        let (keys, is_honest) = (keys.clone(), *is_honest);
        let fresh = || Author { keys, is_honest, history: Vec::new(), batches: Vec::new() };
        self.authors.entry(*log).or_insert_with(fresh);
    }

    /// Measures the latency of what is authored from now on, which `followers` nodes are to get.
    pub fn watch(&mut self, followers: usize) {
        self.followers = followers;
        self.latency = Latency::default();
        self.authors.values_mut().for_each(|author| author.batches.clear());
    }

    /// Invariant 2: an honest author never signs two histories. What a crash
    /// took before it was durable was seen by nobody and does not count.
    ///
    /// # Panics
    /// If it does.
    pub fn signing(&mut self, node: usize, own: LogId, log: &Kept, append: &Append) {
        let is_own = append.log.authority == own.authority;
        let Some(head) = append.head.as_ref().filter(|_| is_own) else { return };
        self.know(&append.log);
        let author = self.authors.get_mut(&append.log);
        let Some(author) = author.filter(|author| author.is_honest) else { return };
        let size = head.checkpoint().size();
        for (at, leaf) in log.leaves(size).enumerate() {
            let signed = *author.history.get(at).unwrap_or(&leaf);
            assert!(signed == leaf, "node {node} signed two histories, which part at {at}");
            if at == author.history.len() {
                author.history.push(leaf);
            }
        }
    }

    /// Invariant 1: what is stored of others was signed by them. `fresh`: this
    /// state of the log has not been seen before, so its signature is checked.
    ///
    /// # Panics
    /// If it was not.
    pub fn stored(&self, own: LogId, append: &Append, fresh: bool) {
        if append.log.authority == own.authority {
            return;
        }
        let author = self.authors.get(&append.log).expect("a log of nobody was stored");
        if let Some(head) = append.head.as_ref().filter(|_| fresh) {
            let note = UnverifiedCheckpoint::parse(&head.to_bytes()).unwrap();
            let signed = author.keys.iter().any(|key| note.clone().verify(key).is_ok());
            assert!(signed, "a head that its author did not sign");
        }
        if author.is_honest {
            for (at, entry) in append.entries.iter().enumerate() {
                let signed = author.history.get(append.start as usize + at);
                assert_eq!(
                    signed,
                    Some(&entry.leaf()),
                    "an entry was stored that was never signed"
                );
            }
        }
    }

    /// Invariant 1 for identity chains: there are only those that controllers signed.
    ///
    /// # Panics
    /// If this is another.
    pub fn identity(&self, identity: &StoredIdentity) {
        let StoredIdentity { authority, events, .. } = identity;
        if self.chains.get(authority) != Some(events) {
            // Of nobody in this world: then it has to be good in itself.
            let chain = UnverifiedChain::new(events.clone()).verify(&network());
            let found = chain.map(|identity| identity.authority());
            assert_eq!(found, Ok(*authority), "a made-up identity was stored");
        }
    }

    /// Invariant 5: what is announced can be served.
    ///
    /// # Panics
    /// If it cannot.
    pub fn told(&mut self, disk: &Disk, head: &[u8]) {
        let (log, size) = match self.claims.get(head) {
            Some(known) => *known,
            None => *self.claims.entry(head.to_vec()).or_insert_with(|| claimed(head)),
        };
        let signed = disk.logs.get(&log).map_or(0, |log| log.signed());
        assert!(signed >= size, "told before it was durable");
    }

    /// Invariant 5: what is acknowledged is durable. Gives the size up to which it is.
    ///
    /// # Panics
    /// If it is not.
    pub fn acknowledged(disk: &Disk, log: &LogId, end: u64, signed: bool) -> u64 {
        let kept = disk.logs.get(log).expect("acknowledged, and there is no log");
        assert!(kept.size() >= end, "acknowledged before it was durable");
        assert!(!signed || kept.signed() >= end, "said to be signed before it was");
        end
    }

    /// Invariant 5: what was acknowledged is still there.
    ///
    /// # Panics
    /// If it is not.
    pub fn kept(node: &Node) {
        let size = node.disk.logs.get(&node.who.log()).map_or(0, |log| log.size());
        assert!(size >= node.acknowledged, "{} acknowledged, {size} left", node.acknowledged);
    }

    /// Entries up to `end` were authored at `born`.
    pub fn born(&mut self, log: &LogId, end: u64, born: u64) {
        if let Some(author) = self.authors.get_mut(log).filter(|_| self.followers > 0) {
            author.batches.push(Batch { end, born, holders: 0 });
        }
    }

    /// A node other than the author's has a log under a head from `before` to `after` now.
    pub fn reached(&mut self, log: &LogId, before: u64, after: u64, now: u64) {
        let Some(author) = self.authors.get_mut(log) else { return };
        for batch in author.batches.iter_mut().rev().skip_while(|batch| batch.end > after) {
            if batch.end <= before {
                break;
            }
            batch.holders += 1;
            self.latency.each.add(now - batch.born);
            if batch.holders == self.followers {
                self.latency.all.add(now - batch.born);
            }
        }
    }
}
