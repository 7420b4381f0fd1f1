//! `tally search --held`: everything that this authority holds on a term, for whoever
//! answers a freedom-of-information request.

use serde_json::json;
use tallystick_protocol::time::UnixTime;

use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::progress::Progress;
use crate::cli::wording::{clean, day_text, known, pairs, several, time};
use crate::failure::{Failure, FailureKind};
use crate::search::Results;
use crate::service::answer::{ExemptionView, HeldPortion, HeldState, HeldView};

/// Looks through all that the node holds, portion by portion.
pub(super) fn run(global: &Global, text: &str, fail_empty: bool) -> Result<Answer, Failure> {
    let client = global.client()?;
    // About how many documents there are, for the bar.
    let all: Results = client.get("search", &[("limit", "0".to_owned())])?;
    let progress = Progress::over(all.total);
    let (mut held, mut scanned) = (Vec::new(), 0u64);
    let mut from: Option<String> = None;
    loop {
        let mut asked = vec![("text", text.to_owned())];
        asked.extend(from.map(|from| ("from", from)));
        let portion: HeldPortion = client.get("held", &asked)?;
        held.extend(portion.held);
        scanned += portion.scanned as u64;
        progress.reach(scanned);
        from = portion.next;
        if from.is_none() {
            break;
        }
    }
    progress.finish();
    let answer = Answer::done(
        told(&held, scanned),
        json!({ "total": held.len(), "scanned": scanned, "held": held }),
    );
    let empty = held.is_empty() && fail_empty;
    Ok(if empty { answer.with_exit(FailureKind::No) } else { answer })
}

fn told(held: &[HeldView], scanned: u64) -> String {
    let heading = format!(
        "{} held, of {} looked through.\n",
        several(held.len() as u64, "document"),
        scanned
    );
    held.iter().fold(heading, |text, one| text + "\n" + &document(one))
}

fn document(held: &HeldView) -> String {
    let title = if held.title.is_empty() { "(no title)" } else { &held.title };
    let from = match (&held.authority_name, &held.known) {
        _ if held.is_own => "this authority".to_owned(),
        (Some(name), Some(how)) => format!("{} ({})", clean(name), known(&how.confirmation)),
        _ => held.authority.map(|id| id.to_string()).unwrap_or_default(),
    };
    let shared = match &held.group {
        Some(group) => format!("in the group {}", clean(group)),
        None => held.space.clone(),
    };
    let lines = [
        ("Kind", held.kind.clone()),
        ("Said by", from),
        ("Buyer", held.buyer.as_deref().map(clean).unwrap_or_default()),
        ("Shared", shared),
        ("State", state(held)),
        ("Consult", consult(held)),
        ("Exemptions", exemptions(&held.exemptions)),
    ];
    format!("{}\n{}\n{}", clean(title), held.reference, pairs(lines))
}

fn state(held: &HeldView) -> String {
    let state = match held.state {
        HeldState::Current => "as it stands",
        HeldState::Superseded => "in earlier versions only",
        HeldState::Withdrawn => "withdrawn by its author",
        HeldState::Erased => "erased by its author, hidden",
        HeldState::Reference => "a public notice that was imported",
        HeldState::Draft => "a draft, not shared",
    };
    let kept = match (&held.hold, held.due) {
        (Some(reason), _) => format!(", under a legal hold ({reason})"),
        (None, Some(due)) => format!(
            ", to be deleted {} unless it is held: tally hold REF --reason foi",
            time(UnixTime::from_seconds(due))
        ),
        (None, None) => String::new(),
    };
    format!("{state}{kept}")
}

/// Whom to ask before it is disclosed: the author always, unless that is us.
fn consult(held: &HeldView) -> String {
    let author = held.authority_name.as_deref().filter(|_| !held.is_own).map(clean);
    let office = held.consult.as_deref().map(clean);
    author.into_iter().chain(office).collect::<Vec<_>>().join(", ")
}

fn exemptions(all: &[ExemptionView]) -> String {
    let one = |exemption: &ExemptionView| {
        let parts = [&exemption.provision, &exemption.reason];
        let what = parts.into_iter().flatten().map(|part| clean(part));
        let until = exemption.until.as_deref().map(|day| format!(", until {}", day_text(day)));
        what.collect::<Vec<_>>().join(": ") + &until.unwrap_or_default()
    };
    match all {
        [] => String::new(),
        all => format!("its author says: {}", all.iter().map(one).collect::<Vec<_>>().join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::confirmation::Confirmation;

    use crate::acquaintance::Attribution;

    #[test]
    fn what_is_held_reads_as_a_list_with_whom_to_consult() {
        let ash = HeldView {
            reference: "tally1ash/ab@0.7".to_owned(),
            kind: "contract".to_owned(),
            title: "Night haulage".to_owned(),
            authority_name: Some("Ash Borough Council".to_owned()),
            known: Some(Attribution {
                confirmation: Confirmation::Pinned,
                ..Attribution::default()
            }),
            space: "ab".repeat(32),
            group: Some("Seven Boroughs".to_owned()),
            state: HeldState::Erased,
            versions: 2,
            due: Some(1_790_000_000),
            consult: Some("foi@ash.example".to_owned()),
            exemptions: vec![ExemptionView {
                provision: Some("FOIA 2000 s.43(2)".to_owned()),
                reason: Some("a tender is open".to_owned()),
                until: Some("2027-03-31".to_owned()),
            }],
            ..HeldView::default()
        };
        let held = HeldView {
            state: HeldState::Withdrawn,
            hold: Some("foi".to_owned()),
            exemptions: Vec::new(),
            ..ash.clone()
        };
        let draft = HeldView {
            reference: "draft 3".to_owned(),
            kind: "performance".to_owned(),
            is_own: true,
            space: "this node only".to_owned(),
            state: HeldState::Draft,
            ..HeldView::default()
        };
        insta::assert_snapshot!(told(&[ash, held, draft], 1204));
    }
}
