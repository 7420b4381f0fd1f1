//! Columns of foreign tables, recognised by their headings.
//!
//! Headings are compared without case, punctuation and what stands in brackets.
//! The spellings cover the contract register of the Local Government
//! Transparency Code 2015 (paragraphs 32 and 33 and the common templates), the
//! three column sets of Contracts Finder, and plain words for anything else.
//! Deliberately absent: columns with people's names, telephone numbers and
//! personal addresses, which are never imported.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    NoticeId,
    Reference,
    Ocid,
    Title,
    TenderTitle,
    Description,
    Department,
    Mailbox,
    Buyer,
    BuyerScheme,
    BuyerId,
    Supplier,
    SupplierScheme,
    SupplierId,
    CompanyNumber,
    CharityNumber,
    RegistrationNumber,
    Value,
    AnnualValue,
    ValueOrAnnual,
    EstimatedValue,
    Currency,
    IrrecoverableVat,
    Start,
    End,
    MaxExtent,
    Review,
    Signed,
    Published,
    TenderStart,
    TenderEnd,
    Process,
    Sme,
    Vcse,
    SmeOrVcse,
    Cpv,
    CpvScheme,
    Category,
    Status,
    Framework,
    Url,
}

/// What a heading says besides what the column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) column: Column,
    /// Whether amounts in it include tax, if it says.
    pub(super) vat_included: Option<bool>,
}

/// Reads a heading; `None` if it is not known.
pub(super) fn recognise(raw: &str) -> Option<Heading> {
    if raw.len() > HEADING_BYTES {
        return None;
    }
    let whole = folded(raw);
    let bare = folded(&without_brackets(raw));
    let column =
        lookup(&whole).or_else(|| lookup(&bare)).or_else(|| lookup(&without_tax(&bare)))?;
    let said = |phrases: &[&str]| phrases.iter().any(|p| format!(" {whole} ").contains(p));
    let vat_included =
        if said(&[" ex vat ", " excluding vat ", " excl vat ", " exc vat ", " net of vat "]) {
            Some(false)
        } else if said(&[" inc vat ", " including vat ", " incl vat "]) {
            Some(true)
        } else {
            None
        };
    Some(Heading { column, vat_included })
}

/// Lower case, one space between words, no punctuation.
fn folded(raw: &str) -> String {
    let text = super::super::text::line(raw).unwrap_or_default().to_lowercase();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '’' => {}
            '&' => out.push_str(" and "),
            c if c.is_alphanumeric() => out.push(c),
            _ => out.push(' '),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_brackets(raw: &str) -> String {
    let mut depth = 0_u32;
    raw.chars()
        .filter(|c| match c {
            '(' | '[' => {
                depth += 1;
                false
            }
            ')' | ']' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => depth == 0,
        })
        .collect()
}

fn without_tax(folded: &str) -> String {
    let mut text = format!(" {folded} ");
    for phrase in [
        " ex vat ",
        " excluding vat ",
        " excl vat ",
        " exc vat ",
        " inc vat ",
        " including vat ",
        " incl vat ",
        " gbp ",
    ] {
        text = text.replace(phrase, " ");
    }
    text.trim().to_owned()
}

fn lookup(heading: &str) -> Option<Column> {
    static KNOWN: LazyLock<BTreeMap<&'static str, Column>> = LazyLock::new(|| {
        let pairs = |(column, spellings): &(Column, &'static [&'static str])| {
            let column = *column;
            spellings.iter().map(move |spelling| (*spelling, column))
        };
        SPELLINGS.iter().flat_map(pairs).collect()
    });
    KNOWN.get(heading).copied()
}

/// Longest heading, in bytes; the longest of the Transparency Code has 110.
const HEADING_BYTES: usize = 200;

const SPELLINGS: &[(Column, &[&str])] = &[
    (Column::NoticeId, &["notice id", "notice identifier"]),
    (Column::Ocid, &["ocid", "open contracting id"]),
    (
        Column::Reference,
        &[
            "reference",
            "reference number",
            "reference no",
            "ref",
            "ref no",
            "ref number",
            "contract reference",
            "contract reference number",
            "contract reference no",
            "contract ref",
            "contract ref no",
            "contract ref number",
            "contract id",
            "contract no",
            "contract number",
            "unique reference",
            "unique reference number",
            "unique id",
            "urn",
            "agreement reference",
            "register reference",
            "contract register reference",
            "id",
            "reference id",
            "contract identifier",
            "purchase order number",
            "po number",
        ],
    ),
    (
        Column::Title,
        &[
            "title",
            "contract title",
            "contract name",
            "title of agreement",
            "title of contract",
            "title of the agreement",
            "agreement title",
            "award title",
            "name of contract",
            "contract",
            "project title",
            "project name",
            "contract agreement title",
            "title of agreement or contract",
        ],
    ),
    (Column::TenderTitle, &["tender title", "opportunity title"]),
    (
        Column::Description,
        &[
            "description",
            "contract description",
            "award description",
            "tender description",
            "description of goods and or services",
            "description of the goods and or services being provided",
            "description of goods and or services being provided",
            "description of goods or services",
            "description of goods and services",
            "goods and services",
            "description of contract",
            "brief description",
            "purpose",
            "details",
            "summary",
            "service description",
        ],
    ),
    (
        Column::Department,
        &[
            "department",
            "dept",
            "directorate",
            "department responsible",
            "responsible department",
            "local authority department",
            "local authority department responsible",
            "council department",
            "service",
            "service area",
            "service department",
            "division",
            "business unit",
            "authority department",
            "department name",
        ],
    ),
    (
        Column::Mailbox,
        &["department email", "team email", "generic email", "contact mailbox", "team mailbox"],
    ),
    (
        Column::Buyer,
        &[
            "buyer",
            "buyer name",
            "organisation",
            "organisation name",
            "organisation label",
            "authority",
            "authority name",
            "contracting authority",
            "local authority",
            "local authority name",
            "council",
            "publisher",
            "publisher label",
            "customer",
        ],
    ),
    (Column::BuyerScheme, &["buyer id scheme"]),
    (Column::BuyerId, &["buyer id"]),
    (
        Column::Supplier,
        &[
            "supplier",
            "supplier name",
            "name of supplier",
            "suppliers",
            "supplier s",
            "contractor",
            "contractor name",
            "provider",
            "provider name",
            "awarded supplier",
            "awarded to",
            "vendor",
            "vendor name",
            "supplier name and details",
            "supplier name and address",
            "successful supplier",
            "name of contractor",
            "awarded supplier name",
            "supplier details",
            "company",
            "company name",
        ],
    ),
    (Column::SupplierScheme, &["supplier id scheme"]),
    (Column::SupplierId, &["supplier id"]),
    (
        Column::CompanyNumber,
        &[
            "company number",
            "company no",
            "company registration number",
            "company registration no",
            "company reg no",
            "companies house number",
            "company registered number",
            "supplier registered company number",
            "supplier company number",
            "supplier company registration number",
            "registered company number",
        ],
    ),
    (
        Column::CharityNumber,
        &[
            "charity number",
            "charity no",
            "charity registration number",
            "registered charity number",
            "supplier charity number",
            "supplier registered charity number",
        ],
    ),
    (
        Column::RegistrationNumber,
        &[
            "registration number",
            "registration no",
            "registered number",
            "reg no",
            "supplier registration number",
            "relevant registration number",
            "company or charity number",
            "company charity number",
            "company or charity registration number",
        ],
    ),
    (
        Column::Value,
        &[
            "value",
            "sum",
            "contract value",
            "contract sum",
            "total contract value",
            "total value",
            "amount",
            "sum to be paid",
            "sum to be paid over the length of the contract",
            "value of contract",
            "award value",
            "awarded value",
            "lifetime value",
            "whole life value",
            "total contract sum",
            "total sum",
            "contract amount",
            "total cost",
            "total contract value over term",
            "sum to be paid over length of contract",
            "contract total value",
            "whole life contract value",
            "total sum to be paid",
            "contract value over full term",
        ],
    ),
    (
        Column::AnnualValue,
        &[
            "annual value",
            "annual budget",
            "annual spend",
            "annual contract value",
            "annual cost",
            "estimated annual spend",
            "estimated annual spending",
            "estimated annual value",
            "estimated annual budget",
            "estimated annual contract value",
            "value per annum",
            "estimated annual spending or budget",
            "contract value per annum",
            "annual contract sum",
            "estimated annual spend or budget",
            "estimated annual cost",
            "contract annual value",
        ],
    ),
    (
        Column::ValueOrAnnual,
        &[
            "sum or annual budget",
            "sum annual budget",
            "contract sum or annual budget",
            "sum to be paid or annual budget",
            "sum to be paid or estimated annual spend",
            "sum to be paid over the length of the contract or the estimated annual spending or budget for the contract",
            "sum to be paid over the length of the contract or estimated annual spending or budget",
            "sum or estimated annual budget",
            "value or annual budget",
        ],
    ),
    (
        Column::EstimatedValue,
        &[
            "estimated value",
            "estimated contract value",
            "estimated total value",
            "tender value",
            "estimated total contract value",
            "anticipated value",
        ],
    ),
    (
        Column::Currency,
        &["currency", "award value currency", "tender value currency", "value currency"],
    ),
    (
        Column::IrrecoverableVat,
        &[
            "irrecoverable vat",
            "vat that cannot be recovered",
            "vat not recovered",
            "non recoverable vat",
            "vat non recoverable",
            "value added tax that cannot be recovered",
            "vat irrecoverable",
            "unrecoverable vat",
            "value added tax vat that cannot be recovered",
            "amount of irrecoverable vat",
            "vat not recoverable",
        ],
    ),
    (
        Column::Start,
        &[
            "start date",
            "start",
            "contract start",
            "contract start date",
            "commencement date",
            "date from",
            "contract commencement date",
            "from date",
            "startdate",
            "current start date",
            "date of commencement",
        ],
    ),
    (
        Column::End,
        &[
            "end date",
            "end",
            "contract end",
            "contract end date",
            "expiry date",
            "contract expiry date",
            "date to",
            "current end date",
            "to date",
            "contract expiry",
            "expiry",
            "enddate",
            "finish date",
            "contract finish date",
            "completion date",
            "termination date",
            "initial end date",
        ],
    ),
    (
        Column::MaxExtent,
        &[
            "maximum end date",
            "latest end date",
            "end date including extensions",
            "extension end date",
            "max end date",
            "contract end date including extensions",
            "extended end date",
            "end date with extensions",
            "maximum extension date",
            "contract extension end date",
            "end date inc extensions",
            "final end date",
            "latest expiry date",
            "maximum extent date",
        ],
    ),
    (
        Column::Review,
        &["review date", "review", "contract review date", "next review date", "renewal date"],
    ),
    (
        Column::Signed,
        &[
            "date contract awarded",
            "award date",
            "date awarded",
            "awarded date",
            "date signed",
            "contract award date",
            "date of award",
            "contract signed date",
        ],
    ),
    (
        Column::Published,
        &["published date", "publication date", "date published", "effective date"],
    ),
    (Column::TenderStart, &["tender start date", "tender opening date"]),
    (
        Column::TenderEnd,
        &["tender end date", "tender closing date", "closing date", "deadline", "deadline date"],
    ),
    (
        Column::Process,
        &[
            "tender or quotation",
            "tender quotation",
            "quotation or tender",
            "invitation to tender or quotation",
            "procurement process",
            "tendering process",
            "process type",
            "procurement route",
            "route to market",
            "procurement method",
            "invitation to quote or tender",
            "tender process",
            "itt or itq",
            "itq or itt",
            "tender or quote",
            "quote or tender",
            "procurement procedure",
            "procedure",
            "contract award procedure",
            "whether or not the contract was the result of an invitation to quote or a published invitation to tender",
            "invitation to quote or published invitation to tender",
            "result of invitation to quote or tender",
            "process",
        ],
    ),
    (
        Column::Sme,
        &[
            "sme",
            "sme supplier",
            "is sme",
            "sme y n",
            "sme yes no",
            "small or medium enterprise",
            "small or medium sized enterprise",
            "is the supplier an sme",
            "supplier sme",
            "awarded to sme",
            "small medium enterprise",
        ],
    ),
    (
        Column::Vcse,
        &[
            "vcse",
            "vcse supplier",
            "is vcse",
            "vco",
            "vcs",
            "vcse y n",
            "voluntary or community sector",
            "voluntary sector",
            "is the supplier a vcse",
            "voluntary or community sector organisation",
            "supplier vcse",
            "third sector",
            "voluntary community sector",
        ],
    ),
    (
        Column::SmeOrVcse,
        &[
            "sme vcse",
            "sme or vcse",
            "sme and or vcse",
            "sme and vcse",
            "supplier status",
            "supplier type",
            "sme vco",
            "type of supplier",
        ],
    ),
    (
        Column::Cpv,
        &["cpv", "cpv code", "cpv codes", "classification code", "main cpv code", "cpv s"],
    ),
    (Column::CpvScheme, &["classification scheme"]),
    (
        Column::Category,
        &[
            "main procurement category",
            "goods works or services",
            "works goods or services",
            "goods services works",
            "goods services or works",
        ],
    ),
    (Column::Status, &["status", "contract status"]),
    (Column::Framework, &["framework", "framework name", "framework title", "framework agreement"]),
    (
        Column::Url,
        &[
            "url",
            "link",
            "web link",
            "notice url",
            "award documents url",
            "contract notice url",
            "contracts finder link",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_recognised_in_their_variants() {
        for (heading, column) in [
            ("Title of agreement", Column::Title),
            ("SUPPLIER NAME", Column::Supplier),
            ("Start Date (dd/mm/yyyy)", Column::Start),
            (" Contract Value (£) ", Column::Value),
            ("Contract Value ex VAT", Column::Value),
            ("Supplier ID-scheme", Column::SupplierScheme),
            ("Award Value - currency", Column::Currency),
            ("Tender Value-currency", Column::Currency),
            ("SME / VCSE", Column::SmeOrVcse),
            ("Contract_Ref", Column::Reference),
            ("Description of the goods and/or services being provided", Column::Description),
        ] {
            assert_eq!(recognise(heading).map(|h| h.column), Some(column), "{heading}");
        }
        assert_eq!(recognise("Value (inc. VAT)").unwrap().vat_included, Some(true));
        assert_eq!(recognise("Value (£, ex VAT)").unwrap().vat_included, Some(false));
        for unknown in
            ["", "Contract manager", "Telephone", "Supplier Address - postcode", "Comments"]
        {
            assert_eq!(recognise(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_spelling_stands_twice_and_all_are_folded() {
        let mut seen = BTreeMap::new();
        for (column, spellings) in SPELLINGS {
            for spelling in *spellings {
                assert_eq!(folded(spelling), *spelling);
                assert_eq!(seen.insert(*spelling, *column), None, "{spelling}");
            }
        }
    }
}
