//! Links, and what flows over them: frames and gossip.

use std::collections::VecDeque;
use std::rc::Rc;

use tallystick_protocol::id::NodeId;
use tallystick_protocol::limits;
use tallystick_protocol::sync::wire::{Announcement, Message};
use tallystick_protocol::sync::{Input, Refusal};

use super::{Event, Happening, World, end, pair};
use crate::link::{Arrival, Link, LinkModel};
use crate::measure::Traffic;
use crate::schedule::SECOND;

/// How long a driver waits before it dials again, at least and at most, in
/// microseconds: after a connection broke, and after the partner was refused.
pub(super) const BROKEN: (u64, u64) = (SECOND / 2, 3 * SECOND);
const REFUSED: (u64, u64) = (15 * SECOND, 40 * SECOND);

impl World {
    /// Makes two nodes partners, as their cards would, and connects them.
    pub fn connect(&mut self, a: usize, b: usize) {
        for (node, other) in [(a, b), (b, a)] {
            self.introduce(node, self.nodes[other].who.events.clone());
        }
        self.link(a, b);
    }

    /// Connects two nodes that need not know each other.
    pub fn link(&mut self, a: usize, b: usize) {
        if self.may_link(a, b) {
            let model = LinkModel { jitter: 5_000, ..LinkModel::good(0) };
            let latency = 2_000 + self.chance.below(self.spread);
            self.link_over(a, b, LinkModel { latency, ..model });
        }
    }

    pub(super) fn may_link(&self, a: usize, b: usize) -> bool {
        let up = |node: usize| self.nodes[node].is_up();
        !self.is_linked(a, b) && up(a) && up(b) && !self.partition.separates(a, b)
    }

    pub(super) fn link_over(&mut self, a: usize, b: usize, model: LinkModel) {
        self.last_session += 1;
        let session = self.last_session;
        self.links.insert(pair(a, b), Link::new(session, model));
        self.connected[a].insert(b);
        self.connected[b].insert(a);
        self.mesh.up(a, b);
        self.schedule.after(0, Event::Up { node: a, peer: b, session });
        self.schedule.after(0, Event::Up { node: b, peer: a, session });
    }

    /// Whether two nodes are connected.
    #[must_use]
    pub fn is_linked(&self, a: usize, b: usize) -> bool {
        self.links.contains_key(&pair(a, b))
    }

    fn session(&self, a: usize, b: usize) -> Option<u64> {
        self.links.get(&pair(a, b)).map(|link| link.session)
    }

    /// Ends the connection of two nodes, if there is one.
    pub fn disconnect(&mut self, a: usize, b: usize) {
        self.sever(a, b, [0, 0]);
    }

    /// Ends a connection; each end notices after its time, in microseconds.
    pub(super) fn sever(&mut self, a: usize, b: usize, notice: [u64; 2]) -> bool {
        let Some(link) = self.unlink(a, b) else { return false };
        let session = link.session;
        self.schedule.after(notice[0], Event::Down { node: a, peer: b, session });
        self.schedule.after(notice[1], Event::Down { node: b, peer: a, session });
        true
    }

    pub(super) fn unlink(&mut self, a: usize, b: usize) -> Option<Link> {
        let link = self.links.remove(&pair(a, b))?;
        self.connected[a].remove(&b);
        self.connected[b].remove(&a);
        self.mesh.down(a, b, [&self.connected[a], &self.connected[b]]);
        Some(link)
    }

    /// Ends all connections of a node.
    pub fn isolate(&mut self, node: usize) {
        for peer in self.connected[node].clone() {
            self.disconnect(node, peer);
        }
    }

    pub(super) fn up(&mut self, node: usize, peer: usize, session: u64) {
        let link = self.links.get_mut(&pair(node, peer));
        if let Some(link) = link.filter(|link| link.session == session) {
            link.told[end(node, peer)] = true;
            self.nodes[node].inbox.remove(&peer);
            self.give(node, Input::Connected(self.nodes[peer].id));
        }
    }

    pub(super) fn down(&mut self, node: usize, peer: usize, session: u64) {
        let id = self.nodes[peer].id;
        // Copies of a node count as one: a newer stream with any may have taken its place.
        let links = self.numbers[&id].iter().filter_map(|copy| {
            let link = self.links.get(&pair(node, *copy))?;
            link.told[end(node, *copy)].then_some(link.session)
        });
        if links.max().is_none_or(|newest| newest < session) {
            self.nodes[node].inbox.remove(&peer);
            self.give(node, Input::Disconnected(id));
        }
        let pause = match self.refused.remove(&pair(node, peer)) {
            true => REFUSED,
            false => BROKEN,
        };
        self.dial_after(node, peer, pause);
    }

    /// The node of that key; of copies the one that `from` has its newest link with.
    pub(super) fn index(&self, from: usize, id: &NodeId) -> usize {
        let copies = &self.numbers[id];
        if let [only] = copies.as_slice() {
            return *only;
        }
        // Without any link the first, which comes last.
        copies.iter().rev().copied().max_by_key(|copy| self.session(from, *copy)).unwrap()
    }

    pub(super) fn send(&mut self, node: usize, peer: &NodeId, frame: Vec<u8>) {
        assert!(frame.len() <= limits::FRAME_BYTES, "a frame over the limit");
        let to = self.index(node, peer);
        if !self.is_linked(node, to) {
            return;
        }
        let message = Message::decode(&frame).unwrap().unwrap();
        if self.nodes[node].is_honest && self.nodes[node].lie.is_none() {
            self.audience.told(&self.nodes, (node, to), &message);
        }
        match &message {
            Message::News(news) => {
                let Self { nodes, oracle, .. } = self;
                let heads = news.heads.iter().chain(&news.own);
                heads.for_each(|head| oracle.told(&nodes[node].disk, head));
            }
            Message::Entries { bodies, .. } => {
                *self.bodies.entry((node, to)).or_default() += bodies.len();
                self.measure.entries += bodies.len() as u64;
            }
            _ => {}
        }
        let kind = Traffic::of(&message);
        match &mut self.nodes[node].lie {
            Some(lie) => {
                for bytes in lie(to, message) {
                    self.transmit(node, to, kind, bytes);
                }
            }
            None => self.transmit(node, to, kind, frame),
        }
    }

    fn transmit(&mut self, from: usize, to: usize, kind: Traffic, bytes: Vec<u8>) {
        self.measure.sent.entry(kind).or_default().add(bytes.len());
        if self.watched == Some(to) {
            self.mail.push(bytes.clone());
        }
        let traffic = self.traffic.entry((from, to)).or_default();
        *traffic = (traffic.0 + bytes.len(), traffic.1 + 1);
        self.carry(from, to, bytes);
    }

    /// Sends a frame that the machine of `from` knows nothing of, however many there are at once.
    pub fn inject(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let Some(link) = self.links.get(&pair(from, to)) else { return };
        let (session, delay) = (link.session, link.model.latency);
        self.schedule.after(delay, Event::Frame { from, to, session, bytes });
    }

    /// Sends a frame over the link as it is.
    pub(super) fn carry(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&pair(from, to)) else { return };
        let session = link.session;
        let arrival = link.frame(end(from, to), now, bytes.len(), &mut self.chance);
        let too_much = link.unread(end(from, to)) > self.unread_bytes;
        match arrival {
            _ if too_much => {
                self.happened.add(Happening::TooSlow, 1);
                self.misbehaved(from, self.nodes[to].id, Refusal::TooSlow);
            }
            Arrival::Broken => {
                self.happened.add(Happening::Broken, 1);
                let notice = [self.chance.below(15_000_000), self.chance.below(15_000_000)];
                self.sever(from, to, notice);
            }
            Arrival::After(delay, again) => {
                self.happened.add(Happening::Retransmission, again as usize);
                self.schedule.after(delay, Event::Frame { from, to, session, bytes });
            }
        }
    }

    pub(super) fn arrive(&mut self, from: usize, to: usize, session: u64, bytes: Vec<u8>) {
        if self.session(from, to) != Some(session) {
            if matches!(Message::decode(&bytes), Ok(Some(Message::Entries { .. }))) {
                self.happened.add(Happening::TransferCut, 1);
            }
            return;
        }
        let id = self.nodes[from].id;
        self.happened.add(Happening::Oversized, usize::from(bytes.len() > limits::FRAME_BYTES));
        let node = &mut self.nodes[to];
        if let Some(pause) = node.reads_every {
            node.inbox.entry(from).or_default().push_back(bytes);
            if !core::mem::replace(&mut node.reading, true) {
                let life = node.life;
                self.schedule.after(pause, Event::Read { node: to, life });
            }
            return;
        }
        let waits = node.inbox.contains_key(&from);
        if waits || !node.accepts(&id) {
            node.inbox.entry(from).or_default().push_back(bytes);
            self.happened.add(Happening::Held, 1);
        } else {
            self.take(from, to, bytes);
        }
        self.read(to);
    }

    /// Takes frames in as long as the machine wants them.
    pub(super) fn read(&mut self, node: usize) {
        while !self.nodes[node].inbox.is_empty() && self.nodes[node].reads_every.is_none() {
            let peers = self.nodes[node].inbox.keys().copied();
            let wanted = |peer: &usize| self.nodes[node].accepts(&self.nodes[*peer].id);
            let Some(peer) = peers.into_iter().find(wanted) else { return };
            self.take_waiting(node, peer);
        }
    }

    /// A slow reader takes in one frame.
    pub(super) fn read_one(&mut self, node: usize) {
        let peers = self.nodes[node].inbox.keys().copied();
        let wanted = |peer: &usize| self.nodes[node].accepts(&self.nodes[*peer].id);
        if let Some(peer) = peers.into_iter().find(wanted) {
            self.take_waiting(node, peer);
        }
        let Self { nodes, schedule, .. } = self;
        let node_ref = &mut nodes[node];
        node_ref.reading = !node_ref.inbox.is_empty();
        if let Some(pause) = node_ref.reads_every.filter(|_| node_ref.reading) {
            schedule.after(pause, Event::Read { node, life: node_ref.life });
        }
    }

    fn take_waiting(&mut self, node: usize, peer: usize) {
        let queue = self.nodes[node].inbox.get_mut(&peer);
        let bytes = queue.and_then(VecDeque::pop_front);
        if self.nodes[node].inbox.get(&peer).is_some_and(VecDeque::is_empty) {
            self.nodes[node].inbox.remove(&peer);
        }
        if let Some(bytes) = bytes {
            self.take(peer, node, bytes);
        }
    }

    fn take(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        self.note(b'f', to, from, &bytes);
        if let Some(link) = self.links.get_mut(&pair(from, to)) {
            link.taken(end(from, to), bytes.len());
        }
        self.handle(to, Input::Received(self.nodes[from].id, bytes));
    }

    pub(super) fn broadcast(&mut self, node: usize, bytes: &[u8]) {
        let head = Announcement::decode(bytes).unwrap().head;
        self.oracle.told(&self.nodes[node].disk, &head);
        let number = self.messages.number(bytes);
        self.messages.seen(number, node);
        for to in self.connected[node].clone() {
            self.spread_to(node, to, number);
        }
    }

    pub(super) fn forward(&mut self, node: usize, except: usize, number: usize) {
        let members: Vec<_> = self.mesh.of(node).filter(|member| *member != except).collect();
        for to in members {
            self.spread_to(node, to, number);
        }
    }

    fn spread_to(&mut self, from: usize, to: usize, number: usize) {
        let bytes = self.messages.bytes(number).len();
        let now = self.now();
        let Some(link) = self.links.get_mut(&pair(from, to)) else { return };
        self.measure.sent.entry(Traffic::Gossip).or_default().add(bytes);
        let copies = link.gossip(end(from, to), now, bytes, self.loss, &mut self.chance);
        self.happened.add(Happening::GossipLost, usize::from(copies.delays.is_empty()));
        self.happened.add(Happening::GossipCopied, usize::from(copies.delays.len() > 1));
        self.happened.add(Happening::GossipHeldUp, usize::from(copies.held_up));
        for delay in copies.delays {
            self.schedule.after(delay, Event::Gossip { from, to, number });
        }
    }

    /// Lets the driver of a node see a fault of a peer.
    pub fn misbehaved(&mut self, node: usize, peer: NodeId, refusal: Refusal) {
        self.give(node, Input::Misbehaved(peer, refusal));
    }

    /// Passes a gossip message to a node as if `from` had.
    pub fn gossip(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let number = self.messages.number(bytes);
        self.schedule.after(0, Event::Gossip { from, to, number });
    }

    pub(super) fn hear(&mut self, from: usize, to: usize, number: usize) {
        let linked = self.is_linked(from, to);
        let node = &mut self.nodes[to];
        if !linked || !node.hears_gossip || node.machine.is_none() {
            return;
        }
        if !self.messages.seen(number, to) {
            self.measure.gossip_again += 1;
            return;
        }
        self.measure.gossip_new += 1;
        node.last_handle += 1;
        let handle = node.last_handle;
        node.heard.insert(handle, (from, number));
        let bytes: Rc<[u8]> = self.messages.bytes(number);
        if self.watched == Some(to) {
            self.mail.push(bytes.to_vec());
        }
        self.note(b'g', to, from, &bytes);
        let peer = self.nodes[from].id;
        self.give(to, Input::Heard { handle, peer, bytes: bytes.to_vec() });
    }
}
