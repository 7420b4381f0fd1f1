//! Hostile nodes: what they say instead of the truth, and what they do unasked.
//!
//! A hostile node runs an honest machine, so that it gets far enough to do harm;
//! [`lie`] changes what that machine says, and the world adds attacks.
//! An equivocating author is two nodes under one key with two histories, each
//! telling its own; see [`crate::scenario`].

use std::collections::BTreeMap;

use tallystick_protocol::checkpoint::{self, Checkpoint, Origin};
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::limits;
use tallystick_protocol::sync::wire::{Announcement, Message};

use crate::authority::{Who, network};
use crate::chance::Chance;
use crate::disk::claimed;
use crate::node::Lie;

/// What a hostile node is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Frames and gossip that are no messages.
    Garbage,
    /// Frames over the limit.
    Oversized,
    /// As many requests, questions and old gossip as it can send.
    Flooder,
    /// Takes in a frame every few seconds.
    SlowReader,
    /// Tells the first head it ever told of each log, for ever.
    Replayer,
    /// Announces everything and serves nothing.
    Withholder,
    /// Serves entries and outlines that are not those signed.
    WrongSubtree,
    /// Says wrong things to authors about their own logs.
    OwnHeadLiar,
    /// Signs two histories.
    Equivocator,
}

/// All roles that one node can play alone.
pub const ROLES: [Role; 8] = [
    Role::Garbage,
    Role::Oversized,
    Role::Flooder,
    Role::SlowReader,
    Role::Replayer,
    Role::Withholder,
    Role::WrongSubtree,
    Role::OwnHeadLiar,
];

impl Role {
    /// How long it waits between attacks of its own accord, in microseconds; `None` if it has none.
    #[must_use]
    pub const fn pause(self) -> Option<u64> {
        match self {
            Self::Garbage => Some(1_500_000),
            Self::Oversized => Some(4_000_000),
            Self::Flooder => Some(1_000_000),
            Self::Replayer => Some(500_000),
            _ => None,
        }
    }
}

/// What becomes of what its machine says, by role. Some tell the truth and do
/// other things.
#[must_use]
pub fn lie(role: Role, who: &Who, seed: u64) -> Option<Lie> {
    let mut chance = Chance::new(seed);
    let honest = |message: &Message| vec![message.encode()];
    Some(match role {
        Role::Replayer => {
            let mut first: BTreeMap<LogId, Vec<u8>> = BTreeMap::new();
            Box::new(move |_, mut message| {
                if let Message::News(news) = &mut message {
                    for head in &mut news.heads {
                        let kept = first.entry(claimed(head).0).or_insert_with(|| head.clone());
                        head.clone_from(kept);
                    }
                }
                honest(&message)
            })
        }
        Role::Withholder => Box::new(move |_, mut message| match &mut message {
            Message::OutlinePage(page) if chance.percent(30) => {
                honest(&Message::Refused { id: page.id })
            }
            Message::Entries { bodies, .. } => match chance.below(3) {
                0 => Vec::new(),
                1 => {
                    bodies.iter_mut().for_each(|body| *body = None);
                    honest(&message)
                }
                _ => {
                    bodies.clear();
                    honest(&message)
                }
            },
            _ => honest(&message),
        }),
        Role::WrongSubtree => Box::new(move |_, mut message| {
            match &mut message {
                Message::OutlinePage(page) if chance.percent(30) => {
                    let wrong = Hash::from_bytes([9; 32]);
                    page.subtrees.iter_mut().take(1).for_each(|root| *root = wrong);
                    page.tail = page.tail.map(|_| wrong);
                }
                Message::Entries { headers, bodies, .. } => {
                    let bodies = bodies.iter_mut().flatten();
                    if let Some(bytes) = headers.iter_mut().chain(bodies).last() {
                        let at = bytes.len() / 2;
                        bytes[at] ^= 1;
                    }
                }
                _ => {}
            }
            honest(&message)
        }),
        Role::OwnHeadLiar => {
            let own = who.clone();
            Box::new(move |_, mut message| {
                if let Message::News(news) = &mut message {
                    match chance.below(10) {
                        // A later head of the asker's log, by the wrong key.
                        0 => news.own = news.own.iter().map(|head| forged(&own, head)).collect(),
                        _ => news.own.clear(),
                    }
                }
                honest(&message)
            })
        }
        _ => return None,
    })
}

fn forged(liar: &Who, head: &[u8]) -> Vec<u8> {
    let (log, size) = claimed(head);
    let origin = Origin::public(&network(), &log.authority, log.generation);
    let head = Checkpoint::new(origin, size + 5, Hash::from_bytes([3; 32])).unwrap();
    checkpoint::sign(&head, &liar.log_key()).unwrap().to_bytes()
}

/// Something sent unasked.
pub(crate) enum Attack {
    Frame(Vec<u8>),
    Gossip(Vec<u8>),
}

/// What a node of this role sends to one peer now. `log` is some log it knows,
/// `head` the oldest head it has seen of it.
pub(crate) fn attack(
    role: Role,
    chance: &mut Chance,
    known: Option<(LogId, Vec<u8>)>,
) -> Vec<Attack> {
    match role {
        Role::Garbage => {
            let length = 1 + chance.index(3_000);
            vec![Attack::Gossip(chance.bytes(length)), Attack::Frame(chance.bytes(length))]
        }
        Role::Oversized => vec![
            Attack::Gossip(vec![0; limits::GOSSIP_BYTES + 1]),
            Attack::Frame(vec![0x83; limits::FRAME_BYTES + 1]),
        ],
        Role::Flooder => {
            let mut flood = vec![Attack::Frame(vec![0x82, 0x18, 99, 0x00])];
            for id in 0..20 {
                if id % 10 == 0 {
                    flood.push(Attack::Frame(Message::Since { cursor: None }.encode()));
                }
                if let Some((log, head)) = &known {
                    let log = *log;
                    let want = Message::WantEntries { id, log, start: 0, end: 1 };
                    flood.push(Attack::Frame(want.encode()));
                    let outline = Message::WantOutline { id: id + 100, log, from: 0, size: 1 };
                    flood.push(Attack::Frame(outline.encode()));
                    // A new message to gossipsub each time, of old content.
                    let start = chance.next() >> 1;
                    let old = Announcement { head: head.clone(), start, entries: Vec::new() };
                    flood.push(Attack::Gossip(old.encode()));
                }
            }
            flood
        }
        Role::Replayer => known
            .into_iter()
            .map(|(_, head)| {
                let start = chance.below(1_000);
                Attack::Gossip(Announcement { head, start, entries: Vec::new() }.encode())
            })
            .collect(),
        _ => Vec::new(),
    }
}
