//! Armour: bytes in a text that survives mail.
//!
//! Base64 in lines of 64 characters between a first and a last line. Wrapping,
//! quoting (`> `), indentation and trailing spaces added by mail programs do not
//! hurt. What is written has one spelling. Deliberately absent: which marks
//! stand around it, and how much may be read, which the users say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const COLUMNS: usize = 64;

/// Writes `bytes` between the lines `begin` and `end`, with a line feed at the end.
pub(crate) fn write(begin: &str, end: &str, bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut text = format!("{begin}\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every place is a boundary.
        let (line, tail) = rest.split_at(rest.len().min(COLUMNS));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(end);
    text.push('\n');
    text
}

/// Why there are no bytes in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Neither the marks nor the beginning of the one-line form.
    Absent,
    /// What stands there is not base64, or has no end.
    Damaged,
}

/// Finds bytes in a text: between the marks anywhere in it, or as one line that
/// starts with `prefix`.
pub(crate) fn find(text: &str, begin: &str, end: &str, prefix: &str) -> Result<Vec<u8>, Missing> {
    let encoded = match text.split_once(begin) {
        Some((_, rest)) => rest.split_once(end).ok_or(Missing::Damaged)?.0,
        None => text.trim_start().strip_prefix(prefix).ok_or(Missing::Absent)?,
    };
    read(encoded).ok_or(Missing::Damaged)
}

/// The bytes from what stands between the marks; `None` if it is damaged.
pub(crate) fn read(encoded: &str) -> Option<Vec<u8>> {
    // What mail programs add is outside the alphabet of base64.
    let kept = |c: &char| !c.is_whitespace() && *c != '>' && *c != '|';
    let encoded: String = encoded.chars().filter(kept).collect();
    STANDARD.decode(encoded).ok()
}
