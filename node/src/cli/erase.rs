//! `tally erase`: has the values of an own record deleted everywhere.
//!
//! With the key files of enough controllers (`--with`) it is carried out at
//! once, else after three days, in which a recovery can still undo it. The key
//! files are read here and never sent. **Invariant:** controllers sign only what
//! was asked for on this command line: the text the node gives is made anew and
//! compared, since whoever stole the server could give another.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tallystick_protocol::body::FieldName;
use tallystick_protocol::erasure::{Scope, message};
use tallystick_protocol::id::{RecordRef, Space};
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::client::Client;
use super::output::Answer;
use super::question::{confirm, passphrase_of};
use super::wording::{clean, pairs, several, table, time};
use crate::failure::Failure;
use crate::keys::{ControllerFile, Passphrase};
use crate::service::answer::{
    self, AlsoErased, Countersign, Countersignature, Erased, ErasureView, Erasures, HolderAnswer,
    LinkedErase,
};
use crate::service::reason;

/// Erase a record of this authority, or fields of it, at every holder
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "What is erased is hidden at once, here and at every partner that hears of it, \
and deleted three days later; a recovery by the controllers within that time brings back what a thief \
erased. With the signatures of enough controllers (--with) it is deleted at once. Names of fields, \
the header and the commitment stay, so that everything still verifies."
)]
pub struct Erase {
    /// The record, as `tally search` shows it; may be shortened while unique.
    #[arg(value_name = "REF", required_unless_present = "status")]
    reference: Option<String>,
    /// A field that is erased, and those below it; may be repeated. Without it, all are.
    #[arg(long, value_name = "FIELD")]
    field: Vec<String>,
    /// Why: personal-data, commercial-confidence, court-order or mistake.
    #[arg(long, value_name = "CODE", required_unless_present = "status")]
    reason: Option<String>,
    /// Key file of a controller, so that it is deleted at once; may be repeated.
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// A file whose first line is the passphrase of the key files.
    #[arg(long, value_name = "FILE", requires = "with")]
    passphrase_file: Option<PathBuf>,
    /// Leave alone its extract, or what it is an extract of, which are erased with it otherwise.
    #[arg(long)]
    only: bool,
    /// Only say what has become of erasures: all that are known, or those of REF.
    #[arg(long, conflicts_with_all = ["field", "reason", "with"])]
    status: bool,
}

impl Erase {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]: no such record or field, not this authority's, or not confirmed.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        if self.status {
            return self.show_status(global);
        }
        let code = self.reason.clone().unwrap_or_default();
        reason(&code)?;
        let client = global.client()?;
        let mut asked = answer::Erase {
            reference: self.reference.clone().unwrap_or_default(),
            fields: self.field.clone(),
            reason: code,
            countersignatures: Vec::new(),
            only: self.only,
            linked: Vec::new(),
        };
        let shown: Countersign = client.post("records/erase/message", &asked)?;
        asked.reference.clone_from(&shown.reference);
        let what = match self.field.as_slice() {
            [] => "all fields".to_owned(),
            fields => fields.join(", "),
        };
        let when = if self.with.is_empty() { "in three days" } else { "at once" };
        confirm(
            global,
            &format!(
                "{}: {} will be hidden now and deleted {when}, here and at every {}.{}",
                shown.reference,
                clean(&what),
                holder(shown.space),
                also_told(&shown.also),
            ),
        )?;
        asked.countersignatures = self.countersign(&asked, &shown)?;
        asked.linked = self.countersign_linked(&client, &asked, &shown)?;
        let erased: Erased = client.post("records/erase", &asked)?;
        Ok(told(&erased))
    }

    fn show_status(&self, global: &Global) -> Result<Answer, Failure> {
        let asked = self.reference.iter().map(|text| ("ref", text.clone())).collect::<Vec<_>>();
        let found: Erasures = global.client()?.get("records/erase", &asked)?;
        Ok(Answer::done(status(&found.erasures), json!(found)))
    }

    /// The same for each record that is erased with it.
    fn countersign_linked(
        &self,
        client: &Client,
        asked: &answer::Erase,
        shown: &Countersign,
    ) -> Result<Vec<LinkedErase>, Failure> {
        let also = shown.also.iter().filter(|_| !self.with.is_empty());
        let signed = also.map(|also| {
            let one = answer::Erase {
                reference: also.reference.clone(),
                fields: also.fields.clone(),
                reason: asked.reason.clone(),
                only: true,
                ..answer::Erase::default()
            };
            let text: Countersign = client.post("records/erase/message", &one)?;
            // What was confirmed is what is signed.
            if !text.reference.starts_with(&also.reference) {
                return Err(Failure::internal("the node gave the text for another record"));
            }
            let countersignatures = self.countersign(&one, &text)?;
            Ok(LinkedErase { reference: also.reference.clone(), countersignatures })
        });
        signed.collect()
    }

    /// Signatures of the controllers whose key files are given.
    fn countersign(
        &self,
        asked: &answer::Erase,
        shown: &Countersign,
    ) -> Result<Vec<Countersignature>, Failure> {
        if self.with.is_empty() {
            return Ok(Vec::new());
        }
        if !is_what_was_asked(asked, shown) {
            return Err(Failure::internal("the node gave another text to sign than was asked for"));
        }
        let given = self.passphrase_file.as_deref().map(Passphrase::read).transpose()?;
        let sign = |path: &PathBuf| {
            let file = ControllerFile::read(path)?;
            let public = file.public().to_string();
            let place = shown.controllers.iter().position(|key| *key == public);
            let place = place.and_then(|place| u32::try_from(place).ok()).ok_or_else(|| {
                Failure::usage(
                    format!("{} holds no key of a current controller", path.display()),
                    "`tally key show` says which keys may sign what",
                )
            })?;
            let secret = file.open(passphrase_of(&file, given.as_ref())?.as_ref())?;
            let signature = STANDARD.encode(secret.sign(shown.message.as_bytes()));
            Ok(Countersignature { controller: place, signature })
        };
        self.with.iter().map(sign).collect()
    }
}

/// Who holds what was said in a space.
const fn holder(space: Space) -> &'static str {
    match space {
        Space::Public => "partner",
        Space::Group(_) => "member of its group",
    }
}

/// What is erased as well.
fn also_told(also: &[AlsoErased]) -> String {
    let told = |other: &AlsoErased| {
        let fields = if other.fields.is_empty() { "all".into() } else { other.fields.join(", ") };
        let holder = holder(other.space);
        format!("\nWith it goes {} ({}), at every {holder}.", other.reference, clean(&fields))
    };
    let only = if also.is_empty() { "" } else { "\n--only leaves that alone." };
    also.iter().map(told).chain([only.to_owned()]).collect()
}

/// Whether the text says what was asked for, and nothing else.
fn is_what_was_asked(asked: &answer::Erase, shown: &Countersign) -> bool {
    let made = || {
        let RecordRef { authority, record, version } = shown.reference.parse().ok()?;
        let network = shown.message.lines().nth(1)?.parse().ok()?;
        let names = asked.fields.iter().map(|name| FieldName::new(name));
        let names = names.collect::<Result<BTreeSet<_>, _>>().ok()?;
        let scope = if names.is_empty() { Scope::Whole } else { Scope::Fields(names) };
        let reason = reason(&asked.reason).ok()?;
        let record = (record, version?);
        Some(message(&network, &authority, shown.space, record, &scope, reason))
    };
    made().is_some_and(|made| made == shown.message.as_bytes())
}

fn told(erased: &Erased) -> Answer {
    let due = time(UnixTime::from_seconds(erased.due));
    let when = match erased.countersigned {
        true => "hidden now, and deleted as soon as each holder hears of it".to_owned(),
        false => format!(
            "hidden now, and deleted on {due} or three days after witnesses have seen it, \
             whichever is later"
        ),
    };
    let mut text = format!("erased {}\n", erased.reference);
    erased.also.iter().for_each(|also| text.push_str(&format!("erased with it {also}\n")));
    text.push_str(&format!("  {when}\n"));
    if !erased.signed {
        text.push_str(
            "  stored, and signed as soon as partners have said what they know of this log\n",
        );
    }
    Answer::done(text, json!(erased))
}

fn status(erasures: &[ErasureView]) -> String {
    if erasures.is_empty() {
        return "nothing is erased\n".to_owned();
    }
    let rows: Vec<_> = erasures
        .iter()
        .map(|one| {
            let fields = if one.fields.is_empty() { "all".into() } else { one.fields.join(", ") };
            let name = one.authority_name.clone().unwrap_or_default();
            vec![one.reference.clone(), clean(&name), clean(&fields), one.reason.clone(), done(one)]
        })
        .collect();
    let heading = several(erasures.len() as u64, "erasure");
    let rows = table(&["Record", "Authority", "Fields", "Why", "Here"], &rows);
    let answered = erasures.iter().filter(|one| !one.answers.is_empty());
    let answered = answered.map(|one| format!("{}\n  {}\n", one.reference, answers(one)));
    format!("{heading}\n{rows}{}", answered.collect::<String>())
}

/// What holders have answered to an erasure.
fn answers(erasure: &ErasureView) -> String {
    let of = |answer: &HolderAnswer| {
        let name = match &answer.authority_name {
            Some(name) => clean(name),
            None => answer.authority.to_string(),
        };
        let until = match (&*answer.outcome, &answer.until) {
            ("held", Some(until)) => format!(" through {until}, under a legal hold"),
            ("held", None) => " under a legal hold".to_owned(),
            _ => String::new(),
        };
        format!("{name}: {}{until}", clean(&answer.outcome))
    };
    erasure.answers.iter().map(of).collect::<Vec<_>>().join("\n  ")
}

/// How far an erasure is carried out at this node.
pub(super) fn done(erasure: &ErasureView) -> String {
    let at = |seconds| time(UnixTime::from_seconds(seconds));
    match erasure.deleted {
        Some(deleted) => format!("deleted {}", at(deleted)),
        None if erasure.held => "hidden, and kept under a legal hold".to_owned(),
        None => format!("hidden, to be deleted {}", at(erasure.due)),
    }
}

/// What of a record is erased, for its page.
pub(super) fn on_page(erasures: &[ErasureView]) -> String {
    let line = |one: &ErasureView| {
        let fields =
            if one.fields.is_empty() { "all fields".into() } else { one.fields.join(", ") };
        (fields, format!("{}; {}", one.reason, done(one)))
    };
    let lines: Vec<_> = erasures.iter().map(line).collect();
    pairs(lines.iter().map(|(fields, what)| (fields.as_str(), what.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::erasure::Reason;
    use tallystick_protocol::id::{AuthorityId, RecordId, Version};

    fn shown(scope: &Scope, reason: Reason) -> Countersign {
        let (authority, record) = (AuthorityId::from_bytes([7; 32]), RecordId::from_bytes([8; 16]));
        let version = Version { generation: 0, index: 4 };
        let network = "made-up".parse().unwrap();
        let message =
            message(&network, &authority, Space::Public, (record, version), scope, reason);
        Countersign {
            reference: RecordRef { authority, record, version: Some(version) }.to_string(),
            space: Space::Public,
            message: String::from_utf8(message).unwrap(),
            controllers: Vec::new(),
            threshold: 1,
            also: Vec::new(),
        }
    }

    #[test]
    fn controllers_sign_only_what_was_asked_for() {
        let asked = answer::Erase {
            fields: vec!["title".to_owned()],
            reason: "mistake".to_owned(),
            ..answer::Erase::default()
        };
        let title = Scope::Fields(BTreeSet::from([FieldName::new("title").unwrap()]));
        assert!(is_what_was_asked(&asked, &shown(&title, Reason::Mistake)));
        assert!(!is_what_was_asked(&asked, &shown(&title, Reason::CourtOrder)));
        assert!(!is_what_was_asked(&asked, &shown(&Scope::Whole, Reason::Mistake)));
        let mut longer = shown(&title, Reason::Mistake);
        longer.message.push_str("value\n");
        assert!(!is_what_was_asked(&asked, &longer));
    }
}
