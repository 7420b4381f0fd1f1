//! Erasure: an author asks every holder to delete values, and all proofs still verify.
//!
//! An `erase` entry follows a version of its record and covers that version and
//! every earlier one, in all generations. Its body says why, and which fields:
//!
//! | field | value |
//! |---|---|
//! | `reason` | a [`Reason`] |
//! | `fields.0`, `fields.1`, … | names of the fields; none means all of them |
//! | `countersignatures.0`, … | `[controller, signature]`, see [`message`] |
//!
//! A name covers the fields below it, too: `supplier` covers `supplier.name`.
//! What is covered is hidden at once: no search, serving or export shows it. It is
//! deleted [`DELAY_SECONDS`] later, or at once if the authority's controllers
//! countersigned; so that what a thief of the server's keys erased can be brought
//! back by a recovery (see [`crate::identity`]), which disowns the entry.
//! Header, names and commitment stay.
//!
//! A *retention date* in a version's header acts as an erasure that is in force from
//! that date: it covers that version and every earlier one, wholly. It needs no delay,
//! since whoever wrote the version chose its date; it is carried out when the date has
//! been cosigned, or [`DELAY_SECONDS`] after it, in case the holder's clock is fast.
//!
//! - here: what is erased, and since when;
//! - [`lack`]: what a holder has not of a body;
//! - [`answer`]: what holders say has become of it.
//!
//! **Invariants:** `erase` entries themselves are never covered, or nobody could
//! tell what is; the same entries give the same set in whatever order they come; a
//! countersignature counts for one erasure of one version. Deliberately absent:
//! clocks, deletion and legal holds, which are the holders' business.

pub mod answer;
pub mod lack;

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;

pub use self::answer::{Answer, Outcome};
pub use self::lack::Lack;
use crate::body::{Body, BodyError, FieldError, FieldName, Fields};
use crate::entry::{Action, Entry, Header};
use crate::id::{AuthorityId, LogId, NetworkName, RecordId, Space, Version};
use crate::identity::Identity;
use crate::limits;
use crate::time::UnixTime;

/// Between the time an erasure is known and deletion: three days, in seconds.
pub const DELAY_SECONDS: u64 = 72 * 60 * 60;

const MESSAGE_DOMAIN: &str = "tallystick erasure v1";

/// Why values are erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// They are about people who may ask for that, or should not have been there.
    PersonalData,
    /// They are confidential to a business.
    CommercialConfidence,
    /// A court ordered it.
    CourtOrder,
    /// They were published by mistake.
    Mistake,
    /// The date until which the author wanted the values kept has passed.
    Retention,
    /// A reason this version does not know.
    Other,
}

impl Reason {
    /// All that may be given.
    pub const ALL: [Self; 4] =
        [Self::PersonalData, Self::CommercialConfidence, Self::CourtOrder, Self::Mistake];

    /// The code in bodies, commands and JSON.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::PersonalData => "personal-data",
            Self::CommercialConfidence => "commercial-confidence",
            Self::CourtOrder => "court-order",
            Self::Mistake => "mistake",
            Self::Retention => "retention",
            Self::Other => "other",
        }
    }

    /// The reason with a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// What of a record is erased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every field.
    Whole,
    /// These fields and those below them; at least one.
    Fields(BTreeSet<FieldName>),
}

impl Scope {
    /// Whether a field is erased.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let below = |erased: &FieldName| {
            name.strip_prefix(erased.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        match self {
            Self::Whole => true,
            Self::Fields(fields) => fields.iter().any(below),
        }
    }

    /// The body without what is erased; with it the record salt is gone.
    ///
    /// # Errors
    /// [`BodyError::Sealed`] for a body that must be opened first.
    pub fn apply(&self, body: &Body) -> Result<Body, BodyError> {
        match (self, body) {
            (Self::Whole, body) => body.erase().map(Body::Erased).ok_or(BodyError::Sealed),
            (_, Body::Full(full)) => full.disclose(|name| !self.covers(name)).map(Body::Partial),
            (_, Body::Partial(partial)) => {
                partial.disclose(|name| !self.covers(name)).map(Body::Partial)
            }
            (_, Body::Erased(erased)) => Ok(Body::Erased(erased.clone())),
            (_, Body::Sealed(_)) => Err(BodyError::Sealed),
        }
    }
}

/// What one `erase` entry says, or the retention date of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Where the entry stands; for a retention date the version that has it.
    pub at: Version,
    /// The record.
    pub record: RecordId,
    /// The newest version that is covered.
    pub upto: Version,
    /// What of it.
    pub scope: Scope,
    /// Why.
    pub reason: Reason,
    /// From when on; at once if absent. Only retention dates have one.
    pub from: Option<UnixTime>,
}

impl Erasure {
    /// What an entry of `log` erases, at once or from a retention date on; `None` if
    /// it is none that erases something this version understands.
    #[must_use]
    pub fn of(log: &LogId, index: u64, entry: &Entry) -> Option<Self> {
        let at = Version { generation: log.generation, index };
        if !is_erasure(entry.header()) {
            return Self::dated(at, entry.header());
        }
        Self::read(at, entry.header(), &entry.body()?.fields())
    }

    /// What the retention date of the version at `at` erases, if it has one.
    #[must_use]
    pub fn dated(at: Version, header: &Header) -> Option<Self> {
        let (record, upto, reason) = (header.record, at, Reason::Retention);
        let is_said = header.is_understood() && header.kind.is_record();
        let is_said = is_said && header.action != Action::Erase;
        let from = header.retain_until.filter(|_| is_said)?;
        Some(Self { at, record, upto, scope: Scope::Whole, reason, from: Some(from) })
    }

    /// As [`Erasure::of`], from header and fields of the entry at `at`.
    #[must_use]
    pub fn read(at: Version, header: &Header, fields: &Fields) -> Option<Self> {
        let upto = header.previous.filter(|upto| *upto < at && is_erasure(header))?;
        let reason = Reason::from_code(&fields.text("reason")?).unwrap_or(Reason::Other);
        let scope = read_scope(fields)?;
        Some(Self { at, record: header.record, upto, scope, reason, from: None })
    }

    /// Whether it hides anything at `now`.
    #[must_use]
    pub fn is_in_force(&self, now: UnixTime) -> bool {
        self.from.is_none_or(|from| from <= now)
    }

    /// Whether a head that witnesses cosigned at `time` tells when it is due: it
    /// covers the entry, or, for a retention date, shows that the date has passed.
    #[must_use]
    pub fn is_dated_by(&self, time: UnixTime) -> bool {
        self.is_in_force(time)
    }

    /// When it is due. What an entry erases: [`DELAY_SECONDS`] after its author's
    /// witnesses saw it, or, as long as they have not, after we did. A retention date:
    /// at once if witnesses have cosigned later, or [`DELAY_SECONDS`] after it.
    #[must_use]
    pub fn due(&self, seen: UnixTime, witnessed: Option<UnixTime>) -> UnixTime {
        match (self.from, witnessed) {
            (Some(from), Some(_)) => from,
            (Some(from), None) => delayed(from),
            (None, witnessed) => delayed(witnessed.unwrap_or(seen)),
        }
    }

    /// The body of the entry.
    ///
    /// # Errors
    /// [`FieldError::TooMany`] or [`FieldError::TooLarge`] for more names than a body holds.
    pub fn to_fields(
        reason: Reason,
        scope: &Scope,
        countersignatures: &[(u32, Vec<u8>)],
    ) -> Result<Fields, FieldError> {
        let mut fields = Fields::new();
        fields.insert("reason", &reason.code().into())?;
        if let Scope::Fields(names) = scope {
            if names.is_empty() {
                return Err(FieldError::Empty);
            }
            for (at, name) in names.iter().enumerate() {
                fields.insert(&format!("fields.{at}"), &name.as_str().into())?;
            }
        }
        for (at, (controller, signature)) in countersignatures.iter().enumerate() {
            let value = Value::Array(vec![(*controller).into(), signature.as_slice().into()]);
            fields.insert(&format!("countersignatures.{at}"), &value)?;
        }
        Ok(fields)
    }

    /// Whether enough of the author's controllers countersigned it, so that it
    /// is due at once. `fields` are those of the entry.
    #[must_use]
    pub fn is_countersigned(&self, fields: &Fields, space: Space, author: &Identity) -> bool {
        let controllers = author.controllers();
        let (network, authority) = (author.network(), author.authority());
        let message = self.message(network, &authority, space);
        let mut signers = BTreeSet::new();
        for at in 0..limits::IDENTITY_LIST {
            let Some(value) = fields.value(&format!("countersignatures.{at}")) else { break };
            if let Some((controller, signature)) = read_countersignature(value)
                && let Some(key) = controllers.keys.get(controller as usize)
                && key.verify(&message, &signature).is_ok()
            {
                signers.insert(controller);
            }
        }
        signers.len() >= controllers.threshold as usize
    }

    fn message(&self, network: &NetworkName, authority: &AuthorityId, space: Space) -> Vec<u8> {
        message(network, authority, space, (self.record, self.upto), &self.scope, self.reason)
    }
}

/// What controllers sign to have an erasure carried out at once: text of one
/// fact a line, of the network, the author, the space, the record, the newest
/// version that is covered, the reason and the fields.
#[must_use]
pub fn message(
    network: &NetworkName,
    authority: &AuthorityId,
    space: Space,
    (record, upto): (RecordId, Version),
    scope: &Scope,
    reason: Reason,
) -> Vec<u8> {
    let names: Vec<&str> = match scope {
        Scope::Whole => Vec::new(),
        Scope::Fields(names) => names.iter().map(FieldName::as_str).collect(),
    };
    let facts = [
        network.to_string(),
        authority.to_string(),
        space.to_string(),
        record.to_string(),
        upto.to_string(),
        reason.code().to_owned(),
    ];
    let lines = [MESSAGE_DOMAIN].into_iter().chain(facts.iter().map(String::as_str)).chain(names);
    lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

/// [`DELAY_SECONDS`] after a time.
#[must_use]
pub const fn delayed(since: UnixTime) -> UnixTime {
    UnixTime::from_seconds(since.as_seconds().saturating_add(DELAY_SECONDS))
}

fn is_erasure(header: &Header) -> bool {
    header.is_understood() && header.action == Action::Erase
}

fn read_scope(fields: &Fields) -> Option<Scope> {
    let mut names = BTreeSet::new();
    for at in 0..limits::BODY_FIELDS {
        let Some(value) = fields.value(&format!("fields.{at}")) else { break };
        names.insert(FieldName::new(value.as_text()?).ok()?);
    }
    Some(if names.is_empty() { Scope::Whole } else { Scope::Fields(names) })
}

fn read_countersignature(value: Value) -> Option<(u32, Vec<u8>)> {
    let [controller, signature] = <[Value; 2]>::try_from(value.into_array().ok()?).ok()?;
    let controller = u32::try_from(controller.into_integer().ok()?).ok()?;
    Some((controller, signature.into_bytes().ok()?))
}

/// Which record of which author in which space.
type Place = (AuthorityId, Space, RecordId);

/// All erasures that stand, and the time at which they are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasures {
    of: BTreeMap<Place, BTreeMap<Version, Erasure>>,
    now: UnixTime,
}

impl Default for Erasures {
    fn default() -> Self {
        Self::at(UnixTime::from_seconds(0))
    }
}

impl Erasures {
    /// None, to be looked at as of `now`: retention dates up to it have passed.
    #[must_use]
    pub const fn at(now: UnixTime) -> Self {
        Self { of: BTreeMap::new(), now }
    }

    /// From now on it is `now`.
    pub const fn pass(&mut self, now: UnixTime) {
        self.now = now;
    }

    /// Adds one of an entry of `log`.
    pub fn insert(&mut self, log: &LogId, erasure: Erasure) {
        let place = (log.authority, log.space, erasure.record);
        self.of.entry(place).or_default().insert(erasure.at, erasure);
    }

    /// Forgets those that stand in `log` from the entry `from` on. Gives them.
    pub fn forget(&mut self, log: &LogId, from: u64) -> Vec<Erasure> {
        let first = Version { generation: log.generation, index: from };
        let disowned = |at: &Version| at.generation == log.generation && at.index >= first.index;
        let mut forgotten = Vec::new();
        let places = self.of.range_mut(range(log)).take_while(|(place, _)| is_of(log, place));
        for (_, erasures) in places {
            forgotten.extend(erasures.extract_if(.., |at, _| disowned(at)).map(|(_, e)| e));
        }
        self.of.retain(|_, erasures| !erasures.is_empty());
        forgotten
    }

    /// Whether anything of a log may be covered, now or later.
    #[must_use]
    pub fn concern(&self, log: &LogId) -> bool {
        self.of.range(range(log)).next().is_some_and(|(place, _)| is_of(log, place))
    }

    /// The erasures in force that cover the version of a record at `index` of `log`.
    pub fn covering<'a>(
        &'a self,
        log: &LogId,
        index: u64,
        header: &Header,
    ) -> impl Iterator<Item = &'a Erasure> {
        let is_covered = header.action != Action::Erase;
        self.of_version(log, index, &header.record).filter(move |_| is_covered)
    }

    /// As [`Erasures::covering`], of a version that is no erasure itself.
    pub fn of_version<'a>(
        &'a self,
        log: &LogId,
        index: u64,
        record: &RecordId,
    ) -> impl Iterator<Item = &'a Erasure> {
        let version = Version { generation: log.generation, index };
        let erasures = self.of.get(&(log.authority, log.space, *record));
        let erasures = erasures.into_iter().flat_map(BTreeMap::values);
        erasures.filter(move |erasure| version <= erasure.upto && erasure.is_in_force(self.now))
    }

    /// What is left of a body without what is erased; `None` if nothing of it is,
    /// or if it is sealed: whoever can must open it first.
    #[must_use]
    pub fn veil(&self, log: &LogId, index: u64, header: &Header, body: &Body) -> Option<Body> {
        let mut left: Option<Body> = None;
        for erasure in self.covering(log, index, header) {
            let body = left.as_ref().unwrap_or(body);
            // A verified body can be reduced, unless it is sealed.
            left = erasure.scope.apply(body).ok().or(left);
        }
        left.filter(|left| left != body)
    }

    /// The entry without what is erased.
    #[must_use]
    pub fn veiled(&self, log: &LogId, index: u64, entry: Entry) -> Entry {
        let left = entry.body().and_then(|body| self.veil(log, index, entry.header(), body));
        match left {
            Some(left) => entry.with_less(left),
            None => entry,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

fn range(log: &LogId) -> core::ops::RangeFrom<Place> {
    (log.authority, log.space, RecordId::from_bytes([0; RecordId::LEN]))..
}

fn is_of(log: &LogId, place: &Place) -> bool {
    (place.0, place.1) == (log.authority, log.space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{FullBody, Salt};
    use crate::identity::tests::{event, network, secret};
    use crate::identity::{Controllers, UnverifiedChain};
    use crate::record::Kind;
    use proptest::prelude::*;

    const NAMES: [&str; 4] = ["title", "supplier.name", "supplier.id", "supplierNote"];

    fn log(generation: u32) -> LogId {
        LogId::public(AuthorityId::from_bytes([1; 32]), generation)
    }

    fn named(names: &[&str]) -> Scope {
        Scope::Fields(names.iter().map(|name| FieldName::new(name).unwrap()).collect())
    }

    fn entry(action: Action, previous: Option<Version>, fields: &Fields) -> Entry {
        let (body, commitment) = FullBody::new(&Salt::from_random([9; 32]), fields).unwrap();
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        let (record, issued) = (RecordId::from_bytes([2; 16]), UnixTime::from_seconds(5));
        let mut header = Header::new(Kind::CONTRACT, record, action, issued, commitment, size);
        header.previous = previous;
        Entry::author(header, Body::Full(body)).unwrap()
    }

    fn put() -> Entry {
        let mut fields = Fields::new();
        NAMES.iter().for_each(|name| fields.insert(name, &"made up".into()).unwrap());
        entry(Action::Put, None, &fields)
    }

    fn at(generation: u32, index: u64) -> Version {
        Version { generation, index }
    }

    fn erase(place: Version, upto: Version, scope: &Scope) -> Erasure {
        let fields = Erasure::to_fields(Reason::Mistake, scope, &[]).unwrap();
        let entry = entry(Action::Erase, Some(upto), &fields);
        Erasure::of(&log(place.generation), place.index, &entry).unwrap()
    }

    fn shown(body: &Body) -> Vec<String> {
        body.fields().iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn an_entry_says_what_it_erases_and_why() {
        for scope in [Scope::Whole, named(&["title", "supplier"])] {
            let erasure = erase(at(1, 7), at(0, 3), &scope);
            assert_eq!(erasure.scope, scope);
            assert_eq!((erasure.reason, erasure.upto), (Reason::Mistake, at(0, 3)));
        }
        assert_eq!(Erasure::of(&log(0), 3, &put()), None);
        let fields = Erasure::to_fields(Reason::Mistake, &Scope::Whole, &[]).unwrap();
        for nothing in [None, Some(at(0, 7)), Some(at(1, 0))] {
            let entry = entry(Action::Erase, nothing, &fields);
            assert_eq!(Erasure::of(&log(0), 7, &entry), None, "it follows no version before it");
        }
        assert!(Erasure::to_fields(Reason::Mistake, &named(&[]), &[]).is_err());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
    }

    #[test]
    fn a_name_covers_the_fields_below_it_and_no_others() {
        let scope = named(&["supplier"]);
        let covered: Vec<_> = NAMES.iter().filter(|name| scope.covers(name)).collect();
        assert_eq!(covered, [&"supplier.name", &"supplier.id"]);
        assert!(scope.covers("supplier") && !scope.covers("suppl"));
    }

    #[test]
    fn what_is_left_still_verifies_and_has_no_record_salt() {
        let entry = put();
        let header = entry.header().clone();
        let whole = entry.body().unwrap();
        for scope in [Scope::Whole, named(&["supplier"]), named(&NAMES)] {
            let left = scope.apply(whole).unwrap();
            assert!(!matches!(left, Body::Full(_)));
            assert_eq!(scope.apply(&left).unwrap(), left, "twice is once");
            let names: Vec<_> = NAMES.into_iter().filter(|name| !scope.covers(name)).collect();
            assert_eq!(shown(&left), names);
            let verified =
                Body::verify(left.into_bytes(), &header.commitment, header.body_size).unwrap();
            assert_eq!(verified.withheld().len() + shown(&verified).len(), NAMES.len());
        }
    }

    #[test]
    fn earlier_versions_of_all_generations_are_covered_and_no_erasure_is() {
        let (mut erasures, header) = (Erasures::default(), put().header().clone());
        erasures.insert(&log(1), erase(at(1, 7), at(1, 4), &Scope::Whole));
        let covers = |generation, index, header: &Header| {
            erasures.covering(&log(generation), index, header).next().is_some()
        };
        assert!(covers(0, 900, &header) && covers(1, 4, &header));
        assert!(!covers(1, 5, &header) && !covers(2, 0, &header));
        let (mut other, mut erasing) = (header.clone(), header);
        other.record = RecordId::from_bytes([3; 16]);
        erasing.action = Action::Erase;
        assert!(!covers(1, 4, &other) && !covers(1, 4, &erasing));
    }

    proptest! {
        #[test]
        fn the_set_does_not_depend_on_the_order_and_forgets_what_it_was_told(
            mut places in proptest::collection::btree_set((0u32..3, 1u64..40), 1..12)
                .prop_map(|set| set.into_iter().collect::<Vec<_>>()),
            turn in any::<usize>(),
            from in 0u64..40,
        ) {
            let made = |(generation, index): (u32, u64)| {
                let scope = if index % 2 == 0 { Scope::Whole } else { named(&["title"]) };
                erase(at(generation, index), at(generation, index - 1), &scope)
            };
            let set = |places: &[(u32, u64)]| {
                let mut set = Erasures::default();
                places.iter().for_each(|place| set.insert(&log(place.0), made(*place)));
                set
            };
            let all = set(&places);
            let turn = turn % places.len();
            places.rotate_left(turn);
            let mut turned = set(&places);
            prop_assert_eq!(&all, &turned);
            let gone = |place: &(u32, u64)| place.0 == 1 && place.1 >= from;
            let forgotten = turned.forget(&log(1), from);
            prop_assert_eq!(forgotten.len(), places.iter().filter(|place| gone(place)).count());
            places.retain(|place| !gone(place));
            prop_assert_eq!(turned, set(&places));
        }
    }

    #[test]
    fn a_lack_is_covered_by_what_was_erased_and_by_nothing_less() {
        let body = put();
        let lack = |scope: &Scope| {
            let left = scope.apply(body.body().unwrap()).unwrap();
            Lack::of(&body.clone().with_less(left)).unwrap()
        };
        assert_eq!(Lack::of(&body), None);
        let supplier = erase(at(0, 7), at(0, 3), &named(&["supplier"]));
        let title = erase(at(0, 8), at(0, 3), &named(&["title"]));
        let whole = erase(at(0, 9), at(0, 3), &Scope::Whole);
        assert!(lack(&named(&["supplier.name"])).is_covered([&supplier].into_iter()));
        assert!(!lack(&named(&["supplier", "title"])).is_covered([&supplier].into_iter()));
        assert!(lack(&named(&["supplier", "title"])).is_covered([&supplier, &title].into_iter()));
        assert!(!lack(&Scope::Whole).is_covered([&supplier, &title].into_iter()));
        assert!(lack(&Scope::Whole).is_covered([&whole].into_iter()));
        let (more, less) = (lack(&named(&["title"])), lack(&named(&["title", "supplier"])));
        assert!(less.is_more_than(Some(&more)) && less.is_more_than(None));
        assert!(!more.is_more_than(Some(&less)) && !more.is_more_than(Some(&more)));
        assert!(lack(&Scope::Whole).is_more_than(Some(&less)));
    }

    #[test]
    fn only_enough_controllers_have_it_carried_out_at_once_and_only_for_this_erasure() {
        let mut inception = event(40);
        let keys = [1, 2, 3].map(|n| secret(n).public()).to_vec();
        inception.controllers = Controllers { keys, threshold: 2 };
        let signed = inception.sign(&[(0, &secret(1)), (1, &secret(2))]).unwrap();
        let identity = UnverifiedChain::new(vec![signed]).verify(&network()).unwrap();
        let (network, authority) = (identity.network(), identity.authority());
        let (record, upto) = (RecordId::from_bytes([2; 16]), at(0, 3));
        let scope = named(&["title"]);
        let text = |scope: &Scope, upto| {
            message(network, &authority, Space::Public, (record, upto), scope, Reason::Mistake)
        };
        let right = text(&scope, upto);
        let sign = |at: u8, text: &[u8]| (u32::from(at), secret(at + 1).sign(text).to_vec());
        let judged = |signatures: &[(u32, Vec<u8>)]| {
            let fields = Erasure::to_fields(Reason::Mistake, &scope, signatures).unwrap();
            let entry = entry(Action::Erase, Some(upto), &fields);
            let erasure = Erasure::of(&log(0), 7, &entry).unwrap();
            erasure.is_countersigned(&entry.body().unwrap().fields(), Space::Public, &identity)
        };
        assert!(judged(&[sign(0, &right), sign(2, &right)]));
        assert!(!judged(&[]) && !judged(&[sign(0, &right)]));
        assert!(!judged(&[sign(0, &right), sign(0, &right)]), "one person is one");
        assert!(!judged(&[(0, sign(1, &right).1), (1, sign(0, &right).1)]), "each for himself");
        let other = text(&Scope::Whole, upto);
        assert!(!judged(&[sign(0, &right), sign(2, &other)]), "of another scope");
        let later = text(&scope, at(0, 2));
        assert!(!judged(&[sign(0, &later), sign(2, &later)]), "of another version");
    }

    #[test]
    fn it_is_due_three_days_after_witnesses_have_seen_it() {
        let time = UnixTime::from_seconds;
        let erasure = erase(at(0, 7), at(0, 3), &Scope::Whole);
        assert_eq!(erasure.due(time(1000), None), time(1000 + DELAY_SECONDS));
        assert_eq!(erasure.due(time(1000), Some(time(400))), time(400 + DELAY_SECONDS));
        assert_eq!(erasure.due(time(u64::MAX), None), time(u64::MAX));
    }

    fn dated(kind: Kind, action: Action, until: u64) -> Entry {
        let (mut header, body) = (put().header().clone(), put().body().unwrap().clone());
        (header.kind, header.action) = (kind, action);
        header.retain_until = Some(UnixTime::from_seconds(until));
        Entry::author(header, body).unwrap()
    }

    #[test]
    fn a_retention_date_erases_its_version_and_earlier_ones_from_then_on() {
        let time = UnixTime::from_seconds;
        let entry = dated(Kind::CONTRACT, Action::Put, 1000);
        let (mut erasures, header) = (Erasures::at(time(999)), entry.header().clone());
        erasures.insert(&log(0), Erasure::of(&log(0), 5, &entry).unwrap());
        let covers = |erasures: &Erasures, index| {
            erasures.covering(&log(0), index, &header).next().is_some()
        };
        assert!(!covers(&erasures, 5) && erasures.concern(&log(0)));
        let body = entry.body().unwrap();
        assert_eq!(erasures.veil(&log(0), 5, &header, body), None);
        erasures.pass(time(1000));
        assert!(covers(&erasures, 5) && covers(&erasures, 2));
        assert!(!covers(&erasures, 6), "a later version has its own date, or none");
        let left = erasures.veil(&log(0), 5, &header, body).unwrap();
        assert_eq!(shown(&left), Vec::<String>::new());
    }

    #[test]
    fn a_retention_date_is_carried_out_when_it_was_cosigned_or_three_days_later() {
        let time = UnixTime::from_seconds;
        let entry = dated(Kind::CONTRACT, Action::Put, 1000);
        let erasure = Erasure::of(&log(0), 5, &entry).unwrap();
        assert_eq!((erasure.upto, erasure.reason), (at(0, 5), Reason::Retention));
        assert_eq!(erasure.due(time(10), None), time(1000 + DELAY_SECONDS));
        assert!(!erasure.is_dated_by(time(999)) && erasure.is_dated_by(time(1000)));
        assert_eq!(erasure.due(time(10), Some(time(1234))), time(1000));
    }

    #[test]
    fn only_versions_of_records_have_retention_dates_that_count() {
        for (kind, action) in [
            (Kind::IDENTITY, Action::Put),
            (Kind::ERASURE_ANSWER, Action::Put),
            (Kind::CONTRACT, Action::Erase),
        ] {
            assert_eq!(Erasure::of(&log(0), 5, &dated(kind, action, 1000)), None, "{kind}");
        }
        assert!(Erasure::of(&log(0), 5, &dated(Kind::CONTRACT, Action::Withdraw, 9)).is_some());
        assert_eq!(Reason::from_code(Reason::Retention.code()), None, "nobody gives it by hand");
    }
}
