//! What a file is, by its first bytes: encoding, JSON or a table.
//!
//! [`Plain`] turns UTF-16 into UTF-8 while reading and drops a byte order
//! mark; bytes that are neither are passed on, since Windows-1252 is told from
//! UTF-8 line by line ([`super::text::decode`]). Deliberately absent: opening
//! spreadsheets and archives, which are recognised in order to say what to do.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Decoder, Encoding, UTF_16BE, UTF_16LE};

/// What a foreign file is read from: seekable, since its columns are looked at twice.
pub trait Input: Read + Seek + Send {}
impl<T: Read + Seek + Send> Input for T {}

/// Bytes looked at to tell what a file is.
const SAMPLE_BYTES: usize = 256 << 10;
const CHUNK_BYTES: usize = 16 << 10;

/// What the first bytes of a file say.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The encoding, if it is UTF-16.
    pub(super) encoding: Option<&'static Encoding>,
    /// The first part of the file, in UTF-8 or Windows-1252.
    pub(super) bytes: Vec<u8>,
    /// Why it is no text, if it is none.
    pub(super) binary: Option<&'static str>,
}

/// Looks at the beginning of `input` and goes back to it.
///
/// # Errors
/// If the input cannot be read.
pub(super) fn sample(input: &mut dyn Input) -> io::Result<Sample> {
    input.seek(SeekFrom::Start(0))?;
    let mut first = Vec::new();
    input.take(SAMPLE_BYTES as u64).read_to_end(&mut first)?;
    input.seek(SeekFrom::Start(0))?;
    let encoding = utf16(&first);
    let mut bytes = Vec::new();
    Plain::new(first.as_slice(), encoding).read_to_end(&mut bytes)?;
    let binary = binary(&first, &bytes);
    Ok(Sample { encoding, bytes, binary })
}

/// By its byte order mark, or by the noughts that Latin letters leave.
fn utf16(first: &[u8]) -> Option<&'static Encoding> {
    match first {
        [0xFF, 0xFE, ..] => return Some(UTF_16LE),
        [0xFE, 0xFF, ..] => return Some(UTF_16BE),
        _ => {}
    }
    let head = first.get(..first.len().min(512) & !1).unwrap_or_default();
    let noughts = |offset| head.iter().skip(offset).step_by(2).filter(|b| **b == 0).count();
    let (even, odd, half) = (noughts(0), noughts(1), head.len() / 2);
    if half < 4 {
        None
    } else if odd * 10 > half * 8 && even == 0 {
        Some(UTF_16LE)
    } else if even * 10 > half * 8 && odd == 0 {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// What a file that is no text probably is.
fn binary(first: &[u8], text: &[u8]) -> Option<&'static str> {
    let lower: Vec<u8> = text.iter().take(256).map(u8::to_ascii_lowercase).collect();
    let lower = lower.trim_ascii_start();
    let markup = lower.starts_with(b"<!doctype")
        || lower.starts_with(b"<html")
        || lower.starts_with(b"<?xml");
    if first.starts_with(b"PK\x03\x04") {
        Some("a spreadsheet or zip archive")
    } else if first.starts_with(b"\xD0\xCF\x11\xE0") {
        Some("an old spreadsheet")
    } else if first.starts_with(b"\x1F\x8B") {
        Some("a compressed file")
    } else if first.starts_with(b"%PDF") {
        Some("a PDF document")
    } else if markup {
        Some("a web page or XML document")
    } else if text.contains(&0) {
        Some("a binary file")
    } else {
        None
    }
}

/// A file as UTF-8 without byte order mark, or as the Windows-1252 it is.
pub(super) struct Plain<R> {
    input: R,
    decoder: Option<Decoder>,
    ready: Vec<u8>,
    taken: usize,
    started: bool,
    ended: bool,
    read: Arc<AtomicU64>,
}

impl<R: Read> Plain<R> {
    pub(super) fn new(input: R, encoding: Option<&'static Encoding>) -> Self {
        Self {
            input,
            decoder: encoding.map(Encoding::new_decoder_with_bom_removal),
            ready: Vec::new(),
            taken: 0,
            started: false,
            ended: false,
            read: Arc::default(),
        }
    }

    /// The number of bytes taken from the input so far, for a progress bar.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    fn refill(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let count = self.input.read(&mut chunk)?;
        chunk.truncate(count);
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        self.ended = count == 0;
        self.taken = 0;
        match &mut self.decoder {
            None => {
                // A UTF-8 mark of three bytes arrives in one read from a file or slice.
                if !std::mem::replace(&mut self.started, true) && chunk.starts_with(b"\xEF\xBB\xBF")
                {
                    self.taken = 3;
                }
                self.ready = chunk;
            }
            Some(decoder) => {
                let room = decoder.max_utf8_buffer_length(count).unwrap_or(4 * CHUNK_BYTES);
                let mut text = String::with_capacity(room);
                let _ = decoder.decode_to_string(&chunk, &mut text, self.ended);
                self.ready = text.into_bytes();
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken >= self.ready.len() {
            if self.ended {
                return Ok(0);
            }
            self.refill()?;
        }
        let mut ready = self.ready.get(self.taken..).unwrap_or_default();
        let count = ready.read(into)?;
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn utf16(text: &str, mark: bool, little: bool) -> Vec<u8> {
        let mark = mark.then_some(0xFEFF);
        let bytes = |u: u16| if little { u.to_le_bytes() } else { u.to_be_bytes() };
        mark.into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn utf16_and_marks_become_plain_utf8() {
        let text = "Title,Supplier\r\nCafé £5,Ashby\r\n".repeat(2000);
        let marked = [b"\xEF\xBB\xBF", text.as_bytes()].concat();
        let inputs = [
            text.clone().into_bytes(),
            marked,
            utf16(&text, true, true),
            utf16(&text, true, false),
            utf16(&text, false, true),
            utf16(&text, false, false),
        ];
        for input in inputs {
            let sample = sample(&mut Cursor::new(&input)).unwrap();
            assert!(sample.binary.is_none());
            assert!(text.as_bytes().starts_with(sample.bytes.get(..1000).unwrap()));
            let mut all = String::new();
            Plain::new(input.as_slice(), sample.encoding).read_to_string(&mut all).unwrap();
            assert_eq!(all, text);
        }
    }

    #[test]
    fn files_that_are_no_text_are_named() {
        for (bytes, name) in [
            (&b"PK\x03\x04rest"[..], "a spreadsheet or zip archive"),
            (b"%PDF-1.7", "a PDF document"),
            (b"\x1F\x8B\x08", "a compressed file"),
            (b" <!DOCTYPE html>", "a web page or XML document"),
            (b"ab\0\0\0c\x01d", "a binary file"),
        ] {
            assert_eq!(sample(&mut Cursor::new(bytes)).unwrap().binary, Some(name));
        }
        assert_eq!(sample(&mut Cursor::new(b"a,b\n1,2")).unwrap().binary, None);
    }
}
