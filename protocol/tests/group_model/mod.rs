//! A small world of authorities that write control entries, and the rules of
//! membership once more, written down as plainly as possible.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "support of tests; each test binary uses a part"
)]

use std::collections::{BTreeMap, BTreeSet};

use tallystick_protocol::body::Salt;
use tallystick_protocol::entry::Entry;
use tallystick_protocol::group::operation::{Invite, Join, Terms};
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Grant, History, LogEnd, Membership, Operation, Role,
    group_id,
};
use tallystick_protocol::id::{AuthorityId, GroupId, LogId, NetworkName, Space};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::time::UnixTime;

pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

/// Authority `n`.
pub(crate) fn who(n: usize) -> AuthorityId {
    AuthorityId::from_bytes([u8::try_from(n).unwrap() + 1; 32])
}

/// The one-time key of invitation `n`.
pub(crate) fn one_time(n: usize) -> SecretKey {
    SecretKey::from_seed([u8::try_from(n).unwrap() + 100; 32])
}

pub(crate) const EXPIRES: u64 = 1_000;

/// What authors do in tests; sizes of logs and signatures are filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Invite { key: usize, role: Role, bound: Option<usize> },
    Join { invitation: EntryRef, key: usize },
    Assign(usize, Role),
    Remove(usize),
    Leave,
    Continue(usize),
    Acknowledge,
}

/// All entries of one group, and where each log ends.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) group: GroupId,
    pub(crate) terms: Terms,
    pub(crate) entries: Vec<ControlEntry>,
    places: BTreeMap<EntryRef, usize>,
    /// What each entry had seen, as bits by place in `entries`; at most 64 entries.
    past: Vec<u64>,
    sizes: BTreeMap<AuthorityId, u64>,
    /// The entries as they stand in the logs.
    pub(crate) written: BTreeMap<EntryRef, Entry>,
    /// The entries that no other has seen.
    pub(crate) heads: Vec<EntryRef>,
}

impl World {
    /// A group that authority 0 has created.
    pub(crate) fn new(continuation: Continuation) -> Self {
        let terms = Terms {
            random: [9; 32],
            name: "Seven boroughs".into(),
            history: History::All,
            text: "What is shared here stays here.".into(),
            least: 3,
            kinds: Vec::new(),
            continuation,
        };
        Self::with_terms(terms)
    }

    pub(crate) fn with_terms(terms: Terms) -> Self {
        let group = group_id(&network(), &who(0), &terms.random);
        let (places, sizes, written) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (entries, past) = (Vec::new(), Vec::new());
        let terms_of = terms.clone();
        let mut world = Self {
            group,
            terms: terms_of,
            entries,
            places,
            past,
            sizes,
            written,
            heads: Vec::new(),
        };
        world.write(0, &[], Operation::Create(Box::new(terms)), 0);
        world
    }

    /// Adds members: authority 0 invites each, who joins; every entry has seen all before it.
    pub(crate) fn with(mut self, members: &[(usize, Role)]) -> Self {
        for (member, role) in members {
            let key = *member;
            let invitation = self.say(0, Act::Invite { key, role: *role, bound: None });
            self.say(*member, Act::Join { invitation, key });
        }
        self
    }

    /// Writes an entry that has seen everything.
    pub(crate) fn say(&mut self, author: usize, act: Act) -> EntryRef {
        let seen = self.heads.clone();
        self.say_having_seen(author, &seen, act)
    }

    pub(crate) fn say_having_seen(
        &mut self,
        author: usize,
        seen: &[EntryRef],
        act: Act,
    ) -> EntryRef {
        let operation = self.operation(author, seen, act);
        self.write(author, seen, operation, 0)
    }

    /// As known to somebody who has seen `seen`: a removal names the log as it was then.
    fn end_of(&self, subject: usize, seen: &[EntryRef]) -> LogEnd {
        let known = self.closure(seen);
        let own = self
            .entries
            .iter()
            .enumerate()
            .filter(|(at, entry)| entry.author() == who(subject) && known >> at & 1 == 1);
        let size = own.map(|(_, entry)| entry.place().version.index + 1).max().unwrap_or(0);
        LogEnd { generation: 0, size }
    }

    fn operation(&self, author: usize, seen: &[EntryRef], act: Act) -> Operation {
        match act {
            Act::Invite { key, role, bound } => Operation::Invite(Box::new(Invite {
                key: one_time(key).public(),
                grant: Grant::of(role),
                authority: bound.map(who),
                expires: UnixTime::from_seconds(EXPIRES),
            })),
            Act::Join { invitation, key } => {
                let terms = self.terms.hash();
                let join = Join::new(&self.group, invitation, &one_time(key), terms, &who(author));
                Operation::Join(Box::new(join))
            }
            Act::Assign(subject, role) => Operation::Assign {
                authority: who(subject),
                grant: Grant::of(role),
                end: self.end_of(subject, seen),
            },
            Act::Remove(subject) => {
                Operation::Remove { authority: who(subject), end: self.end_of(subject, seen) }
            }
            Act::Leave => Operation::Leave,
            Act::Continue(subject) => Operation::Continue { authority: who(subject) },
            Act::Acknowledge => Operation::Acknowledge,
        }
    }

    pub(crate) fn write(
        &mut self,
        author: usize,
        seen: &[EntryRef],
        operation: Operation,
        issued: u64,
    ) -> EntryRef {
        let index = self.sizes.entry(who(author)).or_default();
        let mut salt = [0; 32];
        salt[0] = u8::try_from(author).unwrap();
        salt[1] = u8::try_from(*index).unwrap();
        let issued = UnixTime::from_seconds(issued);
        let salt = Salt::from_random(salt);
        let entry = ControlEntry::write(&self.group, seen, &operation, issued, &salt).unwrap();
        let log = LogId { authority: who(author), space: Space::Group(self.group), generation: 0 };
        let stored = entry;
        let entry = ControlEntry::read(&log, *index, &stored).unwrap();
        *index += 1;
        let place = entry.place();
        self.written.insert(place, stored);
        let own = self.entries.iter().map(ControlEntry::place);
        let own: Vec<_> = own.filter(|other| other.authority == place.authority).collect();
        let past = self.closure(seen) | self.closure(&own);
        self.past.push(past);
        self.heads.retain(|head| past >> self.places[head] & 1 == 0);
        self.heads.push(place);
        self.places.insert(place, self.entries.len());
        self.entries.push(entry);
        place
    }

    pub(crate) fn membership(&self) -> Membership {
        self.merged(&self.entries)
    }

    pub(crate) fn merged<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a ControlEntry>,
    ) -> Membership {
        Membership::merge(&network(), &self.group, entries).unwrap()
    }

    /// Some entries and all that they had seen, as bits.
    fn closure(&self, from: &[EntryRef]) -> u64 {
        let bits = from.iter().map(|place| self.places[place]);
        bits.fold(0, |known, at| known | 1 << at | self.past[at])
    }
}

/// The rules as equations over finished verdicts, and a search through all of them.
/// Only what the histories of these tests can contain: no expiry, no continuation,
/// no full groups.
pub(crate) struct Oracle<'a> {
    world: &'a World,
    counted: Vec<bool>,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(world: &'a World, membership: &Membership) -> Self {
        let verdicts = world.entries.iter().map(|entry| membership.verdicts()[&entry.place()]);
        Self { world, counted: verdicts.map(|verdict| verdict.is_ok()).collect() }
    }

    fn all(&self) -> impl Iterator<Item = usize> + '_ {
        0..self.world.entries.len()
    }

    fn author(&self, at: usize) -> AuthorityId {
        self.world.entries[at].author()
    }

    fn operation(&self, at: usize) -> &Operation {
        self.world.entries[at].operation()
    }

    fn saw(&self, later: usize, earlier: usize) -> bool {
        self.world.past[later] >> earlier & 1 == 1
    }

    fn concurrent(&self, a: usize, b: usize) -> bool {
        a != b && !self.saw(a, b) && !self.saw(b, a)
    }

    fn subject(&self, at: usize) -> Option<AuthorityId> {
        match self.operation(at) {
            Operation::Create(_) | Operation::Join(_) | Operation::Leave => Some(self.author(at)),
            Operation::Assign { authority, .. } | Operation::Remove { authority, .. } => {
                Some(*authority)
            }
            _ => None,
        }
    }

    fn given(&self, at: usize) -> Option<Role> {
        match self.operation(at) {
            Operation::Create(_) => Some(Role::Convenor),
            Operation::Assign { grant, .. } => Some(grant.role()),
            Operation::Join(_) => match self.operation(self.invitation(at).unwrap()) {
                Operation::Invite(invite) => Some(invite.grant.role()),
                _ => None,
            },
            _ => None,
        }
    }

    fn invitation(&self, at: usize) -> Option<usize> {
        match self.operation(at) {
            Operation::Join(join) => Some(self.world.places[&join.invitation]),
            _ => None,
        }
    }

    /// The role of `who` by the counted entries that `at` had seen.
    fn role(&self, who: AuthorityId, at: usize) -> Option<Role> {
        let rules = |one: &usize| {
            self.saw(at, *one) && self.counted[*one] && self.subject(*one) == Some(who)
        };
        let ruling: Vec<_> = self.all().filter(rules).collect();
        let newest = ruling.iter().filter(|one| !ruling.iter().any(|two| self.saw(*two, **one)));
        newest.map(|one| self.given(*one)).min().flatten()
    }

    fn right(&self, at: usize) -> bool {
        let author = self.role(self.author(at), at);
        let leads = author == Some(Role::Convenor);
        let member = |who: AuthorityId| self.role(who, at).is_some();
        match self.operation(at) {
            Operation::Create(_) => at == 0,
            Operation::Invite(_) => leads,
            Operation::Assign { authority, .. } => leads && member(*authority),
            Operation::Remove { authority, .. } => {
                leads && member(*authority) && *authority != self.author(at)
            }
            Operation::Leave | Operation::Acknowledge => author.is_some(),
            Operation::Join(_) => {
                let invitation = self.invitation(at).unwrap();
                let issuer = self.role(self.author(invitation), at);
                let used = self
                    .all()
                    .any(|one| self.saw(at, one) && self.invitation(one) == Some(invitation));
                let known = self.counted[invitation] && self.saw(at, invitation);
                known && issuer == Some(Role::Convenor) && author.is_none() && !used
            }
            _ => panic!("not in these histories"),
        }
    }

    fn needs(&self, at: usize) -> Option<Role> {
        match self.operation(at) {
            Operation::Invite(_) | Operation::Assign { .. } | Operation::Remove { .. } => {
                Some(Role::Convenor)
            }
            Operation::Acknowledge => Some(Role::Observer),
            _ => None,
        }
    }

    fn is_restriction(&self, at: usize) -> bool {
        match self.operation(at) {
            Operation::Remove { .. } => true,
            Operation::Assign { grant, .. } => grant.role() < Role::Convenor,
            _ => false,
        }
    }

    /// Whether counted entry `by` overrules `at`.
    fn overrules(&self, by: usize, at: usize) -> bool {
        if !self.counted[by] || !self.concurrent(by, at) {
            return false;
        }
        let (leaves, subject, end) = match self.operation(by) {
            Operation::Remove { authority, end } => (None, *authority, *end),
            Operation::Assign { authority, grant, end } => (Some(grant.role()), *authority, *end),
            Operation::Join(_) => {
                return self.invitation(by) == self.invitation(at) && self.prevails(by, at);
            }
            _ => return false,
        };
        let late = self.author(at) == subject
            && !end.covers(self.world.entries[at].place().version)
            && self.needs(at) > leaves;
        let lapsed = leaves < Some(Role::Convenor)
            && self.invitation(at).is_some_and(|one| self.author(one) == subject);
        (late || lapsed) && !self.vouched(at, by)
    }

    fn prevails(&self, by: usize, at: usize) -> bool {
        let leaf = |at: usize| self.world.entries[at].place().leaf;
        let (ours, theirs) = (self.vouched(by, at), self.vouched(at, by));
        if ours == theirs { leaf(by) < leaf(at) } else { ours }
    }

    fn vouched(&self, at: usize, by: usize) -> bool {
        let parties =
            [Some(self.author(at)), Some(self.author(by)), self.subject(at), self.subject(by)];
        let known = self.invitation(by).unwrap_or(by);
        self.all().any(|third| {
            let author = self.author(third);
            self.counted[third]
                && third != by
                && self.saw(third, at)
                && !self.saw(third, by)
                && !parties.contains(&Some(author))
                && self.role(author, known) >= Some(Role::Member)
        })
    }

    /// Whether a chain of restrictions, each overruling the next, leads from `from` to `to`.
    fn chain(&self, from: usize, to: usize) -> bool {
        let mut reached = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(by) = next.pop() {
            for at in self.all().filter(|at| self.counted[*at] && self.is_restriction(*at)) {
                if self.overrules(by, at) && reached.insert(at) {
                    next.push(at);
                }
            }
        }
        reached.contains(&to)
    }

    /// Every verdict is what the rules say. Where one is not, no others would all be,
    /// and then what takes counts, and nothing else does that something speaks against.
    /// Where a restriction falls that would stand in a circle, it stands in no answer.
    /// What depends on none of these is taken as it was settled. How that was.
    pub(crate) fn audit(&self, story: &dyn std::fmt::Debug) -> Settled {
        let faults: Vec<_> = self.all().filter_map(|at| self.fault(at)).collect();
        let yielding: Vec<_> = self.all().filter(|at| self.yields(*at)).collect();
        let (settled, from) = match (faults.first(), yielding.first()) {
            (Some((at, _)), _) => (Settled::AgainstAll, *at),
            (None, Some(at)) => (Settled::Yielding, *at),
            (None, None) => return Settled::Standing,
        };
        let mut free = self.dependent(from);
        let (mut answers, standing) = self.answers(&free);
        if answers > 0 && settled == Settled::AgainstAll {
            // Those who overrule each other for certain are settled before the rest, though
            // another answer to that alone might have left one to all.
            let overruled = |at: usize| self.all().any(|by| self.overrules(by, at));
            free.retain(|at| !(self.counted[*at] && overruled(*at) && self.stands(*at)));
            (answers, _) = self.answers(&free);
        }
        assert_eq!(standing, 0, "{from} falls, and could stand: {story:?}");
        for (at, why) in faults {
            let what = format!("{why}: entry {at}, {:?} in {story:?}", self.operation(at));
            assert_eq!(answers, 0, "there is an answer; {what}");
            assert_eq!(self.counted[at], self.is_restriction(at), "{what}");
            assert!(self.right(at), "{what}");
        }
        settled
    }

    /// What is wrong with the verdict on an entry.
    fn fault(&self, at: usize) -> Option<(usize, &'static str)> {
        let overruled = self.all().any(|by| self.overrules(by, at));
        let right = self.right(at);
        let why = match (self.counted[at], right) {
            (true, false) => "counts without right",
            (true, true) if overruled && !self.stands(at) => "is overruled, and counts",
            (false, true) if !overruled => "does not count, without reason",
            _ => return None,
        };
        Some((at, why))
    }

    /// Whether a restriction that counts, or is taken to, speaks by way of others
    /// against all that speak against it.
    fn stands(&self, at: usize) -> bool {
        let mut against = self.all().filter(|by| self.overrules(*by, at));
        self.is_restriction(at) && against.all(|by| self.chain(at, by))
    }

    /// Whether a restriction falls that would stand if it did not.
    fn yields(&self, at: usize) -> bool {
        let mut other = Self { world: self.world, counted: self.counted.clone() };
        other.counted[at] = true;
        !self.counted[at] && self.right(at) && other.stands(at)
    }

    /// Whether `by` could speak against an entry.
    fn contests(&self, by: usize, at: usize) -> bool {
        let concerned = |who: AuthorityId| {
            let invitation = self.invitation(at);
            self.author(at) == who || invitation.is_some_and(|one| self.author(one) == who)
        };
        let speaks = match self.operation(by) {
            Operation::Remove { authority, .. } | Operation::Assign { authority, .. } => {
                concerned(*authority)
            }
            Operation::Join(_) => self.invitation(by) == self.invitation(at),
            _ => false,
        };
        speaks && self.concurrent(by, at)
    }

    /// Whether the verdict on `at` could depend on that on `other`.
    fn depends(&self, at: usize, other: usize) -> bool {
        let issuer = self.invitation(at).map(|one| self.author(one));
        let about = [Some(self.author(at)), self.subject(at), issuer];
        // Nothing that it had seen could have let its author do it.
        let never = |one: usize| {
            let gives = |earlier: usize| {
                let about = self.subject(earlier) == Some(self.author(one));
                about && self.saw(one, earlier) && self.given(earlier) >= self.needs(one)
            };
            self.needs(one).is_some() && !self.all().any(gives)
        };
        let vouches = |third: usize, at: usize, by: usize| {
            self.saw(third, at)
                && !self.saw(third, by)
                && self.author(third) != self.author(at)
                && !never(third)
        };
        // It sets the role of somebody who has a word to say.
        let admits = |at: usize, by: usize| {
            let known = self.invitation(by).unwrap_or(by);
            let speaks = |third: &usize| Some(self.author(*third)) == self.subject(other);
            self.saw(known, other) && self.all().filter(speaks).any(|third| vouches(third, at, by))
        };
        let matters = |at: usize, by: usize| vouches(other, at, by) || admits(at, by);
        (self.saw(at, other)
            && about.contains(&self.subject(other))
            && self.subject(other).is_some())
            || self.invitation(at) == Some(other)
            || self.contests(other, at)
            || self.all().any(|by| self.contests(by, at) && (matters(at, by) || matters(by, at)))
    }

    /// What could depend on `from`, by way of others.
    fn dependent(&self, from: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(one) = next.pop() {
            let more = self.all().filter(|at| self.depends(*at, one));
            next.extend(more.filter(|at| found.insert(*at)));
        }
        found
    }

    /// Of all verdicts there could be on `free`, how many satisfy the rules; and in
    /// how many of those every restriction stands that would.
    fn answers(&self, free: &BTreeSet<usize>) -> (usize, usize) {
        let contested = |at: &usize| self.all().any(|by| self.contests(by, *at));
        let contested: Vec<bool> =
            self.all().map(|at| free.contains(&at) && contested(&at)).collect();
        let open = contested.iter().filter(|contested| **contested).count();
        let (mut answers, mut standing) = (0, 0);
        'next: for guess in 0..1u32 << open {
            let mut other = Self { world: self.world, counted: vec![false; contested.len()] };
            let mut bit = 0;
            for at in self.all() {
                // What an author had seen stands before what it says.
                let right = other.right(at);
                let guessed = !contested[at] || guess >> bit & 1 == 1;
                bit += u32::from(contested[at]);
                if contested[at] && guessed && !right {
                    continue 'next;
                }
                other.counted[at] =
                    if free.contains(&at) { right && guessed } else { self.counted[at] };
            }
            if self.all().all(|at| other.fault(at).is_none()) {
                answers += 1;
                standing += usize::from(!self.all().any(|at| other.yields(at)));
            }
        }
        (answers, standing)
    }

    /// Who was taken out by an entry that counts is in only by a later join; whose
    /// role was set by one has more only by one that has seen it.
    pub(crate) fn nobody_regains(&self, membership: &Membership, story: &dyn std::fmt::Debug) {
        for taken in self.all().filter(|at| self.counted[*at]) {
            let Some(subject) = self.subject(taken) else { continue };
            let left = self.given(taken);
            let later = |one: &usize| {
                let about = self.subject(*one) == Some(subject);
                let again = left.is_some() || self.invitation(*one).is_some();
                about && again && self.counted[*one] && self.saw(*one, taken)
            };
            let given = self.all().filter(later).filter_map(|one| self.given(one)).max();
            let role = membership.role(&subject);
            assert!(role <= left.max(given), "{subject} is back in {story:?}");
        }
    }
}

/// How a history comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Settled {
    /// By an answer in which every restriction stands that would.
    Standing,
    /// By one in which one falls, since there is no other answer.
    Yielding,
    /// Without an answer, against everybody.
    AgainstAll,
}
