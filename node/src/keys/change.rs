//! From one event to the next: new working keys wait in `pending/` until the
//! event that names them is signed, and then take their places.
//!
//! ```text
//! prepare   pending.new/ {change, log.key, …}  ──rename──►  pending/
//! install   identity.cbor replaced by rename: from here on the event stands
//! settle    pending/log.key ──rename──► keys/log.key, …; pending/ removed
//! ```
//!
//! **Invariants:** no event stands whose keys are not on the disk; whatever the
//! moment of a crash, the keys of the newest event are found (`working`
//! looks in both places), and the next start or command ends what was begun or
//! throws it away. The caller holds the data directory's lock. Deliberately
//! absent: who may sign, which the chain decides.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tallystick_protocol::identity::{Draft, Event, Identity};

use super::draft::DraftFile;
use super::file::{KeyFile, Purpose, make_dir, read_bounded, sync_dir, write_new};
use super::identity::{AS_THE_NODE, save_identity};
use super::passphrase::WrappingKey;
use super::working::{Fresh, Renewal, belongs, find, installed_node, retired_sealing_file};
use super::{KEYS_DIR, PENDING_DIR};
use crate::failure::Failure;

/// Where a change is put together before it is whole.
const UNFINISHED_DIR: &str = "pending.new";
/// The drafted event, without its chain.
const DRAFT_FILE: &str = "change";

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |error| Failure::unwritten(&path, &error, AS_THE_NODE)
}

/// Drafts `event`, which may get new working keys, and keeps these until it is
/// installed, under `key` if the working keys are protected. A change that was
/// waiting is thrown away.
///
/// # Errors
/// A [`Failure`] if the event may not follow, or the keys cannot be written.
pub fn prepare(
    data: &Path,
    identity: &Identity,
    mut event: Event,
    renewal: Renewal,
    key: Option<&WrappingKey>,
) -> Result<DraftFile, Failure> {
    let fresh = Fresh::make(renewal)?;
    fresh.replace_in(&mut event.keys, installed_node(data).as_ref());
    let draft = Draft::new(event)
        .map_err(|error| Failure::usage(error, "correct what was given and try again"))?;
    let file = DraftFile::new(Some(identity.clone()), draft)?;
    keep(data, &fresh, file.draft(), key)?;
    Ok(file)
}

/// Puts a drafted event and its keys into `pending/`, whole or not at all.
pub(super) fn keep(
    data: &Path,
    fresh: &Fresh,
    draft: &Draft,
    key: Option<&WrappingKey>,
) -> Result<(), Failure> {
    let (new, pending) = (data.join(UNFINISHED_DIR), data.join(PENDING_DIR));
    let bytes = draft.to_bytes().map_err(Failure::internal)?;
    remove(&new)?;
    make_dir(&new).map_err(failed(&new))?;
    fresh.write(&new, key, |error| failed(&new)(error))?;
    write_new(&new.join(DRAFT_FILE), &bytes).map_err(failed(&new))?;
    sync_dir(&new).map_err(failed(&new))?;
    // If we die before this line, what was waiting still waits; after it, nothing does.
    remove(&pending)?;
    fs::rename(&new, &pending).map_err(failed(&pending))?;
    sync_dir(data).map_err(failed(data))
}

/// The change that waits for signatures or for the end of its installation.
///
/// # Errors
/// A [`Failure`] if it cannot be read.
pub fn pending(data: &Path) -> Result<Option<Draft>, Failure> {
    let path = data.join(PENDING_DIR).join(DRAFT_FILE);
    let most = tallystick_protocol::limits::IDENTITY_EVENT_BYTES as u64;
    let damaged = |why: &dyn std::fmt::Display| {
        Failure::usage(
            format!("the change that waits in {} cannot be read ({why})", path.display()),
            "throw it away with `tally key discard` and make it again",
        )
    };
    match read_bounded(&path, most) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(damaged(&error)),
        Ok(bytes) => Draft::parse(&bytes).map(Some).map_err(|error| damaged(&error)),
    }
}

/// Throws away a change that waits, with its keys.
///
/// # Errors
/// A [`Failure`] if the files cannot be removed.
pub fn discard(data: &Path) -> Result<(), Failure> {
    remove(&data.join(UNFINISHED_DIR))?;
    remove(&data.join(PENDING_DIR))?;
    sync_dir(data).map_err(failed(data))
}

/// Puts `identity` in force.
///
/// # Errors
/// A [`Failure`] if the keys that it names are not here, or a file cannot be
/// written. [`settle`] ends what was begun.
pub fn install(data: &Path, identity: &Identity) -> Result<(), Failure> {
    install_with(data, identity, &mut |_| Ok(()))
}

/// Ends an installation that was begun, and throws away a change that can no
/// longer follow. Nothing happens if there is neither.
///
/// # Errors
/// A [`Failure`] if a file cannot be moved.
pub fn settle(data: &Path, identity: &Identity) -> Result<(), Failure> {
    settle_with(data, identity, &mut |_| Ok(()))
}

/// What is done on the disk, for tests that stop behind each of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new identity stands.
    Identity,
    /// A key is in its place.
    Key(Purpose),
    /// All keys are, durably.
    Keys,
}

type AfterStep<'a> = &'a mut dyn FnMut(Step) -> Result<(), Failure>;

fn install_with(data: &Path, identity: &Identity, after: AfterStep<'_>) -> Result<(), Failure> {
    for purpose in Purpose::WORKING {
        find(data, purpose, identity).map_err(|_| {
            Failure::usage(
                "the new keys of this change are not in this data directory",
                "install it where it was made; a change that was made again needs new signatures",
            )
        })?;
    }
    // The lock is what others wait for; this directory is the last thing a new authority lacks.
    let keys = data.join(KEYS_DIR);
    make_dir(&keys).map_err(failed(&keys))?;
    save_identity(data, identity)?;
    after(Step::Identity)?;
    settle_with(data, identity, after)
}

fn settle_with(data: &Path, identity: &Identity, after: AfterStep<'_>) -> Result<(), Failure> {
    let (keys, from) = (data.join(KEYS_DIR), data.join(PENDING_DIR));
    remove(&data.join(UNFINISHED_DIR))?;
    let waits = |draft: &Draft| draft.event().sequence > identity.sequence();
    match pending(data) {
        Ok(None) => return Ok(()),
        Ok(Some(draft)) if waits(&draft) => return Ok(()),
        Ok(Some(_)) => {}
        // It must not keep a node from starting; its keys may be of use to somebody.
        Err(failure) => {
            tracing::warn!(%failure, "a change that was waiting is left alone");
            return Ok(());
        }
    }
    make_dir(&keys).map_err(failed(&keys))?;
    for purpose in Purpose::WORKING {
        let new = from.join(purpose.file());
        let named = KeyFile::read(&new, purpose).is_ok_and(|file| belongs(&file, identity));
        if named {
            let place = keys.join(purpose.file());
            if purpose == Purpose::Sealing {
                retire_sealing(&place)?;
            }
            fs::rename(&new, &place).map_err(failed(&place))?;
            after(Step::Key(purpose))?;
        }
    }
    for dir in [&keys, &from] {
        sync_dir(dir).map_err(failed(dir))?;
    }
    after(Step::Keys)?;
    remove(&from)?;
    sync_dir(data).map_err(failed(data))
}

/// Sets the sealing key at `place` aside: what was sealed to it is read for as long
/// as there is anything to read.
fn retire_sealing(place: &Path) -> Result<(), Failure> {
    // If we die behind this, the new key is found where it waits.
    let old = KeyFile::read(place, Purpose::Sealing).ok();
    let Some(name) = old.and_then(|old| retired_sealing_file(old.public())) else { return Ok(()) };
    let aside = place.with_file_name(name);
    fs::rename(place, &aside).map_err(failed(&aside))
}

fn remove(dir: &PathBuf) -> Result<(), Failure> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;
    use crate::keys::tests::{created, network, rotation};
    use crate::keys::{ControllerFile, NodeKeys, controller_files, load_identity};
    use tallystick_protocol::identity::EventType;
    use tallystick_protocol::time::UnixTime;

    fn loads(place: &Place) -> Identity {
        let identity = load_identity(place.data(), &network()).unwrap();
        NodeKeys::load(place.data(), &identity, None).unwrap();
        identity
    }

    #[test]
    fn a_change_takes_its_place_and_the_old_keys_are_gone() {
        let (_dir, place, identity) = created();
        let old = NodeKeys::load(place.data(), &identity, None).unwrap();
        let after = rotation(&place, &identity, 1, None).identity().unwrap();
        assert_eq!(loads(&place), identity, "nothing has changed yet");
        assert!(pending(place.data()).unwrap().is_some());
        settle(place.data(), &identity).unwrap();
        assert!(pending(place.data()).unwrap().is_some(), "it goes on waiting");
        install(place.data(), &after).unwrap();
        assert_eq!(loads(&place), after);
        let new = NodeKeys::load(place.data(), &after, None).unwrap();
        assert_ne!(new.log.public(), old.log.public());
        assert_ne!(new.node.public(), old.node.public());
        let publics = |keys: &NodeKeys| -> Vec<_> {
            keys.sealing.iter().map(|key| key.public().unwrap()).collect()
        };
        let (before, now) = (publics(&old), publics(&new));
        assert_eq!((before.len(), now.len()), (1, 2));
        assert_eq!(&now[0], after.sealing_key());
        assert_eq!(now[1], before[0], "what was sealed to the old key is still read");
        assert!(!place.file(PENDING_DIR).exists());
        let refused = NodeKeys::load(place.data(), &identity, None).unwrap_err();
        assert!(refused.error.contains("newest event"), "{refused}");
    }

    #[test]
    fn a_crash_behind_any_step_leaves_keys_and_identity_that_fit_and_is_mended() {
        let crash = || Failure::internal("crash");
        for stop in 0.. {
            let (_dir, place, identity) = created();
            let after = rotation(&place, &identity, 1, None).identity().unwrap();
            let mut steps = 0;
            let stopped = install_with(place.data(), &after, &mut |_| {
                steps += 1;
                if steps > stop { Err(crash()) } else { Ok(()) }
            });
            assert_eq!(loads(&place), after, "stopped behind step {stop}");
            settle(place.data(), &after).unwrap();
            assert_eq!(loads(&place), after);
            assert!(!place.file(PENDING_DIR).exists());
            settle(place.data(), &after).unwrap();
            if stopped.is_ok() {
                assert_eq!(steps, 6, "identity, four keys, all of them");
                break;
            }
        }
    }

    #[test]
    fn a_crash_while_it_is_prepared_changes_nothing() {
        let (_dir, place, identity) = created();
        let new = place.file(UNFINISHED_DIR);
        make_dir(&new).unwrap();
        write_new(&new.join("log.key"), b"half a k").unwrap();
        settle(place.data(), &identity).unwrap();
        assert!(!new.exists());
        assert_eq!(loads(&place), identity);
        make_dir(&new).unwrap();
        write_new(&new.join("log.key"), b"half a k").unwrap();
        let after = rotation(&place, &identity, 1, None).identity().unwrap();
        install(place.data(), &after).unwrap();
        assert_eq!(loads(&place), after);
    }

    #[test]
    fn a_change_that_can_no_longer_follow_is_thrown_away() {
        let (_dir, place, identity) = created();
        rotation(&place, &identity, 1, None);
        let mut event = identity.next_event(EventType::Profile, UnixTime::from_seconds(9));
        event.profile.name = "Ash City Council".to_owned();
        let mut file = DraftFile::new(Some(identity), Draft::new(event).unwrap()).unwrap();
        let key = ControllerFile::read(&controller_files(place.data())[0]).unwrap();
        file.sign(&key.open(None).unwrap());
        install(place.data(), &file.identity().unwrap()).unwrap();
        assert_eq!(loads(&place).profile().name, "Ash City Council");
        assert!(!place.file(PENDING_DIR).exists());
    }

    #[test]
    fn a_change_is_installed_only_where_its_keys_are() {
        let (_dir, place, identity) = created();
        let after = rotation(&place, &identity, 1, None).identity().unwrap();
        discard(place.data()).unwrap();
        let refused = install(place.data(), &after).unwrap_err();
        assert!(refused.error.contains("not in this data directory"), "{refused}");
        assert_eq!(loads(&place), identity);
    }
}
