//! How things are put for people: dates, money, counts, times and tables.
//!
//! Plain English, no colour. **Invariant:** what comes from elsewhere is
//! [`clean`]ed before it is shown, so that no record can steer a terminal.
//! Deliberately absent: other languages and time zones; points in time are UTC.

use tallystick_protocol::confirmation::Confirmation;
use tallystick_protocol::record::Day;
use tallystick_protocol::time::UnixTime;

use crate::acquaintance::{Attribution, Related};
use crate::service::answer::Continuation;

/// Columns that a table may take.
pub const COLUMNS: usize = 80;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A text without control and direction characters, on one line.
#[must_use]
pub fn clean(text: &str) -> String {
    let steers = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let plain = |c: char| match c {
        '\n' | '\r' | '\t' => Some(' '),
        c if c.is_control() || steers(c) => None,
        c => Some(c),
    };
    text.chars().filter_map(plain).collect()
}

/// `31 March 2026`.
#[must_use]
pub fn day(day: Day) -> String {
    let (year, month, day) = day.civil();
    let name = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"?");
    format!("{day} {name} {year}")
}

/// `2026-03-31` as `31 March 2026`; any other text as it is, cleaned.
#[must_use]
pub fn day_text(text: &str) -> String {
    text.parse().map_or_else(|_| clean(text), day)
}

/// `31 March 2026 at 14:05 UTC`.
#[must_use]
pub fn time(at: UnixTime) -> String {
    let seconds = at.as_seconds();
    let days = i32::try_from(seconds / 86_400).unwrap_or(i32::MAX);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{} at {hour:02}:{minute:02} UTC", day(Day::from_number(days)))
}

/// `1234.50` and `GBP` as `£1,234.50`.
#[must_use]
pub fn money(decimal: &str, currency: &str) -> String {
    let (sign, digits) = decimal.strip_prefix('-').map_or(("", decimal), |rest| ("-", rest));
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(w, p)| (w, Some(p)));
    let part = part.map(|part| format!(".{part}")).unwrap_or_default();
    let number = format!("{}{part}", grouped(whole));
    match currency {
        "GBP" => format!("{sign}£{number}"),
        "EUR" => format!("{sign}€{number}"),
        "USD" => format!("{sign}${number}"),
        other => clean(&format!("{sign}{number} {other}")),
    }
}

/// `1234.50 GBP`, as a list column writes it, as `£1,234.50`; any other text cleaned.
#[must_use]
pub fn money_text(text: &str) -> String {
    let number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    match text.split_once(' ') {
        Some((decimal, currency)) if number(decimal) => money(decimal, currency),
        _ => clean(text),
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// `1 record`, `2 records`; the plural is the singular and an s.
#[must_use]
pub fn several(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", count(number))
}

/// `1,234 bytes`, `56 kB`, `1,234 MB`: a size in decimal units, as disks are sold.
#[must_use]
pub fn bytes(number: u64) -> String {
    match number {
        0..10_000 => format!("{} bytes", count(number)),
        10_000..10_000_000 => format!("{} kB", count(number / 1_000)),
        _ => format!("{} MB", count(number / 1_000_000)),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a name is known: `self-asserted`, `confirmed by 2 partners`, `confirmed by
/// ash.gov.uk`, `pinned`.
#[must_use]
pub fn known(known: &Confirmation) -> String {
    let word = known.word();
    match known {
        Confirmation::SelfAsserted | Confirmation::Pinned => word.to_owned(),
        Confirmation::Endorsed { by } => {
            format!("{word} by {}", several(u64::from(*by), "partner"))
        }
        Confirmation::DomainProven { domain, .. } => format!("{word} by {}", clean(domain)),
    }
}

/// A name with how it is known: `Ash Council (pinned)`; without a name `other`.
/// Who has taken over is told as well.
#[must_use]
pub fn named(name: Option<&str>, how: Option<&Attribution>, other: &str) -> String {
    let name = short_named(name, how, other);
    match how.map(|how| how.succeeded_by.as_slice()) {
        None | Some([]) => name,
        Some(successors) => format!("{name}, succeeded by {}", related(successors)),
    }
}

/// As [`named`], without who has taken over, which has to stand elsewhere then.
#[must_use]
pub fn short_named(name: Option<&str>, how: Option<&Attribution>, other: &str) -> String {
    match (name, how) {
        (Some(name), Some(how)) => format!("{} ({})", clean(name), known(&how.confirmation)),
        (Some(name), None) => clean(name),
        (None, _) => other.to_owned(),
    }
}

/// Several authorities in a row: `Oak Council (pinned) and tally1abc…`.
#[must_use]
pub fn related(several: &[Related]) -> String {
    let one = |related: &Related| match (&related.name, &related.known) {
        (Some(name), Some(how)) => format!("{} ({})", clean(name), known(how)),
        _ => related.authority.to_string(),
    };
    several.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// For what a record may be used, and until when; nothing if it does not say.
#[must_use]
pub fn may_be_used(not_for_tenders: bool, expires: Option<&str>) -> Option<String> {
    let until = expires.map(|last| format!("to be used until {}", day_text(last)));
    let tenders = not_for_tenders.then(|| "not for evaluating tenders".to_owned());
    let said: Vec<_> = tenders.into_iter().chain(until).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// How a contract goes on, told at the predecessor's end of it: `transferred to
/// Oak Council (pinned) from 1 April 2026 on`. What the predecessor's identity
/// does not confirm is called a claim.
#[must_use]
pub fn goes_on(with: &Continuation) -> String {
    let how = match with.kind.as_str() {
        "hosted" => "hosted by".to_owned(),
        kind => format!("{} to", clean(kind)),
    };
    continuation(&how, with)
}

/// The same at the successor's end: `transferred from Ash Council (pinned)…`.
#[must_use]
pub fn comes_from(from: &Continuation) -> String {
    let how = match from.kind.as_str() {
        "hosted" => "hosted for".to_owned(),
        kind => format!("{} from", clean(kind)),
    };
    continuation(&how, from)
}

fn continuation(how: &str, other: &Continuation) -> String {
    let who = other.authority.to_string();
    let who = short_named(other.authority_name.as_deref(), other.known.as_ref(), &who);
    let on = |what: &str, date: &Option<String>| {
        date.as_deref().map(|date| format!("{what} {}", day_text(date))).unwrap_or_default()
    };
    let claim = if other.confirmed { "" } else { "UNCONFIRMED CLAIM: " };
    let word = if other.kind == "hosted" { " since" } else { " on" };
    let since = on(word, &other.date);
    let agreed = on(", the supplier having agreed on", &other.supplier_agreement_date);
    format!("{claim}{how} {who}{since}{agreed}")
}

/// At most `width` characters, with an ellipsis where something is left out.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A text in lines of at most `width` characters, broken at spaces.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let room = lines.last().is_some_and(|line| {
            line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width
        });
        if !room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Lines of `heading  value`, the values wrapped below each other; pairs
/// without a value are left out.
#[must_use]
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let left = pairs.iter().map(|(heading, _)| heading.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (heading, value) in pairs {
        for (at, line) in wrap(&value, COLUMNS.saturating_sub(left + 2).max(20)).iter().enumerate()
        {
            let heading = if at == 0 { heading } else { "" };
            text.push_str(format!("{heading:left$}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// Rows under headings, as wide as they need to be; the widest columns give
/// way until all of it fits into [`COLUMNS`].
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    const GAP: usize = 2;
    let cell = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |cell| cell.chars().count());
    let mut widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(at, heading)| {
            let widest = rows.iter().map(|row| cell(row, at)).max().unwrap_or(0);
            widest.max(heading.chars().count())
        })
        .collect();
    let room = COLUMNS.saturating_sub(GAP * headings.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > 4 => *widest -= 1,
            _ => break,
        }
    }
    let line = |cells: &[String]| {
        let padded =
            cells.iter().zip(&widths).map(|(cell, &width)| format!("{:width$}", cut(cell, width)));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rows = rows.iter().map(|row| line(row));
    std::iter::once(line(&headings)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_money_read_as_people_write_them() {
        assert_eq!(day_text("2026-03-31"), "31 March 2026");
        assert_eq!(day_text("soon"), "soon");
        assert_eq!(time(UnixTime::from_seconds(1_774_965_900)), "31 March 2026 at 14:05 UTC");
        assert_eq!(money_text("1234.50 GBP"), "£1,234.50");
        assert_eq!(money_text("-1234567.00 GBP"), "-£1,234,567.00");
        assert_eq!(money_text("900 JPY"), "900 JPY");
        assert_eq!(money_text("about ten"), "about ten");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(several(1, "row"), "1 row");
        assert_eq!(several(1000, "row"), "1,000 rows");
    }

    #[test]
    fn no_name_stands_without_how_it_is_known() {
        let at = UnixTime::from_seconds(1);
        let proven = Confirmation::DomainProven { at, domain: "ash.gov.uk".to_owned() };
        for (how, text) in [
            (Confirmation::SelfAsserted, "Ash (self-asserted)"),
            (Confirmation::Endorsed { by: 1 }, "Ash (confirmed by 1 partner)"),
            (Confirmation::Endorsed { by: 2 }, "Ash (confirmed by 2 partners)"),
            (proven, "Ash (confirmed by ash.gov.uk)"),
            (Confirmation::Pinned, "Ash (pinned)"),
        ] {
            assert_eq!(named(Some("A\u{7}sh"), Some(&how.into()), "?"), text);
        }
        assert_eq!(named(None, None, "tally1abc"), "tally1abc");
    }

    #[test]
    fn no_name_stands_without_who_has_taken_over() {
        let authority = tallystick_protocol::id::AuthorityId::from_bytes([9; 32]);
        let oak = Related {
            authority,
            name: Some("Oak".to_owned()),
            known: Some(Confirmation::SelfAsserted),
        };
        let unknown = Related { name: None, known: None, ..oak.clone() };
        let how = Attribution {
            succeeded_by: vec![oak, unknown],
            ..Attribution::from(Confirmation::Pinned)
        };
        let text = format!("Ash (pinned), succeeded by Oak (self-asserted) and {authority}");
        assert_eq!(named(Some("Ash"), Some(&how), "?"), text);
        assert_eq!(short_named(Some("Ash"), Some(&how), "?"), "Ash (pinned)");
    }

    #[test]
    fn how_a_contract_goes_on_is_told_at_both_ends_and_a_claim_is_called_one() {
        let other = |kind: &str, confirmed| Continuation {
            reference: String::new(),
            title: None,
            authority: tallystick_protocol::id::AuthorityId::from_bytes([9; 32]),
            authority_name: Some("Oak".to_owned()),
            known: Some(Confirmation::Pinned.into()),
            kind: kind.to_owned(),
            date: Some("2026-04-01".to_owned()),
            supplier_agreement_date: (kind == "novated").then(|| "2026-03-02".to_owned()),
            confirmed,
        };
        let transferred = other("transferred", true);
        assert_eq!(goes_on(&transferred), "transferred to Oak (pinned) on 1 April 2026");
        assert_eq!(comes_from(&transferred), "transferred from Oak (pinned) on 1 April 2026");
        assert_eq!(goes_on(&other("hosted", true)), "hosted by Oak (pinned) since 1 April 2026");
        assert_eq!(
            comes_from(&other("hosted", true)),
            "hosted for Oak (pinned) since 1 April 2026"
        );
        let text = "UNCONFIRMED CLAIM: novated to Oak (pinned) on 1 April 2026, the supplier \
                    having agreed on 2 March 2026";
        assert_eq!(goes_on(&other("novated", false)), text);
    }

    #[test]
    fn nothing_shown_can_steer_a_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d\u{7}"), "a[2Jb cd");
    }

    #[test]
    fn tables_fit_the_screen() {
        let row = |title: &str| vec![title.to_owned(), "x".repeat(60), "£1.00".to_owned()];
        let text =
            table(&["Title", "Supplier", "Value"], &[row("Short"), row(&"long ".repeat(30))]);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        insta::assert_snapshot!(table(
            &["Title", "Value"],
            &[vec!["Grounds maintenance".into(), "£1.00".into()], vec!["ICT".into(), String::new()]],
        ), @r"
        Title                Value
        Grounds maintenance  £1.00
        ICT
        ");
        insta::assert_snapshot!(pairs([
            ("Title", "Grounds maintenance".to_owned()),
            ("Nothing", String::new()),
            ("Description", "Mowing, hedges, playgrounds and the bowling green of the Ash ward, all year".to_owned()),
        ]), @r"
        Title        Grounds maintenance
        Description  Mowing, hedges, playgrounds and the bowling green of the Ash ward,
                     all year
        ");
    }
}
