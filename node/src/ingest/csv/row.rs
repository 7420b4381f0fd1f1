//! One row of a table as a record.

use tallystick_protocol::organisation;
use tallystick_protocol::record::contract::{Contract, Framework, Item, ProcurementMethod};
use tallystick_protocol::record::money::{Currency, Money, Value, ValueKind};
use tallystick_protocol::record::part::{Organisation, Source};
use tallystick_protocol::record::pipeline::{Pipeline, Stage};

use super::super::buyer::{self, SupplierCell};
use super::super::contracts_finder::{self, TENDER_PART};
use super::super::remark::{Remarks, quoted, vat_basis};
use super::super::{Draft, Refusal, amount, date, text};
use super::Cells;
use super::column::Column;

/// Longest title made of a description, in bytes.
const TITLE_BYTES: usize = 120;

/// The record that a row gives.
///
/// # Errors
/// [`Refusal`] if it has neither title nor description, or no buyer.
pub(super) fn draft(
    cells: &Cells<'_>,
    notice_id: String,
    part: Option<String>,
    digest: String,
) -> Result<Draft, Refusal> {
    let mut remarks = Remarks::new();
    let buyer = buyer(cells, &mut remarks)?;
    let supplier = buyer::supplier(&cells.get(Column::Supplier));
    let finder = cells.is_contracts_finder();
    let not_awarded = matches!(supplier, SupplierCell::NotAwarded(_)) && finder;
    let tender = cells.get(Column::Title).trim().is_empty()
        && !cells.get(Column::TenderTitle).trim().is_empty();
    let planned = tender || not_awarded;
    let part = if planned {
        Some(part.map_or_else(|| TENDER_PART.to_owned(), |part| format!("{TENDER_PART}-{part}")))
    } else {
        part
    };
    let system = if finder {
        contracts_finder::SYSTEM.to_owned()
    } else {
        format!("transparency-register:{}", buyer::normalised(&buyer.name))
    };
    let source = Source {
        system: Some(system),
        notice_id: Some(notice_id),
        part,
        release_id: text::line(&cells.get(Column::NoticeId)),
        published: date::moment(&cells.get(Column::Published)),
        url: text::line(&cells.get(Column::Url)).filter(|url| url.starts_with("http")),
        digest: Some(digest),
    };
    let title = title(cells, &mut remarks)?;
    let buyers = vec![buyer.clone()];
    let head = Head { title, buyer, source };
    contracts_finder::remark_on_supplier(&supplier, &mut remarks);
    let record = if planned {
        let stage = if not_awarded { Stage::Withdrawn } else { Stage::Tender };
        pipeline(cells, head, stage, &mut remarks).into()
    } else {
        contract(cells, head, &supplier, &mut remarks).into()
    };
    Ok(Draft { record, buyers, warnings: remarks.into_list() })
}

/// What both kinds take from a row.
struct Head {
    title: String,
    buyer: Organisation,
    source: Source,
}

fn title(cells: &Cells<'_>, remarks: &mut Remarks) -> Result<String, Refusal> {
    for column in [Column::Title, Column::TenderTitle] {
        if let Some(title) = remarks.line("title", &cells.get(column)) {
            return Ok(title);
        }
    }
    let description = text::block(&cells.get(Column::Description));
    let first = description.as_deref().and_then(|d| d.lines().next());
    match first {
        Some(first) => {
            remarks.note("it has no title, so its description begins the title");
            Ok(text::cut(first.to_owned(), TITLE_BYTES).0)
        }
        None => Err(Refusal::new("the row has no title and no description")),
    }
}

fn buyer(cells: &Cells<'_>, remarks: &mut Remarks) -> Result<Organisation, Refusal> {
    let named = remarks.line("buyer", &cells.get(Column::Buyer));
    match (named, &cells.table.register) {
        (Some(name), _) => {
            let id = identified(&cells.get(Column::BuyerScheme), &cells.get(Column::BuyerId));
            let buyer = Organisation::named(name);
            Ok(match id {
                Some((scheme, id)) => buyer.with_identifier(scheme, id),
                None => buyer,
            })
        }
        (None, Some(register)) => Ok(register.clone()),
        (None, None) => Err(Refusal::new("the row names no buyer")),
    }
}

fn identified(scheme: &str, id: &str) -> Option<(String, String)> {
    let known = |raw: &str| text::line(raw).filter(|text| !text::is_placeholder(text));
    Some((known(scheme)?, known(id)?))
}

fn contract(
    cells: &Cells<'_>,
    head: Head,
    supplier: &SupplierCell,
    remarks: &mut Remarks,
) -> Contract {
    let currency = remarks.currency(&cells.get(Column::Currency), &Currency::gbp());
    let mut cpv = cpv(cells, remarks).into_iter();
    let details = remarks.line("procurement route", &cells.get(Column::Process));
    let (value, items) = values(cells, &currency, remarks);
    let start = remarks.day("start date", &cells.get(Column::Start));
    let end = remarks.day("end date", &cells.get(Column::End));
    let max_extent = remarks.day("latest end date", &cells.get(Column::MaxExtent));
    let mut period = remarks.period(start, end);
    if max_extent.is_some() {
        period.get_or_insert_default().max_extent_date = max_extent;
    }
    let framework = remarks.line("framework", &cells.get(Column::Framework));
    Contract {
        title: head.title,
        ocid: text::line(&cells.get(Column::Ocid)),
        description: remarks.block("description", &cells.get(Column::Description)),
        reference: remarks
            .line("reference", &cells.get(Column::Reference))
            .filter(|reference| !text::is_placeholder(reference)),
        buyer: Some(head.buyer),
        suppliers: suppliers(cells, supplier, remarks),
        cpv: cpv.next(),
        additional_cpv: cpv.collect(),
        main_procurement_category: category(&cells.get(Column::Category)),
        procurement_method: details.as_deref().and_then(method),
        procurement_method_details: details,
        value,
        irrecoverable_vat: money(cells, Column::IrrecoverableVat, &currency, remarks),
        period,
        items,
        date_signed: remarks.day("date of award", &cells.get(Column::Signed)),
        status: status(&cells.get(Column::Status)),
        framework: framework
            .filter(|title| !text::is_placeholder(title) && yes_or_no(title).is_none())
            .map(|title| Framework { title: Some(title), ..Framework::default() }),
        department: remarks.line("department", &cells.get(Column::Department)),
        owner_mailbox: text::line(&cells.get(Column::Mailbox)).filter(|m| m.contains('@')),
        review_date: remarks.day("review date", &cells.get(Column::Review)),
        source: Some(head.source),
        ..Contract::default()
    }
}

fn pipeline(cells: &Cells<'_>, head: Head, stage: Stage, remarks: &mut Remarks) -> Pipeline {
    let currency = remarks.currency(&cells.get(Column::Currency), &Currency::gbp());
    let mut cpv = cpv(cells, remarks).into_iter();
    let mut value =
        |column: Column| remarks.value("value", &cells.get(column), &currency, ValueKind::Estimate);
    let value = value(Column::EstimatedValue).or_else(|| value(Column::Value));
    let published = cells.get(Column::Published);
    let start = remarks.day("start date", &cells.get(Column::Start));
    let end = remarks.day("end date", &cells.get(Column::End));
    Pipeline {
        title: head.title,
        ocid: text::line(&cells.get(Column::Ocid)),
        description: remarks.block("description", &cells.get(Column::Description)),
        buyer: Some(head.buyer),
        cpv: cpv.next(),
        additional_cpv: cpv.collect(),
        main_procurement_category: category(&cells.get(Column::Category)),
        value,
        notice_date: remarks.day("date of notice", &published),
        tender_end_date: remarks.day("deadline", &cells.get(Column::TenderEnd)),
        period: remarks.period(start, end),
        status: (stage == Stage::Withdrawn).then(|| "unsuccessful".to_owned()),
        stage: Some(stage),
        department: remarks.line("department", &cells.get(Column::Department)),
        source: Some(head.source),
        ..Pipeline::default()
    }
}

fn cpv(cells: &Cells<'_>, remarks: &mut Remarks) -> Vec<String> {
    let scheme = cells.get(Column::CpvScheme);
    if scheme.trim().is_empty() || scheme.trim().eq_ignore_ascii_case("cpv") {
        remarks.cpv(&cells.get(Column::Cpv))
    } else {
        Vec::new()
    }
}

/// The value over the whole period, and annual budgets as items.
fn values(
    cells: &Cells<'_>,
    currency: &Currency,
    remarks: &mut Remarks,
) -> (Option<Value>, Vec<Item>) {
    let mut value = None;
    let mut items = Vec::new();
    for (column, kind) in [
        (Column::Value, ValueKind::Actual),
        (Column::ValueOrAnnual, ValueKind::Unknown),
        (Column::EstimatedValue, ValueKind::Estimate),
    ] {
        let Some((heading, cell)) = cells.heading_and_cell(column) else { continue };
        let annual =
            amount::read(&cell, currency.exponent()).ok().flatten().is_some_and(|a| a.annual);
        if annual {
            items.extend(money(cells, column, currency, remarks).map(per_year));
        } else if value.is_none() {
            value = remarks.value("value", &cell, currency, kind).map(|value| Value {
                vat: value.vat.or_else(|| heading.vat_included.map(vat_basis)),
                ..value
            });
        }
    }
    items.extend(money(cells, Column::AnnualValue, currency, remarks).map(per_year));
    items.retain(|item| item.unit_price.as_ref().is_some_and(|p| p.amount != Some(0)));
    (value, items)
}

fn per_year(unit_price: Money) -> Item {
    Item {
        description: Some("Annual budget".to_owned()),
        unit_price: Some(unit_price),
        price_basis: Some("year".to_owned()),
        ..Item::default()
    }
}

fn money(
    cells: &Cells<'_>,
    column: Column,
    currency: &Currency,
    remarks: &mut Remarks,
) -> Option<Money> {
    let name =
        if column == Column::IrrecoverableVat { "irrecoverable VAT" } else { "annual value" };
    let cell = cells.get(column);
    // Registers also write yes or no here; neither is an amount.
    if yes_or_no(&cell).is_some() && !cell.trim().starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    remarks.money(name, &cell, currency)
}

fn suppliers(
    cells: &Cells<'_>,
    supplier: &SupplierCell,
    remarks: &mut Remarks,
) -> Vec<Organisation> {
    let Some(mut organisation) = supplier.organisation() else { return Vec::new() };
    if !matches!(supplier, SupplierCell::One(_)) {
        return vec![organisation];
    }
    let both = cells.get(Column::SmeOrVcse).to_lowercase();
    let says = |word: &str| both.split(|c: char| !c.is_alphanumeric()).any(|w| w == word);
    let sme = yes_or_no(&cells.get(Column::Sme)).or_else(|| says("sme").then_some(true));
    let vcse = yes_or_no(&cells.get(Column::Vcse))
        .or_else(|| (says("vcse") || says("voluntary") || says("charity")).then_some(true));
    organisation.scale = sme.map(|sme| if sme { "sme" } else { "large" }.to_owned());
    organisation.vcse = vcse;
    let id = identified(&cells.get(Column::SupplierScheme), &cells.get(Column::SupplierId))
        .or_else(|| registered(cells, remarks));
    if let Some((scheme, id)) = id {
        organisation = organisation.with_identifier(scheme, id);
    }
    vec![organisation]
}

/// The identifier that a registration number column holds.
fn registered(cells: &Cells<'_>, remarks: &mut Remarks) -> Option<(String, String)> {
    let number = |column: Column| -> Option<String> {
        let cell = cells.get(column);
        let plain: String = cell.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let sound = (4..=10).contains(&plain.len()) && plain.bytes().any(|b| b.is_ascii_digit());
        (sound && !text::is_placeholder(&cell)).then(|| plain.to_ascii_uppercase())
    };
    let company = |number: &str| organisation::company_number(number);
    if let Some(found) = number(Column::CompanyNumber).filter(|n| n.len() <= 8) {
        return Some(("GB-COH".to_owned(), company(&found)));
    }
    if let Some(found) = number(Column::CharityNumber) {
        return Some(("GB-CHC".to_owned(), found));
    }
    let found = number(Column::RegistrationNumber)?;
    if found.len() == 8 {
        return Some(("GB-COH".to_owned(), found));
    }
    remarks.note(format!(
        "the registration number {} may be a company's or a charity's and was left out",
        quoted(&found)
    ));
    None
}

fn yes_or_no(raw: &str) -> Option<bool> {
    match raw.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "1" | "sme" | "vcse" => Some(true),
        "n" | "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// OCDS `method` for what registers write about how a contract came about.
fn method(details: &str) -> Option<ProcurementMethod> {
    let details = details.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| details.contains(w));
    if says(&[
        "direct",
        "single",
        "waiver",
        "exemption",
        "without competition",
        "negotiated without",
    ]) {
        Some(ProcurementMethod::Direct)
    } else if says(&["restricted", "selective", "competitive dialogue", "competitive flexible"]) {
        Some(ProcurementMethod::Selective)
    } else if says(&["framework", "call-off", "call off", "mini", "dps", "dynamic"]) {
        None
    } else if says(&["quot", "rfq", "itq"]) && !says(&["tender"]) {
        Some(ProcurementMethod::Limited)
    } else if says(&["open", "published invitation to tender"]) || details.trim() == "tender" {
        Some(ProcurementMethod::Open)
    } else {
        None
    }
}

fn category(raw: &str) -> Option<String> {
    let text = raw.trim().to_ascii_lowercase();
    ["goods", "works", "services"].into_iter().find(|known| *known == text).map(str::to_owned)
}

/// OCDS `contractStatus` for what registers write.
fn status(raw: &str) -> Option<String> {
    let known = match raw.trim().to_ascii_lowercase().as_str() {
        "active" | "live" | "current" | "open" | "in force" => "active",
        "expired" | "ended" | "complete" | "completed" | "closed" | "terminated" => "terminated",
        "pending" | "planned" | "not started" | "future" => "pending",
        "cancelled" | "withdrawn" => "cancelled",
        _ => return None,
    };
    Some(known.to_owned())
}
