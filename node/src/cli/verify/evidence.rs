//! `tally verify` on evidence: what it proves, and what it does not.
//!
//! Evidence accuses somebody, so its words are chosen with care: it shows that
//! two histories were signed, not who held the key, nor which history is right.
//! **Invariant:** only what was signed is told.

use std::path::Path;

use serde_json::{Value, json};
use tallystick_protocol::card::fingerprint;
use tallystick_protocol::equivocation::{
    BEGIN, Facts, FindingFacts, ForkFacts, LogHead, PartingFacts, UnverifiedEvidence,
};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::Relation;

use super::{COLUMNS, Doubt, Known, Told, refused};
use crate::cli::wording::{clean, count, pairs, wrap};

/// Whether a file says of itself that it is evidence.
pub(super) fn is_in(file: &[u8]) -> bool {
    file.windows(BEGIN.len()).any(|part| part == BEGIN.as_bytes())
}

/// Judges a file; `authority` is whom it must be about.
pub(super) fn tell(path: &Path, file: &[u8], authority: Option<AuthorityId>) -> Told {
    match judge(file, authority) {
        Ok(facts) => Told {
            verified: true,
            text: text(path, &facts, authority),
            json: verdict(path, &facts, authority),
        },
        Err(why) => refused(path, &Doubt::new(why)),
    }
}

fn judge(file: &[u8], authority: Option<AuthorityId>) -> Result<Facts, String> {
    let file = String::from_utf8_lossy(file);
    let evidence = UnverifiedEvidence::parse_armour(&file).map_err(|error| error.to_string())?;
    let network = evidence.claimed_network().clone();
    let evidence = evidence.verify(&network).map_err(|error| error.to_string())?;
    let about = evidence.authority();
    match authority {
        Some(wanted) if wanted != about => {
            Err(format!("it is about {about}, and not about the authority you named"))
        }
        _ => Ok(evidence.facts()),
    }
}

fn verdict(path: &Path, facts: &Facts, authority: Option<AuthorityId>) -> Value {
    let mut json = json!({
        "verified": true,
        "identity": Known { authority, ..Known::default() }.label(),
        "file": path,
        "evidence": facts.kind.name(),
        "authority": facts.authority,
        "fingerprint": fingerprint(&facts.authority),
        "network": facts.network,
    });
    let head = |head: &LogHead| json!({ "size": head.size, "root": head.root });
    let rest = match &facts.finding {
        FindingFacts::Fork(fork) => json!({
            "name": fork.name,
            "generation": fork.generation,
            "heads": fork.heads.each_ref().map(head),
            "otherRoot": fork.shown,
            "common": fork.common.as_ref().map(head),
            "closed": fork.closed.as_ref().map(head),
        }),
        FindingFacts::Identity(parting) => json!({
            "names": parting.names,
            "position": parting.position,
            "newest": parting.newest,
            "counts": counts(parting.relation),
        }),
    };
    if let (Value::Object(json), Value::Object(rest)) = (&mut json, rest) {
        json.extend(rest);
    }
    json
}

/// Which of two chains counts.
const fn counts(relation: Relation) -> &'static str {
    match relation {
        Relation::Supersedes { .. } => "first",
        Relation::Superseded { .. } => "second",
        _ => "neither",
    }
}

fn text(path: &Path, facts: &Facts, authority: Option<AuthorityId>) -> String {
    let id = facts.authority;
    let names = match &facts.finding {
        FindingFacts::Fork(fork) => vec![&fork.name],
        FindingFacts::Identity(PartingFacts { names: [one, other], .. }) if one == other => {
            vec![one]
        }
        FindingFacts::Identity(parting) => parting.names.iter().collect(),
    };
    let names: Vec<_> = names.into_iter().map(|name| format!("{:?}", clean(name))).collect();
    let names = names.join(" and ");
    let mut text = match authority {
        Some(_) => format!(
            "Identity pinned: it is about the authority you named, {id},\nwhich calls itself {names}.\n"
        ),
        None => format!(
            "Identity self-asserted: it is about {id},\nwhich calls itself {names}. Nothing in the file shows that this is so.\n\
             To be sure, name the authority with --authority ID, or compare the fingerprint\n\
             with them over the telephone: {}\n",
            fingerprint(&id),
        ),
    };
    text.push_str(&format!("\nVERIFIED EVIDENCE: {}\n\n", path.display()));
    let network = facts.network.to_string();
    let (proves, table, not) = match &facts.finding {
        FindingFacts::Fork(fork) => fork_text(fork, network),
        FindingFacts::Identity(parting) => parting_text(parting, network),
    };
    for part in [paragraph(proves), table, paragraph(not)] {
        text.push_str(&part);
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn paragraph(text: &str) -> String {
    wrap(text, COLUMNS).iter().map(|line| format!("{line}\n")).collect()
}

fn fork_text(fork: &ForkFacts, network: String) -> (&'static str, String, &'static str) {
    let [first, second] = &fork.heads;
    let head = |head: &LogHead| format!("{} entries, root {}", count(head.size), head.root);
    let shared = |common: &LogHead| {
        let (size, root) = (count(common.size), common.root);
        format!("at least the first {size} entries are the same in both, root {root}")
    };
    let not_at = |closed: &LogHead| {
        let size = count(closed.size);
        format!("ended: the authority's controllers closed this log at {size} entries")
    };
    let other = match first.size == second.size {
        true => String::new(),
        false => format!("root {} at {} entries", fork.shown, count(first.size)),
    };
    let table = pairs([
        ("network", network),
        ("public log", format!("generation {}", fork.generation)),
        ("first", head(first)),
        ("second", head(second)),
        ("the second had", other),
        ("shared", fork.common.as_ref().map_or_else(|| "not shown".to_owned(), shared)),
        ("dispute", fork.closed.as_ref().map(not_at).unwrap_or_default()),
    ]);
    let proves = "This authority signed two histories: both of these heads of its public \
        log are signed with its log key, and no log can have both. Nobody without that key can \
        have made this.";
    let not = match fork.closed {
        None => {
            "It does not prove which of the two is right, nor who used the key: the authority, \
             a thief, or a second copy of its node. Whether the authority has opened a new \
             log since, which ends the dispute, the file cannot say."
        }
        Some(_) => {
            "It is history: what lies below the closing head stands, and nothing else of this \
             log does. It does not prove who used the key: the authority, a thief, or a second \
             copy of its node."
        }
    };
    (proves, table, not)
}

fn parting_text(parting: &PartingFacts, network: String) -> (&'static str, String, &'static str) {
    let [first, second] = parting.newest.map(|hash| format!("newest event {hash}"));
    let table = pairs([
        ("network", network),
        ("part at", format!("event {}", u64::from(parting.position) + 1)),
        ("first", first),
        ("second", second),
        ("counts", counts(parting.relation).to_owned()),
    ]);
    let (proves, not) = match parting.relation {
        Relation::Conflict { .. } => (
            "This authority signed two histories: its controllers signed two identities \
             that part, and neither counts from there on. Nobody without the controllers' keys \
             can have made this.",
            "It does not prove which of the two is meant, nor who used the keys: the controllers, \
             or somebody who stole them. Whether a later event has settled it, the file cannot say.",
        ),
        _ => (
            "This authority's controllers signed two identities that part. One of them \
             counts, because it alone goes on with the controllers that were promised. Nothing \
             is in dispute.",
            "It does not prove who used the keys for the other one: the controllers, or \
             somebody who stole them.",
        ),
    };
    (proves, table, not)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// An accepted case of the protocol's vectors, as a file.
    fn file(what: &str) -> String {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors");
        let vectors = fs::read(vectors.join("evidence.json")).unwrap();
        let vectors: Value = serde_json::from_slice(&vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["what"] == what).unwrap();
        let text = case["text"].as_str().unwrap();
        let evidence = UnverifiedEvidence::parse(text.as_bytes()).unwrap();
        evidence.verify(&"made-up".parse().unwrap()).unwrap().to_armour()
    }

    fn told(what: &str) -> Told {
        let file = format!("Dear all,\n\n{}", file(what));
        assert!(is_in(file.as_bytes()));
        let told = tell(Path::new("x.evidence"), file.as_bytes(), None);
        assert!(told.verified);
        told
    }

    #[test]
    fn a_fork_is_told_in_plain_words() {
        let told = told("two sizes, with the entries that both have");
        insta::assert_snapshot!(told.text);
        insta::assert_snapshot!(serde_json::to_string_pretty(&told.json).unwrap());
    }

    #[test]
    fn a_fork_of_a_closed_log_is_history() {
        insta::assert_snapshot!(told("in a generation that is closed: history").text);
    }

    #[test]
    fn chains_that_part_are_told_in_plain_words() {
        let told = told("two profile events at one position");
        insta::assert_snapshot!(told.text);
        insta::assert_snapshot!(serde_json::to_string_pretty(&told.json).unwrap());
    }

    #[test]
    fn chains_of_which_one_counts_dispute_nothing() {
        insta::assert_snapshot!(
            told("a profile event and a rotation at one position, which counts").text
        );
    }

    #[test]
    fn damaged_files_and_other_authorities_are_refused() {
        let file = file("two heads of one size");
        let path = Path::new("x.evidence");
        let other = AuthorityId::from_bytes([3; 32]);
        let elsewhere = tell(path, file.as_bytes(), Some(other));
        assert!(!elsewhere.verified && elsewhere.text.contains("not about the authority"));
        assert_eq!(elsewhere.json["verified"], false);
        let about = tell(path, file.as_bytes(), None).json["authority"].clone();
        let about = about.as_str().unwrap().parse().unwrap();
        let pinned = tell(path, file.as_bytes(), Some(about));
        assert!(pinned.verified && pinned.text.starts_with("Identity pinned"));
        let damaged: String = file
            .lines()
            .enumerate()
            .filter(|(at, _)| *at != 5)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        for bad in [damaged, BEGIN.to_owned(), format!("{BEGIN}\u{1b}[31m")] {
            let told = tell(path, bad.as_bytes(), None);
            assert!(!told.verified && told.text.lines().count() == 3, "{}", told.text);
        }
    }
}
