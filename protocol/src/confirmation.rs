//! How the name of an authority is known.
//!
//! An authority is the hash of its first key event. What it calls itself, the
//! registers it names and its domain are claims, and whoever shows them says
//! what stands behind them: nothing, other authorities, its domain, or the
//! person who runs this node. [`Confirmation`] is the strongest of these.
//!
//! In JSON it is a word that stands beside the name, `identity`, one of
//! `self-asserted`, `confirmed` and `pinned`; of *confirmed* a second key,
//! `confirmedBy`, says by what: `{"endorsements":2}`, or `{"domain":"ash.gov.uk",
//! "at":1774965900}`.
//!
//! **Invariants:** the order of [`Confirmation`] is that of trust; the words
//! are stable. Deliberately absent: how any of it is found out, and whether an
//! author's records are true, which no confirmation of a name says.

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// What stands behind a name, the weakest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Confirmation {
    /// Nothing: its owner wrote it.
    #[default]
    SelfAsserted,
    /// Partners of the node publicly endorse it.
    Endorsed {
        /// How many.
        by: u32,
    },
    /// Its domain names the authority's id.
    DomainProven {
        /// When that was seen last.
        at: UnixTime,
        /// The domain.
        domain: String,
    },
    /// A person who runs the node, or verifies a file, said who it is.
    Pinned,
}

impl Confirmation {
    /// `self-asserted`, `confirmed` or `pinned`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::SelfAsserted => "self-asserted",
            Self::Endorsed { .. } | Self::DomainProven { .. } => "confirmed",
            Self::Pinned => "pinned",
        }
    }
}

/// The form that JSON has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    identity: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed_by: Option<By>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    SelfAsserted,
    Confirmed,
    Pinned,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum By {
    Domain { domain: String, at: UnixTime },
    Partners { endorsements: u32 },
}

impl From<Confirmation> for Written {
    fn from(known: Confirmation) -> Self {
        let (identity, confirmed_by) = match known {
            Confirmation::SelfAsserted => (Word::SelfAsserted, None),
            Confirmation::Endorsed { by } => {
                (Word::Confirmed, Some(By::Partners { endorsements: by }))
            }
            Confirmation::DomainProven { at, domain } => {
                (Word::Confirmed, Some(By::Domain { domain, at }))
            }
            Confirmation::Pinned => (Word::Pinned, None),
        };
        Self { identity, confirmed_by }
    }
}

impl From<Written> for Confirmation {
    /// A word without its reason counts for less, never for more.
    fn from(written: Written) -> Self {
        match (written.identity, written.confirmed_by) {
            (Word::Pinned, _) => Self::Pinned,
            (Word::Confirmed, Some(By::Domain { domain, at })) => Self::DomainProven { at, domain },
            (Word::Confirmed, Some(By::Partners { endorsements })) => {
                Self::Endorsed { by: endorsements }
            }
            (Word::Confirmed, None) | (Word::SelfAsserted, _) => Self::SelfAsserted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Confirmation; 6] {
        let proven = |at, domain: &str| Confirmation::DomainProven {
            at: UnixTime::from_seconds(at),
            domain: domain.to_owned(),
        };
        [
            Confirmation::SelfAsserted,
            Confirmation::Endorsed { by: 1 },
            Confirmation::Endorsed { by: 2 },
            proven(1, "oak.gov.uk"),
            proven(2, "ash.gov.uk"),
            Confirmation::Pinned,
        ]
    }

    #[test]
    fn the_order_is_that_of_trust() {
        assert!(all().is_sorted());
        assert_eq!(Confirmation::default(), Confirmation::SelfAsserted);
    }

    #[test]
    fn json_says_a_word_and_what_is_behind_it() {
        let json = all().map(|known| serde_json::to_value(known).unwrap());
        assert_eq!(json[0], serde_json::json!({ "identity": "self-asserted" }));
        assert_eq!(
            json[2],
            serde_json::json!({ "identity": "confirmed", "confirmedBy": { "endorsements": 2 } })
        );
        assert_eq!(
            json[4],
            serde_json::json!({
                "identity": "confirmed", "confirmedBy": { "domain": "ash.gov.uk", "at": 2 },
            })
        );
        assert_eq!(json[5], serde_json::json!({ "identity": "pinned" }));
        for (known, json) in all().into_iter().zip(json) {
            assert_eq!(json["identity"], known.word());
            assert_eq!(serde_json::from_value::<Confirmation>(json).unwrap(), known);
        }
        let bare = serde_json::json!({ "identity": "confirmed" });
        let read: Confirmation = serde_json::from_value(bare).unwrap();
        assert_eq!(read, Confirmation::SelfAsserted);
    }
}
