//! Performance notes at the desk: what must hold before one is shared.
//!
//! The rule is the protocol's ([`Unfair`]); the clock is this node's, by days in
//! UTC. **Invariants:** no note that says something against a supplier is shared
//! before the supplier had its chance to reply, unless its author says why not,
//! and then the note says so; every note that is shared says whether it may be
//! used in evaluating tenders, and no, if nobody said yes. Deliberately absent:
//! any way to know whether the supplier really was asked.

use tallystick_protocol::record::{Day, Performance, Record, Unfair};
use tallystick_protocol::time::UnixTime;

use crate::failure::Failure;

/// What is said of a note without an end.
const ENDLESS: &str = "expires: missing, so that the note stays until you erase it";

/// The day on which a point in time lies, in UTC.
pub(super) fn day_of(time: UnixTime) -> Day {
    Day::from_number(i32::try_from(time.as_seconds() / 86_400).unwrap_or(i32::MAX))
}

/// Makes a record fit to be shared on the day `today`; what is worth a warning.
///
/// # Errors
/// A [`Failure`] if it is a note that may not be shared yet, or not any more, or
/// if a reason is given for something else.
pub(super) fn made_fair(
    record: &mut Record,
    without_reply: Option<&str>,
    today: Day,
) -> Result<Vec<String>, Failure> {
    let Record::Performance(note) = record else {
        return match without_reply {
            None => Ok(Vec::new()),
            Some(_) => Err(Failure::usage(
                "only a performance note waits for the reply of a supplier",
                "leave out --without-reply",
            )),
        };
    };
    note.not_for_tender_evaluation.get_or_insert(true);
    let expires = note.expires.as_ref().and_then(tallystick_protocol::record::Date::day);
    if let Some(expires) = expires.filter(|expires| *expires < today) {
        return Err(Failure::usage(
            format!("the note has expired: {expires} was the last day on which to use it"),
            "give a later day as `expires`, if it still holds",
        ));
    }
    if let Some(reason) = without_reply {
        note.shared_without_reply = Some(reason.trim().to_owned()).filter(|text| !text.is_empty());
    }
    let mut warnings = Vec::new();
    match (note.may_be_shared(today), &note.shared_without_reply) {
        // Who had the chance to reply did not go without.
        (Ok(()), _) => note.shared_without_reply = None,
        (Err(unfair), Some(_)) => warnings.push(format!(
            "it is shared although {}, and says why",
            unfair.to_string().trim_start_matches("the note is ")
        )),
        (Err(unfair), None) => return Err(refused(note, unfair)),
    }
    warnings.extend(expires.is_none().then(|| ENDLESS.to_owned()));
    Ok(warnings)
}

fn refused(note: &Performance, unfair: Unfair) -> Failure {
    let remedy = match unfair {
        Unfair::NotSent => {
            "keep it with `tally note draft FILE`, send it, and say so with `tally note send`; \
             or give --without-reply REASON"
                .to_owned()
        }
        Unfair::SentLater(_) => {
            "correct `sentToSupplier`; or give --without-reply REASON".to_owned()
        }
        Unfair::NoWindow => {
            "give `replyWindow`, as P30D, or the reply; or give --without-reply REASON".to_owned()
        }
        Unfair::WindowOpen { last } => match last.plus(1) {
            Some(from) => format!(
                "share it from {from} on, or with its reply; or give --without-reply REASON"
            ),
            None => "share it with its reply; or give --without-reply REASON".to_owned(),
        },
        _ => "give --without-reply REASON".to_owned(),
    };
    let supplier = note.supplier.as_ref().map(|supplier| supplier.name.as_str());
    let of = supplier.filter(|name| !name.is_empty());
    let of = of.map(|name| format!(" ({})", name.escape_debug())).unwrap_or_default();
    Failure::usage(format!("{unfair}{of}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tallystick_protocol::record::Kind;

    fn judged(
        further: serde_json::Value,
        reason: Option<&str>,
        today: &str,
    ) -> Result<(Performance, Vec<String>), Failure> {
        let mut document = json!({
            "supplier": { "name": "Kestrel Grounds Ltd" }, "opinion": "Late.", "expires": "2027-03-31"
        });
        document.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let mut record = Record::from_json(Kind::PERFORMANCE, document).unwrap();
        let warnings = made_fair(&mut record, reason, today.parse().unwrap())?;
        let Record::Performance(note) = record else { panic!("another kind") };
        Ok((*note, warnings))
    }

    #[test]
    fn a_note_waits_for_the_window_to_pass_to_the_day() {
        let sent = json!({ "sentToSupplier": "2028-01-31", "replyWindow": "P1M", "expires": "2028-12-31" });
        let early = judged(sent.clone(), None, "2028-02-29").unwrap_err();
        assert_eq!(early.kind.exit_code(), 2);
        assert!(early.error.contains("until the end of 2028-02-29"), "{early}");
        assert!(early.error.contains("Kestrel Grounds Ltd"), "{early}");
        assert!(early.remedy.contains("from 2028-03-01 on"), "{early}");
        let (note, warnings) = judged(sent, None, "2028-03-01").unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(note.not_for_tender_evaluation, Some(true), "unless somebody said otherwise");
        let unsent = judged(json!({}), None, "2026-03-01").unwrap_err();
        assert!(unsent.remedy.contains("tally note draft") && !unsent.remedy.contains('\n'));
    }

    #[test]
    fn whoever_does_not_wait_says_why_and_the_note_says_so() {
        let reason = Some(" Danger to residents ");
        let (note, warnings) = judged(json!({}), reason, "2026-03-01").unwrap();
        assert_eq!(note.shared_without_reply.as_deref(), Some("Danger to residents"));
        let said = "it is shared although the supplier has not been sent this note, and says why";
        assert_eq!(warnings, [said]);
        assert!(judged(json!({}), Some("  "), "2026-03-01").is_err(), "no reason is none");
        // Where the process was kept, nothing else is claimed.
        let replied = json!({ "sentToSupplier": "2026-02-01", "supplierReply": "We were." });
        let (note, _) = judged(replied, reason, "2026-03-01").unwrap();
        assert_eq!(note.shared_without_reply, None);
        let mut contract = Record::from_json(Kind::CONTRACT, json!({ "title": "t" })).unwrap();
        let today = "2026-03-01".parse().unwrap();
        assert!(made_fair(&mut contract, reason, today).is_err());
        assert_eq!(made_fair(&mut contract, None, today), Ok(Vec::new()));
    }

    #[test]
    fn a_note_is_shared_up_to_its_last_day() {
        let good = |expires: serde_json::Value| json!({ "opinion": null, "expires": expires });
        assert!(judged(good(json!("2026-03-01")), None, "2026-03-01").is_ok());
        assert!(judged(good(json!("2026-02-28")), None, "2026-03-01").is_err());
        let (_, warnings) = judged(good(json!(null)), None, "2026-03-01").unwrap();
        assert_eq!(warnings, [ENDLESS]);
        let allowed = json!({ "opinion": null, "notForTenderEvaluation": false });
        let (note, _) = judged(allowed, None, "2026-03-01").unwrap();
        assert_eq!(note.not_for_tender_evaluation, Some(false));
    }
}
