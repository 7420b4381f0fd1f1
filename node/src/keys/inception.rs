//! A new authority: its keys, its first event, its configuration.
//!
//! The two controller keys are made where they are to stay ([`KeyPlace`]): a
//! directory off the machine, or `keys/` for want of one, from where they are to
//! be moved. Or several people have made controller keys of their own
//! ([`Founders::Named`]); then there is a first event that they have to sign.
//!
//! **Invariant:** the identity is written last, so a directory that has one is
//! complete. Deliberately absent: any later event, see [`super::change`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{
    Controllers, Draft, Event, Identity, NextControllers, Profile, commit_to_key,
};
use tallystick_protocol::key::{PublicKey, SecretKey};
use tallystick_protocol::time::UnixTime;

use super::change;
use super::controller::ControllerFile;
use super::draft::DraftFile;
use super::file::{Purpose, Seed, make_dir, random_seed, signing_key, sync_dir, write_new};
use super::identity::save_identity;
use super::passphrase::{Cost, Passphrase, WrappingKey};
use super::working::{Fresh, Renewal};
use super::{IDENTITY_FILE, KEYS_DIR};
use crate::config::{CONFIG_FILE, Config, Place};
use crate::failure::Failure;

/// Where a new controller key is written.
#[derive(Clone, Copy, Debug)]
pub enum KeyPlace<'a> {
    /// Into this directory, which exists and is not the data directory's.
    Directory(&'a Path),
    /// Into `keys/`, from where it is to be moved.
    DataDirectory,
}

/// Who controls the new authority.
#[derive(Clone, Debug)]
pub enum Founders<'a> {
    /// One controller key, and the one after it, are made here.
    Made {
        /// Where the controller key goes.
        first: KeyPlace<'a>,
        /// Where the one after it goes.
        next: KeyPlace<'a>,
        /// Under which passphrase; none: the files are plain.
        passphrase: Option<&'a Passphrase>,
        /// What a guess at it costs.
        cost: Cost,
    },
    /// People who have keys already, and those after them.
    Named(Vec<PublicKey>, u32, NextControllers),
}

/// What was made.
#[derive(Debug)]
pub enum Founded {
    /// An authority, and the files with its controller key and the one after it.
    Identity(Box<Identity>, [PathBuf; 2]),
    /// A first event to be signed by its controllers.
    Draft(Box<DraftFile>),
}

/// Makes an authority whose controller keys lie, plain, in `keys/`.
///
/// # Errors
/// As [`found`].
pub fn create(
    place: &Place,
    network: &NetworkName,
    profile: Profile,
    issued: UnixTime,
) -> Result<Identity, Failure> {
    let at = KeyPlace::DataDirectory;
    let founders = Founders::Made { first: at, next: at, passphrase: None, cost: Cost::USUAL };
    match found(place, network, profile, issued, &founders, None)? {
        Founded::Identity(identity, _) => Ok(*identity),
        Founded::Draft(_) => Err(Failure::internal("a key was not made")),
    }
}

/// Makes keys, identity and configuration of a new authority at `place`; the
/// working keys lie under `key` if there is one, else plain.
///
/// # Errors
/// A [`Failure`] if something is there already, the profile breaks a rule of
/// the identity format, or a file cannot be written. A directory that was left
/// half made is refused by the next attempt, with a word on what to do.
pub fn found(
    place: &Place,
    network: &NetworkName,
    profile: Profile,
    issued: UnixTime,
    founders: &Founders<'_>,
    key: Option<&WrappingKey>,
) -> Result<Founded, Failure> {
    refuse_existing(place)?;
    let fresh = Fresh::make(Renewal::ALL)?;
    let first = |controllers, next, profile| -> Result<DraftFile, Failure> {
        let keys = fresh.all_public()?;
        let event = Event::inception(network.clone(), issued, controllers, next, keys, profile);
        let draft = Draft::new(event).map_err(|error| {
            Failure::usage(error, "correct the name, identifiers or domain and try again")
        })?;
        DraftFile::new(None, draft)
    };
    match founders {
        Founders::Named(keys, threshold, next) => {
            let controllers = Controllers { keys: keys.clone(), threshold: *threshold };
            let draft = first(controllers, next.clone(), profile)?;
            make_place(place, network)?;
            change::keep(place.data(), &fresh, draft.draft(), key)?;
            Ok(Founded::Draft(Box::new(draft)))
        }
        Founders::Made { first: first_at, next: next_at, passphrase, cost } => {
            check_places(place, [*first_at, *next_at])?;
            let seeds = [random_seed()?, random_seed()?];
            let [controller, next] = seeds.each_ref().map(|seed| SecretKey::from_seed(**seed));
            let controllers = Controllers { keys: vec![controller.public()], threshold: 1 };
            let hashes = vec![commit_to_key(&next.public())];
            let next = NextControllers { key_hashes: hashes, threshold: 1 };
            let mut draft = first(controllers, next, profile)?;
            draft.sign(&controller);
            let identity = draft.identity().map_err(Failure::internal)?;
            make_place(place, network)?;
            let [first_seed, next_seed] = seeds;
            let keep = |at: KeyPlace<'_>, purpose, seed: Seed| {
                let path = key_path(place, at, purpose, &seed);
                ControllerFile::keep(&path, purpose, seed, *passphrase, *cost).map(|_| path)
            };
            let files = [
                keep(*first_at, Purpose::Controller, first_seed)?,
                keep(*next_at, Purpose::NextController, next_seed)?,
            ];
            let keys = place.file(KEYS_DIR);
            fresh.write(&keys, key, |error| failed(&keys)(error))?;
            sync_dir(&keys).map_err(failed(&keys))?;
            // Last: a directory with an identity is complete.
            save_identity(place.data(), &identity)?;
            Ok(Founded::Identity(Box::new(identity), files))
        }
    }
}

/// The file of a new controller key. Off the data directory the name tells keys
/// apart that come together on one stick.
fn key_path(place: &Place, at: KeyPlace<'_>, purpose: Purpose, seed: &Seed) -> PathBuf {
    match at {
        KeyPlace::DataDirectory => place.file(KEYS_DIR).join(purpose.file()),
        KeyPlace::Directory(dir) => dir.join(file_name(&signing_key(seed))),
    }
}

/// The name of the file of a controller key: the first eight digits of the public key are in it.
#[must_use]
pub(super) fn file_name(public: &PublicKey) -> String {
    let text = public.to_string();
    let digits: String = text.chars().skip_while(|c| *c != ':').skip(1).take(8).collect();
    format!("controller-{digits}.key")
}

/// Makes a new controller key in a directory off the data directory.
///
/// # Errors
/// A [`Failure`] if the directory is not there or part of the data directory,
/// or the file cannot be written.
pub fn create_controller(
    place: &Place,
    dir: &Path,
    passphrase: Option<&Passphrase>,
    cost: Cost,
) -> Result<ControllerFile, Failure> {
    check_place(place, dir)?;
    let seed = random_seed()?;
    let path = key_path(place, KeyPlace::Directory(dir), Purpose::NextController, &seed);
    ControllerFile::keep(&path, Purpose::NextController, seed, passphrase, cost)
}

fn check_places(place: &Place, at: [KeyPlace<'_>; 2]) -> Result<(), Failure> {
    let dirs = at.iter().filter_map(|at| match at {
        KeyPlace::Directory(dir) => Some(*dir),
        KeyPlace::DataDirectory => None,
    });
    let dirs: Vec<_> = dirs.collect();
    dirs.iter().try_for_each(|dir| check_place(place, dir))?;
    match dirs.as_slice() {
        [one, two] if fs::canonicalize(one).ok() == fs::canonicalize(two).ok() => {
            Err(Failure::usage(
                "both controller keys would lie in one place, and be lost or stolen together",
                "name two directories, for instance two memory sticks; if you can plug in one at \
                 a time, make the keys with `tally key new` and name them with --controller and \
                 --next-controller",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses a directory that is not there, as where no stick is plugged in, or
/// that belongs to the data directory.
fn check_place(place: &Place, dir: &Path) -> Result<(), Failure> {
    let found = fs::canonicalize(dir).ok().filter(|dir| dir.is_dir()).ok_or_else(|| {
        Failure::usage(
            format!("there is no directory {}", dir.display()),
            "plug in and mount the stick, or make the directory first",
        )
    })?;
    let data = fs::canonicalize(place.data()).or_else(|_| std::path::absolute(place.data()));
    if data.is_ok_and(|data| found.starts_with(data)) {
        return Err(Failure::usage(
            format!("{} is in the data directory", dir.display()),
            "name a place off this machine, for instance a memory stick",
        ));
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |error| {
        let remedy = "name a directory that you may write to with --data DIR";
        Failure::unwritten(&path, &error, remedy)
    }
}

/// Puts an authority whose data directory was lost into a new one: its identity,
/// which is public, and a configuration. All its working keys are missing.
///
/// # Errors
/// A [`Failure`] if something is there already, or a file cannot be written.
pub fn adopt(place: &Place, identity: &Identity) -> Result<(), Failure> {
    refuse_existing(place)?;
    make_place(place, identity.network())?;
    save_identity(place.data(), identity)
}

/// The data directory with its directory for keys and a configuration.
fn make_place(place: &Place, network: &NetworkName) -> Result<(), Failure> {
    let keys = place.file(KEYS_DIR);
    make_dir(&keys).map_err(failed(&keys))?;
    if !place.config().exists() {
        let text = Config::template(network);
        write_new(place.config(), text.as_bytes()).map_err(failed(place.config()))?;
    }
    sync_dir(place.data()).map_err(failed(place.data()))
}

fn refuse_existing(place: &Place) -> Result<(), Failure> {
    let data = place.data();
    let known =
        |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == CONFIG_FILE);
    // A configuration that was put there beforehand is used, not overwritten.
    match fs::read_dir(data).map(|mut entries| entries.all(known)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(true) => Ok(()),
        Ok(_) if data.join(IDENTITY_FILE).exists() => Err(Failure::usage(
            format!("there is an authority in {} already", data.display()),
            "start it with `tally run`, or name another directory with --data DIR",
        )),
        Ok(_) => Err(Failure::usage(
            format!("{} is not empty", data.display()),
            "name a new directory with --data DIR, or empty this one if an earlier attempt was interrupted",
        )),
        Err(error) => Err(Failure::usage(
            format!("{} cannot be read ({error})", data.display()),
            "name a directory that you may write to with --data DIR",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::passphrase::tests::{CHEAP, passphrase};
    use crate::keys::tests::{named, network};
    use crate::keys::{NodeKeys, load_identity};

    fn found_at(
        place: &Place,
        first: &Path,
        next: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<Founded, Failure> {
        let founders = Founders::Made {
            first: KeyPlace::Directory(first),
            next: KeyPlace::Directory(next),
            passphrase,
            cost: CHEAP,
        };
        found(place, &network(), named("Ash"), UnixTime::from_seconds(1), &founders, None)
    }

    #[test]
    fn controller_keys_go_straight_to_their_places_and_never_touch_the_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("data"));
        let sticks = ["one", "two"].map(|name| dir.path().join(name));
        sticks.iter().for_each(|stick| fs::create_dir(stick).unwrap());
        let phrase = passphrase("correct horse");
        let founded = found_at(&place, &sticks[0], &sticks[1], Some(&phrase)).unwrap();
        let Founded::Identity(identity, files) = founded else { panic!("an identity") };
        let opened = files.each_ref().map(|file| {
            let file = ControllerFile::read(file).unwrap();
            assert!(file.is_sealed());
            file.open(Some(&phrase)).unwrap().public()
        });
        assert_eq!(identity.controllers().keys, [opened[0]]);
        assert_eq!(identity.next_controllers().key_hashes, [commit_to_key(&opened[1])]);
        assert!(files[0].starts_with(&sticks[0]) && files[1].starts_with(&sticks[1]));
        let mut kept: Vec<_> = fs::read_dir(place.file(KEYS_DIR)).unwrap().collect();
        kept.retain(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().contains("controller")
        });
        assert!(kept.is_empty(), "{kept:?}");
        assert_eq!(load_identity(place.data(), &network()), Ok(*identity));
    }

    #[test]
    fn places_that_are_none_are_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("data"));
        let stick = dir.path().join("stick");
        let unplugged = found_at(&place, &stick, dir.path(), None).unwrap_err();
        assert!(unplugged.error.contains("no directory"), "{unplugged}");
        fs::create_dir(&stick).unwrap();
        let same = found_at(&place, &stick, &stick.join("."), None).unwrap_err();
        assert!(same.error.contains("in one place"), "{same}");
        assert!(!place.data().exists());
        let inside = place.data().join("usb");
        make_dir(&inside).unwrap();
        let refused = create_controller(&place, &inside, None, CHEAP).unwrap_err();
        assert!(refused.error.contains("in the data directory"), "{refused}");
    }

    #[test]
    fn several_people_found_an_authority_by_signing() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("data"));
        let people = [1, 2, 3].map(|n| SecretKey::from_seed([n; 32]));
        let hashes = [4, 5].map(|n| commit_to_key(&SecretKey::from_seed([n; 32]).public()));
        let next = NextControllers { key_hashes: hashes.to_vec(), threshold: 2 };
        let keys = people.iter().map(SecretKey::public).collect();
        let founders = Founders::Named(keys, 2, next);
        let issued = UnixTime::from_seconds(1);
        let founded = found(&place, &network(), named("Ash"), issued, &founders, None).unwrap();
        let Founded::Draft(draft) = founded else { panic!("a draft") };
        assert_eq!(load_identity(place.data(), &network()).unwrap_err().kind.exit_code(), 3);
        let (mut left, mut right) = (draft.clone(), *draft);
        assert!(left.sign(&people[2]) && right.sign(&people[0]));
        left.merge(right).unwrap();
        let identity = left.identity().unwrap();
        change::install(place.data(), &identity).unwrap();
        assert_eq!(load_identity(place.data(), &network()), Ok(identity.clone()));
        NodeKeys::load(place.data(), &identity, None).unwrap();
    }
}
