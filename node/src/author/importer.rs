//! What becomes of the rows of a foreign file.
//!
//! | the row's buyer | what is there | becomes | counted as |
//! |---|---|---|---|
//! | this authority | nothing | a first version | stored |
//! | this authority | a record to which it adds something | the next version | changed |
//! | this authority | a record to which it adds nothing | nothing | unchanged |
//! | this authority | a record it withdrew or erased, or of another kind | nothing | refused |
//! | somebody else | whatever | a reference, if it adds something | reference |
//! | nobody | whatever | nothing | refused |
//!
//! Of several buyers the first counts: so of all nodes that import one notice,
//! one makes it its record and the others keep a reference, which steps back.
//!
//! An importer gives its decisions in plans of bounded size. A plan is carried
//! out by its caller, appended and stored, and known to the lookup, before the
//! next one is asked for; the rows of a file that repeat one another are thereby
//! decided in their order. **Invariant:** every row is counted once, in the plan
//! in which its last record was decided. Deliberately absent: input and output.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tallystick_protocol::body::Fields;
use tallystick_protocol::entry::{Action, Entry};
use tallystick_protocol::id::{AuthorityId, RecordId, Space, Version};
use tallystick_protocol::limits;
use tallystick_protocol::record::{Record, RecordError};
use tallystick_protocol::time::UnixTime;

use super::{AuthorError, Lookup, Own, entry, imported_record_id};
use crate::ingest::buyer::Ownership;
use crate::ingest::{Draft, Outcome, Refusal, Row, adds_nothing, has_all};
use crate::reference::Reference;
use crate::store::StoreError;

/// Rows decided in one plan.
const PLAN_ROWS: usize = 4096;
/// Bytes of entries and references in one plan, beyond the last one.
const PLAN_BYTES: usize = 8 << 20;
/// Names that look like this authority's and are offered as a question.
const NEAR_NAMES: usize = 20;

/// What an import needs besides rows.
pub struct Material<'a> {
    /// When the records are issued.
    pub issued: UnixTime,
    /// What is written beside references: the name of the file, for instance.
    pub note: String,
    /// Gives 32 bytes of a cryptographic random source.
    pub salt: &'a mut dyn FnMut() -> [u8; 32],
}

impl std::fmt::Debug for Material<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").field("issued", &self.issued).finish_non_exhaustive()
    }
}

/// One record of a row, as it is offered for import.
#[derive(Clone, Debug)]
pub struct Offer {
    record: Record,
    /// Its fields, if it is known to keep the rules of its kind.
    fields: Option<Fields>,
    warnings: Vec<String>,
}

impl Offer {
    /// Offers a record that keeps the rules of its kind; `warnings` say what was
    /// left out or changed in reading it.
    ///
    /// # Errors
    /// As [`Record::validate`].
    pub fn valid(record: Record, warnings: Vec<String>) -> Result<Self, RecordError> {
        let fields = Some(record.valid_fields()?);
        Ok(Self { record, fields, warnings })
    }
}

impl From<Draft> for Offer {
    fn from(draft: Draft) -> Self {
        Self { record: draft.record, fields: None, warnings: draft.warnings }
    }
}

/// A row with its records.
#[derive(Clone, Debug)]
pub struct OfferedRow {
    /// Its number in the file.
    pub number: u64,
    /// The records it gives, or why it gives none.
    pub offers: Result<Vec<Offer>, Refusal>,
}

impl From<Row> for OfferedRow {
    fn from(row: Row) -> Self {
        let offers = row.drafts.map(|drafts| drafts.into_iter().map(Offer::from).collect());
        Self { number: row.number, offers }
    }
}

/// One row and what becomes of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRow {
    /// Its number in the file.
    pub row: u64,
    /// One outcome for each record it gives; see [`crate::ingest::Summary::count`].
    pub outcomes: Vec<Outcome>,
    /// What was left out or changed in reading it.
    pub warnings: Vec<String>,
}

/// What is to be done next.
#[derive(Debug, Default)]
pub struct Plan {
    /// Entries to append, in this order; at most [`limits::AUTHOR_ENTRIES`].
    pub entries: Vec<Entry>,
    /// Source key and fields of each entry.
    pub documents: Vec<(String, Fields)>,
    /// References to keep, in this order.
    pub references: Vec<Reference>,
    /// Rows that are decided when this is done.
    pub rows: Vec<PlannedRow>,
    bytes: usize,
}

impl Plan {
    fn is_full(&self) -> bool {
        self.entries.len() >= limits::AUTHOR_ENTRIES
            || self.rows.len() >= PLAN_ROWS
            || self.bytes >= PLAN_BYTES
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.references.is_empty() && self.rows.is_empty()
    }
}

/// Decides about the rows of one file after the other.
#[derive(Debug)]
pub struct Importer {
    authority: AuthorityId,
    /// Where the records are said.
    space: Space,
    ownership: Ownership,
    /// The row under way.
    pending: Option<Pending>,
    near: BTreeSet<String>,
}

/// A row of which some records are decided.
#[derive(Debug)]
struct Pending {
    offers: VecDeque<Offer>,
    decided: PlannedRow,
}

/// What the next version of a record follows, and keeps of it.
struct Kept {
    version: Version,
    /// The mark of what it is an extract of, which no file knows.
    extract_of: Option<String>,
}

/// What is to happen with one record.
enum Decision {
    Refuse(String),
    Unchanged,
    Version { id: RecordId, previous: Option<Kept>, outcome: Outcome },
}

impl Importer {
    /// An import into a space by the authority that `ownership` describes.
    #[must_use]
    pub const fn new(authority: AuthorityId, space: Space, ownership: Ownership) -> Self {
        Self { authority, space, ownership, pending: None, near: BTreeSet::new() }
    }

    /// Names of buyers that may be this authority under another name, the first
    /// few; their rows became references.
    #[must_use]
    pub const fn near(&self) -> &BTreeSet<String> {
        &self.near
    }

    /// The next plan; `None` when all rows are decided. The one before must have
    /// been carried out, as far as `lookup` can tell.
    ///
    /// # Errors
    /// [`AuthorError::Store`] if `lookup` fails; [`AuthorError::Entry`] is a fault in the program.
    pub fn plan<R: Into<OfferedRow>>(
        &mut self,
        rows: &mut dyn Iterator<Item = R>,
        lookup: &dyn Lookup,
        material: &mut Material<'_>,
    ) -> Result<Option<Plan>, AuthorError> {
        let mut plan = Plan::default();
        // Own records that have an entry in this plan, by source key.
        let mut planned: BTreeMap<String, Record> = BTreeMap::new();
        while !plan.is_full() {
            let Some(mut pending) = self.pending.take().or_else(|| next(rows, &mut plan)) else {
                if plan.is_full() {
                    break;
                }
                return Ok(Some(plan).filter(|plan| !plan.is_empty()));
            };
            while let Some(offer) = pending.offers.pop_front() {
                let held =
                    self.decide(offer, lookup, material, &mut plan, &mut planned, &mut pending)?;
                if let Some(offer) = held {
                    pending.offers.push_front(offer);
                    self.pending = Some(pending);
                    return Ok(Some(plan));
                }
                if plan.is_full() {
                    break;
                }
            }
            if pending.offers.is_empty() {
                plan.rows.push(pending.decided);
            } else {
                self.pending = Some(pending);
                break;
            }
        }
        Ok(Some(plan))
    }

    /// Decides about one record. Gives it back if the plan so far has to be
    /// carried out first.
    fn decide(
        &mut self,
        mut offer: Offer,
        lookup: &dyn Lookup,
        material: &mut Material<'_>,
        plan: &mut Plan,
        planned: &mut BTreeMap<String, Record>,
        pending: &mut Pending,
    ) -> Result<Option<Offer>, AuthorError> {
        let outcome = match (offer.record.buyer(), offer.record.source_key()) {
            (None, _) => Outcome::Refused("nothing in it says who the buyer is".to_owned()),
            (_, None) => Outcome::Refused("nothing tells it from other records".to_owned()),
            (Some(buyer), Some(_)) if !self.ownership.owns(buyer) => {
                if self.near.len() < NEAR_NAMES && self.ownership.near(buyer) {
                    self.near.insert(buyer.name.clone());
                }
                refer(&offer.record, material, plan)
            }
            (Some(_), Some(key)) => {
                if let Some(earlier) = planned.get(&key) {
                    if !adds_nothing(earlier, &offer.record) {
                        return Ok(Some(offer));
                    }
                    Outcome::Unchanged
                } else {
                    let decision = self.own(&key, &offer, lookup)?;
                    let fields = offer.fields.take();
                    let outcome = author(&key, &offer.record, fields, decision, material, plan)?;
                    if matches!(outcome, Outcome::Stored | Outcome::Changed) {
                        planned.insert(key, offer.record);
                    }
                    outcome
                }
            }
        };
        pending.decided.outcomes.push(outcome);
        pending.decided.warnings.extend(offer.warnings);
        Ok(None)
    }

    /// What is to happen with one of our own records.
    fn own(&self, key: &str, offer: &Offer, lookup: &dyn Lookup) -> Result<Decision, StoreError> {
        let refuse = |why: &str| Ok(Decision::Refuse(why.to_owned()));
        let Some(own) = lookup.own(key)? else {
            let id = imported_record_id(&self.authority, self.space, key);
            return Ok(Decision::Version { id, previous: None, outcome: Outcome::Stored });
        };
        if repeats(&own, offer) {
            return Ok(Decision::Unchanged);
        }
        match (own.action, own.record()) {
            (Action::Put, Some(stored)) if stored.kind() != offer.record.kind() => {
                refuse("the same notice is already a record of another kind")
            }
            (Action::Put, Some(stored)) if !adds_nothing(&stored, &offer.record) => {
                let fields = own.fields.as_ref();
                let extract_of = fields.and_then(|it| own.kind.description()?.extract_of(it));
                let extract_of = extract_of.map(str::to_owned);
                let (id, previous) = (own.id, Some(Kept { version: own.version, extract_of }));
                Ok(Decision::Version { id, previous, outcome: Outcome::Changed })
            }
            (Action::Put, _) => Ok(Decision::Unchanged),
            (Action::Withdraw, _) => {
                refuse("this authority withdrew the record; publish it to bring it back")
            }
            _ => refuse("this authority erased the record; publish it to bring it back"),
        }
    }
}

/// Whether an own record has every field that is offered, so that nothing
/// more need be known of either: the usual case when a file is imported again.
/// Of a document that is not this plainly the same the typed view decides.
fn repeats(own: &Own, offer: &Offer) -> bool {
    let (Some(stored), Some(offered)) = (&own.fields, &offer.fields) else { return false };
    own.action == Action::Put && own.kind == offer.record.kind() && has_all(stored, offered)
}

/// The next row with something to decide; rows without are counted at once.
fn next<R: Into<OfferedRow>>(
    rows: &mut dyn Iterator<Item = R>,
    plan: &mut Plan,
) -> Option<Pending> {
    while !plan.is_full() {
        let OfferedRow { number, offers } = rows.next()?.into();
        let mut decided = PlannedRow { row: number, outcomes: Vec::new(), warnings: Vec::new() };
        match offers {
            Ok(offers) if !offers.is_empty() => {
                return Some(Pending { offers: offers.into(), decided });
            }
            Ok(_) => {}
            Err(refusal) => decided.outcomes.push(Outcome::Refused(refusal.reason)),
        }
        plan.rows.push(decided);
    }
    None
}

fn refer(record: &Record, material: &Material<'_>, plan: &mut Plan) -> Outcome {
    match Reference::new(record, material.issued, material.note.clone()) {
        Ok(reference) => {
            plan.bytes += reference.size();
            plan.references.push(reference);
            Outcome::Reference
        }
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

fn author(
    key: &str,
    record: &Record,
    fields: Option<Fields>,
    decision: Decision,
    material: &mut Material<'_>,
    plan: &mut Plan,
) -> Result<Outcome, AuthorError> {
    let (id, previous, outcome) = match decision {
        Decision::Refuse(why) => return Ok(Outcome::Refused(why)),
        Decision::Unchanged => return Ok(Outcome::Unchanged),
        Decision::Version { id, previous, outcome } => (id, previous, outcome),
    };
    let salt = (material.salt)();
    let prepared = fields.map_or_else(|| record.valid_fields(), Ok).map_err(AuthorError::from);
    let (kept, previous) = previous.map(|kept| (kept.extract_of, kept.version)).unzip();
    let prepared = prepared.and_then(|mut fields| {
        let kind = record.kind();
        if let Some(mark) = kept.flatten() {
            fields.insert(record.description().facets.extract_of, &mark.into())?;
        }
        let entry = entry(kind, &fields, id, previous, Action::Put, material.issued, salt)?;
        Ok((fields, entry))
    });
    match prepared {
        Ok((fields, entry)) => {
            plan.bytes += entry.size();
            plan.entries.push(entry);
            plan.documents.push((key.to_owned(), fields));
            Ok(outcome)
        }
        Err(error @ (AuthorError::Record(_) | AuthorError::Body(_))) => {
            Ok(Outcome::Refused(error.to_string()))
        }
        Err(error) => Err(error),
    }
}
