//! Every bound of the protocol, in one place.
//!
//! Each limit is enforced before the memory it bounds is allocated (invariant 7
//! of the design). Sizes are bytes unless the name says otherwise. The sizes
//! leave room for ML-DSA signatures (about 5 kB each) in notes and events.

/// Largest encoded entry header.
pub const HEADER_BYTES: usize = 1024;
/// Largest encoded body in its full state.
pub const BODY_BYTES: usize = 1 << 20;
/// Largest encoded body in any state; a partial body carries a salt or digest per field.
pub const BODY_STATE_BYTES: usize = BODY_BYTES + 96 * BODY_FIELDS;
/// Most fields in one body.
pub const BODY_FIELDS: usize = 4096;
/// Longest field name.
pub const FIELD_NAME_BYTES: usize = 128;
/// Deepest nesting of arrays and maps in any CBOR item.
pub const NESTING: usize = 16;
/// Largest frame on a sync stream, without its four-byte length.
pub const FRAME_BYTES: usize = (1 << 20) + (64 << 10);
/// Largest gossip message.
pub const GOSSIP_BYTES: usize = 32 << 10;
/// Most entries carried by one gossip message.
pub const GOSSIP_ENTRIES: usize = 16;
/// Largest signed note (checkpoint, card, invitation).
pub const NOTE_BYTES: usize = 128 << 10;
/// Most signature lines in a signed note; C2SP asks for at least 16.
pub const NOTE_SIGNATURES: usize = 32;
/// Longest signature line of a witness on the wire.
pub const COSIGNATURE_BYTES: usize = 8 << 10;
/// Bytes of lines, over all logs, that wait for the identities of their witnesses;
/// of one log at most [`WITNESSES`] lines wait.
pub const WAITING_LINE_BYTES: usize = 4 << 20;
/// Bytes of heads of group logs that wait until it is known who told or wrote them.
pub const WAITING_HEAD_BYTES: usize = 8 << 20;
/// Of those, how many bytes of what one peer told.
pub const WAITING_HEAD_BYTES_PER_PEER: usize = 1 << 20;
/// Heads of which lines are asked for, or given, in one frame.
pub const LINE_REQUESTS: usize = 256;
/// Partners that are remembered to have lines on one head.
pub const LINE_HOLDERS: usize = 16;
/// Lines of one head that give way to earlier ones of the same witnesses: a witness
/// that signs one head again after a crash makes one, a hostile one any number.
pub const REPLACED_LINES: usize = 28;
/// Longest key name in a note.
pub const KEY_NAME_BYTES: usize = 256;
/// Most hashes in an inclusion or consistency proof: two per level of a 64-level tree.
pub const PROOF_HASHES: usize = 128;
/// Largest proof file.
pub const PROOF_BYTES: usize = 4 << 20;
/// Most hashes in a request to a witness (C2SP tlog-witness).
pub const ADD_CHECKPOINT_HASHES: usize = 63;
/// Largest request to a witness: old size, hashes of 45 bytes a line, and a checkpoint.
pub const ADD_CHECKPOINT_BYTES: usize = NOTE_BYTES + 45 * ADD_CHECKPOINT_HASHES + 32;
/// Largest witness policy file.
pub const POLICY_BYTES: usize = 64 << 10;
/// Most logs, witnesses and groups in a policy, each; C2SP asks for at least 32.
pub const POLICY_ITEMS: usize = 64;
/// Entries under one subtree hash, the unit of transfer and of resumption.
pub const SUBTREE_ENTRIES: u64 = 256;
/// Most entries in one frame: those of one subtree.
pub const FRAME_ENTRIES: usize = 256;
/// Level of the node above [`SUBTREE_ENTRIES`] leaves.
pub const SUBTREE_LEVEL: u32 = 8;
/// Largest log a node follows, in entries; bounds the outline held while catching up (32 MiB).
pub const LOG_ENTRIES: u64 = 1 << 28;
/// Largest identity event with its signatures.
pub const IDENTITY_EVENT_BYTES: usize = 64 << 10;
/// Largest identity chain; two of them and more fit into one frame.
pub const IDENTITY_CHAIN_BYTES: usize = 256 << 10;
/// Most events in one identity chain.
pub const IDENTITY_EVENTS: usize = 256;
/// Most controllers, node keys, organisation identifiers or alternative names in an event.
pub const IDENTITY_LIST: usize = 16;
/// Longest encoded sealing key; ML-KEM-1024 needs 1,568.
pub const SEALING_KEY_BYTES: usize = 4096;
/// Most heads of group logs that one identity event pins, by salted hash.
pub const GROUP_PINS: usize = 1024;
/// Most witnesses named by an authority (design section 1).
pub const WITNESSES: usize = 14;
/// Longest authority name, domain or identifier, in bytes.
pub const NAME_BYTES: usize = 256;
/// Longest network name.
pub const NETWORK_NAME_BYTES: usize = 32;
/// Most authorities a node follows.
pub const AUTHORITIES: usize = 20_000;
/// Most heads that are not verified again when they come again.
pub const VERIFIED_HEADS: usize = 4096;
/// Most nodes whose last run number is remembered.
pub const RUNS: usize = 4096;
/// Most peers that are told of a partner's new run.
pub const RUN_HINTS: usize = 32;
/// Most peers with a session at one time.
pub const PEERS: usize = 512;
/// Heads smaller than ours that are compared with what we hold, per second: each
/// costs a read from storage.
pub const COMPARISONS_PER_SECOND: u64 = 10;
/// Of those that one peer told, how many wait to be compared.
pub const COMPARISONS_PER_PEER: usize = 8;
/// Heads of one log that are remembered to be of the history that is held.
pub const HEADS_HAD: usize = 16;
/// Subtrees requested and not yet stored, over all peers of one log.
pub const SUBTREES_IN_FLIGHT: usize = 24;
/// Bytes of entries verified or waiting and not yet stored, over all logs.
pub const STAGED_BYTES: usize = 32 << 20;
/// Heads or identity events in one frame of news.
pub const NEWS_ITEMS: usize = 1024;
/// Subtree hashes in one outline page.
pub const OUTLINE_HASHES: usize = 16 << 10;
/// Requests of one peer that may wait for the disk at one time.
pub const LOADS_PER_PEER: usize = 32;
/// Entries in one authoring command.
pub const AUTHOR_ENTRIES: usize = 4096;
/// Longest opaque cursor handed to a peer.
pub const CURSOR_BYTES: usize = 64;
/// Largest text in which a partner card is looked for: a mail, quoted and wrapped.
pub const CARD_TEXT_BYTES: usize = 1 << 20;
/// Most addresses on a partner card.
pub const CARD_ADDRESSES: usize = 16;
/// Seconds for which a partner card can be valid, at most: 366 days.
pub const CARD_VALIDITY: u64 = 366 * 86_400;
/// Seconds by which the clocks of whoever made a card and whoever takes it may differ.
pub const CARD_CLOCK_SKEW: u64 = 86_400;
/// Longest network address, as multiaddr text.
pub const ADDRESS_BYTES: usize = 256;
/// Largest evidence of two histories, as it is stored and sent: it fits into a frame.
pub const EVIDENCE_BYTES: usize = 1 << 20;
/// Largest text in which evidence is looked for: a mail, quoted and wrapped.
pub const EVIDENCE_TEXT_BYTES: usize = 2 << 20;
/// Most pieces of evidence kept about one log key, or one position of an identity chain.
pub const EVIDENCE_PER_PLACE: usize = 2;
/// Most pieces of evidence of one kind kept about one authority.
pub const EVIDENCE_PER_AUTHORITY: usize = 8;
/// Entries of one log of another authority that are fetched unless said otherwise;
/// of what lies beyond only the head is kept.
pub const QUOTA_ENTRIES: u64 = 2_000_000;
/// Bytes of such a log, headers and bodies.
pub const QUOTA_BYTES: u64 = 4 << 30;
/// Points against a peer at which it is disconnected and refused for a while.
pub const BAN_POINTS: u64 = 100;
/// Most peers whose behaviour is remembered.
pub const STANDINGS: usize = 1024;
/// Work that a peer may make us do without being slowed down: one per frame that
/// nobody asked for, per KiB of it, and per head or identity in it.
pub const WORK_BURST: u64 = 1 << 16;
/// Work per second that comes back.
pub const WORK_PER_SECOND: u64 = 2000;
/// Gossip messages, or 8 KiB of them, that a peer may pass on at once; more is ignored.
pub const GOSSIP_BURST: u64 = 20_000;
/// Gossip messages per second that come back.
pub const GOSSIP_PER_SECOND: u64 = 2000;
/// Gossip messages at once that are a fault; no relay can check so many.
pub const FLOOD_BURST: u64 = 100_000;
/// Gossip messages per second that come back before it is one.
pub const FLOOD_PER_SECOND: u64 = 10_000;
/// Authorities that one peer may make known, out of [`AUTHORITIES`].
pub const INTRODUCTIONS: usize = 8192;
/// Authorities for which there is room only if a person brings their card.
pub const RESERVED_AUTHORITIES: usize = 1024;
/// Largest outline of which a peer may have several read at one time.
pub const OUTLINE_LOAD_BYTES: u64 = 1 << 20;
/// Most members of a group; an epoch sealed to each of them with X-Wing fits into one body.
pub const GROUP_MEMBERS: usize = 512;
/// Most control entries of one group that are merged.
pub const GROUP_ENTRIES: usize = 8192;
/// Most control entries of one authority in one group that count.
pub const GROUP_ENTRIES_PER_AUTHORITY: usize = 4096;
/// Attempts to find an answer for one circle of control entries, times its size:
/// 3,000 for a circle of 20. Quarrels of 15 acts at random took 130 at most.
pub const GROUP_TRIALS: usize = 1 << 16;
/// Most control entries that one names as seen.
pub const GROUP_SEEN: usize = 1024;
/// Longest text of a group's terms, in bytes.
pub const GROUP_TERMS_BYTES: usize = 16 << 10;
/// Most kinds of record that a group says it is meant for.
pub const GROUP_KINDS: usize = 64;
/// Most earlier epochs that an epoch links to.
pub const EPOCH_LINKS: usize = 64;
/// Largest copy of an epoch's secret sealed to one member; X-Wing needs 1,168.
pub const SEALED_SECRET_BYTES: usize = 4096;
/// Largest sealed body: a body in any state, the tag, and the frame around both.
pub const SEALED_BODY_BYTES: usize = BODY_STATE_BYTES + 64;
/// Largest text in which an invitation is looked for: a mail, quoted and wrapped.
pub const INVITATION_TEXT_BYTES: usize = 1 << 20;
