//! `tally verify --policy`: whose cosignatures a proof bears, and what they say
//! of the time that its record states.
//!
//! A proof verifies under a policy only if that names its log and enough of the
//! policy's witnesses cosigned its head. Then a time is known by which the record
//! was in the log. It is an upper bound: the head may be much younger than the
//! record, so that alone proves no back-dating. A head of the same log without
//! the record, in another file given, is the lower bound. **Invariant:** only
//! cosignatures under keys of the policy are told of; without a policy, none.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::note::Signer;
use tallystick_protocol::proof::record::VerifiedRecordProof;
use tallystick_protocol::time::UnixTime;
use tallystick_protocol::witness::confirmation::{
    Confirmation, Dating, Rule, Standing, TOLERANCE, TimeBounds,
};
use tallystick_protocol::witness::policy::{Party, Policy};

use super::{Doubt, read, unreadable};
use crate::cli::wording::{clean, several, time};
use crate::failure::Failure;

const DAY: u64 = 86_400;

/// Reads a policy file.
pub(super) fn policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = read(path).map_err(|error| unreadable(path, &error))?;
    Policy::parse(&bytes).map_err(|error| {
        Failure::usage(
            format!("{} is not a witness policy: {error}", path.display()),
            "give a file as `tally policy` writes it (C2SP tlog-policy)",
        )
    })
}

/// What the witnesses of a policy say of a proof.
pub(super) struct Witnesses {
    confirmation: Confirmation,
    cosigned: Vec<Signer>,
    missing: Vec<String>,
}

impl Witnesses {
    /// Judges a proof that was verified with the policy's keys.
    pub(super) fn judge(proof: &VerifiedRecordProof, policy: &Policy) -> Result<Self, Doubt> {
        if !policy.admits_log(&proof.log_key()) {
            return Err(Doubt {
                key: Some("not in the policy"),
                ..Doubt::new("it is of a log, or under a log key, that the policy does not name")
            });
        }
        let head = proof.checkpoint();
        let signers = head.cosignatures().map(|signer| &signer.key);
        let missing = policy.missing(signers).into_iter().map(name).collect();
        let cosigned = head.cosignatures().cloned().collect();
        let confirmation = Confirmation::of(head, Rule::Policy(policy));
        let witnesses = Self { confirmation, cosigned, missing };
        match policy.asks_for_witnesses() && confirmation.standing == Standing::Published {
            true => Err(Doubt { witnesses: Some(witnesses.json()), ..witnesses.doubt() }),
            false => Ok(witnesses),
        }
    }

    fn doubt(&self) -> Doubt {
        let Confirmation { have, named, needed, .. } = self.confirmation;
        Doubt::new(format!(
            "it is published, not confirmed: the policy asks for at least {needed} of {}, and {have} \
             cosigned; missing: {}",
            several(named as u64, "witness").replace("witnesss", "witnesses"),
            self.missing.join(", "),
        ))
    }

    /// When enough of them had cosigned.
    pub(super) const fn confirmed(&self) -> Option<UnixTime> {
        self.confirmation.confirmed
    }

    /// In words: *published* or *confirmed by 4 of 6*, and since when.
    pub(super) fn words(&self) -> String {
        match self.confirmation.confirmed {
            Some(at) => format!("{} that the policy names, by {}", self.confirmation, time(at)),
            None => format!("{}; the policy asks for no witnesses", self.confirmation),
        }
    }

    pub(super) fn json(&self) -> Value {
        let Confirmation { standing, have, named, needed, earliest, confirmed } = self.confirmation;
        let cosigned = self.cosigned.iter().map(|signer| {
            json!({ "key": signer.key.to_string(), "time": signer.time.map(UnixTime::as_seconds) })
        });
        json!({
            "standing": match standing {
                Standing::Published => "published",
                Standing::Confirmed => "confirmed",
            },
            "text": self.confirmation.to_string(),
            "have": have,
            "named": named,
            "needed": needed,
            "cosigned": cosigned.collect::<Vec<_>>(),
            "missing": self.missing,
            "earliest": earliest.map(UnixTime::as_seconds),
            "confirmed": confirmed.map(UnixTime::as_seconds),
        })
    }
}

/// What the policy calls a witness.
fn name(party: &Party) -> String {
    clean(&String::from_utf8_lossy(&party.name))
}

/// A head of which enough witnesses said when it was the newest.
pub(super) struct Head {
    pub(super) origin: Origin,
    pub(super) size: u64,
    pub(super) confirmed: UnixTime,
}

/// What is known of the time of a record.
#[derive(Clone, Copy)]
pub(super) struct Dated {
    issued: UnixTime,
    bounds: TimeBounds,
}

impl Dated {
    /// Of the entry at `index` of the log `origin`, by all heads at hand.
    pub(super) fn by(heads: &[Head], origin: &Origin, index: u64, issued: UnixTime) -> Self {
        let mut bounds = TimeBounds::default();
        for head in heads.iter().filter(|head| head.origin == *origin) {
            bounds.add(index, head.size, head.confirmed);
        }
        Self { issued, bounds }
    }

    /// Since when it is known to be in the log, and what is not shown.
    pub(super) fn words(&self) -> String {
        let Some(by_then) = self.bounds.by_then() else {
            return "since when, no witnesses say".to_owned();
        };
        let gap = by_then.as_seconds().saturating_sub(self.issued.as_seconds());
        let gap = match gap > TOLERANCE.as_secs() {
            true => format!(", {} after it says it was issued", span(Duration::from_secs(gap))),
            false => String::new(),
        };
        let earlier = match self.bounds.not_yet() {
            Some(at) => format!("not before {}: a confirmed head of then is without it", time(at)),
            None => "how long before that, these files cannot show".to_owned(),
        };
        format!("by {} at the latest{gap}; {earlier}", time(by_then))
    }

    /// What is wrong with the time that the record states, if something is.
    pub(super) fn warning(&self) -> Option<String> {
        let issued = time(self.issued);
        match self.bounds.judge(self.issued) {
            Dating::Plausible => None,
            Dating::PostDated(by) => Some(format!(
                "POST-DATED: it says it was issued on {issued}, and its witnesses saw it in the \
                 log {} before that.",
                span(by),
            )),
            Dating::BackDated(by) => Some(format!(
                "BACK-DATED: it says it was issued on {issued}, and {} later its witnesses saw \
                 the log without it.",
                span(by),
            )),
        }
    }

    pub(super) fn json(&self) -> Value {
        let (verdict, by) = match self.bounds.judge(self.issued) {
            Dating::Plausible => ("plausible", None),
            Dating::PostDated(by) => ("post-dated", Some(by)),
            Dating::BackDated(by) => ("back-dated", Some(by)),
        };
        json!({
            "verdict": verdict,
            "seconds": by.map(|by| by.as_secs()),
            "notBefore": self.bounds.not_yet().map(UnixTime::as_seconds),
            "notAfter": self.bounds.by_then().map(UnixTime::as_seconds),
        })
    }
}

/// `3 days`, or hours where it is less than two days.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 2 * DAY => several(seconds / 3600, "hour"),
        seconds => several(seconds / DAY, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Judged, Known, Told, judge, told};
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    /// A cosigned proof of the protocol's vectors, and the policy of its witness.
    fn example() -> (Vec<u8>, Known) {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors");
        let vectors = std::fs::read(vectors.join("record-proof.json")).unwrap();
        let vectors: Value = serde_json::from_slice(&vectors).unwrap();
        let file = vectors["cases"][0]["file"].as_str().unwrap().as_bytes().to_vec();
        let text = format!("witness dale {}\nquorum dale\n", vectors["witness"].as_str().unwrap());
        let policy = Some(Policy::parse(text.as_bytes()).unwrap());
        (file, Known { policy, ..Known::default() })
    }

    fn tell(more: impl Fn(&Judged) -> Vec<Head>) -> Told {
        let (file, known) = example();
        let proof = judge(&file, &known).unwrap_or_else(|doubt| panic!("{}", doubt.why));
        let heads: Vec<_> = proof.head().into_iter().chain(more(&proof)).collect();
        told(Path::new("x.proof"), &proof, &heads, &known)
    }

    #[test]
    fn a_confirmed_proof_says_by_whom_and_by_when() {
        let told = tell(|_| Vec::new());
        insta::assert_snapshot!(told.text);
        insta::assert_snapshot!(serde_json::to_string_pretty(&told.json).unwrap());
    }

    /// A head of the same log that another file shows.
    fn head(proof: &Judged, size: u64, after_issue: i64) -> Head {
        let issued = proof.facts.header.issued.as_seconds();
        let confirmed = at(issued.saturating_add_signed(after_issue));
        Head { origin: proof.facts.checkpoint.origin().clone(), size, confirmed }
    }

    #[test]
    fn a_confirmed_head_without_the_record_shows_that_it_is_back_dated() {
        let day = 86_400_i64;
        let index = |proof: &Judged| proof.facts.reference.version.unwrap().index;
        let told = tell(|proof| vec![head(proof, index(proof), 30 * day)]);
        let paragraph = told.text.split("\n\n").nth(2).unwrap();
        let expected = "BACK-DATED: it says it was issued on 15 June 2025 at 15:06 UTC, and 30 days\n\
                        later its witnesses saw the log without it.";
        assert_eq!(paragraph, expected);
        assert_eq!(told.json["dating"]["verdict"], "back-dated");
        assert_eq!(told.json["dating"]["seconds"], 30 * day);
        assert!(told.verified, "it is the author's word all the same");
        // A head with the record, another log, and one before the stated time show nothing of it.
        for harmless in [(1, 0, 30 * day), (0, 0, -day), (0, 1, 30 * day)] {
            let told = tell(|proof| {
                let mut head = head(proof, index(proof) + harmless.0, harmless.2);
                if harmless.1 == 1 {
                    head.origin = "elsewhere.example/log".parse().unwrap();
                }
                vec![head]
            });
            assert_eq!(told.json["dating"]["verdict"], "plausible", "{harmless:?}");
            assert!(!told.text.contains("DATED"), "{}", told.text);
        }
    }

    #[test]
    fn a_record_that_was_seen_before_its_time_is_post_dated() {
        let told = tell(|proof| vec![head(proof, u64::MAX, -5 * 3600)]);
        let paragraph = told.text.split("\n\n").nth(2).unwrap();
        let expected = "POST-DATED: it says it was issued on 15 June 2025 at 15:06 UTC, and its\n\
                        witnesses saw it in the log 5 hours before that.";
        assert_eq!(paragraph, expected);
        assert_eq!(told.json["dating"]["verdict"], "post-dated");
        assert_eq!(told.json["dating"]["seconds"], 5 * 3600);
    }

    #[test]
    fn a_proof_that_lacks_a_witness_is_refused_and_says_which() {
        let (file, known) = example();
        let text = String::from_utf8(file).unwrap();
        let last = text.lines().last().unwrap();
        let bare = text.replace(&format!("{last}\n"), "");
        let doubt = judge(bare.as_bytes(), &known).err().unwrap();
        let expected = "it is published, not confirmed: the policy asks for at least 1 of 1 witness, \
                        and 0 cosigned; missing: dale";
        assert_eq!(doubt.why, expected);
        assert_eq!(doubt.witnesses.unwrap()["missing"], json!(["dale"]));
        // Without a policy it needs none, and with its line nobody can tell whose that is.
        assert!(judge(bare.as_bytes(), &Known::default()).is_ok());
        assert!(judge(text.as_bytes(), &Known::default()).is_err());
    }
}
