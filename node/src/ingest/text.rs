//! Cleaning foreign text: what publishers wrote, without what their systems did to it.
//!
//! [`line()`] is for titles and names, [`block`] for descriptions. Both undo, in
//! this order: escaped line ends (`\r\n` as letters), HTML entities and tags
//! (twice, since some exports escape twice), UTF-8 that was read as
//! Windows-1252, control and invisible characters, and runs of white space. A
//! text in which nothing is left is `None`.
//!
//! **Invariant:** text that is not damaged comes out as it went in, apart from
//! white space. Repair is per character sequence and only where the sequence
//! can hardly have been meant (`â€™`, `Ã©`, `Â£`).
//!
//! Deliberately absent: guessing languages, and legacy encodings other than
//! Windows-1252 and UTF-16 ([`super::open`] turns the latter into UTF-8).

use std::borrow::Cow;

/// Longest title or name kept, in bytes.
pub const LINE_BYTES: usize = 1024;
/// Longest description kept, in bytes.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Text of a file in UTF-8 or, where that is not valid, Windows-1252.
#[must_use]
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// A title or name on one line; `None` if nothing is left.
#[must_use]
pub fn line(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    for word in clean(raw).split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    (!out.is_empty() && !is_null(&out)).then_some(out)
}

/// A description with its line breaks; at most one blank line in a row.
#[must_use]
pub fn block(raw: &str) -> Option<String> {
    let text = clean(raw);
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for row in text.lines() {
        let mut words = row.split_whitespace().peekable();
        if words.peek().is_none() {
            blank = true;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if blank { "\n\n" } else { "\n" });
        }
        blank = false;
        out.push_str(&words.collect::<Vec<_>>().join(" "));
    }
    (!out.is_empty() && !is_null(&out)).then_some(out)
}

/// Shortens `text` to at most `bytes` bytes with a final ellipsis; says whether it had to.
#[must_use]
pub fn cut(mut text: String, bytes: usize) -> (String, bool) {
    if text.len() <= bytes {
        return (text, false);
    }
    let mut end = bytes.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
    (text, true)
}

/// Whether a cell says only that there is nothing to say: `N/A`, `-`, `TBC`…
#[must_use]
pub fn is_placeholder(text: &str) -> bool {
    // The longest of these words has thirteen letters: no need to fold a description.
    let letters = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    let folded: String = letters.take(14).collect();
    matches!(
        folded.as_str(),
        "" | "na"
            | "none"
            | "null"
            | "nil"
            | "tbc"
            | "tba"
            | "tbd"
            | "unknown"
            | "notknown"
            | "notapplicable"
            | "notspecified"
            | "notstated"
            | "notprovided"
            | "blank"
            | "tobeconfirmed"
            | "notavailable"
            | "notrecorded"
    )
}

fn is_null(text: &str) -> bool {
    text == "null" || text == "NULL"
}

/// Everything but white space.
fn clean(raw: &str) -> Cow<'_, str> {
    if raw.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n') && !matches!(b, b'&' | b'<' | b'\\')) {
        return Cow::Borrowed(raw);
    }
    let mut text = unescape_line_ends(raw);
    for _ in 0..2 {
        if text.contains('&') {
            text = Cow::Owned(html_escape::decode_html_entities(&text).into_owned());
        }
        if text.contains('<') {
            text = Cow::Owned(strip_tags(&text));
        }
    }
    if !text.is_ascii() {
        for _ in 0..2 {
            match repair(&text) {
                Some(repaired) => text = Cow::Owned(repaired),
                None => break,
            }
        }
    }
    Cow::Owned(visible(&text))
}

/// Line ends written as letters, `\r\n`, become line ends, or nothing before a real one.
///
/// Contracts Finder's search notices hold them. A lone `\n` in `C:\new` stays.
fn unescape_line_ends(raw: &str) -> Cow<'_, str> {
    if !raw.contains("\\r") && !raw.contains("\\n") {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let mut after = escape;
        let (mut letters, mut lines) = (0, 0);
        while let Some(next) = after.strip_prefix("\\r").or_else(|| after.strip_prefix("\\n")) {
            letters += 1;
            lines += usize::from(after.starts_with("\\n"));
            after = next;
        }
        if letters > 0 && after.starts_with(['\r', '\n']) {
            rest = after;
        } else if letters > 1 {
            out.extend(std::iter::repeat_n('\n', lines.max(1)));
            rest = after;
        } else {
            out.push('\\');
            rest = escape.strip_prefix('\\').unwrap_or_default();
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Removes HTML tags and comments; a `<` that opens no tag known here stays.
fn strip_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        if let Some((name, after)) = tag_at(tag) {
            rest = after;
            if matches!(name.as_str(), "script" | "style") && !tag.starts_with("</") {
                rest = end_of_element(after, &name);
            }
            if BREAKING_TAGS.contains(&name.as_str()) {
                out.push('\n');
            }
        } else {
            out.push('<');
            rest = tag.strip_prefix('<').unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// The lower-case name of the tag that `text` starts with, and what follows the tag.
fn tag_at(text: &str) -> Option<(String, &str)> {
    if let Some(comment) = text.strip_prefix("<!--") {
        return comment.split_once("-->").map(|(_, after)| ("!--".to_owned(), after));
    }
    let inner = text.strip_prefix('<')?;
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != ':')?;
    let (name, rest) = inner.split_at_checked(end)?;
    let name = name.to_ascii_lowercase();
    let known = BREAKING_TAGS.contains(&name.as_str()) || INLINE_TAGS.contains(&name.as_str());
    if !known || !rest.starts_with([' ', '\t', '\r', '\n', '/', '>']) {
        return None;
    }
    rest.split_once('>').map(|(_, after)| (name, after))
}

/// What follows the closing tag of `name`, or nothing if it never closes.
fn end_of_element<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        let closing = rest.get(at..).unwrap_or_default();
        match tag_at(closing) {
            Some((found, after)) if found == name => return after,
            _ => rest = closing.get(2..).unwrap_or_default(),
        }
    }
    ""
}

const BREAKING_TAGS: &[&str] = &[
    "br",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "pre",
];
const INLINE_TAGS: &[&str] = &[
    "a", "b", "i", "u", "em", "strong", "span", "font", "sup", "sub", "small", "td", "th", "tbody",
    "thead", "img", "html", "head", "body", "meta", "link", "style", "script", "o:p", "code",
    "strike", "center", "section", "article", "label",
];

/// Undoes one round of UTF-8 read as Windows-1252 or Latin-1; `None` if there was none.
fn repair(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if let Some((meant, length)) = damaged(&chars, at) {
            out.push(meant);
            at += length;
            changed = true;
        } else {
            out.push(c);
            at += 1;
        }
    }
    changed.then_some(out)
}

/// The character that was meant at `at`, and how many characters stand in its place.
fn damaged(chars: &[char], at: usize) -> Option<(char, usize)> {
    let lead = byte_of(*chars.get(at)?)?;
    // Two-byte sequences beyond U+017F are left alone: `Ø±` is a tolerance, not Arabic.
    let length = match lead {
        0xC2..=0xC5 => 2,
        0xE1..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    let sequence = chars.get(at..at.checked_add(length)?)?;
    let bytes: Option<Vec<u8>> = sequence.iter().map(|c| byte_of(*c)).collect();
    let meant = std::str::from_utf8(&bytes?).ok()?.chars().next()?;
    if length == 2 && sequence.get(1).is_some_and(|c| "‘’“”–—…•‚„‹›".contains(*c))
    {
        // `IRMÃ”` is a Portuguese word and a closing quotation mark; `KÃ–LN` is damage.
        let before = at.checked_sub(1).and_then(|i| chars.get(i));
        let after = chars.get(at + length);
        let word_ends_here =
            before.is_some_and(|c| c.is_alphabetic()) && !after.is_some_and(|c| c.is_alphabetic());
        if word_ends_here {
            return None;
        }
    }
    Some((meant, length))
}

/// The byte that Windows-1252 or Latin-1 shows as `c`, from 0x80 up.
fn byte_of(c: char) -> Option<u8> {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match u8::try_from(u32::from(c)) {
        Ok(byte) if byte >= 0x80 => Some(byte),
        Ok(_) => None,
        Err(_) => {
            let at = HIGH.iter().position(|h| *h == c)?;
            u8::try_from(at).ok().map(|at| 0x80 + at)
        }
    }
}

/// Drops control, invisible and direction-changing characters; other spaces become spaces.
fn visible(text: &str) -> String {
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\u{85}' => out.push('…'),
            // A C1 control is a Windows-1252 character that was read as Latin-1.
            '\u{80}'..='\u{9f}' => {
                let byte = [byte_of(c).unwrap_or(b' ')];
                let (shown, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&byte);
                out.extend(shown.chars().filter(|c| !c.is_control()));
            }
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}' => {}
            c if c.is_whitespace() => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(raw: &str) -> String {
        line(raw).unwrap_or_default()
    }

    #[test]
    fn entities_are_decoded_even_if_doubled() {
        assert_eq!(cleaned("St John&#039;s &amp; St Mary&apos;s"), "St John's & St Mary's");
        assert_eq!(cleaned("Roads &amp;amp; Bridges"), "Roads & Bridges");
        assert_eq!(cleaned("&pound;5&nbsp;m &#xE2;&#x80;&#x99;"), "£5 m ’");
        assert_eq!(cleaned("R&D; and B&B"), "R&D; and B&B");
    }

    #[test]
    fn tags_go_and_comparisons_stay() {
        assert_eq!(cleaned("<p>Grounds<br/>maintenance</p>"), "Grounds maintenance");
        assert_eq!(cleaned("&lt;b&gt;Bold&lt;/b&gt; claims"), "Bold claims");
        assert_eq!(cleaned("value < £5,000 and > £100"), "value < £5,000 and > £100");
        assert_eq!(cleaned("a <ref 12> stays"), "a <ref 12> stays");
        assert_eq!(cleaned("x<script>alert('<p>')</script>y<!-- z -->"), "xy");
        assert_eq!(cleaned("an open <b and no end"), "an open <b and no end");
    }

    #[test]
    fn mojibake_is_repaired() {
        for (damaged, meant) in [
            ("Childrenâ€™s services", "Children’s services"),
            ("Ã‰cole franÃ§aise", "École française"),
            ("Â£5,000", "£5,000"),
            ("TÅ· Gwyn", "Tŷ Gwyn"),
            ("KÃ–LN", "KÖLN"),
            ("framework.â€¯ The", "framework. The"),
            ("Childrenâ\u{80}\u{99}s", "Children’s"),
            ("SÃÂ£o", "São"),
            ("itÃ¢â‚¬â„¢s", "it’s"),
            ("it\u{92}s", "it’s"),
        ] {
            assert_eq!(cleaned(damaged), meant, "{damaged}");
        }
    }

    #[test]
    fn sound_text_is_left_alone() {
        for sound in [
            "Château Île-de-France",
            "São Paulo: PROMOÇÃO",
            "“IRMÃ”, a nun",
            "Ø±0.5 mm",
            "Ångström – ‘quoted’ … £5–10",
            "Tŷ Gwyn, Ynys Môn",
            "100 % of 5 m²",
            "C:\\new\\rows",
            "日本語",
            "Fish & Chips",
            "naïve café’s",
        ] {
            assert_eq!(cleaned(sound), sound);
        }
    }

    #[test]
    fn line_ends_and_controls_are_normalised() {
        assert_eq!(block("a\\r\\nb\\r\r\nc C:\\new").as_deref(), Some("a\nb\nc C:\\new"));
        let raw = "Lot 1 \\r\r\n\\r\r\nThe\u{7} aim\u{202e}\tis\r\n\r\n\r\nclear\u{200b}.\r";
        assert_eq!(block(raw).as_deref(), Some("Lot 1\n\nThe aim is\n\nclear."));
        assert_eq!(line(raw).as_deref(), Some("Lot 1 The aim is clear."));
    }

    #[test]
    fn nothing_is_none() {
        for empty in ["", " \r\n\t", "\u{feff}", "&nbsp;", "<p></p>", "null", "NULL"] {
            assert_eq!(line(empty), None, "{empty:?}");
            assert_eq!(block(empty), None, "{empty:?}");
        }
        assert!(is_placeholder(" N/A ") && is_placeholder("-") && is_placeholder("T.B.C."));
        assert!(!is_placeholder("N/A EVENT DAY"));
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(cut("abc".to_owned(), 3), ("abc".to_owned(), false));
        assert_eq!(cut("££££".to_owned(), 6), ("£…".to_owned(), true));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_windows_1252() {
        assert_eq!(decode(b"\x935\xa3\x94"), "“5£”");
        assert_eq!(decode("5£".as_bytes()), "5£");
    }

    proptest! {
        #[test]
        fn cleaning_never_panics_and_leaves_no_controls(raw in any::<String>()) {
            if let Some(text) = block(&raw) {
                prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }

        #[test]
        fn plain_words_come_out_as_they_went_in(raw in "[A-Za-z0-9,.()'-]{1,12}( [A-Za-z0-9,.()'-]{1,12}){0,6}") {
            prop_assume!(!is_null(&raw));
            prop_assert_eq!(line(&raw), Some(raw));
        }
    }
}
