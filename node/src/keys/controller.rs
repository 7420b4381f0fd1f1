//! The file of a controller key: one secret that is kept off the machine.
//!
//! **Invariant:** a file is never overwritten. Deliberately absent: the working
//! keys, see [`super::working`].

use std::fmt;
use std::io;
use std::path::Path;

use tallystick_protocol::key::{PublicKey, SecretKey};

use super::file::{KeyFile, Public, Purpose, Seed, random_seed, sync_parent};
use super::passphrase::{Cost, Passphrase, Unlocking, WrappingKey};
use crate::failure::Failure;

/// A file with a controller key, read and not opened yet.
pub struct ControllerFile {
    file: KeyFile,
    public: PublicKey,
}

impl fmt::Debug for ControllerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ControllerFile").field(&self.file).finish()
    }
}

impl ControllerFile {
    /// Reads a file, plain or under a passphrase.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read, others may read it, or it is no
    /// controller key.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let file = KeyFile::read_any(path, &[Purpose::Controller, Purpose::NextController])?;
        file.and_then(Self::of).ok_or_else(|| {
            Failure::usage(
                format!("{} is not a controller key", path.display()),
                "give a file that `tally init` or `tally key new` made",
            )
        })
    }

    fn of(file: KeyFile) -> Option<Self> {
        match file.public() {
            Public::Signing(public) => Some(Self { public: *public, file }),
            Public::Sealing(_) => None,
        }
    }

    /// Makes a new key in the file `path`, which must not exist yet.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn create(
        path: &Path,
        passphrase: Option<&Passphrase>,
        cost: Cost,
    ) -> Result<Self, Failure> {
        Self::keep(path, Purpose::Controller, random_seed()?, passphrase, cost)
    }

    pub(super) fn keep(
        path: &Path,
        purpose: Purpose,
        seed: Seed,
        passphrase: Option<&Passphrase>,
        cost: Cost,
    ) -> Result<Self, Failure> {
        let key = passphrase.map(|passphrase| WrappingKey::new(passphrase, cost)).transpose()?;
        let file = KeyFile::new(path, purpose, seed, key.as_ref())?;
        let written = file.write_new().and_then(|()| sync_parent(path));
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(
                format!("{} exists already", path.display()),
                "name another file; keys are never overwritten",
            ),
            _ => Failure::unwritten(path, &error, "name a place that you may write to"),
        })?;
        Self::of(file).ok_or_else(|| Failure::internal("a controller's key signs"))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whose key it is.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether a passphrase is needed to open it.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.file.is_sealed()
    }

    /// The secret key; the passphrase is of use only if the file is sealed.
    ///
    /// # Errors
    /// A [`Failure`] if the passphrase is missing or wrong.
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<SecretKey, Failure> {
        let seed = self.file.open(&mut Unlocking::with(passphrase))?;
        Ok(SecretKey::from_seed(*seed))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::keys::file::{put_hex, write_new};
    use crate::keys::passphrase::tests::{CHEAP, passphrase};

    fn made(passphrase: Option<&Passphrase>) -> (tempfile::TempDir, ControllerFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = ControllerFile::create(&dir.path().join("one.key"), passphrase, CHEAP).unwrap();
        (dir, file)
    }

    #[test]
    fn a_key_under_a_passphrase_opens_with_it_only() {
        let phrase = passphrase("correct horse");
        let (_dir, made) = made(Some(&phrase));
        let read = ControllerFile::read(made.path()).unwrap();
        assert!(read.is_sealed());
        assert_eq!(read.public(), made.public());
        assert_eq!(read.open(Some(&phrase)).unwrap().public(), *made.public());
        let missing = read.open(None).unwrap_err();
        assert!(missing.error.contains("under a passphrase"), "{missing}");
        let wrong = read.open(Some(&passphrase("wrong"))).unwrap_err();
        assert!(wrong.error.contains("does not open"), "{wrong}");
    }

    #[test]
    fn no_secret_stands_in_a_sealed_file_nor_in_what_is_printed() {
        let phrase = passphrase("correct horse");
        let (_dir, sealed) = made(Some(&phrase));
        let key = sealed.open(Some(&phrase)).unwrap();
        let mut secret = String::new();
        put_hex(&mut secret, key.to_seed().as_slice());
        let content = fs::read_to_string(sealed.path()).unwrap();
        let (_plain_dir, plain) = made(None);
        let shown = format!("{sealed:?}{plain:?}{phrase:?}{key:?}");
        let mut other = String::new();
        put_hex(&mut other, plain.open(None).unwrap().to_seed().as_slice());
        for part in [&secret, &secret[..16], "correct horse"] {
            assert!(!content.contains(part) && !shown.contains(part));
        }
        assert!(!shown.contains(&other[..16]), "a plain file prints no more than a sealed one");
        assert!(content.contains("argon2id memory=32 passes=1 lanes=4 salt="));
    }

    #[test]
    fn a_sealed_file_has_one_spelling_and_every_change_is_refused() {
        let phrase = passphrase("correct horse");
        let (dir, made) = made(Some(&phrase));
        let good = fs::read(made.path()).unwrap();
        let path = dir.path().join("changed.key");
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            let _old = fs::remove_file(&path);
            write_new(&path, &changed).unwrap();
            let opened = ControllerFile::read(&path).and_then(|file| file.open(Some(&phrase)));
            assert!(opened.is_err(), "byte {at}");
        }
        for more in ["\n", "x", "public ed25519:00\n"] {
            fs::write(&path, [&good, more.as_bytes()].concat()).unwrap();
            assert!(ControllerFile::read(&path).is_err(), "{more:?}");
        }
    }

    #[test]
    fn keys_are_never_overwritten_and_shared_ones_are_refused() {
        let (dir, made) = made(None);
        let before = fs::read(made.path()).unwrap();
        let again = ControllerFile::create(made.path(), None, CHEAP).unwrap_err();
        assert!(again.error.contains("exists already"), "{again}");
        assert_eq!(fs::read(made.path()).unwrap(), before);
        assert!(!ControllerFile::read(made.path()).unwrap().is_sealed());
        let missing = dir.path().join("none/x.key");
        assert!(ControllerFile::create(&missing, None, CHEAP).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(made.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::set_permissions(made.path(), fs::Permissions::from_mode(0o644)).unwrap();
            assert!(ControllerFile::read(made.path()).unwrap_err().remedy.contains("chmod 600"));
        }
    }

    #[test]
    fn working_keys_are_no_controllers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        for key in [None, Some(WrappingKey::new(&passphrase("x"), CHEAP).unwrap())] {
            let file = KeyFile::new(&path, Purpose::Log, Seed::new([1; 32]), key.as_ref()).unwrap();
            file.write_new().unwrap();
            assert!(ControllerFile::read(&path).is_err());
            assert!(KeyFile::read(&path, Purpose::Log).is_ok());
            assert!(KeyFile::read(&path, Purpose::Node).is_err());
            fs::remove_file(&path).unwrap();
        }
    }
}
