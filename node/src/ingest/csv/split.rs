//! Records of a table from its bytes: RFC 4180 with bounds, and resilient.
//!
//! As in RFC 4180, a quotation mark counts only at the beginning of a field.
//! One that is never closed would swallow the rest of the file; here a record
//! that grows beyond its bounds, or reaches the end of the file with an open
//! quotation mark, is refused as its first line alone and reading goes on with
//! the second.

use std::io::{self, BufRead};

use super::super::json::{Line, read_line};

/// Largest record, in bytes.
pub(super) const RECORD_BYTES: usize = 1 << 20;
/// Most lines in one record.
const RECORD_LINES: usize = 2000;
/// Most fields in one record.
pub(super) const FIELDS: usize = 1024;
/// Most quotation marks that are never closed before the file is given up.
const OPEN_QUOTES: u32 = 64;

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a quotation mark in this row is never closed")]
    OpenQuote,
    #[error("too many quotation marks are never closed; the rest of the file was not read")]
    TooManyOpenQuotes,
    #[error("this row is larger than {} KiB", RECORD_BYTES >> 10)]
    TooLarge,
    #[error("this row has more than {FIELDS} columns")]
    TooManyFields,
    #[error("the file could not be read on ({0})")]
    Unreadable(String),
}

/// The fields of a record, as bytes, or why there are none.
pub(super) type Fields = Result<Vec<Vec<u8>>, Fault>;

/// One record of a table.
#[derive(Debug)]
pub(super) struct Record {
    /// Its place among the records, from 1, as a spreadsheet numbers rows.
    pub(super) row: u64,
    /// Its fields, as bytes, or why there are none.
    pub(super) fields: Fields,
    /// The bytes it was read from.
    pub(super) bytes: Vec<u8>,
}

/// The records of a table.
pub(super) struct Records<R> {
    input: R,
    delimiter: u8,
    end: u8,
    row: u64,
    /// Lines that were read for a record that turned out not to be one.
    again: Vec<Vec<u8>>,
    open_quotes: u32,
    done: bool,
}

impl<R: BufRead> Records<R> {
    /// Records whose fields are separated by `delimiter` and whose lines end with `end`.
    pub(super) fn new(input: R, delimiter: u8, end: u8) -> Self {
        Self { input, delimiter, end, row: 0, again: Vec::new(), open_quotes: 0, done: false }
    }

    fn line(&mut self) -> io::Result<(Line, Vec<u8>)> {
        if let Some(line) = self.again.pop() {
            return Ok((Line::Whole, line));
        }
        let mut line = Vec::new();
        let found = read_line(&mut self.input, &mut line, RECORD_BYTES, self.end)?;
        Ok((found, line))
    }

    /// The fields of the next record and the bytes they were read from.
    fn read(&mut self) -> Option<(Fields, Vec<u8>)> {
        let mut splitter = Splitter::new(self.delimiter, self.end);
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut size = 0;
        loop {
            let (found, line) = match self.line() {
                Ok(found) => found,
                Err(error) => {
                    self.done = true;
                    return Some((Err(Fault::Unreadable(error.to_string())), Vec::new()));
                }
            };
            match found {
                Line::End if lines.is_empty() => return None,
                Line::TooLong if lines.is_empty() => {
                    return Some((Err(Fault::TooLarge), Vec::new()));
                }
                // A line that was skipped cannot be read again; it is lost with the record.
                Line::End | Line::TooLong => return Some(self.give_up(lines)),
                Line::Whole => {}
            }
            size += line.len();
            splitter.feed(&line);
            lines.push(line);
            if !splitter.is_open() {
                return Some((splitter.finish(), lines.concat()));
            }
            if size > RECORD_BYTES || lines.len() > RECORD_LINES {
                return Some(self.give_up(lines));
            }
        }
    }

    /// Refuses the first of `lines`; the others will be read again.
    fn give_up(&mut self, mut lines: Vec<Vec<u8>>) -> (Fields, Vec<u8>) {
        lines.reverse();
        let first = lines.pop().unwrap_or_default();
        self.again.append(&mut lines);
        self.open_quotes += 1;
        if self.open_quotes > OPEN_QUOTES {
            self.done = true;
            return (Err(Fault::TooManyOpenQuotes), first);
        }
        (Err(Fault::OpenQuote), first)
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.done {
            return None;
        }
        let (fields, bytes) = self.read()?;
        self.row += 1;
        Some(Record { row: self.row, fields, bytes })
    }
}

/// Splits the lines of one record into fields as they come.
struct Splitter {
    delimiter: u8,
    end: u8,
    state: State,
    field: Vec<u8>,
    fields: Vec<Vec<u8>>,
    overflow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    /// After a quotation mark inside quotes: the end of them, or half of a doubled one.
    Closing,
}

impl Splitter {
    const fn new(delimiter: u8, end: u8) -> Self {
        Self {
            delimiter,
            end,
            state: State::FieldStart,
            field: Vec::new(),
            fields: Vec::new(),
            overflow: false,
        }
    }

    /// Whether the record goes on in the next line.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn feed(&mut self, line: &[u8]) {
        for byte in line {
            self.state = match (self.state, *byte) {
                (State::FieldStart, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::Closing,
                (State::Quoted, byte) => self.push(byte, State::Quoted),
                (State::Closing, b'"') => self.push(b'"', State::Quoted),
                (_, byte) if byte == self.delimiter => self.close(),
                (state, b'\r' | b'\n') => state,
                (state, byte) if byte == self.end => state,
                (_, byte) => self.push(byte, State::Bare),
            };
        }
    }

    fn push(&mut self, byte: u8, state: State) -> State {
        self.field.push(byte);
        state
    }

    fn close(&mut self) -> State {
        let field = std::mem::take(&mut self.field);
        if self.fields.len() < FIELDS {
            self.fields.push(field);
        } else {
            self.overflow = true;
        }
        State::FieldStart
    }

    fn finish(mut self) -> Fields {
        self.close();
        if self.overflow { Err(Fault::TooManyFields) } else { Ok(self.fields) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(text: &str) -> Vec<(u64, Result<Vec<String>, Fault>)> {
        Records::new(text.as_bytes(), b',', b'\n')
            .map(|r| {
                let text = |f: Vec<u8>| String::from_utf8_lossy(&f).into_owned();
                (r.row, r.fields.map(|fields| fields.into_iter().map(text).collect()))
            })
            .collect()
    }

    fn row(fields: &[&str]) -> Result<Vec<String>, Fault> {
        Ok(fields.iter().map(|f| (*f).to_owned()).collect())
    }

    #[test]
    fn quotes_and_line_breaks_are_read() {
        let text = "a,\"b\"\"c\nd\",e\r\n5\" pipe,,\n\"x\"y,z";
        assert_eq!(
            records(text),
            [
                (1, row(&["a", "b\"c\nd", "e"])),
                (2, row(&["5\" pipe", "", ""])),
                (3, row(&["xy", "z"])),
            ]
        );
    }

    #[test]
    fn an_open_quote_spoils_one_line() {
        let text = "a,b\nc,\"d\ne,f\ng,h\n";
        assert_eq!(
            records(text),
            [
                (1, row(&["a", "b"])),
                (2, Err(Fault::OpenQuote)),
                (3, row(&["e", "f"])),
                (4, row(&["g", "h"])),
            ]
        );
        let many = records(&"a,\"b\n".repeat(401));
        assert!(many.len() <= 401);
        // An odd number of quotes pairs up line by line until the last one stays open.
        assert_eq!(many.last().unwrap().1, Err(Fault::OpenQuote));
    }

    #[test]
    fn endless_quotes_end_the_file() {
        let text = format!("\"a\n{}", "x\n".repeat(RECORD_LINES + 1)).repeat(70);
        let found = records(&text);
        let faults: Vec<_> = found.iter().filter(|(_, f)| f.is_err()).collect();
        assert_eq!(faults.len(), 65);
        assert_eq!(found.last().unwrap().1, Err(Fault::TooManyOpenQuotes));
    }

    #[test]
    fn rows_over_their_bounds_are_refused_by_themselves() {
        let text = format!("a\n{}\n{}\nb\n", "x".repeat(RECORD_BYTES + 1), ",".repeat(FIELDS));
        let found = records(&text);
        assert_eq!(found[1].1, Err(Fault::TooLarge));
        assert_eq!(found[2].1, Err(Fault::TooManyFields));
        assert_eq!(found[3].1, row(&["b"]));
    }

    proptest! {
        #[test]
        fn well_formed_tables_are_read_as_the_csv_crate_reads_them(
            table in proptest::collection::vec(proptest::collection::vec("[a-c\",\n\r; ]{0,8}", 2..5), 1..6)
        ) {
            let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &table {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let found: Vec<Vec<String>> = records(&text).into_iter().map(|(_, f)| f.unwrap()).collect();
            prop_assert_eq!(found, table);
        }

        #[test]
        fn any_bytes_are_read_to_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Records::new(bytes.as_slice(), b',', b'\n').count() <= bytes.len() + 1);
        }
    }
}
