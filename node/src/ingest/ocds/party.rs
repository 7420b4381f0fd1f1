//! Buyers and suppliers of a release: references joined to `parties`.
//!
//! A reference (`buyer`, `awards[].suppliers[]`) is joined by id; where one id
//! carries several names, by id and name. Only identifiers that mean something
//! outside the release are kept: `org-3`, `1`, hashes and platform numbers
//! (`GB-CFS-18525`, `GB-FTS-176944`) are not. Deliberately absent: contact
//! points and addresses, and any matching between releases.

use tallystick_protocol::organisation;
use tallystick_protocol::record::part::{Identifier, Organisation};

use super::super::buyer::{self, SupplierCell};
use super::super::remark::{Remarks, quoted};
use super::super::text;
use super::json::Json;

/// Most identifiers kept of one organisation.
const IDENTIFIERS: usize = 4;
/// Longest register name or identifier kept, in bytes.
const IDENTIFIER_BYTES: usize = 128;
/// Schemes under which a platform counts its own accounts.
const PLATFORM_SCHEMES: [&str; 2] = ["GB-CFS", "GB-FTS"];

/// The buyers of a process, the one that `buyer` names first; `releases` has
/// the release itself and then others of its process.
pub(super) fn buyers(releases: &[&Json]) -> Vec<Organisation> {
    let mut found: Vec<Organisation> = Vec::new();
    let references = references(releases, "buyer").chain(with_role(releases, "buyer"));
    for organisation in references.filter_map(|party| organisation(party, releases)) {
        if !found.iter().any(|known| known.name == organisation.name) {
            found.push(organisation);
        }
    }
    if found.is_empty() {
        // OCDS 1.0 and several publishers name the buyer as procuring entity only.
        let mut entities = references_of_entity(releases);
        found.extend(entities.find_map(|party| organisation(party, releases)));
    }
    found
}

/// The parties of a process in a role.
pub(super) fn with_role<'a>(
    releases: &'a [&'a Json],
    role: &'a str,
) -> impl Iterator<Item = &'a Json> {
    releases.iter().flat_map(|release| release.list("parties")).filter(move |party| {
        let roles = party.list("roles");
        roles.iter().filter_map(Json::text).any(|known| known.eq_ignore_ascii_case(role))
    })
}

/// A supplier that an award or contract refers to; `None`, remarked on, if the
/// name says that there is none.
pub(super) fn supplier(
    reference: &Json,
    releases: &[&Json],
    remarks: &mut Remarks,
) -> Option<Organisation> {
    let found = organisation(reference, releases)?;
    match buyer::supplier(&found.name) {
        SupplierCell::One(_) => Some(found),
        // A register knows it, so the commas are part of one firm's name.
        SupplierCell::Several(_) if !found.identifiers.is_empty() => Some(found),
        // Withheld suppliers are published under a real number that is nobody's.
        cell @ (SupplierCell::Several(_) | SupplierCell::Withheld(_)) => {
            Some(Organisation { scale: found.scale, vcse: found.vcse, ..cell.organisation()? })
        }
        SupplierCell::NotAwarded(_) | SupplierCell::Empty => {
            remarks.note(format!("the supplier {} is no supplier", quoted(&found.name)));
            None
        }
    }
}

fn references<'a>(releases: &'a [&'a Json], path: &'a str) -> impl Iterator<Item = &'a Json> {
    releases.iter().map(move |release| release.at(path)).filter(|value| !value.is_blank()).take(1)
}

fn references_of_entity<'a>(releases: &'a [&'a Json]) -> impl Iterator<Item = &'a Json> {
    references(releases, "tender.procuringEntity").chain(with_role(releases, "procuringEntity"))
}

/// An organisation from a reference or party; `None` without a name.
fn organisation(reference: &Json, releases: &[&Json]) -> Option<Organisation> {
    let party = party(reference, releases).unwrap_or(reference);
    let name = [reference.at("name"), party.at("name")];
    let legal = [reference.at("identifier.legalName"), party.at("identifier.legalName")];
    let name = name.into_iter().chain(legal).filter_map(Json::text).find_map(text::line)?;
    let (name, _) = text::cut(name, text::LINE_BYTES);
    let flag = |paths: &[&str]| party.first(paths).flag();
    let scale = party.str("details.scale").map(str::to_lowercase);
    Some(Organisation {
        name,
        identifiers: identifiers(reference, party),
        scale: scale
            .filter(|scale| scale.len() <= IDENTIFIER_BYTES)
            .or_else(|| flag(&["sme"])?.then(|| "sme".to_owned())),
        vcse: flag(&["details.vcse", "vco", "vcse"]),
        withheld: None,
    })
}

/// The party that a reference means.
fn party<'a>(reference: &Json, releases: &[&'a Json]) -> Option<&'a Json> {
    let id = reference.str("id")?;
    let name = reference.str("name");
    let mut parties = releases
        .iter()
        .flat_map(|release| release.list("parties"))
        .filter(|party| party.str("id") == Some(id));
    let first = parties.next()?;
    let exact = std::iter::once(first).chain(parties).find(|party| party.str("name") == name);
    Some(exact.unwrap_or(first))
}

/// Identifiers of a party and of the reference to it, the best first.
fn identifiers(reference: &Json, party: &Json) -> Vec<Identifier> {
    let mut found: Vec<Identifier> = Vec::new();
    let mut add = |identifier: Option<Identifier>| {
        if let Some(identifier) = identifier
            && !found.contains(&identifier)
            && found.len() < IDENTIFIERS
        {
            found.push(identifier);
        }
    };
    for source in [party, reference] {
        add(registered(source.str("identifier.scheme"), source.str("identifier.id")));
        for further in source.list("additionalIdentifiers") {
            add(registered(further.str("scheme"), further.str("id")));
        }
        add(source.str("id").and_then(joined));
    }
    found
}

/// A scheme and an id that together mean something.
fn registered(scheme: Option<&str>, id: Option<&str>) -> Option<Identifier> {
    let (scheme, id) = (scheme?, id?);
    let digits_only_noughts = id.bytes().all(|b| b == b'0');
    let fits = scheme.len() <= IDENTIFIER_BYTES && id.len() <= IDENTIFIER_BYTES;
    let meant = fits
        && !digits_only_noughts
        && !text::is_placeholder(id)
        && !text::is_placeholder(scheme)
        && !PLATFORM_SCHEMES.contains(&scheme);
    meant.then(|| Identifier { scheme: Some(scheme.to_owned()), id: Some(id.to_owned()) })
}

/// An id that names its register itself, as org-id.guide has it: `GB-COH-09438364`.
fn joined(id: &str) -> Option<Identifier> {
    let (scheme, id) = organisation::split(id)?;
    // Systems make up ids with hyphens, too; registers are written in capitals.
    let capital = |b: u8| b.is_ascii_uppercase() || b == b'-';
    scheme.bytes().all(capital).then(|| registered(Some(&scheme), Some(id))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::from(serde_json::from_str::<serde_json::Value>(text).unwrap())
    }

    fn ids(organisation: &Organisation) -> Vec<String> {
        organisation.identifiers.iter().filter_map(Identifier::joined).collect()
    }

    #[test]
    fn one_id_with_two_names_is_joined_by_name() {
        let release = json(
            r#"{"parties": [
                {"id": "7", "name": "Ambleford Council", "roles": "buyer",
                 "identifier": {"scheme": "GB-LAE", "id": "AMB"}},
                {"id": "7", "name": "Ambleford Leisure", "roles": ["procuringEntity"],
                 "identifier": {"scheme": "GB-COH", "id": "00000042"}}],
                "buyer": {"id": 7, "name": "Ambleford Leisure"}}"#,
        );
        let found = buyers(&[&release]);
        assert_eq!(found.len(), 2);
        assert_eq!(ids(&found[0]), ["GB-COH-00000042"]);
        assert_eq!(ids(&found[1]), ["GB-LAE-AMB"]);
    }

    #[test]
    fn only_ids_that_mean_something_elsewhere_are_kept() {
        for (id, want) in [
            ("GB-COH-09438364", Some("GB-COH-09438364")),
            ("GB-PPON-PHTN-1551-GCQH", Some("GB-PPON-PHTN-1551-GCQH")),
            ("GB-CFS-18525", None),
            ("GB-FTS-176944", None),
            ("org-3", None),
            ("1", None),
            ("f56445f47005c667f83e94bbc5c5d6f1", None),
            ("GB-COH-N/A", None),
            ("GB-COH-00000000", None),
        ] {
            let release = json(&format!(r#"{{"buyer": {{"id": "{id}", "name": "Somebody"}}}}"#));
            let found = buyers(&[&release]);
            assert_eq!(ids(&found[0]).first().map(String::as_str), want, "{id}");
        }
    }

    #[test]
    fn a_procuring_entity_stands_in_for_the_buyer() {
        let old =
            json(r#"{"tender": {"procuringEntity": {"name": "Municipality"}}, "buyer": null}"#);
        assert_eq!(buyers(&[&old])[0].name, "Municipality");
        assert!(buyers(&[&json("{}")]).is_empty());
    }

    #[test]
    fn a_withheld_supplier_loses_its_number_and_nobody_is_no_supplier() {
        let release = json(
            r#"{"parties": [{"id": "GB-PPON-PAAA-1111-AAAA", "name": "Withheld Section94 supplier"}]}"#,
        );
        let mut remarks = Remarks::new();
        let reference = json(r#"{"id": "GB-PPON-PAAA-1111-AAAA"}"#);
        let found = supplier(&reference, &[&release], &mut remarks).unwrap();
        assert!(found.withheld.is_some() && found.identifiers.is_empty());
        let nobody = json(r#"{"name": "NOT AWARDED TO SUPPLIER"}"#);
        assert_eq!(supplier(&nobody, &[&release], &mut remarks), None);
        assert_eq!(remarks.into_list().len(), 1);
    }
}
