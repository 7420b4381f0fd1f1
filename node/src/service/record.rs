//! Records at the desk: publishing, withdrawing, searching, showing.

use ciborium::Value as Cbor;
use serde_json::{Map, Value, json};
use tallystick_protocol::body::{Body, Fields};
use tallystick_protocol::entry::{Action, Entry};
use tallystick_protocol::id::{LogId, RecordId, RecordRef, Space, Version};
use tallystick_protocol::record::{Form, Kind, KindDescription, Record, registry};
use tallystick_protocol::sync::LogStatus;
use tallystick_protocol::time::UnixTime;

use super::extract::taken_out;
use super::fairness::{day_of, made_fair};
use super::fault::gone;
use super::moment::last_moment;
use super::succession::judge;
use super::{Desk, answer, blocking, failed_author, failed_search, failed_store, now};
use crate::acquaintance::Acquaintances;
use crate::author::{
    Lookup as _, Offer, ReplicaLookup, imported_record_id, prepare, random_record_id, random_salt,
    retain, withdraw,
};
use crate::driver::{Authored, unix_time};
use crate::failure::Failure;
use crate::reference;
use crate::register::{Current, RecordKey, ResolveError, VersionInfo};
use crate::search::{Query, Results};
use crate::store::erasure;

/// Most versions shown in a history, the newest of them.
const HISTORY: usize = 200;

/// The kind that `name` means.
///
/// # Errors
/// A [`Failure`] that lists the kinds.
pub fn kind(name: &str) -> Result<Kind, Failure> {
    Kind::from_name(name).ok_or_else(|| {
        let names: Vec<_> = registry().iter().map(|known| known.name).collect();
        Failure::usage(
            format!("{name:?} is no kind of record"),
            format!("there are {}", names.join(", ")),
        )
    })
}

/// Reads `document` as a record of `kind` and checks the kind's rules.
///
/// # Errors
/// A [`Failure`] with the first fault.
pub fn document(kind: Kind, document: &Value) -> Result<Record, Failure> {
    let record = Record::from_json(kind, document).map_err(|error| not_valid(kind, &error))?;
    record.validate().map_err(|error| not_valid(kind, &error))?;
    Ok(record)
}

/// As [`document()`], from text, with the record's warnings: a document that is
/// offered for import.
pub(super) fn offer(kind: Kind, text: &str, warnings: Vec<String>) -> Result<Offer, Failure> {
    if kind == Kind::PERFORMANCE {
        return Err(Failure::usage(
            "a performance note is not imported: its supplier gets a chance to reply first",
            "use `tally note draft FILE`, or `tally publish performance FILE`",
        ));
    }
    let record = match as_written(kind, text) {
        Some(record) => record,
        None => document(kind, &serde_json::from_str(text).map_err(Failure::internal)?)?,
    };
    Offer::valid(record, warnings).map_err(|error| not_valid(kind, &error))
}

/// The record, if `text` is to the letter what this program writes for one
/// without empty parts. Then it has no unknown field and nothing to be removed,
/// which is what [`Record::from_json`] takes most of its time to find out.
fn as_written(kind: Kind, text: &str) -> Option<Record> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let record = Record::from_written(kind, &mut reader).ok()?;
    let empty = ["\"\"", "{}", "[]"].iter().any(|part| text.contains(part));
    (!empty && serde_json::to_string(&record).is_ok_and(|own| own == text)).then_some(record)
}

/// What is said of an extract, or of its whole, when the other is withdrawn.
fn stands_still(other: &RecordKey) -> String {
    let (authority, record) = (other.authority, other.record);
    let reference = RecordRef { authority, record, version: None };
    format!("{reference}, its extract or what it is an extract of, stands still; withdraw it, too")
}

/// The warning that everybody may see what is better kept to a group, if so.
fn too_wide(record: &Record, space: Space) -> Result<Option<String>, Failure> {
    let fields = record.to_fields().map_err(Failure::internal)?;
    let told = record.description().guarded(&fields).filter(|_| space == Space::Public);
    Ok(told.map(|what| {
        format!(
            "everybody may read {what}, and keep it for ever; with --into GROUP only its members"
        )
    }))
}

fn not_valid(kind: Kind, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(
        format!("the document is not a valid {kind}: {error}"),
        "correct the document; `tally show REF --json` shows what one looks like",
    )
}

/// What JSON and screens call an action.
#[must_use]
pub const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Put => "put",
        Action::Withdraw => "withdraw",
        Action::Erase => "erase",
        Action::Other(_) => "unknown",
    }
}

/// A record found by its reference.
pub(super) struct Found {
    pub(super) key: RecordKey,
    pub(super) current: Current,
    pub(super) version: Option<Version>,
}

impl Desk {
    /// Publishes one document of this authority; returns once it is durable.
    ///
    /// # Errors
    /// A [`Failure`] if the document is not valid, the record it should replace
    /// is not this authority's, or the node cannot write now.
    pub async fn publish(&self, publish: answer::Publish) -> Result<answer::Published, Failure> {
        self.publish_as(publish, None).await
    }

    /// The same under a record id that was chosen before, if it is a new record.
    pub(super) async fn publish_as(
        &self,
        mut publish: answer::Publish,
        chosen: Option<RecordId>,
    ) -> Result<answer::Published, Failure> {
        let (space, audience) = self.audience(&publish.audience).await?;
        let kind = kind(&publish.kind)?;
        let retained = publish.retain_until.as_deref().map(last_moment).transpose()?;
        let named = taken_out(&mut publish.document);
        let extract_of = publish.extract_of.or(named);
        let mut record = document(kind, &publish.document)?;
        let (salt, issued) = (random_salt(), now()?);
        let fair = made_fair(&mut record, publish.without_reply.as_deref(), day_of(issued))?;
        let mut warnings: Vec<_> = record.warnings().iter().map(ToString::to_string).collect();
        warnings.extend(fair);
        warnings.extend(too_wide(&record, space)?);
        warnings.extend(judge(&record, &self.authority(), &self.acquaintances().await)?);
        let writing = self.0.writing.lock().await;
        let desk = self.clone();
        let (id, entry, link) = blocking(move || {
            desk.settle_register()?;
            desk.refuse_wider_reference(&record, space)?;
            let (id, previous) = desk.place_of(&record, publish.reference.as_deref(), space)?;
            let id = chosen.filter(|_| previous.is_none()).unwrap_or(id);
            let key = RecordKey { authority: desk.authority(), space, record: id };
            desk.keep_links(&mut record, previous.map(|_| &key))?;
            let link = extract_of.as_deref();
            let link =
                link.map(|of| desk.link(&mut record, (space, id), of, issued)).transpose()?;
            let salt = salt.map_err(Failure::internal)?;
            let entry = prepare(&record, id, previous, Action::Put, issued, salt);
            let mut entry = entry.map_err(failed_author)?;
            if let Some(until) = retained {
                entry = retain(entry, until).map_err(failed_author)?;
            }
            Ok::<_, Failure>((id, entry, link))
        })
        .await??;
        if let Some((space, entry)) = link {
            self.write_sealed(space, vec![entry]).await?;
        }
        let authored = self.write_sealed(space, vec![entry]).await?;
        drop(writing);
        Ok(self.published(id, authored, warnings, audience).await)
    }

    /// Makes entries durable in the own log of a space, sealed if that is a
    /// group. The caller holds the desk's lock.
    pub(super) async fn write_sealed(
        &self,
        space: Space,
        mut entries: Vec<Entry>,
    ) -> Result<Authored, Failure> {
        if let Some(seal) = self.seal_for(space).await? {
            entries = entries.iter().map(|entry| seal.apply(entry)).collect::<Result<_, _>>()?;
        }
        self.write_in(space, entries).await
    }

    /// Withdraws a record of this authority; returns once that is durable.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such record, it is not this authority's, it
    /// was withdrawn before, or the node cannot write now.
    pub async fn withdraw(&self, reference: &str) -> Result<answer::Published, Failure> {
        let writing = self.0.writing.lock().await;
        let (desk, reference, salt) = (self.clone(), reference.to_owned(), random_salt());
        let issued = now()?;
        let (key, entry, warnings) = blocking(move || {
            desk.settle_register()?;
            let found = desk.find_own(&reference)?;
            let newest = found.current.newest;
            if newest.action != Action::Put {
                return Err(Failure::usage(
                    "this record is withdrawn or erased already",
                    "`tally show REF --history` shows when",
                ));
            }
            let (id, salt) = (found.key.record, salt.map_err(Failure::internal)?);
            let beside = desk.extracts_beside(&found.key).map_err(failed_store)?.into_iter();
            let entry = withdraw(newest.kind, id, newest.version, None, issued, salt);
            let warnings: Vec<_> = beside.map(|other| stands_still(&other)).collect();
            Ok::<_, Failure>((found.key, entry.map_err(failed_author)?, warnings))
        })
        .await??;
        let authored = self.write_sealed(key.space, vec![entry]).await?;
        drop(writing);
        let audience = self.audience_in(key.space).await?;
        Ok(self.published(key.record, authored, warnings, audience).await)
    }

    pub(super) async fn is_signed(&self, authored: Authored) -> bool {
        let end = authored.start + authored.count as u64;
        authored.signed || self.settle_signature(authored.log, end).await
    }

    async fn published(
        &self,
        record: RecordId,
        authored: Authored,
        warnings: Vec<String>,
        audience: answer::AudienceView,
    ) -> answer::Published {
        let version = Version { generation: authored.log.generation, index: authored.start };
        let signed = self.is_signed(authored).await;
        let reference =
            RecordRef { authority: self.authority(), record, version: Some(version) }.to_string();
        answer::Published { reference, warnings, signed, audience }
    }

    /// Under which id a document is published, and which version it follows:
    /// the record named, else the one with the same source, else a new one.
    fn place_of(
        &self,
        record: &Record,
        replaces: Option<&str>,
        space: Space,
    ) -> Result<(RecordId, Option<Version>), Failure> {
        if let Some(reference) = replaces {
            let found = self.find_own(reference)?;
            let newest = found.current.newest;
            if found.key.space != space {
                return Err(Failure::usage(
                    "the record was said to another audience",
                    "name that audience, or publish a record of its own, without --replaces",
                ));
            }
            if newest.kind != record.kind() {
                return Err(Failure::usage(
                    format!("the record is a {}, the document a {}", newest.kind, record.kind()),
                    "publish it as a record of its own, without --replaces",
                ));
            }
            return Ok((found.key.record, Some(newest.version)));
        }
        let Some(source) = record.source_key() else {
            return Ok((random_record_id().map_err(Failure::internal)?, None));
        };
        let register = self.0.projector.register().clone();
        let lookup = ReplicaLookup::new(self.authority(), space, register);
        match lookup.own(&source).map_err(failed_store)? {
            Some(own) => Ok((own.id, Some(own.version))),
            None => Ok((imported_record_id(&self.authority(), space, &source), None)),
        }
    }

    /// Searches records and references; waits for own changes to be found.
    ///
    /// # Errors
    /// A [`Failure`] for a wrong CPV prefix, or if the index fails.
    pub async fn search(&self, query: Query) -> Result<Results, Failure> {
        let met = self.acquaintances().await;
        let desk = self.clone();
        blocking(move || {
            desk.settle_search()?;
            let mut results = desk.0.projector.search().search(&query).map_err(failed_search)?;
            results.name_authorities(|authority| met.known(authority)).map_err(failed_store)?;
            desk.tell_ends(&mut results, &met).map_err(failed_store)?;
            let group = |space: &str| space.parse().ok().map(Space::Group);
            results.name_groups(|space| desk.0.opener.name(&group(space)?));
            Ok(results)
        })
        .await?
    }

    /// Shows a record or reference.
    ///
    /// # Errors
    /// A [`Failure`] if the text means none, or several.
    pub async fn show(&self, text: &str, history: bool) -> Result<answer::Shown, Failure> {
        let met = self.acquaintances().await;
        let logs = self.node_status().await?.logs;
        let (desk, text) = (self.clone(), text.to_owned());
        blocking(move || {
            desk.settle_register()?;
            if text.trim().starts_with(reference::PREFIX) {
                return desk.show_reference(text.trim());
            }
            let found = desk.find(&text)?;
            let shown = desk.show_record(&found, history, &met)?;
            let known = met.known(&found.key.authority).map_err(failed_store)?;
            let (authority_name, known) =
                known.map(|known| (known.name, known.attribution)).unzip();
            let log = log_of(&logs, &found.key, &shown.reference);
            let disputed = log.is_some_and(|(_, log)| log.disputed);
            let covering = log.filter(|(version, log)| log.signed > version.index);
            let witnessed = covering.map(|(_, log)| super::witnessed(log));
            Ok(answer::Shown { authority_name, known, witnessed, disputed, ..shown })
        })
        .await?
    }

    pub(super) fn find(&self, text: &str) -> Result<Found, Failure> {
        let register = self.0.projector.register();
        let RecordRef { authority, record, version } =
            register.resolve(text).map_err(unresolved)?;
        let newest = register.newest(&authority, &record).map_err(failed_store)?;
        let (key, current) = newest.ok_or_else(gone)?;
        Ok(Found { key, current, version })
    }

    pub(super) fn find_own(&self, text: &str) -> Result<Found, Failure> {
        let found = self.find(text)?;
        if found.key.authority == self.authority() {
            return Ok(found);
        }
        Err(Failure::usage(
            "this record was said by another authority",
            "only its author can change or withdraw it; ask them",
        ))
    }

    fn show_reference(&self, address: &str) -> Result<answer::Shown, Failure> {
        let found = self.0.projector.references().resolve(address).map_err(failed_store)?;
        let [reference] = found.as_slice() else {
            return Err(match found.len() {
                0 => Failure::no(
                    format!("no reference here has the address {address}"),
                    "check the address with `tally search`",
                ),
                _ => Failure::usage(
                    format!("{address} may mean several references"),
                    "give more characters of the address",
                ),
            });
        };
        let kind = reference.kind();
        let description = kind.description().ok_or_else(|| unknown(kind))?;
        let shown = page(description, reference.fields());
        Ok(answer::Shown {
            reference: reference.address(),
            space: "this node only".to_owned(),
            state: answer::ShownState::Reference,
            issued: reference.imported.as_seconds(),
            note: reference.note.clone(),
            ..shown
        })
    }

    fn show_record(
        &self,
        found: &Found,
        history: bool,
        met: &Acquaintances,
    ) -> Result<answer::Shown, Failure> {
        let register = self.0.projector.register();
        let Found { key, current, version } = found;
        let all = register.versions(&key.authority, &key.record).map_err(failed_store)?;
        let all: Vec<VersionInfo> =
            all.into_iter().filter(|(other, _)| other == key).map(|(_, info)| info).collect();
        let last_put = all.iter().rfind(|info| info.action == Action::Put);
        // What a withdrawn record said is still worth knowing.
        let wanted = match version {
            Some(version) => all.iter().find(|info| info.version == *version),
            None => last_put.or(all.last()),
        };
        let wanted = wanted.ok_or_else(gone)?;
        let replica = self.0.handle.replica();
        let erasures = erasure::of_record(&*replica, &key.any_log(), &key.record);
        let (now, mut erasures) = (unix_time(), erasures.map_err(failed_store)?);
        erasures.retain(|standing| standing.erasure.is_in_force(now));
        // Its retention date has passed, and nothing was said since.
        let lapsed = erasures.iter().any(|one| one.erasure.at == current.newest.version);
        let erasures = erasures.iter().map(|standing| self.erasure_view(met, standing));
        let erasures = erasures.collect::<Result<Vec<_>, _>>().map_err(failed_store)?;
        let state = match current.newest {
            newest if newest.action == Action::Erase || lapsed => answer::ShownState::Erased,
            newest if newest.action != Action::Put => answer::ShownState::Withdrawn,
            newest if newest.version == wanted.version => answer::ShownState::Current,
            _ => answer::ShownState::Earlier,
        };
        let entry = register.entry(key, wanted.version).map_err(failed_store)?.ok_or_else(gone)?;
        if matches!(entry.body(), Some(Body::Sealed(_))) {
            return Err(held_back());
        }
        let fields = entry.body().map(Body::fields).unwrap_or_default();
        let withheld = entry.body().map(Body::withheld).unwrap_or_default();
        let description = wanted.kind.description().ok_or_else(|| unknown(wanted.kind))?;
        let (authority, record) = (key.authority, key.record);
        let reference = RecordRef { authority, record, version: Some(wanted.version) };
        let history = history.then(|| self.history(key, &all)).transpose()?;
        let (continues, continued_by) =
            self.ends(met, (authority, record), wanted.kind, &fields).map_err(failed_store)?;
        let responses = self.responses(met, key).map_err(failed_store)?;
        let (extract_of, extracts) = self.extract_ends(key, &fields).map_err(failed_store)?;
        Ok(answer::Shown {
            extract_of,
            extracts,
            continues,
            continued_by,
            responses,
            reference: reference.to_string(),
            authority: Some(authority),
            space: key.space.to_string(),
            group: self.0.opener.name(&key.space),
            state,
            issued: wanted.issued.as_seconds(),
            erasures,
            withheld: withheld.iter().map(ToString::to_string).collect(),
            history,
            retain_until: entry.header().retain_until.map(UnixTime::as_seconds),
            ..page(description, &fields)
        })
    }

    fn history(
        &self,
        key: &RecordKey,
        all: &[VersionInfo],
    ) -> Result<Vec<answer::HistoryView>, Failure> {
        let register = self.0.projector.register();
        let mut before: Option<Fields> = None;
        let mut history = Vec::new();
        for info in all.iter().skip(all.len().saturating_sub(HISTORY)) {
            let entry = register.entry(key, info.version).map_err(failed_store)?;
            let fields = entry.and_then(|entry| entry.body().map(Body::fields));
            let changed = match (&before, &fields, info.action) {
                (Some(before), Some(now), Action::Put) => differing(before, now),
                _ => Vec::new(),
            };
            if info.action == Action::Put {
                before = fields;
            }
            history.push(answer::HistoryView {
                version: info.version.to_string(),
                action: action_name(info.action).to_owned(),
                issued: info.issued.as_seconds(),
                changed,
            });
        }
        Ok(history)
    }
}

/// The version of a full reference, and the log in which it stands.
fn log_of<'a>(
    logs: &'a [LogStatus],
    key: &RecordKey,
    reference: &str,
) -> Option<(Version, &'a LogStatus)> {
    let version = reference.parse::<RecordRef>().ok()?.version?;
    let (authority, space, generation) = (key.authority, key.space, version.generation);
    let wanted = LogId { authority, space, generation };
    logs.iter().find(|log| log.log == wanted).map(|log| (version, log))
}

/// What a kind's own description says of a body.
fn page(description: &KindDescription, fields: &Fields) -> answer::Shown {
    let cell = |column: &tallystick_protocol::record::Column| answer::Cell {
        heading: column.heading.to_owned(),
        value: column.cell(fields),
        form: match column.form {
            Form::Text => answer::CellForm::Text,
            Form::Day => answer::CellForm::Day,
            Form::Money => answer::CellForm::Money,
        },
    };
    let facets = description.facets(fields);
    answer::Shown {
        reference: String::new(),
        kind: description.name.to_owned(),
        kind_title: description.title.to_owned(),
        title: facets.title,
        authority: None,
        authority_name: None,
        known: None,
        continues: None,
        continued_by: Vec::new(),
        responses: Vec::new(),
        witnessed: None,
        space: String::new(),
        group: None,
        state: answer::ShownState::Current,
        issued: 0,
        disputed: false,
        columns: description.columns.iter().map(cell).collect(),
        document: to_json(description.kind, fields),
        withheld: Vec::new(),
        erasures: Vec::new(),
        note: String::new(),
        history: None,
        expires: facets.expires.map(|day| day.to_string()),
        not_for_tender_evaluation: facets.not_for_tenders,
        retain_until: None,
        is_extract: facets.is_extract,
        extract_of: None,
        extracts: Vec::new(),
    }
}

/// The document in record form; flat if it has not the shape of its kind.
fn to_json(kind: Kind, fields: &Fields) -> Value {
    let typed = Record::from_fields(kind, fields).ok();
    if let Some(document) = typed.and_then(|record| serde_json::to_value(record).ok()) {
        return document;
    }
    let mut flat = Map::new();
    for (name, _) in fields.iter() {
        let value = match fields.value(name.as_str()) {
            Some(Cbor::Text(text)) => json!(text),
            Some(Cbor::Bool(truth)) => json!(truth),
            Some(Cbor::Integer(number)) => i64::try_from(number).map_or(Value::Null, Value::from),
            _ => Value::Null,
        };
        flat.insert(name.to_string(), value);
    }
    Value::Object(flat)
}

/// Names of the fields that are not the same in both.
fn differing(before: &Fields, after: &Fields) -> Vec<String> {
    let changed = after.iter().filter(|(name, value)| before.get(name.as_str()) != Some(value));
    let gone = before.iter().filter(|(name, _)| after.get(name.as_str()).is_none());
    changed.chain(gone).map(|(name, _)| name.to_string()).collect()
}

fn unresolved(error: ResolveError) -> Failure {
    let remedy = error.remedy();
    match error {
        ResolveError::NotFound(_) => Failure::no(error, remedy),
        ResolveError::Store(error) => failed_store(error),
        error => Failure::usage(error, remedy),
    }
}

fn unknown(kind: Kind) -> Failure {
    Failure::unavailable(
        format!("this version does not know records of {kind}"),
        "install a newer version of tally",
    )
}

pub(super) fn held_back() -> Failure {
    Failure::no(
        "this version of the record is sealed, and this node has no key to it",
        "what was shared before a member joined, or after it left, is not for it to read",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in pairs {
            fields.insert(name, &Cbor::from(*value)).unwrap();
        }
        fields
    }

    #[test]
    fn faults_of_a_document_are_one_sentence() {
        let contract = kind("contract").unwrap();
        let remedy = kind("invoice").unwrap_err().remedy;
        assert_eq!(remedy, "there are contract, performance, pipeline, response");
        let cases = [
            (json!({}), "title"),
            (json!({ "title": "A", "tittle": "B" }), "tittle"),
            (json!({ "title": "A", "period": { "endDate": "31/03/2026" } }), "period.endDate"),
            (json!([1]), "not a valid contract"),
        ];
        for (given, part) in cases {
            let failure = document(contract, &given).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert!(failure.error.contains(part), "{given}: {failure}");
            assert!(!failure.error.contains('\n'), "{failure}");
        }
    }

    #[test]
    fn what_this_program_writes_is_read_at_once_and_comes_out_the_same() {
        let contract = kind("contract").unwrap();
        let plain = json!({
            "title": "A", "procurementMethod": "open",
            "suppliers": [{ "name": "S", "identifiers": [{ "scheme": "GB-COH", "id": "1" }] }],
            "value": { "amount": 5, "currency": "GBP" }, "period": { "endDate": "2026-03-31" }
        });
        let record = document(contract, &plain).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(as_written(contract, &text), Some(record));
        let odd = [
            json!({ "title": "A", "tittle": "B" }),
            json!({ "title": "A", "buyer": {} }),
            json!({ "title": "A", "suppliers": [] }),
            json!({ "title": "A", "description": "" }),
            json!({ "title": "A", "description": null }),
            json!({ "title": "A", "value": { "amount": 1.5 } }),
        ];
        for odd in odd {
            assert_eq!(as_written(contract, &odd.to_string()), None, "{odd}");
            let offered = offer(contract, &odd.to_string(), Vec::new()).map(|_| ());
            let wanted = document(contract, &odd).map(|_| ());
            assert_eq!(offered.map_err(|f| f.error), wanted.map_err(|f| f.error), "{odd}");
        }
    }

    #[test]
    fn changes_of_a_version_are_named() {
        let before = fields(&[("title", "A"), ("cpv", "48000000"), ("status", "active")]);
        let after = fields(&[("title", "B"), ("cpv", "48000000"), ("ocid", "x")]);
        assert_eq!(differing(&before, &after), ["ocid", "title", "status"]);
        assert_eq!(differing(&after, &after), Vec::<String>::new());
    }

    #[test]
    fn a_body_of_another_shape_is_shown_as_it_is() {
        let odd = fields(&[("period", "soon"), ("period.endDate", "2026-03-31")]);
        let shown = to_json(Kind::CONTRACT, &odd);
        assert_eq!(shown["period"], "soon");
        assert_eq!(shown["period.endDate"], "2026-03-31");
    }
}
