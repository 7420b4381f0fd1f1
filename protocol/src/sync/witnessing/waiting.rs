//! Lines that cannot be verified yet, since the identity of their witness, the
//! event that names it, or the head itself has still to come.
//!
//! Where all start at once, a head may be heard before the identities of those
//! who cosigned it; nobody would tell its lines a second time.
//!
//! **Invariants:** nothing in here was verified, and nothing in here is stored,
//! shown or told: a line leaves only together with the key to check it with. Of
//! each log there are at most as many lines as there may be witnesses, one for
//! each, all of one head and in the names of authorities of this network; those
//! that the author does not name give way first. All of them together are bounded
//! in bytes; what has waited longest gives way. Deliberately absent: whoever told
//! them, who may not have known better; and durability: what waits is lost in a
//! crash, until the next head.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AuthorityId, LogId};
use crate::limits;
use crate::note::{SignatureLine, VerifierKey};
use crate::witness::Seen;

/// What a line takes besides its name and signature.
const OVERHEAD: usize = 128;

/// All lines that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    logs: BTreeMap<LogId, Lines>,
    /// Logs in the order in which their lines began to wait.
    places: BTreeMap<u64, LogId>,
    last_place: u64,
    bytes: usize,
}

/// The lines of one head.
#[derive(Debug)]
struct Lines {
    head: Seen,
    lines: BTreeMap<AuthorityId, SignatureLine>,
    place: u64,
}

impl Waiting {
    /// Lets lines on a head wait, each with the authority in whose name it is.
    /// `named` are the witnesses that the author names, as far as is known.
    pub(super) fn keep(
        &mut self,
        log: LogId,
        head: Seen,
        named: &[AuthorityId],
        lines: impl IntoIterator<Item = (AuthorityId, SignatureLine)>,
    ) {
        if let Some(known) = self.logs.get(&log).map(|known| known.head).filter(|h| *h != head) {
            if known.size > head.size {
                return;
            }
            self.forget(&log);
        }
        for (witness, line) in lines {
            if line.size() <= limits::COSIGNATURE_BYTES {
                self.put(log, head, named, (witness, line));
            }
        }
        while self.bytes > limits::WAITING_LINE_BYTES
            && let Some(oldest) = self.places.first_key_value().map(|(_, log)| *log)
        {
            self.forget(&oldest);
        }
    }

    fn put(
        &mut self,
        log: LogId,
        head: Seen,
        named: &[AuthorityId],
        (witness, line): (AuthorityId, SignatureLine),
    ) {
        let known = self.logs.entry(log).or_insert_with(|| {
            self.last_place += 1;
            self.places.insert(self.last_place, log);
            Lines { head, lines: BTreeMap::new(), place: self.last_place }
        });
        if known.lines.contains_key(&witness) {
            return;
        }
        if known.lines.len() >= limits::WITNESSES {
            let other = known.lines.keys().find(|other| !named.contains(other)).copied();
            let Some(other) = other.filter(|_| named.contains(&witness)) else { return };
            self.bytes -= known.lines.remove(&other).map_or(0, |line| size(&line));
        }
        self.bytes += size(&line);
        known.lines.insert(witness, line);
    }

    /// The lines on a log's newest head that are in the names of `keys`: they wait
    /// no longer. Those on an older head are forgotten.
    pub(super) fn ready(
        &mut self,
        log: &LogId,
        newest: Seen,
        keys: &[VerifierKey],
    ) -> Vec<(SignatureLine, VerifierKey)> {
        let Some(known) = self.logs.get_mut(log) else { return Vec::new() };
        if known.head != newest {
            if known.head.size <= newest.size {
                self.forget(log);
            }
            return Vec::new();
        }
        let by = |line: &SignatureLine, key: &VerifierKey| {
            key.name() == line.name() && key.key_id() == line.key_id()
        };
        let mut ready = Vec::new();
        known.lines.retain(|_, line| {
            let Some(key) = keys.iter().find(|key| by(line, key)) else { return true };
            ready.push((line.clone(), key.clone()));
            false
        });
        self.bytes -= ready.iter().map(|(line, _)| size(line)).sum::<usize>();
        if known.lines.is_empty() {
            self.forget(log);
        }
        ready
    }

    /// The logs with lines that wait of these authorities, or by them.
    pub(super) fn concerning(&self, authorities: &BTreeSet<AuthorityId>) -> Vec<LogId> {
        let concerned = |(log, known): &(&LogId, &Lines)| {
            authorities.contains(&log.authority)
                || known.lines.keys().any(|witness| authorities.contains(witness))
        };
        self.logs.iter().filter(concerned).map(|(log, _)| *log).collect()
    }

    fn forget(&mut self, log: &LogId) {
        if let Some(known) = self.logs.remove(log) {
            self.places.remove(&known.place);
            self.bytes -= known.lines.values().map(size).sum::<usize>();
        }
    }
}

const fn size(line: &SignatureLine) -> usize {
    line.size() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::witness_key;
    use crate::identity::tests::network;
    use crate::key::SecretKey;
    use crate::log::leaf_hash;
    use crate::note::cosignature_line;
    use crate::time::UnixTime;

    fn authority(n: u16) -> AuthorityId {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        AuthorityId::from_bytes(bytes)
    }

    fn log(n: u16) -> LogId {
        LogId::public(authority(n), 0)
    }

    fn head(size: u64) -> Seen {
        Seen { size, root: leaf_hash(&size.to_be_bytes()) }
    }

    fn key_of(witness: u16, seed: u8) -> VerifierKey {
        witness_key(&network(), &authority(witness), SecretKey::from_seed([seed; 32]).public())
    }

    fn line(witness: u16, seed: u8) -> (AuthorityId, SignatureLine) {
        let (key, time) = (SecretKey::from_seed([seed; 32]), UnixTime::from_seconds(1));
        let name = key_of(witness, seed).name().clone();
        (authority(witness), cosignature_line("any text\n", &name, &key, time).unwrap())
    }

    fn recount(waiting: &Waiting) -> usize {
        waiting.logs.values().flat_map(|known| known.lines.values()).map(size).sum()
    }

    #[test]
    fn a_line_leaves_once_and_only_with_its_key_and_on_its_head() {
        let mut waiting = Waiting::default();
        waiting.keep(log(1), head(5), &[], [line(20, 1), line(21, 2)]);
        assert!(waiting.ready(&log(1), head(5), &[]).is_empty());
        assert!(waiting.ready(&log(1), head(5), &[key_of(20, 9)]).is_empty(), "another key");
        assert!(waiting.ready(&log(2), head(5), &[key_of(20, 1)]).is_empty(), "another log");
        assert!(waiting.ready(&log(1), head(4), &[key_of(20, 1)]).is_empty(), "not there yet");
        let ready = waiting.ready(&log(1), head(5), &[key_of(20, 1)]);
        assert_eq!(ready, [(line(20, 1).1, key_of(20, 1))]);
        assert!(waiting.ready(&log(1), head(5), &[key_of(20, 1)]).is_empty(), "a second time");
        assert_eq!(waiting.concerning(&[authority(21)].into()), [log(1)]);
        assert_eq!(waiting.concerning(&[authority(1)].into()), [log(1)]);
        assert!(waiting.concerning(&[authority(20)].into()).is_empty());
        // The log goes on: what was on an older head is of no use.
        assert!(waiting.ready(&log(1), head(6), &[key_of(21, 2)]).is_empty());
        assert!(waiting.logs.is_empty() && waiting.places.is_empty() && waiting.bytes == 0);
    }

    #[test]
    fn lines_are_of_the_newest_head_only() {
        let mut waiting = Waiting::default();
        waiting.keep(log(1), head(5), &[], [line(20, 1)]);
        waiting.keep(log(1), head(4), &[], [line(21, 2)]);
        assert!(waiting.ready(&log(1), head(5), &[key_of(21, 2)]).is_empty());
        waiting.keep(log(1), head(6), &[], [line(22, 3)]);
        assert!(waiting.ready(&log(1), head(6), &[key_of(20, 1)]).is_empty());
        assert_eq!(waiting.ready(&log(1), head(6), &[key_of(22, 3)]).len(), 1);
    }

    #[test]
    fn strangers_give_way_to_witnesses_and_never_the_reverse() {
        let mut waiting = Waiting::default();
        let named: Vec<_> = (100..114).map(authority).collect();
        waiting.keep(log(1), head(5), &named, (0..40).map(|n| line(n, 1)));
        assert_eq!(waiting.logs[&log(1)].lines.len(), limits::WITNESSES);
        waiting.keep(log(1), head(5), &named, (100..114).map(|n| line(n, 1)));
        waiting.keep(log(1), head(5), &named, (0..40).map(|n| line(n, 1)));
        assert!(waiting.logs[&log(1)].lines.keys().eq(&named));
        assert_eq!(waiting.bytes, recount(&waiting));
    }

    #[test]
    fn all_together_are_bounded_and_the_oldest_give_way() {
        let mut waiting = Waiting::default();
        for n in 0..1_500 {
            waiting.keep(log(n), head(5), &[], (2_000..2_014).map(|w| line(w, 1)));
            assert!(waiting.bytes <= limits::WAITING_LINE_BYTES, "{n}");
        }
        assert_eq!(waiting.bytes, recount(&waiting));
        assert!(!waiting.logs.contains_key(&log(0)) && waiting.logs.contains_key(&log(1_499)));
        assert_eq!(waiting.logs.len(), waiting.places.len());
    }
}
