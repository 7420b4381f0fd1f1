//! What a record kind says about itself, so that index, lists, command line
//! and default pages need no code of their own for it.
//!
//! Paths name fields: `buyer.name`, with `*` for a list position:
//! `suppliers.*.name`. A description reads any body, partial ones too: what is
//! withheld or malformed is simply not found. Deliberately absent: the typed
//! documents; everything here works on [`Fields`].

use std::collections::BTreeMap;

use super::date::{Date, Day};
use super::extract::Extract;
use super::money::{Currency, decimal};
use super::part::source_key;
use super::span::Span;
use super::{Finding, Kind, Problem};
use crate::body::Fields;
use crate::cbor::Reader;
use crate::id::{Hash, RecordRef};
use crate::limits;

/// Who a record of a kind is offered to when its author names nobody (design section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody: what a public notice or statutory register shows already.
    Public,
    /// A group: prices, opinions, unpublished plans.
    Group,
}

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Texts, joined by a comma if the path matches several.
    Text,
    /// The day of a date.
    Day,
    /// `amount` and `currency` under the path.
    Money,
}

/// One column of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// Where its content stands.
    pub path: &'static str,
    /// How it is written.
    pub form: Form,
}

impl Column {
    /// What the column shows for a body; empty if the body does not say.
    #[must_use]
    pub fn cell(&self, fields: &Fields) -> String {
        match self.form {
            Form::Text => texts(fields, self.path).collect::<Vec<_>>().join(", "),
            Form::Day => day(fields, self.path).map(|day| day.to_string()).unwrap_or_default(),
            Form::Money => amount(fields, self.path)
                .map(|(amount, currency)| {
                    format!("{} {currency}", decimal(amount, currency.exponent()))
                })
                .unwrap_or_default(),
        }
    }
}

/// Where a kind keeps what every index wants to know; an empty path means nowhere.
#[derive(Clone, Copy, Debug)]
pub struct FacetPaths {
    /// Its title.
    pub title: &'static str,
    /// Further searchable text.
    pub text: &'static [&'static str],
    /// CPV codes, the main one first.
    pub cpv: &'static [&'static str],
    /// Organisations that buy: `name` and `identifiers` stand under the path.
    pub buyers: &'static [&'static str],
    /// Organisations that supply.
    pub suppliers: &'static [&'static str],
    /// First day.
    pub starts: &'static str,
    /// Last day.
    pub ends: &'static str,
    /// Last day with all extensions.
    pub max_extent: &'static str,
    /// `amount` and `currency` stand under the path.
    pub value: &'static str,
    /// Product names.
    pub products: &'static [&'static str],
    /// Status or stage.
    pub status: &'static str,
    /// A [`Source`](super::part::Source) stands under the path.
    pub source: &'static str,
    /// A [`Succession`](super::contract::Succession) stands under the path.
    pub succession: &'static str,
    /// The REF of what the document answers.
    pub answers: &'static str,
    /// The last day on which the document may be shown or used.
    pub expires: &'static str,
    /// Whether nobody may use it in evaluating tenders.
    pub not_for_tenders: &'static str,
    /// An [`Extract`] stands under the path.
    pub extract: &'static str,
    /// The mark of what the document is an extract of.
    pub extract_of: &'static str,
}

/// What is worth a warning if everybody may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Where it stands.
    pub path: &'static str,
    /// What it tells, as a part of a sentence.
    pub what: &'static str,
}

/// What must be there because something else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// If something stands there; a last `*` means anything below.
    pub path: &'static str,
    /// If it is this code; whatever it is, without one.
    pub code: Option<&'static str>,
    /// Then these must be there.
    pub needs: &'static [&'static str],
}

impl Requirement {
    fn applies(&self, fields: &Fields) -> bool {
        match (self.path.strip_suffix('*'), self.code) {
            (Some(below), _) => fields.iter().any(|(name, _)| name.as_str().starts_with(below)),
            (None, Some(code)) => text(fields, self.path) == Some(code),
            (None, None) => text(fields, self.path).is_some(),
        }
    }
}

/// Everything generic code needs to know about a kind.
#[derive(Clone, Copy, Debug)]
pub struct KindDescription {
    /// Its number.
    pub kind: Kind,
    /// Its name in commands and addresses: `contract`.
    pub name: &'static str,
    /// What a screen calls one record.
    pub title: &'static str,
    /// What a screen calls several.
    pub plural: &'static str,
    /// Who it is offered to, unless the document says otherwise: see [`KindDescription::offer`].
    pub default_audience: Audience,
    /// What is offered, as a part of a sentence.
    pub offered: &'static str,
    /// Columns of its default list.
    pub columns: &'static [Column],
    /// Where its facets stand.
    pub facets: FacetPaths,
    /// Paths of all dates.
    pub dates: &'static [&'static str],
    /// What must be there; `a|b` asks for one of both.
    pub mandatory: &'static [&'static str],
    /// Paths whose value must be one of the codes.
    pub closed: &'static [(&'static str, &'static [&'static str])],
    /// Paths whose value must be the full reference of a record.
    pub references: &'static [&'static str],
    /// Paths whose value must be a length of time.
    pub spans: &'static [&'static str],
    /// Paths whose value must be 32 bytes in hexadecimal.
    pub hashes: &'static [&'static str],
    /// What must be there because something else is.
    pub requirements: &'static [Requirement],
    /// What makes a document one for a group, and a public one worth a warning.
    pub guards: &'static [Guard],
    /// Paths of what shows that the document is public already.
    pub published: &'static [&'static str],
    /// Paths whose value should be one of the codes.
    pub open: &'static [(&'static str, &'static [&'static str])],
    /// Pairs of dates of which the first should not be later.
    pub ranges: &'static [(&'static str, &'static str)],
}

/// An organisation as an index sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Name as the body gives it; empty if withheld.
    pub name: String,
    /// Identifiers as `SCHEME-ID`.
    pub ids: Vec<String>,
}

/// What an index wants to know about one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Title; without one the name of a supplier or buyer; empty if nothing is shown.
    pub title: String,
    /// Further searchable text.
    pub text: Vec<String>,
    /// CPV codes, eight digits each, without check digit or repetition, the main one first.
    pub cpv: Vec<String>,
    /// Who buys.
    pub buyers: Vec<Party>,
    /// Who supplies.
    pub suppliers: Vec<Party>,
    /// First day.
    pub starts: Option<Day>,
    /// Last day.
    pub ends: Option<Day>,
    /// Last day with all extensions.
    pub max_extent: Option<Day>,
    /// Value in minor units.
    pub amount: Option<(i64, Currency)>,
    /// Product names.
    pub products: Vec<String>,
    /// Status or stage.
    pub status: Option<String>,
    /// Equal keys mean the same real-world document: see [`Source::key`](super::part::Source::key).
    pub source_key: Option<String>,
    /// Where people can read the original.
    pub url: Option<String>,
    /// The last day on which it may be shown or used.
    pub expires: Option<Day>,
    /// Whether nobody may use it in evaluating tenders.
    pub not_for_tenders: bool,
    /// Whether it is an extract of a record that fewer may see.
    pub is_extract: bool,
}

impl KindDescription {
    /// The facets of a body of this kind.
    #[must_use]
    pub fn facets(&self, fields: &Fields) -> Facets {
        let paths = &self.facets;
        let all = |patterns: &[&str]| -> Vec<String> {
            patterns.iter().flat_map(|path| texts(fields, path)).map(str::to_owned).collect()
        };
        let buyers = parties(fields, paths.buyers);
        let suppliers = parties(fields, paths.suppliers);
        let title = text(fields, paths.title)
            .or_else(|| suppliers.iter().chain(&buyers).map(|party| party.name.as_str()).next())
            .unwrap_or_default()
            .to_owned();
        Facets {
            title,
            text: all(paths.text),
            cpv: cpv_codes(all(paths.cpv)),
            buyers,
            suppliers,
            starts: day(fields, paths.starts),
            ends: day(fields, paths.ends),
            max_extent: day(fields, paths.max_extent),
            amount: amount(fields, paths.value),
            products: all(paths.products),
            status: text(fields, paths.status).map(str::to_owned),
            source_key: self.source_key(fields),
            url: self.source_text(fields, "url").map(str::to_owned),
            expires: self.expires(fields),
            not_for_tenders: truth(fields, paths.not_for_tenders),
            is_extract: self.extract_of(fields).is_some(),
        }
    }

    /// [`Facets::source_key`] of a body of this kind, and nothing else.
    #[must_use]
    pub fn source_key(&self, fields: &Fields) -> Option<String> {
        let under = |name: &str| self.source_text(fields, name).unwrap_or_default();
        source_key(under("system"), under("noticeId"), under("part"))
    }

    /// The record of a predecessor from which one of this kind goes on, if it says so.
    #[must_use]
    pub fn predecessor(&self, fields: &Fields) -> Option<RecordRef> {
        let path = self.facets.succession;
        (!path.is_empty()).then(|| text(fields, &format!("{path}.of")))??.parse().ok()
    }

    /// The record that one of this kind answers, if it does.
    #[must_use]
    pub fn answered(&self, fields: &Fields) -> Option<RecordRef> {
        let path = self.facets.answers;
        (!path.is_empty()).then(|| text(fields, path))??.parse().ok()
    }

    /// The last day on which a document of this kind may be shown or used, if it says so.
    #[must_use]
    pub fn expires(&self, fields: &Fields) -> Option<Day> {
        day(fields, self.facets.expires)
    }

    /// The mark of what one of this kind is an extract of, if it is one.
    #[must_use]
    pub fn extract_of<'a>(&self, fields: &'a Fields) -> Option<&'a str> {
        text(fields, self.facets.extract_of)
    }

    /// What one of this kind says of its extract, and which record that is.
    #[must_use]
    pub fn extract(&self, fields: &Fields) -> Option<(RecordRef, Extract)> {
        let path = self.facets.extract;
        let under = |name: &str| text(fields, &format!("{path}.{name}")).map(str::to_owned);
        let record = (!path.is_empty()).then(|| under("record"))??;
        Some((record.parse().ok()?, Extract { salt: under("salt"), record: Some(record) }))
    }

    /// Who a document of this kind is offered to when its author names nobody,
    /// and what is offered, as a part of a sentence (design section 1).
    #[must_use]
    pub fn offer(&self, fields: &Fields) -> (Audience, &'static str) {
        let is_there = |path: &str| texts(fields, path).next().is_some();
        if self.extract_of(fields).is_some() {
            return (Audience::Public, "an extract, which names what everybody may know");
        }
        match self.guarded(fields) {
            Some(_) if self.default_audience == Audience::Group => (Audience::Group, self.offered),
            Some(what) => (Audience::Group, what),
            None if self.published.iter().any(|path| is_there(path)) => {
                (Audience::Public, "what a public notice shows already")
            }
            None => (self.default_audience, self.offered),
        }
    }

    /// What of a document of this kind is worth a warning if everybody may see it.
    #[must_use]
    pub fn guarded(&self, fields: &Fields) -> Option<&'static str> {
        let found =
            |guard: &&Guard| fields.iter().any(|(name, _)| matches(guard.path, name.as_str()));
        self.guards.iter().find(found).map(|guard| guard.what)
    }

    /// What a body says of where it comes from.
    fn source_text<'a>(&self, fields: &'a Fields, name: &str) -> Option<&'a str> {
        text(fields, &format!("{}.{name}", self.facets.source))
    }

    /// Everything wrong with a body of this kind, in the order of its rules.
    /// The flag says whether a finding is a fault (true) or a warning.
    #[must_use]
    pub fn findings(&self, fields: &Fields) -> Vec<(bool, Finding)> {
        let mut found = Found(Vec::new());
        for path in self.mandatory {
            if !path.split('|').any(|path| texts(fields, path).next().is_some()) {
                found.fault(path, Problem::Missing);
            }
        }
        for requirement in self.requirements.iter().filter(|rule| rule.applies(fields)) {
            let missing = requirement.needs.iter().filter(|path| text(fields, path).is_none());
            missing.for_each(|path| found.fault(path, Problem::Missing));
        }
        for (name, value) in fields.iter() {
            let name = name.as_str();
            let text = Reader::new(value).text(limits::BODY_BYTES).unwrap_or_default();
            let listed = |paths: &[&str]| paths.iter().any(|path| matches(path, name));
            if listed(self.dates) {
                if let Err(error) = Date::new(text).check() {
                    found.fault(name, Problem::Date(error));
                }
            } else if listed(self.facets.cpv) && !is_cpv(text) {
                found.fault(name, Problem::Cpv);
            } else if listed(self.references) && text.parse::<RecordRef>().is_err() {
                found.fault(name, Problem::Reference);
            } else if listed(self.hashes) && text.parse::<Hash>().is_err() {
                found.fault(name, Problem::Hash);
            } else if listed(self.spans)
                && let Err(error) = text.parse::<Span>()
            {
                found.fault(name, Problem::Span(error));
            } else if name.rsplit('.').next() == Some("currency")
                && !Currency::new(text).is_well_formed()
            {
                found.fault(name, Problem::Currency);
            }
            let code = |(path, codes): &(&str, &'static [&'static str])| {
                (matches(path, name) && !codes.contains(&text)).then_some(Problem::Code(codes))
            };
            self.closed.iter().filter_map(code).for_each(|problem| found.fault(name, problem));
            self.open.iter().filter_map(code).for_each(|problem| found.warn(name, problem));
        }
        for (first, second) in self.ranges {
            if let (Some(a), Some(b)) = (day(fields, first), day(fields, second))
                && a > b
            {
                found.warn(second, Problem::Order { first });
            }
        }
        found.0
    }
}

struct Found(Vec<(bool, Finding)>);

impl Found {
    fn fault(&mut self, path: &str, problem: Problem) {
        self.0.push((true, Finding { path: path.to_owned(), problem }));
    }

    fn warn(&mut self, path: &str, problem: Problem) {
        self.0.push((false, Finding { path: path.to_owned(), problem }));
    }
}

/// Whether a text is a CPV code: eight digits, perhaps a check digit.
#[must_use]
pub fn is_cpv(text: &str) -> bool {
    let digits =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        Some((code, check)) => digits(code, 8) && digits(check, 1),
        None => digits(text, 8),
    }
}

/// The text at `path`, which has no `*`.
#[must_use]
pub fn text<'a>(fields: &'a Fields, path: &str) -> Option<&'a str> {
    let bytes = fields.get(path)?;
    Reader::new(bytes).text(limits::BODY_BYTES).ok().filter(|text| !text.is_empty())
}

/// All texts that `pattern` matches, in the order of their list positions.
pub fn texts<'a>(fields: &'a Fields, pattern: &str) -> impl Iterator<Item = &'a str> {
    let single = (!pattern.contains('*')).then(|| text(fields, pattern)).flatten();
    let several = pattern.contains('*').then(|| {
        let pattern = pattern.to_owned();
        fields.iter().filter_map(move |(name, value)| {
            if !matches(&pattern, name.as_str()) {
                return None;
            }
            Reader::new(value).text(limits::BODY_BYTES).ok().filter(|text| !text.is_empty())
        })
    });
    single.into_iter().chain(several.into_iter().flatten())
}

/// Whether the field `name` is one that `pattern` means.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    // Nearly all names differ from nearly all patterns in their first or last letter.
    let differ = |wanted: Option<&u8>, found: Option<&u8>| wanted != Some(&b'*') && wanted != found;
    let (wanted, found) = (pattern.as_bytes(), name.as_bytes());
    !differ(wanted.first(), found.first())
        && !differ(wanted.last(), found.last())
        && prefix(pattern, name).is_some_and(|(_, rest)| rest.is_none())
}

/// Splits `name` behind the segments that `pattern` matches; the rest is
/// `None` if it matches all of them.
fn prefix<'a>(pattern: &str, name: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    let mut rest = Some(name);
    for wanted in pattern.split('.') {
        let text = rest?;
        let (segment, tail) = match text.split_once('.') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (text, None),
        };
        let position = wanted == "*" && !segment.is_empty();
        if !(segment == wanted || position && segment.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        rest = tail;
    }
    let len = name.len() - rest.map_or(0, |tail| tail.len() + 1);
    name.get(..len).map(|head| (head, rest))
}

/// Whether it is true what stands at `path`.
fn truth(fields: &Fields, path: &str) -> bool {
    fields.value(path).is_some_and(|value| value.as_bool() == Some(true))
}

fn day(fields: &Fields, path: &str) -> Option<Day> {
    Date::new(text(fields, path)?).day()
}

fn amount(fields: &Fields, path: &str) -> Option<(i64, Currency)> {
    let amount = fields.value(&format!("{path}.amount"))?.into_integer().ok()?;
    let currency = text(fields, &format!("{path}.currency"))?;
    Some((i64::try_from(amount).ok()?, Currency::new(currency)))
}

fn cpv_codes(texts: Vec<String>) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for mut code in texts.into_iter().filter(|text| is_cpv(text)) {
        code.truncate(8);
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

/// What one organisation's fields say; identifiers by list position.
#[derive(Default)]
struct PartyFields<'a> {
    name: &'a str,
    identifiers: BTreeMap<(usize, &'a str), IdentifierFields<'a>>,
}

#[derive(Default)]
struct IdentifierFields<'a> {
    scheme: Option<&'a str>,
    id: Option<&'a str>,
}

fn parties(fields: &Fields, patterns: &[&str]) -> Vec<Party> {
    let mut found: BTreeMap<(usize, &str), PartyFields<'_>> = BTreeMap::new();
    for (name, value) in fields.iter() {
        let name = name.as_str();
        let Ok(text) = Reader::new(value).text(limits::BODY_BYTES) else { continue };
        let parts = patterns.iter().find_map(|pattern| prefix(pattern, name));
        let Some((head, Some(rest))) = parts else { continue };
        let party = found.entry((head.len(), head)).or_default();
        if rest == "name" {
            party.name = text;
        } else if let Some(("identifiers", (at, part))) =
            rest.split_once('.').and_then(|(list, rest)| Some((list, rest.split_once('.')?)))
        {
            let identifier = party.identifiers.entry((at.len(), at)).or_default();
            match part {
                "scheme" => identifier.scheme = Some(text),
                "id" => identifier.id = Some(text),
                _ => {}
            }
        }
    }
    let party = |fields: PartyFields<'_>| Party {
        name: fields.name.to_owned(),
        ids: fields
            .identifiers
            .into_values()
            .filter_map(|part| Some(format!("{}-{}", part.scheme?, part.id?)))
            .collect(),
    };
    found
        .into_values()
        .map(party)
        .filter(|party| !party.name.is_empty() || !party.ids.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use ciborium::Value;

    use super::super::{Record, contract, part};
    use super::*;

    fn sample() -> Fields {
        let contract = contract::Contract {
            title: "Housing management system".into(),
            buyer: Some(
                part::Organisation::named("Ambleford Borough Council")
                    .with_identifier("GB-LAE", "AMB"),
            ),
            suppliers: (0..12)
                .map(|n| part::Organisation::named(format!("Supplier {n}")))
                .collect(),
            cpv: Some("48000000-8".into()),
            additional_cpv: vec!["48000000".into(), "72000000".into(), "broken".into()],
            value: Some(super::super::money::Value::new(123_450, "GBP")),
            period: Some(part::Period {
                start_date: Some(Date::new("2026-04-01")),
                end_date: Some(Date::new("2027-03-31T23:59:59+01:00")),
                ..part::Period::default()
            }),
            source: Some(part::Source {
                system: Some("contracts-finder".into()),
                notice_id: Some("n".into()),
                ..part::Source::default()
            }),
            ..contract::Contract::default()
        };
        Record::from(contract).to_fields().unwrap()
    }

    #[test]
    fn facets_are_found_by_path() {
        let facets = contract::DESCRIPTION.facets(&sample());
        assert_eq!(facets.title, "Housing management system");
        assert_eq!(facets.cpv, ["48000000", "72000000"]);
        assert_eq!(facets.buyers[0].ids, ["GB-LAE-AMB"]);
        assert_eq!(facets.suppliers.len(), 12);
        assert_eq!(facets.suppliers[11].name, "Supplier 11", "ten comes after nine");
        assert_eq!(facets.ends.map(|day| day.to_string()).as_deref(), Some("2027-03-31"));
        assert_eq!(facets.amount, Some((123_450, Currency::gbp())));
        assert_eq!(facets.source_key.as_deref(), Some("contracts-finder|n|"));
    }

    #[test]
    fn a_partial_body_has_the_facets_it_shows() {
        let full = sample();
        let mut shown = Fields::new();
        for (name, _) in full.iter().filter(|(name, _)| {
            !["title", "value.amount", "suppliers.3.name"].contains(&name.as_str())
        }) {
            shown.insert(name.as_str(), &full.value(name.as_str()).unwrap()).unwrap();
        }
        let facets = contract::DESCRIPTION.facets(&shown);
        assert_eq!(facets.amount, None);
        assert_eq!(facets.suppliers.len(), 11);
        assert_eq!(facets.title, "Supplier 0");
        assert_eq!(contract::DESCRIPTION.facets(&Fields::new()), Facets::default());
    }

    #[test]
    fn columns_are_written_by_their_form() {
        let fields = sample();
        let cell = |heading: &str| {
            let columns = contract::DESCRIPTION.columns;
            columns.iter().find(|column| column.heading == heading).unwrap().cell(&fields)
        };
        assert_eq!(cell("Value"), "1234.50 GBP");
        assert_eq!(cell("Ends"), "2027-03-31");
        assert!(cell("Suppliers").starts_with("Supplier 0, Supplier 1, "));
        assert_eq!(cell("Status"), "");
    }

    #[test]
    fn who_a_document_is_offered_to_follows_from_what_it_tells() {
        let offer = |kind: Kind, json: serde_json::Value| {
            let fields = Record::from_json(kind, json).unwrap().to_fields().unwrap();
            let description = kind.description().unwrap();
            (description.offer(&fields).0, description.guarded(&fields))
        };
        let contract =
            serde_json::json!({ "title": "t", "value": { "amount": 5, "currency": "GBP" } });
        assert_eq!(offer(Kind::CONTRACT, contract.clone()), (Audience::Public, None));
        let mut priced = contract;
        priced["items"] = serde_json::json!([{ "unitPrice": { "amount": 5, "currency": "GBP" } }]);
        assert_eq!(offer(Kind::CONTRACT, priced), (Audience::Group, Some("unit prices")));
        let plan = serde_json::json!({ "title": "t" });
        assert_eq!(offer(Kind::PIPELINE, plan), (Audience::Group, None));
        let noticed = serde_json::json!({ "title": "t", "source": { "noticeId": "n" } });
        assert_eq!(offer(Kind::PIPELINE, noticed), (Audience::Public, None));
        let mut note =
            serde_json::json!({ "supplier": { "name": "s" }, "source": { "noticeId": "n" } });
        let told = Some("how a supplier performed");
        assert_eq!(offer(Kind::PERFORMANCE, note.clone()), (Audience::Group, told));
        note["extractOf"] = "0a".repeat(32).into();
        assert_eq!(offer(Kind::PERFORMANCE, note), (Audience::Public, told));
    }

    #[test]
    fn lengths_of_time_and_marks_are_judged_and_expiry_is_found() {
        let judged = |field: &str, value: &str| {
            let json = serde_json::json!({ "supplier": { "name": "s" }, field: value });
            let record = Record::from_json(Kind::PERFORMANCE, json).unwrap();
            record.validate().map_err(|error| error.to_string())
        };
        assert_eq!(judged("replyWindow", "P30D"), Ok(()));
        assert!(judged("replyWindow", "30 days").unwrap_err().contains("not a length of time"));
        assert!(judged("replyWindow", "P0D").unwrap_err().contains("of no days"));
        assert_eq!(judged("extractOf", &"0a".repeat(32)), Ok(()));
        let reference =
            format!("{}/{}", crate::id::AuthorityId::from_bytes([1; 32]), "ab".repeat(16));
        let refused = judged("extractOf", &reference).unwrap_err();
        assert_eq!(refused, "extractOf: not 64 hexadecimal digits", "no reference gets out");
        let json = serde_json::json!({
            "supplier": { "name": "s" }, "expires": "2028-02-29", "notForTenderEvaluation": true
        });
        let fields = Record::from_json(Kind::PERFORMANCE, json).unwrap().to_fields().unwrap();
        let facets = Kind::PERFORMANCE.description().unwrap().facets(&fields);
        assert_eq!(facets.expires.map(|day| day.to_string()).as_deref(), Some("2028-02-29"));
        assert!(facets.not_for_tenders && !facets.is_extract);
    }

    #[test]
    fn values_of_another_type_are_not_found() {
        let mut fields = Fields::new();
        fields.insert("title", &Value::from(5)).unwrap();
        fields.insert("period.endDate", &Value::from("31/03/2017")).unwrap();
        fields.insert("suppliers.x.name", &Value::from("no list position")).unwrap();
        assert_eq!(contract::DESCRIPTION.facets(&fields), Facets::default());
    }

    #[test]
    fn patterns_match_whole_segments() {
        assert!(matches("items.*.cpv", "items.10.cpv"));
        assert!(!matches("items.*.cpv", "items.x.cpv"));
        assert!(!matches("items.*.cpv", "items.1.cpv.2"));
        assert!(!matches("items.*.cpv", "items..cpv"));
        assert!(!matches("title", "titles"));
        assert!(!matches("", "title"));
    }
}
