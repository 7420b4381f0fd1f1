//! `tally key show`: who may sign what, which keys are where, and what has happened.

use std::path::PathBuf;

use serde_json::{Value, json};
use tallystick_protocol::card::fingerprint;
use tallystick_protocol::identity::{Event, Head, Identity, commit_to_key};

use super::describe;
use crate::cli::output::Answer;
use crate::cli::wording::{clean, pairs, time};
use crate::config::{Config, Place};
use crate::failure::Failure;
use crate::keys::{
    ControllerFile, KEYS_DIR, WorkingFile, are_here, change, controllers_in, load_identity,
    working_files,
};

/// Runs the command. It only reads, so the node may be running.
pub(super) fn show(place: &Place, look: &[PathBuf]) -> Result<Answer, Failure> {
    let config = Config::load(place.config())?;
    let identity = load_identity(place.data(), &config.network)?;
    let mut found = controllers_in(&place.file(KEYS_DIR));
    found.extend(look.iter().flat_map(|dir| controllers_in(dir)));
    let working = are_here(place.data(), &identity).and_then(|()| working_files(place.data()));
    let waiting = change::pending(place.data())?;
    let waiting = waiting.filter(|draft| draft.event().sequence > identity.sequence());
    let page = Page { place, identity: &identity, found: &found };
    let mut text = page.text(&working);
    let mut json = page.json(&working);
    if let Some(draft) = waiting {
        let event = draft.event();
        let what = describe::event_name(event.event_type);
        text.push_str(&format!(
            "\nA {what} made on {} waits for signatures.\n",
            time(event.issued)
        ));
        if let Some(object) = json.as_object_mut() {
            object.insert("waiting".to_owned(), json!(what));
        }
    }
    Ok(Answer::done(text, json))
}

/// The files of the working keys, or what is wrong with them.
type Working = Result<Vec<WorkingFile>, Failure>;

/// Under what the working keys lie.
fn lock(files: &[WorkingFile]) -> String {
    let plain = files.iter().filter(|file| !file.is_protected);
    let names = plain.filter_map(|file| file.path.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    match names.len() {
        0 => "under a passphrase".to_owned(),
        plain if plain == files.len() => "NOT encrypted".to_owned(),
        _ => format!("under a passphrase but for {}", names.join(", ")),
    }
}

struct Page<'a> {
    place: &'a Place,
    identity: &'a Identity,
    /// Controller keys that were found.
    found: &'a [ControllerFile],
}

impl Page<'_> {
    fn place_of(&self, is_it: impl Fn(&ControllerFile) -> bool) -> Option<&ControllerFile> {
        self.found.iter().find(|file| is_it(file))
    }

    fn on_this_machine(&self, file: &ControllerFile) -> bool {
        file.path().starts_with(self.place.data())
    }

    fn where_it_is(&self, file: Option<&ControllerFile>) -> String {
        match file {
            None => "not seen here".to_owned(),
            Some(file) => {
                let lock = if file.is_sealed() { "under a passphrase" } else { "NOT encrypted" };
                let here = if self.on_this_machine(file) { ": MOVE IT AWAY" } else { "" };
                format!("{}, {lock}{here}", file.path().display())
            }
        }
    }

    fn text(&self, working: &Working) -> String {
        let identity = self.identity;
        let (now, next) = (identity.controllers(), identity.next_controllers());
        let mut text = format!("{}\n\n", clean(&identity.profile().name));
        text.push_str(&pairs([
            ("authority", identity.authority().to_string()),
            ("fingerprint", fingerprint(&identity.authority())),
            ("event", identity.sequence().to_string()),
            ("generation", identity.generation().to_string()),
            (
                "working keys",
                match working {
                    Ok(files) => {
                        let keys = self.place.file(KEYS_DIR);
                        format!("here, in {}, {}", keys.display(), lock(files))
                    }
                    Err(failure) => failure.error.clone(),
                },
            ),
            ("log key", identity.log_key().to_string()),
            ("witness key", identity.witness_key().to_string()),
        ]));
        text.push_str(&format!(
            "\nA new profile takes {} of these controllers:\n",
            describe::threshold(now.threshold, now.keys.len())
        ));
        for key in &now.keys {
            let file = self.place_of(|file| file.public() == key);
            text.push_str(&format!("  {key}\n    {}\n", self.where_it_is(file)));
        }
        text.push_str(&format!(
            "\nNew keys, recovery and succession take {} of the next controllers, known by hash:\n",
            describe::threshold(next.threshold, next.key_hashes.len())
        ));
        for hash in &next.key_hashes {
            let file = self.place_of(|file| commit_to_key(file.public()) == *hash);
            text.push_str(&format!("  {hash}\n    {}\n", self.where_it_is(file)));
        }
        text.push_str("\nWhat has happened:\n");
        for event in identity.history() {
            text.push_str(&format!("  {}\n", line(&event)));
        }
        text
    }

    fn json(&self, working: &Working) -> Value {
        let identity = self.identity;
        let (now, next) = (identity.controllers(), identity.next_controllers());
        let file = |file: Option<&ControllerFile>| match file {
            None => Value::Null,
            Some(file) => json!({
                "file": file.path(),
                "encrypted": file.is_sealed(),
                "onThisMachine": self.on_this_machine(file),
            }),
        };
        let current = now.keys.iter().map(|key| {
            let found = self.place_of(|file| file.public() == key);
            json!({ "public": key.to_string(), "found": file(found) })
        });
        let hashes = next.key_hashes.iter().map(|hash| {
            let found = self.place_of(|file| commit_to_key(file.public()) == *hash);
            json!({ "hash": hash, "found": file(found) })
        });
        let files = working
            .iter()
            .flatten()
            .map(|file| json!({ "file": file.path, "encrypted": file.is_protected }));
        let events = identity.history().map(|event| {
            json!({
                "sequence": event.sequence,
                "type": describe::event_name(event.event_type),
                "issued": event.issued.as_seconds(),
                "generation": event.generation,
            })
        });
        json!({
            "authority": identity.authority(),
            "name": identity.profile().name,
            "fingerprint": fingerprint(&identity.authority()),
            "sequence": identity.sequence(),
            "generation": identity.generation(),
            "workingKeys": working.is_ok(),
            "workingFiles": files.collect::<Vec<_>>(),
            "log": identity.log_key().to_string(),
            "witness": identity.witness_key().to_string(),
            "nodes": identity.node_keys().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "controllers": { "threshold": now.threshold, "keys": current.collect::<Vec<_>>() },
            "next": { "threshold": next.threshold, "keys": hashes.collect::<Vec<_>>() },
            "successors": identity.successors(),
            "events": events.collect::<Vec<_>>(),
        })
    }
}

/// An event in one line.
fn line(event: &Event) -> String {
    let at = |head: &Head, what: &str| format!(", {what} {}", head.size());
    let pinned = event.pin.as_ref().map(|head| at(head, "the old log key up to entry"));
    let closed = event.closes.as_ref().map(|head| at(head, "the log closed at entry"));
    format!(
        "{}  {}  {}{}{}",
        event.sequence,
        time(event.issued),
        describe::event_name(event.event_type),
        pinned.unwrap_or_default(),
        closed.unwrap_or_default(),
    )
}
