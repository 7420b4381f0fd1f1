//! Who runs under which node's key: finds two live copies of one node.
//!
//! Every process greets with a random *run* number. A partner that meets one
//! node under two run numbers tells each of the other; a process that hears of
//! another run of itself answers with a signed [`Alive`] over both numbers.
//! Since run numbers are random and new at each start, an [`Alive`] over the
//! number we bear now was made since we started, by somebody who holds our log
//! key: another copy of us. The later of the two stops signing.
//!
//! ```text
//! copy 1            partner             copy 2
//!                     ◄── Hello 2 ────────┤     1 never left
//!                     ├── Seen 1 ────────►│     signs nothing for a while
//!                     │◄─ Alive 2, for 1 ─┤     kept
//!   ├── Hello 1 ────► │
//!   │◄─ Seen 2 ───────┤
//!   │◄─ Alive 2, for 1┤                         1 knows; it is earlier, and warns
//!   ├─ Alive 1, for 2►├── (when it is back) ──► 2 knows; it is later, and stops
//! ```
//!
//! Partners tell each other of new runs, too, one step far, since the copies may
//! be connected to different ones; then both copies prove themselves at once.
//!
//! **Invariants:** only nodes of known identities are remembered, at most
//! [`limits::RUNS`]; a frame causes at most two; nothing
//! said without a signature does more than delay us a bounded time.

use std::collections::BTreeMap;

use super::Context;
use super::ledger::Ledger;
use super::wire::{Message, UnverifiedAlive};
use crate::cbor::Writer;
use crate::id::{AuthorityId, NetworkName, NodeId};
use crate::key::{SIGNATURE_BYTES, SecretKey};
use crate::limits;
use crate::time::UnixTime;

/// Random number of one run of a node.
pub(super) type Run = [u8; 16];

/// What a holder of the log key says of a run of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    started: UnixTime,
    run: Run,
}

/// A statement by the holder of an authority's log key: this run is alive, and
/// has heard of the run `probe`.
#[derive(Clone, Debug)]
pub(super) struct Alive {
    standing: Standing,
    probe: Run,
    received: UnverifiedAlive,
}

impl UnverifiedAlive {
    /// Checks the signature under the log key of the authority the node works for.
    fn verify(self, ledger: &Ledger) -> Option<Alive> {
        let authority = ledger.authority_of(&self.node)?;
        let key = ledger.identity(&authority)?.log_key();
        let message = statement(ledger.network(), &authority, &self);
        key.verify(&message, &self.signature).ok()?;
        let standing = Standing { started: self.started, run: self.run };
        Some(Alive { standing, probe: self.probe, received: self })
    }
}

/// What is signed. It begins with a CBOR array, so it can never be a note.
fn statement(network: &NetworkName, authority: &AuthorityId, alive: &UnverifiedAlive) -> Vec<u8> {
    let mut w = Writer::default();
    w.array(7).text("tallystick/alive/1").text(network.as_str()).bytes(authority.as_bytes());
    w.bytes(alive.node.as_bytes()).bytes(&alive.run).unsigned(alive.started.as_seconds());
    w.bytes(&alive.probe);
    w.finish()
}

/// A node as we met it last.
#[derive(Debug)]
struct Sighting {
    run: Run,
    /// Its session has not ended since.
    open: bool,
    /// The last statement it handed in itself.
    alive: Option<Alive>,
    /// The partner that met it under another run, and that run.
    elsewhere: Option<(NodeId, Run)>,
}

/// What a proof that another copy of us lives means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// It started later: we go on.
    Later,
    /// It started earlier: we stop.
    Earlier,
}

/// Runs of this node and of others.
#[derive(Debug)]
pub(super) struct Presence {
    node: NodeId,
    own: Standing,
    key: SecretKey,
    /// The last other run of ours that has proved itself.
    rival: Option<Run>,
    seen: BTreeMap<NodeId, Sighting>,
}

impl Presence {
    pub(super) const fn new(node: NodeId, run: Run, started: UnixTime, key: SecretKey) -> Self {
        let own = Standing { started, run };
        Self { node, own, key, rival: None, seen: BTreeMap::new() }
    }

    pub(super) const fn run(&self) -> Run {
        self.own.run
    }

    /// From now on this is another run: its memory may be a copy of the one before.
    pub(super) const fn renew(&mut self, run: Run) {
        self.own.run = run;
    }

    /// Whether another copy of this node has proved itself.
    pub(super) const fn has_rival(&self) -> bool {
        self.rival.is_some()
    }

    /// A session ended, and no other took its place.
    pub(super) fn closed(&mut self, peer: &NodeId) {
        if let Some(sighting) = self.seen.get_mut(peer) {
            sighting.open = false;
        }
    }

    /// A partner's node greeted. It is told of the run that was here before it,
    /// before anything else. `true` if its run was not known here.
    pub(super) fn greeted(&mut self, cx: &mut Context<'_>, peer: NodeId, run: Run) -> bool {
        if cx.ledger.authority_of(&peer).is_none() || !self.make_room(&peer) {
            return false;
        }
        let Some(sighting) = self.seen.get_mut(&peer) else {
            self.seen.insert(peer, Sighting { run, open: true, alive: None, elsewhere: None });
            return true;
        };
        let before = core::mem::replace(&mut sighting.run, run);
        let live = core::mem::replace(&mut sighting.open, true);
        // The proof first, so that who has it need not wait for it.
        if let Some(alive) = sighting.alive.as_ref().filter(|alive| alive.probe == run) {
            cx.out.send(peer, &Message::Alive(alive.received.clone()));
        }
        if before != run && live {
            cx.out.send(peer, &Message::Seen { node: peer, run: before });
        }
        before != run
    }

    /// Forgets a node that is not here, if there are too many.
    fn make_room(&mut self, peer: &NodeId) -> bool {
        if self.seen.len() < limits::RUNS || self.seen.contains_key(peer) {
            return true;
        }
        let gone = self.seen.iter().find(|(_, sighting)| !sighting.open);
        let gone = gone.map(|(node, _)| *node);
        gone.is_some_and(|node| self.seen.remove(&node).is_some())
    }

    /// A partner has a session with a run. `true` if it is another one of ours.
    pub(super) fn saw(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        (node, run): (NodeId, Run),
    ) -> bool {
        if cx.ledger.authority_of(&peer).is_none() {
            return false;
        }
        if node != self.node {
            self.relay_sight(cx, peer, (node, run));
            return false;
        }
        if run == self.own.run {
            return false;
        }
        self.prove(cx, peer, run);
        self.rival != Some(run)
    }

    /// A node has a session here, and another, under another run, with a
    /// partner: both runs are told, and what they answer will be passed on.
    fn relay_sight(&mut self, cx: &mut Context<'_>, peer: NodeId, (node, run): (NodeId, Run)) {
        let here = self.seen.get_mut(&node);
        // What a node says of itself it says by greeting.
        let here = here.filter(|here| here.open && here.run != run && node != peer);
        let elsewhere = Some((peer, run));
        if let Some(here) = here.filter(|here| here.elsewhere != elsewhere) {
            here.elsewhere = elsewhere;
            cx.out.send(node, &Message::Seen { node, run });
            cx.out.send(peer, &Message::Seen { node, run: here.run });
        }
    }

    /// Says, signed, that we are alive and have heard of that other run.
    fn prove(&self, cx: &mut Context<'_>, to: NodeId, probe: Run) {
        let Some(authority) = cx.ledger.authority_of(&self.node) else { return };
        let Standing { started, run } = self.own;
        let signature = [0; SIGNATURE_BYTES];
        let mut alive = UnverifiedAlive { node: self.node, run, started, probe, signature };
        alive.signature = self.key.sign(&statement(cx.ledger.network(), &authority, &alive));
        cx.out.send(to, &Message::Alive(alive));
    }

    /// A statement came: about another run of ours, or to be passed on.
    pub(super) fn alive(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        alive: UnverifiedAlive,
    ) -> Option<Copy> {
        if alive.node != self.node {
            self.relay_alive(cx, peer, alive);
            return None;
        }
        if alive.probe != self.own.run || alive.run == self.own.run {
            // Of an earlier run of ours, or our own words: proves nothing.
            return None;
        }
        let Alive { standing, .. } = alive.verify(cx.ledger)?;
        if self.rival != Some(standing.run) {
            self.rival = Some(standing.run);
            // It may not have heard of us yet.
            self.prove(cx, peer, standing.run);
        }
        Some(if standing < self.own { Copy::Earlier } else { Copy::Later })
    }

    fn relay_alive(&mut self, cx: &mut Context<'_>, peer: NodeId, alive: UnverifiedAlive) {
        let Some(here) = self.seen.get_mut(&alive.node).filter(|here| here.open) else { return };
        let node = alive.node;
        let for_it = here.run == alive.probe && alive.run != here.run;
        if node != peer {
            if for_it && let Some(alive) = alive.verify(cx.ledger) {
                cx.out.send(node, &Message::Alive(alive.received));
            }
            return;
        }
        if here.run != alive.run {
            return;
        }
        let elsewhere = here.elsewhere.filter(|(_, run)| *run == alive.probe);
        let Some(alive) = alive.verify(cx.ledger) else { return };
        if let Some((partner, _)) = elsewhere {
            cx.out.send(partner, &Message::Alive(alive.received.clone()));
        }
        here.alive = Some(alive);
    }
}
