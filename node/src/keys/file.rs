//! One secret in one file: how it is written, read and kept from others.
//!
//! A plain key file is one line, `tallystick-secret-v1 ROLE TYPE HEX`. One under
//! a passphrase has five, and states all that is needed but the passphrase:
//!
//! ```text
//! tallystick-encrypted-v1 ROLE TYPE
//! public TYPE:HEX
//! argon2id memory=65536 passes=3 lanes=4 salt=HEX
//! xchacha20poly1305 nonce=HEX
//! sealed HEX
//! ```
//!
//! The seal covers the lines before it. The role is checked, so that files
//! cannot be mixed up unnoticed. Whose key it is can be read without the
//! passphrase, and is believed only as far as it need be until the file is opened.
//!
//! **Invariants:** files have mode 0600 from the first moment, and files that
//! others may read are refused; nothing that exists is overwritten; a file has
//! one spelling. Deliberately absent: which file is where.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_bytes::ByteBuf;
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::key::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use super::passphrase::{Cost, Sealed, Unlocking, WrappingKey};
use crate::failure::Failure;

/// Longest key file, in bytes.
const KEY_FILE_BYTES: u64 = 1024;
const PLAIN: &str = "tallystick-secret-v1";
const ENCRYPTED: &str = "tallystick-encrypted-v1";
/// HPKE KEM identifier of DHKEM(X25519, HKDF-SHA256): RFC 9180 section 7.1.
const KEM_X25519: u16 = 0x0020;

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

    /// How an encrypted file calls it: a next controller's file becomes a
    /// controller's without being written anew.
    const fn sealed_label(self) -> &'static str {
        match self {
            Self::NextController => Self::Controller.label(),
            _ => self.label(),
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

/// The public half of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Public {
    /// Of one that signs.
    Signing(PublicKey),
    /// Of one to which secrets are sealed.
    Sealing(SealingKey),
}

/// The public half of a key that signs.
pub(super) fn signing_key(seed: &Seed) -> PublicKey {
    SecretKey::from_seed(**seed).public()
}

/// The public half of a key to which secrets are sealed.
pub(super) fn sealing_key(seed: &Seed) -> SealingKey {
    sealing_bytes(&x25519_dalek::x25519(**seed, x25519_dalek::X25519_BASEPOINT_BYTES))
}

fn sealing_bytes(key: &[u8; 32]) -> SealingKey {
    SealingKey { kem: KEM_X25519, key: ByteBuf::from(key.to_vec()) }
}

impl Public {
    fn of(purpose: Purpose, seed: &Seed) -> Self {
        match purpose {
            Purpose::Sealing => Self::Sealing(sealing_key(seed)),
            _ => Self::Signing(signing_key(seed)),
        }
    }

    fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        match purpose {
            Purpose::Sealing => {
                let key = read_hex(text.strip_prefix("x25519:")?)?;
                Some(Self::Sealing(sealing_bytes(&key)))
            }
            _ => text.parse().ok().map(Self::Signing),
        }
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing(key) => key.fmt(f),
            Self::Sealing(key) => {
                let mut text = String::with_capacity(72);
                put_hex(&mut text, &key.key);
                write!(f, "x25519:{text}")
            }
        }
    }
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

fn plain_text(purpose: Purpose, seed: &Seed) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    for part in [PLAIN, " ", purpose.label(), " "] {
        text.push_str(part);
    }
    put_hex(&mut text, seed.as_slice());
    text.push('\n');
    text
}

fn parse_plain(text: &str, purpose: Purpose) -> Option<Seed> {
    let rest = text.strip_prefix(PLAIN)?.strip_prefix(' ')?.strip_prefix(purpose.label())?;
    read_hex(rest.strip_prefix(' ')?.trim_end())
}

/// The lines of an encrypted file that stand before the seal.
fn encrypted_head(purpose: Purpose, public: &Public, sealed: &Sealed) -> String {
    let Cost { kib, passes, lanes } = sealed.cost;
    let mut text = format!(
        "{ENCRYPTED} {}\npublic {public}\nargon2id memory={kib} passes={passes} lanes={lanes} salt=",
        purpose.sealed_label(),
    );
    put_hex(&mut text, &sealed.salt);
    text.push_str("\nxchacha20poly1305 nonce=");
    put_hex(&mut text, &sealed.nonce);
    text.push('\n');
    text
}

fn encrypted_text(purpose: Purpose, public: &Public, sealed: &Sealed) -> String {
    let mut text = encrypted_head(purpose, public, sealed);
    text.push_str("sealed ");
    put_hex(&mut text, &sealed.bytes);
    text.push('\n');
    text
}

fn parse_encrypted(text: &str, purpose: Purpose) -> Option<(Public, Sealed)> {
    let mut lines = text.lines();
    let mut line = |start: &str| lines.next()?.strip_prefix(start);
    line(ENCRYPTED)?;
    let public = Public::parse(purpose, line("public ")?)?;
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
    (encrypted_text(purpose, &public, &sealed) == text).then_some((public, sealed))
}

enum Content {
    Plain(Seed),
    Sealed(Sealed),
}

/// A key and the file it is for, which need not be open.
pub(super) struct KeyFile {
    path: PathBuf,
    purpose: Purpose,
    public: Public,
    content: Content,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, purpose: _, public, content: _ } = self;
        f.debug_struct("KeyFile").field("path", path).field("public", public).finish()
    }
}

impl KeyFile {
    /// Of a new key, to be written: plain, or under a wrapping key.
    pub(super) fn new(
        path: &Path,
        purpose: Purpose,
        seed: Seed,
        key: Option<&WrappingKey>,
    ) -> Result<Self, Failure> {
        let public = Public::of(purpose, &seed);
        let content = match key {
            None => Content::Plain(seed),
            Some(key) => {
                let context = |sealed: &Sealed| encrypted_head(purpose, &public, sealed);
                Content::Sealed(key.seal(&seed, context)?)
            }
        };
        Ok(Self { path: path.to_owned(), purpose, public, content })
    }

    /// Reads a file that is for one of these purposes; `None` if it is for none.
    pub(super) fn read_any(path: &Path, purposes: &[Purpose]) -> Result<Option<Self>, Failure> {
        let text = read_text(path)?;
        let file = |purpose: &Purpose| {
            let purpose = *purpose;
            let (public, content) = match parse_plain(&text, purpose) {
                Some(seed) => (Public::of(purpose, &seed), Content::Plain(seed)),
                None => {
                    let (public, sealed) = parse_encrypted(&text, purpose)?;
                    (public, Content::Sealed(sealed))
                }
            };
            Some(Self { path: path.to_owned(), purpose, public, content })
        };
        Ok(purposes.iter().find_map(file))
    }

    /// Reads the file of a key for one purpose.
    pub(super) fn read(path: &Path, purpose: Purpose) -> Result<Self, Failure> {
        Self::read_any(path, &[purpose])?.ok_or_else(|| {
            Failure::usage(
                format!("{} is not a {} key", path.display(), purpose.label()),
                "put the right file back from a backup",
            )
        })
    }

    /// What stands in the file.
    pub(super) fn text(&self) -> Zeroizing<String> {
        match &self.content {
            Content::Plain(seed) => plain_text(self.purpose, seed),
            Content::Sealed(sealed) => {
                Zeroizing::new(encrypted_text(self.purpose, &self.public, sealed))
            }
        }
    }

    /// Writes the file, which must not exist yet.
    pub(super) fn write_new(&self) -> io::Result<()> {
        write_new(&self.path, self.text().as_bytes())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whose key it is; of a sealed file, what it claims until it is opened.
    pub(super) const fn public(&self) -> &Public {
        &self.public
    }

    pub(super) const fn is_sealed(&self) -> bool {
        matches!(self.content, Content::Sealed(_))
    }

    /// The secret.
    ///
    /// # Errors
    /// A [`Failure`] if the passphrase is missing or wrong, or the file is damaged.
    pub(super) fn open(&self, unlocking: &mut Unlocking<'_>) -> Result<Seed, Failure> {
        let seed = match &self.content {
            Content::Plain(seed) => Some(seed.clone()),
            Content::Sealed(_) if !unlocking.is_possible() => {
                return Err(Failure::usage(
                    format!("{} lies under a passphrase", self.path.display()),
                    "give it with --passphrase-file FILE, or use the command on a terminal",
                ));
            }
            Content::Sealed(sealed) => {
                unlocking.open(sealed, &encrypted_head(self.purpose, &self.public, sealed))
            }
        };
        let own = |seed: &Seed| Public::of(self.purpose, seed) == self.public;
        seed.filter(own).ok_or_else(|| {
            Failure::usage(
                format!("the passphrase does not open {}", self.path.display()),
                "type it again; if it is the right one, the file is damaged: use your other copy",
            )
        })
    }
}

pub(super) fn put_hex(text: &mut String, bytes: &[u8]) {
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
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}
