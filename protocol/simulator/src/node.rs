//! One simulated node: a machine, its disk, its clock, and what it is made to do.

use std::collections::{BTreeMap, VecDeque};

use tallystick_protocol::id::NodeId;
use tallystick_protocol::sync::wire::Message;
use tallystick_protocol::sync::{
    AuthorRefusal, Config, Input, Machine, Notice, Quota, Refusal, Stored, Verified,
};
use tallystick_protocol::time::{Timestamp, UnixTime};

use crate::authority::{Who, network};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::hostile::Role;

/// Heads that a machine remembers to have checked, where nothing is shared: fewer
/// than a real one, so that many fit into memory, and enough for all copies of a head.
const VERIFIED: usize = 512;

/// Changes what a liar sends: gets whom to and what, gives what goes out instead.
pub type Lie = Box<dyn FnMut(usize, Message) -> Vec<Vec<u8>>>;

/// One node.
pub struct Node {
    /// Whose node it is.
    pub who: Who,
    /// Its key.
    pub id: NodeId,
    /// Its machine while it runs.
    pub machine: Option<Machine>,
    /// What its machine remembers of earlier checks, where nothing is shared.
    pub(crate) verified: Verified,
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub clock: Clock,
    /// How much of others' logs it fetches.
    pub quota: Quota,
    /// See [`Config::own_head_answers`].
    pub own_head_answers: usize,
    /// See [`Config::sign_alone`].
    pub signs_alone: bool,
    /// What becomes of what its machine says, if it lies.
    pub lie: Option<Lie>,
    /// What it does besides, if it is hostile.
    pub role: Option<Role>,
    /// Its author signs one history only, and it follows the protocol.
    pub is_honest: bool,
    /// Whether gossip reaches it.
    pub hears_gossip: bool,
    /// Takes one frame in every so many microseconds, however fast they come.
    pub reads_every: Option<u64>,
    /// What its machine said, but for progress.
    pub notices: Vec<Notice>,
    /// Refusals it gave, by reason.
    pub refusals: BTreeMap<Refusal, usize>,
    /// Acknowledged commands: command, first index, count, signed.
    pub authored: Vec<(u64, u64, usize, bool)>,
    /// Commands that were refused.
    pub author_refused: Vec<(u64, AuthorRefusal)>,
    /// The most bytes it ever had staged.
    pub most_staged: usize,
    /// Entries of its own log that were acknowledged.
    pub acknowledged: u64,
    /// Counts crashes and reversions: what was under way in an earlier life is void.
    pub(crate) life: u64,
    pub(crate) run: u64,
    pub(crate) started: UnixTime,
    number: usize,
    /// Frames that arrived and were not taken in; no empty queues.
    pub(crate) inbox: BTreeMap<usize, VecDeque<Vec<u8>>>,
    pub(crate) heard: BTreeMap<u64, (usize, usize)>,
    pub(crate) last_handle: u64,
    /// When the next tick is scheduled, in virtual time.
    pub(crate) tick_at: Option<u64>,
    pub(crate) reading: bool,
    /// Loads that the disk has not answered.
    pub(crate) loading: usize,
    /// Everything since the start, to come back to this moment; see [`Snapshot`].
    pub(crate) tape: Option<Tape>,
}

/// All that a machine was told since it started. A machine is deterministic, so
/// this is a copy of its memory.
#[derive(Clone)]
pub(crate) struct Tape {
    pub(crate) stored: Stored,
    pub(crate) inputs: Vec<(Timestamp, Input)>,
}

/// A running node's memory, disk and clock at one moment, as a hypervisor keeps them.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) tape: Tape,
    pub(crate) disk: Disk,
    pub(crate) reads: Timestamp,
    pub(crate) run: u64,
    pub(crate) started: UnixTime,
}

impl Node {
    pub(crate) fn new(who: Who, which: u8, number: usize, is_honest: bool) -> Self {
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Self {
            id: who.node(which),
            who,
            machine: None,
            verified: Verified::with_room(VERIFIED, 0),
            disk: Disk { incarnation, delay: 3_000, ..Disk::default() },
            clock: Clock::default(),
            quota: Quota::default(),
            own_head_answers: 0,
            signs_alone: false,
            lie: None,
            role: None,
            is_honest,
            hears_gossip: true,
            reads_every: None,
            notices: Vec::new(),
            refusals: BTreeMap::new(),
            authored: Vec::new(),
            author_refused: Vec::new(),
            most_staged: 0,
            acknowledged: 0,
            life: 0,
            run: 0,
            started: UnixTime::from_seconds(0),
            number,
            inbox: BTreeMap::new(),
            heard: BTreeMap::new(),
            last_handle: 0,
            tick_at: None,
            reading: false,
            loading: 0,
            tape: None,
        }
    }

    /// What its machine is started with in run number `run`, begun at `started`.
    pub(crate) fn config(&self, run: u64, started: UnixTime) -> Config {
        Config {
            network: network(),
            authority: self.who.authority(),
            log_key: self.who.log_key(),
            generation: self.who.identity.generation(),
            node: self.id,
            run: self.run_number(run),
            started,
            own_head_answers: self.own_head_answers,
            sign_alone: self.signs_alone,
        }
    }

    /// A number that no other run of any node has.
    pub(crate) fn run_number(&self, run: u64) -> [u8; 16] {
        let mut number = [0; 16];
        number[..8].copy_from_slice(&run.to_be_bytes());
        number[8..].copy_from_slice(&(self.number as u64).to_be_bytes());
        number
    }

    /// Whether it runs.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub(crate) fn accepts(&self, peer: &NodeId) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.accepts(peer))
    }

    pub(crate) fn forget_life(&mut self) {
        self.life += 1;
        self.inbox.clear();
        self.heard.clear();
        self.tick_at = None;
        self.reading = false;
        self.loading = 0;
    }
}
