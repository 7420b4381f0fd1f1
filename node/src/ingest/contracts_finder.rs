//! Notices of Contracts Finder as its search gives them: flat JSON objects.
//!
//! Two spellings are read: the search interface's own (`organisationName`,
//! `awardedSupplier`, also wrapped in `{"item": …}` inside a `noticeList`) and
//! flat lines with underscores (`organisation`, `awarded_supplier`).
//!
//! | status | type | supplier | becomes |
//! |---|---|---|---|
//! | awarded | any | a name, several, kept back, none given | contract |
//! | awarded | any | `NOT AWARDED TO SUPPLIER` and the like | pipeline, stage *withdrawn* |
//! | withdrawn, cancelled | any | | pipeline, stage *withdrawn* |
//! | open, closed, other | early engagement | | pipeline, stage *market engagement* |
//! | open, closed, other | pipeline, future opportunity | | pipeline, stage *planned* |
//! | open, closed, other | contract | | pipeline, stage *tender* |
//!
//! A closed notice is kept: no award was published, which an officer looking
//! for somebody with the same need wants to know. Its `status` says so.
//!
//! **Identity.** System `contracts-finder`, notice id = the notice's GUID, which
//! is also the beginning of the release id of the same notice in OCDS and of its
//! `Notice ID` in CSV ([`notice_id`]). A notice that becomes a contract has no
//! part; one that becomes a pipeline entry has part `tender`, so that the entry
//! and the later contract are two records of two kinds.
//!
//! Amounts of 0 and 1 are *not known*. Deliberately absent: contract dates and
//! framework ceilings, which the search does not give, and people's contact data.

use serde_json::{Map, Value};
use tallystick_protocol::record::contract::Contract;
use tallystick_protocol::record::money::{Currency, ValueKind};
use tallystick_protocol::record::part::{Organisation, Source};
use tallystick_protocol::record::pipeline::{Pipeline, Stage};

use super::buyer::{self, SupplierCell};
use super::remark::{Remarks, quoted};
use super::{Draft, Refusal, date, text};

/// System of every notice of Contracts Finder, whichever format it came in.
pub const SYSTEM: &str = "contracts-finder";
/// Part of a record made from a notice before its award.
pub const TENDER_PART: &str = "tender";

/// The GUID in a Contracts Finder notice or release id; the whole id if it begins with none.
///
/// `ocds-b5fd17-GUID-123456-reference`, `GUID-123456-reference` and `GUID` give `GUID`.
#[must_use]
pub fn notice_id(id: &str) -> Option<String> {
    let id = id.trim().to_ascii_lowercase();
    let bare = id.strip_prefix("ocds-b5fd17-").unwrap_or(&id);
    let guid = bare.get(..36).filter(|guid| is_guid(guid));
    Some(guid.unwrap_or(bare).to_owned()).filter(|id| !id.is_empty())
}

fn is_guid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// One notice, whichever spelling its members have.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a>(&'a Map<String, Value>);

/// `object` as a notice, if it is one.
#[must_use]
pub fn notice(object: &Map<String, Value>) -> Option<Notice<'_>> {
    let inner = match object.get("item") {
        Some(Value::Object(item)) => item,
        _ => object,
    };
    let notice = Notice(inner);
    let other = ["ocid", "tender", "awards"].iter().any(|key| inner.contains_key(*key));
    let has = |names: &[&str]| names.iter().any(|name| inner.contains_key(*name));
    let known = has(&["title"]) && has(STATUS) && has(ORGANISATION);
    (known && !other).then_some(notice)
}

const ORGANISATION: &[&str] = &["organisation", "organisationName"];
const STATUS: &[&str] = &["status", "noticeStatus"];

impl Notice<'_> {
    /// The first of the members that holds text or a number, as text; else nothing.
    fn text(&self, names: &[&str]) -> String {
        names
            .iter()
            .find_map(|name| match self.0.get(*name)? {
                Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Array(list) => {
                    let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                    (!texts.is_empty()).then(|| texts.join(" "))
                }
                _ => None,
            })
            .unwrap_or_default()
    }

    fn flag(&self, names: &[&str]) -> Option<bool> {
        names.iter().find_map(|name| self.0.get(*name)?.as_bool())
    }
}

/// The records that a notice gives.
///
/// # Errors
/// [`Refusal`] if it has no title, buyer or id.
pub fn drafts(notice: Notice<'_>, digest: &str) -> Result<Vec<Draft>, Refusal> {
    let mut remarks = Remarks::new();
    let title = remarks
        .line("title", &notice.text(&["title"]))
        .ok_or_else(|| Refusal::new("the notice has no title"))?;
    let name = remarks
        .line("buyer", &notice.text(ORGANISATION))
        .ok_or_else(|| Refusal::new(format!("the notice {} names no buyer", quoted(&title))))?;
    let id = notice_id(&notice.text(&["id", "noticeIdentifier"]))
        .ok_or_else(|| Refusal::new(format!("the notice {} has no id", quoted(&title))))?;
    let status = text::line(&notice.text(STATUS)).unwrap_or_default().to_ascii_lowercase();
    let supplier = buyer::supplier(&notice.text(&["awarded_supplier", "awardedSupplier"]));
    let awarded = status == "awarded" && !matches!(supplier, SupplierCell::NotAwarded(_));
    let head = Head {
        title,
        description: remarks.block("description", &notice.text(&["description"])),
        buyer: Organisation::named(name),
        cpv: remarks.cpv(&notice.text(&["cpv_codes", "cpvCodes"])),
        source: Source {
            system: Some(SYSTEM.to_owned()),
            notice_id: Some(id),
            part: (!awarded).then(|| TENDER_PART.to_owned()),
            release_id: None,
            published: date::moment(&notice.text(&["published_date", "publishedDate"])),
            url: text::line(&notice.text(&["url"])).filter(|url| url.starts_with("http")),
            digest: Some(digest.to_owned()),
        },
    };
    let buyers = vec![head.buyer.clone()];
    remark_on_supplier(&supplier, &mut remarks);
    let record = if awarded {
        contract(notice, head, &supplier, &mut remarks).into()
    } else {
        pipeline(notice, head, &status, &supplier, &mut remarks).into()
    };
    Ok(vec![Draft { record, buyers, warnings: remarks.into_list() }])
}

/// What both kinds take from a notice.
struct Head {
    title: String,
    description: Option<String>,
    buyer: Organisation,
    cpv: Vec<String>,
    source: Source,
}

fn contract(
    notice: Notice<'_>,
    head: Head,
    supplier: &SupplierCell,
    remarks: &mut Remarks,
) -> Contract {
    let mut suppliers: Vec<Organisation> = supplier.organisation().into_iter().collect();
    if let (SupplierCell::One(_), [only]) = (supplier, suppliers.as_mut_slice()) {
        only.scale = notice
            .flag(&["awarded_to_sme", "awardedToSme"])
            .map(|sme| if sme { "sme" } else { "large" }.to_owned());
    }
    let mut cpv = head.cpv.into_iter();
    let gbp = Currency::gbp();
    let value = notice.text(&["awarded_value", "awardedValue"]);
    let awarded = notice.text(&["awarded_date", "awardedDate"]);
    let start = remarks.day("start date", &notice.text(&["start"]));
    let end = remarks.day("end date", &notice.text(&["end"]));
    Contract {
        title: head.title,
        description: head.description,
        buyer: Some(head.buyer),
        suppliers,
        cpv: cpv.next(),
        additional_cpv: cpv.collect(),
        value: remarks.value("value", &value, &gbp, ValueKind::Actual),
        date_signed: remarks.day("date of award", &awarded),
        period: remarks.period(start, end),
        source: Some(head.source),
        ..Contract::default()
    }
}

fn pipeline(
    notice: Notice<'_>,
    head: Head,
    status: &str,
    supplier: &SupplierCell,
    remarks: &mut Remarks,
) -> Pipeline {
    let kind: String = notice
        .text(&["notice_type", "noticeType"])
        .chars()
        .filter(|c| c.is_ascii_alphabetic())
        .collect::<String>()
        .to_ascii_lowercase();
    let not_awarded = matches!(supplier, SupplierCell::NotAwarded(_));
    let stage = match kind.as_str() {
        _ if not_awarded || matches!(status, "withdrawn" | "cancelled") => Stage::Withdrawn,
        "preprocurement" | "earlyengagement" => Stage::MarketEngagement,
        "pipeline" | "future" | "futureopportunity" => Stage::Planned,
        _ => Stage::Tender,
    };
    let gbp = Currency::gbp();
    let mut value = |name: &str, names: &[&str]| {
        remarks.value(name, &notice.text(names), &gbp, ValueKind::Estimate)
    };
    let low = value("lower value", &["value_low", "valueLow"]);
    let high = value("upper value", &["value_high", "valueHigh"]);
    let mut cpv = head.cpv.into_iter();
    let start = remarks.day("start date", &notice.text(&["start"]));
    let end = remarks.day("end date", &notice.text(&["end"]));
    Pipeline {
        title: head.title,
        description: head.description,
        buyer: Some(head.buyer),
        cpv: cpv.next(),
        additional_cpv: cpv.collect(),
        value: high.or(low),
        notice_date: remarks
            .day("date of notice", &notice.text(&["published_date", "publishedDate"])),
        tender_end_date: remarks.day("deadline", &notice.text(&["deadline_date", "deadlineDate"])),
        period: remarks.period(start, end),
        stage: Some(stage),
        status: Some(if not_awarded { "unsuccessful" } else { status }.to_owned())
            .filter(|status| !status.is_empty()),
        source: Some(head.source),
        ..Pipeline::default()
    }
}

/// Says what became of a supplier cell that is not one firm's name.
pub(super) fn remark_on_supplier(supplier: &SupplierCell, remarks: &mut Remarks) {
    match supplier {
        SupplierCell::Several(text) => remarks.note(format!(
            "the supplier field {} names several firms or none; kept as text, not as an organisation",
            quoted(text)
        )),
        SupplierCell::Withheld(text) => remarks.note(format!(
            "the supplier's name is kept back ({}); not kept as an organisation",
            quoted(text)
        )),
        SupplierCell::NotAwarded(text) => {
            remarks.note(format!("the supplier field says {}", quoted(text)));
        }
        SupplierCell::One(_) | SupplierCell::Empty => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tallystick_protocol::record::Record;

    use super::*;

    const GUID: &str = "aa3cbb34-ce2c-487c-a94a-dba7cc088ac4";

    fn read(value: &Value) -> Result<Draft, Refusal> {
        let object = value.as_object().unwrap();
        drafts(notice(object).expect("a notice"), "d").map(|mut list| list.remove(0))
    }

    fn flat(status: &str, kind: &str, supplier: Value) -> Value {
        json!({
            "id": GUID, "title": "Parks &amp; play", "description": "Lot 1 \\r\r\nplay",
            "organisation": "Ashby Borough Council", "status": status, "notice_type": kind,
            "published_date": "2026-02-26", "deadline_date": "2025-09-15",
            "awarded_date": "2026-02-25", "value_low": 8_000_000, "value_high": 0,
            "awarded_value": 72446.4, "awarded_supplier": supplier, "awarded_to_sme": true,
            "cpv_codes": "45000000 45112700", "url": "https://example.invalid/n"
        })
    }

    #[test]
    fn an_awarded_notice_is_a_contract() {
        let draft = read(&flat("awarded", "Contract", json!("Brook &amp; Co Ltd"))).unwrap();
        let Record::Contract(contract) = &draft.record else { panic!("{draft:?}") };
        assert_eq!(contract.title, "Parks & play");
        assert_eq!(contract.description.as_deref(), Some("Lot 1\nplay"));
        assert_eq!(contract.value.as_ref().unwrap().amount, Some(7_244_640));
        assert_eq!(contract.date_signed.as_ref().unwrap().as_str(), "2026-02-25");
        assert_eq!(contract.additional_cpv, ["45112700"]);
        assert_eq!(contract.suppliers[0].name, "Brook & Co Ltd");
        assert_eq!(contract.suppliers[0].scale.as_deref(), Some("sme"));
        assert_eq!(
            draft.record.source_key().as_deref(),
            Some("contracts-finder|aa3cbb34-ce2c-487c-a94a-dba7cc088ac4|")
        );
        assert!(draft.warnings.is_empty() && draft.record.validate().is_ok());
    }

    #[test]
    fn the_table_of_kinds_holds() {
        for (status, kind, supplier, stage) in [
            ("awarded", "Contract", json!("NOT AWARDED TO SUPPLIER"), Stage::Withdrawn),
            ("withdrawn", "PreProcurement", json!(null), Stage::Withdrawn),
            ("closed", "PreProcurement", json!(null), Stage::MarketEngagement),
            ("open", "Pipeline", json!(null), Stage::Planned),
            ("closed", "Contract", json!(null), Stage::Tender),
        ] {
            let draft = read(&flat(status, kind, supplier)).unwrap();
            let Record::Pipeline(plan) = &draft.record else { panic!("{draft:?}") };
            assert_eq!(plan.stage, Some(stage), "{status} {kind}");
            assert_eq!(plan.value.as_ref().unwrap().amount, Some(800_000_000));
            assert!(draft.record.source_key().unwrap().ends_with("|tender"));
        }
    }

    #[test]
    fn a_cell_with_several_firms_is_no_organisation() {
        let draft = read(&flat("awarded", "Contract", json!("A Yates,B Lee Ltd"))).unwrap();
        let Record::Contract(contract) = &draft.record else { panic!("{draft:?}") };
        assert!(contract.suppliers[0].withheld.is_some() && contract.suppliers[0].scale.is_none());
        assert_eq!(draft.warnings.len(), 1);
    }

    #[test]
    fn the_search_interfaces_own_spelling_is_read() {
        let draft = read(&json!({"score": 1.0, "item": {
            "id": GUID, "title": "Roads", "organisationName": "Ashby", "noticeStatus": "Awarded",
            "awardedSupplier": "Brook Ltd", "awardedValue": 1, "publishedDate": "2026-02-26T10:00:00Z",
            "start": "2026-04-01T00:00:00", "end": "2029-03-31T00:00:00"
        }})).unwrap();
        let Record::Contract(contract) = &draft.record else { panic!("{draft:?}") };
        assert_eq!(contract.value, None, "1 is not known");
        assert_eq!(
            contract.period.as_ref().unwrap().end_date.as_ref().unwrap().as_str(),
            "2029-03-31"
        );
    }

    #[test]
    fn ids_of_every_format_give_the_guid() {
        for id in [
            GUID.to_owned(),
            GUID.to_uppercase(),
            format!("{GUID}-819950"),
            format!("ocds-b5fd17-{GUID}-359725-ref"),
            format!(" {GUID}-374146-x "),
        ] {
            assert_eq!(notice_id(&id).as_deref(), Some(GUID), "{id}");
        }
        assert_eq!(notice_id("8b14f[phone]f7-x").as_deref(), Some("8b14f[phone]f7-x"));
        assert_eq!(notice_id(" "), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut value = flat("awarded", "Contract", json!("Brook Ltd"));
        value["title"] = json!(" ");
        assert_eq!(read(&value).unwrap_err().reason, "the notice has no title");
        value["title"] = json!("Roads");
        value["organisation"] = json!(null);
        assert_eq!(read(&value).unwrap_err().reason, "the notice “Roads” names no buyer");
        assert!(notice(json!({"ocid": "x", "title": "t"}).as_object().unwrap()).is_none());
    }
}
