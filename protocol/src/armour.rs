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

/// The bytes from what stands between the marks; `None` if it is damaged.
pub(crate) fn read(encoded: &str) -> Option<Vec<u8>> {
    // What mail programs add is outside the alphabet of base64.
    let kept = |c: &char| !c.is_whitespace() && *c != '>' && *c != '|';
    let encoded: String = encoded.chars().filter(kept).collect();
    STANDARD.decode(encoded).ok()
}
