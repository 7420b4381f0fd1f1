//! Invariant 3: who may be told of a group, and write to whom. Looked at from outside
//! in every frame that leaves an honest node, and in all that becomes durable.
//!
//! What a node may tell whom, and write for whom, is decided by the control entries
//! that it has handed to its disk, merged here once more.
//!
//! **Invariant:** none of this asks a machine. Deliberately absent: what can be
//! guessed from sizes and times of frames.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use tallystick_protocol::entry::Entry;
use tallystick_protocol::group::epoch::EpochOpening;
use tallystick_protocol::group::{ControlEntry, Membership, Operation};
use tallystick_protocol::id::{AuthorityId, EpochId, GroupId, LogId, Space};
use tallystick_protocol::sync::Append;
use tallystick_protocol::sync::wire::Message;

use crate::authority::network;
use crate::disk::Write;
use crate::node::Node;

/// Sizes of a group's logs at a node: the same sizes, the same entries.
type Sizes = Vec<(LogId, u64)>;

/// The oracle of invariant 3.
#[derive(Default)]
pub struct Audience {
    /// Who invited a node to a group.
    hosts: BTreeMap<(usize, GroupId), BTreeSet<AuthorityId>>,
    /// What nodes know, as merged last.
    views: BTreeMap<(usize, GroupId), (Sizes, Rc<Membership>)>,
    /// What was asked for: by whom, of whom, under which number.
    asked: BTreeMap<(usize, usize, u64), LogId>,
    openings: BTreeMap<EpochId, Arc<EpochOpening>>,
    /// Frames about groups that were looked at.
    pub frames: u64,
    /// Entries that were written in groups, control entries among them.
    pub written: (u64, u64),
}

impl Audience {
    /// A node was invited.
    pub fn invited(&mut self, node: usize, group: GroupId, hosts: &[AuthorityId]) {
        self.hosts.entry((node, group)).or_default().extend(hosts);
    }

    /// What a node has handed to its disk says that these are members.
    fn view(&mut self, nodes: &[Node], node: usize, group: GroupId) -> Rc<Membership> {
        let disk = &nodes[node].disk;
        let waiting = || {
            disk.pending.iter().filter_map(|write| match write {
                Write::Append(_, append) if append.log.space == Space::Group(group) => Some(append),
                _ => None,
            })
        };
        let held = || disk.logs.iter().filter(|(log, _)| log.space == Space::Group(group));
        let mut sizes: Sizes = held().map(|(log, held)| (*log, held.size())).collect();
        sizes.extend(
            waiting().map(|append| (append.log, append.start + append.entries.len() as u64)),
        );
        if let Some((_, view)) = self.views.get(&(node, group)).filter(|(old, _)| *old == sizes) {
            return Rc::clone(view);
        }
        let held = held().flat_map(|(log, held)| held.controls(*log));
        let waiting = waiting().flat_map(|append| {
            let entries = (append.start..).zip(append.entries.iter().cloned());
            entries.map(|(index, entry)| (append.log, index, entry))
        });
        let read = |(log, index, entry)| ControlEntry::read(&log, index, &entry).ok();
        let entries: Vec<_> = held.chain(waiting).filter_map(read).collect();
        let view = Rc::new(Membership::merge(&network(), &group, &entries).unwrap());
        self.views.insert((node, group), (sizes, Rc::clone(&view)));
        view
    }

    /// A frame leaves an honest node.
    ///
    /// # Panics
    /// If it tells somebody of a group who must not be told.
    pub fn told(&mut self, nodes: &[Node], (from, to): (usize, usize), message: &Message) {
        match message {
            Message::GroupHeads { group, heads } => {
                for head in heads {
                    let (authority, generation) = (head.authority, head.generation);
                    let log = LogId { authority, space: Space::Group(*group), generation };
                    self.may_tell(nodes, (from, to), &log);
                }
            }
            Message::WantOutline { id, log, .. }
            | Message::WantEntries { id, log, .. }
            | Message::WantBodies { id, log, .. } => {
                let Space::Group(group) = log.space else { return };
                self.asked.insert((from, to, *id), *log);
                let peer = nodes[to].who.authority();
                let view = self.view(nodes, from, group);
                let is_host = self.hosts.get(&(from, group)).is_some_and(|h| h.contains(&peer));
                // Its own log is asked for of whoever would like to join.
                let fine = view.members().contains_key(&peer) || is_host || log.authority == peer;
                assert!(
                    fine,
                    "{from} asks {to}, which is no member as it knows, for a log of a group \
                     (departed: {:?})",
                    view.departed().get(&peer)
                );
            }
            Message::Entries { id, .. } => self.answers(nodes, (from, to), *id),
            Message::OutlinePage(page) => self.answers(nodes, (from, to), page.id),
            _ => {}
        }
    }

    fn answers(&mut self, nodes: &[Node], (from, to): (usize, usize), id: u64) {
        if let Some(log) = self.asked.get(&(to, from, id)).copied() {
            self.may_tell(nodes, (from, to), &log);
        }
    }

    /// A log may be mentioned to members, and our own, before we are one, to those who invited us.
    fn may_tell(&mut self, nodes: &[Node], (from, to): (usize, usize), log: &LogId) {
        let Space::Group(group) = log.space else { return };
        self.frames += 1;
        let (own, peer) = (nodes[from].who.authority(), nodes[to].who.authority());
        let view = self.view(nodes, from, group);
        let is_host = self.hosts.get(&(from, group)).is_some_and(|hosts| hosts.contains(&peer));
        let hosts = is_host && log.authority == own && !view.departed().contains_key(&peer);
        let fine = view.members().contains_key(&peer) || hosts;
        assert!(
            fine,
            "{from} tells {to} of a group, which is no member as it knows (host: {is_host}, \
             own log: {}, departed: {:?})",
            log.authority == own,
            view.departed().get(&peer)
        );
    }

    /// Something of a group has become durable.
    ///
    /// # Panics
    /// If the node was never invited.
    pub fn durable(&mut self, nodes: &[Node], node: usize, append: &Append) {
        let own = nodes[node].who.authority();
        let Space::Group(group) = append.log.space else { return };
        let invited = append.log.authority == own || self.hosts.contains_key(&(node, group));
        assert!(invited, "{node} keeps a log of a group to which nobody invited it");
    }

    /// Somebody writes in a group, by what its node has now.
    ///
    /// # Panics
    /// If it writes for somebody whom the node knows to be out.
    pub fn authored(&mut self, nodes: &[Node], node: usize, group: GroupId, entries: &[Entry]) {
        let log = LogId { space: Space::Group(group), ..nodes[node].who.log() };
        for entry in entries {
            self.written.0 += 1;
            if let Ok(control) = ControlEntry::read(&log, 0, entry) {
                self.written.1 += 1;
                if let Operation::Epoch(opening) = control.operation() {
                    let id = EpochId::from_bytes(*control.place().leaf.as_bytes());
                    self.openings.insert(id, Arc::clone(opening));
                }
                if matches!(control.operation(), Operation::Create(_)) {
                    self.hosts.entry((node, group)).or_default();
                }
            } else if let Some(epoch) = entry.header().epoch {
                let known = self.view(nodes, node, group);
                let opening = self.openings.get(&epoch).expect("an epoch that nobody opened");
                let read_by = opening.recipients().find(|who| known.departed().contains_key(who));
                assert_eq!(read_by, None, "{node} writes for somebody whom it knows to be out");
            }
        }
    }
}
