//! `tally evidence`: which authorities signed two histories, and files that show it.
//!
//! A file is for people who have no node: a court, an auditor, the authority
//! itself. **Invariant:** it is verified before it is written.

use std::path::{Path, PathBuf};

use serde_json::json;
use tallystick_protocol::equivocation::UnverifiedEvidence;
use tallystick_protocol::record::Day;

use super::Global;
use super::output::Answer;
use super::wording::{count, day, named, table};
use crate::failure::Failure;
use crate::partner::replace;
use crate::service::answer::{EvidenceList, EvidenceState, EvidenceView};

/// List the evidence of authorities that signed two histories, and write it out
#[derive(Clone, Debug, clap::Args)]
pub struct Evidence {
    #[command(subcommand)]
    action: Option<Action>,
}

/// What is done with evidence besides listing it.
#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Write one piece to a file, to be verified anywhere with `tally verify`
    Export {
        /// Its number in the list, or the authority: its id, the beginning of that, or
        /// its exact name.
        #[arg(value_name = "AUTHORITY|N")]
        which: String,
        /// Where to write it.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

impl Evidence {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] by the node, or if the file cannot be written.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        if let Some(Action::Export { which, output }) = &self.action {
            return export(global, which, output);
        }
        let list: EvidenceList = global.client()?.get("evidence", &[])?;
        Ok(Answer::done(text(&list), json!(list)))
    }
}

fn export(global: &Global, which: &str, output: &Path) -> Result<Answer, Failure> {
    let query = [("which", which.to_owned())];
    let bytes = global.client()?.get_bytes("evidence/file", &query)?;
    let parsed = UnverifiedEvidence::parse_armour(&String::from_utf8_lossy(&bytes));
    let verified = parsed.and_then(|parsed| {
        let network = parsed.claimed_network().clone();
        parsed.verify(&network)
    });
    let evidence = verified.map_err(|error| {
        Failure::internal(format!("the node gave evidence that does not verify ({error})"))
    })?;
    replace(output, &bytes).map_err(|error| {
        let remedy = "name a file in a directory that you may write to with -o FILE";
        Failure::unwritten(output, &error, remedy)
    })?;
    let text = format!(
        "{} shows two histories of {}\n  {} bytes; anybody can check it with `tally verify {0}`\n",
        output.display(),
        evidence.authority(),
        count(bytes.len() as u64),
    );
    let json = json!({
        "file": output,
        "authority": evidence.authority(),
        "evidence": evidence.kind().name(),
        "bytes": bytes.len(),
    });
    Ok(Answer::done(text, json))
}

fn text(list: &EvidenceList) -> String {
    if list.evidence.is_empty() {
        return "No authority is known here to have signed two histories.\n".to_owned();
    }
    let rows: Vec<_> = list.evidence.iter().map(row).collect();
    format!(
        "{}\nWrite one out with `tally evidence export N -o FILE`. It shows that two were\n\
         signed, not who used the key, nor which is right.\n",
        table(&["N", "Authority", "Two", "Found", "State"], &rows)
    )
}

fn row(view: &EvidenceView) -> Vec<String> {
    let what = match (view.generation, view.position) {
        (Some(0), _) => "logs".to_owned(),
        (Some(generation), _) => format!("logs ({generation})"),
        (None, Some(_)) => "identities".to_owned(),
        (None, None) => view.evidence.clone(),
    };
    let state = match view.state {
        EvidenceState::Disputed => "DISPUTED",
        EvidenceState::Ended => "ended",
        EvidenceState::Settled => "one counts",
        EvidenceState::Open => "not decided here",
    };
    vec![
        view.number.to_string(),
        named(view.name.as_deref(), view.known.as_ref(), &view.authority.short()),
        what,
        view.found.map(date).unwrap_or_default(),
        state.to_owned(),
    ]
}

/// The day; `--json` has the second.
fn date(found: u64) -> String {
    let days = i32::try_from(found / 86_400).unwrap_or(i32::MAX);
    day(Day::from_number(days))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::confirmation::Confirmation;
    use tallystick_protocol::id::{AuthorityId, Hash};

    #[test]
    fn the_list_reads_as_a_table() {
        let view = |number: usize, state, generation: Option<u32>| EvidenceView {
            number,
            authority: AuthorityId::from_bytes([3; 32]),
            name: (number < 3).then(|| "Borough of Netherby".to_owned()),
            known: (number < 3).then_some(Confirmation::Pinned.into()),
            evidence: "fork".to_owned(),
            generation,
            position: generation.is_none().then_some(2),
            state,
            found: (number < 4).then_some(1_774_965_900),
            digest: Hash::from_bytes([7; 32]),
        };
        let evidence = vec![
            view(1, EvidenceState::Ended, Some(0)),
            view(2, EvidenceState::Disputed, Some(1)),
            view(3, EvidenceState::Settled, None),
            view(4, EvidenceState::Open, Some(0)),
        ];
        insta::assert_snapshot!(text(&EvidenceList { evidence }));
        assert_eq!(text(&EvidenceList::default()).lines().count(), 1);
    }
}
