//! What of a record or reference goes into the index.

use tallystick_protocol::body::Fields;
use tallystick_protocol::id::RecordRef;
use tallystick_protocol::record::{Day, Facets, Kind, KindDescription, Party};
use tantivy::{TantivyDocument, Term};

use super::Hit;
use super::schema::{FieldSet, joined};
use crate::ingest::buyer::{joined_identifier, normalised, normalised_supplier};
use crate::reference::{self, Reference};
use crate::register::{RecordKey, SourceDigest, key};
use tallystick_protocol::id::Version;

/// A document of the index, or the word that there is none.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    key: Vec<u8>,
    content: Option<Content>,
}

#[derive(Clone, Debug)]
struct Content {
    hit: Hit,
    facets: Facets,
    tie: u64,
}

impl Document {
    /// The document for a record in one version. A kind without description gives none.
    pub(crate) fn of_record(
        record: &RecordKey,
        version: Version,
        kind: Kind,
        fields: &Fields,
    ) -> Self {
        let content = kind.description().map(|description| {
            let facets = description.facets(fields);
            let address =
                RecordRef { authority: record.authority, record: record.record, version: None };
            let hit = Hit {
                address: address.to_string(),
                authority: Some(record.authority),
                space: Some(record.space.to_string()),
                version: Some(version.to_string()),
                ..hit(description, &facets)
            };
            Content { hit, facets, tie: first_bytes(record.record.as_bytes()) }
        });
        Self { key: record_key(record), content }
    }

    /// The document for a reference.
    pub(crate) fn of_reference(reference: &Reference) -> Self {
        let digest = reference.digest();
        let content = reference.kind().description().map(|description| {
            let facets = description.facets(reference.fields());
            let hit =
                Hit { address: reference.address(), reference: true, ..hit(description, &facets) };
            Content { hit, facets, tie: first_bytes(digest.as_bytes()) }
        });
        Self { key: reference_key(&digest), content }
    }

    /// No document for this record.
    pub(crate) fn no_record(record: &RecordKey) -> Self {
        Self { key: record_key(record), content: None }
    }

    /// No document for the reference with this source key.
    pub(crate) fn no_reference(source: &SourceDigest) -> Self {
        Self { key: reference_key(source), content: None }
    }

    /// The term that finds the document's earlier state.
    pub(super) fn term(&self, fields: &FieldSet) -> Term {
        Term::from_field_text(fields.key, &hex(&self.key))
    }

    /// The document as tantivy takes it; `None` to have none.
    pub(super) fn into_tantivy(self, fields: &FieldSet) -> Option<TantivyDocument> {
        let Content { hit, facets, tie } = self.content?;
        let mut document = TantivyDocument::default();
        document.add_text(fields.key, hex(&self.key));
        document.add_text(fields.kind, &hit.kind);
        document.add_text(fields.title, joined(&facets.title));
        add_text(&mut document, fields, &facets);
        add_parties(&mut document, fields, &facets);
        for code in &facets.cpv {
            for len in 1..=code.len() {
                document.add_text(fields.cpv, code.get(..len).unwrap_or(code));
            }
        }
        let day = |day: Option<Day>| day.map(|day| i64::from(day.number()));
        let (starts, ends) = (day(facets.starts), day(facets.ends));
        starts.inspect(|day| document.add_i64(fields.starts, *day));
        ends.inspect(|day| document.add_i64(fields.ends, *day));
        starts.or(ends).inspect(|day| document.add_i64(fields.date, *day));
        if let Some((amount, currency)) = &facets.amount {
            document.add_i64(fields.amount, *amount);
            document.add_text(fields.currency, currency.as_str());
        }
        if let Some(authority) = hit.authority {
            document.add_text(fields.authority, authority.to_string());
        }
        document.add_bool(fields.is_reference, hit.reference);
        if let Some(source) = &facets.source_key {
            document.add_text(fields.source_key, SourceDigest::of(source).to_string());
        }
        document.add_u64(fields.tie, tie);
        // A hit is texts and whole numbers: writing it cannot fail.
        let stored = serde_json::to_vec(&hit).unwrap_or_default();
        document.add_bytes(fields.hit, &stored);
        Some(document)
    }
}

fn hit(description: &KindDescription, facets: &Facets) -> Hit {
    let named = |parties: &[Party]| -> Vec<String> {
        parties.iter().map(|party| party.name.clone()).filter(|name| !name.is_empty()).collect()
    };
    let day = |day: Option<Day>| day.map(|day| day.to_string());
    Hit {
        address: String::new(),
        kind: description.name.to_owned(),
        title: facets.title.clone(),
        authority: None,
        authority_name: None,
        known: None,
        continues: None,
        continued_by: Vec::new(),
        space: None,
        group: None,
        version: None,
        buyer: named(&facets.buyers).into_iter().next(),
        suppliers: named(&facets.suppliers),
        cpv: facets.cpv.clone(),
        starts: day(facets.starts),
        ends: day(facets.ends),
        amount: facets.amount.as_ref().map(|(amount, _)| *amount),
        currency: facets.amount.as_ref().map(|(_, currency)| currency.as_str().to_owned()),
        status: facets.status.clone(),
        expires: day(facets.expires),
        not_for_tender_evaluation: facets.not_for_tenders,
        is_extract: facets.is_extract,
        url: facets.url.clone(),
        reference: false,
        score: 0,
    }
}

fn add_text(document: &mut TantivyDocument, fields: &FieldSet, facets: &Facets) {
    let codes = facets.cpv.iter().chain(&facets.status);
    for text in facets.text.iter().chain(&facets.products).chain(codes) {
        document.add_text(fields.text, joined(text));
    }
    let parties = facets.buyers.iter().chain(&facets.suppliers);
    for id in parties.flat_map(|party| &party.ids) {
        document.add_text(fields.text, id);
    }
    // The notice's own number, which people copy out of an address line.
    if let Some(notice) = facets.source_key.as_deref().and_then(|key| key.split('|').nth(1)) {
        document.add_text(fields.text, notice);
    }
}

fn add_parties(document: &mut TantivyDocument, fields: &FieldSet, facets: &Facets) {
    for party in facets.buyers.iter().chain(&facets.suppliers) {
        document.add_text(fields.party, joined(&party.name));
    }
    for party in &facets.buyers {
        document.add_text(fields.buyer, normalised(&party.name));
        for id in party.ids.iter().filter_map(|id| joined_identifier(id)) {
            document.add_text(fields.buyer_id, id);
        }
    }
    for party in &facets.suppliers {
        document.add_text(fields.supplier, normalised_supplier(&party.name));
        for id in party.ids.iter().filter_map(|id| joined_identifier(id)) {
            document.add_text(fields.supplier_id, id);
        }
    }
}

fn record_key(record: &RecordKey) -> Vec<u8> {
    let mut bytes = vec![b'r'];
    key::put_record(&mut bytes, record);
    bytes
}

fn reference_key(source: &SourceDigest) -> Vec<u8> {
    let mut bytes = reference::PREFIX.as_bytes().to_vec();
    bytes.extend_from_slice(source.as_bytes());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn first_bytes(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
