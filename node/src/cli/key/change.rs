//! `tally key rotate`, `profile` and `succeed`, and what all changes share: who
//! signs, who comes after them, and what becomes of the drafted event.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::{Event, EventType, Identity, NextControllers, commit_to_key};
use tallystick_protocol::key::{PublicKey, SecretKey};
use tallystick_protocol::time::UnixTime;

use super::offline::Offline;
use super::{Establishing, NewProfile, Renew, Signing, Unlock, describe};
use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::question::{confirm, new_passphrase, passphrase_of};
use crate::cli::wording::{several, time};
use crate::failure::Failure;
use crate::keys::{
    self, ControllerFile, Cost, DraftFile, KEYS_DIR, Passphrase, Renewal, WrappingKey, change,
    create_controller,
};

impl From<Renew> for Renewal {
    fn from(renew: Renew) -> Self {
        let Renew { log, witness, node, sealing } = renew;
        Self { log, witness, node, sealing }
    }
}

impl Renew {
    /// What is named, or `usual` if nothing is.
    pub(super) fn or(self, usual: Renewal) -> Renewal {
        let named = Renewal::from(self);
        if named == Renewal::default() { usual } else { named }
    }
}

/// Replaces working keys.
pub(super) fn rotate(
    global: &Global,
    renew: Renew,
    establishing: &Establishing,
    unlock: &Unlock,
) -> Result<Answer, Failure> {
    let mut node = Offline::open(global)?;
    let renewal = renew.or(Renewal { log: true, witness: true, ..Renewal::default() });
    let new = New { keys: renewal, under: node.unlock(unlock)? };
    let signers = Signers::establishing(&node, establishing)?;
    ask_about_waiting(global, &node)?;
    let mut event = node.identity.next_event(EventType::Rotation, now()?);
    signers.establish(&node, establishing, &mut event)?;
    if renewal.log {
        event.pin = Some(node.newest_head(None)?);
        event.group_pins = node.pin_groups()?;
    }
    conclude(&node, event, &new, &signers, &establishing.signing, Value::Null)
}

/// Describes the authority anew.
pub(super) fn profile(
    global: &Global,
    new: &NewProfile,
    signing: &Signing,
) -> Result<Answer, Failure> {
    let node = Offline::open(global)?;
    let mut event = node.identity.next_event(EventType::Profile, now()?);
    new.apply(&mut event)?;
    let signers = Signers::current(&node, signing)?;
    ask_about_waiting(global, &node)?;
    conclude(&node, event, &New::default(), &signers, signing, Value::Null)
}

impl NewProfile {
    fn apply(&self, event: &mut Event) -> Result<(), Failure> {
        let before = (event.profile.clone(), event.witnesses.clone(), event.quorum);
        if let Some(name) = &self.name {
            event.profile.name.clone_from(name);
        }
        if !self.org_id.is_empty() {
            let ids = self.org_id.iter().map(|id| keys::parse_organisation_id(id));
            event.profile.organisation_ids = ids.collect::<Result<_, _>>()?;
        }
        if !self.also_known_as.is_empty() {
            event.profile.also_known_as.clone_from(&self.also_known_as);
        }
        if let Some(domain) = &self.domain {
            keys::check_domain(domain)?;
            event.profile.domain = Some(domain.clone());
        }
        if !self.witness.is_empty() {
            event.witnesses.clone_from(&self.witness);
        }
        event.quorum = self.quorum.unwrap_or(event.quorum);
        if before == (event.profile.clone(), event.witnesses.clone(), event.quorum) {
            return Err(Failure::usage(
                "that is how the authority describes itself already",
                "say what is to be changed; `tally key profile --help` lists what can be",
            ));
        }
        Ok(())
    }
}

/// Names who takes over.
pub(super) fn succeed(
    global: &Global,
    successors: &[AuthorityId],
    establishing: &Establishing,
) -> Result<Answer, Failure> {
    let node = Offline::open(global)?;
    if successors.contains(&node.identity.authority()) {
        return Err(Failure::usage(
            "an authority does not succeed itself",
            "name the authorities that take over; `tally partner list` shows their ids",
        ));
    }
    let signers = Signers::establishing(&node, establishing)?;
    ask_about_waiting(global, &node)?;
    let mut event = node.identity.next_event(EventType::Successor, now()?);
    event.successors = successors.to_vec();
    confirm(global, "Everybody will be told that these authorities take over from this one.")?;
    signers.establish(&node, establishing, &mut event)?;
    conclude(&node, event, &New::default(), &signers, &establishing.signing, Value::Null)
}

/// The wall clock.
pub(super) fn now() -> Result<UnixTime, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::internal)?;
    Ok(UnixTime::from_seconds(now.as_secs()))
}

/// One change waits at a time; another takes its place only if that is meant.
pub(super) fn ask_about_waiting(global: &Global, node: &Offline) -> Result<(), Failure> {
    match change::pending(node.place.data())? {
        None => Ok(()),
        Some(draft) => {
            let event = draft.event();
            let what = describe::event_name(event.event_type);
            let made = time(event.issued);
            confirm(
                global,
                &format!(
                    "A {what} made on {made} waits for signatures. Another change throws it\n\
                     away with its new keys, and signatures on it are of no use any more."
                ),
            )
        }
    }
}

/// The controllers of an event, and the secrets of those who sign now.
pub(super) struct Signers {
    secrets: Vec<SecretKey>,
    keys: Vec<PublicKey>,
    threshold: u32,
}

impl Signers {
    /// The controllers as they are.
    fn current(node: &Offline, signing: &Signing) -> Result<Self, Failure> {
        let controllers = node.identity.controllers();
        let files = signing.files(node, |key| controllers.keys.contains(key))?;
        if let Some(stranger) = files.iter().find(|file| !controllers.keys.contains(file.public()))
        {
            return Err(not_a_controller(stranger.public(), "one of the current controllers"));
        }
        let (keys, threshold) = (controllers.keys.clone(), controllers.threshold);
        Ok(Self { secrets: signing.open(&files)?, keys, threshold })
    }

    /// Those that the newest event committed to, as far as they are given.
    pub(super) fn establishing(
        node: &Offline,
        establishing: &Establishing,
    ) -> Result<Self, Failure> {
        let next = node.identity.next_controllers();
        let place = |key: &PublicKey| {
            let hash = commit_to_key(key);
            next.key_hashes.iter().position(|known| *known == hash)
        };
        let files = establishing.signing.files(node, |key| place(key).is_some())?;
        let given = files.iter().map(ControllerFile::public).chain(&establishing.controller);
        let mut keys: Vec<_> = given.copied().collect();
        if let Some(stranger) = keys.iter().find(|key| place(key).is_none()) {
            return Err(not_a_controller(
                stranger,
                "one of the controllers that were committed to as the next ones",
            ));
        }
        keys.sort_by_key(place);
        keys.dedup();
        if keys.len() < usize::try_from(next.threshold).unwrap_or(usize::MAX) {
            let needed = describe::threshold(next.threshold, next.key_hashes.len());
            return Err(Failure::usage(
                format!("{needed} of the next controllers are needed, and {} given", keys.len()),
                "name their key files with --with, or the public keys of those who sign later \
                 with --controller",
            ));
        }
        // Before anything is made: a wrong passphrase leaves nothing behind.
        let secrets = establishing.signing.open(&files)?;
        Ok(Self { secrets, keys, threshold: next.threshold })
    }

    /// Puts these controllers, and those after them, into an event.
    pub(super) fn establish(
        &self,
        node: &Offline,
        establishing: &Establishing,
        event: &mut Event,
    ) -> Result<(), Failure> {
        event.controllers.keys.clone_from(&self.keys);
        event.controllers.threshold = self.threshold;
        event.next = establishing.next(node)?;
        Ok(())
    }
}

fn not_a_controller(key: &PublicKey, role: &str) -> Failure {
    Failure::usage(format!("{key} is not {role}"), "`tally key show` says which keys may sign what")
}

impl Signing {
    /// The key files given; without any, those in the data directory that fit.
    fn files(
        &self,
        node: &Offline,
        fits: impl Fn(&PublicKey) -> bool,
    ) -> Result<Vec<ControllerFile>, Failure> {
        if !self.with.is_empty() {
            return self.with.iter().map(|path| ControllerFile::read(path)).collect();
        }
        let here = keys::controllers_in(&node.place.file(KEYS_DIR));
        Ok(here.into_iter().filter(|file| fits(file.public())).collect())
    }

    fn open(&self, files: &[ControllerFile]) -> Result<Vec<SecretKey>, Failure> {
        let given = self.passphrase_file.as_deref().map(Passphrase::read).transpose()?;
        let secret =
            |file: &ControllerFile| file.open(passphrase_of(file, given.as_ref())?.as_ref());
        files.iter().map(secret).collect()
    }

    fn output(&self, event: &Event) -> PathBuf {
        self.output.clone().unwrap_or_else(|| {
            let name = describe::event_name(event.event_type);
            PathBuf::from(format!("{name}-{}.draft", event.sequence))
        })
    }
}

impl Establishing {
    /// The controllers after these; a new key is written first, then committed to.
    fn next(&self, node: &Offline) -> Result<NextControllers, Failure> {
        let keys = match (&self.next_controllers, self.next_controller.as_slice()) {
            (Some(dir), _) => {
                let passphrase = new_passphrase(self.signing.passphrase_file.as_deref())?;
                let made = create_controller(&node.place, dir, passphrase.as_ref(), Cost::USUAL)?;
                vec![*made.public()]
            }
            (None, []) => {
                return Err(Failure::usage(
                    "it is not said who the controllers after these are",
                    "name a place for a new key with --next-controllers DIR, or the public keys \
                     of several people with --next-controller",
                ));
            }
            (None, named) => named.to_vec(),
        };
        let all = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        Ok(NextControllers {
            key_hashes: keys.iter().map(commit_to_key).collect(),
            threshold: self.next_threshold.unwrap_or(all),
        })
    }
}

/// Which working keys are made anew, and under what they are to lie.
#[derive(Debug, Default)]
pub(super) struct New {
    pub(super) keys: Renewal,
    pub(super) under: Option<WrappingKey>,
}

/// Drafts the event, signs it with the keys at hand, and installs it if that is
/// enough; else writes the file for the others.
pub(super) fn conclude(
    node: &Offline,
    event: Event,
    new: &New,
    signers: &Signers,
    signing: &Signing,
    more: Value,
) -> Result<Answer, Failure> {
    let data = node.data();
    let mut draft = change::prepare(&data, &node.identity, event, new.keys, new.under.as_ref())?;
    for secret in &signers.secrets {
        draft.sign(secret);
    }
    match draft.identity() {
        Ok(identity) => {
            change::install(&data, &identity)?;
            Ok(installed(&node.identity, &draft, &identity, more))
        }
        Err(_) => {
            let path = signing.output(draft.draft().event());
            draft.write(&path)?;
            let missing = several(u64::from(draft.draft().missing()), "signature");
            let text = format!(
                "{}\nNothing is in force yet: {missing} missing. Hand {path} on to the\n\
                 controllers, who sign it on any machine with\n\n  \
                 tally key sign {path} --with KEYFILE\n\n\
                 and then, here and while the node is stopped: tally key apply {path}\n",
                describe::text(&draft),
                path = path.display(),
            );
            let json =
                with(describe::json(&draft), &[("file", json!(path)), ("applied", json!(false))]);
            Ok(Answer::done(text, merged(json, more)))
        }
    }
}

/// What is to be said of a change that is in force.
pub(super) fn installed(
    before: &Identity,
    draft: &DraftFile,
    after: &Identity,
    more: Value,
) -> Answer {
    let mut text = format!("In force from now on:\n\n{}", describe::text(draft));
    if before.node_keys() != after.node_keys() {
        text.push_str(
            "\nPartners know this node by its old key: send them the new card, `tally whoami`.\n",
        );
    }
    if draft.draft().event().event_type.is_establishing() && draft.before().is_some() {
        text.push_str(
            "\nThe controller keys that signed are the current ones now; those before them are\n\
             of no use any more. Keep the next ones apart from them.\n",
        );
    }
    text.push_str("\nStart the node again, and its partners hear of it.\n");
    let json = with(describe::json(draft), &[("applied", json!(true))]);
    Answer::done(text, merged(json, more))
}

fn with(mut value: Value, more: &[(&str, Value)]) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    }
    value
}

fn merged(mut value: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (value.as_object_mut(), more) {
        object.extend(more);
    }
    value
}
