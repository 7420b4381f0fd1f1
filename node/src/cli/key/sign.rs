//! `tally key sign`, `apply` and `discard`: what becomes of a change that one
//! person alone could not make.

use std::path::{Path, PathBuf};

use serde_json::json;
use tallystick_protocol::identity::Identity;

use super::offline::{Offline, in_use};
use super::{change, describe};
use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::question::{confirm, passphrase_of};
use crate::cli::wording::several;
use crate::config::Config;
use crate::failure::Failure;
use crate::keys::{ControllerFile, DraftFile, IDENTITY_FILE, Passphrase};
use crate::store::data_dir::DataDir;

/// Adds signatures to a change, in its file.
pub(super) fn sign(
    global: &Global,
    path: &Path,
    with: &[PathBuf],
    passphrase_file: Option<&Path>,
) -> Result<Answer, Failure> {
    let mut draft = DraftFile::read(path)?;
    let given = passphrase_file.map(Passphrase::read).transpose()?;
    let files =
        with.iter().map(|path| ControllerFile::read(path)).collect::<Result<Vec<_>, _>>()?;
    let controllers = &draft.draft().event().controllers.keys;
    if let Some(stranger) = files.iter().find(|file| !controllers.contains(file.public())) {
        return Err(Failure::usage(
            format!("{} is not a key that can sign this change", stranger.path().display()),
            "the public keys that can are those shown as controllers; take the file of one of them",
        ));
    }
    let question = format!("You are asked to sign this:\n\n{}", describe::text(&draft));
    confirm(global, &question)?;
    for file in &files {
        let passphrase = passphrase_of(file, given.as_ref())?;
        draft.sign(&file.open(passphrase.as_ref())?);
    }
    draft.write(path)?;
    let next = match draft.draft().missing() {
        0 => "It is complete: give it back to whoever runs the node, for `tally key apply`."
            .to_owned(),
        missing => format!(
            "{} missing: hand it on to the next controller.",
            several(u64::from(missing), "signature")
        ),
    };
    let text = format!("Signed. {next}\n");
    let mut json = describe::json(&draft);
    if let Some(object) = json.as_object_mut() {
        object.insert("file".to_owned(), json!(path));
    }
    Ok(Answer::done(text, json))
}

/// Puts copies together and installs the change.
pub(super) fn apply(global: &Global, paths: &[PathBuf]) -> Result<Answer, Failure> {
    let mut files = paths.iter().map(|path| DraftFile::read(path));
    let none = || Failure::usage("no file is given", "name the file with the change");
    let mut draft = files.next().ok_or_else(none)??;
    for copy in files {
        draft.merge(copy?)?;
    }
    let identity = draft.identity().map_err(|_| {
        let missing = several(u64::from(draft.draft().missing()), "signature");
        Failure::no(
            format!("{missing} missing"),
            "let more controllers sign with `tally key sign FILE --with KEYFILE`, or give all \
             copies that were signed",
        )
    })?;
    let place = global.place()?;
    if !place.file(IDENTITY_FILE).exists() {
        return found(global, &draft, &identity);
    }
    let node = Offline::open(global)?;
    match draft.before() {
        Some(before) if *before == node.identity => {}
        _ if node.identity == identity => {
            return Err(Failure::usage(
                "this change is in force already",
                "there is nothing to do",
            ));
        }
        _ => {
            return Err(Failure::usage(
                "this change does not follow the newest event of the authority here",
                "make it again: something else was changed since, or it is of another authority",
            ));
        }
    }
    let beyond = draft
        .draft()
        .event()
        .pin
        .as_ref()
        .map(|pin| node.signed_size().map(|size| size.saturating_sub(pin.size())));
    let beyond = beyond.transpose()?.unwrap_or(0);
    let more = json!({ "signedSince": beyond });
    crate::keys::change::install(place.data(), &identity)?;
    let mut answer = change::installed(&node.identity, &draft, &identity, more);
    if beyond > 0 {
        answer.text.push_str(&format!(
            "\nThe old log key signed {beyond} more since this change was made. They stay, under the\n\
             new key; proofs that were made of them in between must be made again.\n"
        ));
    }
    Ok(answer)
}

/// Installs the first event of an authority.
fn found(global: &Global, draft: &DraftFile, identity: &Identity) -> Result<Answer, Failure> {
    let place = global.place()?;
    let network = Config::load(place.config())?.network;
    if draft.before().is_some() || *identity.network() != network {
        return Err(Failure::usage(
            format!("this change is not the first of an authority in {}", place.data().display()),
            "name the directory in which it was made with --data DIR",
        ));
    }
    let _lock = DataDir::open(place.data()).map_err(in_use)?;
    crate::keys::change::install(place.data(), identity)?;
    Ok(change::installed(identity, draft, identity, json!({})))
}

/// Throws a change that waits away.
pub(super) fn discard(global: &Global) -> Result<Answer, Failure> {
    let place = global.place()?;
    if !place.file(IDENTITY_FILE).exists() {
        return Err(Failure::unavailable(
            format!("there is no authority in {}", place.data().display()),
            "name its directory with --data DIR",
        ));
    }
    let _lock = DataDir::open(place.data()).map_err(in_use)?;
    crate::keys::change::discard(place.data())?;
    let text = "No change waits any more; the keys are as they were.\n";
    Ok(Answer::done(text.to_owned(), json!({ "discarded": true })))
}
