//! `tally hold`: keeps this authority's copy of a record though its author erases it.

use serde_json::json;
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::wording::{clean, pairs, several, time};
use crate::failure::Failure;
use crate::hold::Reason;
use crate::service::answer::{self, HoldView, Holds};

/// Keep this authority's copy of a record under a legal hold
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "What its author erases is hidden here as everywhere, and not deleted as long as \
the hold lasts; the author is told that a copy is held, until when, and not why. `tally search \
--held` finds it. What is deleted already cannot be held."
)]
pub struct Hold {
    /// The record, as `tally search` shows it; may be shortened while unique.
    #[arg(value_name = "REF", required_unless_present = "list")]
    reference: Option<String>,
    /// Why: foi, audit or litigation.
    #[arg(long, value_name = "CODE", required_unless_present_any = ["list", "release"])]
    reason: Option<String>,
    /// The last day of the hold, as 2027-03-31; without it, it lasts until it is released.
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// What is to be remembered of it, here only: a case number, say.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// End the hold: what was erased meanwhile is deleted.
    #[arg(long, conflicts_with_all = ["reason", "until", "note"])]
    release: bool,
    /// List the holds of this authority.
    #[arg(long, conflicts_with_all = ["reference", "reason", "until", "note", "release"])]
    list: bool,
}

impl Hold {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]: no such record, nothing of it kept here, or no hold to release.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        if let Some(code) = &self.reason {
            Reason::from_code(code)?;
        }
        let client = global.client()?;
        if self.list {
            let holds: Holds = client.get("records/hold", &[])?;
            return Ok(Answer::done(listed(&holds.holds), json!(holds)));
        }
        let asked = answer::Hold {
            reference: self.reference.clone().unwrap_or_default(),
            reason: self.reason.clone().unwrap_or_default(),
            until: self.until.clone(),
            note: self.note.clone(),
            release: self.release,
        };
        let view: HoldView = client.post("records/hold", &asked)?;
        Ok(Answer::done(told(&view), json!(view)))
    }
}

fn told(hold: &HoldView) -> String {
    let title = hold.title.as_deref().map(|title| format!(", {}", clean(title)));
    let name = format!("{}{}", hold.reference, title.unwrap_or_default());
    match hold.state.as_str() {
        "released" if hold.hidden => {
            format!("released {name}\n  what was erased of it is deleted now\n")
        }
        "released" => format!("released {name}\n"),
        _ => format!("held {name}\n  {}\n", lasts(hold)),
    }
}

fn lasts(hold: &HoldView) -> String {
    match &hold.until {
        Some(until) => format!("{}, through {until}", hold.reason),
        None => format!("{}, until it is released", hold.reason),
    }
}

fn listed(holds: &[HoldView]) -> String {
    if holds.is_empty() {
        return "nothing is held\n".to_owned();
    }
    let listed = holds.iter().map(one).collect::<Vec<_>>();
    format!("{}\n\n{}", several(holds.len() as u64, "hold"), listed.join("\n"))
}

fn one(hold: &HoldView) -> String {
    let state = match (hold.state.as_str(), hold.hidden) {
        ("holds", true) => "erased by its author, kept here hidden",
        ("holds", false) => "not erased",
        (_, true) => "the hold has lapsed, to be deleted",
        (_, false) => "the hold has lapsed",
    };
    let optional = |text: &Option<String>| text.as_deref().map(clean).unwrap_or_default();
    let lines = [
        ("Title", optional(&hold.title)),
        ("Authority", optional(&hold.authority_name)),
        ("Group", optional(&hold.group)),
        ("Held for", lasts(hold)),
        ("Since", time(UnixTime::from_seconds(hold.since))),
        ("State", state.to_owned()),
        ("Note", optional(&hold.note)),
    ];
    format!("{}\n{}", hold.reference, pairs(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(until: Option<&str>, state: &str, hidden: bool) -> HoldView {
        HoldView {
            reference: "tally1x/ab".to_owned(),
            authority_name: Some("Ash Borough Council".to_owned()),
            group: None,
            title: Some("Night haulage".to_owned()),
            reason: "foi".to_owned(),
            since: 1_790_000_000,
            until: until.map(str::to_owned),
            note: Some("request 2026/117".to_owned()),
            state: state.to_owned(),
            hidden,
        }
    }

    #[test]
    fn holds_are_told_in_plain_words() {
        insta::assert_snapshot!(
            [
                told(&hold(Some("2027-03-31"), "holds", false)),
                told(&hold(None, "released", true)),
                listed(&[]),
                listed(&[hold(Some("2027-03-31"), "holds", true), hold(None, "holds", false)]),
            ]
            .join("\n")
        );
    }
}
