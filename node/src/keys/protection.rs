//! Working keys under a passphrase, for a node that is given it when it starts.
//!
//! All of them, those that were replaced and those that wait in `pending/`
//! included, are sealed under one wrapping key, so that a start costs one
//! derivation however many there are. Plain and sealed files may lie side by side:
//!
//! ```text
//! for each file:  FILE.new written, fsynced ──rename──► FILE
//! ```
//!
//! **Invariant:** whatever the moment of a crash, each file is whole and either
//! plain or under the passphrase, and the same command goes on from there; what
//! is sealed here later is under the same passphrase. The caller holds the data
//! directory's lock. Deliberately absent: changing the passphrase, which is
//! removing and protecting, and the secrets of groups, which are nowhere on the
//! disk but sealed to these keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{KeyFile, Purpose};
use super::identity::AS_THE_NODE;
use super::passphrase::{Cost, Passphrase, Unlocking, WrappingKey};
use super::working::retired_sealing_files;
use super::{KEYS_DIR, PENDING_DIR};
use crate::failure::Failure;
use crate::partner::{replace, replacement};

/// A file with a working key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it lies under a passphrase.
    pub is_protected: bool,
}

/// The files with working keys: those in use, those waiting and those replaced.
///
/// # Errors
/// A [`Failure`] if one of them cannot be read or is damaged.
pub fn working_files(data: &Path) -> Result<Vec<WorkingFile>, Failure> {
    let file = |file: KeyFile| WorkingFile {
        is_protected: file.is_sealed(),
        path: file.path().to_owned(),
    };
    Ok(files(data)?.into_iter().map(file).collect())
}

/// Whether a passphrase is needed to read the working keys. Files that cannot be
/// read do not count; whoever needs them says what is wrong with them.
#[must_use]
pub fn is_protected(data: &Path) -> bool {
    let read = |(path, purpose): (PathBuf, _)| KeyFile::read(&path, purpose).ok();
    paths(data).into_iter().filter_map(read).any(|file| file.is_sealed())
}

/// The key under which the working keys lie; `None` if all of them are plain.
///
/// # Errors
/// A [`Failure`] if this is not their passphrase, or a file is damaged.
pub fn wrapping_key(
    data: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<Option<WrappingKey>, Failure> {
    let Some(sealed) = files(data)?.into_iter().find(KeyFile::is_sealed) else { return Ok(None) };
    let mut unlocking = Unlocking::with(passphrase);
    sealed.open(&mut unlocking)?;
    Ok(unlocking.into_key())
}

/// Puts the working keys under a passphrase. If some are already, it must be theirs.
/// Gives the files that were changed.
///
/// # Errors
/// A [`Failure`]: another passphrase, a damaged file, or one that cannot be written.
pub fn protect(data: &Path, passphrase: &Passphrase, cost: Cost) -> Result<Vec<PathBuf>, Failure> {
    let key = match wrapping_key(data, Some(passphrase))? {
        Some(key) => key,
        None => WrappingKey::new(passphrase, cost)?,
    };
    rewrite(data, None, Some(&key), &mut |_| Ok(()))
}

/// Puts the working keys in plain files again, and gives those that were changed.
///
/// # Errors
/// As [`protect`].
pub fn unprotect(data: &Path, passphrase: &Passphrase) -> Result<Vec<PathBuf>, Failure> {
    rewrite(data, Some(passphrase), None, &mut |_| Ok(()))
}

/// What is done behind each file, for tests that stop there.
type AfterFile<'a> = &'a mut dyn FnMut(&Path) -> Result<(), Failure>;

fn rewrite(
    data: &Path,
    passphrase: Option<&Passphrase>,
    key: Option<&WrappingKey>,
    after: AfterFile<'_>,
) -> Result<Vec<PathBuf>, Failure> {
    let failed = |path: &Path, error| Failure::unwritten(path, &error, AS_THE_NODE);
    let mut unlocking = Unlocking::with(passphrase);
    let mut new = Vec::new();
    for file in files(data)? {
        let (path, purpose) = (file.path(), file.purpose());
        // What a crash has left may hold the secret in the clear.
        match fs::remove_file(replacement(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(path, error));
            }
            _ => {}
        }
        if file.is_sealed() != key.is_some() {
            new.push(KeyFile::new(path, purpose, file.open(&mut unlocking)?, key)?);
        }
    }
    // Nothing is changed before all of them could be opened.
    for file in &new {
        replace(file.path(), file.text().as_bytes()).map_err(|error| failed(file.path(), error))?;
        after(file.path())?;
    }
    Ok(new.iter().map(|file| file.path().to_owned()).collect())
}

fn files(data: &Path) -> Result<Vec<KeyFile>, Failure> {
    let read = |(path, purpose): (PathBuf, _)| KeyFile::read(&path, purpose);
    paths(data).into_iter().map(read).collect()
}

/// The working keys that are there, and what each is for.
fn paths(data: &Path) -> Vec<(PathBuf, Purpose)> {
    let dirs = [KEYS_DIR, PENDING_DIR].map(|dir| data.join(dir));
    let named = |dir: &PathBuf| Purpose::WORKING.map(|purpose| (dir.join(purpose.file()), purpose));
    let retired = retired_sealing_files(data).into_iter().map(|path| (path, Purpose::Sealing));
    dirs.iter().flat_map(named).chain(retired).filter(|(path, _)| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;
    use crate::keys::NodeKeys;
    use crate::keys::change::{install, settle};
    use crate::keys::file::write_new;
    use crate::keys::passphrase::tests::{CHEAP, passphrase};
    use crate::keys::tests::{created, rotation};
    use tallystick_protocol::identity::Identity;

    /// An authority with a replaced sealing key and a change that waits.
    fn lived() -> (tempfile::TempDir, Place, Identity) {
        let (dir, place, identity) = created();
        let after = rotation(&place, &identity, 1, None).identity().unwrap();
        install(place.data(), &after).unwrap();
        rotation(&place, &after, 2, None);
        assert_eq!(working_files(place.data()).unwrap().len(), 4 + 4 + 1);
        (dir, place, after)
    }

    fn protected(place: &Place) -> usize {
        working_files(place.data()).unwrap().iter().filter(|file| file.is_protected).count()
    }

    fn secrets(place: &Place) -> usize {
        let read = |(path, _)| fs::read_to_string(path).unwrap();
        let plain = |text: &String| text.starts_with("tallystick-secret-v1 ");
        paths(place.data()).into_iter().map(read).filter(plain).count()
    }

    fn same(one: &NodeKeys, two: &NodeKeys) -> bool {
        let public = |keys: &NodeKeys| {
            keys.sealing.iter().map(|key| key.public().unwrap()).collect::<Vec<_>>()
        };
        let signing = |keys: &NodeKeys| [&keys.log, &keys.witness, &keys.node].map(|k| k.public());
        signing(one) == signing(two) && public(one) == public(two)
    }

    #[test]
    fn all_working_keys_are_protected_read_and_plain_again() {
        let (_dir, place, identity) = lived();
        let (data, phrase) = (place.data(), passphrase("correct horse"));
        let before = NodeKeys::load(data, &identity, None).unwrap();
        assert!(!is_protected(data) && wrapping_key(data, None).unwrap().is_none());
        assert_eq!(protect(data, &phrase, CHEAP).unwrap().len(), 9);
        assert_eq!((protected(&place), secrets(&place)), (9, 0));
        let read = NodeKeys::load(data, &identity, Some(&phrase)).unwrap();
        assert_eq!(read.sealing.len(), 2);
        assert!(same(&before, &read));
        assert!(protect(data, &phrase, CHEAP).unwrap().is_empty(), "nothing is left to do");
        for (wrong, said) in
            [(None, "lies under a passphrase"), (Some(passphrase("x")), "does not open")]
        {
            let failure = NodeKeys::load(data, &identity, wrong.as_ref()).unwrap_err();
            assert!(failure.error.contains(said), "{failure}");
            assert_eq!(failure.kind.exit_code(), 2);
            assert_eq!(wrapping_key(data, wrong.as_ref()).unwrap_err(), failure);
        }
        assert!(protect(data, &passphrase("x"), CHEAP).is_err());
        assert!(unprotect(data, &passphrase("x")).is_err());
        assert_eq!(protected(&place), 9);
        assert_eq!(unprotect(data, &phrase).unwrap().len(), 9);
        assert_eq!((protected(&place), secrets(&place)), (0, 9));
        assert!(same(&before, &NodeKeys::load(data, &identity, None).unwrap()));
    }

    #[test]
    fn one_derivation_serves_all_files() {
        let (_dir, place, _) = lived();
        protect(place.data(), &passphrase("correct horse"), CHEAP).unwrap();
        let read = |(path, _)| fs::read_to_string(path).unwrap();
        let salt = |text: String| text.lines().nth(2).unwrap().to_owned();
        let salts: std::collections::BTreeSet<_> =
            paths(place.data()).into_iter().map(read).map(salt).collect();
        assert_eq!(salts.len(), 1, "{salts:?}");
    }

    #[test]
    fn a_crash_behind_any_file_leaves_keys_that_are_read_and_is_mended() {
        let crash = || Failure::internal("crash");
        let phrase = passphrase("correct horse");
        for stop in 0..9 {
            let (_dir, place, identity) = lived();
            let data = place.data();
            let before = NodeKeys::load(data, &identity, None).unwrap();
            let key = WrappingKey::new(&phrase, CHEAP).unwrap();
            let loads = |changed: usize| {
                assert_eq!(protected(&place), changed, "stopped behind file {stop}");
                assert!(same(&before, &NodeKeys::load(data, &identity, Some(&phrase)).unwrap()));
            };
            let stopping = |from: Option<&Passphrase>, to: Option<&WrappingKey>| {
                let mut files = 0;
                let stopped = rewrite(data, from, to, &mut |path| {
                    files += 1;
                    // The next file is half written when the power goes.
                    write_new(&replacement(path), b"tallystick-secret-v1 half a k").unwrap();
                    if files > stop { Err(crash()) } else { Ok(()) }
                });
                assert!(stopped.is_err());
            };
            stopping(None, Some(&key));
            loads(stop + 1);
            protect(data, &phrase, CHEAP).unwrap();
            loads(9);
            stopping(Some(&phrase), None);
            loads(9 - stop - 1);
            unprotect(data, &phrase).unwrap();
            assert!(same(&before, &NodeKeys::load(data, &identity, None).unwrap()));
            let left = |(path, _): &(PathBuf, Purpose)| replacement(path).exists();
            assert!(!paths(data).iter().any(left), "a crash leaves no secret for ever");
        }
    }

    #[test]
    fn a_rotation_keeps_the_protection() {
        let (_dir, place, identity) = created();
        let (data, phrase) = (place.data(), passphrase("correct horse"));
        protect(data, &phrase, CHEAP).unwrap();
        let key = wrapping_key(data, Some(&phrase)).unwrap();
        let old = NodeKeys::load(data, &identity, Some(&phrase)).unwrap();
        let after = rotation(&place, &identity, 1, key.as_ref()).identity().unwrap();
        assert_eq!((protected(&place), secrets(&place)), (8, 0));
        // Neither installing nor mending an interrupted installation needs the passphrase.
        install(data, &after).unwrap();
        settle(data, &after).unwrap();
        assert_eq!((protected(&place), secrets(&place)), (5, 0));
        let new = NodeKeys::load(data, &after, Some(&phrase)).unwrap();
        assert_ne!(new.log.public(), old.log.public());
        assert_eq!(new.sealing[1].public(), old.sealing[0].public());
    }

    #[cfg(unix)]
    #[test]
    fn protected_files_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, place, _) = lived();
        let phrase = passphrase("correct horse");
        let modes = || {
            let mode = |(path, _)| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            paths(place.data()).into_iter().map(mode).collect::<Vec<_>>()
        };
        assert_eq!(modes(), [0o600; 9]);
        protect(place.data(), &phrase, CHEAP).unwrap();
        assert_eq!(modes(), [0o600; 9]);
        unprotect(place.data(), &phrase).unwrap();
        assert_eq!(modes(), [0o600; 9]);
    }
}
