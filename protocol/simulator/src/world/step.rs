//! One step of a machine: an input, its outputs, its disk.

use tallystick_protocol::checkpoint::witness_key;
use tallystick_protocol::id::NodeId;
use tallystick_protocol::limits;
use tallystick_protocol::sync::{Append, Input, Load, Machine, Notice, Output, Refusal, Verdict};
use tallystick_protocol::time::UnixTime;
use tallystick_protocol::witness::Decision;

use super::{Event, Happening, World};
use crate::authority::network;
use crate::disk::{Done, Write};
use crate::node::Node;
use crate::oracle::Oracle;
use crate::schedule::SECOND;

/// How long a read from the disk takes, in microseconds.
const READ: u64 = 300;

impl World {
    /// Gives an input, and then whatever frames are wanted after it.
    pub fn give(&mut self, node: usize, input: Input) {
        if let Input::Invited { group, hosts } = &input {
            self.audience.invited(node, *group, hosts);
        }
        self.handle(node, input);
        self.read(node);
    }

    pub(super) fn handle(&mut self, node: usize, input: Input) {
        let now = self.now();
        let Self { nodes, verified, shares_checks, .. } = self;
        let Node { machine: Some(machine), clock, tape, verified: own, .. } = &mut nodes[node]
        else {
            return;
        };
        let verified = if *shares_checks { verified } else { own };
        let local = clock.read(now);
        if let Some(tape) = tape {
            tape.inputs.push((local, input.clone()));
        }
        machine.swap_verified(verified);
        machine.handle(local, input);
        machine.swap_verified(verified);
        while let Some(output) = self.nodes[node].machine.as_mut().and_then(Machine::poll) {
            self.perform(node, output);
        }
        let Node { machine: Some(machine), clock, tick_at, life, most_staged, .. } =
            &mut self.nodes[node]
        else {
            return;
        };
        *most_staged = (*most_staged).max(machine.staged_bytes());
        // Invariant 7.
        assert!(machine.staged_bytes() <= limits::STAGED_BYTES + limits::FRAME_BYTES);
        let due = machine.deadline().map(|due| clock.when(now, due));
        // A tick that comes too early finds nothing due, and is scheduled again.
        if let Some(at) = due.filter(|at| tick_at.is_none_or(|before| *at < before)) {
            *tick_at = Some(at);
            let life = *life;
            self.schedule.after(at - now, Event::Tick { node, life, at });
        }
    }

    pub(super) fn tick(&mut self, node: usize, at: u64) {
        let now = self.now();
        let Node { machine: Some(machine), clock, tick_at, life, .. } = &mut self.nodes[node]
        else {
            return;
        };
        if *tick_at != Some(at) {
            return;
        }
        *tick_at = None;
        match machine.deadline().map(|due| clock.when(now, due)) {
            Some(due) if due > now => {
                *tick_at = Some(due);
                let life = *life;
                self.schedule.after(due - now, Event::Tick { node, life, at: due });
            }
            Some(_) => self.give(node, Input::Tick),
            None => {}
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send(peer, frame) => self.send(node, &peer, frame),
            Output::Disconnect { peer, refusal } => {
                let peer = self.index(node, &peer);
                self.note(b'd', node, peer, refusal.label().as_bytes());
                self.refused.insert((node.min(peer), node.max(peer)));
                self.disconnect(node, peer);
            }
            Output::Append(ticket, append) => self.write(node, Write::Append(ticket, append)),
            Output::Revert(ticket, revert) => self.write(node, Write::Revert(ticket, revert)),
            Output::Fill(ticket, fill) => self.write(node, Write::Fill(ticket, fill)),
            Output::Cosign(ticket, cosign) => self.write(node, Write::Cosign(ticket, cosign)),
            Output::StoreEvidence(evidence) => self.write(node, Write::Evidence(evidence)),
            Output::StoreIdentity(identity) => {
                self.oracle.identity(&identity);
                self.write(node, Write::Identity(identity));
            }
            Output::StoreCursor { authority, cursor } => {
                self.write(node, Write::Cursor(authority, cursor));
            }
            Output::Load(ticket, load) => {
                let compared = matches!(load, Load::Proof { .. });
                self.happened.add(Happening::Compared, usize::from(compared));
                self.nodes[node].loading += 1;
                let life = self.nodes[node].life;
                self.schedule.after(READ, Event::Loaded { node, life, ticket, load });
            }
            Output::Broadcast(bytes) => self.broadcast(node, &bytes),
            Output::Verdict { handle, verdict } => {
                let (from, number) = self.nodes[node].heard.remove(&handle).unwrap();
                if verdict == Verdict::Accept {
                    self.measure.gossip_entries += self.messages.entries(number);
                    self.forward(node, from, number);
                }
            }
            Output::Authored { command, log, start, count, signed } => {
                let end = start + count as u64;
                let born = self.commanded.remove(&(node, command));
                let author = &mut self.nodes[node];
                let end = Oracle::acknowledged(&author.disk, &log, end, signed);
                if log == author.who.log() {
                    author.acknowledged = author.acknowledged.max(end);
                }
                author.authored.push((command, start, count, signed));
                if let Some(born) = born {
                    self.oracle.born(&log, end, born);
                }
            }
            Output::AuthorRefused { command, refusal } => {
                self.commanded.remove(&(node, command));
                self.nodes[node].author_refused.push((command, refusal));
            }
            Output::Notify(notice) => self.notify(node, notice),
        }
    }

    fn notify(&mut self, node: usize, notice: Notice) {
        match notice {
            // Progress: too much of it to be kept.
            Notice::LogAdvanced { .. } | Notice::IdentityAccepted { .. } => return,
            Notice::Refused { peer, refusal, .. } => {
                if let Some(peer) = peer.filter(|_| self.is_watchful) {
                    self.blame(node, &peer, refusal);
                }
                self.note(b'r', node, 0, refusal.label().as_bytes());
                *self.nodes[node].refusals.entry(refusal).or_default() += 1;
                self.count_refusal(node, refusal);
            }
            Notice::Stalled { .. } => self.happened.add(Happening::Stalled, 1),
            Notice::OwnLogRecovered { .. } => self.happened.add(Happening::OwnRecovered, 1),
            _ => {}
        }
        self.nodes[node].notices.push(notice);
    }

    /// No honest node is blamed by another, whatever it passed on. That it was
    /// silent may be the fault of what lies between them.
    fn blame(&self, node: usize, peer: &NodeId, refusal: Refusal) {
        let peer = self.index(node, peer);
        let honest = [node, peer].into_iter().all(|node| self.nodes[node].is_honest);
        let excused = !refusal.is_peers_fault() || refusal == Refusal::Silent;
        assert!(!honest || excused, "{node} blames {peer}, which is honest: {}", refusal.label());
    }

    fn count_refusal(&mut self, node: usize, refusal: Refusal) {
        if self.nodes[node].is_honest {
            *self.happened.refusals.entry(refusal).or_default() += 1;
        }
    }

    fn write(&mut self, node: usize, write: Write) {
        self.nodes[node].disk.pending.push_back(write);
        self.flush_on(node);
    }

    pub(super) fn flush_on(&mut self, node: usize) {
        let Node { disk, life, .. } = &mut self.nodes[node];
        if disk.flushing == 0 && !disk.pending.is_empty() {
            disk.flushing = disk.pending.len();
            let (delay, life) = (disk.delay, *life);
            self.schedule.after(delay, Event::Flushed { node, life });
        }
    }

    pub(super) fn flushed(&mut self, node: usize) {
        let Self { nodes, archive, chance, .. } = self;
        let own = nodes[node].who.log();
        for done in nodes[node].disk.flush(archive, chance) {
            match done {
                Done::Appended { ticket, append, fresh, signed } => {
                    self.durable(node, &append, fresh);
                    if append.log != own {
                        self.measure.stored += append.entries.len() as u64;
                        let now = self.now();
                        self.oracle.reached(&append.log, signed.0, signed.1, now);
                    }
                    self.handle(node, Input::Appended(ticket));
                }
                Done::Cosigned(ticket, decision) => {
                    let line = decision.map(|decision| self.cosign(node, &decision));
                    self.handle(node, Input::Cosigned(ticket, line));
                }
                Done::Reverted(ticket, tree) => {
                    self.happened.add(Happening::SetAside, 1);
                    self.handle(node, Input::Reverted(ticket, tree));
                }
                Done::Filled(ticket) => {
                    self.happened.add(Happening::BodyFilled, 1);
                    self.handle(node, Input::Filled(ticket));
                }
                Done::Failed(ticket) => {
                    self.happened.add(Happening::StoreFailed, 1);
                    self.handle(node, Input::StoreFailed(ticket));
                }
            }
        }
        self.flush_on(node);
        self.read(node);
    }

    /// A witness signs what its disk has let it, at a time that only grows.
    fn cosign(&mut self, node: usize, decision: &Decision) -> String {
        self.happened.add(Happening::Cosigned, 1);
        let who = &self.nodes[node].who;
        let key = witness_key(&network(), &who.authority(), who.witness_key().public());
        let time = UnixTime::from_seconds(1_800_000_000 + self.now() / SECOND);
        decision.cosign(key.name(), &who.witness_key(), time).unwrap().to_string()
    }

    /// Invariants 1, 2 and 3 of what has just become durable.
    pub(super) fn durable(&mut self, node: usize, append: &Append, fresh: bool) {
        let Node { who, disk, is_honest, .. } = &self.nodes[node];
        let own = who.log();
        if *is_honest {
            self.oracle.signing(node, own, &disk.logs[&append.log], append);
        }
        self.oracle.stored(own, append, fresh);
        self.audience.durable(&self.nodes, node, append);
    }
}
