//! The secrets of an authority, one file each, and the identity made of them.
//!
//! ```text
//! DIR/identity.cbor          signed identity events; public
//! DIR/keys/log.key           signs checkpoints
//! DIR/keys/witness.key       cosigns others' checkpoints
//! DIR/keys/node.key          the node's libp2p identity
//! DIR/keys/sealing.key       receives group secrets (X25519, HPKE KEM 0x0020)
//! DIR/keys/sealing-ID.key    the same before a change: still opens what was sealed to it
//! DIR/group-pins.cbor        what opens the pins of group logs in the chain
//! DIR/pending/               a change that waits for signatures, and its new keys
//! elsewhere                  controller keys, which sign identity events; in
//!                            keys/controller.{key,next} until they are moved away
//! ```
//!
//! - `file`: one secret in one file;
//! - `controller`: the file of a controller key;
//! - `passphrase`: secrets under a passphrase;
//! - `protection`: working keys under one;
//! - `inception`: a new authority;
//! - `identity`: the file with the signed events;
//! - `working`: what a node reads when it starts;
//! - `draft`: an event on its way from one controller to the next;
//! - `change`: how the next event and its keys take their places;
//! - `pins`: what opens the pins of group logs in the own chain.
//!
//! **Invariants:** secrets come from the system's random source, are wiped
//! from memory, and are neither logged nor printed; their files have mode 0600
//! from the first moment, and files that others may read are refused; no key
//! file is overwritten but by the key that an installed event puts in its place.
//! Deliberately absent: a passphrase on the working keys unless somebody asks for
//! it ([`protect`]), since the service must start by itself; a thief of these can
//! neither rotate them nor lock the authority out.

pub mod change;
mod controller;
mod draft;
mod file;
mod identity;
mod inception;
mod passphrase;
pub mod pins;
mod protection;
mod working;

use std::path::{Path, PathBuf};

use tallystick_protocol::identity::OrganisationId;
use tallystick_protocol::organisation;

pub use self::controller::ControllerFile;
pub use self::draft::DraftFile;
use self::file::Purpose;
pub use self::identity::{load_identity, save_identity};
pub use self::inception::{Founded, Founders, KeyPlace, adopt, create, create_controller, found};
pub use self::passphrase::{Cost, Passphrase, WrappingKey};
pub use self::protection::{
    WorkingFile, is_protected, protect, unprotect, working_files, wrapping_key,
};
pub use self::working::{NodeKeys, Renewal, are_here};
use crate::failure::Failure;

/// Name of the file with the signed identity events.
pub const IDENTITY_FILE: &str = "identity.cbor";
/// Name of the directory with the secrets.
pub const KEYS_DIR: &str = "keys";
/// Name of the directory with a change that is not in force yet.
pub const PENDING_DIR: &str = "pending";

/// The files with controller keys, which are to be moved off this machine.
#[must_use]
pub fn controller_files(data: &Path) -> [PathBuf; 2] {
    [Purpose::Controller, Purpose::NextController]
        .map(|purpose| data.join(KEYS_DIR).join(purpose.file()))
}

/// The controller keys in a directory, as far as they can be read.
#[must_use]
pub fn controllers_in(dir: &Path) -> Vec<ControllerFile> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let files = paths.iter().filter(|path| path.is_file());
    files.filter_map(|path| ControllerFile::read(path).ok()).collect()
}

/// Reads `SCHEME-ID` as people write it, gives its one spelling and checks its form.
///
/// # Errors
/// A [`Failure`] that shows what the register's identifiers look like.
pub fn parse_organisation_id(text: &str) -> Result<OrganisationId, Failure> {
    organisation::parse(text).map_err(|error| {
        Failure::usage(
            format!("{text:?} is not an organisation identifier: {error}"),
            "write register and number as org-id.guide does, for instance GB-LAE-ASH or GB-PPON-PABC-1234-DEFG",
        )
    })
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

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use tallystick_protocol::card::{Card, Validity};
    use tallystick_protocol::checkpoint::{Checkpoint, Origin, sign};
    use tallystick_protocol::id::{AuthorityId, NetworkName};
    use tallystick_protocol::identity::{EventType, Head, Identity, Profile, commit_to_key};
    use tallystick_protocol::key::SecretKey;
    use tallystick_protocol::log::Frontier;
    use tallystick_protocol::time::UnixTime;

    use super::*;
    use crate::config::{Config, Place};
    use crate::opener::Opener;

    pub(crate) fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    pub(crate) fn named(name: &str) -> Profile {
        Profile { name: name.to_owned(), ..Profile::default() }
    }

    /// A card of a made-up authority, with new keys each time.
    pub(crate) fn card(name: &str, issued: u64) -> Card {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("data"));
        let issued = UnixTime::from_seconds(issued);
        let identity = create(&place, &network(), named(name), issued).unwrap();
        let keys = NodeKeys::load(place.data(), &identity, None).unwrap();
        let address = "/ip4/192.0.2.7/tcp/4817".to_owned();
        let validity = Validity::days(issued, Validity::USUAL_DAYS);
        Card::issue(&identity, &keys.node, &[address], validity).unwrap()
    }

    pub(crate) fn created() -> (tempfile::TempDir, Place, Identity) {
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

    /// A signed change of all working keys, which waits to be installed; `turn` counts
    /// the changes from 1.
    pub(crate) fn rotation(
        place: &Place,
        identity: &Identity,
        turn: u8,
        key: Option<&WrappingKey>,
    ) -> DraftFile {
        let controller = |turn: u8| match turn {
            1 => {
                let file = ControllerFile::read(&controller_files(place.data())[1]).unwrap();
                file.open(None).unwrap()
            }
            _ => SecretKey::from_seed([75 + turn; 32]),
        };
        let mut event = identity.next_event(EventType::Rotation, UnixTime::from_seconds(9));
        event.controllers.keys = vec![controller(turn).public()];
        event.next.key_hashes = vec![commit_to_key(&controller(turn + 1).public())];
        let phrase = passphrase::tests::passphrase("correct horse");
        let keys = NodeKeys::load(place.data(), identity, Some(&phrase)).unwrap();
        let origin = Origin::public(identity.network(), &identity.authority(), 0);
        let head = Checkpoint::new(origin, 0, Frontier::new().root()).unwrap();
        event.pin = Head::of(&sign(&head, &keys.log).unwrap());
        let mut file = change::prepare(place.data(), identity, event, Renewal::ALL, key).unwrap();
        assert!(file.sign(&controller(turn)));
        file
    }

    #[test]
    fn what_is_created_is_read_back_and_never_overwritten() {
        let (_dir, place, identity) = created();
        assert_eq!(load_identity(place.data(), &network()), Ok(identity.clone()));
        let keys = NodeKeys::load(place.data(), &identity, None).unwrap();
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
        let controllers = [Purpose::Controller, Purpose::NextController];
        for purpose in Purpose::WORKING.into_iter().chain(controllers) {
            assert_eq!(mode(&keys.join(purpose.file())), 0o600, "{purpose:?}");
        }
        let shared = keys.join("node.key");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o640)).unwrap();
        let failure = NodeKeys::load(place.data(), &identity, None).unwrap_err();
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
            let failure = NodeKeys::load(place.data(), &identity, None).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert!(!failure.error.contains("ed25519 0"), "{failure}");
        }
        // A whole key, but of somebody else.
        let (_other, elsewhere, _) = created();
        fs::copy(elsewhere.file(KEYS_DIR).join("node.key"), &node).unwrap();
        let failure = NodeKeys::load(place.data(), &identity, None).unwrap_err();
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
            assert_eq!(id.to_string(), good);
        }
        let spelled = |text| parse_organisation_id(text).unwrap().to_string();
        assert_eq!(spelled("GB-PPON:pvlx8127mcbd"), "GB-PPON-PVLX-8127-MCBD");
        for bad in ["", "GB", "GB-LAE", "GB-LAE-", "GB-LAE-12", "-LAE-NET", "Ash Council"] {
            assert!(parse_organisation_id(bad).is_err(), "{bad}");
        }
        assert!(check_domain("ash.gov.uk").is_ok());
        for bad in ["", "ash", "https://ash.gov.uk", "ash..uk", "-ash.gov.uk", "Ash.gov.uk"] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
    }

    /// A type that comes to hold a secret belongs into the lists below.
    #[test]
    fn no_type_that_holds_a_secret_prints_it() {
        use std::fmt::Debug;

        use super::file::{KeyFile, Seed};
        use super::passphrase::tests::{CHEAP, passphrase};
        use crate::service::Overrides;

        let seed = Seed::new(std::array::from_fn(|n| u8::try_from(n * 89 % 251).unwrap() | 1));
        let phrase = passphrase("correct horse battery");
        let wrapping = WrappingKey::new(&phrase, CHEAP).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let file = |key| KeyFile::new(&path("x"), Purpose::Sealing, seed.clone(), key).unwrap();
        let controller = |name: &str, phrase| {
            ControllerFile::keep(&path(name), Purpose::Controller, seed.clone(), phrase, CHEAP)
        };
        let keys = NodeKeys {
            log: SecretKey::from_seed(*seed),
            witness: SecretKey::from_seed(*seed),
            node: SecretKey::from_seed(*seed),
            sealing: vec![working::opening(seed.clone())],
        };
        let proxy = Some("http://ash:correct%20horse@192.0.2.1:3128".parse().unwrap());
        let config = Config { proxy: proxy.clone(), ..Config::default() };
        let opener = Opener::new(network(), AuthorityId::from_bytes([1; 32]), keys.sealing.clone());
        let values: [&dyn Debug; 10] = [
            &keys,
            &phrase,
            &wrapping,
            &file(None),
            &file(Some(&wrapping)),
            &controller("plain", None).unwrap(),
            &controller("sealed", Some(&phrase)).unwrap(),
            &Overrides { passphrase: Some(phrase.clone()), proxy, ..Overrides::default() },
            &config,
            &opener,
        ];
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut secrets = vec!["correct".to_owned(), "Y29ycmVjd".to_owned()];
        for part in seed.windows(6).chain(wrapping.bytes().windows(6)) {
            let list = part.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
            secrets.extend([hex(part), list, STANDARD.encode(part)]);
        }
        for value in values {
            let printed: String = format!("{value:?}{value:#?}").split_whitespace().collect();
            let found = secrets.iter().find(|secret| printed.contains(secret.as_str()));
            assert_eq!(found, None, "{printed}");
        }
    }
}
