//! The opener: what this node can read of private groups.
//!
//! One for the whole node, shared by whoever reads bodies. It has the node's
//! sealing secret, the memberships that the machine merged, and in memory a
//! keyring for each group, filled from the epochs' own entries.
//!
//! ```text
//! machine ── membership ──► learn ──► keyring
//! replica ── sealed body ─► open ──► register, search, page, erasure
//! ```
//!
//! **Invariants:** a body is opened only in memory, and only what fits the
//! header's commitment comes out; what somebody wrote who was no member, or
//! after its departure, is not admitted; secrets are neither written nor
//! printed. Deliberately absent: sealing, which needs the current epoch and is
//! the desk's, and what is done with what cannot be opened yet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use tallystick_protocol::body::Body;
use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::entry::Entry;
use tallystick_protocol::group::epoch::Keyring;
use tallystick_protocol::group::operation::LogEnd;
use tallystick_protocol::group::seal::{BodyKey, SealingSecret};
use tallystick_protocol::group::{self, Membership};
use tallystick_protocol::id::{AuthorityId, EpochId, GroupId, LogId, NetworkName, Space, Version};

/// What this node can read of groups; clones are handles on the same one.
#[derive(Clone, Default)]
pub struct Opener(Arc<Inner>);

#[derive(Default)]
struct Inner {
    reader: Option<Reader>,
    groups: RwLock<BTreeMap<GroupId, Circle>>,
    /// The log that was read last, and its origin: what is read one after the other
    /// is of one log mostly.
    last: Mutex<Option<(LogId, Arc<Origin>)>>,
    changes: AtomicU64,
}

/// Who reads, and with what.
struct Reader {
    network: NetworkName,
    authority: AuthorityId,
    keys: Vec<SealingSecret>,
}

struct Circle {
    membership: Arc<Membership>,
    ring: Keyring,
    /// The key for bodies of each epoch on the ring, derived once.
    keys: BTreeMap<EpochId, Arc<BodyKey>>,
    /// What others did wrong in sealing secrets to us.
    faults: Vec<EpochFault>,
}

/// An epoch whose author sealed us something of no use, or another secret than to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochFault {
    /// What the group is called.
    pub group: String,
    /// Who opened the epoch.
    pub author: AuthorityId,
    /// What is wrong.
    pub why: String,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(..)")
    }
}

impl Opener {
    /// One that knows no group yet. The default one never knows any.
    #[must_use]
    pub fn new(network: NetworkName, authority: AuthorityId, keys: Vec<SealingSecret>) -> Self {
        let reader = Some(Reader { network, authority, keys });
        Self(Arc::new(Inner { reader, ..Inner::default() }))
    }

    fn groups(&self) -> RwLockReadGuard<'_, BTreeMap<GroupId, Circle>> {
        // A panic of another thread cannot leave a map that means something else.
        self.0.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in who is in a group now, and opens the epochs that can be opened;
    /// whether more or less can be read since.
    pub fn learn(&self, membership: &Arc<Membership>) -> bool {
        let Some(Reader { network, authority, keys }) = &self.0.reader else { return false };
        let group = membership.group();
        let before = self.groups().get(&group).map(|circle| Arc::clone(&circle.membership));
        if before.as_ref() == Some(membership) {
            return false;
        }
        let mut ring = self.ring(&group);
        let held = ring.epochs().count();
        // Outside of the lock: opening takes a moment for each epoch.
        let faults = ring.unlock(network, membership, authority, keys);
        let faults = faults.into_iter().filter_map(|(id, error)| {
            tracing::warn!(%error, "an epoch of a private group does not open for this node");
            let epoch = membership.epochs().iter().find(|epoch| epoch.id() == id)?;
            let group = membership.terms().map(|terms| terms.name.clone()).unwrap_or_default();
            Some(EpochFault { group, author: epoch.place.authority, why: error.to_string() })
        });
        let faults = faults.collect();
        let same = before.is_some_and(|before| {
            before.members().keys().eq(membership.members().keys())
                && before.departed() == membership.departed()
        });
        let changed = !same || ring.epochs().count() != held;
        let key =
            |epoch: &EpochId| Some((*epoch, Arc::new(ring.body_key(network, &group, epoch)?)));
        let keys = ring.epochs().filter_map(key).collect();
        let circle = Circle { membership: Arc::clone(membership), ring, keys, faults };
        self.0.groups.write().unwrap_or_else(PoisonError::into_inner).insert(group, circle);
        if changed {
            self.0.changes.fetch_add(1, Ordering::SeqCst);
        }
        changed
    }

    /// What is wrong with secrets that were sealed to us.
    pub(crate) fn faults(&self) -> Vec<EpochFault> {
        self.groups().values().flat_map(|circle| circle.faults.iter().cloned()).collect()
    }

    /// How often what can be read has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::SeqCst)
    }

    /// The secrets of a group's epochs that are known.
    #[must_use]
    pub fn ring(&self, group: &GroupId) -> Keyring {
        self.groups().get(group).map(|circle| circle.ring.clone()).unwrap_or_default()
    }

    /// What a group is called; nothing of one that is not known here.
    #[must_use]
    pub fn name(&self, space: &Space) -> Option<String> {
        let Space::Group(group) = space else { return None };
        let groups = self.groups();
        groups.get(group)?.membership.terms().map(|terms| terms.name.clone())
    }

    /// Whether what stands at `index` of `log` is to be shown: in a group, what a
    /// member wrote, or somebody before it departed.
    #[must_use]
    pub fn admits(&self, log: &LogId, index: u64) -> bool {
        let Space::Group(group) = log.space else { return true };
        let groups = self.groups();
        let Some(Circle { membership, .. }) = groups.get(&group) else { return false };
        let version = Version { generation: log.generation, index };
        let end = membership.departed().get(&log.authority);
        membership.members().contains_key(&log.authority)
            || end.is_some_and(|end| end.covers(version))
    }

    /// Whether an entry that was not to be read can be read now.
    pub(crate) fn reads(&self, log: &LogId, index: u64, epoch: Option<&EpochId>) -> bool {
        let Space::Group(group) = log.space else { return true };
        let held =
            |epoch| self.groups().get(&group).is_some_and(|c| c.ring.secret(epoch).is_some());
        self.admits(log, index) && epoch.is_none_or(held)
    }

    /// Where the logs of those who departed from groups end.
    pub(crate) fn departed(&self) -> BTreeMap<(GroupId, AuthorityId), LogEnd> {
        let mut ends = BTreeMap::new();
        for (group, circle) in &*self.groups() {
            let departed = circle.membership.departed().iter();
            ends.extend(departed.map(|(who, end)| ((*group, *who), *end)));
        }
        ends
    }

    /// The entry with its body opened, if it is sealed and can be.
    #[must_use]
    pub fn open(&self, log: &LogId, entry: Entry) -> Entry {
        self.opened(log, &entry).unwrap_or(entry)
    }

    fn opened(&self, log: &LogId, entry: &Entry) -> Option<Entry> {
        let (Space::Group(group), Some(Body::Sealed(sealed))) = (log.space, entry.body()) else {
            return None;
        };
        let epoch = entry.header().epoch?;
        let key = Arc::clone(self.groups().get(&group)?.keys.get(&epoch)?);
        key.open(&*self.origin(log)?, entry, sealed).ok()
    }

    fn origin(&self, log: &LogId) -> Option<Arc<Origin>> {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, origin)) = &*last
            && known == log
        {
            return Some(Arc::clone(origin));
        }
        let origin = Arc::new(group::origin(&self.0.reader.as_ref()?.network, log)?);
        *last = Some((*log, Arc::clone(&origin)));
        Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredEntry;
    use tallystick_protocol::body::{Fields, FullBody, Salt};
    use tallystick_protocol::entry::{Action, Header};
    use tallystick_protocol::group::operation::{ControlEntry, Operation, Terms};
    use tallystick_protocol::group::seal::Suite;
    use tallystick_protocol::group::{Continuation, History};
    use tallystick_protocol::id::RecordId;
    use tallystick_protocol::record::Kind;
    use tallystick_protocol::time::UnixTime;

    const ASH: AuthorityId = AuthorityId::from_bytes([1; 32]);
    const OAK: AuthorityId = AuthorityId::from_bytes([2; 32]);
    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    fn secret() -> SealingSecret {
        SealingSecret::from_seed(Suite::X25519, [7; 32])
    }

    /// Ash's group of one with an epoch, its log, and a record of which the title is sealed.
    fn circle() -> (Arc<Membership>, LogId, Entry) {
        let network = network();
        let terms = Terms {
            random: [3; 32],
            name: "Made-up circle".into(),
            history: History::All,
            text: String::new(),
            least: 1,
            kinds: Vec::new(),
            continuation: Continuation::Nobody,
        };
        let id = group::group_id(&network, &ASH, &terms.random);
        let log = LogId { authority: ASH, space: Space::Group(id), generation: 0 };
        let salt = |n| Salt::from_random([n; 32]);
        let create = Operation::Create(Box::new(terms));
        let create = ControlEntry::write(&id, &[], &create, NOW, &salt(1)).unwrap();
        let create = ControlEntry::read(&log, 0, &create).unwrap();
        let alone = Membership::merge(&network, &id, [&create]).unwrap();
        let keys = BTreeMap::from([(ASH, secret().public().unwrap())]);
        let ring = Keyring::default();
        let (opening, epoch_secret) =
            alone.open_epoch(&network, &ASH, NOW, &keys, &ring, [5; 32]).unwrap();
        let epoch = Operation::Epoch(Arc::new(opening));
        let epoch = ControlEntry::write(&id, alone.heads(), &epoch, NOW, &salt(2)).unwrap();
        let epoch = ControlEntry::read(&log, 1, &epoch).unwrap();
        let membership = Membership::merge(&network, &id, [&create, &epoch]).unwrap();
        let epoch = membership.current_epoch(NOW).unwrap().id();
        let mut fields = Fields::new();
        fields.insert("title", &"Sealed haulage".into()).unwrap();
        let (body, commitment) = FullBody::new(&salt(4), &fields).unwrap();
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        let record = RecordId::from_bytes([9; 16]);
        let mut header = Header::new(Kind::CONTRACT, record, Action::Put, NOW, commitment, size);
        header.epoch = Some(epoch);
        let entry = Entry::author(header, Body::Full(body)).unwrap();
        let key = epoch_secret.body_key(&network, &id, epoch);
        let origin = group::origin(&network, &log).unwrap();
        let sealed = key.seal(&origin, &entry, [6; 24]).unwrap();
        (Arc::new(membership), log, entry.sealed(sealed))
    }

    #[test]
    fn a_member_reads_what_is_sealed_and_nobody_else_does() {
        let (membership, log, entry) = circle();
        let shown = |opener: &Opener| opener.open(&log, entry.clone()).body().unwrap().fields();
        let member = Opener::new(network(), ASH, vec![secret()]);
        assert!(shown(&member).is_empty(), "nothing is known of the group yet");
        assert!(member.learn(&membership));
        assert!(!member.learn(&membership), "nothing has changed");
        assert_eq!(shown(&member).text("title").unwrap(), "Sealed haulage");
        let other = SealingSecret::from_seed(Suite::X25519, [8; 32]);
        for opener in [Opener::new(network(), OAK, vec![other]), Opener::default()] {
            opener.learn(&membership);
            assert!(shown(&opener).is_empty());
            assert!(!opener.reads(&log, 2, entry.header().epoch.as_ref()));
        }
    }

    #[test]
    fn what_strangers_write_into_a_group_is_not_admitted() {
        let (membership, log, _) = circle();
        let opener = Opener::new(network(), ASH, vec![secret()]);
        assert!(!opener.admits(&log, 2), "the group is not known");
        opener.learn(&membership);
        assert!(opener.admits(&log, 2));
        assert!(!opener.admits(&LogId { authority: OAK, ..log }, 0));
        assert!(opener.admits(&LogId::public(OAK, 0), 0), "what is public anybody may say");
        // A stored entry of a stranger is read without its body.
        let (_, log, entry) = circle();
        let (header, body) = entry.into_bytes();
        let stored = StoredEntry { header, body };
        let log = LogId { authority: OAK, ..log };
        let reading = crate::register::Reading::of(&log, 2, stored, &opener).unwrap();
        assert!(reading.fields.is_none() && reading.is_held_back());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let opener = Opener::new(network(), ASH, vec![secret()]);
        assert_eq!(format!("{opener:?}"), "Opener(..)");
    }
}
