//! Messages of the sync stream `/tallystick/sync/1` and of gossip.
//!
//! A frame is one message: a deterministic CBOR array `[type, …]`. Each field is
//! read under its limit before anything is allocated for it. Frames of an
//! unknown type are skipped, so that later versions can say more; a malformed
//! frame of a known type ends the session.

mod lines;

pub use self::lines::{HeldLines, Offer, PREFIX_BYTES, WantedLines};
use crate::cbor::{CborError, Reader, Writer};
use crate::id::{AuthorityId, Generation, GroupId, Hash, LogId, NetworkName, NodeId, Space};
use crate::key::SIGNATURE_BYTES;
use crate::limits;
use crate::time::UnixTime;

/// Number by which a request and its answers belong together; chosen by the asker.
pub type RequestId = u64;

/// Everything two nodes say to each other on a sync stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First frame of each side.
    Hello(Hello),
    /// Asks for what changed since a cursor the other side once gave; all if `None`.
    Since {
        /// The cursor, opaque to us.
        cursor: Option<Vec<u8>>,
    },
    /// What changed.
    News(News),
    /// Asks for an outline; see [`crate::log::Outline`].
    WantOutline {
        /// Number of the request.
        id: RequestId,
        /// The log.
        log: LogId,
        /// Entries the asker has.
        from: u64,
        /// Size of the checkpoint it targets.
        size: u64,
    },
    /// One page of an outline.
    OutlinePage(OutlinePage),
    /// Asks for the entries `start..end` of one subtree.
    WantEntries {
        /// Number of the request.
        id: RequestId,
        /// The log.
        log: LogId,
        /// First entry.
        start: u64,
        /// One past the last entry; in the same subtree as `start`.
        end: u64,
    },
    /// Asks for bodies from `start` on that did not fit into an earlier answer.
    WantBodies {
        /// Number of the request.
        id: RequestId,
        /// The log.
        log: LogId,
        /// First entry whose body is wanted.
        start: u64,
        /// One past the last entry; in the same subtree as `start`.
        end: u64,
    },
    /// Entries of one subtree: the one answer to a request for entries or bodies.
    Entries {
        /// Number of the request.
        id: RequestId,
        /// All headers asked for; none where only bodies were.
        headers: Vec<Vec<u8>>,
        /// As many of the bodies as fit, from the first on; `None` where absent.
        bodies: Vec<Option<Vec<u8>>>,
    },
    /// The request cannot be served (any more).
    Refused {
        /// Number of the request.
        id: RequestId,
    },
    /// A node has a session under a run number: said to the node itself when it
    /// greets under another, and to partners that may have met it under another.
    Seen {
        /// The node.
        node: NodeId,
        /// Its run number.
        run: [u8; 16],
    },
    /// A run of a node is alive.
    Alive(UnverifiedAlive),
    /// Heads of a private group's logs: said to members only.
    GroupHeads {
        /// The group.
        group: GroupId,
        /// The heads.
        heads: Vec<GroupHead>,
    },
    /// A witness has cosigned a head of the receiver's.
    Cosigned {
        /// The log.
        log: LogId,
        /// Entries under the head.
        size: u64,
        /// The line (C2SP tlog-cosignature), without its line feed; unverified.
        line: String,
    },
    /// How many lines of witnesses the sender has on heads that the receiver knows.
    Offers(Vec<Offer>),
    /// Asks for lines of witnesses.
    WantLines(Vec<WantedLines>),
    /// Lines of witnesses, for whoever asked.
    Lines(Vec<HeldLines>),
}

/// A signed head of a log in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// Whose log.
    pub authority: AuthorityId,
    /// Which generation of it.
    pub generation: Generation,
    /// The head, as a signed note; unverified.
    pub note: Vec<u8>,
}

/// A statement by the holder of a node's log key that a run of the node is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedAlive {
    /// The node.
    pub node: NodeId,
    /// The run that is alive.
    pub run: [u8; 16],
    /// When it was started, as its clock said.
    pub started: UnixTime,
    /// The run it has heard of, to which this is an answer.
    pub probe: [u8; 16],
    /// Over all of it, by the log key.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Network of the caller.
    pub network: NetworkName,
    /// Authority the caller's node works for; checked against its node keys.
    pub authority: AuthorityId,
    /// Random number of this run of the node: tells a clone from a reconnect.
    pub run: [u8; 16],
    /// Cursor at which the caller stopped reading our news.
    pub cursor: Option<Vec<u8>>,
}

/// Changes since a cursor, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct News {
    /// Where to go on from next time.
    pub cursor: Vec<u8>,
    /// Whether there is more to ask for at once.
    pub more: bool,
    /// Identity chains: lists of signed events.
    pub identities: Vec<Vec<Vec<u8>>>,
    /// Signed heads (notes).
    pub heads: Vec<Vec<u8>>,
    /// Heads of the asker's own logs as the answerer knows them, changed or not.
    pub own: Vec<Vec<u8>>,
    /// Evidence that somebody signed two histories ([`crate::equivocation`]).
    pub evidence: Vec<Vec<u8>>,
}

/// A page of an outline; the first carries the consistency proof, the last the tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinePage {
    /// Number of the request.
    pub id: RequestId,
    /// Consistency proof from the asker's size to the target; first page only.
    pub proof: Option<Vec<Hash>>,
    /// The next subtree hashes.
    pub subtrees: Vec<Hash>,
    /// Whether this is the last page.
    pub last: bool,
    /// Hash over the incomplete last subtree, if there is one; last page only.
    pub tail: Option<Hash>,
}

const HELLO: u64 = 0;
const SINCE: u64 = 1;
const NEWS: u64 = 2;
const WANT_OUTLINE: u64 = 3;
const OUTLINE: u64 = 4;
const WANT_ENTRIES: u64 = 5;
const ENTRIES: u64 = 6;
const REFUSED: u64 = 7;
const WANT_BODIES: u64 = 8;
const SEEN: u64 = 9;
const ALIVE: u64 = 10;
const COSIGNED: u64 = 11;
const GROUP_HEADS: u64 = 12;
const OFFERS: u64 = 20;
const WANT_LINES: u64 = 21;
const LINES: u64 = 22;

impl Message {
    /// Encodes the message as one frame, without the length before it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.size_hint());
        match self {
            Self::Hello(hello) => hello.write(&mut w),
            Self::Since { cursor } => {
                w.array(2).unsigned(SINCE);
                write_optional(&mut w, cursor.as_deref());
            }
            Self::News(news) => news.write(&mut w),
            Self::WantOutline { id, log, from, size } => {
                w.array(5).unsigned(WANT_OUTLINE).unsigned(*id);
                write_log(&mut w, log);
                w.unsigned(*from).unsigned(*size);
            }
            Self::OutlinePage(page) => page.write(&mut w),
            Self::WantEntries { id, log, start, end } => {
                w.array(5).unsigned(WANT_ENTRIES).unsigned(*id);
                write_log(&mut w, log);
                w.unsigned(*start).unsigned(*end);
            }
            Self::WantBodies { id, log, start, end } => {
                w.array(5).unsigned(WANT_BODIES).unsigned(*id);
                write_log(&mut w, log);
                w.unsigned(*start).unsigned(*end);
            }
            Self::Entries { id, headers, bodies } => {
                w.array(4).unsigned(ENTRIES).unsigned(*id);
                write_list(&mut w, headers);
                w.array(bodies.len());
                bodies.iter().for_each(|body| write_optional(&mut w, body.as_deref()));
            }
            Self::Refused { id } => {
                w.array(2).unsigned(REFUSED).unsigned(*id);
            }
            Self::Seen { node, run } => {
                w.array(3).unsigned(SEEN).bytes(node.as_bytes()).bytes(run);
            }
            Self::Alive(alive) => alive.write(&mut w),
            Self::GroupHeads { group, heads } => {
                w.array(3).unsigned(GROUP_HEADS).bytes(group.as_bytes()).array(heads.len());
                for GroupHead { authority, generation, note } in heads {
                    w.array(3).bytes(authority.as_bytes()).unsigned(u64::from(*generation));
                    w.bytes(note);
                }
            }
            Self::Cosigned { log, size, line } => {
                w.array(4).unsigned(COSIGNED);
                write_log(&mut w, log);
                w.unsigned(*size).text(line);
            }
            Self::Offers(offers) => lines::write_offers(w.array(2).unsigned(OFFERS), offers),
            Self::WantLines(wanted) => {
                lines::write_wanted(w.array(2).unsigned(WANT_LINES), wanted);
            }
            Self::Lines(held) => lines::write_held(w.array(2).unsigned(LINES), held),
        }
        w.finish()
    }

    /// Decodes one frame; `None` for a type this version does not know.
    ///
    /// # Errors
    /// A [`CborError`]: the peer broke the protocol.
    pub fn decode(frame: &[u8]) -> Result<Option<Self>, CborError> {
        if frame.len() > limits::FRAME_BYTES {
            return Err(CborError::Unexpected);
        }
        let mut r = Reader::new(frame);
        let items = r.array(16)?;
        let message = match (r.unsigned()?, items) {
            (HELLO, 5) => Self::Hello(Hello::read(&mut r)?),
            (SINCE, 2) => Self::Since { cursor: read_optional(&mut r, limits::CURSOR_BYTES)? },
            (NEWS, 7) => Self::News(News::read(&mut r)?),
            (WANT_OUTLINE, 5) => Self::WantOutline {
                id: r.unsigned()?,
                log: read_log(&mut r)?,
                from: r.unsigned()?,
                size: r.unsigned()?,
            },
            (OUTLINE, 6) => Self::OutlinePage(OutlinePage::read(&mut r)?),
            (WANT_ENTRIES, 5) => Self::WantEntries {
                id: r.unsigned()?,
                log: read_log(&mut r)?,
                start: r.unsigned()?,
                end: r.unsigned()?,
            },
            (ENTRIES, 4) => {
                let entries = limits::FRAME_ENTRIES;
                Self::Entries {
                    id: r.unsigned()?,
                    headers: read_list(&mut r, entries, limits::HEADER_BYTES)?,
                    bodies: read_bodies(&mut r, entries)?,
                }
            }
            (REFUSED, 2) => Self::Refused { id: r.unsigned()? },
            (WANT_BODIES, 5) => Self::WantBodies {
                id: r.unsigned()?,
                log: read_log(&mut r)?,
                start: r.unsigned()?,
                end: r.unsigned()?,
            },
            (SEEN, 3) => Self::Seen { node: NodeId::from_bytes(r.array_of()?), run: r.array_of()? },
            (ALIVE, 6) => Self::Alive(UnverifiedAlive::read(&mut r)?),
            (COSIGNED, 4) => Self::Cosigned {
                log: read_log(&mut r)?,
                size: r.unsigned()?,
                line: r.text(limits::COSIGNATURE_BYTES)?.to_owned(),
            },
            (GROUP_HEADS, 3) => Self::GroupHeads {
                group: GroupId::from_bytes(r.array_of()?),
                heads: read_group_heads(&mut r)?,
            },
            (OFFERS, 2) => Self::Offers(lines::read_offers(&mut r)?),
            (WANT_LINES, 2) => Self::WantLines(lines::read_wanted(&mut r)?),
            (LINES, 2) => Self::Lines(lines::read_held(&mut r)?),
            (HELLO..=GROUP_HEADS | OFFERS..=LINES, _) => return Err(CborError::Unexpected),
            _ => return Ok(None),
        };
        r.end()?;
        Ok(Some(message))
    }

    fn size_hint(&self) -> usize {
        match self {
            Self::Entries { headers, bodies, .. } => {
                let headers: usize = headers.iter().map(|header| header.len() + 3).sum();
                let bodies = bodies.iter().map(|body| body.as_ref().map_or(1, |b| b.len() + 5));
                headers + bodies.sum::<usize>() + 32
            }
            Self::News(news) => {
                let items = news.identities.iter().flatten().chain(&news.heads).chain(&news.own);
                items.map(|item| item.len() + 6).sum::<usize>() + 128
            }
            _ => 256,
        }
    }
}

fn read_group_heads(r: &mut Reader<'_>) -> Result<Vec<GroupHead>, CborError> {
    let count = r.array(limits::NEWS_ITEMS)?;
    let mut heads = Vec::new();
    for _ in 0..count {
        if r.array(3)? != 3 {
            return Err(CborError::Unexpected);
        }
        heads.push(GroupHead {
            authority: AuthorityId::from_bytes(r.array_of()?),
            generation: Generation::try_from(r.unsigned()?).map_err(|_| CborError::Unexpected)?,
            note: r.bytes(limits::NOTE_BYTES)?.to_vec(),
        });
    }
    Ok(heads)
}

impl Hello {
    fn write(&self, w: &mut Writer) {
        w.array(5).unsigned(HELLO).text(self.network.as_str());
        w.bytes(self.authority.as_bytes()).bytes(&self.run);
        write_optional(w, self.cursor.as_deref());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let network = r.text(limits::NETWORK_NAME_BYTES)?;
        Ok(Self {
            network: network.parse().map_err(|_| CborError::Unexpected)?,
            authority: AuthorityId::from_bytes(r.array_of()?),
            run: r.array_of()?,
            cursor: read_optional(r, limits::CURSOR_BYTES)?,
        })
    }
}

impl UnverifiedAlive {
    fn write(&self, w: &mut Writer) {
        w.array(6).unsigned(ALIVE).bytes(self.node.as_bytes()).bytes(&self.run);
        w.unsigned(self.started.as_seconds()).bytes(&self.probe).bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        Ok(Self {
            node: NodeId::from_bytes(r.array_of()?),
            run: r.array_of()?,
            started: UnixTime::from_seconds(r.unsigned()?),
            probe: r.array_of()?,
            signature: r.array_of()?,
        })
    }
}

impl News {
    fn write(&self, w: &mut Writer) {
        w.array(7).unsigned(NEWS).bytes(&self.cursor).bool(self.more);
        w.array(self.identities.len());
        self.identities.iter().for_each(|events| write_list(w, events));
        write_list(w, &self.heads);
        write_list(w, &self.own);
        write_list(w, &self.evidence);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let cursor = r.bytes(limits::CURSOR_BYTES)?.to_vec();
        let more = r.bool()?;
        let chains = r.array(limits::NEWS_ITEMS)?;
        let read_chain = |_| read_list(r, limits::IDENTITY_EVENTS, limits::IDENTITY_EVENT_BYTES);
        let identities = (0..chains).map(read_chain).collect::<Result<_, _>>()?;
        let heads = read_list(r, limits::NEWS_ITEMS, limits::NOTE_BYTES)?;
        let own = read_list(r, limits::NEWS_ITEMS, limits::NOTE_BYTES)?;
        let evidence = read_list(r, limits::NEWS_ITEMS, limits::EVIDENCE_BYTES)?;
        Ok(Self { cursor, more, identities, heads, own, evidence })
    }
}

impl OutlinePage {
    fn write(&self, w: &mut Writer) {
        w.array(6).unsigned(OUTLINE).unsigned(self.id);
        match &self.proof {
            Some(proof) => write_hashes(w, proof),
            None => {
                w.null();
            }
        }
        write_hashes(w, &self.subtrees);
        w.bool(self.last);
        write_optional(w, self.tail.as_ref().map(|hash| hash.as_bytes().as_slice()));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let id = r.unsigned()?;
        let proof = if r.null()? { None } else { Some(read_hashes(r, limits::PROOF_HASHES)?) };
        let subtrees = read_hashes(r, limits::OUTLINE_HASHES)?;
        let last = r.bool()?;
        let tail = if r.null()? { None } else { Some(Hash::from_bytes(r.array_of()?)) };
        Ok(Self { id, proof, subtrees, last, tail })
    }
}

/// A gossip message: a signed head, and the newest entries if they are few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The head, as a signed note.
    pub head: Vec<u8>,
    /// Index of the first entry; of no meaning without entries.
    pub start: u64,
    /// Headers and bodies of the newest entries; none means "my head moved".
    pub entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Announcement {
    /// Encodes the message, leaving the entries out if it would be over
    /// [`limits::GOSSIP_BYTES`] or [`limits::GOSSIP_ENTRIES`] with them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if self.entries.len() <= limits::GOSSIP_ENTRIES {
            let bytes = self.encode_with(&self.entries);
            if bytes.len() <= limits::GOSSIP_BYTES {
                return bytes;
            }
        }
        self.encode_with(&[])
    }

    fn encode_with(&self, entries: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<u8> {
        let mut w = Writer::with_capacity(1024);
        w.array(3).bytes(&self.head).unsigned(self.start).array(entries.len());
        for (header, body) in entries {
            w.array(2).bytes(header);
            write_optional(&mut w, body.as_deref());
        }
        w.finish()
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// A [`CborError`]: whoever sent or forwarded it broke the protocol.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        if bytes.len() > limits::GOSSIP_BYTES {
            return Err(CborError::Unexpected);
        }
        let mut r = Reader::new(bytes);
        exactly(r.array(3)?, 3)?;
        let head = r.bytes(limits::NOTE_BYTES)?.to_vec();
        let start = r.unsigned()?;
        let count = r.array(limits::GOSSIP_ENTRIES)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            exactly(r.array(2)?, 2)?;
            let header = r.bytes(limits::HEADER_BYTES)?.to_vec();
            entries.push((header, read_optional(&mut r, limits::GOSSIP_BYTES)?));
        }
        r.end()?;
        Ok(Self { head, start, entries })
    }
}

fn exactly(found: usize, wanted: usize) -> Result<(), CborError> {
    if found == wanted { Ok(()) } else { Err(CborError::Unexpected) }
}

fn write_log(w: &mut Writer, log: &LogId) {
    w.array(3).bytes(log.authority.as_bytes());
    match log.space {
        Space::Public => w.null(),
        Space::Group(group) => w.bytes(group.as_bytes()),
    };
    w.unsigned(u64::from(log.generation));
}

fn read_log(r: &mut Reader<'_>) -> Result<LogId, CborError> {
    exactly(r.array(3)?, 3)?;
    let authority = AuthorityId::from_bytes(r.array_of()?);
    let space =
        if r.null()? { Space::Public } else { Space::Group(GroupId::from_bytes(r.array_of()?)) };
    let generation = u32::try_from(r.unsigned()?).map_err(|_| CborError::Unexpected)?;
    Ok(LogId { authority, space, generation })
}

fn write_optional(w: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => w.bytes(bytes),
        None => w.null(),
    };
}

fn read_optional(r: &mut Reader<'_>, limit: usize) -> Result<Option<Vec<u8>>, CborError> {
    if r.null()? { Ok(None) } else { Ok(Some(r.bytes(limit)?.to_vec())) }
}

fn write_list(w: &mut Writer, items: &[Vec<u8>]) {
    w.array(items.len());
    items.iter().for_each(|item| {
        w.bytes(item);
    });
}

fn read_list(r: &mut Reader<'_>, items: usize, limit: usize) -> Result<Vec<Vec<u8>>, CborError> {
    let count = r.array(items)?;
    // Each item takes at least one byte, so the count cannot reserve more than the frame holds.
    let mut list = Vec::with_capacity(count.min(r.remaining()));
    for _ in 0..count {
        list.push(r.bytes(limit)?.to_vec());
    }
    Ok(list)
}

fn read_bodies(r: &mut Reader<'_>, items: usize) -> Result<Vec<Option<Vec<u8>>>, CborError> {
    let count = r.array(items)?;
    let mut list = Vec::with_capacity(count.min(r.remaining()));
    for _ in 0..count {
        list.push(read_optional(r, limits::BODY_STATE_BYTES)?);
    }
    Ok(list)
}

fn write_hashes(w: &mut Writer, hashes: &[Hash]) {
    let mut joined = Vec::with_capacity(hashes.len() * Hash::LEN);
    hashes.iter().for_each(|hash| joined.extend_from_slice(hash.as_bytes()));
    w.bytes(&joined);
}

fn read_hashes(r: &mut Reader<'_>, limit: usize) -> Result<Vec<Hash>, CborError> {
    let (hashes, rest) = r.bytes(limit * Hash::LEN)?.as_chunks::<{ Hash::LEN }>();
    exactly(rest.len(), 0)?;
    Ok(hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..max)
    }

    fn hashes() -> impl Strategy<Value = Vec<Hash>> {
        vec(any::<[u8; 32]>().prop_map(Hash::from_bytes), 0..5)
    }

    fn log() -> impl Strategy<Value = LogId> {
        (any::<[u8; 32]>(), any::<Option<[u8; 32]>>(), any::<u32>()).prop_map(
            |(a, g, generation)| {
                let space = g.map_or(Space::Public, |g| Space::Group(GroupId::from_bytes(g)));
                LogId { authority: AuthorityId::from_bytes(a), space, generation }
            },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            (any::<[u8; 32]>(), any::<[u8; 16]>(), proptest::option::of(bytes(64))).prop_map(
                |(authority, run, cursor)| Message::Hello(Hello {
                    network: "test".parse().unwrap(),
                    authority: AuthorityId::from_bytes(authority),
                    run,
                    cursor,
                })
            ),
            proptest::option::of(bytes(64)).prop_map(|cursor| Message::Since { cursor }),
            (
                bytes(64),
                any::<bool>(),
                vec(vec(bytes(50), 0..3), 0..3),
                vec(bytes(90), 0..3),
                vec(bytes(90), 0..2),
                vec(bytes(90), 0..2)
            )
                .prop_map(|(cursor, more, identities, heads, own, evidence)| {
                    Message::News(News { cursor, more, identities, heads, own, evidence })
                }),
            (any::<u64>(), log(), any::<u64>(), any::<u64>())
                .prop_map(|(id, log, from, size)| Message::WantOutline { id, log, from, size }),
            (
                any::<u64>(),
                proptest::option::of(hashes()),
                hashes(),
                any::<bool>(),
                any::<Option<[u8; 32]>>()
            )
                .prop_map(|(id, proof, subtrees, last, tail)| {
                    let tail = tail.map(Hash::from_bytes);
                    Message::OutlinePage(OutlinePage { id, proof, subtrees, last, tail })
                }),
            (any::<u64>(), log(), any::<u64>(), any::<u64>())
                .prop_map(|(id, log, start, end)| Message::WantEntries { id, log, start, end }),
            (any::<u64>(), vec(bytes(99), 0..4), vec(proptest::option::of(bytes(99)), 0..4))
                .prop_map(|(id, headers, bodies)| Message::Entries { id, headers, bodies }),
            any::<u64>().prop_map(|id| Message::Refused { id }),
            (any::<u64>(), log(), any::<u64>(), any::<u64>())
                .prop_map(|(id, log, start, end)| Message::WantBodies { id, log, start, end }),
            (any::<[u8; 32]>(), any::<[u8; 16]>())
                .prop_map(|(node, run)| Message::Seen { node: NodeId::from_bytes(node), run }),
            (any::<[u8; 32]>(), any::<[[u8; 16]; 2]>(), any::<u64>(), any::<[[u8; 32]; 2]>())
                .prop_map(|(node, [run, probe], started, halves)| {
                    let signature = *halves.as_flattened().first_chunk().unwrap();
                    let (node, started) =
                        (NodeId::from_bytes(node), UnixTime::from_seconds(started));
                    Message::Alive(UnverifiedAlive { node, run, started, probe, signature })
                }),
            (log(), any::<u64>(), "[ -~]{0,80}").prop_map(|(log, size, line)| Message::Cosigned {
                log,
                size,
                line
            }),
            vec((any::<[u8; 32]>(), any::<u64>(), any::<(u64, u16)>()), 0..4).prop_map(|offers| {
                let offer = |(author, size, (count, mark)): ([u8; 32], u64, (u64, u16))| {
                    Offer::new(&AuthorityId::from_bytes(author), size, count, mark)
                };
                Message::Offers(offers.into_iter().map(offer).collect())
            }),
            vec((log(), any::<u64>(), vec(any::<u32>(), 0..4)), 0..4).prop_map(|wanted| {
                let wanted = wanted.into_iter();
                let want = |(log, size, have)| WantedLines { log, size, have };
                Message::WantLines(wanted.map(want).collect())
            }),
            (any::<[u8; 32]>(), vec((any::<[u8; 32]>(), any::<u32>(), bytes(99)), 0..4)).prop_map(
                |(group, heads)| {
                    let head = |(author, generation, note)| {
                        let authority = AuthorityId::from_bytes(author);
                        GroupHead { authority, generation, note }
                    };
                    let heads = heads.into_iter().map(head).collect();
                    Message::GroupHeads { group: GroupId::from_bytes(group), heads }
                }
            ),
            vec((log(), any::<u64>(), vec(bytes(99), 0..4)), 0..4).prop_map(|held| {
                let held = held.into_iter();
                Message::Lines(
                    held.map(|(log, size, lines)| HeldLines { log, size, lines }).collect(),
                )
            }),
        ]
    }

    proptest! {
        #[test]
        fn messages_round_trip_deterministically(message in message()) {
            let frame = message.encode();
            cbor::check(&frame).unwrap();
            prop_assert_eq!(Message::decode(&frame).unwrap(), Some(message));
        }

        #[test]
        fn announcements_round_trip(head in bytes(300), start in any::<u64>(), entries in vec((bytes(90), proptest::option::of(bytes(90))), 0..16)) {
            let announcement = Announcement { head, start, entries };
            prop_assert_eq!(Announcement::decode(&announcement.encode()).unwrap(), announcement);
        }

        #[test]
        fn arbitrary_frames_never_panic(frame in bytes(400)) {
            let _ = Message::decode(&frame);
            let _ = Announcement::decode(&frame);
        }

        #[test]
        fn truncated_frames_are_refused(message in message(), cut in any::<usize>()) {
            let frame = message.encode();
            let cut = cut % frame.len();
            prop_assert!(Message::decode(&frame[..cut]).is_err());
        }
    }

    #[test]
    fn unknown_types_are_skipped() {
        let mut w = Writer::default();
        w.array(2).unsigned(99).text("from the future");
        assert_eq!(Message::decode(&w.finish()), Ok(None));
    }

    #[test]
    fn an_announcement_over_its_limit_says_only_that_the_head_moved() {
        let entry = (vec![1; 100], Some(vec![2; limits::GOSSIP_BYTES]));
        let long = Announcement { head: vec![3; 200], start: 7, entries: vec![entry] };
        let heard = Announcement::decode(&long.encode()).unwrap();
        assert!(heard.entries.is_empty());
        let many =
            Announcement { head: vec![3; 200], start: 7, entries: vec![(vec![1], None); 17] };
        assert!(Announcement::decode(&many.encode()).unwrap().entries.is_empty());
    }
}
