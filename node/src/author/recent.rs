//! What this authority appended to one of its logs and the register may not have taken in yet.
//!
//! An import that waited for the register after each plan would keep all but
//! one part of the node idle. So what a plan appended is remembered until the
//! register has it, and looked up first. **Invariants:** at most
//! [`Recent::PLANS`] plans are remembered; a record is found here or in the
//! register from the moment it was appended, in its newest version.
//! Deliberately absent: waiting for the register, which is for the caller.

use std::collections::{BTreeMap, VecDeque};

use tallystick_protocol::body::Fields;
use tallystick_protocol::entry::Header;
use tallystick_protocol::id::{LogId, Version};

use super::{Lookup, Own};
use crate::store::StoreError;

/// The newest plans of an authority, as far as they were appended to its log.
#[derive(Debug, Default)]
pub struct Recent {
    plans: VecDeque<Appended>,
    /// The log, once something was looked up.
    log: Option<LogId>,
    /// Entries of the log that are known here or were in the register to begin with.
    reach: u64,
}

#[derive(Debug)]
struct Appended {
    /// Entries of the log with this plan.
    end: u64,
    /// The records by their source keys.
    records: BTreeMap<String, Own>,
}

impl Recent {
    /// Plans remembered; each is bounded by itself.
    pub const PLANS: usize = 4;

    /// Nothing: the register has all `reach` entries of `log`.
    #[must_use]
    pub const fn after(log: LogId, reach: u64) -> Self {
        Self { plans: VecDeque::new(), log: Some(log), reach }
    }

    /// Whether everything is known, here or in the register, in `log` with `size` entries.
    #[must_use]
    pub fn reaches(&self, log: &LogId, size: u64) -> bool {
        self.log.as_ref() == Some(log) && self.reach == size
    }

    /// How far the register has to come before another plan can be remembered;
    /// `None` if there is room.
    #[must_use]
    pub fn wanted(&self) -> Option<u64> {
        let oldest = self.plans.front()?;
        (self.plans.len() >= Self::PLANS).then_some(oldest.end)
    }

    /// Forgets what is in a register that has the first `size` entries.
    pub fn forget(&mut self, size: u64) {
        while self.plans.front().is_some_and(|plan| plan.end <= size) {
            self.plans.pop_front();
        }
    }

    /// Remembers entries that were appended from version `start` on, each with
    /// its header, source key and fields.
    pub fn remember(&mut self, start: Version, appended: Vec<(Header, String, Fields)>) {
        let end = start.index + appended.len() as u64;
        let own = |(at, (header, key, fields)): (u64, (Header, String, Fields))| {
            let version = Version { generation: start.generation, index: at };
            let Header { record: id, action, kind, .. } = header;
            (key, Own { id, version, action, kind, fields: Some(fields) })
        };
        let records = (start.index..).zip(appended).map(own).collect();
        self.plans.push_back(Appended { end, records });
        // Something else was appended in between: the caller sees that the reach is too short.
        if start.index == self.reach {
            self.reach = end;
        }
    }

    /// Looks up here first, then in `register`.
    #[must_use]
    pub const fn over<L>(&self, register: L) -> Fresh<'_, L> {
        Fresh { recent: self, register }
    }
}

/// See [`Recent::over`].
#[derive(Debug)]
pub struct Fresh<'a, L> {
    recent: &'a Recent,
    register: L,
}

impl<L: Lookup> Lookup for Fresh<'_, L> {
    fn own(&self, source_key: &str) -> Result<Option<Own>, StoreError> {
        let known = self.recent.plans.iter().rev();
        match known.filter_map(|plan| plan.records.get(source_key)).next() {
            Some(own) => Ok(Some(own.clone())),
            None => self.register.own(source_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use tallystick_protocol::entry::Action;
    use tallystick_protocol::id::{AuthorityId, Commitment, RecordId};
    use tallystick_protocol::record::Kind;
    use tallystick_protocol::time::UnixTime;

    use super::*;

    fn log() -> LogId {
        LogId::public(AuthorityId::from_bytes([1; 32]), 0)
    }

    struct Register;

    impl Lookup for Register {
        fn own(&self, source_key: &str) -> Result<Option<Own>, StoreError> {
            Ok((source_key == "old").then(|| own(0)))
        }
    }

    fn own(index: u64) -> Own {
        Own {
            id: RecordId::from_bytes([0; 16]),
            version: Version { generation: 0, index },
            action: Action::Put,
            kind: Kind::CONTRACT,
            fields: Some(Fields::new()),
        }
    }

    fn append(recent: &mut Recent, index: u64, keys: &[&str]) {
        let header = Header::new(
            Kind::CONTRACT,
            RecordId::from_bytes([0; 16]),
            Action::Put,
            UnixTime::from_seconds(0),
            Commitment::from_bytes([0; 32]),
            1,
        );
        let start = Version { generation: 0, index };
        let appended = keys.iter().map(|key| (header.clone(), (*key).to_owned(), Fields::new()));
        recent.remember(start, appended.collect());
    }

    #[test]
    fn the_newest_version_is_found_until_the_register_has_it() {
        let mut recent = Recent::after(log(), 5);
        append(&mut recent, 5, &["a", "b"]);
        append(&mut recent, 7, &["b", "old"]);
        let index = |recent: &Recent, key: &str| {
            recent.over(Register).own(key).unwrap().map(|own| own.version.index)
        };
        assert_eq!(index(&recent, "a"), Some(5));
        assert_eq!(index(&recent, "b"), Some(7));
        assert_eq!(index(&recent, "old"), Some(8));
        assert_eq!(index(&recent, "c"), None);
        recent.forget(6);
        assert_eq!(index(&recent, "a"), Some(5), "the register has only half of the plan");
        recent.forget(7);
        assert_eq!(index(&recent, "a"), None);
        recent.forget(9);
        assert_eq!(index(&recent, "old"), Some(0));
    }

    #[test]
    fn room_and_reach_are_bounded_by_what_was_appended() {
        let mut recent = Recent::after(log(), 0);
        for index in 0..Recent::PLANS as u64 {
            assert_eq!(recent.wanted(), None);
            append(&mut recent, index, &["a"]);
            assert!(recent.reaches(&log(), index + 1));
        }
        assert_eq!(recent.wanted(), Some(1));
        recent.forget(1);
        assert_eq!(recent.wanted(), None);
        append(&mut recent, 9, &["b"]);
        assert!(!recent.reaches(&log(), 10), "somebody else appended between 4 and 9");
    }
}
