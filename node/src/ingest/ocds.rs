//! OCDS releases and records, as any publisher writes them, to records.
//!
//! What there is decides what a release becomes; its tag only says that
//! something ended, since publishers' tags and dates are often not what
//! happened (`tender` over an award of last year):
//!
//! | in the release | tag | becomes |
//! |---|---|---|
//! | `contracts[]` | any | one *contract* each, joined to its award by `awardID` |
//! | `awards[]` without a contract, status not `unsuccessful` | `award`, `awardUpdate`, `compiled`, any | one *contract* each |
//! | any of the two | `awardCancellation`, `contractTermination` | the same, status `cancelled`, `terminated` |
//! | `tender` only, status `planning`, `planned`, or none | `planning`, `planningUpdate`, any | *pipeline*, stage `planned`; `marketEngagement` if a notice or milestone of it says so |
//! | `tender` only, status `active` | `tender`, `tenderAmendment`, `tenderUpdate`, any | *pipeline*, stage `tender` |
//! | `tender` only, status `complete` | any | *pipeline*, stage `evaluation`; `awarded` if the tag is of an award or contract |
//! | `tender` only, or all awards `unsuccessful` | `tenderCancellation`, `awardCancellation`; status `cancelled`, `unsuccessful`, `withdrawn` | *pipeline*, stage `withdrawn` |
//! | `planning` only | any | *pipeline*, stage `planned` |
//! | none of them (`parties` or `implementation` only) | any | refused |
//!
//! **Where the dates are.** The end of a contract is looked for in
//! `contracts[].period`, then `awards[].contractPeriod`, then the lots the
//! award covers, then the tender, whose period is only the plan and is
//! remarked on as such. `durationInDays` with a start gives a computed end
//! (`period.endComputed`). Days are taken as written: `23:59:59+01:00` is not
//! moved to another day.
//!
//! **Identity.** The source key is system, notice and part. The notice is the
//! ocid; for Contracts Finder the GUID of the notice, which its other exports
//! have as well. The part is the contract's id, else the award's, without the
//! ocid in front; Contracts Finder's first award has none, and a pipeline entry
//! has `tender`. Of several
//! versions of one key the one with the later `source.published`, by its full
//! timestamp, is the newer.
//!
//! Deliberately absent: splitting files into items (`ingest/json.rs`), deciding
//! whose a record is, performance data (no publisher has any in OCDS yet),
//! contact persons and addresses.

mod json;
mod party;
mod process;
mod reading;

use serde_json::{Map, Value};
use tallystick_protocol::record::contract::{
    Contract, Framework, ProcurementMethod, RelatedProcess,
};
use tallystick_protocol::record::money::{self, Currency, ValueKind};
use tallystick_protocol::record::part::{Organisation, Period, Source};
use tallystick_protocol::record::pipeline::{Pipeline, Stage};
use tallystick_protocol::record::{Date, Record};

use self::json::Json;
use self::process::Process;
use self::reading::{Reading, code};
use super::contracts_finder::{SYSTEM as CONTRACTS_FINDER, TENDER_PART};
use super::remark::Remarks;
use super::{Draft, Refusal, text};

/// Most suppliers kept of one contract. With four identifiers each, and the
/// bounds of items and lots, a contract stays under the limits of a body.
const SUPPLIERS: usize = 200;
/// Most related processes kept.
const RELATED: usize = 16;
/// OCDS `procurementCategory` with the EU profile's additions.
const CATEGORIES: [&str; 3] = ["goods", "works", "services"];

/// Whether an object of a JSON file is meant to be an OCDS release or record, or holds one.
#[must_use]
pub fn is_item(object: &Map<String, Value>) -> bool {
    const MARKS: [&str; 9] = [
        "ocid",
        "tender",
        "awards",
        "contracts",
        "planning",
        "parties",
        "release",
        "releases",
        "compiledRelease",
    ];
    MARKS.iter().any(|key| object.contains_key(*key))
}

/// The records that one item of an OCDS file gives; `digest` is that of its bytes.
///
/// # Errors
/// [`Refusal`] if it is no release or record, or says nothing that can be kept.
pub fn drafts(item: Value, digest: &str) -> Result<Vec<Draft>, Refusal> {
    let process = Process::new(Json::from(item)).map_err(Refusal::new)?;
    let source = process.source(digest);
    let system = source.system.as_deref().unwrap_or_default();
    let british = ["contracts-finder", "find-a-tender", "sell2wales", "public-contracts-scotland"];
    let shared = Shared {
        buyers: party::buyers(&process.all()),
        currency: british.iter().any(|s| system.starts_with(s)).then(Currency::gbp),
        source,
        process: &process,
    };
    let agreements = agreements(&process);
    if agreements.is_empty() { Ok(vec![shared.pipeline()?]) } else { shared.contracts(&agreements) }
}

/// What becomes one contract: a contract with its award, or either alone.
struct Agreement<'a> {
    contract: &'a Json,
    award: &'a Json,
}

/// The contracts of a process, each joined to its award, then the awards no contract refers to.
fn agreements(process: &Process) -> Vec<Agreement<'_>> {
    const NONE: &Json = &Json::Null;
    let awards = process.list("awards");
    let mut contracts = process.list("contracts");
    if contracts.is_empty() {
        // Paraguay's first exports.
        contracts = process.list("contract");
    }
    let refers = |contract: &Json, award: &Json| {
        let id = contract.str("awardID").or_else(|| contract.str("awardId"));
        id.is_some() && id == award.str("id")
    };
    let lone = matches!((contracts.as_slice(), awards.as_slice()), ([_], [_]));
    let mut found: Vec<Agreement<'_>> = Vec::new();
    for contract in &contracts {
        let named = awards.iter().find(|award| refers(contract, award));
        let only = awards.first().filter(|_| lone && contract.at("awardID").is_blank());
        let award = named.or(only).copied().unwrap_or(NONE);
        found.push(Agreement { contract, award });
    }
    for award in awards {
        let joined = found.iter().any(|known| std::ptr::eq(known.award, award));
        let unsuccessful =
            award.str("status").is_some_and(|s| s.eq_ignore_ascii_case("unsuccessful"));
        if !joined && !unsuccessful {
            found.push(Agreement { contract: NONE, award });
        }
    }
    found
}

/// What all records of one process share.
struct Shared<'a> {
    process: &'a Process,
    source: Source,
    buyers: Vec<Organisation>,
    currency: Option<Currency>,
}

impl<'a> Shared<'a> {
    fn reading(&self) -> Reading<'a> {
        let mut remarks = Remarks::new();
        if self.buyers.is_empty() {
            remarks.note("the release names no buyer");
        }
        Reading { process: self.process, remarks, currency: self.currency.clone() }
    }

    fn contracts(&self, agreements: &[Agreement<'_>]) -> Result<Vec<Draft>, Refusal> {
        let several = agreements.len() > 1;
        let drafts = agreements.iter().enumerate();
        drafts.map(|(at, agreement)| self.contract(agreement, at == 0, several)).collect()
    }

    fn contract(&self, of: &Agreement<'_>, first: bool, several: bool) -> Result<Draft, Refusal> {
        let mut reading = self.reading();
        let Agreement { contract, award } = *of;
        let tender = self.process.at("tender");
        let lots = match reading.lots(award.list("relatedLots")) {
            lots if lots.is_empty() && !several => self.process.list("tender.lots"),
            lots => lots,
        };
        let title = self.title(&mut reading, of, &lots, several)?;
        let (cpv, additional_cpv) = reading.codes(&[contract, award]);
        let (cpv, additional_cpv) = match cpv {
            Some(code) => (Some(code), additional_cpv),
            None => reading.codes(&[tender]),
        };
        let items = match contract.list("items") {
            [] => award.list("items"),
            items => items,
        };
        let framework = framework(tender);
        let record = Contract {
            ocid: self.process.at("ocid").text().map(str::to_owned),
            title,
            description: reading.block(
                "description",
                &[(contract, "description"), (award, "description"), (tender, "description")],
            ),
            reference: self.reference(&mut reading),
            buyer: self.buyers.first().cloned(),
            suppliers: self.suppliers(&mut reading, of, several),
            cpv,
            additional_cpv,
            main_procurement_category: category(&[award, tender], &mut reading.remarks),
            procurement_method: method(tender, &mut reading.remarks),
            procurement_method_details: method_details(tender, &mut reading),
            value: self.agreed_value(&mut reading, of, framework.is_some(), several),
            period: self.agreed_period(&mut reading, of, &lots),
            items: reading.items(items),
            lots: reading.lot_parts(&lots),
            date_signed: reading.day("date", &[(contract, "dateSigned"), (award, "date")]),
            status: self.status(of),
            framework,
            related_processes: related(self.process, &mut reading),
            source: Some(self.source_of(of, first)),
            ..Contract::default()
        };
        Ok(self.draft(record.into(), reading))
    }

    /// The first title that says something; with the lot's where several contracts share one.
    fn title(
        &self,
        reading: &mut Reading<'_>,
        of: &Agreement<'_>,
        lots: &[&Json],
        several: bool,
    ) -> Result<String, Refusal> {
        let own = reading.line("title", &[(of.contract, "title"), (of.award, "title")]);
        if let Some(own) = own {
            return Ok(own);
        }
        let shared = self.shared_title(reading);
        let lot = match lots {
            [lot] if several => reading.line("lot title", &[(lot, "title")]),
            _ => None,
        };
        match (shared, lot) {
            (Some(shared), Some(lot)) if shared != lot => {
                Ok(text::cut(format!("{shared}: {lot}"), text::LINE_BYTES).0)
            }
            (Some(title), _) | (None, Some(title)) => Ok(title),
            (None, None) => self.made_title(reading, of).ok_or_else(|| Refusal::new(NO_TITLE)),
        }
    }

    /// A title for a contract that has none anywhere, as in excerpts of a
    /// process: what its classification says and who supplies.
    fn made_title(&self, reading: &mut Reading<'_>, of: &Agreement<'_>) -> Option<String> {
        let words = [(of.contract, "description"), (of.award, "description")];
        let items = of.contract.list("items").iter().chain(of.award.list("items"));
        let classes = items.flat_map(|item| {
            std::iter::once(item.at("classification")).chain(item.list("additionalClassifications"))
        });
        let class = classes.filter_map(|class| class.str("description")).next();
        let subject = reading
            .line("title", &words)
            .or_else(|| class.and_then(|raw| reading.remarks.line("classification", raw)));
        let supplier = self.suppliers(reading, of, false).into_iter().next();
        let title = match (subject, supplier) {
            (Some(subject), Some(supplier)) => format!("{subject} ({})", supplier.name),
            (Some(text), None) => text,
            (None, Some(supplier)) => format!("Contract with {}", supplier.name),
            (None, None) => return None,
        };
        reading.remarks.note("the release has no title; this one was made from its contents");
        Some(text::cut(title, text::LINE_BYTES).0)
    }

    /// The title that all contracts of the process share.
    fn shared_title(&self, reading: &mut Reading<'_>) -> Option<String> {
        let (tender, planning) = (self.process.at("tender"), self.process.at("planning"));
        let titles = [tender.str("title"), self.process.at("title").text()];
        let described = [
            planning.str("project.title"),
            planning.str("budget.description"),
            planning.str("rationale"),
            tender.str("description"),
        ];
        let texts = titles.into_iter().chain(described).flatten();
        texts.into_iter().find_map(|raw| reading.words("title", raw))
    }

    /// The buyer's own reference: the tender's id, unless it is made from the ocid.
    fn reference(&self, reading: &mut Reading<'_>) -> Option<String> {
        let tender = self.process.at("tender");
        let ocid = self.process.at("ocid").text().unwrap_or("ocds-");
        reading.line("reference", &[(tender, "id")]).filter(|id| !id.starts_with(ocid))
    }

    fn suppliers(
        &self,
        reading: &mut Reading<'_>,
        of: &Agreement<'_>,
        several: bool,
    ) -> Vec<Organisation> {
        let releases = self.process.all();
        let mut references: Vec<&Json> = match of.contract.list("suppliers") {
            [] => of.award.list("suppliers").iter().collect(),
            own => own.iter().collect(),
        };
        if references.is_empty() && !several {
            references = party::with_role(&releases, "supplier").collect();
        }
        if references.len() > SUPPLIERS {
            reading.remarks.note(format!("suppliers beyond the first {SUPPLIERS} were left out"));
        }
        let mut found: Vec<Organisation> = Vec::new();
        for reference in references.into_iter().take(SUPPLIERS) {
            let supplier = party::supplier(reference, &releases, &mut reading.remarks);
            found.extend(supplier.filter(|supplier| !found.contains(supplier)));
        }
        found
    }

    /// The agreed value; of a lone contract without one, what the tender estimated.
    fn agreed_value(
        &self,
        reading: &mut Reading<'_>,
        of: &Agreement<'_>,
        framework: bool,
        several: bool,
    ) -> Option<money::Value> {
        let kind = if framework { ValueKind::Ceiling } else { ValueKind::Actual };
        let own = reading
            .value("contract value", of.contract.at("value"), kind.clone())
            .or_else(|| reading.value("award value", of.award.at("value"), kind));
        if own.is_some() || several {
            return own;
        }
        let estimate = self.process.at("tender.value");
        let found = reading.value("tender value", estimate, ValueKind::Estimate)?;
        reading.remarks.note("the value is the tender's estimate");
        Some(found)
    }

    fn agreed_period(
        &self,
        reading: &mut Reading<'_>,
        of: &Agreement<'_>,
        lots: &[&Json],
    ) -> Option<Period> {
        let own = reading
            .period("contract", of.contract.at("period"))
            .or_else(|| reading.period("contract", of.award.at("contractPeriod")));
        if own.as_ref().is_some_and(|period| period.end_date.is_some()) {
            return own;
        }
        let mut planned = reading.span(lots).or_else(|| {
            reading.period("planned contract", self.process.at("tender.contractPeriod"))
        });
        let Some(mut own) = own else {
            if planned.as_ref().is_some_and(|period| period.end_date.is_some()) {
                reading.remarks.note("the period is the one the tender planned");
            }
            return planned;
        };
        // A start alone: the plan's length or end completes it.
        if let Some(plan) = planned.take()
            && own.duration_in_days.is_none()
        {
            let start = own.start_date.as_ref().and_then(Date::day);
            let length = plan.duration_in_days.unwrap_or_default();
            own.duration_in_days = plan.duration_in_days;
            let computed = start.filter(|_| length > 0).and_then(|day| day.plus(length - 1));
            own.end_computed = computed.map(|_| true).filter(|_| plan.end_date.is_none());
            own.end_date = plan.end_date.or(computed.map(Date::from));
            if own.end_date.is_some() {
                reading.remarks.note("the end is the one the tender planned");
            }
        }
        Some(own)
    }

    /// OCDS `contractStatus`: of the contract, else as the award's status means it.
    fn status(&self, of: &Agreement<'_>) -> Option<String> {
        let tags = self.process.tags();
        let tagged = |tag: &str| tags.iter().any(|known| known == tag);
        let own = of.contract.str("status").or_else(|| of.award.str("status"));
        let own = own.unwrap_or_default().to_ascii_lowercase();
        let status = match own.as_str() {
            "cancelled" | "canceled" | "withdrawn" => "cancelled",
            _ if tagged("awardcancellation") => "cancelled",
            "terminated" | "closed" | "complete" => "terminated",
            _ if tagged("contracttermination") => "terminated",
            "pending" | "planned" | "planning" => "pending",
            "active" => "active",
            _ => return None,
        };
        Some(status.to_owned())
    }

    fn source_of(&self, of: &Agreement<'_>, first: bool) -> Source {
        let ocid = self.process.at("ocid").text().unwrap_or_default();
        let id = of.contract.str("id").or_else(|| of.award.str("id"));
        let part = id.map(|id| id.strip_prefix(ocid).unwrap_or(id).trim_start_matches('-'));
        let lone = first && self.source.system.as_deref() == Some(CONTRACTS_FINDER);
        let own = of.contract.first(&["url", "uri"]).text().or(of.award.str("url"));
        let documents = of.contract.list("documents").iter().chain(of.award.list("documents"));
        Source {
            part: part.filter(|part| !lone && !part.is_empty()).map(str::to_owned),
            url: own.filter(|url| is_url(url)).map(str::to_owned).or_else(|| self.url(documents)),
            ..self.source.clone()
        }
    }

    /// The page of the notice: a document that is one, else the release's own address.
    fn url<'b>(&self, documents: impl Iterator<Item = &'b Json>) -> Option<String> {
        let release = self.source.release_id.as_deref();
        let notice = |document: &&Json| {
            let kind = document.str("documentType").unwrap_or_default();
            kind.ends_with("Notice") || (release.is_some() && document.str("id") == release)
        };
        let page = documents.filter(notice).find_map(|document| document.str("url"));
        let own = || self.process.at("links").items().iter().find_map(|link| link.str("href"));
        let own = page.or_else(|| self.process.at("uri").text()).or_else(own);
        own.filter(|url| is_url(url)).map(str::to_owned)
    }

    fn pipeline(&self) -> Result<Draft, Refusal> {
        let mut reading = self.reading();
        let (tender, planning) = (self.process.at("tender"), self.process.at("planning"));
        if tender.is_blank() && planning.is_blank() {
            return Err(Refusal::new(NOTHING));
        }
        let stage = self.stage();
        let title = match self.shared_title(&mut reading) {
            Some(title) => title,
            None => {
                reading.line("title", &[(tender, "id")]).ok_or_else(|| Refusal::new(NO_TITLE))?
            }
        };
        let (cpv, additional_cpv) = reading.codes(&[tender]);
        let kind = ValueKind::Estimate;
        let value = ["value", "maxValue", "minValue"]
            .iter()
            .find_map(|path| reading.value("tender value", tender.at(path), kind.clone()))
            .or_else(|| reading.value("budget", planning.at("budget.amount"), kind.clone()));
        let lots = self.process.list("tender.lots");
        let documents = tender.list("documents").iter().chain(planning.list("documents"));
        let record = Pipeline {
            ocid: self.process.at("ocid").text().map(str::to_owned),
            title,
            description: reading
                .block("description", &[(tender, "description"), (planning, "rationale")]),
            reference: self.reference(&mut reading),
            buyer: self.buyers.first().cloned(),
            cpv,
            additional_cpv,
            main_procurement_category: category(&[tender], &mut reading.remarks),
            procurement_method_details: method_details(tender, &mut reading),
            value,
            notice_date: self.notice_date(&mut reading, &stage),
            tender_end_date: reading.day("closing date", &[(tender, "tenderPeriod.endDate")]),
            award_date: reading.day(
                "award date",
                &[(tender, "awardPeriod.endDate"), (tender, "awardPeriod.startDate")],
            ),
            period: reading
                .period("planned contract", tender.at("contractPeriod"))
                .or_else(|| reading.span(&lots)),
            stage: Some(stage),
            status: reading.line("status", &[(tender, "status")]),
            source: Some(Source {
                part: Some(TENDER_PART.to_owned()),
                url: self.url(documents),
                ..self.source.clone()
            }),
            ..Pipeline::default()
        };
        Ok(self.draft(record.into(), reading))
    }

    /// When the tender notice was, or will be, published.
    fn notice_date(&self, reading: &mut Reading<'_>, stage: &Stage) -> Option<Date> {
        let tender = self.process.at("tender");
        let expected =
            [(tender, "communication.futureNoticeDate"), (tender, "tenderPeriod.startDate")];
        let published = [(tender, "datePublished"), (tender, "tenderPeriod.startDate")];
        if matches!(stage, Stage::Planned | Stage::MarketEngagement) {
            return reading.day("notice date", &expected);
        }
        let own = self.process.published().and_then(|date| date.day()).map(Date::from);
        let tags = self.process.tags();
        reading
            .day("notice date", &published)
            .or_else(|| own.filter(|_| tags.iter().any(|tag| tag == "tender")))
    }

    fn stage(&self) -> Stage {
        let tags = self.process.tags();
        let tagged = |part: &str| tags.iter().any(|tag| tag.contains(part));
        let status = self.process.at("tender.status").text().unwrap_or_default().to_lowercase();
        let unsuccessful = !self.process.at("awards").is_blank();
        match status.as_str() {
            "cancelled" | "canceled" | "unsuccessful" | "withdrawn" => Stage::Withdrawn,
            _ if tagged("cancellation") || unsuccessful => Stage::Withdrawn,
            "active" => Stage::Tender,
            "complete" if tagged("award") || tagged("contract") => Stage::Awarded,
            "complete" => Stage::Evaluation,
            "planning" | "planned" => self.planned(),
            _ if tagged("award") || tagged("contract") => Stage::Awarded,
            _ if tagged("tender") => Stage::Tender,
            _ => self.planned(),
        }
    }

    fn planned(&self) -> Stage {
        let planning = self.process.at("planning");
        let asks = |json: &Json, path: &str| {
            json.str(path).is_some_and(|text| text.to_lowercase().contains("engagement"))
        };
        let documents = planning.list("documents").iter().any(|d| asks(d, "documentType"));
        let milestones = planning.list("milestones").iter().any(|m| asks(m, "type"));
        if documents || milestones { Stage::MarketEngagement } else { Stage::Planned }
    }

    fn draft(&self, record: Record, reading: Reading<'_>) -> Draft {
        Draft { record, buyers: self.buyers.clone(), warnings: reading.remarks.into_list() }
    }
}

const NO_TITLE: &str = "neither the release nor anything in it has a title or description";
const NOTHING: &str = "the release has no tender, planning, award or contract";

fn is_url(text: &str) -> bool {
    text.len() <= 2048 && (text.starts_with("https://") || text.starts_with("http://"))
}

fn category(of: &[&Json], remarks: &mut Remarks) -> Option<String> {
    let raw = of.iter().find_map(|json| json.str("mainProcurementCategory"))?;
    code(raw, &CATEGORIES, remarks)
}

fn method(tender: &Json, remarks: &mut Remarks) -> Option<ProcurementMethod> {
    let raw = tender.str("procurementMethod")?;
    code(raw, ProcurementMethod::KNOWN, remarks).map(ProcurementMethod::from)
}

/// The method in words; Contracts Finder writes `Other - ` where nothing follows.
fn method_details(tender: &Json, reading: &mut Reading<'_>) -> Option<String> {
    let words = reading.line("procurement method", &[(tender, "procurementMethodDetails")])?;
    let words = words.trim_end_matches(['-', ' ']);
    Some(words.to_owned()).filter(|words| !words.is_empty())
}

/// Whether the tender is for a framework agreement.
fn framework(tender: &Json) -> Option<Framework> {
    let stated = tender.at("techniques.hasFrameworkAgreement").flag();
    let described = !tender.at("techniques.frameworkAgreement").is_blank();
    (stated.unwrap_or(described))
        .then(|| Framework { is_framework: Some(true), ..Framework::default() })
}

fn related(process: &Process, reading: &mut Reading<'_>) -> Vec<RelatedProcess> {
    let list = process.list("relatedProcesses");
    let parts = list.into_iter().take(RELATED).map(|json| {
        let relationship = json.list("relationship").iter().find_map(Json::text);
        RelatedProcess {
            relationship: relationship.and_then(|raw| reading.remarks.line("relationship", raw)),
            scheme: reading.line("scheme", &[(json, "scheme")]),
            identifier: reading.line("related process", &[(json, "identifier")]),
            title: reading.line("related title", &[(json, "title")]),
        }
    });
    parts.filter(|part| part.identifier.is_some() || part.title.is_some()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(item: &Value) -> Vec<Draft> {
        drafts(item.clone(), "00").unwrap()
    }

    fn contract(draft: &Draft) -> &Contract {
        match &draft.record {
            Record::Contract(contract) => contract,
            other => panic!("{} instead of a contract", other.kind()),
        }
    }

    fn stage(item: &Value) -> Stage {
        match &read(item)[0].record {
            Record::Pipeline(pipeline) => pipeline.stage.clone().unwrap(),
            other => panic!("{} instead of a pipeline entry", other.kind()),
        }
    }

    fn end(contract: &Contract) -> Option<&str> {
        contract.period.as_ref()?.end_date.as_ref().map(Date::as_str)
    }

    #[test]
    fn contracts_are_joined_to_their_awards_and_lone_awards_follow() {
        let drafts = read(&json!({
            "ocid": "ocds-h6vhtk-0aaaaa", "id": "1-2026", "tag": ["compiled"],
            "date": "2026-01-02T00:00:00Z",
            "buyer": {"name": "Ambleford Borough Council"},
            "tender": {"title": "Road salt", "lots": [{"id": "1", "title": "North"}, {"id": 2, "title": "South"}]},
            "awards": [
                {"id": "1", "status": "active", "suppliers": [{"name": "Brine Brothers Ltd"}], "relatedLots": ["1"]},
                {"id": 2, "status": "active", "value": {"amount": 12.5, "currency": "GBP"}, "relatedLots": [2],
                 "contractPeriod": {"startDate": "2026-02-01", "durationInDays": 365}},
                {"id": "3", "status": "unsuccessful"}],
            "contracts": [{"id": "1", "awardID": "1", "value": {"amount": "0483289.79", "amountGross": 493759.12, "currency": "GBP"},
                "period": {"startDate": "2026-03-18T00:00:00+00:00", "endDate": "2027-03-17T23:59:59+00:00"}}]
        }));
        assert_eq!(drafts.len(), 2);
        let (first, second) = (contract(&drafts[0]), contract(&drafts[1]));
        assert_eq!(
            (first.title.as_str(), second.title.as_str()),
            ("Road salt: North", "Road salt: South")
        );
        assert_eq!(first.suppliers[0].name, "Brine Brothers Ltd");
        let value = first.value.as_ref().unwrap();
        assert_eq!((value.amount, value.amount_gross), (Some(48_328_979), Some(49_375_912)));
        assert_eq!(value.vat, Some(money::VatBasis::Excluded));
        assert_eq!((end(first), end(second)), (Some("2027-03-17"), Some("2027-01-31")));
        assert_eq!(second.period.as_ref().unwrap().end_computed, Some(true));
        assert_eq!(second.value.as_ref().unwrap().amount, Some(1250));
        let keys: Vec<_> = drafts.iter().map(|draft| draft.record.source_key().unwrap()).collect();
        assert_eq!(
            keys,
            ["find-a-tender|ocds-h6vhtk-0aaaaa|1", "find-a-tender|ocds-h6vhtk-0aaaaa|2"]
        );
    }

    #[test]
    fn the_contract_ends_when_the_award_says_and_not_when_the_tender_planned() {
        let mut item = json!({
            "ocid": "ocds-b5fd17-0", "tag": "award", "buyer": {"name": "Ambleford Borough Council"},
            "tender": {"title": "Parking", "contractPeriod": {"startDate": "2025-01-06", "endDate": "2026-01-05"}},
            "awards": {"id": "ocds-b5fd17-0-1", "contractPeriod":
                {"startDate": "2025-01-23", "endDate": "2025-04-23T23:59:59+01:00"}}
        });
        let drafts = read(&item);
        assert_eq!(end(contract(&drafts[0])), Some("2025-04-23"), "on its local day");
        item["awards"]["contractPeriod"] = json!(null);
        let planned = read(&item);
        assert_eq!(end(contract(&planned[0])), Some("2026-01-05"));
        assert!(planned[0].warnings.iter().any(|w| w.contains("the one the tender planned")));
        item["awards"]["contractPeriod"] = json!({"startDate": "2025-02-01"});
        item["tender"]["contractPeriod"] = json!({"durationInDays": "28"});
        let computed = read(&item);
        assert_eq!(end(contract(&computed[0])), Some("2025-02-28"));
        assert_eq!(contract(&computed[0]).period.as_ref().unwrap().end_computed, Some(true));
    }

    #[test]
    fn content_and_then_status_and_tag_decide_the_stage() {
        let cases = [
            (
                json!({"tag": ["planning"], "tender": {"title": "t", "status": "planned"}}),
                Stage::Planned,
            ),
            (json!({"tag": ["planning"], "planning": {"rationale": "t"}}), Stage::Planned),
            (
                json!({"tag": ["planning"], "tender": {"title": "t", "status": "planning"},
                "planning": {"documents": [{"documentType": "marketEngagementNotice"}]}}),
                Stage::MarketEngagement,
            ),
            (
                json!({"tag": "tenderUpdate", "tender": {"title": "t", "status": "active"}}),
                Stage::Tender,
            ),
            (json!({"tag": ["tender"], "tender": {"title": "t"}}), Stage::Tender),
            (
                json!({"tag": ["tender"], "tender": {"title": "t", "status": "complete"}}),
                Stage::Evaluation,
            ),
            (
                json!({"tag": ["award"], "tender": {"title": "t", "status": "complete"}}),
                Stage::Awarded,
            ),
            (
                json!({"tag": ["tenderCancellation"], "tender": {"title": "t", "status": "active"}}),
                Stage::Withdrawn,
            ),
            (
                json!({"tag": ["tender"], "tender": {"title": "t", "status": "cancelled"}}),
                Stage::Withdrawn,
            ),
            (
                json!({"tag": ["award"], "tender": {"title": "t", "status": "complete"},
                "awards": [{"id": "1", "status": "unsuccessful"}]}),
                Stage::Withdrawn,
            ),
        ];
        for (item, want) in cases {
            assert_eq!(stage(&item), want, "{item}");
        }
        for (tag, own, want) in [
            ("award", "planned", "pending"),
            ("awardUpdate", "active", "active"),
            ("awardCancellation", "active", "cancelled"),
            ("contractTermination", "active", "terminated"),
            ("award", "cancelled", "cancelled"),
        ] {
            let item =
                json!({"ocid": "x", "tag": [tag], "awards": [{"title": "t", "status": own}]});
            assert_eq!(contract(&read(&item)[0]).status.as_deref(), Some(want));
        }
    }

    #[test]
    fn a_tender_tag_over_an_award_is_a_contract() {
        let item = json!({"ocid": "x", "tag": ["tender"], "tender": {"title": "t", "status": "complete"},
            "awards": [{"id": "1", "title": "", "status": "active", "description": "See description of related tender"}]});
        let drafts = read(&item);
        assert_eq!(contract(&drafts[0]).title, "t");
        assert_eq!(contract(&drafts[0]).description, None);
        assert!(drafts[0].warnings.iter().any(|warning| warning.contains("no buyer")));
    }

    #[test]
    fn a_plan_may_have_its_title_anywhere() {
        for item in [
            json!({"tender": {"title": "Heat"}, "title": "no"}),
            json!({"tender": {"title": " ", "description": "no"}, "title": "Heat"}),
            json!({"planning": {"budget": {"description": "Heat"}}}),
            json!({"tender": {"description": "<p>Heat</p>"}}),
        ] {
            let facets = read(&item)[0].record.to_fields().unwrap();
            assert_eq!(facets.text("title").as_deref(), Some("Heat"), "{item}");
        }
    }

    #[test]
    fn ocds_before_parties_and_other_currencies_are_read() {
        let item = json!({
            "ocid": "ocds-zzzzzz-1", "buyer": {"identifier": {"legalName": "Municipality of Elmford"}},
            "contract": [{"id": 7, "title": "Bridge", "suppliers": {"name": "Span S.A."},
                "value": {"amount": "86318740.0", "currency": "PYG"},
                "items": [{"id": 1, "description": "Beam", "quantity": "2.0", "unit": {"name": "piece",
                    "value": {"amount": 1280000.0, "currency": "PYG"}}}, {"id": 2}],
                "period": {"startDate": "", "endDate": ""}}]
        });
        let drafts = read(&item);
        let bridge = contract(&drafts[0]);
        assert_eq!(bridge.buyer.as_ref().unwrap().name, "Municipality of Elmford");
        assert_eq!(bridge.value.as_ref().unwrap().amount, Some(86_318_740), "no minor unit");
        assert_eq!(bridge.items.len(), 1);
        assert_eq!(bridge.items[0].unit_price, Some(money::Money::new(1_280_000, "PYG")));
        assert_eq!(bridge.period, None);
        let unnamed =
            json!({"ocid": "ocds-zzzzzz-1", "contracts": [{"title": "t", "value": {"amount": 5}}]});
        let drafts = read(&unnamed);
        assert_eq!(contract(&drafts[0]).value, None, "no currency is guessed abroad");
        let british =
            json!({"ocid": "ocds-h6vhtk-1", "contracts": [{"title": "t", "value": {"amount": 5}}]});
        let pounds =
            money::Value { kind: Some(ValueKind::Actual), ..money::Value::new(500, "GBP") };
        assert_eq!(contract(&read(&british)[0]).value, Some(pounds));
    }

    #[test]
    fn what_gives_no_record_says_why() {
        for (item, want) in [
            (json!({"ocid": "x"}), "no tender, planning, award or contract"),
            (json!({"ocid": "x", "parties": [{"name": "a"}]}), "no tender, planning"),
            (json!({"ocid": "x", "tender": {"status": "active"}}), "title or description"),
            (json!({"ocid": "x", "awards": [{"id": "1", "title": "N/A"}]}), "title or description"),
            (json!({"parties": []}), "no OCDS release"),
            (json!([]), "no JSON object"),
        ] {
            let refusal = drafts(item.clone(), "00").unwrap_err();
            assert!(refusal.reason.contains(want), "{item}: {}", refusal.reason);
        }
    }

    #[test]
    fn a_huge_contract_still_fits_a_body() {
        let long = "x".repeat(5000);
        let supplier = |n: usize| {
            let more: Vec<Value> = (0..9).map(|m| json!({"scheme": format!("GB-X{m}"), "id": format!("{n}{}", "y".repeat(100))})).collect();
            json!({"name": format!("{n}{long}"), "details": {"scale": "sme", "vcse": true}, "additionalIdentifiers": more})
        };
        let item = json!({
            "ocid": "x",
            "tender": {"title": long, "description": "d".repeat(200_000), "techniques": {"hasFrameworkAgreement": true},
                "lots": (0..90).map(|n| json!({"id": n.to_string(), "title": long, "description": long,
                    "value": {"amount": n, "currency": "GBP"}})).collect::<Vec<_>>()},
            "awards": [{"suppliers": (0..400).map(supplier).collect::<Vec<_>>(),
                "items": (0..400).map(|n| json!({"description": long, "quantity": n, "unit": {"name": long,
                    "value": {"amount": n, "currency": "GBP"}}, "classification":
                    {"scheme": "CPV", "id": format!("{:08}", n + 45_000_000)}})).collect::<Vec<_>>()}]
        });
        let drafts = read(&item);
        let fields = drafts[0].record.to_fields().unwrap();
        let salt = tallystick_protocol::body::Salt::from_random([1; 32]);
        tallystick_protocol::body::FullBody::new(&salt, &fields).unwrap();
        assert_eq!(contract(&drafts[0]).suppliers.len(), SUPPLIERS);
    }
}
