//! JSON files as a stream of items: lines, lists, packages, single documents.
//!
//! A file may hold one item per line, or documents of any layout one after the
//! other. A document that is a list, or an object with one of the lists in
//! [`LISTS`] (release packages, record packages, search results), gives its
//! elements; any other object is itself an item. Only one item is in memory at
//! a time, whatever the size of the file, and an item over [`ITEM_BYTES`] is
//! refused by itself.
//!
//! Deliberately absent: what an item means.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use serde_json::Value;

use super::{Refusal, digest};

/// Largest item, or line, in bytes. The largest real releases have 450 kB.
pub const ITEM_BYTES: usize = 8 << 20;

/// The lists whose elements are the items of a document.
pub const LISTS: [&str; 5] = ["releases", "records", "results", "notices", "noticeList"];

/// One item with its number.
#[derive(Debug)]
pub(super) struct Item {
    /// Its line, or its place in the file, from 1.
    pub(super) number: u64,
    /// The item and the digest of the bytes it was read from, or why it is none.
    pub(super) content: Result<(Value, String), Refusal>,
}

/// Whether `sample`, the beginning of a file, looks like JSON.
pub(super) fn is_json(sample: &[u8]) -> bool {
    let start = sample.trim_ascii_start();
    let after = start.get(1..).unwrap_or_default().trim_ascii_start();
    match start.first() {
        Some(b'{') => after.is_empty() || after.starts_with(b"\"") || after.starts_with(b"}"),
        Some(b'[') => after.is_empty() || after.starts_with(b"{") || after.starts_with(b"]"),
        _ => false,
    }
}

/// Whether the file has one item per line: its first line or, if that is
/// damaged, its second is a whole JSON object and more follows.
pub(super) fn is_lines(sample: &[u8]) -> bool {
    let mut lines = sample.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty());
    let object = |line: Option<&[u8]>| {
        line.is_some_and(|l| l.starts_with(b"{") && l.ends_with(b"}") && is_whole(l))
    };
    let (first, second) = (lines.next(), lines.next());
    second.is_some() && (object(first) || object(second))
}

fn is_whole(line: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// Reads a file with one item per line.
pub(super) struct Lines<R> {
    input: R,
    line: u64,
    waiting: VecDeque<Item>,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: 0, waiting: VecDeque::new(), failed: false }
    }

    fn take(&mut self, bytes: Vec<u8>) {
        let number = self.line;
        match parse(&bytes) {
            Ok(value) => {
                let digest = digest(bytes.trim_ascii());
                for element in elements(value) {
                    self.waiting.push_back(Item { number, content: Ok((element, digest.clone())) });
                }
            }
            Err(refusal) => self.waiting.push_back(Item { number, content: Err(refusal) }),
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Some(item);
            }
            if self.failed {
                return None;
            }
            let mut bytes = Vec::new();
            self.line += 1;
            let number = self.line;
            match read_line(&mut self.input, &mut bytes, ITEM_BYTES, b'\n') {
                Ok(Line::End) => return None,
                Ok(Line::TooLong) => return Some(Item { number, content: Err(too_large()) }),
                Ok(Line::Whole) if bytes.trim_ascii().is_empty() => {}
                Ok(Line::Whole) => self.take(bytes),
                Err(error) => {
                    self.failed = true;
                    return Some(Item { number, content: Err(unreadable(&error)) });
                }
            }
        }
    }
}

/// What [`read_line`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line within the bound, with its end if it has one.
    Whole,
    /// A line over the bound; the rest of it was skipped.
    TooLong,
    /// The end of the file.
    End,
}

/// Appends one line to `into`, with its end; never more than `bound` bytes.
pub(super) fn read_line(
    input: &mut impl BufRead,
    into: &mut Vec<u8>,
    bound: usize,
    end: u8,
) -> io::Result<Line> {
    let mut seen = 0_usize;
    loop {
        let available = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            break;
        }
        let length = available.iter().position(|b| *b == end).map_or(available.len(), |at| at + 1);
        let part = available.get(..length).unwrap_or_default();
        let ended = part.ends_with(&[end]);
        seen = seen.saturating_add(length);
        if seen <= bound {
            into.extend_from_slice(part);
        }
        input.consume(length);
        if ended {
            break;
        }
    }
    Ok(match seen {
        0 => Line::End,
        seen if seen > bound => Line::TooLong,
        _ => Line::Whole,
    })
}

/// Reads a file that is one document, or several.
pub(super) struct Documents<R> {
    input: R,
    /// Where the reader stands.
    place: Place,
    /// The bytes of the item being read, up to the bound.
    tape: Vec<u8>,
    over: bool,
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between documents.
    Outside,
    /// In a list that is a document.
    List,
    /// In a list of a document that is an object.
    Member,
    /// Nothing more can be read.
    Done,
}

/// Why scanning stopped.
enum Stop {
    /// The file ends within a value.
    Truncated,
    /// A byte that cannot stand where it stands.
    Malformed,
    Unreadable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl<R: BufRead> Documents<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, place: Place::Outside, tape: Vec::new(), over: false, count: 0 }
    }

    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn bump(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?.ok_or(Stop::Truncated)?;
        self.input.consume(1);
        self.over |= self.tape.len() >= ITEM_BYTES;
        if !self.over {
            self.tape.push(byte);
        }
        Ok(byte)
    }

    /// Skips white space and says what follows it.
    fn ahead(&mut self) -> Result<Option<u8>, Stop> {
        while self.peek()?.is_some_and(|b| b.is_ascii_whitespace()) {
            self.bump()?;
        }
        self.peek()
    }

    fn start_tape(&mut self) {
        self.tape.clear();
        self.over = false;
    }

    /// Reads one value whose first byte is next, without looking into it.
    fn value(&mut self) -> Result<(), Stop> {
        let mut depth = 0_usize;
        loop {
            match self.ahead()?.ok_or(Stop::Truncated)? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    self.bump()?;
                    depth += 1;
                    continue;
                }
                b'}' | b']' => {
                    if depth == 0 {
                        return Err(Stop::Malformed);
                    }
                    self.bump()?;
                    depth -= 1;
                }
                b',' | b':' if depth > 0 => {
                    self.bump()?;
                    continue;
                }
                b',' | b':' => return Err(Stop::Malformed),
                _ => self.scalar()?,
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn string(&mut self) -> Result<(), Stop> {
        self.bump()?;
        loop {
            match self.bump()? {
                b'"' => return Ok(()),
                b'\\' => {
                    self.bump()?;
                }
                _ => {}
            }
        }
    }

    fn scalar(&mut self) -> Result<(), Stop> {
        let within = |b: u8| !b.is_ascii_whitespace() && !b",:[]{}\"".contains(&b);
        while self.peek()?.is_some_and(within) {
            self.bump()?;
        }
        Ok(())
    }

    /// Reads on to the next item; `None` at the end of the file.
    fn advance(&mut self) -> Result<Option<()>, Stop> {
        loop {
            let item = match self.place {
                Place::Done => return Ok(None),
                Place::Outside => self.document()?,
                Place::List | Place::Member => self.element()?,
            };
            if item {
                return Ok(Some(()));
            }
        }
    }

    /// From the beginning of a document to its first list, or over all of it. True for an item.
    fn document(&mut self) -> Result<bool, Stop> {
        match self.ahead()? {
            None => {
                self.place = Place::Done;
                Ok(false)
            }
            Some(b'[') => {
                self.bump()?;
                self.place = Place::List;
                Ok(false)
            }
            Some(b'{') => {
                self.start_tape();
                self.bump()?;
                self.members(true)
            }
            Some(_) => Err(Stop::Malformed),
        }
    }

    /// Over the members of an object until a list of items begins or the object
    /// ends. With `whole` the object itself is an item if it has no such list.
    fn members(&mut self, whole: bool) -> Result<bool, Stop> {
        let mut is_item = false;
        loop {
            match self.ahead()?.ok_or(Stop::Truncated)? {
                b'}' => {
                    self.bump()?;
                    self.place = Place::Outside;
                    return Ok(whole);
                }
                b',' => {
                    self.bump()?;
                }
                b'"' => {
                    let from = self.tape.len();
                    self.string()?;
                    let key = self.tape.get(from..).unwrap_or_default().trim_ascii();
                    let key = key.strip_prefix(b"\"").and_then(|k| k.strip_suffix(b"\""));
                    let key = key.and_then(|k| std::str::from_utf8(k).ok()).unwrap_or_default();
                    // A record has `ocid` and `releases`: it is one item.
                    is_item |= key == "ocid";
                    let listed = !is_item && LISTS.contains(&key);
                    if self.ahead()? != Some(b':') {
                        return Err(self.misplaced());
                    }
                    self.bump()?;
                    if self.ahead()? == Some(b'[') && listed {
                        self.bump()?;
                        self.place = Place::Member;
                        return Ok(false);
                    }
                    self.value()?;
                    if !whole {
                        self.start_tape();
                    }
                }
                _ => return Err(Stop::Malformed),
            }
        }
    }

    /// The next element of a list. True for an item, false at the end of the list.
    fn element(&mut self) -> Result<bool, Stop> {
        loop {
            match self.ahead()?.ok_or(Stop::Truncated)? {
                b',' => {
                    self.bump()?;
                }
                b']' => {
                    self.bump()?;
                    self.start_tape();
                    if self.place == Place::List {
                        self.place = Place::Outside;
                        return Ok(false);
                    }
                    return self.members(false);
                }
                _ => {
                    self.start_tape();
                    self.value()?;
                    return Ok(true);
                }
            }
        }
    }

    fn misplaced(&mut self) -> Stop {
        match self.peek() {
            Ok(None) => Stop::Truncated,
            Ok(Some(_)) => Stop::Malformed,
            Err(stop) => stop,
        }
    }
}

impl<R: BufRead> Iterator for Documents<R> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let advanced = self.advance();
        let number = self.count + 1;
        let content = match advanced {
            Ok(None) => return None,
            Ok(Some(())) if self.over => Err(too_large()),
            Ok(Some(())) => {
                let bytes = std::mem::take(&mut self.tape);
                parse(&bytes).map(|value| (value, digest(bytes.trim_ascii())))
            }
            Err(stop) => {
                self.place = Place::Done;
                Err(match stop {
                    Stop::Truncated => Refusal::new(
                        "the file ends in the middle of a JSON value; it may be cut short",
                    ),
                    Stop::Malformed => Refusal::new(
                        "the JSON is malformed here; the rest of the file was not read",
                    ),
                    Stop::Unreadable(error) => unreadable(&error),
                })
            }
        };
        self.count = number;
        Some(Item { number, content })
    }
}

/// One item from its bytes, which may be Windows-1252.
fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_str(&super::text::decode(bytes)).map_err(|error| {
        let place = if error.line() > 1 {
            format!("line {}, column {} of the item", error.line(), error.column())
        } else {
            format!("column {}", error.column())
        };
        if error.is_eof() {
            Refusal::new("the JSON ends in the middle of a value; the line may be cut short")
        } else if error.to_string().starts_with("recursion limit") {
            Refusal::new("the JSON is nested too deeply")
        } else {
            Refusal::new(format!("this is not valid JSON (at {place})"))
        }
    })
}

/// The items of a document that was read whole: a line may hold a package.
fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        Value::Object(mut object) if !object.contains_key("ocid") => {
            let list = LISTS.into_iter().find(|key| object.get(*key).is_some_and(Value::is_array));
            match list.and_then(|key| object.remove(key)) {
                Some(Value::Array(list)) => list,
                _ => vec![Value::Object(object)],
            }
        }
        other => vec![other],
    }
}

fn too_large() -> Refusal {
    Refusal::new(format!("this item is larger than {} MiB", ITEM_BYTES >> 20))
}

fn unreadable(error: &io::Error) -> Refusal {
    Refusal::new(format!("the file could not be read on ({error})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn documents(text: &str) -> Vec<Result<Value, String>> {
        let items = Documents::new(text.as_bytes());
        items.map(|i| i.content.map(|(value, _)| value).map_err(|r| r.reason)).collect()
    }

    #[test]
    fn every_shape_gives_its_items() {
        let item = json!({"a": [1, {"b": "]}\\\""}], "c": null});
        let two = vec![Ok(item.clone()), Ok(item.clone())];
        for text in [
            format!("[{item},{item}]"),
            format!("{{\"uri\":\"x\",\"releases\":[{item}, {item}],\"version\":\"1.1\"}}"),
            format!("{{\"links\":{{\"releases\":[1]}},\"records\": [\n{item}\n,{item}]}}"),
            format!("{item}\n{item}"),
            format!(" {item:#}{item:#} "),
        ] {
            assert_eq!(documents(&text), two, "{text}");
        }
        let record = json!({"ocid": "x", "releases": [{}, {}]});
        assert_eq!(documents(&record.to_string()), vec![Ok(record)]);
        assert_eq!(documents("{\"releases\":[]}"), vec![]);
        assert_eq!(documents("[]"), vec![]);
    }

    #[test]
    fn damage_is_said_where_it_is() {
        let truncated = documents("{\"releases\":[{\"a\":1},{\"a\":");
        assert_eq!(truncated.len(), 2);
        assert!(truncated[0].is_ok());
        assert!(truncated[1].as_ref().unwrap_err().contains("cut short"));
        assert_eq!(
            documents("{\"releases\":[{\"a\" 1},{\"b\":2}]}").iter().filter(|i| i.is_ok()).count(),
            1
        );
        assert!(documents("{\"a\":1} x")[1].as_ref().unwrap_err().contains("malformed"));
        assert!(documents("{\"a\"")[0].as_ref().unwrap_err().contains("cut short"));
    }

    #[test]
    fn an_item_over_its_bound_is_refused_by_itself() {
        let huge = format!("[{{\"a\":\"{}\"}},{{\"a\":1}}]", "x".repeat(ITEM_BYTES));
        let items = documents(&huge);
        assert!(items[0].as_ref().unwrap_err().contains("larger than 8 MiB"));
        assert_eq!(items[1], Ok(json!({"a": 1})));
        let lines = format!("{{\"a\":1}}\n{}\n{{\"a\":2}}\n", "x".repeat(ITEM_BYTES + 1));
        let items: Vec<_> =
            Lines::new(lines.as_bytes()).map(|i| (i.number, i.content.is_ok())).collect();
        assert_eq!(items, [(1, true), (2, false), (3, true)]);
    }

    #[test]
    fn a_damaged_line_spoils_only_itself() {
        let text = "{\"a\":1\n\n{\"a\":2}\r\n{\"releases\":[{\"a\":3},{\"a\":4}]}\nnonsense";
        assert!(is_lines(text.as_bytes()));
        let items: Vec<_> =
            Lines::new(text.as_bytes()).map(|i| (i.number, i.content.is_ok())).collect();
        assert_eq!(items, [(1, false), (3, true), (4, true), (4, true), (5, false)]);
    }

    #[test]
    fn layouts_are_told_apart() {
        assert!(is_json(b" {\n \"a\": 1}") && is_json(b"[{}]") && is_json(b"{}"));
        assert!(!is_json(b"Title,Supplier") && !is_json(b"[phone],x") && !is_json(b""));
        assert!(is_lines(b"{\"a\":1}\n{\"a\":2}"));
        assert!(
            !is_lines(b"{\"a\":1}\n") && !is_lines(b"{\n\"a\":1}\n") && !is_lines(b"[{},\n{}]")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Documents::new(bytes.as_slice()).count() <= bytes.len() + 1);
            prop_assert!(Lines::new(bytes.as_slice()).count() <= bytes.len() + 1);
        }

        #[test]
        fn any_json_like_text_is_read_to_the_end(text in "[\\[\\]{}:,\"a\\\\ 1]{0,60}") {
            prop_assert!(Documents::new(text.as_bytes()).count() <= text.len() + 1);
        }
    }
}
