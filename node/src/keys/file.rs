//! One secret in one file: how it is written, read and kept from others.
//!
//! A plain key file is one line, `tallystick-secret-v1 ROLE TYPE HEX`. One under
//! a passphrase has five, and states all that is needed but the passphrase:
//!
//! ```text
//! tallystick-encrypted-v1 controller ed25519
//! public ed25519:HEX
//! argon2id memory=65536 passes=3 lanes=4 salt=HEX
//! xchacha20poly1305 nonce=HEX
//! sealed HEX
//! ```
//!
//! The seal covers the lines before it. The role is checked, so that files
//! cannot be mixed up unnoticed.
//!
//! **Invariants:** files have mode 0600 from the first moment, and files that
//! others may read are refused; nothing that exists is overwritten; a file has
//! one spelling. Deliberately absent: passphrases on working keys, without
//! which a node could not start by itself.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tallystick_protocol::key::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use super::passphrase::{self, Cost, Passphrase, Sealed};
use crate::failure::Failure;

/// Longest key file, in bytes.
const KEY_FILE_BYTES: u64 = 1024;
const PLAIN: &str = "tallystick-secret-v1";
const ENCRYPTED: &str = "tallystick-encrypted-v1";

/// What a key grows from.
pub(super) type Seed = Zeroizing<[u8; 32]>;

/// What a secret is for: its file and how the file calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Controller,
    NextController,
    Log,
    Witness,
    Node,
    Sealing,
}

impl Purpose {
    /// Those that a running node works with.
    pub(super) const WORKING: [Self; 4] = [Self::Log, Self::Witness, Self::Node, Self::Sealing];

    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Controller => "controller.key",
            Self::NextController => "controller.next",
            Self::Log => "log.key",
            Self::Witness => "witness.key",
            Self::Node => "node.key",
            Self::Sealing => "sealing.key",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Controller => "controller ed25519",
            Self::NextController => "next-controller ed25519",
            Self::Log => "log ed25519",
            Self::Witness => "witness ed25519",
            Self::Node => "node ed25519",
            Self::Sealing => "sealing x25519",
        }
    }
}

/// A new seed from the system's random source.
pub(super) fn random_seed() -> Result<Seed, Failure> {
    let mut seed = Seed::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| {
        Failure::internal(format!("the system gives no random numbers ({error})"))
    })?;
    Ok(seed)
}

/// A plain key file.
pub(super) fn key_file(purpose: Purpose, seed: &Seed) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    for part in [PLAIN, " ", purpose.label(), " "] {
        text.push_str(part);
    }
    put_hex(&mut text, seed.as_slice());
    text.push('\n');
    text
}

/// Reads the plain key file at `path`.
pub(super) fn read_seed(path: &Path, purpose: Purpose) -> Result<Seed, Failure> {
    let text = read_text(path)?;
    parse_plain(&text, purpose).ok_or_else(|| {
        Failure::usage(
            format!("{} is not a {} key", path.display(), purpose.label()),
            "put the right file back from a backup",
        )
    })
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::usage(
            format!("the key {} cannot be read ({error})", path.display()),
            "check that the file is there and belongs to you, or put it back from a backup",
        )
    };
    refuse_shared(path).map_err(unreadable)??;
    let bytes = Zeroizing::new(read_bounded(path, KEY_FILE_BYTES).map_err(unreadable)?);
    // What is no text is no key, either.
    Ok(Zeroizing::new(str::from_utf8(&bytes).unwrap_or_default().to_owned()))
}

fn parse_plain(text: &str, purpose: Purpose) -> Option<Seed> {
    let rest = text.strip_prefix(PLAIN)?.strip_prefix(' ')?.strip_prefix(purpose.label())?;
    read_hex(rest.strip_prefix(' ')?.trim_end())
}

/// The lines of an encrypted file that stand before the seal.
fn encrypted_head(public: &PublicKey, sealed: &Sealed) -> String {
    let Cost { kib, passes, lanes } = sealed.cost;
    let mut text = format!(
        "{ENCRYPTED} {}\npublic {public}\nargon2id memory={kib} passes={passes} lanes={lanes} salt=",
        Purpose::Controller.label(),
    );
    put_hex(&mut text, &sealed.salt);
    text.push_str("\nxchacha20poly1305 nonce=");
    put_hex(&mut text, &sealed.nonce);
    text.push('\n');
    text
}

fn encrypted_file(public: &PublicKey, sealed: &Sealed) -> String {
    let mut text = encrypted_head(public, sealed);
    text.push_str("sealed ");
    put_hex(&mut text, &sealed.bytes);
    text.push('\n');
    text
}

fn parse_encrypted(text: &str) -> Option<(PublicKey, Sealed)> {
    let mut lines = text.lines();
    let mut line = |start: &str| lines.next()?.strip_prefix(start);
    line(ENCRYPTED)?;
    let public = line("public ")?.parse().ok()?;
    let mut cost = line("argon2id ")?.split(' ');
    let mut part = |name: &str| cost.next()?.strip_prefix(name);
    let cost = Cost {
        kib: part("memory=")?.parse().ok()?,
        passes: part("passes=")?.parse().ok()?,
        lanes: part("lanes=")?.parse().ok()?,
    };
    let salt = *read_hex(part("salt=")?)?;
    let nonce = *read_hex(line("xchacha20poly1305 nonce=")?)?;
    let sealed = Sealed { cost, salt, nonce, bytes: *read_hex(line("sealed ")?)? };
    // Whatever was read past would not be covered by the seal.
    (encrypted_file(&public, &sealed) == text).then_some((public, sealed))
}

enum Content {
    Plain(Seed),
    Sealed(Sealed),
}

/// A file with a controller key, read and not opened yet.
pub struct ControllerFile {
    path: PathBuf,
    public: PublicKey,
    content: Content,
}

impl fmt::Debug for ControllerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, public, content: _ } = self;
        f.debug_struct("ControllerFile").field("path", path).field("public", public).finish()
    }
}

impl ControllerFile {
    /// Reads a file, plain or under a passphrase.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read, others may read it, or it is no
    /// controller key.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = read_text(path)?;
        let plain = [Purpose::Controller, Purpose::NextController];
        let plain = plain.iter().find_map(|purpose| parse_plain(&text, *purpose));
        let (public, content) = match (plain, parse_encrypted(&text)) {
            (Some(seed), _) => (SecretKey::from_seed(*seed).public(), Content::Plain(seed)),
            (None, Some((public, sealed))) => (public, Content::Sealed(sealed)),
            (None, None) => {
                return Err(Failure::usage(
                    format!("{} is not a controller key", path.display()),
                    "give a file that `tally init` or `tally key new` made",
                ));
            }
        };
        Ok(Self { path: path.to_owned(), public, content })
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
        let public = SecretKey::from_seed(*seed).public();
        let (text, content) = match passphrase {
            None => (key_file(purpose, &seed), Content::Plain(seed)),
            Some(passphrase) => {
                let context = |sealed: &Sealed| encrypted_head(&public, sealed);
                let sealed = passphrase::seal(&seed, passphrase, cost, context)?;
                (Zeroizing::new(encrypted_file(&public, &sealed)), Content::Sealed(sealed))
            }
        };
        let written = write_new(path, text.as_bytes()).and_then(|()| sync_parent(path));
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(
                format!("{} exists already", path.display()),
                "name another file; keys are never overwritten",
            ),
            _ => Failure::unwritten(path, &error, "name a place that you may write to"),
        })?;
        Ok(Self { path: path.to_owned(), public, content })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose key it is.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether a passphrase is needed to open it.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self.content, Content::Sealed(_))
    }

    /// The secret key; the passphrase is of use only if the file is sealed.
    ///
    /// # Errors
    /// A [`Failure`] if the passphrase is missing or wrong.
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<SecretKey, Failure> {
        let seed = match (&self.content, passphrase) {
            (Content::Plain(seed), _) => Some(seed.clone()),
            (Content::Sealed(sealed), Some(passphrase)) => {
                passphrase::open(sealed, passphrase, &encrypted_head(&self.public, sealed))
            }
            (Content::Sealed(_), None) => {
                return Err(Failure::usage(
                    format!("{} lies under a passphrase", self.path.display()),
                    "give it with --passphrase-file FILE, or use the command on a terminal",
                ));
            }
        };
        let key = seed.map(|seed| SecretKey::from_seed(*seed));
        key.filter(|key| key.public() == self.public).ok_or_else(|| {
            Failure::usage(
                format!("the passphrase does not open {}", self.path.display()),
                "type it again; if it is the right one, the file is damaged: use your other copy",
            )
        })
    }
}

fn put_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

fn read_hex<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Zeroizing::new([0; N]);
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Refuses a secret that other users of the machine may read.
#[cfg(unix)]
pub(super) fn refuse_shared(path: &Path) -> io::Result<Result<(), Failure>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    Ok(if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(Failure::usage(
            format!("other users of this machine may read the key {}", path.display()),
            format!("if nobody has read it, close it with `chmod 600 {}`", path.display()),
        ))
    })
}

/// Other systems keep the rights of the directory.
#[cfg(not(unix))]
pub(super) fn refuse_shared(path: &Path) -> io::Result<Result<(), Failure>> {
    fs::metadata(path).map(|_| Ok(()))
}

pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Room for any key file, so that no half of a secret is left behind by growing.
    let mut bytes = Vec::with_capacity(2048);
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok(bytes)
}

pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Writes a file that must not exist yet, for its owner only, and makes it durable.
pub(super) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Makes durable that a file has appeared in its directory or gone from it.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::passphrase::tests::{CHEAP, passphrase};
    use super::*;

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
        write_new(&path, key_file(Purpose::Log, &Seed::new([1; 32])).as_bytes()).unwrap();
        assert!(ControllerFile::read(&path).is_err());
        assert!(read_seed(&path, Purpose::Log).is_ok());
        assert!(read_seed(&path, Purpose::Node).is_err());
    }
}
