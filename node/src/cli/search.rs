//! `tally search`: everything this node has, asked at once.

mod held;

use serde_json::json;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::record::Day;
use tallystick_protocol::record::money::{Currency, decimal};

use super::Global;
use super::output::Answer;
use super::wording::{
    COLUMNS, clean, comes_from, cut, day_text, goes_on, known, may_be_used, money, related,
    several, wrap,
};
use crate::failure::{Failure, FailureKind};
use crate::search::{Hit, Results};
use crate::service::kind;

/// Search all records and references that this node has
#[derive(Clone, Debug, clap::Args)]
pub struct Search {
    /// Words to be found; without any, everything.
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Of this kind: contract, performance or pipeline.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// With a CPV code that begins so.
    #[arg(long, value_name = "PREFIX")]
    cpv: Option<String>,
    /// With this supplier, by words of its name or its identifier.
    #[arg(long, value_name = "SUPPLIER")]
    supplier: Option<String>,
    /// With this buyer, by words of its name or its identifier.
    #[arg(long, value_name = "BUYER")]
    buyer: Option<String>,
    /// Ending before this day, as 2026-03-31.
    #[arg(long, value_name = "DATE")]
    ends_before: Option<Day>,
    /// Ending on or after this day.
    #[arg(long, value_name = "DATE")]
    ends_after: Option<Day>,
    /// Said by this authority.
    #[arg(long, value_name = "ID")]
    authority: Option<AuthorityId>,
    /// Leave out references: imported notices of other buyers.
    #[arg(long)]
    records_only: bool,
    /// At most so many results.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u16,
    /// Skip so many results.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
    /// End with exit code 1 if nothing is found.
    #[arg(long)]
    fail_empty: bool,
    /// List all that this authority holds on TEXT, for freedom-of-information requests:
    /// earlier, withdrawn, hidden and draft documents, too, and whom to consult.
    #[arg(long, requires = "text", conflicts_with_all = ["kind", "cpv", "supplier", "buyer",
          "ends_before", "ends_after", "authority", "records_only", "limit", "offset"])]
    held: bool,
}

impl Search {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] by the node, or for a kind that does not exist.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        if self.held {
            return held::run(global, &self.text.join(" "), self.fail_empty);
        }
        if let Some(name) = &self.kind {
            kind(name)?;
        }
        let results: Results = global.client()?.get("search", &self.parameters())?;
        let answer = Answer::done(text(&results, self.offset), json!(results));
        let empty = results.total == 0 && self.fail_empty;
        Ok(if empty { answer.with_exit(FailureKind::No) } else { answer })
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let day = |day: Option<Day>| day.map(|day| day.to_string());
        let optional = [
            ("kind", self.kind.clone()),
            ("cpv", self.cpv.clone()),
            ("supplier", self.supplier.clone()),
            ("buyer", self.buyer.clone()),
            ("endsBefore", day(self.ends_before)),
            ("endsAfter", day(self.ends_after)),
            ("authority", self.authority.map(|id| id.to_string())),
        ];
        let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let fixed = [
            ("text", self.text.join(" ")),
            ("limit", self.limit.to_string()),
            ("offset", self.offset.to_string()),
            ("references", (!self.records_only).to_string()),
        ];
        fixed.into_iter().chain(given).collect()
    }
}

fn text(results: &Results, offset: u32) -> String {
    if results.results.is_empty() {
        return match results.total {
            0 => "Nothing found.\n".to_owned(),
            total => format!("{} found, none shown.\n", several(total, "record")),
        };
    }
    let shown = results.results.len() as u64;
    let mut text = format!("{} found", several(results.total, "record"));
    if shown < results.total {
        let first = u64::from(offset) + 1;
        text.push_str(&format!(", {first} to {} shown", first + shown - 1));
    }
    text.push_str(".\n");
    results.results.iter().for_each(|hit| text.push_str(&entry(hit)));
    text
}

/// Three lines: what, value and end; who and with whom; the reference.
fn entry(hit: &Hit) -> String {
    const TITLE: usize = 44;
    let title = if hit.title.is_empty() { "(title withheld)" } else { &hit.title };
    let value = match (hit.amount, &hit.currency) {
        (Some(amount), Some(code)) => {
            let currency = Currency::new(code.clone());
            money(&decimal(amount, currency.exponent()), currency.as_str())
        }
        _ => String::new(),
    };
    let ends = hit.ends.as_deref().map(day_text).unwrap_or_default();
    let first = format!("{:TITLE$} {value:>16} {ends:>18}", cut(&clean(title), TITLE));
    let buyer = hit.buyer.as_deref().or(hit.authority_name.as_deref()).unwrap_or("unknown");
    let suppliers = match hit.suppliers.as_slice() {
        [] => String::new(),
        suppliers => format!(", {}", suppliers.join(", ")),
    };
    let who = clean(&format!("{} of {buyer}{suppliers}", hit.kind));
    let origin = match (&hit.authority_name, &hit.known) {
        _ if hit.reference => "  public notice, vouched for by nobody here".to_owned(),
        (Some(name), Some(how)) => {
            // The buyer's name stands in the line above.
            let by = if Some(name) == hit.buyer.as_ref() { "its buyer" } else { name };
            format!("  said by {} ({})", cut(&clean(by), 22), known(&how.confirmation))
        }
        _ => String::new(),
    };
    let last = format!("{}{origin}", shortened(hit));
    let (first, who, last) = (first.trim_end(), cut(&who, 78), cut(&last, 78));
    let mut text = format!("\n{first}\n  {who}\n  {last}\n");
    for line in afterwards(hit) {
        wrap(&line, COLUMNS - 2).iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

/// What is said of an extract.
const EXTRACT: &str = "an extract: it says less than its author's own record";

/// How it may be used, and what became of it or of its author.
fn afterwards(hit: &Hit) -> Vec<String> {
    let group = hit.group.iter().map(|name| format!("shared with members of {}", clean(name)));
    let successors = hit.known.iter().map(|known| known.succeeded_by.as_slice());
    let successors = successors.filter(|successors| !successors.is_empty());
    let author = successors.map(|by| format!("its author was succeeded by {}", related(by)));
    let ends = hit.continues.iter().map(comes_from).chain(hit.continued_by.iter().map(goes_on));
    let used = may_be_used(hit.not_for_tender_evaluation, hit.expires.as_deref());
    let extract = hit.is_extract.then(|| EXTRACT.to_owned());
    group.chain(used).chain(extract).chain(author).chain(ends).collect()
}

/// A reference short enough for a line and long enough to be unique for a long time.
fn shortened(hit: &Hit) -> String {
    const DIGITS: usize = 12;
    let (before, after) = hit.address.split_once('/').unwrap_or(("", &hit.address));
    let digits: String = after.chars().take(DIGITS).collect();
    match hit.authority {
        Some(authority) => format!("{}/{digits}", authority.short()),
        None => format!("{before}/{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::confirmation::Confirmation;

    fn hit(reference: bool) -> Hit {
        let authority = AuthorityId::from_bytes([3; 32]);
        let record = "0123456789abcdef0123456789abcdef";
        serde_json::from_value(json!({
            "ref": if reference { format!("reference/{record}") } else { format!("{authority}/{record}") },
            "kind": "contract",
            "title": "Housing management system and everything that tenants may need of it",
            "authority": (!reference).then_some(authority),
            "authorityName": (!reference).then_some("Ash Council"),
            "identity": (!reference).then_some("pinned"),
            "buyer": "Ash Council",
            "suppliers": ["Softworks Ltd", "Larch\u{1b}[2J Ltd"],
            "cpv": ["48000000"],
            "starts": "2024-04-01",
            "ends": "2029-03-31",
            "amount": 123_456_789,
            "currency": "GBP",
            "reference": reference,
        }))
        .unwrap()
    }

    #[test]
    fn results_fit_eighty_columns() {
        let other = Hit {
            buyer: Some("Ash Borough Council".to_owned()),
            known: Some(Confirmation::Endorsed { by: 2 }.into()),
            ..hit(false)
        };
        let results = Results { total: 1200, results: vec![hit(false), hit(true), other] };
        let text = text(&results, 20);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn nothing_found_is_said() {
        assert_eq!(text(&Results::default(), 0), "Nothing found.\n");
    }
}
