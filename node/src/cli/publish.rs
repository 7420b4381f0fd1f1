//! `tally publish`: one document of one's own, as JSON in record form.

use std::fs::File;
use std::io::{self, Read as _};

use serde_json::{Value, json};
use tallystick_protocol::limits;

use super::Global;
use super::audience::{AudienceOptions, Offer, confirmed, who};
use super::output::Answer;
use super::wording::clean;
use crate::failure::Failure;
use crate::service::answer::{self, Published};
use crate::service::{document, extract, kind};

/// Publish one record of this authority
#[derive(Clone, Debug, clap::Args)]
pub struct Publish {
    /// What it is: contract, performance or pipeline.
    #[arg(value_name = "KIND")]
    kind: String,
    /// A JSON file with the document, or - for standard input.
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    audience: AudienceOptions,
    /// The record of which this is a new version; without it, it is a new record.
    #[arg(long, value_name = "REF")]
    replaces: Option<String>,
    /// The last day on which its values are kept, as 2030-03-31; then every holder deletes them.
    #[arg(long, value_name = "DATE")]
    retain_until: Option<String>,
    /// The confidential record of which this is an extract, for more people to see.
    #[arg(long, value_name = "REF")]
    extract_of: Option<String>,
    /// Share a performance note without waiting for the supplier's reply; the note says why.
    #[arg(long, value_name = "REASON")]
    without_reply: Option<String>,
}

impl Publish {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if the document is not valid, or by the node.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let kind = kind(&self.kind)?;
        let mut content = read(&self.file)?;
        let extract_of = self.extract_of.clone().or_else(|| extract::taken_out(&mut content));
        // The node judges it again; here a fault is found without a node.
        let record = document(kind, &content)?;
        let offer = match extract_of {
            Some(_) => Offer::extract(kind),
            None => Offer::of(&record),
        };
        let audience = self.audience.named(global, offer)?;
        let client = global.client()?;
        let audience = confirmed(&client, audience)?;
        let publish = answer::Publish {
            kind: self.kind.clone(),
            document: content,
            audience,
            reference: self.replaces.clone(),
            retain_until: self.retain_until.clone(),
            without_reply: self.without_reply.clone(),
            extract_of,
        };
        let published: Published = client.post("records", &publish)?;
        Ok(told("published", &published))
    }
}

pub(super) fn read(file: &str) -> Result<Value, Failure> {
    let most = limits::BODY_BYTES as u64 * 2;
    let mut text = Vec::new();
    let read = match file {
        "-" => io::stdin().lock().take(most + 1).read_to_end(&mut text),
        path => File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut text)),
    };
    read.map_err(|error| {
        Failure::usage(
            format!("{file} cannot be read ({error})"),
            "check the path and that you may read it",
        )
    })?;
    if text.len() as u64 > most {
        return Err(Failure::usage(
            format!("{file} is too large for one record"),
            "a record has at most one mebibyte; use `tally import` for files with many",
        ));
    }
    serde_json::from_slice(&text).map_err(|error| {
        Failure::usage(
            format!("{file} is not a JSON document ({error})"),
            "correct the file; use `tally import` for CSV and OCDS",
        )
    })
}

/// What was done to a record.
pub(super) fn told(done: &str, published: &Published) -> Answer {
    let mut text = format!("{done} {}\n", published.reference);
    text.push_str(&format!("  seen by {}\n", who(&published.audience)));
    for warning in &published.warnings {
        text.push_str(&format!("  look at this: {}\n", clean(warning)));
    }
    if !published.signed {
        text.push_str(
            "  stored, and signed as soon as partners have said what they know of this log\n",
        );
    }
    Answer::done(text, json!(published))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_document_are_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        let path = file.to_str().unwrap();
        for bad in ["", "{", "title: A", "{\"a\":1}{\"b\":2}"] {
            std::fs::write(&file, bad).unwrap();
            let failure = read(path).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert!(!failure.error.contains('\n'));
        }
        assert_eq!(read("/nonexistent").unwrap_err().kind.exit_code(), 2);
        std::fs::write(&file, vec![b' '; limits::BODY_BYTES * 2 + 1]).unwrap();
        assert!(read(path).unwrap_err().error.contains("too large"));
    }
}
