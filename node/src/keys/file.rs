//! One secret in one file: how it is written, read and kept from others.
//!
//! A key file is one line: `tallystick-secret-v1 ROLE TYPE HEX`. The role is
//! checked, so that files cannot be mixed up unnoticed.
//!
//! **Invariants:** files have mode 0600 from the first moment, and files that
//! others may read are refused; nothing that exists is overwritten.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use tallystick_protocol::key::SecretKey;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Longest key file, in bytes.
const KEY_FILE_BYTES: u64 = 256;
const MARK: &str = "tallystick-secret-v1";

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
    pub(super) const ALL: [Self; 6] = [
        Self::Controller,
        Self::NextController,
        Self::Log,
        Self::Witness,
        Self::Node,
        Self::Sealing,
    ];

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

    pub(super) const fn label(self) -> &'static str {
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

pub(super) fn key_file(purpose: Purpose, seed: &Seed) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(MARK);
    text.push(' ');
    text.push_str(purpose.label());
    text.push(' ');
    for byte in seed.iter() {
        for digit in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    text
}

pub(super) fn read_key(dir: &Path, purpose: Purpose) -> Result<SecretKey, Failure> {
    let path = dir.join(purpose.file());
    let unreadable = |error: io::Error| {
        Failure::usage(
            format!("the key {} cannot be read ({error})", path.display()),
            "put it back from a backup, and check that it belongs to the user that runs the node",
        )
    };
    refuse_shared(&path).map_err(unreadable)??;
    let bytes = Zeroizing::new(read_bounded(&path, KEY_FILE_BYTES).map_err(unreadable)?);
    let seed = str::from_utf8(&bytes).ok().and_then(|text| parse_key_file(text, purpose));
    let seed = seed.ok_or_else(|| {
        Failure::usage(
            format!("{} is not a {} key", path.display(), purpose.label()),
            "put the right file back from a backup",
        )
    })?;
    Ok(SecretKey::from_seed(*seed))
}

pub(super) fn parse_key_file(text: &str, purpose: Purpose) -> Option<Seed> {
    let rest = text.strip_prefix(MARK)?.strip_prefix(' ')?.strip_prefix(purpose.label())?;
    let hex = rest.strip_prefix(' ')?.trim_end().as_bytes();
    let mut seed = Seed::new([0; 32]);
    if hex.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (byte, pair) in seed.iter_mut().zip(hex.chunks(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(seed)
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
    let mut bytes = Vec::with_capacity(256);
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
