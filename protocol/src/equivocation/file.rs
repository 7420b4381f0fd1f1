//! The one encoding of evidence, and the file that survives mail.
//!
//! Text, one part per line, in this order. Of a fork:
//!
//! | line | what |
//! |---|---|
//! | `tallystick evidence v1 NETWORK` | type, version and network |
//! | `event BASE64` | the author's identity chain: its signed events, in order |
//! | `head BASE64` | twice: a checkpoint with the log's own line; the smaller size first, at equal sizes the lower root |
//! | `proof BASE64` | the consistency proof from the smaller size to the second head, beginning with a node of its own also where that is the old root; none at equal sizes |
//! | `common SIZE BASE64` | a size and root that both histories have; may be left out with what follows |
//! | `first BASE64` | the consistency proof from there to the first head |
//! | `second BASE64` | and to the second |
//!
//! Of chains that part:
//!
//! | line | what |
//! |---|---|
//! | `tallystick evidence v1 NETWORK` | type, version and network |
//! | `shared BASE64` | the events before they part, in order |
//! | `first BASE64` | the further events of one, the lower in the order of their bytes |
//! | `second BASE64` | the further events of the other |
//!
//! That text is what is stored and sent. For people it is armoured between
//! [`BEGIN`] and [`END`].
//!
//! **Invariant:** what is accepted is, byte for byte, what would be written.
//! Deliberately absent: whether any of it is true ([`super`]).

use core::fmt::Write as _;
use core::iter::Peekable;
use core::str::Split;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Evidence, EvidenceError};
use crate::armour;
use crate::checkpoint::{UnverifiedCheckpoint, decimal, decode_hash};
use crate::id::{Hash, NetworkName};
use crate::limits;

/// First line of an evidence file.
pub const BEGIN: &str = "-----BEGIN TALLYSTICK EVIDENCE-----";
/// Last line of an evidence file.
pub const END: &str = "-----END TALLYSTICK EVIDENCE-----";
const HEADING: &str = "tallystick evidence v";
const VERSION: &str = "1";

/// Evidence as it came in: well-formed, and nothing known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedEvidence {
    network: NetworkName,
    contents: Contents,
}

/// What stands in evidence of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Heads(Box<Heads>),
    Chains(Chains),
}

/// What shows a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) events: Vec<Vec<u8>>,
    pub(super) heads: [UnverifiedCheckpoint; 2],
    pub(super) proof: Vec<Hash>,
    pub(super) common: Option<Common>,
}

/// What shows how far two histories are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) proofs: [Vec<Hash>; 2],
}

/// What shows that chains part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chains {
    pub(super) shared: Vec<Vec<u8>>,
    pub(super) tails: [Vec<Vec<u8>>; 2],
}

impl UnverifiedEvidence {
    pub(super) fn new(network: NetworkName, contents: Contents) -> Result<Self, EvidenceError> {
        let bytes = |events: &[Vec<u8>]| events.iter().map(Vec::len).sum::<usize>();
        let bytes = match &contents {
            Contents::Heads(heads) => bytes(&heads.events),
            Contents::Chains(Chains { shared, tails: [first, second] }) => {
                bytes(shared) + bytes(first) + bytes(second)
            }
        };
        if bytes > limits::EVIDENCE_BYTES {
            return Err(EvidenceError::TooLarge);
        }
        Ok(Self { network, contents })
    }

    /// Takes the stored or sent form apart.
    ///
    /// # Errors
    /// [`EvidenceError::TooLarge`], [`EvidenceError::Line`],
    /// [`EvidenceError::Unsupported`], [`EvidenceError::Head`] or [`EvidenceError::Spelling`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let bad = EvidenceError::Line;
        if bytes.len() > limits::EVIDENCE_BYTES {
            return Err(EvidenceError::TooLarge);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| bad("not plain text"))?;
        let mut lines = Lines(text.split('\n').peekable());
        let heading = lines.0.next().and_then(|line| line.strip_prefix(HEADING));
        let (version, network) =
            heading.and_then(|rest| rest.split_once(' ')).ok_or(bad("heading"))?;
        if version != VERSION {
            return Err(EvidenceError::Unsupported);
        }
        let network = network.parse().map_err(|_| bad("heading"))?;
        let shared = lines.events("shared")?;
        let contents = if shared.is_empty() {
            Contents::Heads(Box::new(Heads::parse(&mut lines)?))
        } else {
            let tails = [lines.events("first")?, lines.events("second")?];
            Contents::Chains(Chains { shared, tails })
        };
        if (lines.0.next(), lines.0.next()) != (Some(""), None) {
            return Err(bad("something unknown"));
        }
        let parsed = Self { network, contents };
        // Every part has one spelling; checked over the whole all the same, so
        // that nothing in it can go unaccounted for.
        if parsed.to_bytes() == bytes { Ok(parsed) } else { Err(EvidenceError::Spelling) }
    }

    /// Finds the evidence in a text: armoured anywhere in it.
    ///
    /// # Errors
    /// In addition to those of [`UnverifiedEvidence::parse`],
    /// [`EvidenceError::Absent`] and [`EvidenceError::Armour`].
    pub fn parse_armour(text: &str) -> Result<Self, EvidenceError> {
        if text.len() > limits::EVIDENCE_TEXT_BYTES {
            return Err(EvidenceError::TooLarge);
        }
        let (_, rest) = text.split_once(BEGIN).ok_or(EvidenceError::Absent)?;
        let (encoded, _) = rest.split_once(END).ok_or(EvidenceError::Armour)?;
        Self::parse(&armour::read(encoded).ok_or(EvidenceError::Armour)?)
    }

    /// The network it claims to belong to.
    #[must_use]
    pub const fn claimed_network(&self) -> &NetworkName {
        &self.network
    }

    /// Its bytes, as received.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{HEADING}{VERSION} {}\n", self.network);
        match &self.contents {
            Contents::Heads(heads) => heads.write(&mut text),
            Contents::Chains(Chains { shared, tails: [first, second] }) => {
                for (label, events) in [("shared", shared), ("first", first), ("second", second)] {
                    events.iter().for_each(|event| put(&mut text, label, event));
                }
            }
        }
        text.into_bytes()
    }

    pub(super) fn into_contents(self) -> Contents {
        self.contents
    }
}

impl Evidence {
    /// The evidence for a mail or a file, with a line feed at the end.
    #[must_use]
    pub fn to_armour(&self) -> String {
        armour::write(BEGIN, END, self.to_bytes())
    }
}

impl Heads {
    fn parse(lines: &mut Lines<'_>) -> Result<Self, EvidenceError> {
        let bad = EvidenceError::Line;
        let events = lines.events("event")?;
        let mut head = || {
            let head = lines.field("head").and_then(decode).ok_or(bad("head"))?;
            Ok::<_, EvidenceError>(UnverifiedCheckpoint::parse(&head)?)
        };
        let heads = [head()?, head()?];
        let proof = lines.hashes("proof")?;
        let common = match lines.field("common") {
            None => None,
            Some(common) => {
                let (size, root) = common.split_once(' ').ok_or(bad("common"))?;
                let size = decimal(size).ok_or(bad("common"))?;
                let root = decode_hash(root).ok_or(bad("common"))?;
                let proofs = [lines.hashes("first")?, lines.hashes("second")?];
                Some(Common { size, root, proofs })
            }
        };
        Ok(Self { events, heads, proof, common })
    }

    fn write(&self, text: &mut String) {
        let Self { events, heads, proof, common } = self;
        events.iter().for_each(|event| put(text, "event", event));
        heads.iter().for_each(|head| put(text, "head", &head.to_bytes()));
        proof.iter().for_each(|hash| put(text, "proof", hash.as_bytes()));
        let Some(Common { size, root, proofs: [first, second] }) = common else { return };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "common {size} {}", STANDARD.encode(root.as_bytes()));
        first.iter().for_each(|hash| put(text, "first", hash.as_bytes()));
        second.iter().for_each(|hash| put(text, "second", hash.as_bytes()));
    }
}

fn put(text: &mut String, label: &str, value: &[u8]) {
    text.push_str(label);
    text.push(' ');
    STANDARD.encode_string(value, text);
    text.push('\n');
}

fn decode(encoded: &str) -> Option<Vec<u8>> {
    STANDARD.decode(encoded).ok()
}

struct Lines<'a>(Peekable<Split<'a, char>>);

impl<'a> Lines<'a> {
    /// The value of the next line if it has this label.
    fn field(&mut self, label: &str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(label)?.strip_prefix(' ')?;
        self.0.next();
        Some(value)
    }

    /// The values of all lines with this label that come next.
    fn all<T>(
        &mut self,
        label: &'static str,
        most: usize,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, EvidenceError> {
        let mut values = Vec::new();
        while let Some(value) = self.field(label) {
            if values.len() >= most {
                return Err(EvidenceError::TooLarge);
            }
            values.push(read(value).ok_or(EvidenceError::Line(label))?);
        }
        Ok(values)
    }

    fn events(&mut self, label: &'static str) -> Result<Vec<Vec<u8>>, EvidenceError> {
        const LONGEST: usize = limits::IDENTITY_EVENT_BYTES.div_ceil(3) * 4;
        let read = |line: &str| if line.len() <= LONGEST { decode(line) } else { None };
        self.all(label, limits::IDENTITY_EVENTS, read)
    }

    fn hashes(&mut self, label: &'static str) -> Result<Vec<Hash>, EvidenceError> {
        self.all(label, limits::PROOF_HASHES, decode_hash)
    }
}
