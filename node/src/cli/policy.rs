//! `tally policy`: the file with which others check an authority's witnesses.
//!
//! The file is a C2SP tlog-policy: anybody may change it, or write another, with
//! an editor. **Invariant:** no file is written that its reader would refuse.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;
use tallystick_protocol::witness::policy::Policy as Parsed;

use super::Global;
use super::output::Answer;
use super::wording::named;
use crate::failure::Failure;
use crate::partner::replace;
use crate::service::answer::{PolicyView, PolicyWitness};

/// What the policy calls the witnesses together.
const GROUP: &str = "witnesses";
/// Longest name of a witness in the file.
const NAME: usize = 40;

/// Write the witness policy of an authority, for `tally verify --policy`
#[derive(Clone, Debug, clap::Args)]
pub struct Policy {
    /// The authority: its id, the beginning of that, or its exact name; this one, if
    /// none is given.
    #[arg(value_name = "AUTHORITY")]
    authority: Option<String>,
    /// Where to write it; without it, the policy is the answer.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Policy {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] by the node, or if the file cannot be written.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let query: Vec<_> = self.authority.iter().map(|name| ("authority", name.clone())).collect();
        let view: PolicyView = global.client()?.get("policy", &query)?;
        let policy = write(&view);
        Parsed::parse(policy.as_bytes()).map_err(|error| {
            Failure::internal(format!("the policy that was made cannot be read: {error}"))
        })?;
        let mut json = json!(view);
        if let Some(object) = json.as_object_mut() {
            object.insert("policy".to_owned(), json!(policy));
            object.insert("file".to_owned(), json!(self.output));
        }
        let Some(path) = &self.output else { return Ok(Answer::done(policy, json)) };
        replace(path, policy.as_bytes()).map_err(|error| {
            let remedy = "name a file in a directory that you may write to with -o FILE";
            Failure::unwritten(path, &error, remedy)
        })?;
        let who = named(view.name.as_deref(), view.known.as_ref(), &view.authority.short());
        let confirms = match view.quorum {
            0 => "its profile asks for no witnesses, so the policy only names its log".to_owned(),
            quorum => {
                format!("{quorum} of its {} witnesses confirm a record", view.witnesses.len())
            }
        };
        let text = format!(
            "{} is the policy of {who}\n  {confirms}; use it with `tally verify FILE --policy {0}`\n",
            path.display(),
        );
        Ok(Answer::done(text, json))
    }
}

/// The file.
fn write(view: &PolicyView) -> String {
    let who = named(view.name.as_deref(), view.known.as_ref(), "its name is not known");
    let mut text = format!(
        "# Whose cosignatures confirm what this authority says, by its own profile:\n\
         # {who}\n# {}\n# Make it anew with `tally policy` when its keys or witnesses change.\n\
         log {}\n",
        view.authority, view.log,
    );
    for (generation, key) in view.closed_logs.iter().enumerate() {
        text.push_str(&format!(
            "# Generation {generation} is closed. To admit what stands of it, take the # off the\n\
             # next line, and give `tally verify` the author's newest card, too.\n# log {key}\n"
        ));
    }
    text.push_str(&parties(&view.witnesses, view.quorum));
    text
}

fn parties(witnesses: &[PolicyWitness], quorum: u32) -> String {
    let (mut text, mut members, mut keys) = (String::new(), Vec::new(), BTreeSet::new());
    for witness in witnesses {
        let who = named(witness.name.as_deref(), witness.known.as_ref(), "its name is not known");
        let about = format!("\n# {who}\n# {}\n", witness.authority);
        match &witness.key {
            Some(key) if keys.insert(key) => {
                let name = plain(witness.name.as_deref().unwrap_or_default(), &members);
                text.push_str(&format!("{about}witness {name} {key}\n"));
                members.push(name);
            }
            _ => text.push_str(&format!("{about}# Its key is not known here.\n")),
        }
    }
    text.push('\n');
    match quorum {
        0 => text.push_str("# Its profile asks for no witnesses.\nquorum none\n"),
        quorum => {
            let members = members.join(" ");
            text.push_str(&format!("group {GROUP} {quorum} {members}\nquorum {GROUP}\n"));
        }
    }
    text
}

/// A name as a word that is not taken: `Oak District Council` is `oak-district-council`.
fn plain(name: &str, taken: &[String]) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().take(NAME).map(letter).collect();
    let words: Vec<_> = name.split('-').filter(|word| !word.is_empty()).collect();
    let name = if words.is_empty() { "witness".to_owned() } else { words.join("-") };
    let free = |name: &String| !taken.contains(name) && ![GROUP, "none"].contains(&name.as_str());
    let numbered = (2_usize..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::checkpoint::witness_key;
    use tallystick_protocol::confirmation::Confirmation;
    use tallystick_protocol::id::AuthorityId;
    use tallystick_protocol::key::SecretKey;

    fn witness(number: u8, name: Option<&str>) -> PolicyWitness {
        let authority = AuthorityId::from_bytes([number; 32]);
        let public = SecretKey::from_seed([number; 32]).public();
        let key = witness_key(&"test".parse().unwrap(), &authority, public).to_string();
        let known = name.map(|_| Confirmation::Pinned.into());
        PolicyWitness { authority, name: name.map(str::to_owned), known, key: Some(key) }
    }

    #[test]
    fn whatever_witnesses_are_called_the_policy_can_be_read() {
        let names = ["none", "witnesses", "Oak", "oak!", "", "\u{7}\u{202e}", "Böring by Sea"];
        let named: Vec<_> = (1..).zip(names).map(|(n, name)| witness(n, Some(name))).collect();
        let nameless = [witness(20, None), PolicyWitness { key: None, ..witness(21, None) }];
        let all: Vec<_> = named.into_iter().chain(nameless).collect();
        for quorum in 0..=8 {
            let text = parties(&all, quorum);
            let policy = Parsed::parse(text.as_bytes()).unwrap();
            assert_eq!((policy.witnesses().len(), policy.needed()), (8, quorum as usize));
        }
        let taken = |name: &str| plain(name, &["oak".to_owned(), "oak-2".to_owned()]);
        assert_eq!(taken("Oak"), "oak-3");
        assert_eq!(taken("Böring by Sea"), "b-ring-by-sea");
        assert_eq!(taken("None"), "none-2");
    }
}
