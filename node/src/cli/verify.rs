//! `tally verify`: judges proofs and evidence without node, network or data directory.
//!
//! The first thing it says is how the identity is known. A proof carries its
//! author's identity, so by itself it shows only that whoever made that
//! identity said so: *self-asserted*. With `--authority` the identity is
//! *pinned*: it is the one the reader named, known from elsewhere.
//!
//! The log key that signed may have been replaced since. What it signed counts if
//! the file shows that it leads to what the author pinned then: *retired, proven*.
//! A file from before that shows nothing of it; with the author's newest card,
//! `--card`, it is told apart: *retired, refresh needed*. A card that has expired
//! makes no acquaintance any more, but is believed here: what it says of the
//! identity is signed for good, so its age is told instead. What is said of
//! evidence is in `evidence`, of cosignatures in `witnesses`.

mod evidence;
mod witnesses;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tallystick_protocol::card::{Card, UnverifiedCard, fingerprint};
use tallystick_protocol::confirmation::Confirmation;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::limits;
use tallystick_protocol::proof::record::{
    Disclosure, KeyState, ProvedAudience, RecordFacts, RecordProofError, RetiredKeyError,
    UnverifiedRecordProof,
};
use tallystick_protocol::record::{Form, Record};
use tallystick_protocol::witness::policy::Policy;

use self::witnesses::{Dated, Head, Witnesses};
use super::Global;
use super::output::Answer;
use super::wording::{clean, count, day_text, money_text, pairs, time, wrap};
use crate::failure::{Failure, FailureKind};

/// Widest line of a paragraph.
const COLUMNS: usize = 78;

/// Verify proofs and evidence (needs no node, no network and no data directory)
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit code 0: every file proves what is shown. Exit code 1: one does not.")]
pub struct Verify {
    /// The files: proofs of records, or evidence of two histories.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The authority it must be by or about, known from elsewhere.
    #[arg(long, value_name = "ID")]
    authority: Option<AuthorityId>,
    /// The author's newest card, in a file: pins the authority, and shows if its
    /// keys were replaced since the proof was made.
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// A witness policy (C2SP tlog-policy), as `tally policy` writes it: proofs must be
    /// of a log that it names, cosigned by enough of its witnesses.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// What the reader knows of the author from elsewhere.
#[derive(Default)]
struct Known {
    authority: Option<AuthorityId>,
    card: Option<UnverifiedCard>,
    policy: Option<Policy>,
}

/// Why a file is not believed.
struct Doubt {
    /// In a sentence.
    why: String,
    /// What is wrong with the key that signed it, if that is all.
    key: Option<&'static str>,
    /// Who cosigned and who did not, if that is all.
    witnesses: Option<Value>,
}

impl Doubt {
    fn new(why: impl ToString) -> Self {
        Self { why: why.to_string(), key: None, witnesses: None }
    }
}

impl From<RecordProofError> for Doubt {
    fn from(error: RecordProofError) -> Self {
        let key = match error {
            RecordProofError::Key(RetiredKeyError::Refresh) => Some("retired, refresh needed"),
            RecordProofError::Key(RetiredKeyError::Disowned) => Some("retired, disowned"),
            _ => None,
        };
        Self { key, ..Self::new(error) }
    }
}

impl Verify {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if a file cannot be read; what does not verify is an answer.
    pub fn run(&self, _global: &Global) -> Result<Answer, Failure> {
        let known = self.known()?;
        let mut files = Vec::new();
        for path in &self.files {
            let bytes = read(path).map_err(|error| unreadable(path, &error))?;
            let proof = (!evidence::is_in(&bytes)).then(|| judge(&bytes, &known));
            files.push((path, bytes, proof));
        }
        // What one file shows of a log bounds the times in the others.
        let proofs = files.iter().filter_map(|(_, _, proof)| proof.as_ref()?.as_ref().ok());
        let heads: Vec<Head> = proofs.filter_map(Judged::head).collect();
        let judged = files.into_iter().map(|(path, bytes, proof)| match proof {
            Some(Ok(proof)) => told(path, &proof, &heads, &known),
            Some(Err(doubt)) => refused(path, &doubt),
            None => evidence::tell(path, &bytes, self.authority),
        });
        let judged: Vec<Told> = judged.collect();
        let all = judged.iter().all(|told| told.verified);
        let texts = judged.iter().map(|told| told.text.as_str());
        let text = texts.collect::<Vec<_>>().join("\n");
        let mut each: Vec<Value> = judged.into_iter().map(|told| told.json).collect();
        let json = match each.len() {
            1 => each.remove(0),
            _ => json!({ "verified": all, "identity": known.label(), "files": each }),
        };
        let answer = Answer::done(text, json);
        Ok(if all { answer } else { answer.with_exit(FailureKind::No) })
    }

    fn known(&self) -> Result<Known, Failure> {
        let policy = self.policy.as_deref().map(witnesses::policy).transpose()?;
        let card = self.card.as_deref().map(read_card).transpose()?;
        Ok(Known { authority: self.authority, card, policy })
    }
}

fn read_card(path: &Path) -> Result<UnverifiedCard, Failure> {
    let bytes = read(path).map_err(|error| unreadable(path, &error))?;
    UnverifiedCard::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        Failure::usage(
            format!("{}: {error}", path.display()),
            "give the file with the card that the authority sent you",
        )
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(
        format!("{} cannot be read ({error})", path.display()),
        "check the path and that you may read it",
    )
}

/// What is said of one file.
struct Told {
    verified: bool,
    text: String,
    json: Value,
}

/// What is said of a file that proves nothing.
fn refused(path: &Path, doubt: &Doubt) -> Told {
    let Doubt { why, key, witnesses } = doubt;
    Told {
        verified: false,
        text: format!(
            "NOT VERIFIED: {}\n  {}\n  Do not rely on this file; ask whoever gave it to you for another.\n",
            path.display(),
            clean(why),
        ),
        json: json!({
            "verified": false,
            "identity": Value::Null,
            "key": key,
            "witnesses": witnesses,
            "file": path,
            "error": why,
        }),
    }
}

/// A proof that verifies.
struct Judged {
    facts: RecordFacts,
    /// How many witnesses its author names, and how many of them confirm.
    named: (usize, u32),
    /// What those of the policy say, if there is one.
    witnesses: Option<Witnesses>,
    /// The card by which it was judged.
    card: Option<Card>,
}

impl Judged {
    /// Its log head, if enough witnesses say when it was the newest.
    fn head(&self) -> Option<Head> {
        let confirmed = self.witnesses.as_ref()?.confirmed()?;
        let head = &self.facts.checkpoint;
        Some(Head { origin: head.origin().clone(), size: head.size(), confirmed })
    }
}

/// What is said of a proof that verifies.
fn told(path: &Path, proof: &Judged, heads: &[Head], known: &Known) -> Told {
    let facts = &proof.facts;
    let dated = proof.witnesses.as_ref().zip(facts.reference.version).map(|(_, version)| {
        Dated::by(heads, facts.checkpoint.origin(), version.index, facts.header.issued)
    });
    let mut json = verdict(path, facts, known, proof.card.as_ref());
    if let Some(object) = json.as_object_mut() {
        object.insert("witnesses".to_owned(), json!(proof.witnesses.as_ref().map(Witnesses::json)));
        object.insert("dating".to_owned(), json!(dated.map(|dated| dated.json())));
    }
    Told { verified: true, text: text(path, proof, dated, known), json }
}

impl Known {
    /// How the name is known: what a node has confirmed, a file cannot tell.
    fn label(&self) -> &'static str {
        let logs = self.policy.as_ref().is_some_and(|policy| !policy.logs().is_empty());
        if self.authority.is_some() || self.card.is_some() || logs {
            Confirmation::Pinned.word()
        } else {
            Confirmation::SelfAsserted.word()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than a proof may have is refused as too large by the parser.
    let most = limits::PROOF_BYTES as u64 + 1;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The facts, or why the file proves nothing.
fn judge(bytes: &[u8], known: &Known) -> Result<Judged, Doubt> {
    let proof = UnverifiedRecordProof::parse(bytes)?;
    let network = proof.claimed_network().clone();
    let keys = known.policy.as_ref().map(Policy::witness_keys).unwrap_or_default();
    let mut proof = proof.verify(&keys)?;
    let card = known.card.clone().map(|card| card.verify(&network));
    let card = card.transpose().map_err(Doubt::new)?;
    let named = known.authority.into_iter().chain(card.as_ref().map(Card::authority));
    if named.into_iter().any(|wanted| wanted != proof.authority()) {
        return Err(Doubt::new(format!(
            "it is by {}, which calls itself {:?}, and not by the authority you named",
            proof.authority(),
            clean(&proof.identity().profile().name),
        )));
    }
    if let Some(card) = &card {
        proof = proof.judged_by(card.identity())?;
    }
    let witnesses = known.policy.as_ref().map(|policy| Witnesses::judge(&proof, policy));
    let named = (proof.identity().witnesses().len(), proof.identity().quorum());
    Ok(Judged { facts: proof.facts(), named, witnesses: witnesses.transpose()?, card })
}

const fn key(facts: &RecordFacts) -> &'static str {
    match facts.key {
        KeyState::Current => "current",
        KeyState::RetiredProven => "retired, proven",
        _ => "unknown",
    }
}

fn document(facts: &RecordFacts) -> Option<Value> {
    let record = Record::from_fields(facts.header.kind, &facts.fields).ok()?;
    serde_json::to_value(record).ok()
}

/// What scripts call the audience of what is proved.
pub(super) const fn space(audience: ProvedAudience) -> &'static str {
    match audience {
        ProvedAudience::Public => "public",
        ProvedAudience::Group => "private",
        _ => "unknown",
    }
}

const fn disclosure(facts: &RecordFacts) -> &'static str {
    match facts.disclosure {
        Disclosure::Full => "full",
        Disclosure::Partial => "partial",
        Disclosure::Erased => "erased",
        Disclosure::Absent => "absent",
        _ => "unknown",
    }
}

fn action(facts: &RecordFacts) -> &'static str {
    crate::service::action_name(facts.header.action)
}

fn verdict(path: &Path, facts: &RecordFacts, known: &Known, card: Option<&Card>) -> Value {
    let withheld: Vec<_> = facts.withheld.iter().map(ToString::to_string).collect();
    json!({
        "verified": true,
        "identity": known.label(),
        "file": path,
        "authority": facts.reference.authority,
        "name": facts.profile.name,
        "succeededBy": facts.successors,
        "fingerprint": fingerprint(&facts.reference.authority),
        "network": facts.network,
        "ref": facts.reference.to_string(),
        "space": space(facts.audience),
        "kind": facts.header.kind.to_string(),
        "action": action(facts),
        "issued": facts.header.issued.as_seconds(),
        "disclosure": disclosure(facts),
        "document": document(facts),
        "withheld": withheld,
        "checkpoint": {
            "origin": facts.checkpoint.origin().to_string(),
            "size": facts.checkpoint.size(),
            "root": facts.checkpoint.root(),
        },
        "key": key(facts),
        "cardIssued": card.map(|card| card.issued().as_seconds()),
        "leaf": facts.leaf,
    })
}

fn text(path: &Path, proof: &Judged, dated: Option<Dated>, known: &Known) -> String {
    let facts = &proof.facts;
    let name = clean(&facts.profile.name);
    let id = facts.reference.authority;
    let mut text = match known.label() {
        "pinned" => format!(
            "Identity pinned: it is by the authority you named, {id},\nwhich calls itself {name:?}.\n"
        ),
        _ => format!(
            "Identity self-asserted: it is by {id},\nwhich calls itself {name:?}. Nothing in the file shows that this is so.\n\
             To be sure, name the authority with --authority ID, or compare the fingerprint\n\
             with them over the telephone: {}\n",
            fingerprint(&id),
        ),
    };
    text.push_str(&format!("\nVERIFIED: {}\n\n", path.display()));
    if let Some(warning) = dated.as_ref().and_then(Dated::warning) {
        text.push_str(&format!("{}\n\n", wrap(&warning, COLUMNS).join("\n")));
    }
    text.push_str(&pairs(claims(proof, dated)));
    if let Some(description) = facts.header.kind.description() {
        text.push('\n');
        text.push_str(&pairs(description.columns.iter().map(|column| {
            let cell = column.cell(&facts.fields);
            let cell = match column.form {
                Form::Text => clean(&cell),
                Form::Day => day_text(&cell),
                Form::Money => money_text(&cell),
            };
            (column.heading, cell)
        })));
    }
    if facts.disclosure != Disclosure::Full {
        let names: Vec<_> = facts.withheld.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "\nNot shown ({}): {}\n",
            disclosure(facts),
            clean(&names.join(", "))
        ));
    }
    text.push_str("\nWhether a newer version exists, a proof cannot say.\n");
    text
}

/// What is said of the entry itself.
fn claims(proof: &Judged, dated: Option<Dated>) -> Vec<(&'static str, String)> {
    let Judged { facts, named: (named, quorum), witnesses, card } = proof;
    let head = &facts.checkpoint;
    let signed = match facts.key {
        KeyState::Current => "the log key of its author",
        _ => "a log key since replaced, and shown to count still",
    };
    let cosigned = match (witnesses, named) {
        (Some(witnesses), _) => witnesses.words(),
        (None, 0) => String::new(),
        (None, _) if facts.audience == ProvedAudience::Group => String::new(),
        (None, _) => format!(
            "not looked at: its author names {named}, {quorum} of which confirm; --policy FILE \
             checks them"
        ),
    };
    let said = match facts.audience {
        ProvedAudience::Group => "in a private group of its author; the file does not say which",
        _ => "",
    };
    let mut claims = vec![
        ("ref", facts.reference.to_string()),
        ("said", said.to_owned()),
        ("what", format!("{} ({})", facts.header.kind, action(facts))),
        (
            "succeeded by",
            facts.successors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ),
        ("issued", format!("{}, as its author says", time(facts.header.issued))),
        ("log", format!("{} entries, root {}", count(head.size()), head.root())),
        ("signed by", signed.to_owned()),
        ("witnesses", cosigned),
    ];
    claims.extend(card.as_ref().map(|card| {
        ("card", format!("of {}; of later keys it says nothing", time(card.issued())))
    }));
    claims.extend(dated.map(|dated| ("in the log", dated.words())));
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(files: Vec<PathBuf>) -> Verify {
        Verify { files, authority: None, card: None, policy: None }
    }

    #[test]
    fn files_that_prove_nothing_are_an_answer_in_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.proof");
        for bad in [&b""[..], b"hello", b"c2sp.org/tlog-proof@v1\n", &[0xff; 100]] {
            std::fs::write(&file, bad).unwrap();
            let verify = plain(vec![file.clone()]);
            let answer = verify.run(&Global::default()).unwrap();
            assert_eq!(answer.exit, 1);
            assert_eq!(answer.json["verified"], false);
            assert!(answer.text.starts_with("NOT VERIFIED"));
            assert_eq!(answer.text.lines().count(), 3, "{}", answer.text);
        }
        std::fs::write(&file, vec![b'x'; limits::PROOF_BYTES + 10]).unwrap();
        let verify = plain(vec![file.clone()]);
        assert_eq!(verify.run(&Global::default()).unwrap().exit, 1);
        let verify = plain(vec![file.clone(), file]);
        assert_eq!(
            verify.run(&Global::default()).unwrap().json["files"].as_array().unwrap().len(),
            2
        );
        let missing = plain(vec!["/nonexistent".into()]);
        assert_eq!(missing.run(&Global::default()).unwrap_err().kind.exit_code(), 2);
    }
}
