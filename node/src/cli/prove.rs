//! `tally prove`: one file from which anybody can verify a record, offline.

use std::path::PathBuf;

use serde_json::json;
use tallystick_protocol::proof::record::UnverifiedRecordProof;

use super::Global;
use super::output::Answer;
use super::wording::count;
use crate::failure::Failure;
use crate::partner::replace;

/// Write a proof of a record, to be verified offline with `tally verify`
#[derive(Clone, Debug, clap::Args)]
pub struct Prove {
    /// The record, as `tally search` shows it; may be shortened while unique.
    #[arg(value_name = "REF")]
    reference: String,
    /// Where to write the proof.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Prove {
    /// Runs the command. The proof is verified before it is written.
    ///
    /// # Errors
    /// A [`Failure`] by the node, or if the file cannot be written.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let query = [("ref", self.reference.clone())];
        let bytes = global.client()?.get_bytes("proof", &query)?;
        let proof = UnverifiedRecordProof::parse(&bytes).and_then(|proof| proof.verify(&[]));
        let proof = proof.map_err(|error| {
            Failure::internal(format!("the node gave a proof that does not verify ({error})"))
        })?;
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
        });
        Ok(Answer::done(text, json))
    }
}
