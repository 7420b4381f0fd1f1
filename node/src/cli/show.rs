//! `tally show`: one record, by its kind's own columns, with its history.

use serde_json::{Value, json};
use tallystick_protocol::time::UnixTime;

use super::Global;
use super::output::Answer;
use super::wording::{
    clean, comes_from, cut, day_text, goes_on, may_be_used, money_text, named, pairs, table, time,
};
use crate::failure::Failure;
use crate::service::answer::{
    Cell, CellForm, Continuation, ExtractView, HistoryView, ResponseView, Shown, ShownState,
    Witnessed,
};

/// Longest value of a further field that is shown; `--json` has all of it.
const VALUE: usize = 400;

/// Show a record or reference
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The record, as `tally search` shows it; may be shortened while unique.
    #[arg(value_name = "REF")]
    reference: String,
    /// Show all its versions, too.
    #[arg(long)]
    history: bool,
}

impl Show {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] by the node: no such record, or several.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let query = [("ref", self.reference.clone()), ("history", self.history.to_string())];
        let shown: Shown = global.client()?.get("records", &query)?;
        Ok(Answer::done(text(&shown), json!(shown)))
    }
}

fn text(shown: &Shown) -> String {
    let title = if shown.title.is_empty() { "(title withheld)" } else { &shown.title };
    let nameless = shown.authority.map(|authority| authority.to_string());
    let nameless = nameless.unwrap_or_else(|| "nobody on the network".to_owned());
    let said = named(shown.authority_name.as_deref(), shown.known.as_ref(), &nameless);
    let state = match shown.state {
        ShownState::Current => "the newest version",
        ShownState::Earlier => "an earlier version; there is a newer one",
        ShownState::Withdrawn => "withdrawn: its author no longer stands by it",
        ShownState::Erased => "erased: its author has had its values deleted",
        ShownState::Reference => "a public notice, imported here, not signed",
    };
    let issued = if shown.state == ShownState::Reference { "imported" } else { "issued" };
    let used = may_be_used(shown.not_for_tender_evaluation, shown.expires.as_deref());
    let deleted = shown.retain_until.map(|at| time(UnixTime::from_seconds(at)));
    let deleted = deleted.map(|at| format!("its author wants its values deleted from {at} on"));
    let mut text = format!("{}: {}\n\n", shown.kind_title, clean(title));
    text.push_str(&pairs([
        ("said by", said),
        ("ref", shown.reference.clone()),
        ("state", witnessed(state, shown)),
        ("", disputed(shown).to_owned()),
        ("audience", audience(shown)),
        (issued, time(UnixTime::from_seconds(shown.issued))),
        ("use", used.unwrap_or_default()),
        ("", deleted.unwrap_or_default()),
    ]));
    text.push_str(&extracts(shown));
    text.push_str(&succession(shown));
    text.push('\n');
    text.push_str(&pairs(shown.columns.iter().map(|cell| (cell.heading.as_str(), value(cell)))));
    let mut fields = Vec::new();
    flat("", &shown.document, &mut fields);
    let known: Vec<_> = shown.columns.iter().map(|cell| cell.value.as_str()).collect();
    // Links are told above.
    fields.retain(|(name, _)| name != "extractOf" && !name.starts_with("extract."));
    fields.retain(|(_, value)| !known.contains(&value.as_str()) && *value != title);
    if !fields.is_empty() {
        text.push_str("\nFurther fields\n");
        let short = |(name, value): &(String, String)| (clean(name), cut(&clean(value), VALUE));
        let fields: Vec<_> = fields.iter().map(short).collect();
        text.push_str(&pairs(fields.iter().map(|(name, value)| (name.as_str(), value.clone()))));
    }
    if !shown.responses.is_empty() {
        text.push_str("\nResponses\n");
        text.push_str(&responses(&shown.responses));
    }
    if !shown.erasures.is_empty() {
        text.push_str("\nErased\n");
        text.push_str(&super::erase::on_page(&shown.erasures));
    }
    if !shown.withheld.is_empty() {
        text.push_str(&format!("\nWithheld here: {}\n", clean(&shown.withheld.join(", "))));
    }
    if !shown.note.is_empty() {
        text.push_str(&format!("\nRemarks at import: {}\n", clean(&shown.note)));
    }
    if let Some(history) = &shown.history {
        text.push('\n');
        text.push_str(&versions(history));
    }
    text
}

/// What it is an extract of, and the extract it has.
fn extracts(shown: &Shown) -> String {
    let whole = |of: &ExtractView| {
        let to = of
            .group
            .as_deref()
            .map_or("everybody".to_owned(), |group| format!("members of {}", clean(group)));
        format!("{}, which {to} may see", of.reference)
    };
    let of = match &shown.extract_of {
        Some(of) => Some(whole(of)),
        None => shown.is_extract.then(|| "a record that says more".to_owned()),
    };
    let of = of.map(|of| ("extract of", of));
    pairs(of.into_iter().chain(shown.extracts.iter().map(|one| ("extract", whole(one)))))
}

/// Who may see it.
fn audience(shown: &Shown) -> String {
    match &shown.group {
        Some(name) => format!("members of {} ({})", clean(name), cut(&shown.space, 12)),
        None => shown.space.clone(),
    }
}

/// What others say to it.
fn responses(responses: &[ResponseView]) -> String {
    let line = |one: &ResponseView| {
        let who = named(one.authority_name.as_deref(), one.known.as_ref(), "");
        let supplier = one.supplier.as_deref().map(|name| format!("by {name}"));
        let until = one.until.as_deref().map(|day| format!("until {}", day_text(day)));
        let parts = [Some(who), supplier, one.text.clone(), one.mailbox.clone(), until];
        let parts: Vec<_> = parts.into_iter().flatten().map(|part| clean(&part)).collect();
        (clean(&one.answer), parts.join("; "))
    };
    let lines: Vec<_> = responses.iter().map(line).collect();
    pairs(lines.iter().map(|(answer, what)| (answer.as_str(), what.clone())))
}

/// How it goes on, and from where.
fn succession(shown: &Shown) -> String {
    let whole = |told: String, end: &Continuation| {
        let title = end.title.as_deref().map(|title| format!(" ({})", clean(title)));
        format!("{told}: {}{}", end.reference, title.unwrap_or_default())
    };
    let before = shown.continues.iter().map(|end| ("succession", whole(comes_from(end), end)));
    let after = shown.continued_by.iter().map(|end| ("succession", whole(goes_on(end), end)));
    pairs(before.chain(after))
}

fn value(cell: &Cell) -> String {
    match cell.form {
        CellForm::Text => clean(&cell.value),
        CellForm::Day => day_text(&cell.value),
        CellForm::Money => money_text(&cell.value),
    }
}

/// Every value with the path to it.
pub(super) fn flat(path: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(object) => object.iter().for_each(|(n, v)| flat(&below(n), v, fields)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, v)| flat(&below(&at.to_string()), v, fields));
        }
        Value::Null => {}
        Value::String(text) => fields.push((path.to_owned(), text.clone())),
        other => fields.push((path.to_owned(), other.to_string())),
    }
}

fn versions(history: &[HistoryView]) -> String {
    let rows: Vec<_> = history
        .iter()
        .map(|version| {
            let what = match version.action.as_str() {
                "put" if version.changed.is_empty() => "published",
                "put" => "changed",
                "withdraw" => "withdrawn",
                "erase" => "erased",
                other => other,
            };
            vec![
                version.version.clone(),
                what.to_owned(),
                time(UnixTime::from_seconds(version.issued)),
                clean(&version.changed.join(", ")),
            ]
        })
        .collect();
    table(&["Version", "What", "When", "Fields"], &rows)
}

/// That its author signed two histories, if so.
const fn disputed(shown: &Shown) -> &'static str {
    match shown.disputed {
        true => "DISPUTED: its log has two histories, see `tally evidence`",
        false => "",
    }
}

/// How it stands, and who confirms that.
fn witnessed(state: &str, shown: &Shown) -> String {
    match shown.witnessed.as_ref().and_then(Witnessed::words) {
        Some(words) => format!("{state}; {words}"),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::answer::ErasureView;
    use tallystick_protocol::confirmation::Confirmation;
    use tallystick_protocol::id::AuthorityId;

    #[test]
    fn a_record_reads_as_a_page() {
        let cell = |heading: &str, value: &str, form| Cell {
            heading: heading.to_owned(),
            value: value.to_owned(),
            form,
        };
        let version = |version: &str, action: &str, changed: &[&str]| HistoryView {
            version: version.to_owned(),
            action: action.to_owned(),
            issued: 1_774_965_900,
            changed: changed.iter().map(|name| (*name).to_owned()).collect(),
        };
        let authority = AuthorityId::from_bytes([3; 32]);
        let shown = Shown {
            reference: format!("{authority}/0123456789abcdef0123456789abcdef@0.7"),
            kind: "contract".to_owned(),
            kind_title: "Contract".to_owned(),
            title: "Housing management system".to_owned(),
            authority: Some(authority),
            authority_name: Some("Ash Council".to_owned()),
            known: Some(Confirmation::Pinned.into()),
            space: "public".to_owned(),
            group: None,
            state: ShownState::Current,
            witnessed: Some(Witnessed { cosigned: 1, witnesses: 4, quorum: 2 }),
            issued: 1_774_965_900,
            expires: Some("2027-03-31".to_owned()),
            not_for_tender_evaluation: true,
            retain_until: Some(1_806_537_600),
            is_extract: true,
            extract_of: Some(ExtractView {
                reference: format!("{authority}/00000000000000000000000000000002"),
                title: Some("Housing management system, with prices".to_owned()),
                space: "ab".repeat(32),
                group: Some("Seven boroughs".to_owned()),
            }),
            extracts: Vec::new(),
            disputed: true,
            continues: None,
            continued_by: Vec::new(),
            responses: vec![ResponseView {
                reference: format!("{authority}/00000000000000000000000000000001"),
                authority,
                authority_name: Some("Oak Council".to_owned()),
                known: Some(Confirmation::Pinned.into()),
                issued: 1_774_965_900,
                answer: "wouldJoin".to_owned(),
                text: Some("We buy the same next year.".to_owned()),
                mailbox: Some("procurement@oak.example".to_owned()),
                until: Some("2026-12-31".to_owned()),
                supplier: None,
            }],
            columns: vec![
                cell("Title", "Housing management system", CellForm::Text),
                cell("Supplier", "Softworks Ltd", CellForm::Text),
                cell("Value", "1234567.89 GBP", CellForm::Money),
                cell("Ends", "2029-03-31", CellForm::Day),
                cell("Review", "", CellForm::Day),
            ],
            document: json!({
                "title": "Housing management system",
                "suppliers": [{ "name": "Softworks Ltd" }],
                "description": "Rents, repairs\u{1b}[2J and allocations",
                "value": { "amount": 123_456_789, "currency": "GBP" },
            }),
            withheld: vec!["ownerMailbox".to_owned()],
            erasures: vec![ErasureView {
                reference: format!("{authority}/0123456789abcdef0123456789abcdef@0.9"),
                authority_name: None,
                fields: vec!["ownerMailbox".to_owned()],
                reason: "personal-data".to_owned(),
                seen: 1_774_965_900,
                due: 1_775_225_100,
                countersigned: false,
                deleted: None,
                held: false,
                answers: Vec::new(),
            }],
            note: String::new(),
            history: Some(vec![
                version("0.3", "put", &[]),
                version("0.7", "put", &["value.amount"]),
            ]),
        };
        insta::assert_snapshot!(text(&shown));
    }
}
