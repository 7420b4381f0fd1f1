//! The secrets of an authority, one file each, and the identity made of them.
//!
//! ```text
//! DIR/identity.cbor          signed identity events; public
//! DIR/keys/controller.key    signs identity events: belongs off this machine
//! DIR/keys/controller.next   the controller after it: belongs elsewhere again
//! DIR/keys/log.key           signs checkpoints
//! DIR/keys/witness.key       cosigns others' checkpoints
//! DIR/keys/node.key          the node's libp2p identity
//! DIR/keys/sealing.key       receives group secrets (X25519, HPKE KEM 0x0020)
//! ```
//!
//! A key file is one line: `tallystick-secret-v1 ROLE TYPE HEX`. The role is
//! checked, so that files cannot be mixed up unnoticed.
//!
//! **Invariants:** secrets come from the system's random source, are wiped
//! from memory, and are neither logged nor printed; their files have mode 0600
//! from the first moment, and files that others may read are refused; nothing
//! that exists is overwritten. Deliberately absent: passwords on key files. The
//! working keys must be there for the service to start by itself; the
//! controller keys are to be moved away, which protects them better.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_bytes::ByteBuf;
use tallystick_protocol::cbor;
use tallystick_protocol::id::NetworkName;
use tallystick_protocol::identity::{
    Controllers, Event, Identity, IdentityError, NextControllers, OrganisationId, Profile,
    SealingKey, UnverifiedChain, WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::limits;
use tallystick_protocol::time::UnixTime;
use zeroize::Zeroizing;

use crate::config::{CONFIG_FILE, Config, Place, forbidden};
use crate::failure::Failure;

/// Name of the file with the signed identity events.
pub const IDENTITY_FILE: &str = "identity.cbor";
/// Name of the directory with the secrets.
pub const KEYS_DIR: &str = "keys";
/// HPKE KEM identifier of DHKEM(X25519, HKDF-SHA256): RFC 9180 section 7.1.
const KEM_X25519: u16 = 0x0020;
/// Longest key file, in bytes.
const KEY_FILE_BYTES: u64 = 256;
const MARK: &str = "tallystick-secret-v1";

type Seed = Zeroizing<[u8; 32]>;

/// What a secret is for: its file and how the file calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Controller,
    NextController,
    Log,
    Witness,
    Node,
    Sealing,
}

impl Purpose {
    const ALL: [Self; 6] = [
        Self::Controller,
        Self::NextController,
        Self::Log,
        Self::Witness,
        Self::Node,
        Self::Sealing,
    ];

    const fn file(self) -> &'static str {
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

/// Makes keys, identity and configuration of a new authority at `place`.
///
/// # Errors
/// A [`Failure`] if something is there already, the profile breaks a rule of
/// the identity format, or a file cannot be written. A directory that was left
/// half made is refused by the next attempt, with a word on what to do.
pub fn create(
    place: &Place,
    network: &NetworkName,
    profile: Profile,
    issued: UnixTime,
) -> Result<Identity, Failure> {
    refuse_existing(place)?;
    let seeds = Purpose::ALL.map(|purpose| (purpose, Seed::new([0; 32])));
    let mut seeds = Vec::from(seeds);
    for (_, seed) in &mut seeds {
        getrandom::fill(seed.as_mut_slice()).map_err(|error| {
            Failure::internal(format!("the system gives no random numbers ({error})"))
        })?;
    }
    let (identity, events) = incept(&seeds, network, profile, issued)?;

    let data = place.data();
    let keys = data.join(KEYS_DIR);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| {
            let remedy = "name a directory that you may write to with --data DIR";
            Failure::unwritten(&path, &error, remedy)
        }
    };
    make_dir(data).map_err(failed(data))?;
    make_dir(&keys).map_err(failed(&keys))?;
    for (purpose, seed) in &seeds {
        let path = keys.join(purpose.file());
        write_new(&path, key_file(*purpose, seed).as_bytes()).map_err(failed(&path))?;
    }
    sync_dir(&keys).map_err(failed(&keys))?;
    if !place.config().exists() {
        let text = Config::template(network);
        write_new(place.config(), text.as_bytes()).map_err(failed(place.config()))?;
    }
    // Last: a directory with an identity is complete.
    let path = data.join(IDENTITY_FILE);
    write_new(&path, &events).map_err(failed(&path))?;
    sync_dir(data).map_err(failed(data))?;
    Ok(identity)
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

/// Builds, signs and checks the inception event; gives it as the file keeps it, too.
fn incept(
    seeds: &[(Purpose, Seed)],
    network: &NetworkName,
    profile: Profile,
    issued: UnixTime,
) -> Result<(Identity, Vec<u8>), Failure> {
    let seed = |wanted: Purpose| {
        let found = seeds.iter().find(|(purpose, _)| *purpose == wanted);
        found.map(|(_, seed)| seed).ok_or_else(|| Failure::internal("a key was not made"))
    };
    let key = |purpose: Purpose| seed(purpose).map(|seed| SecretKey::from_seed(**seed));
    let controller = key(Purpose::Controller)?;
    let next = commit_to_key(&key(Purpose::NextController)?.public());
    let sealing =
        x25519_dalek::x25519(**seed(Purpose::Sealing)?, x25519_dalek::X25519_BASEPOINT_BYTES);
    let event = Event::inception(
        network.clone(),
        issued,
        Controllers { keys: vec![controller.public()], threshold: 1 },
        NextControllers { key_hashes: vec![next], threshold: 1 },
        WorkingKeys {
            log: key(Purpose::Log)?.public(),
            witness: key(Purpose::Witness)?.public(),
            nodes: vec![key(Purpose::Node)?.public()],
            sealing: SealingKey { kem: KEM_X25519, key: ByteBuf::from(sealing.to_vec()) },
        },
        profile,
    );
    let signed = event.sign(&[(0, &controller)]).map_err(Failure::internal)?;
    let identity = UnverifiedChain::new(vec![signed]).verify(network).map_err(|error| {
        Failure::usage(error, "correct the name, identifiers or domain and try again")
    })?;
    let events: Vec<_> = identity.events().iter().cloned().map(ByteBuf::from).collect();
    Ok((identity, cbor::encode(&events).map_err(Failure::internal)?))
}

/// Reads and verifies the identity in a data directory.
///
/// # Errors
/// A [`Failure`]: not initialised, damaged, or of another network than configured.
pub fn load_identity(data: &Path, network: &NetworkName) -> Result<Identity, Failure> {
    let path = data.join(IDENTITY_FILE);
    let most = (limits::IDENTITY_EVENT_BYTES * limits::IDENTITY_EVENTS) as u64;
    let bytes = read_bounded(&path, most).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::unavailable(
            format!("there is no authority in {}", data.display()),
            "make one with `tally init --name NAME`, or name its directory with --data DIR",
        ),
        _ => forbidden(&path, &error),
    })?;
    let damaged = |why: &dyn std::fmt::Display| {
        Failure::usage(
            format!("{} is damaged ({why})", path.display()),
            "put the file back from a backup; it is public and also on the card partners have",
        )
    };
    let events: Vec<ByteBuf> = cbor::decode(&bytes).map_err(|error| damaged(&error))?;
    let events = events.into_iter().map(ByteBuf::into_vec).collect();
    UnverifiedChain::new(events).verify(network).map_err(|error| match error {
        IdentityError::Network => Failure::usage(
            format!(
                "the authority in {} belongs to another network than {network}",
                data.display()
            ),
            "put the network that was given to `tally init` back into tally.toml",
        ),
        error => damaged(&error),
    })
}

/// The secrets that a running node works with.
#[derive(Debug)]
pub struct NodeKeys {
    /// Signs checkpoints.
    pub log: SecretKey,
    /// Cosigns others' checkpoints.
    pub witness: SecretKey,
    /// The libp2p identity; signs cards.
    pub node: SecretKey,
}

impl NodeKeys {
    /// Reads the keys and checks that they belong to `identity`.
    ///
    /// # Errors
    /// A [`Failure`]: missing, damaged, readable for others, or somebody else's.
    pub fn load(data: &Path, identity: &Identity) -> Result<Self, Failure> {
        let key = |purpose| read_key(&data.join(KEYS_DIR), purpose);
        let keys = Self {
            log: key(Purpose::Log)?,
            witness: key(Purpose::Witness)?,
            node: key(Purpose::Node)?,
        };
        let ours = keys.log.public() == *identity.log_key()
            && identity.node_keys().contains(&keys.node.public());
        if ours {
            return Ok(keys);
        }
        Err(Failure::usage(
            format!("the keys in {} are not those of this identity", data.join(KEYS_DIR).display()),
            "put keys and identity.cbor back from the same backup",
        ))
    }
}

/// The files with controller keys, which are to be moved off this machine.
#[must_use]
pub fn controller_files(data: &Path) -> [PathBuf; 2] {
    [Purpose::Controller, Purpose::NextController]
        .map(|purpose| data.join(KEYS_DIR).join(purpose.file()))
}

/// Reads `SCHEME-ID` as people write it: `GB-LAE-NET`, the scheme in two parts.
///
/// # Errors
/// A [`Failure`] if it has not three parts.
pub fn parse_organisation_id(text: &str) -> Result<OrganisationId, Failure> {
    let mut parts = text.splitn(3, '-');
    let (country, list, id) = (parts.next(), parts.next(), parts.next());
    let upper = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    match (country.filter(upper), list.filter(upper), id.map(str::trim)) {
        (Some(country), Some(list), Some(id)) if country.len() <= 3 && !id.is_empty() => {
            Ok(OrganisationId { scheme: format!("{country}-{list}"), id: id.to_owned() })
        }
        _ => Err(Failure::usage(
            format!("{text:?} is not an organisation identifier"),
            "write register and number as org-id.guide does, for instance GB-LAE-ASH or GB-PPON-ABCD-1234-EFGH",
        )),
    }
}

/// Checks an internet domain: lower-case letters, digits, hyphens, at least one dot.
///
/// # Errors
/// A [`Failure`].
pub fn check_domain(text: &str) -> Result<(), Failure> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.contains('.') && text.split('.').all(label) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{text:?} is not an internet domain"),
        "write it without http:// and in lower case, for instance ash.gov.uk",
    ))
}

fn key_file(purpose: Purpose, seed: &Seed) -> Zeroizing<String> {
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

fn read_key(dir: &Path, purpose: Purpose) -> Result<SecretKey, Failure> {
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

fn parse_key_file(text: &str, purpose: Purpose) -> Option<Seed> {
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
fn refuse_shared(path: &Path) -> io::Result<Result<(), Failure>> {
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
fn refuse_shared(path: &Path) -> io::Result<Result<(), Failure>> {
    fs::metadata(path).map(|_| Ok(()))
}

fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256);
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok(bytes)
}

fn make_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Writes a file that must not exist yet, for its owner only, and makes it durable.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tallystick_protocol::card::Card;

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    fn named(name: &str) -> Profile {
        Profile { name: name.to_owned(), ..Profile::default() }
    }

    /// A card of a made-up authority, with new keys each time.
    pub(crate) fn card(name: &str, issued: u64) -> Card {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("data"));
        let issued = UnixTime::from_seconds(issued);
        let identity = create(&place, &network(), named(name), issued).unwrap();
        let keys = NodeKeys::load(place.data(), &identity).unwrap();
        let address = "/ip4/192.0.2.7/tcp/4817".to_owned();
        Card::issue(&identity, &keys.node, &[address], issued).unwrap()
    }

    fn created() -> (tempfile::TempDir, Place, Identity) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("data"));
        let profile = Profile {
            domain: Some("ash.gov.uk".to_owned()),
            organisation_ids: vec![parse_organisation_id("GB-LAE-ASH").unwrap()],
            ..named("Ash Borough Council")
        };
        let identity = create(&place, &network(), profile, UnixTime::from_seconds(1)).unwrap();
        (dir, place, identity)
    }

    #[test]
    fn what_is_created_is_read_back_and_never_overwritten() {
        let (_dir, place, identity) = created();
        assert_eq!(load_identity(place.data(), &network()), Ok(identity.clone()));
        let keys = NodeKeys::load(place.data(), &identity).unwrap();
        assert_eq!(keys.log.public(), *identity.log_key());
        assert!(Config::load(place.config()).is_ok());
        let before = fs::read(place.file(IDENTITY_FILE)).unwrap();
        let again = create(&place, &network(), named("Oak"), UnixTime::from_seconds(2));
        assert_eq!(again.unwrap_err().kind.exit_code(), 2);
        assert_eq!(fs::read(place.file(IDENTITY_FILE)).unwrap(), before);
        let other = load_identity(place.data(), &"other".parse().unwrap()).unwrap_err();
        assert!(other.error.contains("another network"), "{other}");
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_for_their_owner_only_and_shared_ones_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, place, identity) = created();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let keys = place.file(KEYS_DIR);
        assert_eq!((mode(place.data()), mode(&keys)), (0o700, 0o700));
        for purpose in Purpose::ALL {
            assert_eq!(mode(&keys.join(purpose.file())), 0o600, "{purpose:?}");
        }
        let shared = keys.join("node.key");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o640)).unwrap();
        let failure = NodeKeys::load(place.data(), &identity).unwrap_err();
        assert!(failure.remedy.contains("chmod 600"), "{failure:?}");
    }

    #[test]
    fn key_files_cannot_be_mixed_up_or_damaged_unnoticed() {
        let (_dir, place, identity) = created();
        let keys = place.file(KEYS_DIR);
        let (log, node) = (keys.join("log.key"), keys.join("node.key"));
        let good = fs::read_to_string(&node).unwrap();
        for bad in [
            fs::read_to_string(&log).unwrap(),
            good.replace("v1", "v2"),
            good.trim_end().get(..good.len() - 2).unwrap().to_owned(),
            format!("{}g\n", good.trim_end().get(..good.len() - 2).unwrap()),
            String::new(),
            "x".repeat(1000),
        ] {
            fs::write(&node, &bad).unwrap();
            let failure = NodeKeys::load(place.data(), &identity).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert!(!failure.error.contains("ed25519 0"), "{failure}");
        }
        // A whole key, but of somebody else.
        let (_other, elsewhere, _) = created();
        fs::copy(elsewhere.file(KEYS_DIR).join("node.key"), &node).unwrap();
        let failure = NodeKeys::load(place.data(), &identity).unwrap_err();
        assert!(failure.error.contains("not those of this identity"), "{failure}");
    }

    #[test]
    fn damaged_identities_are_one_sentence() {
        let (_dir, place, _) = created();
        let path = place.file(IDENTITY_FILE);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let failure = load_identity(place.data(), &network()).unwrap_err();
        assert!(failure.error.contains("is damaged"), "{failure}");
        let missing = load_identity(Path::new("/nonexistent"), &network()).unwrap_err();
        assert_eq!(missing.kind.exit_code(), 3);
    }

    #[test]
    fn half_made_and_foreign_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("holiday.jpg"), b"x").unwrap();
        let place = Place::at(dir.path());
        let refused = create(&place, &network(), named("Ash"), UnixTime::from_seconds(1));
        assert!(refused.unwrap_err().error.contains("not empty"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_no_identity_may_have_make_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", " Ash", "two\nlines", &"x".repeat(300)] {
            let place = Place::at(&dir.path().join("data"));
            let refused = create(&place, &network(), named(name), UnixTime::from_seconds(1));
            assert_eq!(refused.unwrap_err().kind.exit_code(), 2);
            assert!(!place.data().exists());
        }
    }

    #[test]
    fn identifiers_and_domains_are_checked() {
        for good in ["GB-LAE-NET", "GB-COH-00445790", "GB-PPON-PVLX-8127-MCBD"] {
            let id = parse_organisation_id(good).unwrap();
            assert_eq!(format!("{}-{}", id.scheme, id.id), good);
        }
        for bad in ["", "GB", "GB-LAE", "GB-LAE-", "gb-lae-net", "-LAE-NET", "Ash Council"] {
            assert!(parse_organisation_id(bad).is_err(), "{bad}");
        }
        assert!(check_domain("ash.gov.uk").is_ok());
        for bad in ["", "ash", "https://ash.gov.uk", "ash..uk", "-ash.gov.uk", "Ash.gov.uk"] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let (_dir, place, identity) = created();
        let keys = NodeKeys::load(place.data(), &identity).unwrap();
        let file = fs::read_to_string(place.file(KEYS_DIR).join("log.key")).unwrap();
        let hex = file.split_whitespace().last().unwrap();
        assert!(!format!("{keys:?}").contains(hex));
        assert!(!format!("{keys:?}").contains(&hex[..16]));
    }
}
