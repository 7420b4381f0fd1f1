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

use super::spelling::SPELLINGS;

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
