//! Extracts at the desk: a record for more people than the confidential one it
//! is made from.
//!
//! The extract bears a mark, the confidential record names the extract and has
//! what opens the mark: see [`tallystick_protocol::record::extract`]. Both ends
//! are found by whoever can read both. **Invariants:** the link is written into
//! the group first, so that no extract is ever without it; only the node makes
//! marks; a new version keeps the link of the one before, and the one that gets a link
//! its retention date. Deliberately
//! absent: any judgement of what an extract may say.

use serde_json::Value;
use tallystick_protocol::body::Fields;
use tallystick_protocol::entry::{Action, Entry};
use tallystick_protocol::id::{Hash, RecordId, RecordRef, Space};
use tallystick_protocol::record::Record;
use tallystick_protocol::record::extract::{Extract, mark};
use tallystick_protocol::time::UnixTime;

use super::fault::gone;
use super::{Desk, answer, failed_author, failed_store};
use crate::author::{prepare, random_salt, retain};
use crate::failure::Failure;
use crate::register::RecordKey;
use crate::store::StoreError;

/// Most records that are taken to be extracts of one another.
const CHAIN: usize = 8;
/// The field by which a document names what it is an extract of.
const EXTRACT_OF: &str = "extractOf";

/// The record of which a document says that it is an extract; nothing is left of
/// that in it. A mark, which only the node makes, stays.
pub fn taken_out(document: &mut Value) -> Option<String> {
    let said = document.get(EXTRACT_OF)?.as_str()?.to_owned();
    if said.is_empty() || said.parse::<Hash>().is_ok() {
        return None;
    }
    document.as_object_mut()?.remove(EXTRACT_OF);
    Some(said)
}

impl Desk {
    /// Keeps the links of the version before, and refuses others: no document can
    /// say of itself what it is an extract of, or has as one. Blocks.
    pub(super) fn keep_links(
        &self,
        record: &mut Record,
        before: Option<&RecordKey>,
    ) -> Result<(), Failure> {
        let before = before.map(|key| self.said(key)).transpose().map_err(failed_store)?.flatten();
        let description = record.description();
        let said = |fields: &Fields| {
            let extract = description.extract(fields).map(|(_, extract)| extract);
            (extract, description.extract_of(fields).map(str::to_owned))
        };
        let (kept, kept_of) = before.as_ref().map(said).unwrap_or_default();
        let Some((extract, extract_of)) = record.extract_mut() else { return Ok(()) };
        keep("extract", extract, kept)?;
        keep(EXTRACT_OF, extract_of, kept_of)
    }

    /// Makes `record`, which is to be said in `space` under the id `id`, an extract
    /// of the record that `reference` means. Gives the version of that one which
    /// says so, to be written before. Blocks.
    pub(super) fn link(
        &self,
        record: &mut Record,
        (space, id): (Space, RecordId),
        reference: &str,
        issued: UnixTime,
    ) -> Result<(Space, Entry), Failure> {
        let found = self.find_own(reference)?;
        let (key, newest) = (found.key, found.current.newest);
        let refused = |error: &str, remedy: &str| Err(Failure::usage(error, remedy));
        match key.space {
            Space::Public => {
                return refused(
                    "this record is public, and so needs no extract",
                    "publish the document by itself, without --extract-of",
                );
            }
            group if group == space => {
                return refused(
                    "those who would see the extract see the whole record already",
                    "share the extract with others: --public, or --into another group",
                );
            }
            Space::Group(_) => {}
        }
        if newest.action != Action::Put || newest.kind != record.kind() {
            return refused(
                "an extract is of a record of the same kind that its author stands by",
                "`tally show REF` shows what it is and how it stands",
            );
        }
        let register = self.0.projector.register();
        let fields = register.fields(&key).map_err(failed_store)?.ok_or_else(gone)?;
        let (authority, version) = (self.authority(), None);
        let of = RecordRef { authority, record: key.record, version };
        let extract = RecordRef { authority, record: id, version };
        if let Some((other, _)) = record.description().extract(&fields)
            && other != extract
            && self.is_there(&other).map_err(failed_store)?
        {
            return Err(Failure::usage(
                format!("this record has an extract already, {other}"),
                "publish a new version of it with --replaces, or an extract of the extract",
            ));
        }
        let mut whole = Record::from_fields(newest.kind, &fields).map_err(Failure::internal)?;
        let (Some((named, _)), Some((_, marked))) = (whole.extract_mut(), record.extract_mut())
        else {
            return refused("a response has no extract", "leave out --extract-of");
        };
        if marked.is_some() {
            return refused("this record is an extract already", "leave out --extract-of");
        }
        let salt = Hash::from_bytes(random_salt().map_err(Failure::internal)?);
        *marked = Some(mark(&of, salt.as_bytes()).to_string());
        *named = Some(Extract { record: Some(extract.to_string()), salt: Some(salt.to_string()) });
        let (previous, body_salt) = (Some(newest.version), random_salt());
        let body_salt = body_salt.map_err(Failure::internal)?;
        let entry = prepare(&whole, key.record, previous, Action::Put, issued, body_salt);
        let entry = entry.map_err(failed_author)?;
        let before =
            register.entry(&key, newest.version).map_err(failed_store)?.ok_or_else(gone)?;
        let entry = match before.header().retain_until {
            Some(until) => retain(entry, until).map_err(failed_author)?,
            None => entry,
        };
        Ok((key.space, entry))
    }

    /// Of what a record is an extract, and which extract it has, as far as both
    /// ends can be read here and the mark opens. Blocks.
    pub(super) fn extract_ends(
        &self,
        key: &RecordKey,
        fields: &Fields,
    ) -> Result<(Option<answer::ExtractView>, Vec<answer::ExtractView>), StoreError> {
        let above = self.above(key, fields)?.map(|key| self.extract_view(&key)).transpose()?;
        let below = self.below(key, fields)?.map(|key| self.extract_view(&key)).transpose()?;
        Ok((above, below.into_iter().collect()))
    }

    /// All other records that are extracts of this one, or of which it is one, the
    /// widest first. Blocks.
    pub(super) fn extracts_beside(&self, key: &RecordKey) -> Result<Vec<RecordKey>, StoreError> {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let mut at = *key;
        while up.len() < CHAIN
            && let Some(fields) = self.said(&at)?
            && let Some(above) = self.above(&at, &fields)?
        {
            up.push(above);
            at = above;
        }
        at = *key;
        while down.len() < CHAIN
            && let Some(fields) = self.said(&at)?
            && let Some(below) = self.below(&at, &fields)?
        {
            down.push(below);
            at = below;
        }
        down.reverse();
        down.extend(up);
        Ok(down)
    }

    /// The confidential record of which one that says `fields` is an extract.
    fn above(&self, key: &RecordKey, fields: &Fields) -> Result<Option<RecordKey>, StoreError> {
        let register = self.0.projector.register();
        let Some(kind) = self.kind_of(key)? else { return Ok(None) };
        let Some(found) = kind.extract_of(fields) else { return Ok(None) };
        for above in register.extracted_from(&key.authority, &key.record)? {
            let Some(whole) = self.said(&above)? else { continue };
            let (authority, record) = (above.authority, above.record);
            let of = RecordRef { authority, record, version: None };
            if kind.extract(&whole).is_some_and(|(_, link)| link.opens(&of, found)) {
                return Ok(Some(above));
            }
        }
        Ok(None)
    }

    /// The extract of a record that says `fields`.
    fn below(&self, key: &RecordKey, fields: &Fields) -> Result<Option<RecordKey>, StoreError> {
        let Some(kind) = self.kind_of(key)? else { return Ok(None) };
        let Some((extract, link)) = kind.extract(fields) else { return Ok(None) };
        if extract.authority != key.authority {
            return Ok(None);
        }
        let register = self.0.projector.register();
        let Some((below, _)) = register.newest(&extract.authority, &extract.record)? else {
            return Ok(None);
        };
        let Some(said) = self.said(&below)? else { return Ok(None) };
        let of = RecordRef { authority: key.authority, record: key.record, version: None };
        let opens = kind.extract_of(&said).is_some_and(|found| link.opens(&of, found));
        Ok(opens.then_some(below))
    }

    fn extract_view(&self, key: &RecordKey) -> Result<answer::ExtractView, StoreError> {
        let (authority, record) = (key.authority, key.record);
        let (kind, fields) = (self.kind_of(key)?, self.0.projector.register().fields(key)?);
        let title = kind.zip(fields).map(|(kind, fields)| kind.facets(&fields).title);
        Ok(answer::ExtractView {
            reference: RecordRef { authority, record, version: None }.to_string(),
            title: title.filter(|title| !title.is_empty()),
            space: key.space.to_string(),
            group: self.0.opener.name(&key.space),
        })
    }

    fn kind_of(
        &self,
        key: &RecordKey,
    ) -> Result<Option<&'static tallystick_protocol::record::KindDescription>, StoreError> {
        let current = self.0.projector.register().current(key)?;
        Ok(current.and_then(|current| current.newest.kind.description()))
    }

    /// Whether a record is shown.
    fn is_there(&self, of: &RecordRef) -> Result<bool, StoreError> {
        let newest = self.0.projector.register().newest(&of.authority, &of.record)?;
        Ok(newest.is_some_and(|(_, current)| current.is_visible()))
    }

    /// What the last version of a record said that said something, withdrawn since or not.
    fn said(&self, key: &RecordKey) -> Result<Option<Fields>, StoreError> {
        let register = self.0.projector.register();
        let versions = register.versions(&key.authority, &key.record)?;
        let mut puts = versions.iter().filter(|(of, info)| of == key && info.action == Action::Put);
        let Some((_, info)) = puts.next_back() else { return Ok(None) };
        let entry = register.entry(key, info.version)?;
        Ok(entry.and_then(|entry| entry.body().map(tallystick_protocol::body::Body::fields)))
    }
}

/// What was said before counts; anything else is not for the document to say.
fn keep<T: PartialEq>(field: &str, given: &mut Option<T>, kept: Option<T>) -> Result<(), Failure> {
    if given.is_some() && *given != kept {
        return Err(Failure::usage(
            format!("{field} is not for the document to say"),
            "leave it out, and name the confidential record with --extract-of REF",
        ));
    }
    *given = kept;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_names_what_it_is_made_from_and_a_mark_stays() {
        let mut document = json!({ "title": "t", "extractOf": "tally1abc/0f" });
        assert_eq!(taken_out(&mut document).as_deref(), Some("tally1abc/0f"));
        assert_eq!(document, json!({ "title": "t" }));
        assert_eq!(taken_out(&mut document), None);
        let mut marked = json!({ "extractOf": "0a".repeat(32) });
        assert_eq!(taken_out(&mut marked), None);
        assert_eq!(marked["extractOf"], "0a".repeat(32));
        assert_eq!(taken_out(&mut json!([1])), None);
    }

    #[test]
    fn a_new_version_keeps_its_links_and_makes_none() {
        let mut given = None;
        keep("extractOf", &mut given, Some("a")).unwrap();
        assert_eq!(given, Some("a"));
        keep("extractOf", &mut given, Some("a")).unwrap();
        assert_eq!(keep("extractOf", &mut given, None).unwrap_err().kind.exit_code(), 2);
        assert_eq!(keep("extractOf", &mut given, Some("b")).unwrap_err().kind.exit_code(), 2);
    }
}
