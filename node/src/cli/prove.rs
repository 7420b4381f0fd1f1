//! `tally prove`: one file from which anybody can verify a record, offline.
//!
//! What was said in a private group leaves it with the file, so that is asked first.

use std::path::PathBuf;

use serde_json::json;
use tallystick_protocol::proof::record::{
    ProvedAudience, UnverifiedRecordProof, VerifiedRecordProof,
};

use super::Global;
use super::output::{Answer, write_note};
use super::question::confirm;
use super::verify::space;
use super::wording::{clean, count, wrap};
use crate::failure::Failure;
use crate::partner::replace;

/// Widest line of the warning.
const COLUMNS: usize = 78;

/// Write a proof of a record, to be verified offline with `tally verify`
#[derive(Clone, Debug, clap::Args)]
pub struct Prove {
    /// The record, as `tally search` shows it; may be shortened while unique.
    #[arg(value_name = "REF")]
    reference: String,
    /// Where to write the proof.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A field that the proof shows, and those below it; may be repeated. Without it,
    /// all are shown. Names of the others stay visible.
    #[arg(long, value_name = "NAME")]
    field: Vec<String>,
}

impl Prove {
    /// Runs the command. The proof is verified before it is written.
    ///
    /// # Errors
    /// A [`Failure`] by the node, if the record may not leave its group, or if the file
    /// cannot be written.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let mut query = vec![("ref", self.reference.clone())];
        if !self.field.is_empty() {
            query.push(("fields", self.field.join(",")));
        }
        let bytes = global.client()?.get_bytes("proof", &query)?;
        let proof = UnverifiedRecordProof::parse(&bytes).and_then(|proof| proof.verify(&[]));
        let proof = proof.map_err(|error| {
            Failure::internal(format!("the node gave a proof that does not verify ({error})"))
        })?;
        if proof.audience() == ProvedAudience::Group {
            let warning = leaves_the_group(&proof);
            // Whoever said yes beforehand is told all the same.
            if global.yes {
                write_note(&warning);
            }
            confirm(global, &warning)?;
        }
        replace(&self.output, &bytes).map_err(|error| {
            let remedy = "name a file in a directory that you may write to with -o FILE";
            Failure::unwritten(&self.output, &error, remedy)
        })?;
        let reference = proof.reference();
        let text = format!(
            "{} proves {reference}\n  {} bytes; anybody can check it with `tally verify {0}`\n",
            self.output.display(),
            count(bytes.len() as u64),
        );
        let json = json!({
            "file": self.output,
            "ref": reference.to_string(),
            "bytes": bytes.len(),
            "space": space(proof.audience()),
        });
        Ok(Answer::done(text, json))
    }
}

/// What somebody does who proves to others what was said in a group.
fn leaves_the_group(proof: &VerifiedRecordProof) -> String {
    let facts = proof.facts();
    let names: Vec<_> = facts.fields.iter().map(|(name, _)| name.to_string()).collect();
    let shown = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let warning = format!(
        "This leaves the group. {} was said in a private group. Whoever gets the file can read \
         what it shows ({}), hand it on, and prove for ever that {} said so; nothing takes that \
         back. The names of all its fields are visible; the group and its members are not named.",
        facts.reference,
        clean(&shown),
        clean(&facts.profile.name),
    );
    wrap(&warning, COLUMNS).join("\n")
}
