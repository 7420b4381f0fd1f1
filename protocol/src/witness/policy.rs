//! Whose cosignatures somebody wants to see: C2SP tlog-policy.
//!
//! ```text
//! log VKEY [URL]
//! witness NAME VKEY [URL]
//! group NAME all|any|K NAME...
//! quorum NAME|none
//! ```
//!
//! Lines end with a line feed, items are separated by spaces and tabs, lines
//! that begin with `#` are comments. Names are bytes without a meaning outside
//! the file. **Invariants:** a name is defined before it is used and is a member
//! at most once, so that the groups are trees and a witness counts in one way
//! only; no key appears twice. Deliberately absent: what the URLs are for, and
//! key types other than those of [`crate::note`]: a policy that rests on a
//! witness whose signatures cannot be checked here is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::decimal;
use crate::key::PublicKey;
use crate::limits;
use crate::note::{Algorithm, VerifierKey};

/// Name that stands for a quorum without witnesses.
const NONE: &[u8] = b"none";

/// A line of a policy file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct PolicyError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: PolicyFault,
}

/// What can be wrong with a line, or with the file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// More than [`limits::POLICY_BYTES`], or than [`limits::POLICY_ITEMS`] of one sort.
    #[error("the policy is larger than the limit")]
    TooLarge,
    /// A control character other than tab and line feed, such as a carriage return.
    #[error("a control character that may not stand in a policy")]
    Control,
    /// The line begins with none of the four words.
    #[error("expected log, witness, group or quorum")]
    Word,
    /// Too few or too many items for its word.
    #[error("the line has too few or too many items")]
    Items,
    /// No verifier key, or one of a type that is not known here.
    #[error("not a verifier key of a known type")]
    Key,
    /// A witness's key for a log or the other way round.
    #[error("a log needs an Ed25519 key (type 1), a witness a cosignature key (type 4)")]
    KeyType,
    /// The key stands in an earlier line.
    #[error("the key appears twice")]
    DuplicateKey,
    /// The name is defined in an earlier line, or is `none`.
    #[error("the name is defined already")]
    DuplicateName,
    /// The name is not defined in an earlier line.
    #[error("the name is not defined above")]
    UnknownName,
    /// The name is a member of a group already.
    #[error("the name is a member of a group already")]
    SecondMembership,
    /// Not `all`, `any` or a number from 1 to the number of members.
    #[error("expected all, any, or a number between one and the number of members")]
    Threshold,
    /// There is a quorum line already.
    #[error("there is a second quorum")]
    SecondQuorum,
    /// There is no quorum line.
    #[error("there is no quorum")]
    NoQuorum,
}

/// A key of a log or witness, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// What a witness is called in the file; empty for a log.
    pub name: Vec<u8>,
    /// The key.
    pub key: VerifierKey,
    /// The address given, as it stands in the file; it is not checked.
    pub url: Option<Vec<u8>>,
}

/// A witness or group that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// By its place among the witnesses.
    Witness(usize),
    /// So many of these, by their places among the nodes.
    Group(usize, Vec<usize>),
}

/// A policy. See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    /// Members stand before the groups that name them.
    nodes: Vec<Node>,
    /// The node that must have cosigned; nothing for `none`.
    quorum: Option<usize>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// The first violation of the format found, with its line.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        if file.len() > limits::POLICY_BYTES {
            return Err(PolicyError { line: 1, fault: PolicyFault::TooLarge });
        }
        let file = file.strip_suffix(b"\n").unwrap_or(file);
        let mut reading = Reading::default();
        let mut last = 1;
        for (number, line) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            last = number;
            reading.line(line).map_err(|fault| PolicyError { line: number, fault })?;
        }
        match reading.quorum {
            Some(quorum) => Ok(Self { quorum, ..reading.policy }),
            None => Err(PolicyError { line: last, fault: PolicyFault::NoQuorum }),
        }
    }

    /// The logs whose checkpoints are valid; any log if there is none.
    #[must_use]
    pub fn logs(&self) -> &[Party] {
        &self.logs
    }

    /// The witnesses whose cosignatures are looked at.
    #[must_use]
    pub fn witnesses(&self) -> &[Party] {
        &self.witnesses
    }

    /// The witnesses' keys, to verify checkpoints with.
    #[must_use]
    pub fn witness_keys(&self) -> Vec<VerifierKey> {
        self.witnesses.iter().map(|witness| witness.key.clone()).collect()
    }

    /// Whether the log with this key may be the one.
    #[must_use]
    pub fn admits_log(&self, key: &VerifierKey) -> bool {
        self.logs.is_empty() || self.logs.iter().any(|log| log.key == *key)
    }

    /// Whether any cosignature is asked for.
    #[must_use]
    pub const fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// The fewest witnesses by which [`Policy::satisfied`] can hold.
    #[must_use]
    pub fn needed(&self) -> usize {
        let mut fewest: Vec<usize> = Vec::new();
        for node in &self.nodes {
            let needs = match node {
                Node::Witness(_) => 1,
                Node::Group(threshold, members) => {
                    let mut each: Vec<usize> =
                        members.iter().filter_map(|member| fewest.get(*member).copied()).collect();
                    each.sort_unstable();
                    each.iter().take(*threshold).sum()
                }
            };
            fewest.push(needs);
        }
        self.quorum.and_then(|quorum| fewest.get(quorum).copied()).unwrap_or(0)
    }

    /// The witnesses that the quorum counts and that are not among these keys, in
    /// the order of the file.
    #[must_use]
    pub fn missing<'a>(&self, cosigned: impl IntoIterator<Item = &'a VerifierKey>) -> Vec<&Party> {
        let cosigned: BTreeSet<&VerifierKey> = cosigned.into_iter().collect();
        let (mut counted, mut open) = (BTreeSet::new(), Vec::from_iter(self.quorum));
        while let Some(node) = open.pop().and_then(|at| self.nodes.get(at)) {
            match node {
                Node::Witness(at) => _ = counted.insert(*at),
                Node::Group(_, members) => open.extend(members),
            }
        }
        let parties = counted.iter().filter_map(|at| self.witnesses.get(*at));
        parties.filter(|witness| !cosigned.contains(&witness.key)).collect()
    }

    /// Whether the cosignatures of these keys are enough.
    #[must_use]
    pub fn satisfied<'a>(&self, cosigned: impl IntoIterator<Item = &'a VerifierKey>) -> bool {
        let Some(quorum) = self.quorum else { return true };
        let cosigned: BTreeSet<&VerifierKey> = cosigned.into_iter().collect();
        let mut holds: Vec<bool> = Vec::new();
        for node in &self.nodes {
            let held = match node {
                Node::Witness(at) => {
                    self.witnesses.get(*at).is_some_and(|witness| cosigned.contains(&witness.key))
                }
                Node::Group(threshold, members) => {
                    let held = |member: &&usize| holds.get(**member) == Some(&true);
                    members.iter().filter(held).count() >= *threshold
                }
            };
            holds.push(held);
        }
        holds.get(quorum) == Some(&true)
    }
}

/// A policy of which some lines have been read.
#[derive(Default)]
struct Reading {
    policy: Policy,
    /// Names, each with its node.
    names: BTreeMap<Vec<u8>, usize>,
    members: BTreeSet<usize>,
    log_keys: BTreeSet<PublicKey>,
    witness_keys: BTreeSet<PublicKey>,
    quorum: Option<Option<usize>>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyFault> {
        if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
            return Err(PolicyFault::Control);
        }
        let items = line.split(|byte| matches!(byte, b' ' | b'\t'));
        let items: Vec<&[u8]> = items.filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url)),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url)),
            [b"group", name, threshold, first, rest @ ..] => {
                self.group(name, threshold, [&[*first], rest].concat())
            }
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => Err(PolicyFault::Items),
            _ => Err(PolicyFault::Word),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>) -> Result<(), PolicyFault> {
        let key = read_key(key, Algorithm::Ed25519)?;
        if !self.log_keys.insert(*key.key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        push(&mut self.policy.logs, Party { name: Vec::new(), key, url: url.map(<[u8]>::to_vec) })
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), PolicyFault> {
        let key = read_key(key, Algorithm::CosignatureV1)?;
        if !self.witness_keys.insert(*key.key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        let at = self.policy.witnesses.len();
        let (name_kept, url) = (name.to_vec(), url.map(<[u8]>::to_vec));
        push(&mut self.policy.witnesses, Party { name: name_kept, key, url })?;
        self.define(name, Node::Witness(at))
    }

    fn group(
        &mut self,
        name: &[u8],
        threshold: &[u8],
        members: Vec<&[u8]>,
    ) -> Result<(), PolicyFault> {
        let groups = self.policy.nodes.iter().filter(|node| matches!(node, Node::Group(..)));
        if groups.count() >= limits::POLICY_ITEMS {
            return Err(PolicyFault::TooLarge);
        }
        let count = members.len();
        let threshold = match threshold {
            b"all" => count,
            b"any" => 1,
            number => core::str::from_utf8(number)
                .ok()
                .and_then(decimal)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=count).contains(number))
                .ok_or(PolicyFault::Threshold)?,
        };
        let mut nodes = Vec::with_capacity(count);
        for member in members {
            let node = *self.names.get(member).ok_or(PolicyFault::UnknownName)?;
            if !self.members.insert(node) {
                return Err(PolicyFault::SecondMembership);
            }
            nodes.push(node);
        }
        self.define(name, Node::Group(threshold, nodes))
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), PolicyFault> {
        if self.quorum.is_some() {
            return Err(PolicyFault::SecondQuorum);
        }
        let node = match name {
            NONE => None,
            name => Some(*self.names.get(name).ok_or(PolicyFault::UnknownName)?),
        };
        self.quorum = Some(node);
        Ok(())
    }

    fn define(&mut self, name: &[u8], node: Node) -> Result<(), PolicyFault> {
        if name == NONE || self.names.insert(name.to_vec(), self.policy.nodes.len()).is_some() {
            return Err(PolicyFault::DuplicateName);
        }
        self.policy.nodes.push(node);
        Ok(())
    }
}

fn push(parties: &mut Vec<Party>, party: Party) -> Result<(), PolicyFault> {
    if parties.len() >= limits::POLICY_ITEMS {
        return Err(PolicyFault::TooLarge);
    }
    parties.push(party);
    Ok(())
}

fn read_key(text: &[u8], wanted: Algorithm) -> Result<VerifierKey, PolicyFault> {
    let text = core::str::from_utf8(text).map_err(|_| PolicyFault::Key)?;
    let key: VerifierKey = text.parse().map_err(|_| PolicyFault::Key)?;
    if key.algorithm() == wanted { Ok(key) } else { Err(PolicyFault::KeyType) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use proptest::prelude::*;

    fn key(name: &str, algorithm: Algorithm, seed: u8) -> VerifierKey {
        let public = SecretKey::from_seed([seed; 32]).public();
        VerifierKey::new(name.parse().unwrap(), algorithm, public)
    }

    fn witness(seed: u8) -> VerifierKey {
        key(&format!("w{seed}.example"), Algorithm::CosignatureV1, seed)
    }

    fn log() -> VerifierKey {
        key("clay.example/log", Algorithm::Ed25519, 100)
    }

    /// The example of the specification: two of X and one of Y.
    fn example() -> String {
        let mut text = format!("# two sides\nlog {}\n\n", log());
        for (side, first) in [("X", 1), ("Y", 4)] {
            for n in 0..3 {
                text.push_str(&format!("witness {side}{} {}\n", n + 1, witness(first + n)));
            }
        }
        text + "group X-witnesses 2 X1 X2 X3\n\
            group Y-witnesses any Y1 Y2 Y3\n\
            group X-and-Y all X-witnesses Y-witnesses\n\
            quorum X-and-Y\n"
    }

    fn satisfied(policy: &Policy, seeds: &[u8]) -> bool {
        let keys: Vec<_> = seeds.iter().map(|seed| witness(*seed)).collect();
        policy.satisfied(&keys)
    }

    #[test]
    fn the_example_of_the_specification_holds_for_exactly_the_right_sets() {
        let policy = Policy::parse(example().as_bytes()).unwrap();
        assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
        assert_eq!(policy.needed(), 3);
        assert!(policy.asks_for_witnesses());
        for set in 0u32..128 {
            // Seed 7 is nobody in the file.
            let seeds: Vec<u8> = (1..=7).filter(|seed| set >> (seed - 1) & 1 == 1).collect();
            let x = seeds.iter().filter(|seed| **seed <= 3).count();
            let y = seeds.iter().filter(|seed| (4..=6).contains(*seed)).count();
            assert_eq!(satisfied(&policy, &seeds), x >= 2 && y >= 1, "{seeds:?}");
        }
        assert!(policy.admits_log(&log()));
        assert!(!policy.admits_log(&key("clay.example/log", Algorithm::Ed25519, 101)));
        assert!(!policy.admits_log(&key("clay.example/other", Algorithm::Ed25519, 100)));
    }

    #[test]
    fn who_is_missing_is_named_if_the_quorum_counts_it() {
        let text = format!("witness idle {}\n{}", witness(9), example());
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let missing = |seeds: &[u8]| {
            let keys: Vec<_> = seeds.iter().map(|seed| witness(*seed)).collect();
            let names = policy.missing(&keys).into_iter().map(|party| party.name.clone());
            names.map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(missing(&[]), ["X1", "X2", "X3", "Y1", "Y2", "Y3"]);
        assert_eq!(missing(&[2, 5, 9]), ["X1", "X3", "Y1", "Y3"]);
        assert_eq!(missing(&[1, 2, 3, 4, 5, 6]), Vec::<String>::new());
        let none = Policy::parse(format!("witness idle {}\nquorum none\n", witness(9)).as_bytes());
        assert!(none.unwrap().missing([]).is_empty());
    }

    #[test]
    fn a_key_of_another_name_is_another_witness() {
        let policy = Policy::parse(format!("witness a {}\nquorum a\n", witness(1)).as_bytes());
        let policy = policy.unwrap();
        assert!(satisfied(&policy, &[1]));
        assert!(!policy.satisfied(&[key("other.example", Algorithm::CosignatureV1, 1)]));
        assert!(!policy.satisfied(&[key("w1.example", Algorithm::Ed25519, 1)]));
    }

    #[test]
    fn a_quorum_of_none_asks_for_nothing() {
        let policy = Policy::parse(b"quorum none").unwrap();
        assert!(policy.satisfied([]));
        assert!(!policy.asks_for_witnesses());
        assert_eq!(policy.needed(), 0);
        // Without logs in the file, which log it is follows from elsewhere.
        assert!(policy.admits_log(&log()));
    }

    #[test]
    fn white_space_comments_urls_and_foreign_names_are_as_in_the_specification() {
        let mut text = format!(
            "\t # comment\n \t \nwitness \tcaf\u{e9}  {}\thttps://w.example/ \nlog {} x\n",
            witness(1),
            log()
        )
        .into_bytes();
        text.extend_from_slice(b"group \xff 1 caf\xc3\xa9\nquorum \xff\n");
        let policy = Policy::parse(&text).unwrap();
        assert_eq!(policy.witnesses()[0].url.as_deref(), Some(&b"https://w.example/"[..]));
        assert_eq!(policy.logs()[0].url.as_deref(), Some(&b"x"[..]));
        assert!(satisfied(&policy, &[1]));
        assert_eq!(policy.witness_keys(), [witness(1)]);
    }

    #[test]
    fn every_violation_is_named_with_its_line() {
        use PolicyFault as F;
        let (w1, w2, log) = (witness(1), witness(2), log());
        let two = format!("witness a {w1}\nwitness b {w2}\n");
        let renamed = key("again.example", Algorithm::CosignatureV1, 1);
        let cases = [
            (String::new(), 1, F::NoQuorum),
            (two.clone(), 2, F::NoQuorum),
            ("quorum none\nquorum none\n".to_owned(), 2, F::SecondQuorum),
            ("quorum a\n".to_owned(), 1, F::UnknownName),
            (format!("quorum a\nwitness a {w1}\n"), 1, F::UnknownName),
            ("quorum\n".to_owned(), 1, F::Items),
            ("quorum none none\n".to_owned(), 1, F::Items),
            ("Quorum none\n".to_owned(), 1, F::Word),
            ("quorum none\r\n".to_owned(), 1, F::Control),
            ("quorum none\n\x00\n".to_owned(), 2, F::Control),
            ("log\n".to_owned(), 1, F::Items),
            (format!("log {log} url more\n"), 1, F::Items),
            (format!("log {w1}\n"), 1, F::KeyType),
            (format!("log {log}\nlog {log}\n"), 2, F::DuplicateKey),
            (format!("log {}\n", log.to_string().replace('+', "-")), 1, F::Key),
            (format!("witness {w1}\n"), 1, F::Items),
            (format!("witness a {log}\n"), 1, F::KeyType),
            (format!("witness none {w1}\n"), 1, F::DuplicateName),
            (format!("witness a {w1}\nwitness a {w2}\n"), 2, F::DuplicateName),
            (format!("witness a {w1}\nwitness b {renamed}\n"), 2, F::DuplicateKey),
            (format!("{two}group a all b\n"), 3, F::DuplicateName),
            (format!("{two}group g all\n"), 3, F::Items),
            (format!("{two}group g all none\n"), 3, F::UnknownName),
            (format!("{two}group g all g\n"), 3, F::UnknownName),
            (format!("{two}group g all a a\n"), 3, F::SecondMembership),
            (format!("{two}group g any a\ngroup h any a b\n"), 4, F::SecondMembership),
            (format!("{two}group g 0 a b\n"), 3, F::Threshold),
            (format!("{two}group g 3 a b\n"), 3, F::Threshold),
            (format!("{two}group g 01 a b\n"), 3, F::Threshold),
            (format!("{two}group g most a b\n"), 3, F::Threshold),
        ];
        for (text, line, fault) in cases {
            assert_eq!(Policy::parse(text.as_bytes()), Err(PolicyError { line, fault }), "{text}");
        }
    }

    #[test]
    fn limits_hold() {
        let huge = vec![b'#'; limits::POLICY_BYTES + 1];
        assert_eq!(Policy::parse(&huge).unwrap_err().fault, PolicyFault::TooLarge);
        let most: String = (0u8..64).map(|n| format!("witness {n} {}\n", witness(n))).collect();
        let fits = Policy::parse(format!("{most}quorum 7\n").as_bytes()).unwrap();
        assert_eq!(fits.witnesses().len(), limits::POLICY_ITEMS);
        let more = format!("{most}witness more {}\n", witness(64));
        let error = PolicyError { line: 65, fault: PolicyFault::TooLarge };
        assert_eq!(Policy::parse(more.as_bytes()), Err(error));
    }

    proptest! {
        #[test]
        fn arbitrary_files_are_read_or_refused(file in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _read = Policy::parse(&file);
        }

        /// More cosignatures never make a policy fail.
        #[test]
        fn satisfaction_is_monotonic(set in 0u8..64, more in 0u8..64) {
            let policy = Policy::parse(example().as_bytes()).unwrap();
            let of = |set: u8| (1..=6).filter(|n| set >> (n - 1) & 1 == 1).collect::<Vec<u8>>();
            prop_assert!(!satisfied(&policy, &of(set)) || satisfied(&policy, &of(set | more)));
            prop_assert!(!satisfied(&policy, &of(set)) || of(set).len() >= policy.needed());
        }
    }
}
