//! What a holder says has become of an erasure at its place.
//!
//! A holder answers with an entry of kind
//! [`Kind::ERASURE_ANSWER`](crate::record::Kind::ERASURE_ANSWER) in its own log of the
//! space in which the erasure stands:
//!
//! | field | value |
//! |---|---|
//! | `erasure` | REF of the entry that erases, with its version |
//! | `outcome` | `deleted` or `held` |
//! | `until` | the day until which it is held, if that is known |
//!
//! The newest answer of a holder counts. **Invariants:** an answer says nothing of what
//! was erased, so it is never sealed; its record id follows from what it answers, so
//! a holder says one thing about an erasure at a time. Deliberately absent: why a copy
//! is held, which may be nobody's business, and whether the answer is true.

use sha2::{Digest as _, Sha256};

use crate::body::{FieldError, Fields};
use crate::entry::{Action, Header};
use crate::id::{AuthorityId, RecordId, RecordRef, Version};
use crate::record::date::Day;

const RECORD_DOMAIN: &[u8] = b"tallystick erasure answer v1\n";

/// What has become of the values at a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// They are deleted.
    Deleted,
    /// They are kept, hidden, under a legal hold, until a day if that is known.
    Held(Option<Day>),
}

impl Outcome {
    /// The code in bodies and JSON.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Held(_) => "held",
        }
    }

    /// Until which day the values are held, if they are and that is known.
    #[must_use]
    pub const fn until(self) -> Option<Day> {
        match self {
            Self::Deleted => None,
            Self::Held(until) => until,
        }
    }
}

/// One holder's answer to one erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who erases.
    pub author: AuthorityId,
    /// Which record.
    pub record: RecordId,
    /// The version that erases it.
    pub at: Version,
    /// What has become of it.
    pub outcome: Outcome,
}

impl Answer {
    /// Under which record id the erasure of an author's record at `at` is answered.
    #[must_use]
    pub fn id(author: &AuthorityId, record: &RecordId, at: Version) -> RecordId {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(RECORD_DOMAIN)
            .chain_update(author.as_bytes())
            .chain_update(record.as_bytes())
            .chain_update(at.generation.to_be_bytes())
            .chain_update(at.index.to_be_bytes())
            .finalize()
            .into();
        RecordId::from_bytes(digest.first_chunk().copied().unwrap_or_default())
    }

    /// The body of the entry.
    ///
    /// # Errors
    /// None that can happen: names and values are short.
    pub fn to_fields(&self) -> Result<Fields, FieldError> {
        let Self { author, record, at, outcome } = *self;
        let erasure = RecordRef { authority: author, record, version: Some(at) };
        let mut fields = Fields::new();
        fields.insert("erasure", &erasure.to_string().into())?;
        fields.insert("outcome", &outcome.code().into())?;
        if let Some(until) = outcome.until() {
            fields.insert("until", &until.to_string().into())?;
        }
        Ok(fields)
    }

    /// What an entry answers; `None` if it is no answer, stands under another record
    /// id than its own, or is not understood.
    #[must_use]
    pub fn read(header: &Header, fields: &Fields) -> Option<Self> {
        let answers = header.kind == crate::record::Kind::ERASURE_ANSWER
            && header.action == Action::Put
            && header.is_understood();
        let erasure: RecordRef = fields.text("erasure").filter(|_| answers)?.parse().ok()?;
        let until = match fields.text("until") {
            Some(until) => Some(until.parse::<Day>().ok()?),
            None => None,
        };
        let outcome = match (fields.text("outcome")?.as_str(), until) {
            ("deleted", None) => Outcome::Deleted,
            ("held", until) => Outcome::Held(until),
            _ => return None,
        };
        let RecordRef { authority: author, record, version } = erasure;
        let at = version?;
        (Self::id(&author, &record, at) == header.record).then_some(Self {
            author,
            record,
            at,
            outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Commitment;
    use crate::record::Kind;
    use crate::time::UnixTime;

    const AT: Version = Version { generation: 1, index: 9 };
    const AUTHOR: AuthorityId = AuthorityId::from_bytes([4; 32]);

    fn header(kind: Kind, record: RecordId, action: Action) -> Header {
        Header::new(
            kind,
            record,
            action,
            UnixTime::from_seconds(1),
            Commitment::from_bytes([0; 32]),
            9,
        )
    }

    #[test]
    fn an_answer_is_read_back_and_only_where_it_belongs() {
        let record = RecordId::from_bytes([7; 16]);
        let id = Answer::id(&AUTHOR, &record, AT);
        let day = Day::new(2027, 3, 31);
        for outcome in [Outcome::Deleted, Outcome::Held(None), Outcome::Held(day)] {
            let answer = Answer { author: AUTHOR, record, at: AT, outcome };
            let fields = answer.to_fields().unwrap();
            let read = |kind, id, action| Answer::read(&header(kind, id, action), &fields);
            assert_eq!(read(Kind::ERASURE_ANSWER, id, Action::Put), Some(answer));
            assert_eq!(read(Kind::CONTRACT, id, Action::Put), None);
            assert_eq!(read(Kind::ERASURE_ANSWER, id, Action::Withdraw), None);
            assert_eq!(read(Kind::ERASURE_ANSWER, record, Action::Put), None, "another's place");
        }
        assert_ne!(id, Answer::id(&AUTHOR, &record, Version { index: 10, ..AT }));
    }

    #[test]
    fn what_is_not_understood_is_no_answer() {
        let record = RecordId::from_bytes([7; 16]);
        let reference = RecordRef { authority: AUTHOR, record, version: Some(AT) }.to_string();
        let bare = RecordRef { authority: AUTHOR, record, version: None }.to_string();
        let cases = [
            (reference.as_str(), "held", Some("soon")),
            (&reference, "deleted", Some("2027-03-31")),
            (&reference, "burnt", None),
            (&bare, "deleted", None),
            ("nothing", "deleted", None),
        ];
        for (erasure, outcome, until) in cases {
            let mut fields = Fields::new();
            fields.insert("erasure", &erasure.into()).unwrap();
            fields.insert("outcome", &outcome.into()).unwrap();
            if let Some(until) = until {
                fields.insert("until", &until.into()).unwrap();
            }
            let id = Answer::id(&AUTHOR, &record, AT);
            let header = header(Kind::ERASURE_ANSWER, id, Action::Put);
            assert_eq!(Answer::read(&header, &fields), None, "{erasure} {outcome} {until:?}");
        }
    }
}
