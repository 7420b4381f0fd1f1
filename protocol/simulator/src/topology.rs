//! Who is a partner of whom, and which of them can reach each other now.

use std::collections::{BTreeMap, BTreeSet};

use crate::chance::Chance;

/// A ring, so that all are connected, and random links until everybody has
/// about `degree` partners: nobody has many more than that.
#[must_use]
pub fn ring_and_random(chance: &mut Chance, nodes: &[usize], degree: usize) -> Vec<(usize, usize)> {
    let mut links = BTreeSet::new();
    let mut degrees: BTreeMap<usize, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    let mut add = |a: usize, b: usize, degrees: &mut BTreeMap<usize, usize>| {
        if a != b && links.insert((a.min(b), a.max(b))) {
            for end in [a, b] {
                *degrees.entry(end).or_default() += 1;
            }
        }
    };
    for (at, node) in nodes.iter().enumerate() {
        add(*node, nodes[(at + 1) % nodes.len()], &mut degrees);
    }
    // Pairs of nodes that both have room; a few tries suffice, exactness does not matter.
    for _ in 0..nodes.len() * degree {
        let (a, b) = (chance.pick(nodes), chance.pick(nodes));
        if degrees[&a] < degree && degrees[&b] < degree {
            add(a, b, &mut degrees);
        }
    }
    links.into_iter().collect()
}

/// Which side of a cut each node is on. Nodes on different sides cannot reach each other.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    sides: BTreeMap<usize, u8>,
}

impl Partition {
    /// Cuts `island` off from everybody else.
    #[must_use]
    pub fn island(island: &[usize]) -> Self {
        Self { sides: island.iter().map(|node| (*node, 1)).collect() }
    }

    /// Whether two nodes cannot reach each other.
    #[must_use]
    pub fn separates(&self, a: usize, b: usize) -> bool {
        self.sides.get(&a) != self.sides.get(&b)
    }

    /// Whether there is no cut.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sides.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_bounded_number_of_partners() {
        let nodes: Vec<_> = (0..200).collect();
        let links = ring_and_random(&mut Chance::new(4), &nodes, 10);
        for node in nodes {
            let count = links.iter().filter(|(a, b)| *a == node || *b == node).count();
            assert!((2..=10).contains(&count), "{count}");
        }
        assert!(links.len() > 900, "{}", links.len());
    }
}
