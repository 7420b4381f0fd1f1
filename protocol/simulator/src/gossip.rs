//! Gossip as gossipsub carries it: a mesh over connected partners, copies told
//! apart by content.
//!
//! Each node forwards to the members of its mesh only, [`MESH`] of its partners,
//! however many it has; its own messages go to all partners (flood publishing).
//! Deliberately absent: lazy gossip about messages (`IHAVE`), for the machine
//! must do without; scores; and the cost of control messages.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tallystick_protocol::sync::wire::Announcement;

/// Members a mesh is to have: fewer are added to, more are not taken.
pub const MESH: (usize, usize) = (6, 8);

/// Which connected partners forward gossip to each other.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    members: BTreeMap<usize, BTreeSet<usize>>,
}

impl Mesh {
    fn degree(&self, node: usize) -> usize {
        self.members.get(&node).map_or(0, BTreeSet::len)
    }

    /// To whom a node forwards.
    pub fn of(&self, node: usize) -> impl Iterator<Item = usize> {
        self.members.get(&node).into_iter().flatten().copied()
    }

    /// Two nodes are connected: they join each other's meshes if either needs
    /// members and neither has too many.
    pub fn up(&mut self, a: usize, b: usize) {
        let (few, many) = (MESH.0, MESH.1);
        let (of_a, of_b) = (self.degree(a), self.degree(b));
        if of_a.max(of_b) < many || (of_a.min(of_b) < few && of_a.max(of_b) < 2 * many) {
            self.members.entry(a).or_default().insert(b);
            self.members.entry(b).or_default().insert(a);
        }
    }

    /// Two nodes are connected no more. `partners` are those still connected to
    /// each, from among whom a mesh that has become too small is filled.
    pub fn down(&mut self, a: usize, b: usize, partners: [&BTreeSet<usize>; 2]) {
        for (node, other) in [(a, b), (b, a)] {
            self.members.entry(node).or_default().remove(&other);
        }
        for (node, partners) in [(a, partners[0]), (b, partners[1])] {
            for partner in partners {
                if self.degree(node) >= MESH.0 {
                    break;
                }
                self.up(node, *partner);
            }
        }
    }
}

/// A message that was published.
#[derive(Debug)]
struct Message {
    bytes: Rc<[u8]>,
    /// Entries it carries.
    entries: u64,
    /// One bit for each node that has had it.
    seen: Vec<u64>,
}

/// All messages ever published, each kept once.
#[derive(Debug, Default)]
pub struct Messages {
    all: Vec<Message>,
    numbers: BTreeMap<[u8; 32], usize>,
}

impl Messages {
    /// The number of a message, by its content.
    pub fn number(&mut self, bytes: &[u8]) -> usize {
        let Self { all, numbers } = self;
        *numbers.entry(*blake3::hash(bytes).as_bytes()).or_insert_with(|| {
            let decoded = Announcement::decode(bytes);
            let entries = decoded.map_or(0, |message| message.entries.len() as u64);
            all.push(Message { bytes: bytes.into(), entries, seen: Vec::new() });
            all.len() - 1
        })
    }

    /// Its content.
    #[must_use]
    pub fn bytes(&self, number: usize) -> Rc<[u8]> {
        Rc::clone(&self.all[number].bytes)
    }

    /// How many entries it carries.
    #[must_use]
    pub fn entries(&self, number: usize) -> u64 {
        self.all[number].entries
    }

    /// A node has it. `true` if for the first time.
    pub fn seen(&mut self, number: usize, node: usize) -> bool {
        let seen = &mut self.all[number].seen;
        let (word, bit) = (node / 64, 1 << (node % 64));
        if seen.len() <= word {
            seen.resize(word + 1, 0);
        }
        let fresh = seen[word] & bit == 0;
        seen[word] |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_is_bounded_and_mended() {
        let mut mesh = Mesh::default();
        let others: BTreeSet<_> = (1..30).collect();
        others.iter().for_each(|other| mesh.up(0, *other));
        // All others need members, so they may exceed what a node wants, but not by much.
        assert!((MESH.0..=2 * MESH.1).contains(&mesh.of(0).count()));
        let left: BTreeSet<_> = (11..30).collect();
        for gone in 1..11 {
            mesh.down(0, gone, [&left, &BTreeSet::new()]);
        }
        assert!(mesh.of(0).count() >= MESH.0);
        assert!(mesh.of(0).all(|member| member >= 11));
    }

    #[test]
    fn a_message_is_new_to_each_node_once() {
        let mut messages = Messages::default();
        let number = messages.number(b"news");
        assert_eq!(messages.number(b"news"), number);
        assert!(messages.seen(number, 70));
        assert!(!messages.seen(number, 70));
        assert!(messages.seen(number, 6));
    }
}
