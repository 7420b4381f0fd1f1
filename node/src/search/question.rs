//! From a [`Query`] to what tantivy is asked.
//!
//! Every clause has a fixed score: see the invariants of [`super`].

use std::ops::Bound;

use tallystick_protocol::record::{Day, Kind};
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, DisjunctionMaxQuery, FuzzyTermQuery, Occur,
    Query as Clause, RangeQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Score, Term};

use super::schema::{FieldSet, words};
use super::{Query, SearchError, WORDS};
use crate::ingest::buyer::{joined_identifier, normalised, normalised_supplier};

/// Weights of a word found whole; as a beginning only, one less.
const TITLE: Score = 8.0;
const PARTY: Score = 6.0;
const TEXT: Score = 3.0;

type Clauses = Vec<(Occur, Box<dyn Clause>)>;

/// What is asked; `None` if nothing can fit.
pub(super) fn build(
    query: &Query,
    fields: &FieldSet,
) -> Result<Option<Box<dyn Clause>>, SearchError> {
    let mut clauses: Clauses = Vec::new();
    let typed = words(&query.text, WORDS);
    if typed.is_empty() && !query.text.trim().is_empty() {
        return Ok(None);
    }
    let last = typed.len().saturating_sub(1);
    for (at, typed) in typed.iter().enumerate() {
        clauses.push((Occur::Must, word(fields, typed, at == last)));
    }
    if let Some(kind) = query.kind {
        filter(&mut clauses, exact(fields.kind, &kind.to_string()));
    }
    if let Some(prefix) = &query.cpv {
        filter(&mut clauses, exact(fields.cpv, &cpv(prefix)?));
    }
    if let Some(supplier) = &query.supplier {
        let names = without_legal_form(&normalised_supplier(supplier));
        filter(&mut clauses, party(fields.supplier, fields.supplier_id, supplier, &names));
    }
    if let Some(buyer) = &query.buyer {
        let names = words(&normalised(buyer), WORDS);
        filter(&mut clauses, party(fields.buyer, fields.buyer_id, buyer, &names));
    }
    if query.ends_before.is_some() || query.ends_after.is_some() {
        filter(&mut clauses, ends(fields, query.ends_after, query.ends_before));
    }
    if let Some(authority) = &query.authority {
        filter(&mut clauses, exact(fields.authority, &authority.to_string()));
    }
    if !query.include_references {
        let term = Term::from_field_bool(fields.is_reference, false);
        filter(&mut clauses, Box::new(TermQuery::new(term, IndexRecordOption::Basic)));
    }
    if clauses.is_empty() {
        filter(&mut clauses, Box::new(AllQuery));
    }
    Ok(Some(Box::new(BooleanQuery::new(clauses))))
}

/// Contracts with one of these identifiers as that of a supplier.
pub(super) fn supplied_by(ids: &[String], fields: &FieldSet) -> Box<dyn Clause> {
    let ids = ids.iter().filter_map(|id| joined_identifier(id));
    let any = ids.map(|id| exact(fields.supplier_id, &id)).collect();
    let mut clauses: Clauses = Vec::new();
    filter(&mut clauses, exact(fields.kind, &Kind::CONTRACT.to_string()));
    filter(&mut clauses, Box::new(BooleanQuery::union(any)));
    Box::new(BooleanQuery::new(clauses))
}

/// A score, which is a sum of small whole numbers.
pub(super) fn whole(score: Score) -> u32 {
    // Truncation is what is wanted: there is no fraction, and no sign.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    {
        score as u32
    }
}

/// A word in any of the fields, the best of which counts.
fn word(fields: &FieldSet, word: &str, last: bool) -> Box<dyn Clause> {
    let weighted = [(fields.title, TITLE), (fields.party, PARTY), (fields.text, TEXT)];
    let mut alternatives: Vec<Box<dyn Clause>> = Vec::new();
    for (field, weight) in weighted {
        alternatives.push(Box::new(ConstScoreQuery::new(exact(field, word), weight)));
        if last {
            let term = Term::from_field_text(field, word);
            let beginning = Box::new(FuzzyTermQuery::new_prefix(term, 0, false));
            alternatives.push(Box::new(ConstScoreQuery::new(beginning, weight - 1.0)));
        }
    }
    Box::new(DisjunctionMaxQuery::new(alternatives))
}

/// An organisation by the words of its name, or by its identifier.
fn party(names: Field, ids: Field, given: &str, words: &[String]) -> Box<dyn Clause> {
    let all: Clauses = words.iter().map(|word| (Occur::Must, exact(names, word))).collect();
    let mut any: Vec<Box<dyn Clause>> = Vec::new();
    if !all.is_empty() {
        any.push(Box::new(BooleanQuery::new(all)));
    }
    any.extend(joined_identifier(given).map(|id| exact(ids, &id)));
    Box::new(BooleanQuery::union(any))
}

/// Words of a supplier's name without `ltd` and the like, unless there is nothing else.
fn without_legal_form(name: &str) -> Vec<String> {
    const FORMS: [&str; 6] = ["ltd", "plc", "llp", "lp", "inc", "cic"];
    let all = words(name, WORDS);
    let kept: Vec<String> =
        all.iter().filter(|word| !FORMS.contains(&word.as_str())).cloned().collect();
    if kept.is_empty() { all } else { kept }
}

fn ends(fields: &FieldSet, after: Option<Day>, before: Option<Day>) -> Box<dyn Clause> {
    let term = |day: Day| Term::from_field_i64(fields.ends, i64::from(day.number()));
    let lower = after.map_or(Bound::Unbounded, |day| Bound::Included(term(day)));
    let upper = before.map_or(Bound::Unbounded, |day| Bound::Excluded(term(day)));
    Box::new(RangeQuery::new(lower, upper))
}

/// The digits of a CPV prefix, without check digit.
fn cpv(prefix: &str) -> Result<String, SearchError> {
    let trimmed = prefix.trim();
    let digits = match trimmed.split_once('-') {
        Some((code, check)) if code.len() == 8 && check.len() == 1 => code,
        _ => trimmed,
    };
    let fits = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(digits.to_owned()) } else { Err(SearchError::Cpv(prefix.to_owned())) }
}

fn exact(field: Field, text: &str) -> Box<dyn Clause> {
    let term = Term::from_field_text(field, text);
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

/// Adds a clause that must hold and counts for nothing.
fn filter(clauses: &mut Clauses, clause: Box<dyn Clause>) {
    clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(clause, 0.0))));
}
