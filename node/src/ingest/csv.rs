//! Tables: contract registers and the CSV exports of Contracts Finder.
//!
//! A table is recognised by its headings ([`column`]), in any order, after any
//! number of title lines, with commas, semicolons, tabs or bars between fields,
//! in UTF-8, UTF-16 or Windows-1252.
//!
//! | columns | a row becomes |
//! |---|---|
//! | `Notice ID` with `Award Title` (24 or 18 columns) | contract |
//! | the same, and the supplier is `NOT AWARDED…` | pipeline, stage *withdrawn* |
//! | `Notice ID` with `Tender Title` (15 columns) | pipeline, stage *tender* |
//! | a contract register (Local Government Transparency Code 2015) | contract |
//! | any other table with a title and one more known column | contract |
//!
//! In a tender row, `Tender Start Date` and `Tender End Date` are when bids are
//! invited, not when the contract runs. A register has no buyer column: its rows
//! belong to [`super::Options::register`]. Annual budgets become an item priced
//! per year, never the value of the contract.
//!
//! **Identity.** Contracts Finder: see [`super::contracts_finder`]. A register:
//! system `transparency-register:BUYER`, notice id = the reference, or a digest
//! of title, supplier and start where there is none. A reference that stands for
//! several contracts in one file (the file is read twice to know) gets a part: a
//! digest of title, supplier and start or, where even these are equal, of the
//! whole row. So two contracts never collapse into one, the order of rows does
//! not matter, and rows that are equal in every known column are one contract.
//!
//! Deliberately absent: named officers, addresses and telephone numbers.

mod column;
mod row;
mod spelling;
mod split;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};

use sha2::{Digest, Sha256};
use tallystick_protocol::record::part::Organisation;

use self::column::{Column, Heading};
use self::split::Records;
use super::{
    IngestError, Refusal, Row, buyer, contracts_finder, date, digest, hexadecimal, remark, text,
};

/// Rows looked at for the headings.
const HEADER_ROWS: usize = 40;
/// A row with this many known headings is the header; the rows below are not looked at.
const PLAIN_HEADER: usize = 4;
/// Rows whose references are compared; later ones are taken as they are.
const COMPARED_ROWS: usize = 1 << 21;

/// How a table is laid out.
#[derive(Clone, Debug)]
pub(super) struct Table {
    delimiter: u8,
    end: u8,
    header_row: u64,
    header: Vec<Vec<u8>>,
    headings: Vec<Option<Heading>>,
    /// Where each column stands; a heading may be there twice.
    places: BTreeMap<Column, Vec<usize>>,
    register: Option<Organisation>,
}

impl Table {
    /// Finds the headings in `sample`, the beginning of a file.
    ///
    /// # Errors
    /// [`IngestError::UnknownColumns`], [`IngestError::NoBuyer`].
    pub(super) fn find(sample: &[u8], register: Option<Organisation>) -> Result<Self, IngestError> {
        let end = if sample.contains(&b'\n') || !sample.contains(&b'\r') { b'\n' } else { b'\r' };
        let mut best: Option<(usize, Self)> = None;
        for delimiter in [b',', b';', b'\t', b'|'] {
            for record in Records::new(sample, delimiter, end).take(HEADER_ROWS) {
                let header = record.fields.unwrap_or_default();
                let headings: Vec<Option<Heading>> =
                    header.iter().map(|cell| column::recognise(&text::decode(cell))).collect();
                let mut places: BTreeMap<Column, Vec<usize>> = BTreeMap::new();
                for (at, heading) in headings.iter().enumerate() {
                    if let Some(heading) = heading {
                        places.entry(heading.column).or_default().push(at);
                    }
                }
                let known = places.len();
                if known > best.as_ref().map_or(0, |(most, _)| *most) {
                    let header_row = record.row;
                    let register = register.clone();
                    let table =
                        Self { delimiter, end, header_row, header, headings, places, register };
                    best = Some((known, table));
                }
                if known >= PLAIN_HEADER {
                    break;
                }
            }
        }
        let (score, table) = best.ok_or_else(|| unknown(sample))?;
        let titled = [Column::Title, Column::TenderTitle, Column::Description];
        if score < 2 || !titled.iter().any(|column| table.has(*column)) {
            return Err(unknown(sample));
        }
        if table.register.is_none() && !table.has(Column::Buyer) {
            return Err(IngestError::NoBuyer);
        }
        Ok(table)
    }

    fn has(&self, column: Column) -> bool {
        self.places.contains_key(&column)
    }

    fn records<R: Read>(&self, input: R) -> Records<BufReader<R>> {
        Records::new(BufReader::new(input), self.delimiter, self.end)
    }

    /// Reads the whole table once to find references that stand for several contracts.
    pub(super) fn repeated<R: Read>(&self, input: R) -> Repeated {
        let mut references = BTreeMap::new();
        let mut contracts = BTreeMap::new();
        let mut repeated = Repeated::default();
        for record in self.records(input).take(COMPARED_ROWS) {
            let Ok(fields) = record.fields else { continue };
            let cells = Cells { table: self, fields: &fields };
            if record.row <= self.header_row || cells.are_empty() || cells.are_headings() {
                continue;
            }
            let identity = cells.identity();
            let first =
                references.entry(short(&identity.notice)).or_insert(short(&identity.contract));
            if *first != short(&identity.contract) {
                repeated.references.insert(short(&identity.notice));
            }
            let contract = short(&format!("{}|{}", identity.notice, identity.contract));
            let first = contracts.entry(contract).or_insert(short(&identity.row));
            if *first != short(&identity.row) {
                repeated.contracts.insert(contract);
            }
        }
        repeated
    }
}

fn unknown(sample: &[u8]) -> IngestError {
    let text = text::decode(sample);
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    IngestError::UnknownColumns(remark::quoted(first))
}

/// References that stand for more than one contract in one file.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    references: BTreeSet<[u8; 16]>,
    contracts: BTreeSet<[u8; 16]>,
}

impl Repeated {
    /// What tells this contract from others with its reference.
    fn part(&self, identity: &Identity) -> Option<String> {
        let contract = short(&format!("{}|{}", identity.notice, identity.contract));
        if self.contracts.contains(&contract) {
            Some(identity.row.get(..16)?.to_owned())
        } else if self.references.contains(&short(&identity.notice)) {
            Some(identity.contract.get(..16)?.to_owned())
        } else {
            None
        }
    }
}

/// The beginning of a text's digest, enough to tell a million texts apart.
fn short(text: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(Sha256::digest(text.as_bytes())) {
        *to = from;
    }
    out
}

/// What a row is the same as when it is met again.
#[derive(Debug)]
struct Identity {
    /// Notice id within the system.
    notice: String,
    /// Digest of what tells contracts under one reference apart.
    contract: String,
    /// Digest of all known cells.
    row: String,
}

/// The cells of one row, by what their columns hold.
struct Cells<'a> {
    table: &'a Table,
    fields: &'a [Vec<u8>],
}

impl Cells<'_> {
    /// The first cell of the column that holds anything, else nothing.
    fn get(&self, column: Column) -> Cow<'_, str> {
        self.heading_and_cell(column).map_or(Cow::Borrowed(""), |(_, cell)| cell)
    }

    fn heading_and_cell(&self, column: Column) -> Option<(&Heading, Cow<'_, str>)> {
        let cell = |at: &usize| self.fields.get(*at).filter(|cell| !cell.trim_ascii().is_empty());
        let heading = |at: &usize| self.table.headings.get(*at).and_then(Option::as_ref);
        let places = self.table.places.get(&column)?;
        places.iter().find_map(|at| Some((heading(at)?, text::decode(cell(at)?))))
    }

    fn are_empty(&self) -> bool {
        self.fields.iter().all(|cell| cell.trim_ascii().is_empty())
    }

    /// Whether the row repeats the headings, as joined exports do.
    fn are_headings(&self) -> bool {
        let header = &self.table.header;
        header.len() == self.fields.len()
            && header.iter().zip(self.fields).all(|(a, b)| a.trim_ascii() == b.trim_ascii())
    }

    fn is_contracts_finder(&self) -> bool {
        !self.get(Column::NoticeId).trim().is_empty()
    }

    fn identity(&self) -> Identity {
        let title = text::line(&self.get(Column::Title)).unwrap_or_default().to_lowercase();
        let supplier = buyer::normalised_supplier(&self.get(Column::Supplier));
        let start = self.get(Column::Start);
        let start = match date::day(&start) {
            Ok(Some(day)) => day.to_string(),
            _ => start.trim().to_lowercase(),
        };
        // One export of Contracts Finder has no start dates, so they cannot tell awards apart.
        let start = if self.is_contracts_finder() { "" } else { &start };
        let contract = digest(format!("{title}|{supplier}|{start}").as_bytes());
        let mut row = Sha256::new();
        for (heading, cell) in self.table.headings.iter().zip(self.fields) {
            if heading.is_some() {
                row.update(cell.trim_ascii());
                row.update(b"|");
            }
        }
        let reference =
            text::line(&self.get(Column::Reference)).filter(|r| !text::is_placeholder(r));
        let notice = contracts_finder::notice_id(&self.get(Column::NoticeId))
            .or(reference)
            .unwrap_or_else(|| format!("row-{}", contract.get(..16).unwrap_or_default()));
        Identity { notice, contract, row: hexadecimal(&row.finalize()) }
    }
}

/// The rows of a table.
pub(super) struct Rows<R> {
    records: Records<BufReader<R>>,
    table: Table,
    repeated: Repeated,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(input: R, table: Table, repeated: Repeated) -> Self {
        Self { records: table.records(input), table, repeated }
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let record = self.records.next()?;
            let number = record.row;
            if number <= self.table.header_row {
                continue;
            }
            let fields = match record.fields {
                Ok(fields) => fields,
                Err(fault) => {
                    let drafts = Err(Refusal::new(fault.to_string()));
                    return Some(Row { number, drafts });
                }
            };
            let cells = Cells { table: &self.table, fields: &fields };
            if cells.are_empty() || cells.are_headings() {
                continue;
            }
            let identity = cells.identity();
            let part = self.repeated.part(&identity);
            let digest = digest(record.bytes.trim_ascii_end());
            let drafts = row::draft(&cells, identity.notice, part, digest).map(|draft| vec![draft]);
            return Some(Row { number, drafts });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tallystick_protocol::record::Record;
    use tallystick_protocol::record::contract::{Contract, ProcurementMethod};
    use tallystick_protocol::record::money::{ValueKind, VatBasis};

    use super::super::{Draft, Format, Options, read};
    use super::*;

    const HEADER: &str = "Reference,Title of agreement,Department,Description,Supplier name,Sum or annual budget,Irrecoverable VAT,Start date,End date,Review date,Tender or quotation,SME,VCSE,Registration number";

    fn options() -> Options {
        Options { format: Format::Auto, register: Some(Organisation::named("Ashby Council")) }
    }

    fn rows(text: impl Into<Vec<u8>>) -> Vec<Row> {
        read(Box::new(Cursor::new(text.into())), &options()).unwrap().collect()
    }

    fn contract(row: &Row) -> (Contract, Draft) {
        let draft = row.drafts.clone().unwrap().remove(0);
        let Record::Contract(contract) = draft.record.clone() else { panic!("{draft:?}") };
        (*contract, draft)
    }

    #[test]
    fn a_transparency_register_is_read() {
        let text = format!(
            "Ashby Council contract register\n\n{HEADER}\nC-1,Housing system,Housing,A system,Brook Ltd,\"£25,000 - £50,000\",0,01/04/2024,31/03/2027,30/09/2026,Published invitation to tender,Yes,No,1234567\n,,,,,,,,,,,,,\nC-2,Grounds,Parks,,Redacted,Redacted Commercial Data,,TBC,31/03/2105,,Quotation,N,N,\n"
        );
        let rows = rows(text);
        assert_eq!(rows.iter().map(|r| r.number).collect::<Vec<_>>(), [4, 6]);
        let (first, draft) = contract(&rows[0]);
        assert_eq!(first.reference.as_deref(), Some("C-1"));
        assert_eq!(first.buyer.as_ref().unwrap().name, "Ashby Council");
        assert_eq!(first.value.as_ref().unwrap().amount, Some(5_000_000));
        assert_eq!(first.value.as_ref().unwrap().kind, Some(ValueKind::Ceiling));
        assert_eq!(first.irrecoverable_vat.as_ref().unwrap().amount, Some(0));
        let period = first.period.as_ref().unwrap();
        assert_eq!(period.end_date.as_ref().unwrap().as_str(), "2027-03-31");
        assert_eq!(first.review_date.as_ref().unwrap().as_str(), "2026-09-30");
        assert_eq!(first.procurement_method, Some(ProcurementMethod::Open));
        assert_eq!(first.suppliers[0].scale.as_deref(), Some("sme"));
        assert_eq!(
            draft.record.source_key().as_deref(),
            Some("transparency-register:ashby council|C-1|")
        );
        let (second, draft) = contract(&rows[1]);
        assert!(second.suppliers[0].withheld.is_some() && second.value.is_none());
        assert_eq!(second.period, None);
        assert_eq!(draft.warnings.len(), 3, "{:?}", draft.warnings);
    }

    #[test]
    fn annual_budgets_are_items_and_tax_stands_in_the_heading() {
        let text = "Title;Supplier;Estimated annual spend (£);Contract Value (ex VAT);Company number\nRoads;Brook Ltd;\"12.000,50\";£10k;1234567\n";
        let (contract, _) = contract(&rows(text)[0]);
        let item = &contract.items[0];
        assert_eq!(item.unit_price.as_ref().unwrap().amount, Some(1_200_050));
        assert_eq!(item.price_basis.as_deref(), Some("year"));
        assert_eq!(contract.value.as_ref().unwrap().vat, Some(VatBasis::Excluded));
        assert_eq!(
            contract.suppliers[0].identifiers[0].joined().as_deref(),
            Some("GB-COH-01234567")
        );
    }

    #[test]
    fn one_reference_may_stand_for_several_contracts() {
        let text = "Ref,Title,Supplier,Start,Value\nA,Care,Brook Ltd,2024-04-01,10\nA,Care,Hythe Ltd,2024-04-01,10\nB,Roads,Brook Ltd,2024-04-01,10\nB,Roads,BROOK LIMITED,01/04/2024,20\nC,Parks,Brook Ltd,,5\nC,Parks,Brook Ltd,,5\n,Bins,Brook Ltd,,5\n";
        let keys = |rows: &[Row]| {
            let mut keys: Vec<String> =
                rows.iter().map(|r| contract(r).1.record.source_key().unwrap()).collect();
            keys.sort();
            keys
        };
        let found = keys(&rows(text));
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!(
            (found.len(), distinct.len()),
            (7, 6),
            "only the equal rows share a key: {found:?}"
        );
        assert!(found.contains(&"transparency-register:ashby council|C|".to_owned()));
        // The order of the rows does not matter.
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1..].reverse();
        assert_eq!(keys(&rows(lines.join("\n"))), found);
    }

    #[test]
    fn encodings_and_delimiters_are_told() {
        let text = "Title\tSupplier\tValue\nCafé “No 5”\tBrook Ltd\t£5k\n";
        let utf16: Vec<u8> =
            std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let (windows, ..) = encoding_rs::WINDOWS_1252.encode(text);
        let marked = [b"\xEF\xBB\xBF", text.as_bytes()].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            utf16,
            windows.into_owned(),
            marked,
            text.replace('\n', "\r").into_bytes(),
            text.replace('\t', "|").into_bytes(),
        ] {
            let (contract, _) = contract(&rows(bytes)[0]);
            assert_eq!(contract.title, "Café “No 5”");
            assert_eq!(contract.value.unwrap().amount, Some(500_000));
        }
    }

    #[test]
    fn a_buyer_column_wins_over_the_register() {
        let text = "Title,Buyer Name,Buyer ID-scheme,Buyer ID,Value\nRoads,Hythe Council,GB-LAE,HYT,20\nParks,,,,20\n";
        let rows = rows(text);
        assert_eq!(
            contract(&rows[0]).0.buyer.unwrap().identifiers[0].joined().as_deref(),
            Some("GB-LAE-HYT")
        );
        assert_eq!(contract(&rows[1]).0.buyer.unwrap().name, "Ashby Council");
        let error =
            read(Box::new(Cursor::new("Title,Value\nx,1\n")), &Options::default()).unwrap_err();
        assert!(matches!(error, IngestError::NoBuyer));
    }

    #[test]
    fn a_row_without_a_title_takes_its_description_or_is_refused() {
        let rows = rows(
            "Title,Description,Supplier,Value\n,Gritting of roads.\\nTwo lots,Brook,5\n,,Brook,5\nTitle,Description,Supplier,Value\n,,,Total 10\n",
        );
        assert_eq!(contract(&rows[0]).0.title, "Gritting of roads.\\nTwo lots");
        assert_eq!(
            rows[1].drafts.as_ref().unwrap_err().reason,
            "the row has no title and no description"
        );
        assert_eq!(rows.len(), 3, "repeated headings are no row");
    }
}
